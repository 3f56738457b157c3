//! The authenticated state: a map whose every version has a root, and whose entries can be proven under it, present or
//! absent. Root and proofs are those of a Jellyfish Merkle tree with SHA-256 (`docs/spec/light.md`); what is this
//! crate's own is how it lies on a disk (`docs/spec/tree.md`).
//!
//! A binary tree over a million entries is twenty levels deep. Four levels lie on one page, and as soon as what is left
//! below fits on a page, it does:
//!
//! ```text
//!   version 7                  root            16 children of each page:
//!                             /    \           version that wrote it, leaves below, hash
//!   place 3 …            7 ┌─┴──────┴─┐
//!                          │ 0 … 3 … f│        path ""
//!                          └─────┬────┘
//!   place 3c …       7 ┌─────────┴┐
//!                      │ 0 … c … f│            path "3"
//!                      └─────┬────┘
//!                  5 ┌───────┴──────────┐      path "3c": up to 24 leaves
//!                    │ leaf, leaf, leaf │      place, hash, version of the record
//!                    └──────────────────┘
//!                    record: key and value     version 5, place
//! ```
//!
//! A version writes the pages on the way to what it changes, under its own number, and names the others by the version
//! that wrote them. Of a page it writes no more than changed, as a [`row`] that builds on the one before. Nothing is ever
//! written over, so old versions stay as they were; each version lists what it replaced, and who removes the versions
//! before it removes that. A page tells how many leaves are below it, so which
//! pages there are follows from the entries alone.
//!
//! This crate touches no disk and starts no thread: it asks a [`Read`] for pages, and hands back what to write. It knows
//! nothing of what keys and values mean.
//!
//! Start with [`Page`] and [`row`], then [`update()`]; [`prove`] walks the same pages. [`Builder`] makes a version at once from all
//! its entries, [`stale`] is what pruning reads.

pub mod hash;
pub mod record;
pub mod row;
pub mod stale;

mod build;
mod name;
mod page;
mod proof;
mod update;

use std::sync::Arc;

use types::DecodeError;
use types::Hash;

pub use build::Builder;
pub use name::{MAX_PATH, PageId, Path, RecordId};
pub use page::{BUCKET, Body, Changed, Child, Fresh, Leaf, Page, SLOTS};
pub use proof::{get, prove};
pub use update::{Begun, Change, Done, NewPage, NewRecord, Task, Update, Writes, begin, update};

/// Where stored pages and records come from.
pub trait Read {
    /// The page `id`.
    ///
    /// # Errors
    /// [`Error::NoPage`], [`Error::BadPage`].
    fn page(&self, id: &PageId) -> Result<Arc<Page>, Error>;

    /// The bytes of the record `id`.
    ///
    /// # Errors
    /// [`Error::NoRecord`].
    fn record(&self, id: &RecordId) -> Result<Vec<u8>, Error>;
}

/// Why a tree cannot be read, or built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A page is not there: there is no such version, or no such version any more, or the stored tree is damaged.
    #[error("the state tree has no page {0:?}")]
    NoPage(PageId),
    /// A page is damaged.
    #[error("the page {0:?} of the state tree is damaged: {1}")]
    BadPage(PageId, DecodeError),
    /// A page has leaves below it where there should be leaves on it.
    #[error("the page {0:?} of the state tree is damaged: it is no bucket")]
    Layout(PageId),
    /// A record is not there.
    #[error("the state tree has no record {0:?}")]
    NoRecord(RecordId),
    /// A record is damaged.
    #[error("the record {0:?} of the state tree is damaged: {1}")]
    BadRecord(RecordId, DecodeError),
    /// A state without any entry proves nothing.
    #[error("a state without any entry proves nothing")]
    Empty,
    /// Entries to build from are not in the order of their places.
    #[error("the place {0} does not follow on the one before")]
    Order(Hash),
}

#[cfg(test)]
mod tests;
