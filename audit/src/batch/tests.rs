use proptest::prelude::*;
use rs_merkle::MerkleProof;
use types::{Decode, DecodeError, Encode, Hash};

use super::{Absence, Batch, BatchError, MAX_BATCH, MAX_COUNT, verify_absence, verify_path};
use crate::domains::NODE;
use crate::path::PathError;
use crate::tree::Tree;
use crate::tree::tests::{Keyed, leaves, oracle};

/// Leaves for padding that equal none of [`leaves`].
fn padding() -> impl FnMut() -> Hash {
    let mut number = 0u64;
    move || {
        number += 1;
        Hash(*blake3::hash(format!("padding {number}").as_bytes()).as_bytes())
    }
}

fn sealed(count: usize) -> Batch {
    Batch::seal(leaves(count), padding()).expect("distinct leaves")
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("small")
}

/// What `rs_merkle` says of leaves at indices under the tree of `of` leaves.
fn rs_merkle_accepts(path: &[Hash], root: Hash, indices: &[usize], leaves: &[Hash], count: usize) -> bool {
    let plain = |hashes: &[Hash]| hashes.iter().map(|hash| hash.0).collect::<Vec<_>>();
    MerkleProof::<Keyed>::new(plain(path)).verify(root.0, indices, &plain(leaves), count)
}

#[test]
fn a_batch_is_sorted_and_padded_to_a_power_of_two() {
    for (given, padded) in [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (100, 128), (1_024, 1_024), (1_025, 2_048)] {
        let batch = sealed(given);
        assert_eq!(batch.count(), padded, "{given} leaves");
        let stored: Vec<_> = batch.leaves().collect();
        assert!(stored.is_sorted_by(|one, two| one < two), "{given} leaves ascend");
        assert!(leaves(given).iter().all(|leaf| batch.index_of(leaf).is_some()), "each of {given} leaves is there");
        assert_eq!(Batch::reopen(stored).expect("what was sealed").root(), batch.root(), "{given} leaves, reopened");
    }
}

#[test]
fn the_order_of_arrival_does_not_show() {
    let mut backwards = leaves(100);
    backwards.reverse();
    assert_eq!(Batch::seal(backwards, padding()).expect("distinct leaves").root(), sealed(100).root());
}

#[test]
fn leaves_that_make_no_batch_are_refused() {
    let seal = |leaves: Vec<Hash>| Batch::seal(leaves, padding()).map(|batch| batch.count());
    let twice = leaves(1)[0];
    assert_eq!(seal([leaves(9), vec![twice]].concat()), Err(BatchError::Duplicate { leaf: twice }), "a leaf twice");
    assert_eq!(seal(leaves(MAX_BATCH + 1)), Err(BatchError::TooMany { found: MAX_BATCH + 1 }), "one too many");
    let stuck = Batch::seal(leaves(5), || Hash([7; 32])).map(|batch| batch.count());
    assert_eq!(stuck, Err(BatchError::Padding { leaf: Hash([7; 32]) }), "a source that is stuck");
    let repeating = Batch::seal(leaves(3), || twice).map(|batch| batch.count());
    assert_eq!(repeating, Err(BatchError::Padding { leaf: twice }), "padding that equals a leaf");
}

#[test]
fn published_leaves_that_are_no_batch_are_refused() {
    let reopen = |leaves: &[Hash]| Batch::reopen(leaves.to_vec()).map(|batch| batch.count());
    let hashes = |bytes: &[u8]| bytes.iter().map(|byte| Hash([*byte; 32])).collect::<Vec<_>>();
    assert_eq!(reopen(&[]), Err(BatchError::Unpadded { found: 0 }), "none");
    assert_eq!(reopen(&hashes(&[1, 2, 3])), Err(BatchError::Unpadded { found: 3 }), "three");
    assert_eq!(reopen(&hashes(&[1, 2, 2, 3])), Err(BatchError::Unsorted { index: 2, leaf: Hash([2; 32]) }), "one twice");
    assert_eq!(reopen(&hashes(&[1, 3, 2, 4])), Err(BatchError::Unsorted { index: 2, leaf: Hash([2; 32]) }), "out of order");
    let many = vec![Hash::ZERO; MAX_BATCH + 1];
    assert_eq!(reopen(&many), Err(BatchError::TooMany { found: MAX_BATCH + 1 }), "too many");
}

#[test]
fn the_largest_batch_is_sealed() {
    let batch = sealed(MAX_BATCH);
    assert_eq!(batch.count(), number(MAX_BATCH));
    let leaf = leaves(1)[0];
    let index = batch.index_of(&leaf).expect("in the batch");
    let path = batch.path(index).expect("in the batch");
    assert_eq!(path.len(), 16);
    assert_eq!(verify_path(&leaf, index, batch.count(), &path, &batch.root()), Ok(()));
}

