//! From one version to the next.
//!
//! The work falls into at most sixteen tasks that know nothing of each other, one for each child of the root, so that a
//! shell can give them to as many threads as it has: [`begin`], [`Begun::tasks`], [`Task::run`], [`Begun::finish`].

use std::sync::Arc;

use types::Hash;

use crate::name::{PageId, Path, RecordId};
use crate::page::{BUCKET, Body, Child, Fresh, Leaf, Page, Rows, SLOTS};
use crate::{Error, Read, hash, record, row};

/// What becomes of one key.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    place: Hash,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// Sets `key` to a value, or removes it.
    #[must_use]
    pub fn new(key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        Self { place: hash::place(key), key, value }
    }

    #[cfg(test)]
    pub(crate) const fn at(place: Hash, value: Option<&'a [u8]>) -> Self {
        Self { place, key: &[], value }
    }
}

/// A page to be written.
#[derive(Debug, Clone)]
pub struct NewPage {
    /// Its name.
    pub id: PageId,
    /// The page.
    pub page: Fresh,
    /// The bytes of its row: [`row`].
    pub bytes: Vec<u8>,
}

/// A record to be written.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Its name.
    pub id: RecordId,
    /// Its bytes: [`record`].
    pub bytes: Vec<u8>,
}

/// What a new version writes, and what only older ones still need. All of it has to become durable at once.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    /// Pages, by their names.
    pub pages: Vec<NewPage>,
    /// Records, by their names.
    pub records: Vec<NewRecord>,
    /// Rows of pages that the new version does not need any more: to be removed with the last version before it.
    pub stale_pages: Vec<PageId>,
    /// Records alike.
    pub stale_records: Vec<RecordId>,
}

impl Writes {
    /// Writes a page of `version`, as `old` was at its path before. Answers with it as the page above has it.
    pub(crate) fn page(&mut self, version: u64, path: Path, body: Body, old: Option<&Page>) -> Child {
        let id = PageId { version, path };
        let (bytes, rows) = row::write(&id, &body, old);
        if rows == Rows::Whole {
            self.stale(path, old);
        }
        let leaves = body.leaves();
        let (page, hash) = body.into_page(path.depth(), version, rows, old);
        self.pages.push(NewPage { id, page, bytes });
        Child { version, leaves, hash }
    }

    /// Notes that the new version has no more of the page that was at `path`.
    fn stale(&mut self, path: Path, old: Option<&Page>) {
        let rows = old.into_iter().flat_map(|old| &old.rows);
        self.stale_pages.extend(rows.map(|version| PageId { version: *version, path }));
    }

    fn append(&mut self, other: Self) {
        self.pages.extend(other.pages);
        self.records.extend(other.records);
        self.stale_pages.extend(other.stale_pages);
        self.stale_records.extend(other.stale_records);
    }
}

/// A new version.
#[derive(Debug, Clone)]
pub struct Update {
    /// Its number.
    pub version: u64,
    /// Its root.
    pub root: Hash,
    /// What it writes.
    pub writes: Writes,
}

/// An update whose tasks are yet to be run.
#[derive(Debug)]
pub struct Begun<'a> {
    version: u64,
    base: Option<(u64, Arc<Page>)>,
    changes: Vec<Change<'a>>,
}

/// A part of an update.
#[derive(Debug, Clone)]
pub struct Task<'b> {
    version: u64,
    path: Path,
    old: Option<Child>,
    changes: &'b [Change<'b>],
}

/// What became of a [`Task`].
#[derive(Debug)]
pub struct Done {
    part: Part,
    writes: Writes,
}

/// A subtree on its way into a page. Leaves that fit on one page are not written before it is known whether they
/// get one: the page above may take them.
#[derive(Debug)]
pub(crate) enum Part {
    /// As it was.
    Kept(Child),
    /// These leaves, at most [`BUCKET`], on no page yet, and the page that was there.
    Leaves(Vec<Leaf>, Option<Arc<Page>>),
    /// Written.
    Written(Child),
}

impl Part {
    const fn leaves(&self) -> u64 {
        match self {
            Self::Kept(child) | Self::Written(child) => child.leaves,
            Self::Leaves(leaves, _) => leaves.len() as u64,
        }
    }
}

