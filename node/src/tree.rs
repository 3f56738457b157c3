//! The authenticated state: the pages of the crate `tree` in the database (`docs/spec/tree.md`).
//!
//! All that the rest of the node knows of the tree is [`update`], [`get`] and [`prove`], [`build`] for a state that comes as
//! a list, and [`prune`] and [`forget`] for versions that go. Its versions count the blocks that changed the state, not
//! the heights: a block that changes nothing costs nothing here.

mod cache;

use std::sync::Arc;

use ::tree::stale::{self, Stale};
use ::tree::{Builder, Change, Error, NewPage, Page, PageId, Read, RecordId, Task, Writes, hash, record};
use ledger::Changes;
use prost_ics23::Message as _;
use rayon::prelude::*;
use rocksdb::{Direction, IteratorMode};
use types::Hash;

use crate::store::{Batch, Column, Store};

pub use cache::Cache;

/// A version's number.
pub type Version = u64;

/// How many changes are worth a second thread: below, waking it takes longer than it saves.
const WORTH_A_THREAD: usize = 64;
/// How many bytes of pages and records are written at once while a tree is built.
const BUILD_BATCH: usize = 4 << 20;

/// The next version of the tree, not written yet.
#[derive(Debug)]
pub struct Update {
    /// Its number.
    pub version: Version,
    /// Its root: the application hash.
    pub root: Hash,
    writes: Writes,
    pages: Arc<Vec<NewPage>>,
}

/// Works out what `changes` make of the tree's version before `version`.
///
/// # Errors
/// When the stored tree is not whole.
pub fn update(store: &Store, version: Version, changes: &Changes) -> anyhow::Result<Update> {
    let changes: Vec<_> = changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
    let alone = changes.len() < WORTH_A_THREAD;
    let begun = ::tree::begin(store, version.checked_sub(1), version, changes)?;
    let tasks = begun.tasks();
    let run = |task: Task<'_>| task.run(store);
    let done: Result<_, Error> =
        if alone { tasks.into_iter().map(run).collect() } else { tasks.into_par_iter().with_max_len(1).map(run).collect() };
    let ::tree::Update { version, root, mut writes } = begun.finish(store, done?)?;
    let pages = Arc::new(std::mem::take(&mut writes.pages));
    Ok(Update { version, root, writes, pages })
}

impl Update {
    /// Adds the new pages and records to a batch, and the list of what they replace.
    ///
    /// # Errors
    /// Never today.
    pub fn write(&self, batch: &mut Batch<'_>) -> anyhow::Result<()> {
        put_pages(batch, &self.pages);
        for record in &self.writes.records {
            batch.put(Column::Records, &record.id.to_key(), &record.bytes);
        }
        for (number, list) in (0u32..).zip(stale::lists(&self.writes)) {
            batch.put(Column::Stale, &[self.version.to_be_bytes().as_slice(), &number.to_be_bytes()].concat(), &list);
        }
        Ok(())
    }
}

fn put_pages(batch: &mut Batch<'_>, pages: &Arc<Vec<NewPage>>) {
    for page in pages.iter() {
        batch.put(Column::Pages, &page.id.to_key(), &page.bytes);
    }
    if !pages.is_empty() {
        batch.remember(pages);
    }
}

/// The value of `key` in `version` and its ICS-23 proof, of presence or of absence, as protobuf.
///
/// # Errors
/// When the stored tree is not whole, or has no such version.
pub fn prove(store: &Store, version: Version, key: &[u8]) -> anyhow::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let (value, proof) = ::tree::prove(store, version, key)?;
    Ok((value, proof.encode_to_vec()))
}

/// The value of `key` in `version`, without a proof.
///
/// # Errors
/// As [`prove`].
pub fn get(store: &Store, version: Version, key: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(::tree::get(store, version, key)?)
}

