//! Contacts: the entries that were proven, and what changed in them.

use identity::{Did, Entry};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use types::{Encode as _, Height, Millis};

use super::{decode, signed, unsigned};
use crate::Error;
use crate::contact::{Change, Note};

/// An identity as it was last proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) did: Did,
    pub(crate) entry: Entry,
    /// The height whose state was shown.
    pub(crate) height: Height,
    /// The time of the header that proved it.
    pub(crate) proven: Millis,
    /// When its prekey bundles were last asked for; 0 for never since the entry changed.
    pub(crate) bundles: Millis,
    /// When the person said to have compared safety numbers.
    pub(crate) compared: Option<Millis>,
}

pub(crate) async fn person(db: &mut SqliteConnection, did: &Did) -> Result<Option<Person>, Error> {
    let row = sqlx::query("SELECT did, entry, height, proven, bundles, compared FROM contacts WHERE did = ?").bind(did.0.as_slice());
    row.fetch_optional(db).await?.as_ref().map(read).transpose()
}

pub(crate) async fn people(db: &mut SqliteConnection) -> Result<Vec<Person>, Error> {
    let rows = sqlx::query("SELECT did, entry, height, proven, bundles, compared FROM contacts ORDER BY did").fetch_all(db).await?;
    rows.iter().map(read).collect()
}

pub(crate) async fn put_person(db: &mut SqliteConnection, person: &Person) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO contacts (did, entry, height, proven, bundles, compared) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (did) DO UPDATE SET entry = excluded.entry, height = excluded.height, proven = excluded.proven,
         bundles = excluded.bundles, compared = excluded.compared",
    );
    let query =
        query.bind(person.did.0.as_slice()).bind(person.entry.to_bytes()).bind(signed(person.height.0)).bind(signed(person.proven.0));
    query.bind(signed(person.bundles.0)).bind(person.compared.map(|at| signed(at.0))).execute(db).await?;
    Ok(())
}

pub(crate) async fn put_note(db: &mut SqliteConnection, note: &Note) -> Result<(), Error> {
    let change = serde_json::to_string(&note.change).expect("a change has string keys");
    let query = sqlx::query("INSERT INTO notes (did, seen, change) VALUES (?, ?, ?)").bind(note.did.0.as_slice());
    query.bind(signed(note.seen.0)).bind(change).execute(db).await?;
    Ok(())
}

/// Puts another change into the place of what was noted last as `before`.
pub(crate) async fn amend_note(db: &mut SqliteConnection, did: &Did, before: &Change, after: &Change) -> Result<(), Error> {
    let text = |change| serde_json::to_string(change).expect("a change has string keys");
    let query = sqlx::query("UPDATE notes SET change = ? WHERE id = (SELECT max(id) FROM notes WHERE did = ? AND change = ?)");
    query.bind(text(after)).bind(did.0.as_slice()).bind(text(before)).execute(db).await?;
    Ok(())
}

/// The notes about an identity, oldest first.
pub(crate) async fn notes(db: &mut SqliteConnection, did: &Did) -> Result<Vec<Note>, Error> {
    let rows = sqlx::query("SELECT seen, change FROM notes WHERE did = ? ORDER BY id").bind(did.0.as_slice()).fetch_all(db).await?;
    let note = |row: &SqliteRow| {
        let change: Change = serde_json::from_str(row.get(1)).map_err(|_| Error::StoreText { what: "note" })?;
        Ok(Note { did: *did, seen: Millis(unsigned(row.get(0))), change })
    };
    rows.iter().map(note).collect()
}

fn read(row: &SqliteRow) -> Result<Person, Error> {
    Ok(Person {
        did: decode(&row.get::<Vec<u8>, _>(0), "contact's identifier")?,
        entry: decode(&row.get::<Vec<u8>, _>(1), "contact's entry")?,
        height: Height(unsigned(row.get(2))),
        proven: Millis(unsigned(row.get(3))),
        bundles: Millis(unsigned(row.get(4))),
        compared: row.get::<Option<i64>, _>(5).map(|at| Millis(unsigned(at))),
    })
}
