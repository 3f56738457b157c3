//! Pages: what is read and written as one, and what a page hashes to.

use types::codec::put_number;
use types::{Decode as _, DecodeError, Encode as _, Hash, Reader};

use crate::hash::{self, EMPTY, bit, nibble};

/// How many leaves share a page: with one more there is a page above them.
pub const BUCKET: usize = 24;
/// How many children a page above others has: four levels of the binary tree.
pub const SLOTS: usize = 16;
/// How long a path can be, in nibbles: all of a place.
pub const MAX_PATH: usize = 64;

/// How many leaves a child can claim: more than a disk holds, and sixteen of it are a number.
const MAX_LEAVES: u64 = 1 << 48;

/// The nibbles that lead from the root to a page, one a byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<u8>);

impl Path {
    /// How many nibbles it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The path of the child in `slot`, below 16.
    #[must_use]
    pub fn child(&self, slot: usize) -> Self {
        let mut nibbles = Vec::with_capacity(self.0.len() + 1);
        nibbles.extend(&self.0);
        nibbles.extend(u8::try_from(slot));
        Self(nibbles)
    }

    /// Whether it leads to `place`, or to a page above it.
    #[must_use]
    pub fn leads_to(&self, place: &Hash) -> bool {
        self.0.iter().enumerate().all(|(depth, found)| nibble(place, depth) == usize::from(*found))
    }

    fn read(nibbles: &[u8]) -> Result<Self, DecodeError> {
        if nibbles.len() > MAX_PATH || nibbles.iter().any(|nibble| *nibble > 0xf) {
            return Err(DecodeError::Value { what: "path of nibbles" });
        }
        Ok(Self(nibbles.to_vec()))
    }
}

/// A page's name: the version that wrote it, and where it stands. It is never written again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Its key in a database: version [8, big endian] ‖ nibbles, one a byte. A version's pages stand together.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        [&self.version.to_be_bytes(), self.path.0.as_slice()].concat()
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
    /// Its key in a database: version [8, big endian] ‖ place [32].
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

/// One entry, as its page has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Where its key stands.
    pub place: Hash,
    /// Its hash.
    pub hash: Hash,
    /// The version that wrote its record.
    pub version: u64,
}

impl Leaf {
    /// The record behind it.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        RecordId { version: self.version, place: self.place }
    }
}

/// A page below another one, as that one has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// The version that wrote it.
    pub version: u64,
    /// How many leaves are in it and below.
    pub leaves: u64,
    /// The hash of its subtree.
    pub hash: Hash,
}

/// A page: leaves, or pages below.
///
/// Which of them follows from the number of leaves alone, so that the same entries always lie on the same pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// At most [`BUCKET`] leaves, by their places; none only at the root.
    Bucket(Vec<Leaf>),
    /// The pages below, by the nibble that leads to them; together they have more than [`BUCKET`] leaves.
    Inner(Box<[Option<Child>; SLOTS]>),
}

impl Page {
    /// How many leaves are in it and below.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        match self {
            Self::Bucket(leaves) => leaves.len() as u64,
            Self::Inner(slots) => slots.iter().flatten().map(|child| child.leaves).sum(),
        }
    }

    /// The hash of its subtree. `depth`: how many nibbles lead to it.
    #[must_use]
    pub fn hash(&self, depth: usize) -> Hash {
        match self {
            Self::Bucket(leaves) => hash_of_leaves(leaves, 4 * depth),
            Self::Inner(slots) => hash_of_slots(slots.as_slice()).1,
        }
    }

    /// How much memory it takes, about, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Bucket(leaves) => size_of::<Leaf>() * leaves.len(),
            Self::Inner(_) => size_of::<[Option<Child>; SLOTS]>(),
        }
    }

    /// Its bytes: `docs/spec/tree.md`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bucket(leaves) => {
                let mut out = Vec::with_capacity(2 + 69 * leaves.len());
                out.push(0);
                put_number(leaves.len() as u64, &mut out);
                for leaf in leaves {
                    leaf.place.encode(&mut out);
                    leaf.hash.encode(&mut out);
                    put_number(leaf.version, &mut out);
                }
                out
            }
            Self::Inner(slots) => {
                let mut out = Vec::with_capacity(3 + 42 * SLOTS);
                let taken = slots.iter().fold(0u16, |taken, slot| taken << 1 | u16::from(slot.is_some()));
                out.push(1);
                out.extend(taken.to_be_bytes());
                for child in slots.iter().flatten() {
                    put_number(child.version, &mut out);
                    put_number(child.leaves, &mut out);
                    child.hash.encode(&mut out);
                }
                out
            }
        }
    }

    /// Reads the page `id`. What it accepts can be walked without a panic and without an endless way, whoever wrote it.
    ///
    /// # Errors
    /// When the bytes are no page, or not one that can stand there.
    pub fn from_bytes(id: &PageId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let page = match u8::decode(&mut reader)? {
            0 => read_bucket(id, &mut reader)?,
            1 => read_inner(id, &mut reader)?,
            found => return Err(DecodeError::Tag { what: "page", found }),
        };
        reader.finish().map(|()| page)
    }
}

