//! Messages in RocksDB: one database, one writer, one synced write a group.
//!
//! Keys of mailboxes begin with the device's address, so a device's messages stand side by side in
//! the order of their numbers. They are read from the acknowledged number on, so that what was
//! deleted is not walked over.

mod columns;
mod group;
mod writing;

use std::path::Path;

use mailbox::Address;
use mailbox::envelope::Stored;
use mailbox::queue::Queue;
use rocksdb::{DB, Direction, ErrorKind, IteratorMode, ReadOptions, ReadTier};
use types::{Decode, Hash, Millis};

use self::columns::{Column, address_key, delivery_key, number, sequence_of};
use self::writing::Writing;
use super::store::{Answer, Error, LogState, Page, Place, Reach, Sealed, Store, Write};

/// The version of what is written.
const FORMAT: u64 = 2;

/// The version before it: there was one log, with one anchor on its way. All of it is read as it is.
const BEFORE: u64 = 1;

/// A key and its value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// What a test does when a write has been synced.
#[cfg(test)]
pub(crate) type Synced = Box<dyn Fn() + Send + Sync>;

/// The database.
pub struct Rocks {
    db: DB,
    #[cfg(test)]
    pub(crate) options: rocksdb::Options,
    #[cfg(test)]
    pub(crate) synced: Option<Synced>,
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl Rocks {
    /// Opens the database in a folder, or makes it.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Format`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let refused = |error: rocksdb::Error| Error::Open { path: path.display().to_string(), reason: error.to_string() };
        let (options, columns) = columns::options();
        let db = DB::open_cf_descriptors(&options, path, columns).map_err(refused)?;
        let rocks = Self {
            db,
            #[cfg(test)]
            options,
            #[cfg(test)]
            synced: None,
        };
        rocks.check_format()?;
        Ok(rocks)
    }

    #[cfg(test)]
    pub(crate) fn flush(&self) {
        Column::ALL.iter().for_each(|column| self.db.flush_cf(self.handle(*column)).expect("it is flushed"));
    }

    fn check_format(&self) -> Result<(), Error> {
        match self.get(Column::Meta, b"format")?.map(|bytes| number(&bytes)).transpose()? {
            Some(FORMAT) => Ok(()),
            None | Some(BEFORE) => {
                let mut writing = Writing::new(self);
                writing.put(Column::Meta, b"format", &FORMAT.to_be_bytes());
                writing.sync()
            }
            Some(found) => Err(Error::Format { found, expected: FORMAT }),
        }
    }

    fn handle(&self, column: Column) -> &rocksdb::ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is opened")
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf(self.handle(column), key).map_err(broken)
    }

    fn read_value<T: Decode>(&self, column: Column, key: &[u8], what: &'static str) -> Result<Option<T>, Error> {
        self.get(column, key)?.map(|bytes| decode(&bytes, what)).transpose()
    }

    fn queue(&self, of: &Address) -> Result<Queue, Error> {
        Ok(self.read_value(Column::Heads, &address_key(of), "a mailbox's head")?.unwrap_or_default())
    }

    fn meta(&self, key: &str) -> Result<u64, Error> {
        self.get(Column::Meta, key.as_bytes())?.map_or(Ok(0), |bytes| number(&bytes))
    }

    /// Entries of a column from a key on.
    fn entries(&self, column: Column, from: &[u8]) -> impl Iterator<Item = Result<Pair, Error>> {
        let entries = self.db.iterator_cf(self.handle(column), IteratorMode::From(from, Direction::Forward));
        entries.map(|entry| entry.map_err(broken))
    }

    /// As [`Store::read`], with RocksDB's own error where `options` do not let it look far enough.
    fn page(&self, of: &Address, after: u64, items: u32, bytes: u32, reach: Reach) -> Result<Page, Missing> {
        let mut options = reading(reach);
        let head = self.db.get_cf_opt(self.handle(Column::Heads), address_key(of), &options)?;
        let Some(head) = head else { return Ok(Page::default()) };
        let queue: Queue = decode(&head, "a mailbox's head")?;
        let after = after.max(queue.acknowledged());
        if after >= queue.last() {
            return Ok(Page::default());
        }
        options.set_iterate_upper_bound(delivery_key(of, u64::MAX));
        let from = delivery_key(of, after + 1);
        let found = self.db.iterator_cf_opt(self.handle(Column::Mailbox), options, IteratorMode::From(&from, Direction::Forward));
        let (mut page, mut content) = (Page::default(), 0);
        for entry in found {
            let (key, value) = entry?;
            let stored: Stored = decode(&value, "a message")?;
            content += stored.encrypted_content.0.len();
            // One is given in any case, or nothing would ever go on.
            if page.items.len() >= items as usize || (content > bytes as usize && !page.items.is_empty()) {
                page.more = true;
                break;
            }
            page.items.push(stored.delivery(sequence_of(&key)?));
        }
        Ok(page)
    }
}

