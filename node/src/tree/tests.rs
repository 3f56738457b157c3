//! The tree over a database in a temporary folder, beside the tree's own store in memory.

use std::collections::BTreeMap;

use ::tree::Body;
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use light::StateProof;
use sha2::Sha256;
use tempfile::TempDir;

use super::*;
use crate::testing::Bench;

/// What a version holds.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A tree, and what it should hold after each version.
struct World {
    store: Store,
    mock: MockTreeStore,
    versions: Vec<(Hash, Entries)>,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open(folder.path(), Hash::ZERO).expect("a new database");
        Self { store, mock: MockTreeStore::default(), versions: Vec::new(), folder }
    }

    /// Makes and writes the next version.
    fn update(&mut self, changes: Changes) {
        let version = self.versions.len() as Version;
        let update = update(&self.store, version, &changes).expect("the stored tree is whole");
        assert_eq!((update.version, update.root), (version, self.mock_root(version, &changes)), "the root is the tree's own");
        let mut batch = self.store.batch();
        update.write(&mut batch).expect("nodes encode");
        batch.write().expect("a durable write");
        let mut entries = self.versions.last().map(|(_, entries)| entries.clone()).unwrap_or_default();
        for (key, value) in changes {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        self.versions.push((update.root, entries));
    }

    fn mock_root(&self, version: Version, changes: &Changes) -> Hash {
        let values = changes.iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value.clone()));
        let (root, batch) = Sha256Jmt::new(&self.mock).put_value_set(values, version).expect("the tree takes changes");
        self.mock.write_tree_update_batch(batch).expect("the store takes nodes");
        Hash(root.0)
    }

    /// In every version, each of these keys has the value it had then, or none, and a proof of it.
    fn check(&self, keys: &[Vec<u8>]) {
        for (version, (root, entries)) in (0..).zip(&self.versions) {
            for key in keys {
                let story = format!("{} in version {version}", String::from_utf8_lossy(key));
                let expected = entries.get(key).cloned();
                assert_eq!(get(&self.store, version, key).expect("whole"), expected, "{story}");
                let (value, proof) = prove(&self.store, version, key).expect("whole");
                assert_eq!(value, expected, "{story}");
                let proof = StateProof::from_ics23(key, &proof).expect("a proof of the right form");
                assert_eq!(proof.value(), expected.as_deref(), "{story}");
                assert_eq!(proof.leads_from(key, root), Ok(true), "{story}");
                assert_eq!(proof.leads_from(key, &Hash::sha256(&[b"another root"])), Ok(false), "{story}");
            }
        }
    }
}

fn name(number: u32) -> Vec<u8> {
    format!("account/{number}").into_bytes()
}

fn value(number: u32, version: u32) -> Vec<u8> {
    format!("value {number} of version {version}").into_bytes()
}

fn set(numbers: impl IntoIterator<Item = u32>, version: u32) -> Changes {
    numbers.into_iter().map(|number| (name(number), Some(value(number, version)))).collect()
}

fn remove(numbers: impl IntoIterator<Item = u32>) -> Changes {
    numbers.into_iter().map(|number| (name(number), None)).collect()
}

/// Keys that are there sometimes, and some that never are.
fn asked() -> Vec<Vec<u8>> {
    (0..60).map(name).chain([b"account".to_vec(), b"nothing".to_vec()]).collect()
}

#[test]
fn every_version_stays_provable_and_true() {
    let mut world = World::new();
    world.update(set(0..40, 0));
    world.update(set(10..20, 1));
    world.update(set(40..50, 2));
    world.update(remove(0..10));
    world.update([set([3, 45], 4), remove([12, 44])].into_iter().flatten().collect());
    world.check(&asked());
}

#[test]
fn a_single_entry_is_proven_beside_nothing() {
    let mut world = World::new();
    world.update(set([7], 0));
    world.update(set([7], 1));
    world.check(&[name(7), name(8), b"".to_vec()]);
}

