//! The index in a PostgreSQL database that the operator provides.
//!
//! TLS is as the URL says (`sslmode`), with the system's certificates.

use async_trait::async_trait;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Postgres as Db, SqlSafeStr as _};

use super::database::{Cell, Database, MAX_QUESTION, READERS, SCHEMA, Statement, Trouble, WAIT, speak};

/// What PostgreSQL says when a question took too long: `query_canceled`.
const CANCELED: &str = "57014";

speak!(Db, PgRow);

/// An index on a server.
#[derive(Debug)]
pub(crate) struct Postgres {
    writer: PgPool,
    readers: PgPool,
}

impl Postgres {
    /// Connects, and makes the tables where there are none.
    pub(crate) async fn open(url: &str) -> Result<Self, Trouble> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| Trouble::Away("index.url is not the URL of a PostgreSQL database".to_owned()))?;
        let options = options.application_name("zynk");
        let pool = |connections: u32| PgPoolOptions::new().max_connections(connections).acquire_timeout(WAIT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(trouble)?;
        // Texts are in the order of their bytes, as in this program and in SQLite; how rows lie is SQLite's own.
        let schema = SCHEMA.replace(" TEXT", " TEXT COLLATE \"C\"").replace(" WITHOUT ROWID", "");
        let tables = Migration::new(1, "the tables".into(), MigrationType::Simple, AssertSqlSafe(schema).into_sql_str(), false);
        Migrator::with_migrations(vec![tables]).run(&writer).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => trouble(error),
            error => Trouble::Lost(error.to_string()),
        })?;
        let late = [("statement_timeout", MAX_QUESTION.as_millis().to_string()), ("default_transaction_read_only", "on".to_owned())];
        let readers = pool(READERS).connect_lazy_with(options.options(late));
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Database for Postgres {
    async fn write(&self, statements: Vec<Statement>) -> Result<(), Trouble> {
        let statements = statements.into_iter().map(Statement::numbered).collect();
        let all = self.writer.begin().await.map_err(trouble)?;
        if run(all, statements).await.map_err(trouble)? { Ok(()) } else { Err(Trouble::Moved) }
    }

    async fn read(&self, sql: String, values: Vec<Cell>) -> Result<Vec<Vec<Cell>>, Trouble> {
        let mut connection = self.readers.acquire().await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => Trouble::Busy,
            error => trouble(error),
        })?;
        let rows = bound(sql, values).fetch_all(&mut *connection).await.map_err(trouble)?;
        rows.iter().map(cells).collect::<Result<_, _>>().map_err(trouble)
    }

    fn position(&self) -> &'static str {
        "strpos"
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Class XX is corrupt data; 42P01 and 42703 say that a table or a column that was made is gone.
fn trouble(error: sqlx::Error) -> Trouble {
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned()).unwrap_or_default();
    match code.as_str() {
        CANCELED => Trouble::Late,
        "42P01" | "42703" => Trouble::Lost(error.to_string()),
        code if code.starts_with("XX") => Trouble::Lost(error.to_string()),
        _ => Trouble::Away(error.to_string()),
    }
}
