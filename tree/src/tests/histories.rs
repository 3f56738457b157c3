//! Histories of changes: told ones, random ones, and a long one.

use proptest::prelude::*;

use super::*;

/// Numbers out of a seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u64) -> u64 {
        self.0 += 1;
        let hash = Hash::sha256(&[b"draw", &self.0.to_be_bytes()]).0;
        hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % below
    }
}

fn check_all(world: &World, keys: u64) {
    for version in 0..world.versions.len() as u64 {
        (0..keys).for_each(|number| world.check(version, &name(number)));
        world.check(version, b"nothing");
    }
    world.check_whole_from(0);
}

#[test]
fn every_version_stays_provable_and_true() {
    let mut world = World::default();
    world.update(&set(0..40, 0));
    world.update(&set(10..20, 1));
    world.update(&set(40..50, 2));
    world.update(&remove(0..10));
    world.update(&set([3, 45], 4).into_iter().chain(remove([12, 44])).collect());
    check_all(&world, 60);
}

#[test]
fn a_tree_can_begin_empty_become_empty_and_grow_again() {
    let mut world = World::default();
    world.update(&Changes::new());
    world.update(&set([7], 1));
    world.update(&set(0..200, 2));
    world.update(&remove(0..200));
    assert_eq!(world.versions[3].0, hash::EMPTY);
    world.update(&set([1], 4));
    check_all(&world, 10);
}

#[test]
fn what_changes_nothing_writes_the_root_page_alone() {
    for count in [3, 500] {
        let mut world = World::default();
        world.update(&set(0..count, 0));
        let changes: Changes = set([1], 0).into_iter().chain(remove([9_999])).collect();
        let changes = changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
        let update = update(&world.memory, Some(0), 1, changes).expect("whole");
        let Writes { pages, records, stale_pages, stale_records } = &update.writes;
        assert_eq!((pages.len(), records.len(), stale_pages.as_slice(), stale_records.len()), (1, 0, &[PageId::root(0)][..], 0));
        assert_eq!(update.root, world.versions[0].0);
    }
}

#[test]
fn tasks_may_be_run_in_any_order() {
    let mut world = World::default();
    world.update(&set(0..1_000, 0));
    let changes = set(500..1_500, 1);
    let changes = || changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
    let expected = update(&world.memory, Some(0), 1, changes()).expect("whole");
    let begun = begin(&world.memory, Some(0), 1, changes()).expect("whole");
    let mut done: Vec<Done> = begun.tasks().into_iter().rev().map(|task| task.run(&world.memory).expect("whole")).collect();
    assert_eq!(done.len(), SLOTS);
    done.reverse();
    let found = begun.finish(&world.memory, done).expect("whole");
    let (mut one, mut other) = (world.memory.clone(), world.memory);
    one.write(expected);
    other.write(found);
    assert_eq!(one, other);
}

/// Ten versions at most, of changes to 60 keys: around the number that fits a page.
fn histories() -> impl Strategy<Value = Vec<Vec<(u64, bool)>>> {
    prop::collection::vec(prop::collection::vec((0u64..60, prop::bool::weighted(0.6)), 0..50), 1..10)
}

proptest! {
    #[test]
    fn any_history_has_the_oracles_roots_and_proofs(history in histories(), bound in 0u64..10) {
        let mut world = World::default();
        for (version, changes) in (0u64..).zip(history) {
            world.update(&changes.into_iter().map(|(number, set)| (name(number), set.then(|| value(number, version)))).collect());
        }
        world.check_whole_from(0);
        let newest = world.versions.len() as u64 - 1;
        for version in [newest / 2, newest] {
            (0..62).step_by(5).for_each(|number| world.check(version, &name(number)));
        }
        let bound = bound.min(newest);
        world.memory.prune(bound);
        world.check_whole_from(bound);
        world.check(bound, &name(bound));
    }
}

#[test]
fn a_hundred_thousand_operations_agree_with_the_oracle() {
    let (mut world, mut draw) = (World::default(), Draw(1));
    let (mut operations, mut bound) = (0, 0);
    while operations < 100_000 {
        let version = world.versions.len() as u64;
        // It grows to some thousands, and shrinks again, to nothing at times.
        let shrinking = version % 40 >= 28;
        let changes: Changes = (0..draw.next(600))
            .map(|_| draw.next(if shrinking { 1_500 } else { 3_000 }))
            .map(|number| (name(number), (!shrinking || number.is_multiple_of(16)).then(|| value(number, version))))
            .collect();
        operations += changes.len();
        world.update(&changes);
        if version % 10 == 9 {
            for _ in 0..10 {
                let at = bound + draw.next(version + 1 - bound);
                world.check(at, &name(draw.next(3_100)));
            }
        }
        if version % 25 == 24 {
            bound = version - 10;
            world.memory.prune(bound);
            world.check_whole_from(bound);
            assert!(matches!(prove(&world.memory, bound - 1, b"key"), Err(Error::NoPage(_))), "below the bound nothing is left");
        }
    }
}
