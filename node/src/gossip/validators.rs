//! Whose nodes the chain's validators are.

use ledger::{State, stake};
use libp2p::PeerId;

use crate::app::App;

/// The peer ids that stand in the records of the validators of the set, those with the most power first.
pub(super) fn peers(app: &App) -> Vec<PeerId> {
    let state = State::new(app.store());
    let record = |told: stake::active::Told| stake::validator(&state, &told.validator);
    stake::active::told(&state).into_iter().filter_map(record).filter_map(|record| PeerId::from_bytes(&record.peer_id).ok()).collect()
}
