//! How a tree lies on its pages.

use super::*;

/// Pages by path, without the versions that wrote them.
fn layout(memory: &Memory, version: u64) -> BTreeMap<Path, Body> {
    let pages = memory.pages_of(version).into_iter().map(|(id, page)| {
        let body = match page.body.clone() {
            Body::Bucket(leaves) => Body::Bucket(leaves.into_iter().map(|leaf| Leaf { version: 0, ..leaf }).collect()),
            Body::Inner(slots) => Body::Inner(Box::new(slots.map(|slot| slot.map(|child| Child { version: 0, ..child })))),
        };
        (id.path, body)
    });
    pages.collect()
}

#[test]
fn the_layout_follows_from_the_entries_and_not_from_the_way() {
    let (mut at_once, mut in_steps) = (World::default(), World::default());
    at_once.update(&set(0..700, 0));
    in_steps.update(&set(0..10, 0));
    in_steps.update(&set(0..2_000, 9));
    in_steps.update(&remove(650..2_000));
    in_steps.update(&set(0..700, 0));
    assert_eq!(at_once.versions[0].0, in_steps.versions[3].0);
    assert_eq!(layout(&at_once.memory, 0), layout(&in_steps.memory, 3));
}

#[test]
fn a_tree_built_at_once_is_the_tree_of_one_update() {
    for count in [0, 1, BUCKET as u64, BUCKET as u64 + 1, 100, 5_000] {
        let mut world = World::default();
        world.update(&set(0..count, 0));
        let entries: BTreeMap<Hash, Vec<u8>> = world.newest().into_iter().map(|(key, value)| (hash::place(&key), value)).collect();
        let mut builder = Builder::new(0);
        let mut pages = Vec::new();
        for (place, value) in &entries {
            builder.push(*place, hash::leaf(place, value)).expect("in order");
            pages.append(&mut builder.take());
        }
        let (rest, root) = builder.finish().expect("a tree");
        pages.extend(rest);
        let pages: BTreeMap<_, _> = pages.into_iter().map(|page| (page.id.to_key(), page.bytes)).collect();
        assert_eq!((root, &pages), (world.versions[0].0, &world.memory.pages), "{count} entries");
    }
}

#[test]
fn a_builder_refuses_places_out_of_order() {
    let place = |byte| Hash([byte; 32]);
    let mut builder = Builder::new(0);
    builder.push(place(5), Hash::ZERO).expect("the first");
    assert_eq!(builder.push(place(5), Hash::ZERO), Err(Error::Order(place(5))));
    assert_eq!(builder.push(place(4), Hash::ZERO), Err(Error::Order(place(4))));
}

#[test]
fn places_that_share_all_but_their_last_bits_go_as_deep_as_a_path_can() {
    let places = |count: u8| (0..count).map(|last| Hash([[0xab; 31].as_slice(), &[last]].concat().try_into().expect("32 bytes")));
    let mut memory = Memory::default();
    let oracle = MockTreeStore::default();
    let mut step = |version: u64, changes: Vec<(Hash, Option<&[u8]>)>| {
        let ours = changes.iter().map(|(place, value)| Change::at(*place, *value)).collect();
        let update = update(&memory, version.checked_sub(1), version, ours).expect("whole");
        let theirs = changes.iter().map(|(place, value)| (KeyHash(place.0), value.map(<[u8]>::to_vec)));
        let (root, batch) = Sha256Jmt::new(&oracle).put_value_set(theirs, version).expect("the oracle takes changes");
        oracle.write_tree_update_batch(batch).expect("the oracle's store takes nodes");
        assert_eq!(update.root, Hash(root.0), "version {version}");
        memory.write(update);
        memory.reachable(version).0.iter().map(|key| key.len() - 8).max()
    };
    assert_eq!(step(0, places(20).map(|place| (place, Some(&b"a"[..]))).collect()), Some(0), "they fit the root");
    assert_eq!(step(1, places(255).map(|place| (place, Some(&b"b"[..]))).collect()), Some(63), "split by the last nibble but one");
    assert_eq!(step(2, places(250).map(|place| (place, None)).collect()), Some(0), "and back again");
    assert_eq!(step(3, places(255).map(|place| (place, None)).collect()), Some(0), "to nothing");
}

#[test]
fn a_version_writes_what_is_on_the_way_and_nothing_else() {
    let mut world = World::default();
    world.update(&set(0..20_000, 0));
    let changes = set([7], 1);
    let changes = changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
    let writes = update(&world.memory, Some(0), 1, changes).expect("whole").writes;
    let depths: Vec<usize> = writes.pages.iter().map(|page| page.id.path.depth()).collect();
    assert_eq!((depths.as_slice(), writes.records.len()), (&[0, 1, 2, 3][..], 1), "20,000 / 16³ are five leaves on a page");
    assert_eq!((writes.stale_pages.len(), writes.stale_records.len()), (1, 1), "the root alone was written whole");
    let bytes: usize = writes.pages.iter().map(|page| page.bytes.len()).sum();
    assert!(bytes < 700 + 3 * 80, "{bytes}: what changed is written, and not the pages around it");
}