#[test]
fn an_entry_that_was_removed_can_come_back() {
    let mut world = World::new();
    world.update(set(0..5, 0));
    let first = world.versions[0].0;
    world.update(remove([2]));
    world.update([(name(2), Some(value(2, 0)))].into());
    assert_eq!(world.versions[2].0, first, "the root follows from the entries alone");
    world.check(&asked());
}

#[test]
fn the_removal_of_what_is_not_there_changes_no_root() {
    let mut world = World::new();
    world.update(set(0..5, 0));
    world.update(remove([30]));
    assert_eq!(world.versions[0].0, world.versions[1].0);
    world.check(&asked());
}

#[test]
fn the_root_does_not_follow_from_the_way() {
    let (mut at_once, mut in_steps) = (World::new(), World::new());
    at_once.update(set(0..30, 0));
    in_steps.update(set(0..35, 0));
    in_steps.update(set(5..10, 1));
    in_steps.update(remove(30..35));
    in_steps.update(set(5..10, 0));
    assert_eq!(at_once.versions[0].0, in_steps.versions[3].0);
}

#[test]
fn many_versions_of_many_entries_agree_with_the_trees_own_store() {
    let mut world = World::new();
    for version in 0..40u32 {
        let draw = |place: u32| {
            let hash = Hash::sha256(&[&version.to_be_bytes(), &place.to_be_bytes()]).0;
            (u32::from(hash[0]) % 50, hash[1].is_multiple_of(4))
        };
        let changes = (0..version % 9 + 1).map(draw).map(|(number, gone)| (name(number), (!gone).then(|| value(number, version))));
        // A tree without an entry has no proofs: one stays.
        world.update(changes.chain([(b"stays".to_vec(), Some(vec![1]))]).collect());
    }
    world.check(&asked());
}

#[test]
fn an_update_that_is_not_written_leaves_nothing() {
    let mut world = World::new();
    world.update(set(0..10, 0));
    let first = update(&world.store, 1, &set(0..3, 1)).expect("whole");
    assert_eq!(get(&world.store, 0, &name(0)).expect("whole"), Some(value(0, 0)), "the value is still the old one");
    assert!(get(&world.store, 1, &name(0)).is_err(), "a version that is not there has no values");
    assert!(prove(&world.store, 1, &name(0)).is_err(), "and proves nothing");
    let second = update(&world.store, 1, &set(0..3, 2)).expect("whole");
    assert_ne!(first.root, second.root);
    world.update(set(0..3, 3));
    world.check(&asked());
}

#[test]
fn what_was_written_is_there_when_the_database_is_opened_again() {
    let mut world = World::new();
    world.update(set(0..20, 0));
    world.update(remove(5..10));
    let World { store, mock, versions, folder } = world;
    drop(store);
    let store = Store::open(folder.path(), Hash::ZERO).expect("the database");
    World { store, mock, versions, folder }.check(&asked());
}

/// Reads every page of a version, and says how many rows they stand in.
fn rows(store: &Store, version: Version) -> usize {
    let mut open = vec![PageId::root(version)];
    let mut count = 0;
    while let Some(id) = open.pop() {
        let page = store.page(&id).expect("a page that a version has");
        count += page.rows().len();
        if let Body::Inner(slots) = &page.body {
            let children = slots.iter().enumerate().filter_map(|(slot, child)| Some((slot, (*child)?)));
            open.extend(children.map(|(slot, child)| PageId { version: child.version, path: id.path.child(slot) }));
        }
    }
    count
}

fn stored(store: &Store, column: Column) -> usize {
    store.iterate(column, IteratorMode::Start).count()
}

