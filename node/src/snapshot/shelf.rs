//! Where a node keeps its snapshots: a folder for each height.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use types::Hash;

use super::{MANIFEST, MAX_MANIFEST, Manifest, SnapshotError, chunk_name, sync_folder};

/// How many snapshots are kept where nothing is said: one may be being fetched when the next is made.
pub const KEPT: usize = 2;

/// What the name of a folder that is being written or removed ends with.
const PARTIAL: &str = "partial";

/// What others are told of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The height of its state.
    pub height: u64,
    /// The version of its format.
    pub format: u32,
    /// SHA-256 of its manifest.
    pub manifest: Hash,
    /// How long its chunks are together, in bytes.
    pub bytes: u64,
    /// How many chunks it has.
    pub chunks: usize,
}

/// The snapshots of a node.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    keep: usize,
    whole: Mutex<BTreeMap<u64, Listed>>,
}

impl Shelf {
    /// Takes up what lies in `folder`, and removes what was not written to its end.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open(folder: PathBuf, keep: usize) -> Result<Self, SnapshotError> {
        let io = || SnapshotError::io(&folder);
        fs::create_dir_all(&folder).map_err(io())?;
        let mut whole = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(io())? {
            let path = entry.map_err(io())?.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                fs::remove_dir_all(&path).map_err(SnapshotError::io(&path))?;
                continue;
            }
            match read_manifest(&path) {
                Ok(manifest) => drop(whole.insert(manifest.height, listed(&manifest))),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a damaged snapshot is not offered: remove it"),
            }
        }
        Ok(Self { folder, keep, whole: Mutex::new(whole) })
    }

    /// What lies in `folder`, without changing it.
    #[must_use]
    pub fn open_to_read(folder: &Path) -> Self {
        let folders = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let whole = folders.filter_map(|entry| super::listed_in(&entry.path())).map(|listed| (listed.height, listed)).collect();
        Self { folder: folder.to_owned(), keep: usize::MAX, whole: Mutex::new(whole) }
    }

    /// The snapshots that are whole, by height.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The manifest of a height's snapshot.
    #[must_use]
    pub fn manifest(&self, height: u64) -> Option<Vec<u8>> {
        self.read(height, MANIFEST)
    }

    /// A chunk of a height's snapshot.
    #[must_use]
    pub fn chunk(&self, height: u64, number: usize) -> Option<Vec<u8>> {
        self.read(height, &chunk_name(number))
    }

    /// Where the snapshot of a height is written until it is whole.
    #[must_use]
    pub fn partial(&self, height: u64) -> PathBuf {
        self.folder.join(format!("{height}.{PARTIAL}"))
    }

    /// Makes a snapshot that is written visible, and removes the oldest.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn publish(&self, partial: &Path, manifest: &Manifest) -> Result<(), SnapshotError> {
        let place = self.place(manifest.height);
        if place.exists() {
            self.remove(manifest.height)?;
        }
        fs::rename(partial, &place).map_err(SnapshotError::io(&place))?;
        sync_folder(&self.folder)?;
        let old: Vec<u64> = {
            let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
            whole.insert(manifest.height, listed(manifest));
            whole.keys().rev().skip(self.keep).copied().collect()
        };
        old.into_iter().try_for_each(|height| self.remove(height))
    }

    fn remove(&self, height: u64) -> Result<(), SnapshotError> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).remove(&height);
        let (place, going) = (self.place(height), self.folder.join(format!("{height}.old.{PARTIAL}")));
        // Out of sight at once; what a crash leaves of it goes at the next start.
        fs::rename(&place, &going).map_err(SnapshotError::io(&place))?;
        fs::remove_dir_all(&going).map_err(SnapshotError::io(&going))
    }

    fn read(&self, height: u64, name: &str) -> Option<Vec<u8>> {
        let is_whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&height);
        if is_whole { fs::read(self.place(height).join(name)).ok() } else { None }
    }

    fn place(&self, height: u64) -> PathBuf {
        self.folder.join(height.to_string())
    }
}

/// Reads the manifest of the snapshot in a folder, whose name must be its height.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, SnapshotError> {
    let path = folder.join(MANIFEST);
    let length = fs::metadata(&path).map_err(SnapshotError::io(&path))?.len();
    if length > MAX_MANIFEST as u64 {
        return Err(SnapshotError::Manifest("it is too long".to_owned()));
    }
    let manifest = Manifest::parse(&fs::read(&path).map_err(SnapshotError::io(&path))?)?;
    if folder.file_name().is_some_and(|name| name.to_string_lossy() == manifest.height.to_string()) {
        Ok(manifest)
    } else {
        Err(SnapshotError::Manifest("it is of another height than its folder".to_owned()))
    }
}

pub(super) fn listed(manifest: &Manifest) -> Listed {
    Listed {
        height: manifest.height,
        format: manifest.format,
        manifest: manifest.hash(),
        bytes: manifest.bytes,
        chunks: manifest.chunks.len(),
    }
}
