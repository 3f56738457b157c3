//! The index in a SQLite file of the node's own.
//!
//! One connection writes, a few read beside it (WAL). A write is not synced: what a power cut takes is read from the chain again.
//! The library is the workspace's SQLCipher build; without a key the file is plain SQLite.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqliteRow, SqliteSynchronous};
use sqlx::{SqlSafeStr as _, Sqlite as Db};

use super::database::{Cell, Database, MAX_QUESTION, READERS, SCHEMA, Statement, Trouble, WAIT, speak};

/// After so many steps of SQLite's machine a question looks at the clock.
const STEPS: i32 = 10_000;

speak!(Db, SqliteRow);

/// An index in a file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub(crate) async fn open(path: &Path) -> Result<Self, Trouble> {
        let options = rpc::sqlite::options(path, WAIT).synchronous(SqliteSynchronous::Normal);
        let pool = |connections: u32| rpc::sqlite::pool(connections, WAIT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(trouble)?;
        let tables = Migration::new(1, "the tables".into(), MigrationType::Simple, SCHEMA.into_sql_str(), false);
        Migrator::with_migrations(vec![tables]).run(&writer).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => trouble(error),
            error => Trouble::Lost(error.to_string()),
        })?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    /// Removes the file at `path` and what SQLite keeps beside it; with `keep`, only puts them aside.
    pub(crate) fn remove(path: &Path, keep: bool) -> std::io::Result<()> {
        for ending in ["", "-wal", "-shm"] {
            let file = beside(path, ending);
            let done = if keep { std::fs::rename(&file, beside(path, &format!(".damaged{ending}"))) } else { std::fs::remove_file(&file) };
            match done {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[async_trait]
impl Database for Sqlite {
    async fn write(&self, statements: Vec<Statement>) -> Result<(), Trouble> {
        let all = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(trouble)?;
        if run(all, statements).await.map_err(trouble)? { Ok(()) } else { Err(Trouble::Moved) }
    }

    async fn read(&self, sql: String, values: Vec<Cell>) -> Result<Vec<Vec<Cell>>, Trouble> {
        let mut connection = self.readers.acquire().await.map_err(trouble)?;
        let (began, broken) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let late = Arc::clone(&broken);
        let go_on = move || {
            let go_on = began.elapsed() < MAX_QUESTION;
            late.store(!go_on, Ordering::Relaxed);
            go_on
        };
        connection.lock_handle().await.map_err(trouble)?.set_progress_handler(STEPS, go_on);
        let rows = bound(sql, values).fetch_all(&mut *connection).await;
        connection.lock_handle().await.map_err(trouble)?.remove_progress_handler();
        match rows {
            Ok(rows) => rows.iter().map(cells).collect::<Result<_, _>>().map_err(trouble),
            Err(_) if broken.load(Ordering::Relaxed) => Err(Trouble::Late),
            Err(error) => Err(trouble(error)),
        }
    }

    fn position(&self) -> &'static str {
        "instr"
    }

    fn is_there(&self) -> bool {
        self.path.exists()
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// SQLite's primary codes 11 (corrupt) and 26 (not a database) say that the file is lost, and so does a column of
/// another kind than it was made with.
fn trouble(error: sqlx::Error) -> Trouble {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return Trouble::Busy;
    }
    let lost = match &error {
        sqlx::Error::Database(of_sqlite) => {
            let code = of_sqlite.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
            // A table that is missing, too, was there once.
            matches!(code, Some(11 | 26)) || of_sqlite.message().starts_with("no such table")
        }
        sqlx::Error::ColumnDecode { .. } => true,
        _ => false,
    };
    if lost { Trouble::Lost(error.to_string()) } else { Trouble::Away(error.to_string()) }
}
