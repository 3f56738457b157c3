//! The log of all anchors: an append-only tree over SHA-256, as RFC 6962 has it, so that the
//! monitors and witnesses of transparency logs can follow it.
//!
//! The chain keeps two small entries, the [`Head`] and the [`Frontier`]. A node keeps every
//! complete subtree by its level (0 for entries) and its index on that level; those never change
//! once written, and every proof is read from them.

use serde::{Deserialize, Serialize};
use types::{Decode, DecodeError, Encode, Hash, List, Reader, codec};

use crate::path::{self, PathError};

/// The key of the [`Head`] in the state.
pub const HEAD_KEY: &str = "anchors/head";

/// The key of the [`Frontier`] in the state.
pub const FRONTIER_KEY: &str = "anchors/frontier";

/// The longest inclusion path: one hash for each bit of a 64-bit size.
pub const MAX_PATH: usize = 64;

/// Size and root of the log: what a state proof shows and proofs lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// How many entries the log has.
    pub size: u64,
    /// Its root; SHA-256 of nothing for the empty log (RFC 6962 section 2.1).
    pub root: Hash,
}
codec!(Head { size, root });

/// As much of the log as appending to it takes: the roots of its complete subtrees, largest
/// first, one for each bit set in the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    hashes: List<Hash, 64>,
}

impl Frontier {
    /// How many entries the log has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends the entry whose leaf is `entry` ([`entry_hash`]).
    ///
    /// `on_node` is told of every subtree that becomes complete, as (level, index on the level,
    /// root), the entry itself first at level 0: a node stores them for later proofs.
    pub fn append(&mut self, entry: Hash, mut on_node: impl FnMut(u8, u64, Hash)) {
        let mut hashes = std::mem::take(&mut self.hashes).into_vec();
        let (mut level, mut index, mut node) = (0, self.size, entry);
        on_node(level, index, node);
        while index & 1 == 1 {
            let left = hashes.pop().expect("one hash for each bit set in the size");
            node = node_hash(&left, &node);
            level += 1;
            index >>= 1;
            on_node(level, index, node);
        }
        hashes.push(node);
        self.hashes = hashes.try_into().expect("at most one hash for each of 64 bits");
        self.size = self.size.checked_add(1).expect("a log of 2^64 anchors is never reached");
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        let root = self.hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        Head { size: self.size, root: root.unwrap_or_else(empty_root) }
    }
}

impl Encode for Frontier {
    fn encode(&self, out: &mut Vec<u8>) {
        self.size.encode(out);
        self.hashes.encode(out);
    }
}

impl Decode for Frontier {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (size, hashes) = (u64::decode(reader)?, List::<Hash, 64>::decode(reader)?);
        if hashes.len() != size.count_ones() as usize {
            return Err(DecodeError::Value { what: "frontier (one hash for each bit set in the size)" });
        }
        Ok(Self { size, hashes })
    }
}

/// The root of the empty log: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::sha256(&[])
}

/// The leaf of the entry `bytes`: SHA-256 of a zero byte and the bytes (RFC 6962 section 2.1).
#[must_use]
pub fn entry_hash(bytes: &[u8]) -> Hash {
    Hash::sha256(&[&[0], bytes])
}

/// An inner node: SHA-256 of a one byte and its children (RFC 6962 section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::sha256(&[&[1], &left.0, &right.0])
}

/// The inclusion path of entry `index` in the log of `size` entries, leaf to root.
///
/// `node` gives a complete subtree's root by level and index. `None` if `index` is not below
/// `size` or `node` does not know a subtree. Source: RFC 9162 section 2.1.3.1.
pub fn inclusion(index: u64, size: u64, node: impl Fn(u8, u64) -> Option<Hash>) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(middle, end, &node)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, &node)?);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the log of `new` entries continues the one of `old`; empty if `old` is 0 or
/// both are the same.
///
/// `None` if `old` is above `new` or `node` does not know a subtree. Source: RFC 9162 section
/// 2.1.4.1.
pub fn consistency(old: u64, new: u64, node: impl Fn(u8, u64) -> Option<Hash>) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    let mut path = Vec::new();
    if old == 0 {
        return Some(path);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(subtree(middle, end, &node)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, &node)?);
            start = middle;
        }
    }
    // Unless it is the whole old log, whose root the verifier has.
    if start > 0 {
        path.push(subtree(start, end, &node)?);
    }
    path.reverse();
    Some(path)
}

