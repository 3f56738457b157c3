//! A batch: leaves sorted by value, padded to a power of two, under one root.
//!
//! Sorting hides the order of arrival, makes duplicates neighbours, and lets two neighbours prove
//! that a third leaf is absent. Padding hides how many there were.

use serde::{Deserialize, Serialize};
use types::{Decode, DecodeError, Encode, Hash, List, Reader, codec};

use crate::domains::NODE;
use crate::path::{self, PathError};
use crate::tree::Tree;

/// The most leaves in one batch: 2^16.
pub const MAX_BATCH: usize = 1 << 16;

/// The largest count that [`verify_path`] accepts: 2^20. Above [`MAX_BATCH`], so that batches may
/// grow before verifiers must.
pub const MAX_COUNT: u32 = 1 << 20;

/// The longest path: log2 of [`MAX_COUNT`].
pub const MAX_PATH: usize = 20;

/// Why leaves do not make a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More leaves than a batch holds.
    #[error("{found} leaves are more than the {MAX_BATCH} of a batch")]
    TooMany {
        /// How many leaves were given.
        found: usize,
    },
    /// A leaf is there twice.
    #[error("leaf {leaf} is there twice")]
    Duplicate {
        /// The leaf.
        leaf: Hash,
    },
    /// A padding leaf equals another leaf: its source is not random.
    #[error("padding repeats leaf {leaf}")]
    Padding {
        /// The leaf.
        leaf: Hash,
    },
    /// A published batch is not padded to a power of two.
    #[error("{found} leaves are no power of two")]
    Unpadded {
        /// How many leaves were given.
        found: usize,
    },
    /// A published batch is not in strictly ascending order.
    #[error("leaf {leaf} at index {index} is not above the one before it")]
    Unsorted {
        /// Where the order breaks.
        index: usize,
        /// The leaf there.
        leaf: Hash,
    },
}

impl BatchError {
    /// The stable number of the error: `docs/spec/audit.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::TooMany { .. } => 3101,
            Self::Duplicate { .. } => 3102,
            Self::Padding { .. } => 3103,
            Self::Unpadded { .. } => 3104,
            Self::Unsorted { .. } => 3105,
        }
    }
}

/// A sealed batch: between 1 and [`MAX_BATCH`] distinct leaves in ascending order, a power of two
/// of them, and the tree over them.
#[derive(Debug, Clone)]
pub struct Batch {
    tree: Tree,
}

impl Batch {
    /// Seals `leaves`, in any order, none of them twice; no leaf at all is a batch too.
    ///
    /// `padding` gives a fresh random leaf at each call; it is called until the count is a power
    /// of two.
    ///
    /// # Errors
    /// [`BatchError::TooMany`], [`BatchError::Duplicate`], and [`BatchError::Padding`] if
    /// `padding` gave a leaf that was already there.
    pub fn seal(mut leaves: Vec<Hash>, mut padding: impl FnMut() -> Hash) -> Result<Self, BatchError> {
        if leaves.len() > MAX_BATCH {
            return Err(BatchError::TooMany { found: leaves.len() });
        }
        leaves.sort_unstable();
        if let Some(leaf) = repeated(&leaves) {
            return Err(BatchError::Duplicate { leaf });
        }
        let count = leaves.len().next_power_of_two();
        leaves.resize_with(count, &mut padding);
        // The stable sort finds the ascending run that the leaves already are.
        leaves.sort();
        if let Some(leaf) = repeated(&leaves) {
            return Err(BatchError::Padding { leaf });
        }
        Ok(Self { tree: Tree::build(leaves) })
    }

    /// Rebuilds a sealed batch from its published leaves, and checks what absence proofs lean on:
    /// that they are padded and in strictly ascending order.
    ///
    /// # Errors
    /// [`BatchError::TooMany`], [`BatchError::Unpadded`], [`BatchError::Unsorted`].
    pub fn reopen(leaves: Vec<Hash>) -> Result<Self, BatchError> {
        if leaves.len() > MAX_BATCH {
            return Err(BatchError::TooMany { found: leaves.len() });
        }
        if !leaves.len().is_power_of_two() {
            return Err(BatchError::Unpadded { found: leaves.len() });
        }
        if let Some(before) = leaves.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(BatchError::Unsorted { index: before + 1, leaf: leaves[before + 1] });
        }
        Ok(Self { tree: Tree::build(leaves) })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// How many leaves there are, padding included: a power of two, at most [`MAX_BATCH`].
    #[must_use]
    pub fn count(&self) -> u32 {
        number(self.tree.count())
    }

