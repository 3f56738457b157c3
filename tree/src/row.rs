//! Rows: pages as they are stored, whole or as what changed (`docs/spec/tree.md`).
//!
//! A change of one entry leaves most of a page as it was. So a version writes a page's changed leaves or children alone, and
//! names the version whose row that builds on; at the latest after [`ROWS`] rows, or when much changes, the page is
//! written whole again, and the rows before are stale.

use types::codec::put_number;
use types::{Decode as _, DecodeError, Hash, Reader};

use crate::Error;
use crate::name::{MAX_PATH, PageId};
use crate::page::{BUCKET, Body, Child, Leaf, Page, Patch, Rows, SLOTS};

/// How many rows a page is made of at most.
pub const ROWS: usize = 8;

/// How many leaves a child can claim: more than a disk holds, and sixteen of it are a number.
const MAX_LEAVES: u64 = 1 << 48;

/// What a row's first byte says; where it has changes alone, the version follows that it builds on.
const LEAVES_WHOLE: u8 = 0;
const CHILDREN_WHOLE: u8 = 1;
const CHANGED: u8 = 2;

impl Page {
    /// Reads the page `id`. What it accepts can be walked without a panic and without an endless way, whoever wrote it.
    /// `row`: the bytes stored under a page's key.
    ///
    /// # Errors
    /// [`Error::NoPage`] when a row is not there, [`Error::BadPage`] when they are no page, or not one that can stand there.
    pub fn read(id: &PageId, row: impl Fn(&PageId) -> Option<Vec<u8>>) -> Result<Self, Error> {
        let mut rows = Vec::new();
        let mut patches = Vec::new();
        let mut at = *id;
        loop {
            let bytes = row(&at).ok_or(Error::NoPage(at))?;
            let (base, patch) = decode(&at, &bytes).map_err(|error| Error::BadPage(at, error))?;
            rows.insert(0, at.version);
            patches.push(patch);
            match base {
                None => break,
                Some(base) if base < at.version && rows.len() < ROWS => at.version = base,
                Some(_) => return Err(Error::BadPage(at, CHANGES)),
            }
        }
        let mut body = match patches.last() {
            Some(Patch::Children(_)) => Body::Inner(Box::new([None; SLOTS])),
            _ => Body::Bucket(Vec::new()),
        };
        let fits = patches.iter().rev().all(|patch| body.lay(patch));
        let checked = if fits { check(id, &body) } else { Err(CHANGES) };
        checked.map_err(|error| Error::BadPage(*id, error))?;
        Ok(Self { body, rows, hashes: Vec::new() })
    }
}

/// The row of the page `id`; `old` is the page that was there. A root is always whole: once a version is pruned there is
/// none.
pub(crate) fn write(id: &PageId, body: &Body, old: Option<&Page>) -> (Vec<u8>, Rows) {
    if let Some(old) = old.filter(|_| id.path.depth() > 0)
        && let Some(base) = old.rows.last()
        && old.rows.len() < ROWS
        && let Some(patch) = changes(id.version, body, &old.body)
    {
        return (encode(Some(*base), &patch), Rows::More);
    }
    (encode(None, &body.patch(|_| true)), Rows::Whole)
}

/// What `version` changed, unless something went, or most of the page is new: then it is written whole.
fn changes(version: u64, body: &Body, old: &Body) -> Option<Patch> {
    let patch = body.patch(|found| found == version);
    let fits = match (&patch, body, old) {
        (Patch::Leaves(patch), Body::Bucket(leaves), Body::Bucket(old)) => {
            let came = |leaf: &&Leaf| old.binary_search_by_key(&leaf.place, |old| old.place).is_err();
            leaves.len() == old.len() + patch.iter().filter(came).count() && 2 * patch.len() <= leaves.len()
        }
        (Patch::Children(patch), Body::Inner(slots), Body::Inner(old)) => {
            let went = slots.iter().zip(old.iter()).any(|(new, old)| new.is_none() && old.is_some());
            !went && 2 * patch.len() <= SLOTS
        }
        _ => false,
    };
    fits.then_some(patch)
}

fn encode(base: Option<u64>, patch: &Patch) -> Vec<u8> {
    let (kind, size) = match patch {
        Patch::Leaves(leaves) => (LEAVES_WHOLE, 69 * leaves.len()),
        Patch::Children(children) => (CHILDREN_WHOLE, 42 * children.len()),
    };
    let mut out = Vec::with_capacity(16 + size);
    match base {
        None => out.push(kind),
        Some(base) => {
            out.push(kind + CHANGED);
            put_number(base, &mut out);
        }
    }
    match patch {
        Patch::Leaves(leaves) => {
            put_number(leaves.len() as u64, &mut out);
            for leaf in leaves {
                out.extend(leaf.place.0);
                out.extend(leaf.hash.0);
                put_number(leaf.version, &mut out);
            }
        }
        Patch::Children(children) => {
            let taken = children.iter().fold(0u16, |taken, (slot, _)| taken | 0x8000 >> slot);
            out.extend(taken.to_be_bytes());
            for (_, child) in children {
                put_number(child.version, &mut out);
                put_number(child.leaves, &mut out);
                out.extend(child.hash.0);
            }
        }
    }
    out
}

/// A row, and the version whose row it builds on, if it has changes alone.
fn decode(id: &PageId, bytes: &[u8]) -> Result<(Option<u64>, Patch), DecodeError> {
    let mut reader = Reader::new(bytes);
    let kind = u8::decode(&mut reader)?;
    let base = if kind & CHANGED == 0 { None } else { Some(reader.number()?) };
    let patch = match kind & !CHANGED {
        LEAVES_WHOLE => Patch::Leaves(read_leaves(id, &mut reader)?),
        CHILDREN_WHOLE => Patch::Children(read_children(id, &mut reader)?),
        _ => return Err(DecodeError::Tag { what: "page", found: kind }),
    };
    reader.finish().map(|()| (base, patch))
}

const LEAVES: DecodeError = DecodeError::Value { what: "bucket of leaves" };
const CHILDREN: DecodeError = DecodeError::Value { what: "page of children" };
const CHANGES: DecodeError = DecodeError::Value { what: "row of changes" };

fn read_leaves(id: &PageId, reader: &mut Reader<'_>) -> Result<Vec<Leaf>, DecodeError> {
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
    Ok(leaves)
}

fn read_children(id: &PageId, reader: &mut Reader<'_>) -> Result<Vec<(usize, Child)>, DecodeError> {
    let taken = u16::from_be_bytes(reader.array()?);
    let mut children = Vec::with_capacity(SLOTS);
    for slot in (0..SLOTS).filter(|slot| taken << slot & 0x8000 != 0) {
        let child = Child { version: reader.number()?, leaves: reader.number()?, hash: Hash::decode(reader)? };
        if child.version > id.version || !(1..=MAX_LEAVES).contains(&child.leaves) {
            return Err(CHILDREN);
        }
        children.push((slot, child));
    }
    Ok(children)
}

/// Whether a page with all its changes can stand where it does.
fn check(id: &PageId, body: &Body) -> Result<(), DecodeError> {
    match body {
        Body::Bucket(leaves) if leaves.len() > BUCKET || leaves.is_empty() && id.path.depth() > 0 => Err(LEAVES),
        Body::Inner(_) if body.leaves() <= BUCKET as u64 || id.path.depth() >= MAX_PATH => Err(CHILDREN),
        _ => Ok(()),
    }
}
