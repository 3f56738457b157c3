//! Messages, and what was said about them.

use audit::leaf::EnvelopePart;
use audit::{Bundle, Commitment, Opening};
use identity::Did;
use mailbox::Address;
use mailbox::frame::Kind;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use types::{Encode as _, Hash, Millis};
use uuid::Uuid;

use super::{decode, signed, unsigned};
use crate::Error;
use crate::envelope::Integrity;
use crate::history::{Message, Receipt, State};

/// The most messages that one question returns.
pub(crate) const MAX_PAGE: u32 = 1000;

/// A message as it enters the store.
#[derive(Debug, Clone)]
pub(crate) struct New<'a> {
    /// The other side.
    pub(crate) peer: Did,
    pub(crate) message_id: Uuid,
    pub(crate) sender: Address,
    /// Whether this identity sent it.
    pub(crate) outgoing: bool,
    pub(crate) text: &'a str,
    pub(crate) sent: Millis,
    pub(crate) stored: Millis,
    pub(crate) state: State,
    pub(crate) problem: Option<(u32, String)>,
    pub(crate) integrity: Option<Integrity>,
    pub(crate) opening: Option<&'a Opening>,
    /// The commitment that the relay passed on, or that was sent.
    pub(crate) commitment: Option<Commitment>,
    pub(crate) envelope: Option<EnvelopePart>,
}

/// Stores a message. One that is there already stays as it is: its repeat came after it was forgotten that it had come.
pub(crate) async fn put(db: &mut SqliteConnection, new: &New<'_>) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO messages (peer, message_id, sender, device, outgoing, text, sent, stored, state, code, reason, integrity, opening, commitment, envelope)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (sender, device, message_id) DO NOTHING",
    );
    let query = query.bind(new.peer.0.as_slice()).bind(new.message_id.as_bytes().as_slice()).bind(new.sender.did.0.as_slice());
    let query =
        query.bind(i64::from(new.sender.device)).bind(new.outgoing).bind(new.text).bind(signed(new.sent.0)).bind(signed(new.stored.0));
    let (code, reason) = new.problem.as_ref().map(|(code, reason)| (i64::from(*code), reason.as_str())).unzip();
    let query = query.bind(new.state.name()).bind(code).bind(reason).bind(new.integrity.map(Integrity::name));
    let query = query.bind(new.opening.map(types::Encode::to_bytes)).bind(new.commitment.map(|commitment| commitment.0.to_bytes()));
    query.bind(new.envelope.as_ref().map(types::Encode::to_bytes)).execute(db).await?;
    Ok(())
}

/// What the last message of this device in a conversation was: its number, and its commitment.
pub(crate) async fn last_of(db: &mut SqliteConnection, from: &Address, peer: &Did) -> Result<Option<Opening>, Error> {
    let query = sqlx::query(
        "SELECT opening FROM messages WHERE sender = ? AND device = ? AND peer = ? AND opening IS NOT NULL ORDER BY id DESC LIMIT 1",
    );
    let row = query.bind(from.did.0.as_slice()).bind(i64::from(from.device)).bind(peer.0.as_slice()).fetch_optional(db).await?;
    row.map(|row| decode(&row.get::<Vec<u8>, _>(0), "opening")).transpose()
}

/// Says where a message of this identity stands. Returns whether there is one of this id: receipts are none.
pub(crate) async fn set_state(db: &mut SqliteConnection, id: &Uuid, state: State, problem: Option<(u32, &str)>) -> Result<bool, Error> {
    let (code, reason) = problem.unzip();
    let query = sqlx::query("UPDATE messages SET state = ?, code = ?, reason = ? WHERE message_id = ? AND outgoing = 1");
    let done = query.bind(state.name()).bind(code.map(i64::from)).bind(reason).bind(id.as_bytes().as_slice()).execute(db).await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) async fn set_envelope(db: &mut SqliteConnection, id: &Uuid, envelope: &EnvelopePart) -> Result<(), Error> {
    let query = sqlx::query("UPDATE messages SET envelope = ? WHERE message_id = ? AND outgoing = 1");
    query.bind(envelope.to_bytes()).bind(id.as_bytes().as_slice()).execute(db).await?;
    Ok(())
}

