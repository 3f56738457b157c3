//! Room on the disk for a snapshot. What its manifest says of its size is somebody's word, so it is taken at it: who says much is
//! refused before anything is fetched, and who sends more than was said is found out.

use std::path::{Path, PathBuf};

use crate::snapshot::{Manifest, SnapshotError};

/// So much of the disk is left alone, in bytes.
pub(super) const RESERVE: u64 = 256 << 20;

/// What a file takes beside its bytes, at most.
const FILE: u64 = 4 << 10;

/// What a record takes in the database beside its bytes, some of it in the state tree's pages.
const RECORD: u64 = 256;

/// The disk on which a folder is.
#[derive(Debug, Clone)]
pub(super) struct Room {
    folder: PathBuf,
    reserve: u64,
}

impl Room {
    pub(super) fn of(folder: &Path, reserve: u64) -> Self {
        Self { folder: folder.to_owned(), reserve }
    }

    /// Whether so many bytes may be written.
    ///
    /// # Errors
    /// [`SnapshotError::Room`]; [`SnapshotError::Io`] where the disk does not say what is free.
    pub(super) fn check(&self, needed: u64) -> Result<(), SnapshotError> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(|error| SnapshotError::io(&self.folder)(error.into()))?;
        let (free, reserve) = (disk.f_bavail.saturating_mul(disk.f_frsize), self.reserve);
        if needed.saturating_add(reserve) > free { Err(SnapshotError::Room { needed, reserve, free }) } else { Ok(()) }
    }
}

/// What a snapshot still takes, in bytes: chunks that are not here yet, of which `here` bytes are, and the database, in which entries stand twice,
/// under their keys and under the state tree.
pub(super) fn needed(manifest: &Manifest, here: u64, missing: usize) -> u64 {
    let chunks = manifest.bytes.saturating_sub(here).saturating_add(FILE * missing as u64);
    let database = manifest.bytes.saturating_mul(2).saturating_add(manifest.records().saturating_mul(RECORD));
    chunks.saturating_add(database)
}

/// How many bytes of files are in a folder and in the folders in it.
pub(super) fn taken(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => taken(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
