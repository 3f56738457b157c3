//! Names: where pages and records stand, and their keys in a database.

use types::{DecodeError, Hash, Reader};

use crate::hash::nibble;

/// How long a path can be, in nibbles: all of a place.
pub const MAX_PATH: usize = 64;

/// The nibbles that lead from the root to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path {
    /// The nibbles from the first on, as in a place, and zeros: so that paths stand in the order of their nibbles.
    nibbles: Hash,
    depth: u8,
}

impl Path {
    /// How many nibbles it has.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth as usize
    }

    /// Its first nibble, 0 if it has none.
    #[must_use]
    pub fn first(&self) -> usize {
        nibble(&self.nibbles, 0)
    }

    /// The path of the child in `slot`, below 16.
    ///
    /// # Panics
    /// When it has [`MAX_PATH`] nibbles already.
    #[must_use]
    pub fn child(&self, slot: usize) -> Self {
        let mut child = *self;
        child.nibbles.0[self.depth() / 2] |= u8::try_from(slot).unwrap_or_default() << (4 * (1 - self.depth % 2));
        child.depth += 1;
        child
    }

    /// Whether it leads to `place`, or to a page above it.
    #[must_use]
    pub fn leads_to(&self, place: &Hash) -> bool {
        let (whole, odd) = (self.depth() / 2, self.depth % 2 == 1);
        self.nibbles.0[..whole] == place.0[..whole] && (!odd || nibble(&self.nibbles, self.depth() - 1) == nibble(place, self.depth() - 1))
    }

    fn read(nibbles: &[u8]) -> Result<Self, DecodeError> {
        if nibbles.len() > MAX_PATH || nibbles.iter().any(|nibble| *nibble > 0xf) {
            return Err(DecodeError::Value { what: "path of nibbles" });
        }
        Ok(nibbles.iter().fold(Self::default(), |path, nibble| path.child(usize::from(*nibble))))
    }
}

/// A page's name: the version that wrote it, and where it stands. It is never written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    /// The version.
    pub version: u64,
    /// The place.
    pub path: Path,
}

impl PageId {
    /// The page of a version's root.
    #[must_use]
    pub fn root(version: u64) -> Self {
        Self { version, path: Path::default() }
    }

    /// Its key in a database: version (8 bytes, big endian) ‖ nibbles, one a byte. A version's pages stand together.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(8 + self.path.depth());
        key.extend(self.version.to_be_bytes());
        key.extend((0..self.path.depth()).flat_map(|depth| u8::try_from(nibble(&self.path.nibbles, depth))));
        key
    }

    /// Reads what [`PageId::to_key`] wrote.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn from_key(key: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(key);
        let version = u64::from_be_bytes(reader.array()?);
        Ok(Self { version, path: Path::read(reader.take(reader.remaining())?)? })
    }
}

/// The name of a record, the key and value behind a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The version that wrote it.
    pub version: u64,
    /// The key's place.
    pub place: Hash,
}

impl RecordId {
    /// Its key in a database: version (8 bytes, big endian) ‖ place (32).
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        [self.version.to_be_bytes().as_slice(), &self.place.0].concat()
    }

    /// Reads what [`RecordId::to_key`] wrote.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn from_key(key: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(key);
        let id = Self { version: u64::from_be_bytes(reader.array()?), place: Hash(reader.array()?) };
        reader.finish().map(|()| id)
    }
}