/// Verifies that `leaf` is entry `index` (from 0) of the log of `size` entries under `root`.
///
/// # Errors
/// [`PathError::Empty`], [`PathError::Index`], [`PathError::Length`] unless the path is exactly as
/// long as index and size demand, and [`PathError::Root`]. Source: RFC 9162 section 2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), PathError> {
    path::verify(leaf, index, size, path, root, node_hash)
}

/// Verifies that the log `new` continues the log `old`: that nothing in it was changed or taken
/// out.
///
/// # Errors
/// [`PathError::Shrunk`]; [`PathError::Length`] unless the path is exactly as long as the sizes
/// demand; [`PathError::Root`] for either root. Source: RFC 9162 section 2.1.4.2; every log
/// continues the empty one, with an empty path (C2SP tlog-witness).
pub fn verify_consistency(old: &Head, new: &Head, path: &[Hash]) -> Result<(), PathError> {
    if old.size > new.size {
        return Err(PathError::Shrunk { old: old.size, new: new.size });
    }
    if old.size == 0 || old.size == new.size {
        same_length(path.len(), 0)?;
        let expected = if old.size == 0 { empty_root() } else { new.root };
        same_root(old.root, expected)?;
        return if new.size == 0 { same_root(new.root, expected) } else { Ok(()) };
    }
    let (level, index) = last_subtree(old.size);
    let count = new.size.div_ceil(1 << level);
    // Only where the old log is one complete subtree does its root stand for that subtree.
    let given = usize::from(index != 0);
    same_length(path.len(), given + path::length(index, count))?;
    let (first, siblings) = if index == 0 { (old.root, path) } else { (path[0], &path[1..]) };
    let (old_root, new_root) = both_roots(first, siblings, index, count);
    same_root(old_root, old.root)?;
    same_root(new_root, new.root)
}

/// Walks up from the last complete subtree of the old log, which both logs share: number `index`
/// of `count` on its level of the new one. In the old log it is the last of its level all the
/// way, so it has siblings on its left only.
fn both_roots(first: Hash, siblings: &[Hash], mut index: u64, mut count: u64) -> (Hash, Hash) {
    let mut siblings = siblings.iter();
    let (mut old, mut new) = (first, first);
    while count > 1 {
        if index ^ 1 < count {
            let sibling = siblings.next().expect("the length was checked");
            if index & 1 == 1 {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            } else {
                new = node_hash(&new, sibling);
            }
        }
        index >>= 1;
        count = count.div_ceil(2);
    }
    (old, new)
}

/// Level and index of the last complete subtree of a log of `size` entries, at least one.
const fn last_subtree(size: u64) -> (u32, u64) {
    let level = size.trailing_zeros();
    (level, (size >> level) - 1)
}

/// The root over the entries from `start` to before `end`, where `start` is a multiple of the
/// least power of two that holds them.
fn subtree(start: u64, end: u64, node: &impl Fn(u8, u64) -> Option<Hash>) -> Option<Hash> {
    let width = end - start;
    if width.is_power_of_two() {
        let level = u8::try_from(width.trailing_zeros()).expect("a bit of 64");
        return node(level, start >> level);
    }
    let middle = start + split(width);
    Some(node_hash(&subtree(start, middle, node)?, &subtree(middle, end, node)?))
}

/// Where a tree of `width` entries, at least two, is divided: at the largest power of two below
/// `width` (RFC 6962 section 2.1).
const fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

const fn same_length(found: usize, expected: usize) -> Result<(), PathError> {
    if found == expected { Ok(()) } else { Err(PathError::Length { found, expected }) }
}

fn same_root(found: Hash, expected: Hash) -> Result<(), PathError> {
    if found == expected { Ok(()) } else { Err(PathError::Root { found, expected }) }
}

#[cfg(test)]
mod tests;
