//! What Zynk can prove without a network: commitments, batch trees, anchors, and the log of all
//! anchors.
//!
//! A sender commits to a message or a file; a relay seals the commitment with what it saw into a
//! leaf, many leaves into a batch, the batch's root into a signed anchor; the chain takes anchors
//! in order and keeps them in one append-only log. Each step here is a value and a check of it.
//!
//! This crate refuses to draw a salt, read a clock, keep a file or believe a count: entropy and
//! time come in as values, and every verifier demands the index inside the count, the exact
//! length of the path and nothing left over. It proves that something existed, whole, before a
//! block's time; it does not say who wrote it.
//!
//! Start with [`commitment`], then follow the message: [`leaf`], [`batch`], [`anchor`],
//! [`record`], [`log`]; [`bundle`] joins them into one proof. `docs/spec/audit.md` is the format's page.

pub mod anchor;
pub mod batch;
pub mod bundle;
pub mod commitment;
pub mod domains;
pub mod leaf;
pub mod log;
pub mod path;
pub mod record;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
#[doc(hidden)]
pub mod wide;

pub use anchor::{Anchor, AnchorError, Equivocation, LogId, SignedAnchor};
pub use batch::{Absence, Batch, BatchError, MAX_BATCH, verify_absence, verify_path};
pub use bundle::{Bundle, NotVerified, Verdict};
pub use commitment::{Body, Commitment, Opening};
pub use leaf::{CommitmentPart, Envelope, EnvelopePart, LeafOpening, SizeClass};
pub use log::{Frontier, Head};
pub use path::PathError;
pub use record::{LogRecord, Status, Taken};
pub use tree::Tree;

#[cfg(test)]
mod vectors;
