//! What a device keeps: one SQLCipher file, of which nothing is readable without the passphrase.
//!
//! A step of Signal's ratchet and what it was made for are committed in one transaction: a message with the
//! session after it, an outgoing frame with the session after it. So a crash neither loses a step nor takes
//! one twice. Transactions begin as writers, so that two processes on one folder cannot both read a
//! session and both write what follows from it.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction};
use types::{Decode, Encode};
use zeroize::Zeroizing;

use crate::Error;

pub(crate) mod messages;
pub(crate) mod outbox;
pub(crate) mod people;
pub(crate) mod sessions;

/// The file's name in the device's folder.
const FILE: &str = "device.db";

/// The only version of the schema that there is.
const VERSION: i64 = 1;

/// For how long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// What opens the store. Erased when dropped, and never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase of at least one letter.
    ///
    /// # Errors
    /// [`Error::Passphrase`] for none, and for one with a zero byte.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() || text.contains('\0') { Err(Error::Passphrase) } else { Ok(Self(text)) }
    }

    /// As an SQL text.
    fn quoted(&self) -> String {
        format!("'{}'", self.0.replace('\'', "''"))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// A transaction that began as a writer.
pub(crate) type Tx = Transaction<'static, Sqlite>;

/// The open store.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Makes a new store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::StoreExists`] if there is one, [`Error::Io`], [`Error::Store`].
    pub async fn create(folder: &Path, passphrase: &Passphrase) -> Result<Self, Error> {
        let path = path_of(folder);
        make_folder(folder)?;
        if path.exists() {
            return Err(Error::StoreExists(folder.to_owned()));
        }
        let store = Self::connect(&path, passphrase, true).await?;
        let mut tx = store.begin().await?;
        sqlx::raw_sql(include_str!("store/schema.sql")).execute(&mut *tx).await?;
        sqlx::query("PRAGMA user_version = 1").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(store)
    }

    /// Opens the store in `folder`.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::WrongPassphrase`], [`Error::StoreVersion`], [`Error::Store`].
    pub async fn open(folder: &Path, passphrase: &Passphrase) -> Result<Self, Error> {
        let path = path_of(folder);
        if !path.exists() {
            return Err(Error::NoStore(folder.to_owned()));
        }
        let store = Self::connect(&path, passphrase, false).await?;
        let found: i64 = sqlx::query("PRAGMA user_version").fetch_one(&store.pool).await?.get(0);
        if found != VERSION {
            return Err(Error::StoreVersion { found, known: VERSION });
        }
        Ok(store)
    }

    async fn connect(path: &Path, passphrase: &Passphrase, create: bool) -> Result<Self, Error> {
        let options = SqliteConnectOptions::from_str("sqlite:")?
            .filename(path)
            .create_if_missing(create)
            // The key comes before anything else that reads the file; and a passphrase that does not open it is told
            // of by an error, not by SQLCipher's own lines on standard error.
            .pragma("key", format!("{}; PRAGMA cipher_log_level = NONE", passphrase.quoted()))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        // One connection: deriving the file's key from the passphrase takes its time by design.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).connect_with(options).await;
        match pool {
            Ok(pool) => Ok(Self { pool }),
            // SQLITE_NOTADB: what SQLCipher says of a file that the key does not open.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("26") => Err(Error::WrongPassphrase),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a transaction as a writer.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Closes the file. What is not committed is gone.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A value kept under a name.
    pub(crate) async fn get<T: Decode>(&self, name: &'static str) -> Result<Option<T>, Error> {
        let mut connection = self.pool.acquire().await?;
        get(&mut connection, name).await
    }

    /// Keeps a value under a name.
    pub(crate) async fn put<T: Encode>(&self, name: &'static str, value: &T) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        put(&mut connection, name, value).await
    }

    /// A number that changes with each commit of another process.
    pub(crate) async fn data_version(&self) -> Result<i64, Error> {
        Ok(sqlx::query("PRAGMA data_version").fetch_one(&self.pool).await?.get(0))
    }
}

/// A value kept under a name.
pub(crate) async fn get<T: Decode>(connection: &mut SqliteConnection, name: &'static str) -> Result<Option<T>, Error> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = ?").bind(name).fetch_optional(connection).await?;
    row.map(|row| decode(&row.get::<Vec<u8>, _>(0), name)).transpose()
}

/// Whether a value is kept under a name.
pub(crate) async fn has(connection: &mut SqliteConnection, name: &'static str) -> Result<bool, Error> {
    Ok(sqlx::query("SELECT 1 FROM meta WHERE name = ?").bind(name).fetch_optional(connection).await?.is_some())
}

/// Keeps a value under a name.
pub(crate) async fn put<T: Encode>(connection: &mut SqliteConnection, name: &'static str, value: &T) -> Result<(), Error> {
    let query = sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value");
    query.bind(name).bind(value.to_bytes()).execute(connection).await?;
    Ok(())
}

/// Keeps nothing under a name any more.
pub(crate) async fn forget(connection: &mut SqliteConnection, name: &'static str) -> Result<(), Error> {
    sqlx::query("DELETE FROM meta WHERE name = ?").bind(name).execute(connection).await?;
    Ok(())
}

/// Reads what this device wrote.
pub(crate) fn decode<T: Decode>(bytes: &[u8], what: &'static str) -> Result<T, Error> {
    T::from_bytes(bytes).map_err(|source| Error::StoreDamaged { what, source })
}

/// SQLite's numbers are signed. Those of ours are times and counts, far below.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way round.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whether there is a device in this folder.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    path_of(folder).exists()
}

fn path_of(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| Error::Io { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests;
