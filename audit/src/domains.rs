//! The uses of keyed BLAKE3 in this crate, one key each, so that no value of one kind can be
//! passed off as a value of another.

use types::Domain;

/// The body of a commitment, of any length.
pub static BODY: Domain = Domain::new("zynk.2026 audit body v1");

/// A commitment: salt and body hash.
pub static COMMITMENT: Domain = Domain::new("zynk.2026 audit commitment v1");

/// A sealed envelope: the relay's salt and the hash of what it saw.
pub static ENVELOPE: Domain = Domain::new("zynk.2026 audit envelope v1");

/// A leaf of a batch: commitment and sealed envelope.
pub static LEAF: Domain = Domain::new("zynk.2026 audit leaf v1");

/// An inner node of a batch tree: its two children.
pub static NODE: Domain = Domain::new("zynk.2026 audit node v1");

/// An anchor, of any length. Its context string also opens the bytes that a relay signs.
pub static ANCHOR: Domain = Domain::new("zynk.2026 audit anchor v1");

/// The name of a relay's log.
pub static LOG_ID: Domain = Domain::new("zynk.2026 audit log id v1");

/// All of them, for the vectors and for a test that no two are alike.
#[cfg(test)]
pub(crate) static ALL: [&Domain; 7] = [&BODY, &COMMITMENT, &ENVELOPE, &LEAF, &NODE, &ANCHOR, &LOG_ID];
