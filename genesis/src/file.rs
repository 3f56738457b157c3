//! Files that must not be lost, shown to others or overwritten by accident.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// Reads a file of at most `bound` bytes.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`].
pub fn read(path: &Path, bound: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    read_open(&file, path, bound)
}

/// Reads a file with secrets: as [`read`], and nobody else may read it.
///
/// # Errors
/// As [`read`], and [`Error::Exposed`].
pub fn read_secret(path: &Path, bound: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    // Asked of the open file, so that it cannot be exchanged between the question and the reading.
    let mode = file.metadata().map_err(Error::io(path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    read_open(&file, path, bound)
}

/// Writes a new file with secrets, mode 0600, and syncs it.
///
/// # Errors
/// [`Error::Exists`] if there is anything at `path`; [`Error::Io`].
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Io { path: path.to_owned(), source },
    })?;
    write_and_sync(&file, bytes).and_then(|()| sync_folder(path)).map_err(Error::io(path))
}

/// Replaces a file with secrets by another, whole or not at all: after a crash there is the one or
/// the other.
///
/// # Errors
/// [`Error::Io`].
pub fn replace_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, 0o600)
}

/// As [`replace_secret`], and what stood there is then overwritten, since it was more readable than it should be; as far as
/// a program can do that, and not where the file has another name too, under which somebody keeps it.
///
/// # Errors
/// [`Error::Io`].
pub fn replace_secret_for_good(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let old = OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
    replace(path, bytes, 0o600)?;
    let wipe = || -> std::io::Result<()> {
        let metadata = old.metadata()?;
        if metadata.nlink() == 0 {
            let zeros = vec![0; usize::try_from(metadata.len()).unwrap_or(0)];
            write_and_sync(&old, &zeros)?;
        }
        Ok(())
    };
    wipe().map_err(Error::io(path))
}

/// Writes a file that anybody may read, whole or not at all, over what may stand there.
///
/// # Errors
/// [`Error::Io`].
pub fn replace_public(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, 0o644)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let draft = beside(path, ".new");
    // What an earlier crash left there is of no use to anybody.
    if let Err(source) = std::fs::remove_file(&draft)
        && source.kind() != ErrorKind::NotFound
    {
        return Err(Error::Io { path: draft, source });
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).map_err(Error::io(&draft))?;
    write_and_sync(&file, bytes).map_err(Error::io(&draft))?;
    std::fs::rename(&draft, path).and_then(|()| sync_folder(path)).map_err(Error::io(path))
}

/// Makes this process the only one to work on a file, until what is returned is dropped. The lock
/// is on a file beside it, since the file itself is replaced by each change.
///
/// # Errors
/// [`Error::Busy`] if another process holds it; [`Error::Io`].
pub fn lock(path: &Path) -> Result<File, Error> {
    let at = beside(path, ".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&at).map_err(Error::io(&at))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::Io { path: at, source }),
    }
}

/// The path with `ending` after its last name.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn read_open(file: &File, path: &Path, bound: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(bound + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    let found = bytes.len() as u64;
    if found > bound { Err(Error::TooLarge { found, bound }) } else { Ok(bytes) }
}

fn write_and_sync(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new name is only safe once its folder is synced.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
