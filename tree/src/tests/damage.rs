//! Pages, records and lists that are not what was written give errors, and never a panic or an endless way.

use proptest::prelude::*;

use super::*;

fn world() -> World {
    let mut world = World::default();
    world.update(&set(0..400, 0));
    world.update(&set(100..300, 1));
    // What is damaged is on the disk.
    world.memory.held.clear();
    world
}

/// A page of one row.
fn read(id: &PageId, bytes: &[u8]) -> Result<Page, Error> {
    Page::read(id, |at| (at == id).then(|| bytes.to_vec()))
}

/// Walks everything there is, and changes everything.
fn use_it(memory: &Memory) {
    for number in (0..400).step_by(7) {
        let _ = (get(memory, 1, &name(number)), prove(memory, 1, &name(number)), prove(memory, 1, &name(number + 1_000)));
    }
    for changes in [set(0..500, 2), remove(0..400)] {
        let changes = changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
        let _ = update(memory, Some(1), 2, changes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_does_no_more_than_refuse(page in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let mut memory = world().memory;
        let key = page.get(&memory.pages.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = memory.pages.get_mut(&key).expect("a page");
        let bit = bit.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        use_it(&memory);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0u8..3, depth in 0..=MAX_PATH) {
        let path = (0..depth).fold(Path::default(), |path, slot| path.child(slot % 16));
        let id = PageId { version: u64::MAX, path };
        let bytes = [vec![tag], bytes].concat();
        if let Ok(page) = read(&id, &bytes) {
            prop_assert_eq!(&row::write(&id, &page.body, None).0, &bytes);
            let _ = (page.leaves(), page.body.into_page(depth, id.version, Rows::Whole, None));
        }
        let _ = (stale::from_bytes(&bytes), record::from_bytes(&bytes), PageId::from_key(&bytes), RecordId::from_key(&bytes));
    }
}

#[test]
fn a_page_at_the_place_of_another_is_refused() {
    let memory = world().memory;
    let pages: Vec<_> = memory.pages.iter().map(|(key, bytes)| (PageId::from_key(key).expect("a key"), bytes)).collect();
    let buckets = || pages.iter().filter(|(_, bytes)| bytes[0] == 0 && bytes[1] > 0);
    for ((id, _), (_, bytes)) in buckets().zip(buckets().skip(1)).filter(|((one, _), (other, _))| one.path != other.path) {
        assert!(read(id, bytes).is_err(), "{id:?}");
    }
}

#[test]
fn each_rule_of_a_page_is_held_to() {
    let root = PageId::root(5);
    let leaf = |first: u8, version: u8| [[first; 32].as_slice(), &[7; 32], &[version]].concat();
    let bucket = |leaves: &[Vec<u8>]| [&[0, u8::try_from(leaves.len()).expect("few")], leaves.concat().as_slice()].concat();
    let child = |version: u8, leaves: &[u8]| [&[version], leaves, &[7; 32]].concat();
    let two = |children: [Vec<u8>; 2]| [&[1, 0xc0, 0], children.concat().as_slice()].concat();
    let deep = PageId { version: 5, path: Path::default().child(1) };
    let end = PageId { version: 5, path: (0..MAX_PATH).fold(Path::default(), |path, _| path.child(1)) };
    let table: [(&str, &PageId, Vec<u8>, bool); 15] = [
        ("two leaves", &root, bucket(&[leaf(1, 5), leaf(2, 0)]), true),
        ("an empty root", &root, bucket(&[]), true),
        ("an empty page below the root", &deep, bucket(&[]), false),
        ("leaves out of order", &root, bucket(&[leaf(2, 5), leaf(1, 5)]), false),
        ("one leaf twice", &root, bucket(&[leaf(2, 5), leaf(2, 5)]), false),
        ("a leaf of a later version", &root, bucket(&[leaf(1, 6)]), false),
        ("a leaf of elsewhere", &deep, bucket(&[leaf(0x20, 5)]), false),
        ("more leaves than fit", &root, bucket(&(0..=24).map(|first| leaf(first, 1)).collect::<Vec<_>>()), false),
        ("two children", &root, two([child(5, &[20]), child(4, &[5])]), true),
        ("children that fit one page", &root, two([child(5, &[20]), child(4, &[4])]), false),
        ("a child without a leaf", &root, two([child(5, &[30]), child(4, &[0])]), false),
        ("a child of a later version", &root, two([child(6, &[30]), child(4, &[1])]), false),
        (
            "a child of more leaves than there are",
            &root,
            two([child(5, &[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]), child(4, &[1])]),
            false,
        ),
        ("children below a whole place", &end, two([child(5, &[30]), child(4, &[1])]), false),
        ("something after it", &root, [bucket(&[]), vec![0]].concat(), false),
    ];
    for (story, id, bytes, fine) in table {
        assert_eq!(read(id, &bytes).is_ok(), fine, "{story}");
    }
}

#[test]
fn each_rule_of_a_row_of_changes_is_held_to() {
    let id = |version: u64| PageId { version, path: Path::default().child(1) };
    let leaf = |last: u8| [[0x10; 31].as_slice(), &[last], &[7; 32], &[0]].concat();
    let leaves = |count: u8| [&[0, count], (0..count).map(leaf).collect::<Vec<_>>().concat().as_slice()].concat();
    let change = |base: u8, last: u8| [&[2, base, 1], leaf(last).as_slice()].concat();
    let chain = |length: u8| (0..length).map(|version| if version == 0 { leaves(2) } else { change(version - 1, version) }).collect();
    let table: [(&str, Vec<Vec<u8>>, bool); 8] = [
        ("a leaf that comes", vec![leaves(2), change(0, 5)], true),
        ("as many rows as there can be", chain(8), true),
        ("one more", chain(9), false),
        ("a row that builds on itself", vec![leaves(2), change(1, 5)], false),
        ("a row that builds on a later one", vec![leaves(2), change(2, 5)], false),
        ("children over leaves", vec![leaves(2), [&[3, 0, 0x80, 0, 0, 30], [7; 32].as_slice()].concat()], false),
        ("more leaves than fit", vec![leaves(24), change(0, 30)], false),
        ("changes of nothing", vec![change(0, 5)], false),
    ];
    for (story, rows, fine) in table {
        let row = |id: &PageId| rows.get(usize::try_from(id.version).expect("small")).cloned();
        assert_eq!(Page::read(&id(rows.len() as u64 - 1), row).is_ok(), fine, "{story}");
    }
    let missing = Page::read(&id(1), |at| (at.version == 1).then(|| change(0, 5)));
    assert_eq!(missing.map(|_| ()), Err(Error::NoPage(id(0))), "the row it builds on is not there");
}