impl Store for Rocks {
    fn commit(&self, group: &[Write]) -> Result<Vec<Answer>, Error> {
        let mut open = group::Group::new(self)?;
        let answers = group.iter().map(|write| open.take(write)).collect::<Result<_, _>>()?;
        open.finish()?.sync()?;
        Ok(answers)
    }

    fn begin_log(&self, anchored: u64, at: Millis) -> Result<(), Error> {
        let mut open = group::Group::new(self)?;
        if open.take(&Write::Complete { sequence: anchored, at })? == Answer::OutOfOrder {
            return Err(Error::Corrupt { what: "batches that the log on the chain does not go with" });
        }
        open.begin_log()?;
        open.finish()?.sync()
    }

    fn read(&self, of: &Address, after: u64, items: u32, bytes: u32, reach: Reach) -> Result<Option<Page>, Error> {
        match self.page(of, after, items, bytes, reach) {
            Ok(page) => Ok(Some(page)),
            Err(Missing::Rocks(error)) if error.kind() == ErrorKind::Incomplete => Ok(None),
            Err(Missing::Rocks(error)) => Err(broken(error)),
            Err(Missing::Other(error)) => Err(error),
        }
    }

    fn place(&self, leaf: &Hash) -> Result<Option<Place>, Error> {
        let Some(found) = self.get(Column::LeafIndex, &leaf.0)? else { return Ok(None) };
        let number_of_leaf = number(&found)?;
        if number_of_leaf >= self.log()?.sealed_leaves {
            return Ok(Some(Place::Stored));
        }
        let at = number_of_leaf.to_be_bytes();
        let mut below = self.db.iterator_cf(self.handle(Column::Ranges), IteratorMode::From(&at, Direction::Reverse));
        let range = below.next().transpose().map_err(broken)?;
        range.map(|(_, batch)| number(&batch).map(Place::Batch)).transpose()
    }

    fn unsealed(&self, most: usize) -> Result<Vec<Hash>, Error> {
        let from = self.log()?.sealed_leaves.to_be_bytes();
        let leaves = self.entries(Column::Leaves, &from).take(most);
        leaves.map(|entry| entry.and_then(|(_, leaf)| decode(&leaf, "a leaf"))).collect()
    }

    fn log(&self) -> Result<LogState, Error> {
        let log: Option<columns::Log> = self.read_value(Column::Meta, b"log", "the log's state")?;
        Ok(LogState { before: self.meta("before")?, leaves: self.meta("leaves")?, ..log.unwrap_or_default().into() })
    }

    fn batch(&self, number: u64) -> Result<Option<Sealed>, Error> {
        self.read_value(Column::Batches, &number.to_be_bytes(), "a batch")
    }

    fn leaves(&self, number: u64) -> Result<Option<Vec<Hash>>, Error> {
        let Some(bytes) = self.get(Column::BatchLeaves, &number.to_be_bytes())? else { return Ok(None) };
        let (leaves, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Error::Corrupt { what: "the leaves of a batch" });
        }
        Ok(Some(leaves.iter().map(|leaf| Hash(*leaf)).collect()))
    }
}

/// Why there is no page.
enum Missing {
    Rocks(rocksdb::Error),
    Other(Error),
}

impl From<rocksdb::Error> for Missing {
    fn from(error: rocksdb::Error) -> Self {
        Self::Rocks(error)
    }
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn reading(reach: Reach) -> ReadOptions {
    let mut options = ReadOptions::default();
    if reach == Reach::Memory {
        options.set_read_tier(ReadTier::BlockCache);
    }
    options
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn broken(error: rocksdb::Error) -> Error {
    Error::Broken(error.to_string())
}

fn decode<T: Decode>(bytes: &[u8], what: &'static str) -> Result<T, Error> {
    T::from_bytes(bytes).map_err(|_| Error::Corrupt { what })
}
