use rs_merkle::{Hasher, MerkleTree};
use types::Hash;

use super::{EMPTY, Tree};
use crate::batch::verify_path;
use crate::domains::NODE;

/// `rs_merkle` over our nodes, as an oracle.
#[derive(Clone)]
pub(crate) struct Keyed;

impl Hasher for Keyed {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> Self::Hash {
        NODE.hash(&[data]).0
    }

    fn concat_and_hash(left: &Self::Hash, right: Option<&Self::Hash>) -> Self::Hash {
        right.map_or(*left, |right| NODE.pair(&Hash(*left), &Hash(*right)).0)
    }
}

/// `count` leaves that look random.
pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| Hash(*blake3::hash(&number.to_le_bytes()).as_bytes())).collect()
}

/// The same tree, built by `rs_merkle`.
pub(crate) fn oracle(leaves: &[Hash]) -> MerkleTree<Keyed> {
    let leaves: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
    MerkleTree::from_leaves(&leaves)
}

/// The indices whose proofs are compared: all of a small tree, the edges and some of a large one.
fn sample(count: usize) -> impl Iterator<Item = usize> {
    (0..count).filter(move |index| count <= 130 || *index < 2 || count - *index <= 3 || index % 97 == 5)
}

#[test]
fn the_empty_tree_has_its_own_root() {
    assert_eq!(EMPTY, NODE.hash(&[]));
    assert_eq!(Tree::build(Vec::new()).root(), EMPTY);
    assert_eq!(Tree::build(Vec::new()).path(0), None);
}

#[test]
fn every_root_and_path_equals_that_of_rs_merkle() {
    let leaves = leaves(1_025);
    let mut reused = Tree::default();
    for count in 1..=1_025 {
        let leaves = &leaves[..count];
        let (tree, oracle) = (Tree::build(leaves.to_vec()), oracle(leaves));
        assert_eq!(Some(tree.root().0), oracle.root(), "root of {count} leaves");
        // Growing and shrinking, so that nothing of the tree before shows through.
        reused.rebuild(&leaves[..count.min(1_025 - count)]);
        reused.rebuild(leaves);
        assert_eq!(reused.root(), tree.root(), "root of {count} leaves in used memory");
        for index in sample(count) {
            let path = tree.path(index).expect("index below the count");
            let plain: Vec<_> = path.iter().map(|hash| hash.0).collect();
            assert_eq!(plain, oracle.proof(&[index]).proof_hashes(), "path of {index} in {count}");
            let (at, of) = (u32::try_from(index).expect("small"), u32::try_from(count).expect("small"));
            assert_eq!(verify_path(&leaves[index], at, of, &path, &tree.root()), Ok(()), "{index} of {count}");
        }
        assert_eq!(tree.path(count), None, "no leaf {count} of {count}");
    }
}
