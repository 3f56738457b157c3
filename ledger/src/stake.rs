//! Proof of stake: who validates, whose tokens stand behind them, what they earn and what they lose.
//!
//! Start with [`mod@validator`], the record that the state has of each; then [`delegation`], by which tokens come,
//! leave and move; [`rewards`] and [`slashing`], by which they become more and less; [`unbonding`], where they
//! wait; and [`mod@active`], the set that the engine is told. `docs/spec/stake.md` is the rules' page.

pub mod active;
pub mod delegation;
pub mod error;
pub mod params;
mod position;
pub mod registry;
pub mod rewards;
mod shares;
pub mod slashing;
pub mod unbonding;
pub mod validator;

use tendermint::abci::Event;
use types::{Address, Millis, PublicKey};

pub use delegation::delegations;
pub use error::Error;
pub use params::StakeParams;
pub use validator::{Candidacy, Edit, Validator, ValidatorStatus, read as validator};

use crate::block::Block;
use crate::genesis::BadGenesis;
use crate::params::Params;
use crate::state::State;

/// The validators that the engine was told, the one with the most power first. They sign two blocks later.
#[must_use]
pub fn active(state: &State<'_>) -> Vec<Address> {
    active::told(state).iter().map(|told| told.validator).collect()
}

/// What comes before a block's transactions: offences, and absences where it carries any.
pub(crate) fn begin_block(state: &mut State<'_>, params: &Params, block: Block<'_>, carries: bool) -> Vec<Event> {
    let mut events = slashing::offences(state, params, block);
    if carries {
        events.extend(slashing::absences(state, params, block));
    }
    events
}

/// What comes at a block's end: unbondings that are over, an epoch that is over, and the set that follows from
/// the stake. Writes nothing where nothing is due. The updates are of power, 0 for who leaves.
pub(crate) fn end_block(state: &mut State<'_>, params: &Params, block: Block<'_>) -> (Vec<Event>, Vec<(PublicKey, u64)>) {
    let events = unbonding::complete(state, block);
    rewards::distribute(state, params, block);
    (events, active::update(state))
}

/// Writes what a chain begins with: `validators` with their operators' stake, their set, the first epoch at `start`.
pub(crate) fn begin(state: &mut State<'_>, params: &Params, validators: Vec<Validator>, start: Millis) -> Result<(), BadGenesis> {
    rewards::begin(state, start);
    unbonding::begin(state);
    for validator in &validators {
        let full = || BadGenesis::Operator(validator.moniker.to_string());
        registry::add(state, validator, start).map_err(|_| BadGenesis::ValidatorCount(validators.len()))?;
        delegation::begin(state, validator).map_err(|_| full())?;
        validator::claim_peer(state, validator);
        validator::write(state, validator);
    }
    active::begin(state, params);
    Ok(())
}
