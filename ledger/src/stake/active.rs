//! The active set: who signs blocks, and with which power.

use std::cmp::Reverse;

use types::{Address, List, PublicKey};

use super::params::MAX_ACTIVE;
use super::{registry, validator};
use crate::block;
use crate::params::Params;
use crate::state::{State, key};

/// A validator as the engine was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The validator.
    pub validator: Address,
    /// Its power.
    pub power: u64,
}
types::codec!(Told { validator, power });

/// The set as the state keeps it, the most power first.
pub type Set = List<Told, { MAX_ACTIVE as usize }>;

/// The set as the engine was told last, the most power first.
#[must_use]
pub fn told(state: &State<'_>) -> Vec<Told> {
    state.read::<Set>(key::ACTIVE).map(Set::into_vec).unwrap_or_default()
}

/// Whether anybody but `validator` could validate. Looks no further than to the first who could.
pub(super) fn others(state: &State<'_>, params: &Params, validator: &Address) -> bool {
    candidates(state, params).any(|told| told.validator != *validator)
}

pub(super) fn begin(state: &mut State<'_>, params: &Params) {
    let set = top(state, params);
    write(state, set);
}

/// Works out the set anew if stake or parameters have changed, and says what the engine must be told.
///
/// A set is never empty: should nobody be left who could validate (all have signed twice), those who did go on
/// until somebody else has power, since a chain without validators could never take that somebody in.
pub(super) fn update(state: &mut State<'_>) -> Vec<(PublicKey, u64)> {
    if !state.touches(key::STAKE) && !state.touches(key::PARAMS) {
        return Vec::new();
    }
    // A vote may have changed them in this block; they count for the set from now on.
    let params = block::params(state);
    let (before, after) = (told(state), top(state, &params));
    if after.is_empty() || after == before {
        return Vec::new();
    }
    let stays = |told: &Told| after.iter().any(|other| other.validator == told.validator);
    let gone = before.iter().filter(|told| !stays(told)).map(|told| Told { power: 0, ..*told });
    let changed = after.iter().filter(|told| !before.contains(told)).copied();
    let updates: Vec<_> = changed.chain(gone).collect();
    write(state, after);
    let key = |validator| validator::read(state, validator).expect("records stay").consensus_key;
    updates.iter().map(|told| (key(&told.validator), told.power)).collect()
}

fn top(state: &State<'_>, params: &Params) -> Vec<Told> {
    let mut top: Vec<_> = candidates(state, params).collect();
    top.sort_by_key(|told| (Reverse(told.power), told.validator));
    top.truncate(params.stake.max_validators.min(MAX_ACTIVE).into());
    top
}

/// Who could validate: everybody with power.
fn candidates(state: &State<'_>, params: &Params) -> impl Iterator<Item = Told> {
    let power = |validator| validator::read(state, &validator).map_or(0, |record| record.power(params));
    registry::all(state).map(move |validator| Told { validator, power: power(validator) }).filter(|told| told.power > 0)
}

fn write(state: &mut State<'_>, set: Vec<Told>) {
    let set = Set::try_from(set).expect("a set is within its bound");
    state.write(key::ACTIVE.to_vec(), &set);
}