/// Works out what `changes`, one at most for a key, make of the version `base`; without one, of nothing. In one thread.
///
/// # Errors
/// When the stored tree is not whole.
pub fn update(reader: &impl Read, base: Option<u64>, version: u64, changes: Vec<Change<'_>>) -> Result<Update, Error> {
    let begun = begin(reader, base, version, changes)?;
    let done = begun.tasks().into_iter().map(|task| task.run(reader)).collect::<Result<_, _>>()?;
    begun.finish(reader, done)
}

/// Begins an update, as [`update`] does it.
///
/// # Errors
/// When the stored tree is not whole.
pub fn begin<'a>(reader: &impl Read, base: Option<u64>, version: u64, mut changes: Vec<Change<'a>>) -> Result<Begun<'a>, Error> {
    changes.sort_unstable_by_key(|change| change.place);
    let base = base.map(|base| Ok((base, reader.page(&PageId::root(base))?))).transpose()?;
    Ok(Begun { version, base, changes })
}

impl Begun<'_> {
    /// The tasks: one, or as many as the root has slots. They may be run in any order.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task<'_>> {
        let version = self.version;
        match &self.base {
            Some((_, page)) if let Body::Inner(slots) = &page.body => by_slot(&self.changes, 0)
                .zip(slots.iter())
                .enumerate()
                .map(|(slot, (changes, old))| Task { version, path: Path::default().child(slot), old: *old, changes })
                .collect(),
            base => {
                let old = base.as_ref().map(|(base, page)| Child { version: *base, leaves: page.leaves(), hash: Hash::ZERO });
                vec![Task { version, path: Path::default(), old, changes: &self.changes }]
            }
        }
    }

    /// Puts together what became of the tasks, in their order.
    ///
    /// # Errors
    /// When the stored tree is not whole.
    pub fn finish(self, reader: &impl Read, done: Vec<Done>) -> Result<Update, Error> {
        let version = self.version;
        let mut writes = Writes::default();
        let mut parts = Vec::with_capacity(done.len());
        for done in done {
            writes.append(done.writes);
            parts.push(done.part);
        }
        let part = match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                let old = self.base.map(|(_, page)| page);
                join(reader, version, Path::default(), parts, old, &mut writes)?
            }
        };
        let root = match part {
            Part::Written(child) => child,
            Part::Leaves(leaves, old) => writes.page(version, Path::default(), Body::Bucket(leaves), old.as_deref()),
            // Every version has a root of its own, even where nothing became of the changes.
            Part::Kept(child) => {
                let old = reader.page(&PageId::root(child.version))?;
                writes.page(version, Path::default(), old.body.clone(), Some(&old))
            }
        };
        writes.pages.sort_unstable_by_key(|page| page.id);
        Ok(Update { version, root: root.hash, writes })
    }
}

impl Task<'_> {
    /// How many changes it has: none cost nothing.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Does it.
    ///
    /// # Errors
    /// When the stored tree is not whole.
    pub fn run(self, reader: &impl Read) -> Result<Done, Error> {
        let mut writes = Writes::default();
        let part = grow(reader, self.version, self.path, self.old, self.changes, &mut writes)?;
        Ok(Done { part, writes })
    }
}

/// What `changes` make of a subtree.
fn grow(
    reader: &impl Read,
    version: u64,
    path: Path,
    old: Option<Child>,
    changes: &[Change<'_>],
    writes: &mut Writes,
) -> Result<Part, Error> {
    let Some(child) = old else {
        let (leaves, _) = merge(version, &[], changes, writes);
        return Ok(plant(version, path, leaves, None, writes));
    };
    if changes.is_empty() {
        return Ok(Part::Kept(child));
    }
    let page = reader.page(&PageId { version: child.version, path })?;
    match &page.body {
        Body::Bucket(leaves) => {
            let (leaves, changed) = merge(version, leaves, changes, writes);
            Ok(if changed { plant(version, path, leaves, Some(page), writes) } else { Part::Kept(child) })
        }
        Body::Inner(slots) => {
            let mut parts = Vec::with_capacity(SLOTS);
            for (slot, (changes, old)) in by_slot(changes, path.depth()).zip(slots.iter()).enumerate() {
                parts.push(grow(reader, version, path.child(slot), *old, changes, writes)?);
            }
            if parts.iter().all(|part| matches!(part, Part::Kept(_)) || part.leaves() == 0) && sum(&parts) == page.leaves() {
                return Ok(Part::Kept(child));
            }
            join(reader, version, path, parts, Some(page), writes)
        }
    }
}

/// Sorted changes by their nibble at `depth`, for each slot.
fn by_slot<'c, 'a>(mut changes: &'c [Change<'a>], depth: usize) -> impl Iterator<Item = &'c [Change<'a>]> {
    (0..SLOTS).map(move |slot| {
        let (here, rest) = changes.split_at(changes.partition_point(|change| hash::nibble(&change.place, depth) <= slot));
        changes = rest;
        here
    })
}