pub(crate) async fn set_bundle(db: &mut SqliteConnection, row: i64, bundle: &Bundle) -> Result<(), Error> {
    sqlx::query("UPDATE messages SET bundle = ? WHERE id = ?").bind(bundle.to_bytes()).bind(row).execute(db).await?;
    Ok(())
}

/// Notes that a device of `by` has stored or read messages that went to it. Returns those for which
/// that is new.
pub(crate) async fn put_receipts(
    db: &mut SqliteConnection,
    by: &Address,
    kind: Kind,
    ids: &[[u8; 16]],
    at: Millis,
) -> Result<Vec<Uuid>, Error> {
    let mut new = Vec::new();
    for id in ids {
        // Only who was written to can say so.
        let query = sqlx::query(
            "INSERT OR IGNORE INTO receipts (message_id, did, device, kind, at)
             SELECT ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM messages WHERE message_id = ? AND peer = ? AND outgoing = 1)",
        );
        let query = query.bind(id.as_slice()).bind(by.did.0.as_slice()).bind(i64::from(by.device)).bind(number(kind)).bind(signed(at.0));
        if query.bind(id.as_slice()).bind(by.did.0.as_slice()).execute(&mut *db).await?.rows_affected() > 0 {
            new.push(Uuid::from_bytes(*id));
        }
    }
    Ok(new)
}

/// Marks messages as read: those of `peer` up to a row, or those of these ids. Returns the ids that were not.
pub(crate) async fn mark_read(db: &mut SqliteConnection, peer: &Did) -> Result<Vec<Uuid>, Error> {
    let query = sqlx::query(
        "UPDATE messages SET read = 1 WHERE peer = ? AND outgoing = 0 AND read = 0 AND state = 'received' RETURNING message_id",
    );
    let rows = query.bind(peer.0.as_slice()).fetch_all(db).await?;
    rows.iter().map(|row| uuid(row, 0)).collect()
}

/// Marks these messages of `peer` as read: another device of this identity says that they were.
pub(crate) async fn mark_read_elsewhere(db: &mut SqliteConnection, peer: &Did, ids: &[[u8; 16]]) -> Result<(), Error> {
    for id in ids {
        let query = sqlx::query("UPDATE messages SET read = 1 WHERE peer = ? AND outgoing = 0 AND message_id = ?");
        query.bind(peer.0.as_slice()).bind(id.as_slice()).execute(&mut *db).await?;
        let query =
            sqlx::query("DELETE FROM owed WHERE did = ? AND kind = ? AND message_id = ?").bind(peer.0.as_slice()).bind(number(Kind::Read));
        query.bind(id.as_slice()).execute(&mut *db).await?;
    }
    Ok(())
}

/// The newest `limit` messages, with one identity or with all, oldest first.
pub(crate) async fn history(db: &mut SqliteConnection, peer: Option<&Did>, limit: u32) -> Result<Vec<Message>, Error> {
    const ALL: &str =
        "SELECT id, peer, message_id, sender, device, outgoing, text, sent, stored, state, code, reason, integrity, opening, commitment,
        envelope, bundle IS NOT NULL, read FROM messages ORDER BY id DESC LIMIT ?";
    const OF_ONE: &str =
        "SELECT id, peer, message_id, sender, device, outgoing, text, sent, stored, state, code, reason, integrity, opening, commitment,
        envelope, bundle IS NOT NULL, read FROM messages WHERE peer = ? ORDER BY id DESC LIMIT ?";
    let rows = match peer {
        None => sqlx::query(ALL).bind(i64::from(limit)).fetch_all(&mut *db).await?,
        Some(peer) => sqlx::query(OF_ONE).bind(peer.0.as_slice()).bind(i64::from(limit)).fetch_all(&mut *db).await?,
    };
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        messages.push(read(db, row).await?);
    }
    Ok(messages)
}

