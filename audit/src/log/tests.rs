use std::collections::BTreeMap;

use proptest::prelude::*;
use types::{Decode, DecodeError, Encode, Hash};

use super::{Frontier, Head, consistency, empty_root, entry_hash, inclusion, node_hash, verify_consistency, verify_inclusion};
use crate::path::PathError;

// RFC 6962 section 2.1 as it is written: recursive, over the entries themselves.

fn naive_root(entries: &[Hash]) -> Hash {
    match entries {
        [] => empty_root(),
        [entry] => *entry,
        _ => {
            let (left, right) = entries.split_at(naive_split(entries.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn naive_path(index: usize, entries: &[Hash]) -> Vec<Hash> {
    if entries.len() == 1 {
        return Vec::new();
    }
    let middle = naive_split(entries.len());
    let (left, right) = entries.split_at(middle);
    let (mut path, sibling) = if index < middle { (naive_path(index, left), right) } else { (naive_path(index - middle, right), left) };
    path.push(naive_root(sibling));
    path
}

fn naive_proof(old: usize, entries: &[Hash], whole: bool) -> Vec<Hash> {
    if old == entries.len() {
        return if whole { Vec::new() } else { vec![naive_root(entries)] };
    }
    let middle = naive_split(entries.len());
    let (left, right) = entries.split_at(middle);
    let (mut path, sibling) =
        if old <= middle { (naive_proof(old, left, whole), right) } else { (naive_proof(old - middle, right, false), left) };
    path.push(naive_root(sibling));
    path
}

fn naive_split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// A log of entries numbered from 0, its heads after each append, and a node's store of subtrees.
struct Sample {
    entries: Vec<Hash>,
    heads: Vec<Head>,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl Sample {
    fn new(count: u64) -> Self {
        let entries: Vec<_> = (0..count).map(|number| entry_hash(&number.to_le_bytes())).collect();
        let mut frontier = Frontier::default();
        let (mut heads, mut nodes) = (vec![frontier.head()], BTreeMap::new());
        for entry in &entries {
            frontier.append(*entry, |level, index, node| {
                assert_eq!(nodes.insert((level, index), node), None, "a subtree becomes complete once");
            });
            assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier.clone()));
            heads.push(frontier.head());
        }
        Self { entries, heads, nodes }
    }

    fn node(&self) -> impl Fn(u8, u64) -> Option<Hash> + '_ {
        |level, index| self.nodes.get(&(level, index)).copied()
    }
}

/// Every path that differs from `path` by one hash more, one less, or one bit.
fn damaged(path: &[Hash]) -> Vec<Vec<Hash>> {
    let longer = |at: usize, hash| {
        let mut path = path.to_vec();
        path.insert(at, hash);
        path
    };
    let shorter = |at: usize| {
        let mut path = path.to_vec();
        path.remove(at);
        path
    };
    let flipped = |at: usize| {
        let mut path = path.to_vec();
        path[at].0[at % 32] ^= 0x10;
        path
    };
    let mut all: Vec<_> = (0..=path.len()).map(|at| longer(at, Hash::ZERO)).collect();
    all.extend(path.last().map(|last| longer(path.len(), *last)));
    all.extend((0..path.len()).flat_map(|at| [shorter(at), flipped(at)]));
    all
}

const MOST: u64 = 130;

fn sizes() -> impl Iterator<Item = u64> {
    0..=MOST
}

/// The sizes for which every claim about every entry is tried: around each power of two, and all
/// small ones. The whole range would take this a minute.
fn close_sizes() -> impl Iterator<Item = u64> {
    (0..=40).chain(60..=68).chain(126..=MOST)
}

fn at(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

#[test]
fn every_head_is_that_of_rfc_6962() {
    let sample = Sample::new(MOST);
    for size in sizes() {
        let root = naive_root(&sample.entries[..at(size)]);
        assert_eq!(sample.heads[at(size)], Head { size, root }, "of {size} entries");
    }
}

/// The entries and roots by which the implementations of certificate transparency are tested.
#[test]
fn the_roots_of_certificate_transparency_are_reproduced() {
    let entries: [&[u8]; 8] = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(frontier.head().root.to_string(), *root, "of {size} entries");
        if let Some(entry) = entries.get(size) {
            frontier.append(entry_hash(entry), |_, _, _| ());
        }
    }
}

#[test]
fn every_inclusion_path_is_that_of_rfc_6962_and_proves_one_entry_only() {
    let sample = Sample::new(MOST);
    for size in sizes() {
        let root = sample.heads[at(size)].root;
        for index in 0..size {
            let (entry, entries) = (&sample.entries[at(index)], &sample.entries[..at(size)]);
            let path = inclusion(index, size, sample.node()).expect("every subtree is stored");
            assert_eq!(path, naive_path(at(index), entries), "path of {index} in {size}");
            assert_eq!(verify_inclusion(entry, index, size, &path, &root), Ok(()), "{index} of {size}");
            for path in damaged(&path) {
                assert!(verify_inclusion(entry, index, size, &path, &root).is_err(), "{index} of {size}, damaged");
            }
            assert!(verify_inclusion(&root_bit(*entry), index, size, &path, &root).is_err(), "another entry");
            assert!(verify_inclusion(entry, index, size, &path, &root_bit(root)).is_err(), "another root");
        }
        assert_eq!(inclusion(size, size, sample.node()), None, "no entry {size} of {size}");
    }
}

#[test]
fn an_inclusion_path_fits_no_other_index_and_no_size_of_another_shape() {
    let sample = Sample::new(MOST);
    for size in close_sizes() {
        let root = sample.heads[at(size)].root;
        for index in 0..size {
            let entry = &sample.entries[at(index)];
            let path = inclusion(index, size, sample.node()).expect("every subtree is stored");
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(entry, other, size, &path, &root).is_err(), "{index} of {size} at {other}");
            }
            for other in close_sizes().filter(|other| *other != size) {
                // Some sizes give an index the same siblings in the same places, so the path alone
                // cannot tell them apart; the size comes from the proven head.
                let same_shape = index < other && naive_sides(index, other) == naive_sides(index, size);
                let verdict = verify_inclusion(entry, index, other, &path, &root);
                assert_eq!(verdict.is_ok(), same_shape, "{index} of {size} as one of {other}");
            }
        }
    }
}

/// On which sides the siblings stand, leaf to root: true for the left.
fn naive_sides(index: u64, size: u64) -> Vec<bool> {
    if size == 1 {
        return Vec::new();
    }
    let middle = size.next_power_of_two() / 2;
    let left = index >= middle;
    let mut sides = if left { naive_sides(index - middle, size - middle) } else { naive_sides(index, middle) };
    sides.push(left);
    sides
}

fn root_bit(mut hash: Hash) -> Hash {
    hash.0[31] ^= 1;
    hash
}

#[test]
fn every_consistency_proof_is_that_of_rfc_6962_and_proves_two_sizes_only() {
    let sample = Sample::new(MOST);
    for new in sizes() {
        let later = sample.heads[at(new)];
        for old in 0..=new {
            let earlier = sample.heads[at(old)];
            let path = consistency(old, new, sample.node()).expect("every subtree is stored");
            if old > 0 {
                assert_eq!(path, naive_proof(at(old), &sample.entries[..at(new)], true), "proof from {old} to {new}");
            }
            assert_eq!(verify_consistency(&earlier, &later, &path), Ok(()), "{old} to {new}");
            for path in damaged(&path) {
                assert!(verify_consistency(&earlier, &later, &path).is_err(), "{old} to {new}, damaged");
            }
            let changed = Head { root: root_bit(earlier.root), ..earlier };
            assert!(verify_consistency(&changed, &later, &path).is_err(), "{old} to {new}, another old root");
            let changed = Head { root: root_bit(later.root), ..later };
            let refused = verify_consistency(&earlier, &changed, &path).is_err();
            // Any log continues the empty one.
            assert_eq!(refused, old > 0 || new == 0, "{old} to {new}, another new root");
        }
        assert_eq!(consistency(new + 1, new, sample.node()), None, "{new} does not continue {}", new + 1);
    }
}

#[test]
fn a_consistency_proof_does_not_fit_another_old_size() {
    let sample = Sample::new(MOST);
    for new in [1, 2, 7, 8, 64, 65, 100, 128, 130] {
        for old in 1..=new {
            let path = consistency(old, new, sample.node()).expect("every subtree is stored");
            for other in (1..=new).filter(|other| *other != old) {
                let claimed = Head { size: other, root: sample.heads[at(old)].root };
                assert!(verify_consistency(&claimed, &sample.heads[at(new)], &path).is_err(), "{old} to {new} as from {other}");
            }
        }
    }
}

#[test]
fn logs_that_do_not_continue_are_refused() {
    let sample = Sample::new(8);
    let head = |size: u64| sample.heads[at(size)];
    assert_eq!(verify_consistency(&head(5), &head(3), &[]), Err(PathError::Shrunk { old: 5, new: 3 }));
    let path = consistency(3, 8, sample.node()).expect("every subtree is stored");
    let forked = Head { size: 8, root: naive_root(&[sample.entries[0]; 8]) };
    assert!(matches!(verify_consistency(&head(3), &forked, &path), Err(PathError::Root { .. })), "a fork");
    let fake_empty = Head { size: 0, root: Hash::ZERO };
    assert!(matches!(verify_consistency(&fake_empty, &head(8), &[]), Err(PathError::Root { .. })), "another empty log");
    assert_eq!(verify_inclusion(&Hash::ZERO, 0, 0, &[], &empty_root()), Err(PathError::Empty));
}

#[test]
fn huge_sizes_are_judged_without_overflow() {
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
        let head = |size| Head { size, root: Hash::ZERO };
        let path = vec![Hash::ZERO; 64];
        let last = verify_inclusion(&Hash::ZERO, size - 1, size, &path, &Hash::ZERO);
        assert!(last.is_err(), "the last of {size}");
        assert!(verify_consistency(&head(size - 1), &head(size), &path).is_err(), "to {size}");
        assert!(verify_consistency(&head(1), &head(size), &path).is_err(), "from 1 to {size}");
        // Subtrees are asked for at levels and indices that exist.
        let node = |level: u8, index: u64| (index <= u64::MAX >> level).then_some(Hash([level; 32]));
        let path = inclusion(size - 1, size, node).expect("every subtree is known");
        assert_eq!(path.len(), crate::path::length(size - 1, size), "the last of {size}");
        assert!(consistency(1, size, node).is_some(), "from 1 to {size}");
    }
}