/// Leaves after changes, both by their places, and whether they differ from those before.
fn merge(version: u64, old: &[Leaf], changes: &[Change<'_>], writes: &mut Writes) -> (Vec<Leaf>, bool) {
    let mut leaves = Vec::with_capacity(old.len() + changes.len());
    let mut rest = old;
    let mut changed = false;
    for change in changes {
        let (below, others) = rest.split_at(rest.partition_point(|leaf| leaf.place < change.place));
        leaves.extend_from_slice(below);
        let before = others.first().filter(|leaf| leaf.place == change.place);
        rest = &others[usize::from(before.is_some())..];
        let after = change.value.map(|value| hash::leaf(&change.place, value));
        if before.map(|leaf| leaf.hash) == after {
            leaves.extend(before);
            continue;
        }
        changed = true;
        writes.stale_records.extend(before.map(Leaf::record));
        if let (Some(value), Some(hash)) = (change.value, after) {
            let leaf = Leaf { place: change.place, hash, version };
            writes.records.push(NewRecord { id: leaf.record(), bytes: record::to_bytes(change.key, value) });
            leaves.push(leaf);
        }
    }
    leaves.extend_from_slice(rest);
    (leaves, changed)
}

/// The subtree of sorted leaves, none of which has a page; `old` is the page that was at its path.
pub(crate) fn plant(version: u64, path: Path, leaves: Vec<Leaf>, old: Option<Arc<Page>>, writes: &mut Writes) -> Part {
    if leaves.len() <= BUCKET {
        return Part::Leaves(leaves, old);
    }
    let mut rest = leaves.as_slice();
    let parts = (0..SLOTS).map(|slot| {
        let (here, others) = rest.split_at(rest.partition_point(|leaf| hash::nibble(&leaf.place, path.depth()) <= slot));
        rest = others;
        plant(version, path.child(slot), here.to_vec(), None, writes)
    });
    let parts = parts.collect();
    write_inner(version, path, parts, old.as_deref(), writes)
}

/// The subtree over sixteen parts; where all their leaves fit on one page, that page takes them. `old` as for [`plant`].
pub(crate) fn join(
    reader: &impl Read,
    version: u64,
    path: Path,
    parts: Vec<Part>,
    old: Option<Arc<Page>>,
    writes: &mut Writes,
) -> Result<Part, Error> {
    if sum(&parts) > BUCKET as u64 {
        return Ok(write_inner(version, path, parts, old.as_deref(), writes));
    }
    let mut leaves = Vec::with_capacity(BUCKET);
    for (slot, part) in parts.into_iter().enumerate() {
        let path = path.child(slot);
        match part {
            Part::Leaves(some, old) => {
                leaves.extend(some);
                writes.stale(path, old.as_deref());
            }
            Part::Kept(child) | Part::Written(child) => {
                let id = PageId { version: child.version, path };
                let page = reader.page(&id)?;
                let Body::Bucket(some) = &page.body else { return Err(Error::Layout(id)) };
                leaves.extend_from_slice(some);
                writes.stale(path, Some(&page));
            }
        }
    }
    Ok(Part::Leaves(leaves, old))
}

fn write_inner(version: u64, path: Path, parts: Vec<Part>, old: Option<&Page>, writes: &mut Writes) -> Part {
    let mut slots = Box::new([None; SLOTS]);
    for (slot, part) in parts.into_iter().enumerate() {
        slots[slot] = match part {
            Part::Kept(child) | Part::Written(child) => Some(child),
            Part::Leaves(leaves, old) if leaves.is_empty() => {
                writes.stale(path.child(slot), old.as_deref());
                None
            }
            Part::Leaves(leaves, old) => Some(writes.page(version, path.child(slot), Body::Bucket(leaves), old.as_deref())),
        };
    }
    Part::Written(writes.page(version, path, Body::Inner(slots), old))
}

fn sum(parts: &[Part]) -> u64 {
    parts.iter().map(Part::leaves).sum()
}
