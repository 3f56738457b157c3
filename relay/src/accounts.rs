//! Accounts: which identities are here, their sessions, their prekeys, and what they have used up.
//!
//! An account is an identity's entry as it was last proven ([`Known`]); its devices are the entry's
//! and nobody else's. When a newer entry arrives ([`Accounts::refresh`]), the sessions and
//! prekeys of devices that are gone go with them, in the same transaction.
//!
//! [`Accounts`] says what a store must do, [`Sqlite`] is the one there is. The suite in
//! `accounts/tests.rs` takes any.

mod cache;
mod sqlite;

use async_trait::async_trait;
use identity::{Did, Entry};
use mailbox::Address;
use mailbox::intake::Devices;
use rpc::relay::{PrekeyBundle, PrekeyStock, PublishPrekeys, Session};
use types::{Domain, Hash, Height, Millis, PublicKey};

pub use sqlite::Sqlite;

use crate::Error;

/// How many one-time prekeys of a kind are kept for a device.
pub const MAX_ONE_TIME: u32 = 200;

/// How many sessions one device can have; the oldest ends when there is one more.
pub const MAX_SESSIONS: u32 = 4;

/// How many refresh tokens of a session are remembered after their use. One that is older is not
/// recognised as reused: it is just refused.
pub const MAX_USED_TOKENS: u32 = 256;

/// How many accounts one page of [`Accounts::page`] holds.
pub const PAGE: u32 = 256;

/// For how long a one-time key's number is remembered once it was handed out, in milliseconds: 90
/// days. Published again in that time it is not handed out again.
pub const TAKEN_MS: u64 = 90 * 24 * 3_600 * 1_000;

/// A session's name: 16 random bytes.
pub type SessionId = [u8; 16];

/// An identity as it was last proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its entry.
    pub entry: Entry,
    /// The height after which the entry was like this.
    pub height: Height,
}

/// A session that is to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewSession {
    /// Its name.
    pub id: SessionId,
    /// Whose.
    pub address: Address,
    /// The device key that signed. It must still be in the entry when the session is stored.
    pub key: PublicKey,
    /// The challenge that was answered: it counts once.
    pub nonce: Hash,
    /// Until when the challenge would count.
    pub nonce_expires: Millis,
    /// The hash of the first refresh token.
    pub refresh: Hash,
    /// When it begins.
    pub now: Millis,
    /// When the refresh token expires.
    pub expires: Millis,
}

/// What came of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The session stands; these older ones of the device ended for it.
    Yes(Vec<SessionId>),
    /// The challenge was answered before.
    Replayed,
    /// The device is not in the entry any more.
    NoDevice,
}

/// What came of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The next one is in force.
    Next {
        /// Whose session it is.
        address: Address,
        /// Which.
        session: SessionId,
    },
    /// It was used before; its session has ended now.
    Reused(SessionId),
    /// It is not known, has expired, or its session has ended.
    Unknown,
}

/// Something that is counted in a period: how often, at most, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What is counted: [`subject`].
    pub subject: Hash,
    /// The period, in milliseconds; periods begin at multiples of it since 1970.
    pub period_ms: u64,
    /// How often in a period.
    pub most: u32,
}

static SUBJECT: Domain = Domain::new("zynk.2026 relay quota v1");

/// The name under which something is counted: what kind of thing, and whose. Hashed, so that no
/// address and no pair of people stands in the table.
#[must_use]
pub fn subject(kind: &str, whose: &[&[u8]]) -> Hash {
    let mut parts = vec![kind.as_bytes(), b"\0"];
    parts.extend(whose);
    SUBJECT.hash(&parts)
}

static INVITATION: Domain = Domain::new("zynk.2026 relay invitation v1");

/// What of an invitation's code is stored.
#[must_use]
pub fn invitation(code: &str) -> Hash {
    INVITATION.hash(&[code.as_bytes()])
}

