//! The database as it was at one moment, while blocks go on.

use rocksdb::{IteratorMode, Snapshot};

use super::{Column, Store, broken};

/// Where rows are read from: the database as it is, or as it was.
pub(crate) trait Rows {
    /// Reads a value.
    fn row(&self, column: Column, key: &[u8]) -> Option<Vec<u8>>;
}

impl Rows for Store {
    fn row(&self, column: Column, key: &[u8]) -> Option<Vec<u8>> {
        self.get(column, key)
    }
}

/// The database as it was when this was made. RocksDB keeps what is overwritten meanwhile until it is dropped.
pub struct Frozen<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
}

impl std::fmt::Debug for Frozen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("store", self.store).finish_non_exhaustive()
    }
}

impl<'a> Frozen<'a> {
    /// The database as it is now.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store, snapshot: store.db.snapshot() }
    }

    /// Reads all values of a column, in order.
    pub(crate) fn all(&self, column: Column) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + '_ {
        let entries = self.snapshot.iterator_cf(self.store.handle(column), IteratorMode::Start);
        entries.map(|entry| entry.unwrap_or_else(|error| broken(&error)))
    }
}

impl Rows for Frozen<'_> {
    fn row(&self, column: Column, key: &[u8]) -> Option<Vec<u8>> {
        self.snapshot.get_cf(self.store.handle(column), key).unwrap_or_else(|error| broken(&error))
    }
}
