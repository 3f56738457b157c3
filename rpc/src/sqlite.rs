//! How a SQLite file of this project is opened, by the queue here and by crates above.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// A file, which is made where there is none. One connection may write while others read (WAL), each commit is synced,
/// foreign keys are held to. `wait`: how long a connection waits for SQLite's lock.
#[must_use]
pub fn options(path: &Path, wait: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(wait)
}

/// At most so many connections. `wait`: how long somebody waits for one.
#[must_use]
pub fn pool(connections: u32, wait: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(wait)
}
