//! Signal's records: sessions, and the secret halves of prekeys.

use mailbox::Address;
use sqlx::{Row as _, SqliteConnection};
use types::Millis;

use super::{signed, unsigned};
use crate::Error;
use crate::signal::prekeys::KEEP_MS;
use crate::signal::{Prekeys, Used};

/// How many one-time prekeys of a kind are kept at most: those published, and those of publications
/// whose answer was lost. The oldest go first.
const MAX_ONE_TIME: i64 = 1000;

/// A session's record.
pub(crate) async fn session(db: &mut SqliteConnection, of: &Address) -> Result<Option<Vec<u8>>, Error> {
    let query =
        sqlx::query("SELECT record FROM sessions WHERE did = ? AND device = ?").bind(of.did.0.as_slice()).bind(i64::from(of.device));
    Ok(query.fetch_optional(db).await?.map(|row| row.get(0)))
}

/// Keeps a session's record.
pub(crate) async fn put_session(db: &mut SqliteConnection, of: &Address, record: &[u8]) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO sessions (did, device, record) VALUES (?, ?, ?) ON CONFLICT (did, device) DO UPDATE SET record = excluded.record",
    );
    query.bind(of.did.0.as_slice()).bind(i64::from(of.device)).bind(record).execute(db).await?;
    Ok(())
}

/// Ends a session: the device is another, or gone.
pub(crate) async fn drop_session(db: &mut SqliteConnection, of: &Address) -> Result<(), Error> {
    let query = sqlx::query("DELETE FROM sessions WHERE did = ? AND device = ?").bind(of.did.0.as_slice()).bind(i64::from(of.device));
    query.execute(db).await?;
    Ok(())
}

/// Ends every session, and drops the secret halves of all prekeys: they are of a Signal key that was replaced.
pub(crate) async fn forget_all(db: &mut SqliteConnection) -> Result<(), Error> {
    for query in [
        "DELETE FROM sessions",
        "DELETE FROM one_time_prekeys",
        "DELETE FROM signed_prekeys",
        "DELETE FROM kyber_prekeys",
        "DELETE FROM base_keys",
    ] {
        sqlx::query(query).execute(&mut *db).await?;
    }
    Ok(())
}

/// The devices of an identity that there are sessions with, and the records.
pub(crate) async fn sessions_of(db: &mut SqliteConnection, did: &identity::Did) -> Result<Vec<(u16, Vec<u8>)>, Error> {
    let rows =
        sqlx::query("SELECT device, record FROM sessions WHERE did = ? ORDER BY device").bind(did.0.as_slice()).fetch_all(db).await?;
    Ok(rows.iter().map(|row| (u16::try_from(row.get::<i64, _>(0)).unwrap_or(0), row.get(1))).collect())
}

/// The secret halves of the prekeys that a message names.
pub(crate) async fn prekeys(db: &mut SqliteConnection, used: &Used) -> Result<Prekeys, Error> {
    let find = async |db: &mut SqliteConnection, query: &'static str, id: u32| -> Result<Option<Vec<u8>>, Error> {
        Ok(sqlx::query(query).bind(i64::from(id)).fetch_optional(db).await?.map(|row| row.get(0)))
    };
    let signed = find(db, "SELECT record FROM signed_prekeys WHERE id = ?", used.signed).await?;
    let kyber = find(db, "SELECT record FROM kyber_prekeys WHERE id = ?", used.kyber).await?;
    let one_time = match used.one_time {
        Some(id) => find(db, "SELECT record FROM one_time_prekeys WHERE id = ?", id).await?,
        None => None,
    };
    Ok(Prekeys { signed, kyber, one_time })
}

