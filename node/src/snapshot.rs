//! Snapshots: the state after a height in pieces, for new nodes to begin with (`docs/spec/snapshot.md`).
//!
//! A snapshot is written from a frozen view of the database while blocks go on, and becomes visible whole. Two honest nodes
//! write the same bytes for one height, so a new node can fetch pieces from all of them. Nothing in it is believed because
//! of who sends it: [`restore`] holds every part of it against headers that a light client has verified.

pub mod record;
pub mod restore;
mod shelf;
mod writing;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use genesis::Genesis;
use serde::{Deserialize, Serialize};
use types::{ChainId, Hash};

pub use shelf::{KEPT, Listed, Shelf};
pub use writing::Source;

/// The version of the format.
pub const FORMAT: u32 = 1;

/// A chunk is closed before it would be longer than this, in bytes.
pub const CHUNK: usize = 256 << 10;

/// No chunk is longer than this: a single record may be above [`CHUNK`].
pub const MAX_CHUNK: usize = 4 << 20;

/// No snapshot has more chunks.
pub const MAX_CHUNKS: usize = 1 << 18;

/// No snapshot is longer, in bytes: 64 GiB, so many chunks of [`CHUNK`].
pub const MAX_BYTES: u64 = (MAX_CHUNKS * CHUNK) as u64;

/// No manifest is longer, in bytes: its chunks' hashes take 70 each.
pub const MAX_MANIFEST: usize = 20 << 20;

/// The name of a manifest's file.
pub const MANIFEST: &str = "manifest.json";

/// Why a snapshot is not written, or refused. [`SnapshotError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be read or written: a full disk, for one.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The manifest is none.
    #[error("the manifest is none: {0}")]
    Manifest(String),
    /// It is of another chain, genesis or format.
    #[error("the snapshot's {what} is {found}, not {expected}")]
    Foreign {
        /// What differs.
        what: &'static str,
        /// The snapshot's.
        found: String,
        /// Ours.
        expected: String,
    },
    /// It is for another state than the chain's.
    #[error("the snapshot of height {height} has the application hash {found}, the chain has {expected}")]
    AppHash {
        /// The height.
        height: u64,
        /// The manifest's.
        found: Hash,
        /// That of the verified header.
        expected: Hash,
    },
    /// A chunk is not the one that the manifest names.
    #[error("chunk {number} has the hash {found}, its manifest says {expected}")]
    Chunk {
        /// Which one.
        number: usize,
        /// Its hash.
        found: Hash,
        /// The manifest's.
        expected: Hash,
    },
    /// A record cannot be read, or stands where it must not.
    #[error("chunk {number} has a record that {reason}")]
    Record {
        /// The chunk.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The entries are not the chain's state.
    #[error("the snapshot's entries have the root {found}, the chain's state has {expected}")]
    Root {
        /// Their root.
        found: Hash,
        /// That of the verified header.
        expected: Hash,
    },
    /// The anchors are not those of the log of all anchors.
    #[error("the snapshot's anchors are not the chain's log: {0}")]
    Anchors(String),
    /// The headers are not the chain's.
    #[error("the snapshot's header of height {height} {reason}")]
    Header {
        /// The height.
        height: u64,
        /// What is wrong.
        reason: String,
    },
    /// The database could not take it.
    #[error("the snapshot cannot be written into a database: {0}")]
    Database(String),
    /// The disk has no room for what its manifest says, or it ran out of room while the database was built.
    #[error("it needs {} MiB and {} MiB to spare, and the disk has {} MiB free: make room", needed >> 20, reserve >> 20, free >> 20)]
    Room {
        /// What is still to be written, by the manifest, in bytes.
        needed: u64,
        /// What is left alone, in bytes.
        reserve: u64,
        /// What is free, in bytes.
        free: u64,
    },
}