#[test]
fn a_path_fits_one_leaf_one_index_and_one_count() {
    for count in 1..=40 {
        let leaves = leaves(count);
        let (tree, of) = (Tree::build(leaves.clone()), number(count));
        for (index, leaf) in leaves.into_iter().enumerate() {
            let at = number(index);
            let path = tree.path(index).expect("index below the count");
            let check = |leaf, at, of, path: &[Hash]| verify_path(&leaf, at, of, path, &tree.root());
            assert_eq!(check(leaf, at, of, &path), Ok(()));
            for other in (0..2 * of).filter(|other| *other != at) {
                assert!(check(leaf, other, of, &path).is_err(), "{index} of {count} at {other}");
            }
            for bit in 0..256 * (path.len() + 1) {
                let (mut leaf, mut path) = (leaf, path.clone());
                let (place, bit) = (bit / 256, bit % 256);
                let target = if place == 0 { &mut leaf } else { &mut path[place - 1] };
                target.0[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(check(leaf, at, of, &path), Err(PathError::Root { .. })), "bit {bit} of hash {place}");
            }
            let expected = path.len();
            let longer = [path.clone(), vec![leaf]].concat();
            assert_eq!(check(leaf, at, of, &longer), Err(PathError::Length { found: expected + 1, expected }));
            if let Some((_, shorter)) = path.split_last() {
                assert_eq!(check(leaf, at, of, shorter), Err(PathError::Length { found: expected - 1, expected }));
            }
        }
    }
}

#[test]
fn counts_outside_the_bounds_are_refused() {
    let leaf = Hash([1; 32]);
    assert_eq!(verify_path(&leaf, 0, 0, &[], &leaf), Err(PathError::Empty));
    let (count, bound) = (u64::from(MAX_COUNT) + 1, u64::from(MAX_COUNT));
    assert_eq!(verify_path(&leaf, 0, MAX_COUNT + 1, &[leaf; 21], &leaf), Err(PathError::Count { count, bound }));
    assert_eq!(verify_path(&leaf, 1, 1, &[], &leaf), Err(PathError::Index { index: 1, count: 1 }));
    assert_eq!(verify_path(&leaf, 0, 1, &[], &leaf), Ok(()), "a tree of one leaf has it as its root");
}

// What rs_merkle 1.5 accepts and we refuse. Each test shows both.

#[test]
fn hole_of_rs_merkle_a_duplicate_index_admits_a_leaf_that_is_not_there() {
    let leaves = leaves(4);
    let tree = Tree::build(leaves.clone());
    let forged = Hash([0xff; 32]);
    let proof: Vec<_> = oracle(&leaves).proof(&[0, 1]).proof_hashes().iter().copied().map(Hash).collect();
    assert!(rs_merkle_accepts(&proof, tree.root(), &[0, 1, 1], &[leaves[0], leaves[1], forged], 4), "the hole is there");
    // Ours takes one leaf with one path, so that the forged one has to stand alone.
    let path = tree.path(1).expect("in the tree");
    assert!(matches!(verify_path(&forged, 1, 4, &path, &tree.root()), Err(PathError::Root { .. })));
}

#[test]
fn hole_of_rs_merkle_a_trailing_hash_is_ignored() {
    let leaves = leaves(4);
    let tree = Tree::build(leaves.clone());
    let longer = [tree.path(1).expect("in the tree"), vec![Hash([0xff; 32])]].concat();
    assert!(rs_merkle_accepts(&longer, tree.root(), &[1], &leaves[1..2], 4), "the hole is there");
    assert_eq!(verify_path(&leaves[1], 1, 4, &longer, &tree.root()), Err(PathError::Length { found: 3, expected: 2 }));
}

#[test]
fn hole_of_rs_merkle_another_count_is_accepted() {
    let leaves = leaves(4);
    let tree = Tree::build(leaves.clone());
    let path = tree.path(0).expect("in the tree");
    assert!(rs_merkle_accepts(&path, tree.root(), &[0], &leaves[..1], 3), "the hole is there");
    // A path that fits 3 leaves as well as 4 proves the same leaf at the same index; what must
    // not happen is that the count is chosen by the proof. It comes from the signed anchor, and a
    // batch's is a power of two: 2 and 8 are the nearest, and neither fits.
    for count in [1, 2, 5, 8, 16] {
        let refused = verify_path(&leaves[0], 0, count, &path, &tree.root());
        assert!(matches!(refused, Err(PathError::Length { .. })), "as one of {count}");
    }
}