#[test]
fn a_node_that_lost_a_subtree_gives_no_proof() {
    let mut sample = Sample::new(8);
    sample.nodes.remove(&(1, 3));
    assert_eq!(inclusion(4, 8, sample.node()), None);
    assert_eq!(consistency(6, 8, sample.node()), None);
    assert!(inclusion(0, 8, sample.node()).is_some(), "a path that does not need it");
}

#[test]
fn a_frontier_with_hashes_that_its_size_does_not_have_is_refused() {
    let refused = Err(DecodeError::Value { what: "frontier (one hash for each bit set in the size)" });
    assert_eq!(Frontier::from_bytes(&[3, 0]), refused);
    assert_eq!(Frontier::from_bytes(&[[0, 1].as_slice(), &[7; 32]].concat()), refused);
    assert_eq!(Frontier::from_bytes(&[0, 0]), Ok(Frontier::default()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_two_sizes_are_consistent(one in 0u64..1_500, two in 0u64..1_500) {
        let (old, new) = (one.min(two), one.max(two));
        let sample = Sample::new(new);
        let path = consistency(old, new, sample.node()).expect("every subtree is stored");
        prop_assert_eq!(verify_consistency(&sample.heads[at(old)], &sample.heads[at(new)], &path), Ok(()));
        if old < new {
            let path = inclusion(old, new, sample.node()).expect("every subtree is stored");
            let root = sample.heads[at(new)].root;
            prop_assert_eq!(verify_inclusion(&sample.entries[at(old)], old, new, &path, &root), Ok(()));
        }
    }

    #[test]
    fn any_claim_is_judged_without_panic(
        old: u64, new: u64, index: u64,
        path in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..70),
    ) {
        let head = |size| Head { size, root: Hash([1; 32]) };
        let _ = verify_consistency(&head(old), &head(new), &path);
        let _ = verify_inclusion(&Hash::ZERO, index, new, &path, &Hash([1; 32]));
    }
}