/// A store of accounts. Each method is one transaction: all of it or nothing, and durable when it
/// returns.
///
/// Each errs with [`Error::Store`] when the store fails, and leaves then everything as it was, or as it
/// would be after success.
#[async_trait]
pub trait Accounts: Send + Sync + std::fmt::Debug {
    /// Makes an account for an identity, or refreshes the one that it has: as [`Accounts::refresh`].
    async fn register(&self, did: &Did, known: &Known, now: Millis) -> Result<Vec<SessionId>, Error>;

    /// Takes a newer entry: sessions and prekeys of devices that are gone end, and prekeys under
    /// another Signal key. The sessions that ended. An older entry, or one of an identity without
    /// an account, changes nothing.
    async fn refresh(&self, did: &Did, known: &Known, now: Millis) -> Result<Vec<SessionId>, Error>;

    /// What is known of an identity that has an account.
    async fn account(&self, did: &Did) -> Result<Option<Known>, Error>;

    /// The devices that messages to an identity are for: those in its entry that have published
    /// prekeys, with their registration ids. `None` without an account.
    async fn devices(&self, did: &Did) -> Result<Option<Devices>, Error>;

    /// At most [`PAGE`] identities that have an account, ascending, after one.
    async fn page(&self, after: Option<Did>) -> Result<Vec<Did>, Error>;

    /// The last block whose operations were taken in.
    async fn followed(&self) -> Result<Option<Height>, Error>;

    /// Remembers it.
    async fn set_followed(&self, height: Height) -> Result<(), Error>;

    /// Begins a session, if its challenge was not answered before and its device is there.
    async fn open_session(&self, new: &NewSession) -> Result<Opened, Error>;

    /// Exchanges a refresh token for the next, which expires at `expires`.
    async fn rotate(&self, used: &Hash, next: &Hash, now: Millis, expires: Millis) -> Result<Rotation, Error>;

    /// Ends a session.
    async fn end_session(&self, session: &SessionId, now: Millis) -> Result<(), Error>;

    /// The sessions of an account that have not ended, newest first.
    async fn sessions(&self, did: &Did, now: Millis) -> Result<Vec<Session>, Error>;

    /// The sessions that have ended since a time, with when; at most `most`, newest first.
    async fn ended_since(&self, since: Millis, most: u32) -> Result<Vec<(SessionId, Millis)>, Error>;

    /// Makes an invitation; its code is stored as [`invitation`] says.
    async fn invite(&self, code: &Hash, now: Millis, expires: Millis) -> Result<(), Error>;

    /// Uses an invitation for an identity. Whether it was good: unused, or used for the same one.
    async fn redeem(&self, code: &Hash, did: &Did, now: Millis) -> Result<bool, Error>;

    /// Counts once for each quota, if none is used up: else the first that is, and in how many
    /// milliseconds its next period begins.
    async fn count(&self, quotas: &[Quota], now: Millis) -> Result<Result<(), (usize, u64)>, Error>;

    /// Takes back what [`Accounts::count`] has counted.
    async fn uncount(&self, quotas: &[Quota], now: Millis) -> Result<(), Error>;

    /// Takes a device's prekeys.
    ///
    /// # Errors
    /// [`Error::WrongIdentityKey`] if the entry has another Signal key for the device,
    /// [`Error::TooManyPrekeys`] above [`MAX_ONE_TIME`].
    async fn publish(&self, of: &Address, prekeys: &PublishPrekeys, now: Millis) -> Result<PrekeyStock, Error>;

    /// How many one-time prekeys of a device are left; `None` if it has published none.
    async fn stock(&self, of: &Address) -> Result<Option<PrekeyStock>, Error>;

    /// One bundle for each device of an identity that has published prekeys, except `but`.
    /// One-time keys are handed out once, whoever asks at the same time. `None` without an account.
    async fn hand_out(&self, did: &Did, but: Option<u16>, now: Millis) -> Result<Option<Vec<PrekeyBundle>>, Error>;

    /// Forgets what no longer matters at `now`: one bounded step.
    async fn sweep(&self, now: Millis) -> Result<(), Error>;
}

#[cfg(test)]
pub(crate) mod tests;