#[test]
fn pruning_removes_what_no_kept_version_has_and_nothing_else() {
    let mut world = World::new();
    world.update(set(0..9_000, 0));
    world.update(set(0..9_000, 1));
    world.update(set(0..100, 2));
    world.update(remove(50..60));
    let mut steps = 1;
    while prune(&world.store, 3).expect("lists that hold") {
        steps += 1;
    }
    assert!(steps > 4, "9,000 records and their pages are more than one list");
    assert_eq!((stored(&world.store, Column::Stale), stored(&world.store, Column::Records)), (0, 8_990));
    assert_eq!(stored(&world.store, Column::Pages), rows(&world.store, 3));
    assert!(get(&world.store, 2, &name(1)).is_err(), "the version before is gone");
    // Out of the database, not out of memory.
    let World { store, versions, folder, .. } = world;
    drop(store);
    let store = Store::open(folder.path(), Hash::ZERO).expect("the database");
    let (root, entries) = &versions[3];
    for key in [name(1), name(55), name(99), name(8_000), b"nothing".to_vec()] {
        let (value, proof) = prove(&store, 3, &key).expect("whole");
        assert_eq!(value.as_ref(), entries.get(&key));
        assert_eq!(StateProof::from_ics23(&key, &proof).expect("a proof").leads_from(&key, root), Ok(true));
    }
    assert!(!prune(&store, 3).expect("nothing to do"));
}

#[test]
fn a_tree_that_is_built_is_the_one_that_grew() {
    let mut grown = World::new();
    grown.update(set(0..3_000, 0));
    let other = World::new();
    let entries = (0..3_000).rev().map(|number| (name(number), value(number, 0)));
    assert_eq!(build(&other.store, 0, entries).expect("a tree"), grown.versions[0].0);
    for column in [Column::Pages, Column::Records] {
        let all = |store: &Store| store.iterate(column, IteratorMode::Start).collect::<Vec<_>>();
        assert_eq!(all(&other.store), all(&grown.store), "{column:?}");
    }
    // Both go on alike.
    let changes = set(5..9, 1);
    let roots = [&other.store, &grown.store].map(|store| update(store, 1, &changes).expect("whole").root);
    assert_eq!(roots[0], roots[1]);
    assert!(build(&other.store, 7, []).is_ok_and(|root| root == hash::EMPTY), "and a tree of nothing has a root too");
}

#[test]
fn a_version_that_is_forgotten_can_be_made_anew() {
    let mut world = World::new();
    world.update(set(0..300, 0));
    let before = [Column::Pages, Column::Records, Column::Stale].map(|column| stored(&world.store, column));
    let wrong = update(&world.store, 1, &set(0..200, 7)).expect("whole");
    let mut batch = world.store.batch();
    wrong.write(&mut batch).expect("pages encode");
    batch.write().expect("a durable write");
    assert_eq!(get(&world.store, 1, &name(0)).expect("whole"), Some(value(0, 7)));
    let mut batch = world.store.batch();
    forget(&world.store, &mut batch, 1);
    batch.write().expect("a durable write");
    assert_eq!([Column::Pages, Column::Records, Column::Stale].map(|column| stored(&world.store, column)), before);
    world.update(set(10..20, 1));
    world.check(&asked());
}

#[test]
fn a_block_that_changes_nothing_has_no_version_of_its_own() {
    let bench = Bench::new();
    let store = bench.app.store();
    let written = || store.iterate(Column::Pages, IteratorMode::Start).count();
    // The genesis is old: the first block ends an epoch.
    bench.make(1);
    let (nodes, root) = (written(), bench.app.chain().app_hash);
    bench.make(2);
    assert_eq!((store.tree_version(), store.tree_version_at(2), store.tree_version_at(3)), (1, Some(1), Some(1)));
    assert_eq!((written(), bench.app.chain().app_hash.as_bytes()), (nodes, root.as_bytes()));
    bench.app.submit(bench.transfer(0)).expect("a transfer that can be paid");
    bench.make(2);
    assert_eq!((store.tree_version(), store.tree_version_at(4), store.tree_version_at(5)), (2, Some(2), Some(2)));
    assert!(written() > nodes);
    assert_ne!(bench.app.chain().app_hash.as_bytes(), root.as_bytes());
}
