//! What is to be sent, what is owed, and what was received already.

use identity::Did;
use mailbox::Address;
use mailbox::frame::Kind;
use sqlx::{Row as _, SqliteConnection};
use types::{Encode as _, Millis};
use uuid::Uuid;

use super::messages::{number, uuid};
use super::{decode, signed, unsigned};
use crate::Error;
use crate::envelope::{Content, MAX_RECEIPTS};

/// For how long it is remembered that a message was received: longer than a relay keeps one.
const REMEMBER_MS: u64 = 45 * 24 * 60 * 60 * 1000;

/// Something that is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Its place: items leave in this order.
    pub(crate) row: i64,
    pub(crate) message_id: Uuid,
    pub(crate) recipient: Did,
    pub(crate) content: Content,
    pub(crate) sent: Millis,
    /// The frame in CBOR, once it is encrypted.
    pub(crate) frame: Option<Vec<u8>>,
}

/// Puts something behind what is to be sent.
pub(crate) async fn push(db: &mut SqliteConnection, id: &Uuid, recipient: &Did, content: &Content, sent: Millis) -> Result<(), Error> {
    let query = sqlx::query("INSERT INTO outbox (message_id, recipient, content, sent) VALUES (?, ?, ?, ?)");
    let query = query.bind(id.as_bytes().as_slice()).bind(recipient.0.as_slice()).bind(content.to_bytes());
    query.bind(signed(sent.0)).execute(db).await?;
    Ok(())
}

/// The first item behind `after` whose time has come. What is for one identity leaves one after the other, so that an item
/// that waits or is refused is not overtaken by those behind it.
pub(crate) async fn next(db: &mut SqliteConnection, after: i64, now: Millis) -> Result<Option<Item>, Error> {
    let query = sqlx::query(
        "SELECT id, message_id, recipient, content, sent, frame FROM outbox AS item WHERE id > ? AND wait_until <= ?
         AND NOT EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.recipient = item.recipient AND earlier.id < item.id)
         ORDER BY id LIMIT 1",
    );
    let Some(row) = query.bind(after).bind(signed(now.0)).fetch_optional(db).await? else { return Ok(None) };
    Ok(Some(Item {
        row: row.get(0),
        message_id: uuid(&row, 1)?,
        recipient: decode(&row.get::<Vec<u8>, _>(2), "identifier")?,
        content: decode(&row.get::<Vec<u8>, _>(3), "content")?,
        sent: Millis(unsigned(row.get(4))),
        frame: row.get(5),
    }))
}

/// How many items there are, with receipts that are owed and not yet made.
pub(crate) async fn len(db: &mut SqliteConnection) -> Result<u64, Error> {
    let query = sqlx::query("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM owed)");
    Ok(unsigned(query.fetch_one(db).await?.get(0)))
}

/// Keeps the encrypted frame of an item.
pub(crate) async fn set_frame(db: &mut SqliteConnection, row: i64, frame: &[u8]) -> Result<(), Error> {
    sqlx::query("UPDATE outbox SET frame = ? WHERE id = ?").bind(frame).bind(row).execute(db).await?;
    Ok(())
}

/// Has every item be encrypted anew: the sessions that the frames were made in have ended.
pub(crate) async fn forget_frames(db: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("UPDATE outbox SET frame = NULL, wait_until = 0").execute(db).await?;
    Ok(())
}

/// Has an item wait. `anew`: its frame is of no use any more.
pub(crate) async fn hold(db: &mut SqliteConnection, id: &Uuid, until: Millis, anew: bool) -> Result<(), Error> {
    let query = if anew {
        sqlx::query("UPDATE outbox SET wait_until = ?, attempts = attempts + 1, frame = NULL WHERE message_id = ?")
    } else {
        sqlx::query("UPDATE outbox SET wait_until = ?, attempts = attempts + 1 WHERE message_id = ?")
    };
    query.bind(signed(until.0)).bind(id.as_bytes().as_slice()).execute(db).await?;
    Ok(())
}

