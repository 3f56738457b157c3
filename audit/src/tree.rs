//! The tree of a batch: BLAKE3 keyed with the domain `node`, in the shape of RFC 6962.

use std::fmt;

use types::Hash;

use crate::domains::NODE;
use crate::wide;

/// The root of a tree without leaves: the hash of nothing in the domain `node`. No anchor has it,
/// since a batch is padded to one leaf at least.
pub const EMPTY: Hash = Hash([
    0x2f, 0x9e, 0x26, 0x87, 0x06, 0xee, 0x30, 0xac, 0xd8, 0x31, 0xa0, 0xa3, 0x88, 0x62, 0xd3, 0x00, 0x12, 0xbf, 0x90, 0xed, 0x94, 0x3b,
    0xba, 0x6c, 0x39, 0xa0, 0xe6, 0x42, 0xcf, 0x7b, 0x0f, 0xd3,
]);

/// A tree with all its nodes. A node without a neighbour moves up unchanged, so a tree of one
/// leaf has that leaf as its root.
#[derive(Clone, Default)]
pub struct Tree {
    count: usize,
    // Level after level from the leaves up, each half as long as the one before, rounded up.
    nodes: Vec<[u8; 32]>,
}

impl Tree {
    /// The tree over `leaves` in the order given. It keeps their memory and adds as much.
    #[must_use]
    pub fn build(leaves: Vec<Hash>) -> Self {
        let count = leaves.len();
        let mut nodes: Vec<_> = leaves.into_iter().map(|leaf| leaf.0).collect();
        nodes.resize(node_count(count), [0; 32]);
        let mut tree = Self { count, nodes };
        tree.join();
        tree
    }

    /// Makes this the tree over `leaves`, in the memory that it already has.
    pub fn rebuild(&mut self, leaves: &[Hash]) {
        self.count = leaves.len();
        // Every place is written below, so what a tree before left in them need not be erased.
        self.nodes.resize(node_count(self.count), [0; 32]);
        for (place, leaf) in self.nodes.iter_mut().zip(leaves) {
            *place = leaf.0;
        }
        self.join();
    }

    /// Fills every level above the leaves.
    fn join(&mut self) {
        let (mut start, mut len) = (0, self.count);
        while len > 1 {
            let (below, above) = self.nodes[start..].split_at_mut(len);
            join_level(below, above);
            start += len;
            len = len.div_ceil(2);
        }
    }

    /// The root; [`EMPTY`] if there is no leaf.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.nodes.last().map_or(EMPTY, |root| Hash(*root))
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Leaf number `index`, from 0.
    #[must_use]
    pub fn leaf(&self, index: usize) -> Option<Hash> {
        self.nodes[..self.count].get(index).map(|leaf| Hash(*leaf))
    }

    /// The leaves, in order.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = Hash> + '_ {
        self.nodes[..self.count].iter().map(|leaf| Hash(*leaf))
    }

    /// The siblings on the way from leaf `index` to the root, or `None` if there is no such leaf.
    #[must_use]
    pub fn path(&self, mut index: usize) -> Option<Vec<Hash>> {
        if index >= self.count {
            return None;
        }
        let (mut start, mut len) = (0, self.count);
        let mut path = Vec::with_capacity(usize::BITS as usize);
        while len > 1 {
            if index ^ 1 < len {
                path.push(Hash(self.nodes[start + (index ^ 1)]));
            }
            start += len;
            len = len.div_ceil(2);
            index >>= 1;
        }
        Some(path)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree(of {} leaves under {})", self.count, self.root())
    }
}

/// Fills the level above `below`: it begins at the first place of `above`.
fn join_level(below: &[[u8; 32]], above: &mut [[u8; 32]]) {
    let (pairs, _) = below.as_flattened().as_chunks::<64>();
    wide::hash_pairs(&NODE, pairs, &mut above[..pairs.len()]);
    if below.len() % 2 == 1 {
        above[pairs.len()] = below[below.len() - 1];
    }
}

const fn node_count(mut level: usize) -> usize {
    let mut sum = level;
    while level > 1 {
        level = level.div_ceil(2);
        sum += level;
    }
    sum
}

#[cfg(test)]
pub(crate) mod tests;
