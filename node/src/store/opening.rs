//! Opening a database: what is asked of it before anything in it is touched, and reading it without the right to write.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, Options};
use types::Hash;

use super::{Column, FORMAT, OpenError, Store, number};
use crate::tree;

impl OpenError {
    /// The stable number of the error: `docs/spec/files.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Rocks { .. } => 9151,
            Self::Format { .. } => 9152,
            Self::Genesis { .. } => 9153,
            Self::Empty { .. } => 9154,
        }
    }
}

impl Store {
    /// Opens the database at `path` without changing it, also while a node runs on it: as it is at this moment.
    ///
    /// # Errors
    /// [`OpenError`], also where there is none.
    pub fn open_to_read(path: &Path, genesis: Hash) -> Result<Self, OpenError> {
        if !is_there(path) {
            return Err(OpenError::Empty { path: path.display().to_string() });
        }
        check_format(path)?;
        let columns = Column::ALL.map(|kind| ColumnFamilyDescriptor::new(kind.name(), Options::default()));
        let db = DB::open_cf_descriptors_read_only(&Options::default(), path, columns, false).map_err(|error| rocks(path, &error))?;
        let store = Self { db, pages: tree::Cache::default() };
        store.check_meta(genesis)?;
        Ok(store)
    }

    /// The database's format.
    #[must_use]
    pub fn format(&self) -> u64 {
        self.get(Column::Meta, b"format").map_or(FORMAT, |bytes| number(&bytes))
    }

    /// About how many bytes each column takes, on disk and on the way there, by name.
    #[must_use]
    pub fn sizes(&self) -> Vec<(&'static str, u64)> {
        let measured = |column: Column| {
            let read = |property: &str| self.db.property_int_value_cf(self.handle(column), property).ok().flatten().unwrap_or(0);
            (column.name(), read("rocksdb.total-sst-files-size") + read("rocksdb.cur-size-all-mem-tables"))
        };
        Column::ALL.map(measured).to_vec()
    }
}

/// Refuses a database of another format before columns are made in it, which the program that wrote it would not know.
pub(super) fn check_format(path: &Path) -> Result<(), OpenError> {
    let options = Options::default();
    // Asking RocksDB would make the folder.
    let listed = if is_there(path) { DB::list_cf(&options, path).ok() } else { None };
    let Some(found) = listed else {
        return Ok(());
    };
    let is_ours = |name: &String| name == "default" || Column::ALL.iter().any(|column| column.name() == name);
    let is_whole = found.len() == Column::ALL.len() + 1 && found.iter().all(is_ours);
    let meta = Column::Meta.name();
    if is_whole || !found.iter().any(|name| name == meta) {
        return Ok(());
    }
    let db = DB::open_cf_for_read_only(&options, path, ["default", meta], false).map_err(|error| rocks(path, &error))?;
    let format = db.cf_handle(meta).and_then(|meta| db.get_cf(meta, b"format").ok().flatten()).map(|bytes| number(&bytes));
    match format {
        Some(found) if found != FORMAT => Err(OpenError::Format { found }),
        // A crash while the database was made.
        _ => Ok(()),
    }
}

/// Whether there is a database: each has the file that names its newest manifest.
fn is_there(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

fn rocks(path: &Path, error: &rocksdb::Error) -> OpenError {
    OpenError::Rocks { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