/// Marks prekeys as used: one-time ones are gone; with the last resort the sender's base key counts once.
/// Returns whether it did not count before.
pub(crate) async fn use_prekeys(db: &mut SqliteConnection, used: &Used) -> Result<bool, Error> {
    if let Some(id) = used.one_time {
        sqlx::query("DELETE FROM one_time_prekeys WHERE id = ?").bind(i64::from(id)).execute(&mut *db).await?;
    }
    let deleted =
        sqlx::query("DELETE FROM kyber_prekeys WHERE id = ? AND last_resort = 0").bind(i64::from(used.kyber)).execute(&mut *db).await?;
    if deleted.rows_affected() > 0 {
        return Ok(true);
    }
    let query = sqlx::query("INSERT OR IGNORE INTO base_keys (kyber, signed, base_key) VALUES (?, ?, ?)");
    let kept = query.bind(i64::from(used.kyber)).bind(i64::from(used.signed)).bind(used.base_key.as_slice()).execute(&mut *db).await?;
    Ok(kept.rows_affected() > 0)
}

/// What is to be kept of newly made prekeys.
pub(crate) enum New {
    /// A one-time X25519 prekey.
    OneTime(u32, Vec<u8>),
    /// A one-time Kyber prekey.
    Kyber(u32, Vec<u8>),
    /// The signed prekey, in the place of the one before.
    Signed(u32, Vec<u8>),
    /// The last-resort Kyber prekey, in the place of the one before.
    LastResort(u32, Vec<u8>),
}

/// Keeps newly made prekeys, and drops what nobody can name any more.
pub(crate) async fn put_prekeys(db: &mut SqliteConnection, new: &[New], now: Millis) -> Result<(), Error> {
    for key in new {
        let query = match key {
            New::OneTime(id, record) => {
                sqlx::query("INSERT INTO one_time_prekeys (id, record) VALUES (?, ?)").bind(i64::from(*id)).bind(record)
            }
            New::Kyber(id, record) => {
                sqlx::query("INSERT INTO kyber_prekeys (id, record, last_resort) VALUES (?, ?, 0)").bind(i64::from(*id)).bind(record)
            }
            New::Signed(id, record) => {
                sqlx::query("UPDATE signed_prekeys SET replaced = ? WHERE replaced IS NULL").bind(signed(now.0)).execute(&mut *db).await?;
                sqlx::query("INSERT INTO signed_prekeys (id, record, made) VALUES (?, ?, ?)")
                    .bind(i64::from(*id))
                    .bind(record)
                    .bind(signed(now.0))
            }
            New::LastResort(id, record) => {
                let replace = sqlx::query("UPDATE kyber_prekeys SET replaced = ? WHERE replaced IS NULL AND last_resort = 1");
                replace.bind(signed(now.0)).execute(&mut *db).await?;
                sqlx::query("INSERT INTO kyber_prekeys (id, record, last_resort) VALUES (?, ?, 1)").bind(i64::from(*id)).bind(record)
            }
        };
        query.execute(&mut *db).await?;
    }
    let before = signed(now.0.saturating_sub(KEEP_MS));
    for query in ["DELETE FROM signed_prekeys WHERE replaced < ?", "DELETE FROM kyber_prekeys WHERE replaced < ?"] {
        sqlx::query(query).bind(before).execute(&mut *db).await?;
    }
    sqlx::query("DELETE FROM base_keys WHERE kyber NOT IN (SELECT id FROM kyber_prekeys)").execute(&mut *db).await?;
    for query in [
        "DELETE FROM one_time_prekeys WHERE id NOT IN (SELECT id FROM one_time_prekeys ORDER BY id DESC LIMIT ?)",
        "DELETE FROM kyber_prekeys WHERE last_resort = 0 AND id NOT IN (SELECT id FROM kyber_prekeys ORDER BY id DESC LIMIT ?)",
    ] {
        sqlx::query(query).bind(MAX_ONE_TIME).execute(&mut *db).await?;
    }
    Ok(())
}

/// The signed prekey and the last resort in use, with the time at which they were made.
pub(crate) async fn standing(db: &mut SqliteConnection) -> Result<Option<(Vec<u8>, Vec<u8>, Millis)>, Error> {
    let signed = sqlx::query("SELECT record, made FROM signed_prekeys WHERE replaced IS NULL").fetch_optional(&mut *db).await?;
    let last = sqlx::query("SELECT record FROM kyber_prekeys WHERE replaced IS NULL AND last_resort = 1").fetch_optional(&mut *db).await?;
    Ok(signed.zip(last).map(|(signed, last)| (signed.get(0), last.get(0), Millis(unsigned(signed.get(1))))))
}
