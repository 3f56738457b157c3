//! From a leaf to a root: the one walk that batch trees and the log of anchors share.
//!
//! Both trees have the shape of RFC 6962 section 2.1: on each level neighbours are joined in
//! pairs, and a node without a neighbour moves up unchanged. So the index and the count alone
//! say how long the path is and on which side each of its hashes stands; whatever the path
//! claims beyond that is refused.

use types::Hash;

/// Why a path does not lead from its leaf to its root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A tree without leaves has no path.
    #[error("a tree of no leaves holds none")]
    Empty,
    /// The count is above the verifier's bound.
    #[error("a tree of {count} leaves is above the bound of {bound}")]
    Count {
        /// The count as claimed.
        count: u64,
        /// The most that this verifier accepts.
        bound: u64,
    },
    /// The index is not inside the count.
    #[error("index {index} is outside a tree of {count} leaves")]
    Index {
        /// The index as claimed.
        index: u64,
        /// The count as claimed.
        count: u64,
    },
    /// The path is shorter or longer than the index and the count demand.
    #[error("a path of {found} hashes where {expected} are needed")]
    Length {
        /// How many hashes the path has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// The walk ends at another root.
    #[error("the path leads to {found}, not to the root {expected}")]
    Root {
        /// Where the walk ended.
        found: Hash,
        /// The root that was to be reached.
        expected: Hash,
    },
    /// The neighbours shown do not have the absent leaf between them.
    #[error("the neighbours do not enclose {absent}")]
    Neighbours {
        /// The leaf said to be absent.
        absent: Hash,
    },
    /// A log cannot shrink.
    #[error("a log of {new} entries cannot continue one of {old}")]
    Shrunk {
        /// The size of the earlier log.
        old: u64,
        /// The size of the later one.
        new: u64,
    },
}

impl PathError {
    /// The stable number of the error: `docs/spec/audit.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Empty => 3001,
            Self::Count { .. } => 3002,
            Self::Index { .. } => 3003,
            Self::Length { .. } => 3004,
            Self::Root { .. } => 3005,
            Self::Neighbours { .. } => 3006,
            Self::Shrunk { .. } => 3007,
        }
    }
}

/// How many hashes the path of leaf `index` has in a tree of `count` leaves: one for each level
/// on which the node has a neighbour.
#[must_use]
pub const fn length(mut index: u64, mut count: u64) -> usize {
    let mut length = 0;
    while count > 1 {
        if index ^ 1 < count {
            length += 1;
        }
        index >>= 1;
        count = count.div_ceil(2);
    }
    length
}

/// Walks from `leaf`, number `index` of `count`, along `path`, and demands that it ends at `root`.
///
/// # Errors
/// [`PathError::Empty`], [`PathError::Index`], [`PathError::Length`] and [`PathError::Root`].
/// Equivalent to RFC 9162 section 2.1.3.2; the length is checked first, so a path is refused
/// before anything is hashed.
pub(crate) fn verify(
    leaf: &Hash,
    mut index: u64,
    mut count: u64,
    path: &[Hash],
    root: &Hash,
    join: impl Fn(&Hash, &Hash) -> Hash,
) -> Result<(), PathError> {
    check_shape(index, count, path.len())?;
    let mut siblings = path.iter();
    let mut node = *leaf;
    while count > 1 {
        if index ^ 1 < count {
            let sibling = siblings.next().expect("the length was checked");
            node = if index & 1 == 1 { join(sibling, &node) } else { join(&node, sibling) };
        }
        index >>= 1;
        count = count.div_ceil(2);
    }
    if node == *root { Ok(()) } else { Err(PathError::Root { found: node, expected: *root }) }
}

fn check_shape(index: u64, count: u64, found: usize) -> Result<(), PathError> {
    if count == 0 {
        return Err(PathError::Empty);
    }
    if index >= count {
        return Err(PathError::Index { index, count });
    }
    let expected = length(index, count);
    if found == expected { Ok(()) } else { Err(PathError::Length { found, expected }) }
}
