//! Accounts in SQLite, for a relay that is alone.
//!
//! One connection writes, so that writers queue up here and not at SQLite's lock; a few read. Each write
//! is synced: a one-time key that was handed out must not come back after a power cut.
//! The SQL is written so that PostgreSQL takes it with `FOR UPDATE` where rows are picked.

mod identities;
mod prekeys;
mod quotas;
mod sessions;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use identity::{Did, Entry};
use mailbox::Address;
use mailbox::intake::Devices;
use rpc::relay::{PrekeyBundle, PrekeyStock, PublishPrekeys, Session};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite as Db, Transaction};
use types::{Decode as _, Hash, Height, Millis};

use super::cache::Cache;
use super::{Accounts, Known, NewSession, Opened, Quota, Rotation, SessionId};
use crate::Error;

/// How many connections read.
const READERS: u32 = 4;

/// How long somebody waits for a connection.
const WAIT: Duration = Duration::from_secs(10);

/// The version of the tables.
const VERSION: i64 = 2;

/// What brings the tables of version 1 to version 2.
const FROM_1: &str = "ALTER TABLE prekeys ADD COLUMN succession BLOB; UPDATE format SET version = 2";

/// What one step of a sweep deletes of a kind.
const SWEPT: i64 = 1_000;

const SCHEMA: &str = include_str!("sqlite/schema.sql");

/// Accounts in a SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    cache: Cache,
}

impl Sqlite {
    /// Opens the database in a file, or makes it.
    ///
    /// # Errors
    /// [`Error::Database`] when it cannot be opened or was made by another version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let refused = |reason: String| Error::Database { path: path.to_owned(), reason };
        let (options, pool) = (rpc::sqlite::options(path, WAIT), |connections: u32| rpc::sqlite::pool(connections, WAIT));
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| refused(error.to_string()))?;
        prepare(&writer)
            .await
            .map_err(|error| refused(error.to_string()))?
            .map_err(|found| refused(format!("its tables are of version {found}, and this program's of {VERSION}")))?;
        let readers = pool(READERS).connect_with(options).await.map_err(|error| refused(error.to_string()))?;
        Ok(Self { writer, readers, cache: Cache::default() })
    }

    /// Closes the database; what is under way is finished.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    #[cfg(test)]
    pub(super) fn writer_for_tests(&self) -> SqlitePool {
        self.writer.clone()
    }

    async fn begin(&self) -> Result<Transaction<'_, Db>, Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(Error::store)
    }
}

/// Makes the tables of a new database, or brings those of an earlier version up to date. The version found, if it is
/// one that is not known.
async fn prepare(writer: &SqlitePool) -> Result<Result<(), i64>, sqlx::Error> {
    let mut all = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS format (version BIGINT NOT NULL)").execute(&mut *all).await?;
    let found: Option<i64> = sqlx::query_scalar("SELECT version FROM format").fetch_optional(&mut *all).await?;
    match found {
        Some(VERSION) => {}
        Some(1) => {
            sqlx::raw_sql(FROM_1).execute(&mut *all).await?;
        }
        Some(found) => return Ok(Err(found)),
        None => {
            sqlx::raw_sql(SCHEMA).execute(&mut *all).await?;
            sqlx::query("INSERT INTO format (version) VALUES ($1)").bind(VERSION).execute(&mut *all).await?;
        }
    }
    all.commit().await.map(Ok)
}

/// A number as SQL has them. Times and heights stay below 2^63 for longer than anybody counts.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A column that must decode: it was written here.
fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T, Error> {
    let value: i64 = row.try_get(column).map_err(Error::store)?;
    T::try_from(value).map_err(|_| Error::store(format!("{column} holds a number out of range")))
}

fn bytes<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], Error> {
    let value: &[u8] = row.try_get(column).map_err(Error::store)?;
    value.try_into().map_err(|_| Error::store(format!("{column} does not hold {N} bytes")))
}

fn blob(row: &SqliteRow, column: &str) -> Result<Vec<u8>, Error> {
    row.try_get(column).map_err(Error::store)
}

fn known(row: &SqliteRow) -> Result<Known, Error> {
    let entry = Entry::from_bytes(&blob(row, "entry")?).map_err(Error::store)?;
    Ok(Known { entry, height: Height(number(row, "height")?) })
}

/// What is known of an identity, inside a transaction or outside.
async fn account<'c>(by: impl sqlx::Executor<'c, Database = Db>, did: &Did) -> Result<Option<Known>, Error> {
    let query = sqlx::query("SELECT entry, height FROM accounts WHERE did = $1").bind(did.0.as_slice());
    let row = query.fetch_optional(by).await.map_err(Error::store)?;
    row.as_ref().map(known).transpose()
}

