//! Authors for the operations that the relay pays for.
//!
//! An account makes one transaction after another, and the relay's own makes anchors. So a
//! sponsored operation has another author, out of a few whose keys follow from the account's; it
//! owns nothing, and the relay's account signs as the payer.

use rpc::queue::Lane;
use types::{Domain, SigningKey};

/// How many transactions can be on their way at once. It may grow, and never shrink: what a lane has begun is its own.
const LANES: u8 = 8;

static LANE: Domain = Domain::new("zynk.2026 relay sponsor lane v1");

/// The lanes of an account.
pub(crate) fn of(account: &SigningKey) -> Vec<Lane> {
    let author = |number: u8| SigningKey::from_seed(&LANE.hash(&[account.seed(), &[number]]).0);
    (0..LANES).map(|number| Lane { author: author(number), payer: Some(account.clone()) }).collect()
}