impl SnapshotError {
    /// The stable number of the error: `docs/spec/snapshot.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Io { .. } => 9101,
            Self::Manifest(_) => 9102,
            Self::Foreign { .. } => 9103,
            Self::AppHash { .. } => 9104,
            Self::Chunk { .. } => 9105,
            Self::Record { .. } => 9106,
            Self::Root { .. } => 9107,
            Self::Anchors(_) => 9108,
            Self::Header { .. } => 9109,
            Self::Database(_) => 9110,
            Self::Room { .. } => 9111,
        }
    }

    /// Whether it is this machine that failed, and not who made the snapshot.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Database(_) | Self::Room { .. })
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The chain.
    pub chain: ChainId,
    /// The hash of its genesis.
    pub genesis: Hash,
    /// The height after which the state was like this.
    pub height: u64,
    /// The application hash after it, which header `height + 1` carries.
    pub app_hash: Hash,
    /// How many entries the state has.
    pub entries: u64,
    /// How many anchors the log of all anchors has.
    pub anchors: u64,
    /// How many blocks without transactions there are.
    pub headers: u64,
    /// How long all chunks are together, in bytes.
    pub bytes: u64,
    /// SHA-256 of each chunk, in order.
    pub chunks: Vec<Hash>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`SnapshotError::Manifest`], [`SnapshotError::Foreign`] for another format.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let bad = |reason: &str| SnapshotError::Manifest(reason.to_owned());
        if bytes.len() > MAX_MANIFEST {
            return Err(bad("it is too long"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| SnapshotError::Manifest(error.to_string()))?;
        if manifest.format != FORMAT {
            let (found, expected) = (manifest.format.to_string(), FORMAT.to_string());
            return Err(SnapshotError::Foreign { what: "format", found, expected });
        }
        if manifest.chunks.is_empty() || manifest.chunks.len() > MAX_CHUNKS {
            return Err(bad("it has no chunks, or too many"));
        }
        let count = manifest.chunks.len() as u64;
        if !(count..=MAX_BYTES.min(count * MAX_CHUNK as u64)).contains(&manifest.bytes) {
            return Err(bad("its chunks cannot be as long as it says"));
        }
        if manifest.height == 0 || manifest.height >= i64::MAX as u64 {
            return Err(bad("its height is none"));
        }
        Ok(manifest)
    }

    /// The bytes of its file, over which its hash goes.
    ///
    /// # Panics
    /// Never: it has no map and no float.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest serialises")
    }

    /// How many records there are of all kinds.
    pub(crate) const fn records(&self) -> u64 {
        self.entries.saturating_add(self.anchors).saturating_add(self.headers)
    }

    /// SHA-256 of its file.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::sha256(&[&self.to_bytes()])
    }

    /// Whether it is of the chain of this genesis.
    ///
    /// # Errors
    /// [`SnapshotError::Foreign`].
    pub fn check_chain(&self, genesis: &Genesis) -> Result<(), SnapshotError> {
        let foreign = |what, found: String, expected: String| Err(SnapshotError::Foreign { what, found, expected });
        if self.chain != *genesis.chain() {
            return foreign("chain", self.chain.to_string(), genesis.chain().to_string());
        }
        if self.genesis != genesis.hash() {
            return foreign("genesis", self.genesis.to_string(), genesis.hash().to_string());
        }
        Ok(())
    }

    /// Whether a chunk is the one that it names.
    ///
    /// # Errors
    /// [`SnapshotError::Chunk`].
    pub fn check_chunk(&self, number: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (found, expected) = (Hash::sha256(&[bytes]), self.chunks.get(number).copied().unwrap_or_default());
        if found == expected { Ok(()) } else { Err(SnapshotError::Chunk { number, found, expected }) }
    }
}

/// The snapshot that lies in a folder, if it is a whole one.
pub(crate) fn listed_in(folder: &Path) -> Option<Listed> {
    shelf::read_manifest(folder).ok().map(|manifest| shelf::listed(&manifest))
}

/// The name of a chunk's file.
#[must_use]
pub fn chunk_name(number: usize) -> String {
    format!("{number:06}")
}

/// Writes a file that is durable when this returns.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    let io = || SnapshotError::io(path);
    let mut file = File::create(path).map_err(io())?;
    file.write_all(bytes).map_err(io())?;
    file.sync_all().map_err(io())
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), SnapshotError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(SnapshotError::io(folder))
}

#[cfg(test)]
pub(crate) mod tests;