fn read_bucket(id: &PageId, reader: &mut Reader<'_>) -> Result<Page, DecodeError> {
    const LEAVES: DecodeError = DecodeError::Value { what: "bucket of leaves" };
    let count = reader.count(BUCKET)?;
    let mut leaves: Vec<Leaf> = Vec::with_capacity(count);
    for _ in 0..count {
        let leaf = Leaf { place: Hash::decode(reader)?, hash: Hash::decode(reader)?, version: reader.number()? };
        let follows = leaves.last().is_none_or(|last| last.place < leaf.place);
        if !follows || !id.path.leads_to(&leaf.place) || leaf.version > id.version {
            return Err(LEAVES);
        }
        leaves.push(leaf);
    }
    if count == 0 && id.path.depth() > 0 { Err(LEAVES) } else { Ok(Page::Bucket(leaves)) }
}

fn read_inner(id: &PageId, reader: &mut Reader<'_>) -> Result<Page, DecodeError> {
    const CHILDREN: DecodeError = DecodeError::Value { what: "page of children" };
    let taken = u16::from_be_bytes(reader.array()?);
    let mut slots = Box::new([None; SLOTS]);
    let mut total = 0u64;
    for (slot, place) in slots.iter_mut().enumerate() {
        if taken << slot & 0x8000 != 0 {
            let child = Child { version: reader.number()?, leaves: reader.number()?, hash: Hash::decode(reader)? };
            if child.version > id.version || !(1..=MAX_LEAVES).contains(&child.leaves) {
                return Err(CHILDREN);
            }
            total += child.leaves;
            *place = Some(child);
        }
    }
    if total <= BUCKET as u64 || id.path.depth() >= MAX_PATH { Err(CHILDREN) } else { Ok(Page::Inner(slots)) }
}

/// The hash over sorted leaves that share their first `depth` bits. A subtree of one leaf is that leaf.
pub(crate) fn hash_of_leaves(leaves: &[Leaf], depth: usize) -> Hash {
    match leaves {
        [] => EMPTY,
        [leaf] => leaf.hash,
        _ => {
            let (left, right) = halves(leaves, depth);
            hash::inner(&hash_of_leaves(left, depth + 1), &hash_of_leaves(right, depth + 1))
        }
    }
}

/// Sorted leaves by their bit at `depth`.
pub(crate) fn halves(leaves: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.place, depth)))
}

/// How many leaves are below neighbouring slots, a power of two of them, and the hash over these.
pub(crate) fn hash_of_slots(slots: &[Option<Child>]) -> (u64, Hash) {
    if let [slot] = slots {
        return slot.map_or((0, EMPTY), |child| (child.leaves, child.hash));
    }
    let (left, right) = slots.split_at(slots.len() / 2);
    match (hash_of_slots(left), hash_of_slots(right)) {
        ((0, _), (0, _)) => (0, EMPTY),
        ((1, only), (0, _)) | ((0, _), (1, only)) => (1, only),
        ((some, left), (more, right)) => (some + more, hash::inner(&left, &right)),
    }
}