/// All messages of an id: one, unless two devices chose the same.
pub(crate) async fn by_id(db: &mut SqliteConnection, id: &Uuid) -> Result<Option<Message>, Error> {
    let query = sqlx::query(
        "SELECT id, peer, message_id, sender, device, outgoing, text, sent, stored, state, code, reason, integrity, opening, commitment,
        envelope, bundle IS NOT NULL, read FROM messages WHERE message_id = ? ORDER BY id LIMIT 1",
    );
    match query.bind(id.as_bytes().as_slice()).fetch_optional(&mut *db).await? {
        Some(row) => Ok(Some(read(db, &row).await?)),
        None => Ok(None),
    }
}

/// The bundle that was kept for a message.
pub(crate) async fn bundle(db: &mut SqliteConnection, row: i64) -> Result<Option<Bundle>, Error> {
    let found = sqlx::query("SELECT bundle FROM messages WHERE id = ?").bind(row).fetch_optional(db).await?;
    let bytes: Option<Vec<u8>> = found.and_then(|row| row.get(0));
    bytes.map(|bytes| Bundle::from_bytes(&bytes).map_err(|_| Error::StoreText { what: "bundle" })).transpose()
}

async fn read(db: &mut SqliteConnection, row: &SqliteRow) -> Result<Message, Error> {
    let message_id = uuid(row, 2)?;
    let receipts = sqlx::query("SELECT did, device, kind, at FROM receipts WHERE message_id = ? ORDER BY at, device");
    let receipts = receipts.bind(message_id.as_bytes().as_slice()).fetch_all(db).await?;
    let opening: Option<Vec<u8>> = row.get(13);
    let commitment: Option<Vec<u8>> = row.get(14);
    let envelope: Option<Vec<u8>> = row.get(15);
    Ok(Message {
        row: row.get(0),
        peer: decode(&row.get::<Vec<u8>, _>(1), "identifier")?,
        message_id,
        sender: Address { did: decode(&row.get::<Vec<u8>, _>(3), "identifier")?, device: device(row, 4) },
        outgoing: row.get(5),
        text: row.get(6),
        sent: Millis(unsigned(row.get(7))),
        stored: Millis(unsigned(row.get(8))),
        state: State::of(row.get(9)).ok_or(Error::StoreText { what: "state" })?,
        code: row.get::<Option<i64>, _>(10).and_then(|code| u32::try_from(code).ok()),
        reason: row.get(11),
        integrity: row.get(12),
        opening: opening.map(|bytes| decode(&bytes, "opening")).transpose()?,
        commitment: commitment.map(|bytes| decode::<Hash>(&bytes, "commitment").map(Commitment)).transpose()?,
        envelope: envelope.map(|bytes| decode(&bytes, "envelope")).transpose()?,
        proven: row.get(16),
        read: row.get(17),
        receipts: receipts.iter().map(receipt).collect::<Result<_, _>>()?,
    })
}

fn receipt(row: &SqliteRow) -> Result<Receipt, Error> {
    let kind = if row.get::<i64, _>(2) == number(Kind::Read) { Kind::Read } else { Kind::Delivered };
    Ok(Receipt { did: decode(&row.get::<Vec<u8>, _>(0), "identifier")?, device: device(row, 1), kind, at: Millis(unsigned(row.get(3))) })
}

/// How the store numbers kinds.
pub(crate) const fn number(kind: Kind) -> i64 {
    match kind {
        Kind::Message => 1,
        Kind::Delivered => 2,
        Kind::Read => 3,
    }
}

fn device(row: &SqliteRow, column: usize) -> u16 {
    u16::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

pub(super) fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, Error> {
    Uuid::from_slice(row.get(column)).map_err(|_| Error::StoreText { what: "message id" })
}
