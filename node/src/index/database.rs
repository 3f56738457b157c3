//! What the index needs of an SQL database, and nothing more: one transaction that writes, one question that reads.
//!
//! [`Database`] has two implementations, `sqlite.rs` and `postgres.rs`. Everything else is written once, in SQL that both
//! take, and the suite in `tests.rs` takes any of them.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;

/// A question that takes longer is broken off.
pub(crate) const MAX_QUESTION: Duration = Duration::from_secs(5);

/// How long somebody waits for a connection or a lock.
pub(crate) const WAIT: Duration = Duration::from_secs(5);

/// How many connections read.
pub(crate) const READERS: u32 = 4;

/// How many rows one statement writes.
const ROWS: usize = 64;

/// The tables, in SQLite's words; PostgreSQL's are nearly the same.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");

/// Every table, so that all can be emptied.
pub(crate) const TABLES: [&str; 10] =
    ["progress", "blocks", "transactions", "attributes", "identities", "operations", "logs", "anchors", "validators", "powers"];

/// A value, on its way in or out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Number(i64),
    Text(String),
}

/// A statement with its values.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) values: Vec<Cell>,
    /// Whether the whole transaction is off if it changes no row.
    pub(crate) must_change: bool,
}

/// Why the database does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// What it holds cannot be read, or is of another chain or program: nothing but a new one helps.
    #[error("{0}")]
    Lost(String),
    /// Somebody else writes to it too.
    #[error("another process writes to the index")]
    Moved,
    /// The question took too long.
    #[error("the search took longer than {} s: narrow it, for instance by a range of heights", MAX_QUESTION.as_secs())]
    Late,
    /// All connections are in use.
    #[error("too many searches at once")]
    Busy,
    /// It cannot be reached, is locked, has no room, or the like.
    #[error("{0}")]
    Away(String),
}

/// An SQL database that has the tables of `schema.sql`.
#[async_trait]
pub(crate) trait Database: Send + Sync + std::fmt::Debug {
    /// Does all of these, or none.
    async fn write(&self, statements: Vec<Statement>) -> Result<(), Trouble>;

    /// Asks for rows.
    async fn read(&self, sql: String, values: Vec<Cell>) -> Result<Vec<Vec<Cell>>, Trouble>;

    /// The function that finds a text in another: the whole first, the place from 1.
    fn position(&self) -> &'static str;

    /// Whether the database is still where it was opened.
    fn is_there(&self) -> bool {
        true
    }

    /// Ends all connections.
    async fn close(&self);
}

impl Statement {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>, values: Vec<Cell>) -> Self {
        Self { sql: sql.into(), values, must_change: false }
    }

    /// Statements that insert these rows, in their order. `rest`: what follows the values. These have no names (`?`, not `$1`): SQLite
    /// would look up each in a list of all.
    pub(crate) fn insert(table: &str, rows: Vec<Vec<Cell>>, rest: &str) -> Vec<Self> {
        let mut statements = Vec::new();
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let (mut sql, mut values) = (format!("INSERT INTO {table} VALUES "), Vec::new());
            for row in rows.by_ref().take(ROWS) {
                sql.push_str(if values.is_empty() { "(" } else { ", (" });
                sql.push_str(&["?"].repeat(row.len()).join(", "));
                sql.push(')');
                values.extend(row);
            }
            sql.push(' ');
            sql.push_str(rest);
            statements.push(Self::new(sql, values));
        }
        statements
    }

    /// The same with the names that PostgreSQL wants.
    pub(crate) fn numbered(self) -> Self {
        let mut sql = String::with_capacity(2 * self.sql.len());
        for (place, part) in self.sql.split('?').enumerate() {
            if place > 0 {
                sql.push('$');
                sql.push_str(&place.to_string());
            }
            sql.push_str(part);
        }
        Self { sql: sql.into(), ..self }
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Heights and the like stay below 2^63 for longer than anybody counts.
impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        // No database takes NUL in a text.
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Cell {
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Null | Self::Text(_) => 0,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Null | Self::Number(_) => "",
        }
    }
}

/// The rest of an implementation that both have in the same words, since `sqlx` has them apart by type.
macro_rules! speak {
    ($Db:ty, $Row:ty) => {
        fn bound(
            sql: String,
            values: Vec<$crate::index::database::Cell>,
        ) -> sqlx::query::Query<'static, $Db, <$Db as sqlx::Database>::Arguments> {
            use $crate::index::database::Cell;
            // Made of this program's own words; whatever comes from outside is a value.
            values.into_iter().fold(sqlx::query(sqlx::AssertSqlSafe(sql)), |query, value| match value {
                Cell::Null => query.bind(None::<String>),
                Cell::Number(number) => query.bind(number),
                Cell::Text(text) => query.bind(text),
            })
        }

        fn cells(row: &$Row) -> Result<Vec<$crate::index::database::Cell>, sqlx::Error> {
            use sqlx::{Row as _, TypeInfo as _, ValueRef as _};
            use $crate::index::database::Cell;
            let cell = |place: usize| {
                let value = row.try_get_raw(place)?;
                if value.is_null() {
                    return Ok(Cell::Null);
                }
                let is_text = value.type_info().name() == "TEXT";
                if is_text { row.try_get(place).map(Cell::Text) } else { row.try_get(place).map(Cell::Number) }
            };
            (0..row.len()).map(cell).collect()
        }

        async fn run(
            mut all: sqlx::Transaction<'_, $Db>,
            statements: Vec<$crate::index::database::Statement>,
        ) -> Result<bool, sqlx::Error> {
            for $crate::index::database::Statement { sql, values, must_change } in statements {
                let done = bound(sql.into_owned(), values).execute(&mut *all).await?;
                if must_change && done.rows_affected() == 0 {
                    all.rollback().await?;
                    return Ok(false);
                }
            }
            all.commit().await.map(|()| true)
        }
    };
}
pub(crate) use speak;
