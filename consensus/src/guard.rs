//! The last-signed-state guard: a validator never signs two different things for one slot.
//!
//! The engine's own log protects against a crash. The guard protects against what the log does
//! not: a deleted or damaged log, a bug, a second process, a directory restored from a backup. It
//! is one small file. Every signature's slot and message are appended and synced before the
//! signature leaves; what would sign lower than the file says, or something else for the same
//! slot, is refused.
//!
//! A file restored from a backup is older than the truth and cannot know it. The file names the
//! inode that it was written to and when that was born, so a copy is noticed ([`Provenance::Restored`]); such a validator
//! must not sign until the chain has passed every height that it may have signed before.
//!
//! File: a header of 96 bytes, then records of 53 (`docs/spec/files.md`).

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use types::{Hash, Height, PublicKey};

use crate::fault;

const MAGIC: &[u8; 8] = b"ZYNKGRD1";
const HEADER: usize = 96;
const RECORD: usize = 53;
/// A file longer than this is rewritten with the last height's records only.
const COMPACT_ABOVE: u64 = 64 * 1024;

/// What is signed at a height and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// A proposal.
    Proposal = 0,
    /// A prevote.
    Prevote = 1,
    /// A precommit.
    Precommit = 2,
}

/// Whether the file is the one that was written, or a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// There was none; it was made now.
    Fresh,
    /// It is where it was written.
    Intact,
    /// It was copied or restored: signatures may have been given that it does not know.
    Restored,
}

/// Why the guard cannot be opened, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The file cannot be read or written.
    #[error("the signing guard {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is damaged.
    #[error(
        "the signing guard {path} is damaged at byte {at}: this validator must not sign. If its last signed height is known to be below the chain's, remove the file and start with --accept-restored-guard"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        at: usize,
    },
    /// The file is another validator's.
    #[error("the signing guard {path} belongs to the key {found}, not {expected}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The key that it names.
        found: PublicKey,
        /// This validator's key.
        expected: PublicKey,
    },
    /// A lower height or round than was signed.
    #[error("refused to sign at height {height} round {round}: height {last_height} round {last_round} was signed before")]
    Regression {
        /// The height asked for.
        height: Height,
        /// The round asked for.
        round: u32,
        /// The highest height signed.
        last_height: Height,
        /// The highest round signed there.
        last_round: u32,
    },
    /// Something else was signed for this slot.
    #[error("refused to sign a second, different {step:?} at height {height} round {round}")]
    Conflict {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
        /// The step.
        step: Step,
    },
}

/// Where a file was written. A copy has another inode or, where the number was used again, another
/// time of birth, which nobody can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    inode: u64,
    device: u64,
    /// Since 1970, in nanoseconds; 0 on file systems that do not know it.
    born_ns: u64,
}

impl Place {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born_ns = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
        Self { inode: metadata.ino(), device: metadata.dev(), born_ns }
    }
}

/// The guard of one validator key.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    key: PublicKey,
    file: File,
    length: u64,
    height: Height,
    signed: BTreeMap<(u32, Step), Hash>,
    /// Set by a write that failed: what the file holds is then unknown until it is read again.
    failed: bool,
}

impl Guard {
    /// Opens the guard of `key` at `path`, or makes one.
    ///
    /// # Errors
    /// [`GuardError::Io`], [`GuardError::Damaged`], [`GuardError::Foreign`].
    pub fn open(path: &Path, key: PublicKey) -> Result<(Self, Provenance), GuardError> {
        let io = |error| GuardError::Io { path: path.to_owned(), error };
        let mut file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (file, length) = write_new(path, key, Height(0), &BTreeMap::new()).map_err(io)?;
                let guard = Self { path: path.to_owned(), key, file, length, height: Height(0), signed: BTreeMap::new(), failed: false };
                return Ok((guard, Provenance::Fresh));
            }
            Err(error) => return Err(io(error)),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let here = file.metadata().map(|metadata| Place::of(&metadata)).map_err(io)?;
        let (found, written) = parse_header(&bytes).ok_or_else(|| GuardError::Damaged { path: path.to_owned(), at: 0 })?;
        if found != key {
            return Err(GuardError::Foreign { path: path.to_owned(), found, expected: key });
        }
        let (height, signed, length) = parse_records(&bytes).map_err(|at| GuardError::Damaged { path: path.to_owned(), at })?;
        // A record cut off by a crash: its signature had not left.
        file.set_len(length).map_err(io)?;
        let provenance = if written == here { Provenance::Intact } else { Provenance::Restored };
        Ok((Self { path: path.to_owned(), key, file, length, height, signed, failed: false }, provenance))
    }

    /// The highest height that the guard's file at `path` knows of, read without changing it. `None` where there is none, or
    /// a damaged one.
    #[must_use]
    pub fn signed_height(path: &Path) -> Option<Height> {
        let bytes = std::fs::read(path).ok()?;
        parse_header(&bytes)?;
        parse_records(&bytes).ok().map(|(height, _, _)| height)
    }

    /// The highest height signed so far; 0 before the first signature.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Permits the signing of `message` for a slot, durably, or refuses.
    ///
    /// The same message for the same slot is permitted again: Ed25519 signs it alike.
    ///
    /// # Errors
    /// [`GuardError::Regression`], [`GuardError::Conflict`], and [`GuardError::Io`] when the
    /// permission is not durable. After such a failure every other permission is refused too, until
    /// the file is opened again: a record cut short, or a file already replaced, must not be added to.
    pub fn permit(&mut self, height: Height, round: u32, step: Step, message: &[u8]) -> Result<(), GuardError> {
        let digest = Hash(*blake3::hash(message).as_bytes());
        if height == self.height {
            match self.signed.get(&(round, step)) {
                Some(signed) if *signed == digest => return Ok(()),
                Some(_) => return Err(GuardError::Conflict { height, round, step }),
                None => {}
            }
        }
        let last_round = self.signed.keys().next_back().map_or(0, |(round, _)| *round);
        if height < self.height || (height == self.height && round < last_round) {
            return Err(GuardError::Regression { height, round, last_height: self.height, last_round });
        }
        self.write(|guard| guard.append(height, round, step, digest))
    }

    /// Declares that everything this key may have signed is below what it will be asked to sign:
    /// the file becomes this machine's own again.
    ///
    /// # Errors
    /// [`GuardError::Io`].
    pub fn accept(&mut self) -> Result<(), GuardError> {
        self.write(Self::compact)
    }

    fn write(&mut self, act: impl FnOnce(&mut Self) -> std::io::Result<()>) -> Result<(), GuardError> {
        let done = if self.failed { Err(std::io::Error::other("an earlier write failed: restart this validator")) } else { act(self) };
        self.failed |= done.is_err();
        done.map_err(|error| GuardError::Io { path: self.path.clone(), error })
    }

    fn append(&mut self, height: Height, round: u32, step: Step, digest: Hash) -> std::io::Result<()> {
        if height > self.height {
            self.signed.clear();
            self.height = height;
            if self.length > COMPACT_ABOVE {
                self.compact()?;
            }
        }
        fault::point("guard.append.before");
        self.file.write_all(&record(height, round, step, &digest))?;
        self.file.sync_data()?;
        self.length += RECORD as u64;
        self.signed.insert((round, step), digest);
        fault::point("guard.append.after");
        Ok(())
    }

    fn compact(&mut self) -> std::io::Result<()> {
        fault::point("guard.compact.before");
        (self.file, self.length) = write_new(&self.path, self.key, self.height, &self.signed)?;
        fault::point("guard.compact.after");
        Ok(())
    }
}