#[test]
fn hole_of_rs_merkle_an_index_outside_the_count_is_processed() {
    let leaves = leaves(8);
    let tree = Tree::build(leaves.clone());
    let path = tree.path(5).expect("in the tree");
    assert!(rs_merkle_accepts(&path, tree.root(), &[5], &leaves[5..6], 4), "the hole is there: number 5 of 4");
    assert_eq!(verify_path(&leaves[5], 5, 4, &path, &tree.root()), Err(PathError::Index { index: 5, count: 4 }));
}

#[test]
fn hole_of_rs_merkle_an_inner_node_passes_for_a_leaf_of_a_smaller_tree() {
    let leaves = leaves(4);
    let tree = Tree::build(leaves.clone());
    let inner = NODE.pair(&leaves[0], &leaves[1]);
    let path = &tree.path(0).expect("in the tree")[1..];
    assert!(rs_merkle_accepts(path, tree.root(), &[0], &[inner], 2), "the hole is there");
    // With the count that the anchor signs, the path is one hash short.
    assert_eq!(verify_path(&inner, 0, 4, path, &tree.root()), Err(PathError::Length { found: 1, expected: 2 }));
    // And no opening has an inner node as its leaf: their domains differ.
    let joined = crate::leaf::leaf(&crate::Commitment(leaves[0]), &leaves[1]);
    assert_ne!(joined, inner);
}

#[test]
fn absence_is_proven_below_between_and_above() {
    for count in [1, 2, 3, 8, 100] {
        let batch = sealed(count);
        let stored: Vec<_> = batch.leaves().collect();
        let edges = [Hash::ZERO, Hash([0xff; 32])];
        for absent in leaves(400).split_off(count).into_iter().chain(edges) {
            let absence = batch.absence(&absent).expect("not in the batch");
            assert_eq!(verify_absence(&absent, &absence, batch.count(), &batch.root()), Ok(()), "{absent} of {count}");
            assert_eq!(Absence::from_bytes(&absence.to_bytes()), Ok(absence.clone()));
            let json = serde_json::to_string(&absence).expect("serialises");
            assert_eq!(serde_json::from_str::<Absence>(&json).expect("parses"), absence);
            for present in &stored {
                let refused = verify_absence(present, &absence, batch.count(), &batch.root());
                let claimed = PathError::Neighbours { absent: *present };
                // A leaf beyond the neighbours, or one of them, is never enclosed by them.
                assert_eq!(refused, Err(claimed), "{present} of {count}");
            }
        }
        assert!(stored.iter().all(|present| batch.absence(present).is_none()), "what is there is not absent");
    }
}

#[test]
fn forged_absence_is_refused() {
    let batch = sealed(8);
    let (count, root) = (batch.count(), batch.root());
    let stored: Vec<_> = batch.leaves().collect();
    let at = |index: usize| batch.neighbour(index).expect("in the batch");
    let check = |story: &str, absent: &Hash, absence: Absence| {
        assert!(verify_absence(absent, &absence, count, &root).is_err(), "{story}");
    };
    check("neighbours with the leaf between them", &stored[3], Absence::Between { index: 2, left: at(2), right: at(4) });
    check("neighbours that changed places", &stored[3], Absence::Between { index: 3, left: at(4), right: at(2) });
    check("an inner leaf as the first", &stored[0], Absence::Below { first: at(1) });
    check("an inner leaf as the last", &stored[7], Absence::Above { last: at(6) });
    check("a right one past the end", &Hash([0xff; 32]), Absence::Between { index: 7, left: at(7), right: at(7) });
    let below_last = Absence::Above { last: at(7) };
    assert_eq!(verify_absence(&Hash([0xff; 32]), &below_last, 0, &root), Err(PathError::Empty), "no leaves at all");
    assert_eq!(Absence::from_bytes(&[9]), Err(DecodeError::Tag { what: "absence", found: 9 }));
}

proptest! {
    #[test]
    fn every_leaf_of_a_batch_is_provable(seeds in proptest::collection::hash_set(any::<[u8; 32]>(), 0..300)) {
        let leaves: Vec<_> = seeds.into_iter().map(Hash).collect();
        let batch = Batch::seal(leaves.clone(), padding()).expect("distinct leaves");
        prop_assert_eq!(Batch::reopen(batch.leaves().collect()).expect("sealed").root(), batch.root());
        for leaf in leaves {
            let index = batch.index_of(&leaf).expect("in the batch");
            let path = batch.path(index).expect("in the batch");
            prop_assert_eq!(verify_path(&leaf, index, batch.count(), &path, &batch.root()), Ok(()));
        }
    }
}
