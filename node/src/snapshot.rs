//! Snapshots: the state after a height in pieces, for new nodes to begin with (`docs/spec/snapshot.md`).
//!
//! A snapshot is written from a frozen view of the database while blocks go on, and becomes visible whole. Two honest nodes
//! write the same bytes for one height, so a new node can fetch pieces from all of them. Nothing in it is believed because
//! of who sends it: [`restore`] holds every part of it against headers that a light client has verified.

pub mod record;
pub mod restore;
mod shelf;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use consensus::ChainState;
use consensus::evidence::has_expired;
use genesis::Genesis;
use serde::{Deserialize, Serialize};
use tendermint::block::Height;
use types::{ChainId, Hash};

use crate::store::frozen::{Frozen, Rows};
use crate::store::light::{HEADERS, header, light, noted};
use crate::store::{Column, at};
use record::Record;
pub use shelf::{KEPT, Listed, Shelf};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// A chunk is closed before it would be longer than this, in bytes.
pub const CHUNK: usize = 256 << 10;

/// No chunk is longer than this: a single record may be above [`CHUNK`].
pub const MAX_CHUNK: usize = 4 << 20;

/// No snapshot has more chunks: 64 GiB.
pub const MAX_CHUNKS: usize = 1 << 18;

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
        }
    }

    /// Whether it is this machine that failed, and not who made the snapshot.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Database(_))
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

/// Writes the snapshot of `height`, at which `view` was frozen, onto the shelf. `None` when it was told to stop.
///
/// # Errors
/// [`SnapshotError::Io`], [`SnapshotError::Database`]. What was written is then removed.
pub fn write(
    view: &Frozen<'_>,
    genesis: &Genesis,
    height: u64,
    shelf: &Shelf,
    stop: &AtomicBool,
) -> Result<Option<Manifest>, SnapshotError> {
    let folder = shelf.partial(height);
    let written = write_into(view, genesis, height, &folder, stop);
    match &written {
        Ok(Some(manifest)) => {
            consensus::fault::point("snapshot.publish.before");
            shelf.publish(&folder, manifest)?;
            consensus::fault::point("snapshot.publish.after");
        }
        // The next start removes what cannot be removed now.
        Ok(None) | Err(_) => drop(fs::remove_dir_all(&folder)),
    }
    written
}

fn write_into(
    view: &Frozen<'_>,
    genesis: &Genesis,
    height: u64,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Option<Manifest>, SnapshotError> {
    let database = |reason: &str| SnapshotError::Database(reason.to_owned());
    let chain: ChainState = view
        .row(Column::Meta, b"chain")
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| database("it has no chain"))?;
    if chain.tip().value() != height {
        return Err(database("it was frozen too late"));
    }
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(SnapshotError::io(folder))?;
    let mut chunks = Chunks { folder, open: Vec::with_capacity(CHUNK), hashes: Vec::new(), bytes: 0 };
    let mut counts = [0u64; 3];
    let entries = view.all(Column::State).map(|(key, value)| Record::entry(&key, &value));
    let anchors = view.all(Column::Anchors).map(|(_, value)| Record::anchor(&value));
    let blocks = blocks(view, &chain).map(|height| Record::block(view, &chain, height));
    for (count, record) in
        entries.map(|record| (0, record)).chain(anchors.map(|record| (1, record))).chain(blocks.map(|record| (2, record)))
    {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let record = record.map_err(|error| SnapshotError::Database(error.to_string()))?;
        counts[count] += 1;
        chunks.add(&record)?;
    }
    chunks.close()?;
    let manifest = Manifest {
        format: FORMAT,
        chain: genesis.chain().clone(),
        genesis: genesis.hash(),
        height,
        app_hash: chain.app_hash.as_bytes().try_into().map(Hash).map_err(|_| database("its application hash is none"))?,
        entries: counts[0],
        anchors: counts[1],
        headers: counts[2],
        bytes: chunks.bytes,
        chunks: chunks.hashes,
    };
    if manifest.chunks.len() > MAX_CHUNKS {
        return Err(database("its state is too large for a snapshot"));
    }
    write_synced(&folder.join(MANIFEST), &manifest.to_bytes())?;
    sync_folder(folder)?;
    Ok(Some(manifest))
}

/// The heights whose headers go into a snapshot: the hand-offs from the beginning, and all from the last on for which evidence has expired.
fn blocks(view: &Frozen<'_>, chain: &ChainState) -> impl Iterator<Item = Height> + use<> {
    let initial = chain.initial_height.value();
    // Where headers were swept or the state was synced, they begin later.
    let known = noted(view, HEADERS).unwrap_or(initial);
    let expired = |height: u64| {
        let header = Height::try_from(height).ok().and_then(|height| header(view, height));
        header.is_some_and(|header| has_expired(chain, header.height, header.time))
    };
    // Times rise with heights: what has expired is a beginning of all heights.
    let (mut low, mut high) = (known, chain.tip().value());
    while low < high {
        let middle = low.midpoint(high);
        if expired(middle) { low = middle + 1 } else { high = middle }
    }
    let start = low.saturating_sub(1).max(known);
    let handoffs: Vec<u64> = view.all(Column::Handoffs).filter_map(|(key, _)| Some(u64::from_be_bytes((*key).try_into().ok()?))).collect();
    let before = handoffs.into_iter().take_while(move |height| *height < start);
    before.chain(start..=chain.tip().value()).filter_map(|height| Height::try_from(height).ok())
}

/// The chunks being written.
struct Chunks<'a> {
    folder: &'a Path,
    open: Vec<u8>,
    hashes: Vec<Hash>,
    bytes: u64,
}

impl Chunks<'_> {
    fn add(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        if record.len() > MAX_CHUNK {
            return Err(SnapshotError::Database("it has an entry that is too long for a snapshot".to_owned()));
        }
        if !self.open.is_empty() && self.open.len() + record.len() > CHUNK {
            self.close()?;
        }
        self.open.extend_from_slice(record);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SnapshotError> {
        write_synced(&self.folder.join(chunk_name(self.hashes.len())), &self.open)?;
        consensus::fault::point("snapshot.chunk");
        self.hashes.push(Hash::sha256(&[&self.open]));
        self.bytes += self.open.len() as u64;
        self.open.clear();
        Ok(())
    }
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

impl Record {
    /// The block at `height` without its transactions; the last one without its commit, which is not settled yet.
    fn block(view: &Frozen<'_>, chain: &ChainState, height: Height) -> anyhow::Result<Vec<u8>> {
        let mut block = light(view, height).ok_or_else(|| anyhow::anyhow!("it has no header of height {height}"))?;
        if height == chain.tip() {
            block.commit = None;
        }
        if block.is_handoff() {
            let set = view.row(Column::Sets, &at(height.increment())).ok_or_else(|| anyhow::anyhow!("it lacks a set of validators"))?;
            let set: consensus::ValidatorSet = serde_json::from_slice(&set)?;
            block.next = Some(::light::Validators::try_from(&set.to_tendermint())?);
        }
        Ok(Self::Block(block).to_bytes()?)
    }
}

#[cfg(test)]
pub(crate) mod tests;
