//! The two hashes that make the tree, and how a key's place is read (`docs/spec/light.md`, State proofs).

use types::Hash;

/// What a leaf's hash begins with.
pub const LEAF: &[u8; 13] = b"JMT::LeafNode";
/// What an inner node's hash begins with. The misspelling is the format's.
pub const INNER: &[u8; 16] = b"JMT::IntrnalNode";
/// The hash of a subtree without a leaf.
pub const EMPTY: Hash = Hash(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");

/// Where a key stands: its SHA-256. The bits, the first first, lead from the root: 0 left, 1 right.
#[must_use]
pub fn place(key: &[u8]) -> Hash {
    Hash::sha256(&[key])
}

/// The hash of an entry.
#[must_use]
pub fn leaf(place: &Hash, value: &[u8]) -> Hash {
    Hash::sha256(&[LEAF, &place.0, &Hash::sha256(&[value]).0])
}

/// The hash over two subtrees.
#[must_use]
pub fn inner(left: &Hash, right: &Hash) -> Hash {
    // One slice: the hasher then takes its first block from where it lies.
    let mut bytes = [0; 80];
    bytes[..16].copy_from_slice(INNER);
    bytes[16..48].copy_from_slice(&left.0);
    bytes[48..].copy_from_slice(&right.0);
    Hash::sha256(&[&bytes])
}

/// Bit `depth` of a place, below 256: true goes right.
pub(crate) const fn bit(place: &Hash, depth: usize) -> bool {
    place.0[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// Nibble `depth` of a place, below 64: the slot of a page of that depth.
pub(crate) fn nibble(place: &Hash, depth: usize) -> usize {
    usize::from(place.0[depth / 2] >> (4 * (1 - depth % 2)) & 0xf)
}
