//! What must hold of the whole state after every block, found by walking over all of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ledger::stake::delegation::{Delegation, delegations};
use ledger::stake::unbonding::{self, Unbonding};
use ledger::stake::{Validator, active, registry, rewards};
use ledger::state::key as at;
use ledger::{State, block, pool};
use types::{Address, Amount, Decode};

use crate::world::World;

/// The entries whose keys begin like this: the rest of the key, and the value.
fn all<T: Decode>(world: &World, prefix: &str) -> Vec<(String, T)> {
    let entries = world.entries.iter().filter_map(|(key, value)| {
        let key = std::str::from_utf8(key).expect("keys are text").strip_prefix(prefix)?;
        Some((key.to_owned(), T::from_bytes(value).expect("an entry of its kind")))
    });
    entries.collect()
}

pub(super) fn validators(world: &World) -> BTreeMap<Address, Validator> {
    all(world, "stake/").into_iter().map(|(key, record)| (key.parse().expect("an address"), record)).collect()
}

/// Checks everything that one entry says of another.
pub(super) fn check(world: &World) {
    let state = State::new(&world.entries);
    let params = block::params(&state);
    let validators = validators(world);
    let held: Vec<(Address, Address, Delegation)> = all(world, "delegation/")
        .into_iter()
        .map(|(key, delegation)| {
            let (account, validator) = key.split_once('/').expect("two addresses");
            (account.parse().expect("an address"), validator.parse().expect("an address"), delegation)
        })
        .collect();
    let waiting = waiting(world);
    for (address, record) in &validators {
        let here: Vec<_> = held.iter().filter(|(_, validator, _)| validator == address).map(|(_, _, delegation)| delegation).collect();
        assert_eq!(here.iter().map(|delegation| delegation.shares).sum::<u64>(), record.shares, "every share is somebody's");
        assert_eq!(record.shares > 0, record.bonded > Amount::ZERO, "shares are of something, and tokens are somebody's");
        assert!(record.bonded.0 <= record.shares, "a share is a token at most: nobody can make it too dear for others");
        let owed: u64 = here.iter().map(|delegation| rewards::owed(&record.earned, delegation, delegation.shares).0).sum();
        assert!(owed <= record.earned.unclaimed.0, "more is owed than was shared out: {owed}, {:?}", record.earned);
        assert!(record.shares > 0 || record.earned.unclaimed == Amount::ZERO, "nothing is owed to nobody");
        assert_eq!(state.read::<Address>(&at::peer(&record.peer_id)), Some(*address));
    }
    assert_eq!(all::<Address>(world, "validators/peer/").len(), validators.len(), "one peer id for each");
    for (account, _, delegation) in &held {
        let moved: u64 = delegation.moved.iter().map(|moved| moved.part).sum();
        assert!(delegation.shares > 0 && moved <= delegation.shares);
        let listed = delegations(&state, account);
        assert_eq!(listed.len(), held.iter().filter(|(other, _, _)| other == account).count());
        assert!(listed.iter().all(|(_, shares)| *shares > 0));
    }
    for unbonding in &waiting {
        assert!(unbonding::of(&state, &unbonding.account).contains(unbonding), "who waits knows it");
    }
    assert!(waiting.is_sorted_by_key(|unbonding| unbonding.completes), "the queue is in the order of completion");
    let earned = validators.values().map(|record| record.earned.unclaimed.0 + record.earned.commission.0).sum();
    assert_eq!(pool::read(&state, pool::REWARDS), Amount(earned), "the pool has what is owed");
    assert_eq!(pool::read(&state, pool::UNBONDING), Amount(waiting.iter().map(|unbonding| unbonding.amount.0).sum()));
    let registered: Vec<_> = registry::all(&state).collect();
    let listed: BTreeSet<_> = registered.iter().collect();
    assert_eq!(listed.len(), registered.len(), "nobody is listed twice");
    for (address, record) in &validators {
        assert!(!record.stands() || listed.contains(address), "who could validate is listed");
        assert!(record.shares > 0 || !listed.contains(address), "who has no stake is not");
    }
    let mut set: Vec<_> =
        validators.iter().map(|(address, record)| (*address, record.power(&params))).filter(|(_, power)| *power > 0).collect();
    set.sort_by_key(|(address, power)| (Reverse(*power), *address));
    set.truncate(params.stake.max_validators.into());
    let told: Vec<_> = active::told(&state).into_iter().map(|told| (told.validator, told.power)).collect();
    assert!(set.is_empty() || told == set, "the set is the stake's: {told:?}, {set:?}");
    assert!(!told.is_empty());
    assert!(world.entries.values().all(|value| value.len() <= 4096), "entries are small");
}

/// What waits, in the order of its numbers.
fn waiting(world: &World) -> Vec<Unbonding> {
    let mut numbered: BTreeMap<u64, Unbonding> = BTreeMap::new();
    for (key, value) in &world.entries {
        let number = std::str::from_utf8(key).expect("keys are text").strip_prefix("unbonding/").and_then(|number| number.parse().ok());
        if let Some(number) = number {
            numbered.insert(number, Unbonding::from_bytes(value).expect("an unbonding"));
        }
    }
    numbered.into_values().collect()
}