/// Makes `version` out of all its entries, in any order, each key once: some million of them need no more memory than
/// some ten thousand. Answers with the root.
///
/// Nothing of it counts, and it is not synced, until the caller notes the version in [`Column::Meta`], synced. After a
/// crash before that, [`forget`] clears what is there.
///
/// # Errors
/// When it cannot be written, or a key comes twice.
pub fn build(store: &Store, version: Version, entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> anyhow::Result<Hash> {
    // The database sorts: records go in as they come, and come out by their places.
    let mut batch = store.batch();
    for (key, value) in entries {
        let id = RecordId { version, place: hash::place(&key) };
        batch.put(Column::Records, &id.to_key(), &record::to_bytes(&key, &value));
        flush(store, &mut batch)?;
    }
    batch.write_later()?;
    let mut builder = Builder::new(version);
    let mut batch = store.batch();
    for (key, bytes) in of_version(store, Column::Records, version) {
        let id = RecordId::from_key(&key)?;
        let (_, value) = record::from_bytes(&bytes)?;
        builder.push(id.place, hash::leaf(&id.place, value))?;
        put_pages(&mut batch, &Arc::new(builder.take()));
        flush(store, &mut batch)?;
    }
    let (pages, root) = builder.finish()?;
    put_pages(&mut batch, &Arc::new(pages));
    batch.write_later()?;
    Ok(root)
}

fn flush<'a>(store: &'a Store, batch: &mut Batch<'a>) -> anyhow::Result<()> {
    if batch.size() >= BUILD_BATCH {
        std::mem::replace(batch, store.batch()).write_later()?;
    }
    Ok(())
}

/// Removes what only versions below `bound` have, one list of at most [`stale::LIST`] pages and records. Answers whether
/// more is left: call it until it answers no, with pauses as one likes.
///
/// The write is not synced. Whatever part of it a crash takes back is removed by the next call: a list goes with what it names.
///
/// # Errors
/// When a list is damaged, or the removal cannot be written.
pub fn prune(store: &Store, bound: Version) -> anyhow::Result<bool> {
    let due = |key: &[u8]| key.get(..8).is_some_and(|version| version <= bound.to_be_bytes().as_slice());
    let mut lists = store.iterate(Column::Stale, IteratorMode::Start).take_while(|(key, _)| due(key));
    let Some((key, list)) = lists.next() else { return Ok(false) };
    let mut batch = store.batch();
    for stale in stale::from_bytes(&list)? {
        match stale {
            Stale::Page(id) => batch.delete(Column::Pages, &id.to_key()),
            Stale::Record(id) => batch.delete(Column::Records, &id.to_key()),
        }
    }
    batch.delete(Column::Stale, &key);
    batch.write_later()?;
    Ok(lists.next().is_some())
}

/// Adds to a batch the removal of all that `version`, the newest one, wrote: the one before it is the newest again.
///
/// To be written together with the version's number in [`Column::Meta`].
pub fn forget(store: &Store, batch: &mut Batch<'_>, version: Version) {
    for column in [Column::Pages, Column::Records, Column::Stale] {
        of_version(store, column, version).for_each(|(key, _)| batch.delete(column, &key));
    }
    batch.forget();
}

/// What a column has under a version.
fn of_version(store: &Store, column: Column, version: Version) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> {
    let version = version.to_be_bytes();
    let from = store.iterate(column, IteratorMode::From(&version, Direction::Forward));
    from.take_while(move |(key, _)| key.starts_with(&version))
}

impl Read for Store {
    fn page(&self, id: &PageId) -> Result<Arc<Page>, Error> {
        if let Some(page) = self.pages().get(id) {
            return Ok(page);
        }
        let page = Arc::new(Page::read(id, |id| self.get(Column::Pages, &id.to_key()))?);
        self.pages().insert(id, &page);
        Ok(page)
    }

    fn record(&self, id: &RecordId) -> Result<Vec<u8>, Error> {
        self.get(Column::Records, &id.to_key()).ok_or(Error::NoRecord(*id))
    }
}

#[cfg(test)]
mod tests;