/// Writes a whole file beside `path` and moves it there, so that a crash leaves the old or the new.
fn write_new(path: &Path, key: PublicKey, height: Height, signed: &BTreeMap<(u32, Step), Hash>) -> std::io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().create_new(true).read(true).append(true).mode(0o600).open(&beside)?;
    let metadata = file.metadata()?;
    let mut bytes = header(key, Place::of(&metadata)).to_vec();
    // The height is kept even where nothing was signed at it yet.
    if signed.is_empty() && height > Height(0) {
        bytes.extend(record(height, 0, Step::Proposal, &Hash::ZERO));
    }
    for ((round, step), digest) in signed {
        bytes.extend(record(height, *round, *step, digest));
    }
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok((file, bytes.len() as u64))
}

fn header(key: PublicKey, Place { inode, device, born_ns }: Place) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(&key.0);
    header[40..48].copy_from_slice(&inode.to_be_bytes());
    header[48..56].copy_from_slice(&device.to_be_bytes());
    header[56..64].copy_from_slice(&born_ns.to_be_bytes());
    let check = blake3::hash(&header[..64]);
    header[64..].copy_from_slice(check.as_bytes());
    header
}

fn parse_header(bytes: &[u8]) -> Option<(PublicKey, Place)> {
    let found = bytes.get(..HEADER)?;
    let key = PublicKey(found[8..40].try_into().ok()?);
    let number = |at: usize| found[at..at + 8].try_into().map(u64::from_be_bytes).ok();
    let place = Place { inode: number(40)?, device: number(48)?, born_ns: number(56)? };
    (found == header(key, place)).then_some((key, place))
}

fn record(height: Height, round: u32, step: Step, digest: &Hash) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&height.0.to_be_bytes());
    record[8..12].copy_from_slice(&round.to_be_bytes());
    record[12] = step as u8;
    record[13..45].copy_from_slice(&digest.0);
    let check = blake3::hash(&record[..45]);
    record[45..].copy_from_slice(&check.as_bytes()[..8]);
    record
}

type Records = (Height, BTreeMap<(u32, Step), Hash>, u64);

/// The last height's records and the length up to the last whole one, or where the damage begins.
fn parse_records(bytes: &[u8]) -> Result<Records, usize> {
    let (mut height, mut signed) = (Height(0), BTreeMap::new());
    let mut at = HEADER;
    while let Some(found) = bytes.get(at..at + RECORD) {
        let (height_found, round, step, digest) = parse_record(found).ok_or(at)?;
        if height_found < height {
            return Err(at);
        }
        if height_found > height {
            signed.clear();
            height = height_found;
        }
        if digest != Hash::ZERO {
            signed.insert((round, step), digest);
        }
        at += RECORD;
    }
    Ok((height, signed, at as u64))
}

fn parse_record(found: &[u8]) -> Option<(Height, u32, Step, Hash)> {
    let height = Height(u64::from_be_bytes(found[..8].try_into().ok()?));
    let round = u32::from_be_bytes(found[8..12].try_into().ok()?);
    let step = [Step::Proposal, Step::Prevote, Step::Precommit].into_iter().find(|step| *step as u8 == found[12])?;
    let digest = Hash(found[13..45].try_into().ok()?);
    (found == record(height, round, step, &digest)).then_some((height, round, step, digest))
}

#[cfg(test)]
mod tests;