#[async_trait]
impl Accounts for Sqlite {
    async fn register(&self, did: &Did, known: &Known, now: Millis) -> Result<Vec<SessionId>, Error> {
        let ended = self.replace(did, known, true, now).await;
        self.cache.forget(did);
        ended
    }

    async fn refresh(&self, did: &Did, known: &Known, now: Millis) -> Result<Vec<SessionId>, Error> {
        let ended = self.replace(did, known, false, now).await;
        // Whether or not it is known to have been written.
        self.cache.forget(did);
        ended
    }

    async fn account(&self, did: &Did) -> Result<Option<Known>, Error> {
        account(&self.readers, did).await
    }

    async fn devices(&self, did: &Did) -> Result<Option<Devices>, Error> {
        let generation = match self.cache.get(did) {
            Ok(devices) => return Ok(Some(devices)),
            Err(generation) => generation,
        };
        let devices = self.read_devices(did).await?;
        if let Some(devices) = &devices {
            self.cache.put(did, devices, generation);
        }
        Ok(devices)
    }

    async fn page(&self, after: Option<Did>) -> Result<Vec<Did>, Error> {
        self.read_page(after).await
    }

    async fn followed(&self) -> Result<Option<Height>, Error> {
        let height: Option<i64> =
            sqlx::query_scalar("SELECT height FROM followed").fetch_optional(&self.readers).await.map_err(Error::store)?;
        Ok(height.map(|height| Height(unsigned(height))))
    }

    async fn set_followed(&self, height: Height) -> Result<(), Error> {
        sqlx::query("INSERT INTO followed (one, height) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET height = excluded.height")
            .bind(signed(height.0))
            .execute(&self.writer)
            .await
            .map_err(Error::store)
            .map(drop)
    }

    async fn open_session(&self, new: &NewSession) -> Result<Opened, Error> {
        self.insert_session(new).await
    }

    async fn rotate(&self, used: &Hash, next: &Hash, now: Millis, expires: Millis) -> Result<Rotation, Error> {
        self.rotate_token(used, next, now, expires).await
    }

    async fn end_session(&self, session: &SessionId, now: Millis) -> Result<(), Error> {
        sqlx::query("UPDATE sessions SET ended = $2 WHERE session = $1 AND ended IS NULL")
            .bind(session.as_slice())
            .bind(signed(now.0))
            .execute(&self.writer)
            .await
            .map_err(Error::store)
            .map(drop)
    }

    async fn sessions(&self, did: &Did, now: Millis) -> Result<Vec<Session>, Error> {
        self.read_sessions(did, now).await
    }

    async fn ended_since(&self, since: Millis, most: u32) -> Result<Vec<(SessionId, Millis)>, Error> {
        self.read_ended(since, most).await
    }

    async fn invite(&self, code: &Hash, now: Millis, expires: Millis) -> Result<(), Error> {
        sqlx::query("INSERT INTO invitations (code, made, expires) VALUES ($1, $2, $3)")
            .bind(code.0.as_slice())
            .bind(signed(now.0))
            .bind(signed(expires.0))
            .execute(&self.writer)
            .await
            .map_err(Error::store)
            .map(drop)
    }

    async fn redeem(&self, code: &Hash, did: &Did, now: Millis) -> Result<bool, Error> {
        let redeemed =
            sqlx::query("UPDATE invitations SET used_by = $2 WHERE code = $1 AND expires > $3 AND (used_by IS NULL OR used_by = $2)")
                .bind(code.0.as_slice())
                .bind(did.0.as_slice())
                .bind(signed(now.0))
                .execute(&self.writer)
                .await
                .map_err(Error::store)?;
        Ok(redeemed.rows_affected() == 1)
    }

    async fn count(&self, quotas: &[Quota], now: Millis) -> Result<Result<(), (usize, u64)>, Error> {
        self.count_all(quotas, now).await
    }

    async fn uncount(&self, quotas: &[Quota], now: Millis) -> Result<(), Error> {
        self.uncount_all(quotas, now).await
    }

    async fn publish(&self, of: &Address, prekeys: &PublishPrekeys, now: Millis) -> Result<PrekeyStock, Error> {
        let stock = self.take_in(of, prekeys, now).await;
        self.cache.forget(&of.did);
        stock
    }

    async fn stock(&self, of: &Address) -> Result<Option<PrekeyStock>, Error> {
        let mut connection = self.readers.acquire().await.map_err(Error::store)?;
        prekeys::stock(&mut connection, of).await
    }

    async fn hand_out(&self, did: &Did, but: Option<u16>, now: Millis) -> Result<Option<Vec<PrekeyBundle>>, Error> {
        self.pick(did, but, now).await
    }

    async fn sweep(&self, now: Millis) -> Result<(), Error> {
        self.sweep_all(now).await
    }
}