    /// The leaves, padding included, in ascending order: what a relay publishes and keeps.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = Hash> + '_ {
        self.tree.leaves()
    }

    /// Where `leaf` stands, from 0, if it is in the batch.
    #[must_use]
    pub fn index_of(&self, leaf: &Hash) -> Option<u32> {
        let index = self.insertion(leaf);
        (self.tree.leaf(index) == Some(*leaf)).then(|| number(index))
    }

    /// The siblings on the way from leaf `index` to the root, at most 16; `None` if there is no
    /// such leaf.
    #[must_use]
    pub fn path(&self, index: u32) -> Option<Vec<Hash>> {
        self.tree.path(index as usize)
    }

    /// The proof that `leaf` is not in the batch; `None` if it is.
    #[must_use]
    pub fn absence(&self, leaf: &Hash) -> Option<Absence> {
        let above = self.insertion(leaf);
        if self.tree.leaf(above) == Some(*leaf) {
            return None;
        }
        match (above.checked_sub(1).and_then(|below| self.neighbour(below)), self.neighbour(above)) {
            (None, Some(first)) => Some(Absence::Below { first }),
            (Some(left), Some(right)) => Some(Absence::Between { index: number(above - 1), left, right }),
            (Some(last), None) => Some(Absence::Above { last }),
            (None, None) => unreachable!("a batch has a leaf at least"),
        }
    }

    /// How many leaves are below `leaf`.
    fn insertion(&self, leaf: &Hash) -> usize {
        let (mut low, mut high) = (0, self.tree.count());
        while low < high {
            let middle = low.midpoint(high);
            if self.tree.leaf(middle).is_some_and(|found| found < *leaf) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn neighbour(&self, index: usize) -> Option<Neighbour> {
        let path = self.tree.path(index)?.try_into().expect("a batch has at most 16 levels");
        Some(Neighbour { leaf: self.tree.leaf(index)?, path })
    }
}

/// A leaf beside the place where an absent one would stand, with its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The leaf.
    pub leaf: Hash,
    /// The siblings on its way to the root.
    pub path: List<Hash, MAX_PATH>,
}
codec!(Neighbour { leaf, path });

/// Proof that a leaf is not in a batch, as far as somebody checked that the batch is sorted
/// ([`Batch::reopen`] does).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Absence {
    /// The leaf would stand before the first (tag 1).
    Below {
        /// The first leaf of the batch.
        first: Neighbour,
    },
    /// The leaf would stand between two that have none between them (tag 2).
    Between {
        /// Where the left one stands; the right one stands at the next index.
        index: u32,
        /// The neighbour below.
        left: Neighbour,
        /// The neighbour above.
        right: Neighbour,
    },
    /// The leaf would stand after the last (tag 3).
    Above {
        /// The last leaf of the batch.
        last: Neighbour,
    },
}

impl Encode for Absence {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Below { first } => {
                out.push(1);
                first.encode(out);
            }
            Self::Between { index, left, right } => {
                out.push(2);
                index.encode(out);
                left.encode(out);
                right.encode(out);
            }
            Self::Above { last } => {
                out.push(3);
                last.encode(out);
            }
        }
    }
}

impl Decode for Absence {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Below { first: Neighbour::decode(reader)? }),
            2 => Ok(Self::Between { index: u32::decode(reader)?, left: Neighbour::decode(reader)?, right: Neighbour::decode(reader)? }),
            3 => Ok(Self::Above { last: Neighbour::decode(reader)? }),
            found => Err(DecodeError::Tag { what: "absence", found }),
        }
    }
}

/// Verifies that `leaf` is number `index` (from 0) of the `count` leaves under `root`.
///
/// `count` must come from the anchor that names `root`, and `leaf` must be computed from an
/// opening ([`crate::LeafOpening::leaf`]): a path alone does not tell a leaf from an inner node.
/// `path`: the siblings, leaf to root, at most [`MAX_PATH`].
///
/// # Errors
/// [`PathError::Empty`], [`PathError::Count`] above [`MAX_COUNT`], [`PathError::Index`],
/// [`PathError::Length`] unless the path is exactly as long as index and count demand, and
/// [`PathError::Root`]. Source: RFC 9162 section 2.1.3.2.
pub fn verify_path(leaf: &Hash, index: u32, count: u32, path: &[Hash], root: &Hash) -> Result<(), PathError> {
    if count > MAX_COUNT {
        return Err(PathError::Count { count: count.into(), bound: MAX_COUNT.into() });
    }
    path::verify(leaf, index.into(), count.into(), path, root, |left, right| NODE.pair(left, right))
}

/// Verifies that `leaf` is not among the `count` sorted leaves under `root`.
///
/// # Errors
/// [`PathError::Neighbours`] unless the neighbours enclose `leaf` strictly; and as
/// [`verify_path`] for each of them.
pub fn verify_absence(leaf: &Hash, absence: &Absence, count: u32, root: &Hash) -> Result<(), PathError> {
    let encloses = |holds: bool| if holds { Ok(()) } else { Err(PathError::Neighbours { absent: *leaf }) };
    let stands = |neighbour: &Neighbour, index: u32| verify_path(&neighbour.leaf, index, count, &neighbour.path, root);
    match absence {
        Absence::Below { first } => {
            encloses(*leaf < first.leaf)?;
            stands(first, 0)
        }
        Absence::Between { index, left, right } => {
            encloses(left.leaf < *leaf && *leaf < right.leaf)?;
            stands(left, *index)?;
            // At the last index there is no next one, and verify_path refuses it.
            stands(right, index.saturating_add(1))
        }
        Absence::Above { last } => {
            encloses(last.leaf < *leaf)?;
            stands(last, count.checked_sub(1).ok_or(PathError::Empty)?)
        }
    }
}

fn repeated(sorted: &[Hash]) -> Option<Hash> {
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a batch has at most 2^16 leaves")
}

#[cfg(test)]
mod tests;