/// Takes an item out: it was accepted, or refused for good. Returns its frame, if it was there.
pub(crate) async fn take(db: &mut SqliteConnection, id: &Uuid) -> Result<Option<Option<Vec<u8>>>, Error> {
    let row =
        sqlx::query("DELETE FROM outbox WHERE message_id = ? RETURNING frame").bind(id.as_bytes().as_slice()).fetch_optional(db).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Notes that somebody is to be told of a message.
pub(crate) async fn owe(db: &mut SqliteConnection, to: &Did, kind: Kind, id: &Uuid) -> Result<(), Error> {
    let query = sqlx::query("INSERT OR IGNORE INTO owed (did, kind, message_id) VALUES (?, ?, ?)").bind(to.0.as_slice()).bind(number(kind));
    query.bind(id.as_bytes().as_slice()).execute(db).await?;
    Ok(())
}

/// Makes one receipt out of what is owed to one identity, and puts it into the outbox. Returns whether there was any.
pub(crate) async fn pay(db: &mut SqliteConnection, now: Millis) -> Result<bool, Error> {
    let Some(first) = sqlx::query("SELECT did, kind FROM owed LIMIT 1").fetch_optional(&mut *db).await? else { return Ok(false) };
    let (did, kind) = (first.get::<Vec<u8>, _>(0), first.get::<i64, _>(1));
    let bound = i64::try_from(MAX_RECEIPTS).unwrap_or(1);
    let query = sqlx::query(
        "DELETE FROM owed WHERE did = ? AND kind = ? AND message_id IN (SELECT message_id FROM owed WHERE did = ? AND kind = ? ORDER BY message_id LIMIT ?)
         RETURNING message_id",
    );
    let rows = query.bind(&did).bind(kind).bind(&did).bind(kind).bind(bound).fetch_all(&mut *db).await?;
    let mut ids: Vec<[u8; 16]> = rows.iter().map(|row| uuid(row, 0).map(Uuid::into_bytes)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    let ids = ids.try_into().map_err(|source| Error::StoreDamaged { what: "receipts", source })?;
    let content = if kind == number(Kind::Read) { Content::Read(ids) } else { Content::Delivered(ids) };
    push(db, &Uuid::now_v7(), &decode(&did, "identifier")?, &content, now).await?;
    Ok(true)
}

/// Whether a message was received before; notes that it was.
pub(crate) async fn is_first(db: &mut SqliteConnection, from: &Address, id: &Uuid, now: Millis) -> Result<bool, Error> {
    let query = sqlx::query("INSERT OR IGNORE INTO received (sender, device, message_id, at) VALUES (?, ?, ?, ?)");
    let query = query.bind(from.did.0.as_slice()).bind(i64::from(from.device)).bind(id.as_bytes().as_slice()).bind(signed(now.0));
    Ok(query.execute(db).await?.rows_affected() > 0)
}

/// Forgets what was received longer ago than any relay keeps a message.
pub(crate) async fn forget_received(db: &mut SqliteConnection, now: Millis) -> Result<(), Error> {
    sqlx::query("DELETE FROM received WHERE at < ?").bind(signed(now.0.saturating_sub(REMEMBER_MS))).execute(db).await?;
    Ok(())
}

/// How often an item was tried.
pub(crate) async fn attempts(db: &mut SqliteConnection, id: &Uuid) -> Result<u32, Error> {
    let row = sqlx::query("SELECT attempts FROM outbox WHERE message_id = ?").bind(id.as_bytes().as_slice()).fetch_optional(db).await?;
    Ok(row.map_or(0, |row| u32::try_from(row.get::<i64, _>(0)).unwrap_or(u32::MAX)))
}

/// Has an item that waits wait no longer. Returns whether it is there.
pub(crate) async fn hurry(db: &mut SqliteConnection, id: &Uuid) -> Result<bool, Error> {
    let query = sqlx::query("UPDATE outbox SET wait_until = 0 WHERE message_id = ?").bind(id.as_bytes().as_slice());
    Ok(query.execute(db).await?.rows_affected() > 0)
}
