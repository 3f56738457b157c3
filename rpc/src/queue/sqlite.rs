//! Jobs in SQLite, for one process. One connection; each write is synced.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ledger::Body;
use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use types::{Decode as _, Encode as _, Hash};

use super::job::{Attempt, Job, Outcome};
use super::store::{Added, Store, StoreError};
use crate::sqlite;

/// How long somebody waits for the connection.
const WAIT: Duration = Duration::from_secs(10);

/// The version of the tables: SQLite's `user_version`.
const VERSION: i64 = 1;

const SCHEMA: &str = include_str!("schema.sql");

/// Jobs in a SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens the database in a file, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened, or was made by another version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = sqlite::pool(1, WAIT).connect_with(sqlite::options(path, WAIT)).await.map_err(StoreError::of)?;
        let store = Self { pool };
        store.prepare().await?;
        Ok(store)
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        let mut all = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *all).await.map_err(StoreError::of)?;
        match found {
            VERSION => {}
            0 => {
                sqlx::raw_sql(SCHEMA).execute(&mut *all).await.map_err(StoreError::of)?;
                sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut *all).await.map_err(StoreError::of)?;
            }
            found => return Err(StoreError(format!("its tables are of version {found}, and this program's of {VERSION}"))),
        }
        all.commit().await.map_err(StoreError::of)
    }

    /// Closes the database; what is under way is finished.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    #[cfg(test)]
    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn add(&self, name: &Hash, body: &Body, most: u32) -> Result<Added, StoreError> {
        let mut all = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let known: Option<Option<Vec<u8>>> = sqlx::query_scalar("SELECT outcome FROM submissions WHERE name = $1")
            .bind(name.0.as_slice())
            .fetch_optional(&mut *all)
            .await
            .map_err(StoreError::of)?;
        match known {
            Some(Some(outcome)) if read_outcome(&outcome)?.is_refusal() => {
                sqlx::query("DELETE FROM submissions WHERE name = $1")
                    .bind(name.0.as_slice())
                    .execute(&mut *all)
                    .await
                    .map_err(StoreError::of)?;
            }
            Some(_) => return Ok(Added::Known),
            None => {}
        }
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM submissions WHERE outcome IS NULL")
            .fetch_one(&mut *all)
            .await
            .map_err(StoreError::of)?;
        if waiting >= i64::from(most) {
            return Ok(Added::Full);
        }
        sqlx::query("INSERT INTO submissions (name, body) VALUES ($1, $2)")
            .bind(name.0.as_slice())
            .bind(body.to_bytes())
            .execute(&mut *all)
            .await
            .map_err(StoreError::of)?;
        all.commit().await.map_err(StoreError::of)?;
        Ok(Added::New)
    }

    async fn claim(&self, lane: u32) -> Result<Option<Job>, StoreError> {
        let mut all = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let begun = "SELECT place, name, body, attempt FROM submissions WHERE outcome IS NULL AND lane = $1 ORDER BY place LIMIT 1";
        let fresh = "SELECT place, name, body, attempt FROM submissions WHERE outcome IS NULL AND lane IS NULL ORDER BY place LIMIT 1";
        let found = sqlx::query(begun).bind(i64::from(lane)).fetch_optional(&mut *all).await.map_err(StoreError::of)?;
        if let Some(row) = found {
            return read_job(&row).map(Some);
        }
        let Some(row) = sqlx::query(fresh).fetch_optional(&mut *all).await.map_err(StoreError::of)? else {
            return Ok(None);
        };
        let place: i64 = row.try_get("place").map_err(StoreError::of)?;
        sqlx::query("UPDATE submissions SET lane = $1 WHERE place = $2")
            .bind(i64::from(lane))
            .bind(place)
            .execute(&mut *all)
            .await
            .map_err(StoreError::of)?;
        all.commit().await.map_err(StoreError::of)?;
        read_job(&row).map(Some)
    }

    async fn keep(&self, name: &Hash, attempt: &Attempt) -> Result<(), StoreError> {
        let kept = sqlx::query("UPDATE submissions SET attempt = $1 WHERE name = $2 AND outcome IS NULL");
        one(kept.bind(attempt.bytes()).bind(name.0.as_slice()).execute(&self.pool).await.map_err(StoreError::of)?.rows_affected())
    }

    async fn finish(&self, name: &Hash, outcome: &Outcome) -> Result<(), StoreError> {
        let ended = sqlx::query("UPDATE submissions SET outcome = $1, ended = $2 WHERE name = $3 AND outcome IS NULL");
        let ended = ended.bind(outcome.to_bytes()).bind(now()).bind(name.0.as_slice());
        one(ended.execute(&self.pool).await.map_err(StoreError::of)?.rows_affected())
    }

    async fn outcome(&self, name: &Hash) -> Result<Option<Outcome>, StoreError> {
        let asked = sqlx::query_scalar("SELECT outcome FROM submissions WHERE name = $1").bind(name.0.as_slice());
        let found: Option<Option<Vec<u8>>> = asked.fetch_optional(&self.pool).await.map_err(StoreError::of)?;
        found.flatten().map(|outcome| read_outcome(&outcome)).transpose()
    }

    async fn forget(&self, kept: Duration) -> Result<(), StoreError> {
        let before = now().saturating_sub_unsigned(kept.as_secs());
        let forgotten = sqlx::query("DELETE FROM submissions WHERE outcome IS NOT NULL AND ended < $1").bind(before);
        forgotten.execute(&self.pool).await.map(|_| ()).map_err(StoreError::of)
    }
}

/// A job that is not there, or has ended, is another process's doing.
fn one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError("somebody else works on the same submissions".to_owned())) }
}

fn read_job(row: &SqliteRow) -> Result<Job, StoreError> {
    let name: Vec<u8> = row.try_get("name").map_err(StoreError::of)?;
    let body: Vec<u8> = row.try_get("body").map_err(StoreError::of)?;
    let attempt: Option<Vec<u8>> = row.try_get("attempt").map_err(StoreError::of)?;
    Ok(Job {
        name: Hash::from_bytes(&name).map_err(StoreError::of)?,
        body: Body::from_bytes(&body).map_err(StoreError::of)?,
        attempt: attempt.map(Attempt::read).transpose().map_err(StoreError::of)?,
    })
}

fn read_outcome(bytes: &[u8]) -> Result<Outcome, StoreError> {
    Outcome::from_bytes(bytes).map_err(StoreError::of)
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
