//! Pools: tokens that are nobody's yet. And how tokens come to be and end.

use types::Amount;

use crate::genesis::MAX_SUPPLY;
use crate::state::{State, key};

/// Fees that wait for being shared.
pub const FEES: &[u8] = key::FEES;
/// Rewards that are owed.
pub const REWARDS: &[u8] = key::REWARDS;
/// Stake that waits for the end of its unbonding period.
pub const UNBONDING: &[u8] = key::UNBONDING;

/// What is in a pool; one that was never written is empty.
#[must_use]
pub fn read(state: &State<'_>, pool: &[u8]) -> Amount {
    state.read(pool).unwrap_or_default()
}

/// Puts tokens into a pool.
///
/// # Panics
/// If the pool overflows, which the supply's bound excludes.
pub fn fill(state: &mut State<'_>, pool: &[u8], amount: Amount) {
    let sum = read(state, pool).checked_add(amount).expect("no pool exceeds the supply");
    state.write(pool.to_vec(), &sum);
}

/// Takes tokens out of a pool.
///
/// # Panics
/// If there are fewer, which the rules that fill it exclude.
pub fn draw(state: &mut State<'_>, pool: &[u8], amount: Amount) {
    let rest = read(state, pool).checked_sub(amount).expect("nothing leaves a pool that is not in it");
    state.write(pool.to_vec(), &rest);
}

/// Moves tokens from one pool to another. Nothing is written where nothing moves.
///
/// # Panics
/// As [`draw`].
pub fn shift(state: &mut State<'_>, from: &[u8], to: &[u8], amount: Amount) {
    if amount > Amount::ZERO {
        draw(state, from, amount);
        fill(state, to, amount);
    }
}

/// How many more tokens there may be.
#[must_use]
pub fn room(state: &State<'_>) -> Amount {
    Amount(MAX_SUPPLY.saturating_sub(read(state, key::SUPPLY).0))
}

/// Makes tokens; the caller puts them somewhere, and asks for no more than there is [`room`] for.
///
/// # Panics
/// As [`fill`].
pub fn mint(state: &mut State<'_>, amount: Amount) {
    fill(state, key::SUPPLY, amount);
}

/// Ends tokens that the caller has taken from somewhere.
///
/// # Panics
/// As [`draw`].
pub fn burn(state: &mut State<'_>, amount: Amount) {
    if amount > Amount::ZERO {
        draw(state, key::SUPPLY, amount);
    }
}
