//! What is stamped: which files, their hashes, and the batch that they make.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use audit::bundle::Item;
use audit::{Batch, Body, CommitmentPart, EnvelopePart, LeafOpening, MAX_BATCH, Opening};
use types::{Hash, Text};

/// What proofs end in. A folder's proofs are not stamped themselves.
pub(crate) const ENDING: &str = ".zproof";

/// Why something cannot be stamped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unstampable {
    /// The system failed at a file.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// There is no file.
    #[error("{} has no file to stamp", .0.display())]
    Empty(PathBuf),
    /// There are more files than a batch holds.
    #[error("{} has more than {MAX_BATCH} files: stamp its parts one after the other", .0.display())]
    TooMany(PathBuf),
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    Odd(PathBuf),
}

impl Unstampable {
    /// The stable number of this reason.
    pub(crate) const fn code(&self) -> u32 {
        match self {
            Self::Io { .. } => 6101,
            Self::Empty(_) => 6102,
            Self::TooMany(_) => 6103,
            Self::Odd(_) => 6104,
        }
    }
}

/// A file to be stamped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where it is within what is stamped.
    pub(crate) relative: PathBuf,
}

/// The files to be stamped, by their relative paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// At least one and at most [`MAX_BATCH`].
    pub(crate) files: Vec<Source>,
    /// How many links, pipes and the like were passed over: what they lead to is not stamped.
    pub(crate) skipped: usize,
}

impl Source {
    /// What the proof calls the file: its relative path with `/`, where that is text and short.
    pub(crate) fn name(&self) -> Option<Text<255>> {
        let parts: Option<Vec<_>> = self.relative.components().map(|part| part.as_os_str().to_str()).collect();
        parts?.join("/").try_into().ok()
    }

    /// Where the file's proof goes: beside the file, or at the same place below `out`.
    pub(crate) fn proof(&self, out: Option<&Path>) -> PathBuf {
        let whole = out.map_or_else(|| self.path.clone(), |out| out.join(&self.relative));
        genesis::file::beside(&whole, ENDING)
    }
}

/// The files at `path`: itself, or all below it, in the order of their relative paths.
///
/// Links are not followed, so that nothing outside is stamped and no ring is walked; only `path`
/// itself may be one, since a person named it.
pub(crate) fn sources(path: &Path) -> Result<Sources, Unstampable> {
    let kind = fs::metadata(path).map_err(io(path))?;
    let mut found = Sources { files: Vec::new(), skipped: 0 };
    if kind.is_file() {
        let relative = path.file_name().map_or_else(|| path.to_owned(), PathBuf::from);
        found.files.push(Source { path: path.to_owned(), relative });
    } else if kind.is_dir() {
        walk(path, &mut found)?;
    } else {
        return Err(Unstampable::Odd(path.to_owned()));
    }
    if found.files.is_empty() {
        return Err(Unstampable::Empty(path.to_owned()));
    }
    found.files.sort_by(|left, right| left.relative.cmp(&right.relative));
    Ok(found)
}

fn walk(root: &Path, found: &mut Sources) -> Result<(), Unstampable> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        for entry in fs::read_dir(&here).map_err(io(&here))? {
            let entry = entry.map_err(io(&here))?;
            let (path, relative) = (entry.path(), folder.join(entry.file_name()));
            let kind = entry.file_type().map_err(io(&path))?;
            if kind.is_dir() {
                folders.push(relative);
            } else if !kind.is_file() {
                found.skipped += 1;
            } else if !relative.to_string_lossy().ends_with(ENDING) {
                found.files.push(Source { path, relative });
            }
            // As many folders would take as long to walk, so they count too.
            if found.files.len() > MAX_BATCH || folders.len() > MAX_BATCH {
                return Err(Unstampable::TooMany(root.to_owned()));
            }
        }
    }
    Ok(())
}

/// Reads to the end: BLAKE3, and how many bytes there were.
pub(crate) fn hash(reader: &mut impl Read) -> std::io::Result<(Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((Hash(*hasher.finalize().as_bytes()), hasher.count())),
            count => hasher.update(&buffer[..count]),
        };
    }
}

/// Reads a file: what a proof of it commits to.
pub(crate) fn read(source: &Source, named: bool) -> Result<Body, Unstampable> {
    let (content, size) = fs::File::open(&source.path).and_then(|mut file| hash(&mut file)).map_err(io(&source.path))?;
    Ok(Body::File { content, size, name: source.name().filter(|_| named) })
}

/// Bodies sealed into a batch.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) batch: Batch,
    /// One for each body, in their order.
    pub(crate) items: Vec<Item>,
}

/// Salts and seals the bodies: at most [`MAX_BATCH`]. `entropy`: 32 fresh random bytes at each call.
pub(crate) fn seal(bodies: Vec<Body>, mut entropy: impl FnMut() -> [u8; 32]) -> Sealed {
    // There is no relay that saw an envelope, so a random half stands in for its own.
    let opened = bodies.into_iter().map(|body| LeafOpening {
        commitment: CommitmentPart::Opened(Opening { salt: entropy(), body }),
        envelope: EnvelopePart::Hidden(Hash(entropy())),
    });
    let openings: Vec<_> = opened.collect();
    let leaves = openings.iter().map(LeafOpening::leaf).collect();
    let batch = Batch::seal(leaves, || Hash(entropy())).expect("bounded, and no two random salts are the same");
    let item = |opening: LeafOpening| {
        let index = batch.index_of(&opening.leaf()).expect("it was sealed in");
        let path = batch.path(index).and_then(|path| path.try_into().ok()).expect("a batch has at most 16 levels");
        Item { opening, index, path }
    };
    let items = openings.into_iter().map(item).collect();
    Sealed { batch, items }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Unstampable + '_ {
    move |source| Unstampable::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
