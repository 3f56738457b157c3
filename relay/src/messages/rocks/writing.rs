//! Writes that become durable together.

use rocksdb::{WriteBatch, WriteOptions};

use super::super::store::Error;
use super::columns::Column;
use super::{Rocks, broken};

/// One synced write in the making.
pub(super) struct Writing<'a> {
    rocks: &'a Rocks,
    batch: WriteBatch,
}

impl<'a> Writing<'a> {
    pub(super) fn new(rocks: &'a Rocks) -> Self {
        Self { rocks, batch: WriteBatch::default() }
    }

    pub(super) fn put(&mut self, column: Column, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.rocks.handle(column), key, value);
    }

    pub(super) fn delete(&mut self, column: Column, key: &[u8]) {
        self.batch.delete_cf(self.rocks.handle(column), key);
    }

    /// Writes all of it. When this returns it survives a power cut.
    pub(super) fn sync(self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.rocks.db.write_opt(self.batch, &options).map_err(broken)?;
        #[cfg(test)]
        if let Some(synced) = &self.rocks.synced {
            synced();
        }
        Ok(())
    }
}
