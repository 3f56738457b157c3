//! Why a request was refused, or the relay could not start.

use std::path::{Path, PathBuf};

use audit::LogId;
use types::{Address, Amount, Height};

/// What went wrong. [`Error::code`] is stable; `docs/spec/relay.md` lists the codes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body, or a part of the address, is not what the request takes.
    #[error("not a request of this kind: {what}")]
    Malformed {
        /// What is wrong: nothing of what was sent is repeated.
        what: String,
    },
    /// The body is not declared to be JSON.
    #[error("the body is to be JSON: Content-Type: application/json")]
    WrongType,
    /// The body is longer than a request of this kind can be.
    #[error("the body is longer than {bound} bytes")]
    TooLarge {
        /// The bound in bytes.
        bound: usize,
    },
    /// There is nothing at this path.
    #[error("there is nothing here")]
    NoSuchPath,
    /// Not with this method.
    #[error("not with this method")]
    NoSuchMethod,
    /// The body did not come in time.
    #[error("the body did not come in time")]
    TooSlow,

    /// The request needs a session, and names none.
    #[error("this needs an access token: Authorization: Bearer …")]
    NoToken,
    /// The token is not one of this relay's.
    #[error("the access token is not one of this relay's")]
    BadToken,
    /// The token has expired.
    #[error("the access token has expired: refresh it")]
    ExpiredToken,
    /// The session has ended, or its device was removed.
    #[error("the session has ended")]
    EndedSession,
    /// The answer to a challenge does not hold. Which part does not is not said.
    #[error("the sign-in does not hold: challenge, device or signature")]
    BadSignIn,
    /// The refresh token is not known, or has expired.
    #[error("the refresh token is not known or has expired: sign in again")]
    BadRefresh,
    /// The refresh token was used before: somebody else may have it, so the session ends.
    #[error("the refresh token was used before: its session has ended, sign in again")]
    ReusedRefresh,
    /// The operation is on another identity than the session's.
    #[error("the operation is on another identity than the session's")]
    NotYours,

    /// Nobody new may register.
    #[error("this relay takes no registrations")]
    Closed,
    /// The invitation is missing, used, expired or none.
    #[error("this relay takes registrations by invitation, and this is none that is still good")]
    BadInvitation,
    /// There is no such identity on the chain, and no operation that creates it.
    #[error("there is no such identity on the chain")]
    NoIdentity,
    /// The identity was deactivated.
    #[error("the identity was deactivated")]
    Deactivated,
    /// The operation cannot be read, or breaks a rule.
    #[error("the operation is refused (identity {}): {}", .0.code(), .0)]
    Operation(identity::Error),
    /// The operation neither creates this identity nor is one of its control keys for a recovery.
    #[error("the operation is not one that a registration of this identity can carry")]
    WrongOperation,
    /// There is no account for this identity.
    #[error("there is no such account on this relay")]
    NoAccount,

    /// The day's budget for everybody is used up.
    #[error("the relay pays for no more operations today")]
    BudgetSpent {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The day's budget for this identity is used up.
    #[error("the relay pays for no more operations of this identity today")]
    IdentityBudgetSpent {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// Too many registrations from this address.
    #[error("too many registrations from this address")]
    TooManyRegistrations {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// Too many attempts to sign in from this address.
    #[error("too many attempts to sign in from this address")]
    TooManyAttempts {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The same identity's prekeys were asked for too often.
    #[error("this identity's prekeys were asked for too often")]
    TooManyBundles {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// Too much at once, or the same identity's operation is under way.
    #[error("too much at once")]
    Busy {
        /// Milliseconds.
        retry_after_ms: u64,
    },

    /// The Signal key is not the one in the identity's entry.
    #[error("the identity key is not the one that the chain has for this device")]
    WrongIdentityKey,
    /// A prekey is not one.
    #[error("not a prekey: {what}")]
    BadPrekey {
        /// What is wrong.
        what: &'static str,
    },
    /// More one-time keys than are kept.
    #[error("more one-time keys than are kept: at most {bound} of a kind")]
    TooManyPrekeys {
        /// The bound.
        bound: u32,
    },
    /// The device has published no prekeys.
    #[error("this device has published no prekeys")]
    NoPrekeys,
    /// The leaf is not one of this relay's.
    #[error("no such leaf")]
    NoLeaf,

    /// The chain refused the operation.
    #[error("the chain refused the operation ({codespace} {number})")]
    Refused {
        /// Whose list the number is from.
        codespace: String,
        /// The reason's number there.
        number: u32,
        /// Whether it was refused before it was in a block, so that it cost nothing.
        free: bool,
    },
    /// The operation was sent and has not been seen in a block in time. It still may be.
    #[error("the operation was sent and is in no block yet: ask again")]
    Late {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The relay's node cannot be asked, or does not prove what it says.
    #[error("the relay cannot see the chain now")]
    NoChain {
        /// Why, for the relay's log.
        source: Box<rpc::Error>,
    },
    /// A store failed.
    #[error("the relay cannot store now")]
    Store {
        /// Why, for the relay's log.
        reason: String,
    },

    /// A file of the home is missing or damaged.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: genesis::Error,
    },
    /// `relay.toml` says something that this program does not know.
    #[error("{} is not a relay's configuration: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key of the access tokens cannot be read.
    #[error("{} does not hold a key: 64 hexadecimal digits", path.display())]
    TokensKey {
        /// The file.
        path: PathBuf,
    },
    /// A database was made by another version, or is none.
    #[error("{} cannot be opened: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The account has less than a log's bond.
    #[error("the account {owner} has {found}, and a log needs a bond of {needed}: transfer to it first")]
    NoBond {
        /// The account.
        owner: Address,
        /// Its balance.
        found: Amount,
        /// The bond.
        needed: Amount,
    },
    /// The relay's log was retired or has another key on the chain.
    #[error("the relay's log on the chain is not the one in its home: {what}")]
    Log {
        /// What differs.
        what: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {reason}")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the system says.
        reason: String,
    },
    /// Another log was asked for, and the relay's own goes on.
    #[error("the relay's log {log} agrees with the chain and goes on: another one costs a bond, and everybody signs in anew")]
    Sound {
        /// The log.
        log: LogId,
    },
    /// No bond of a retired log can come back yet.
    #[error("the bond of the log {log} is held until block {until}; the chain has come to {tip}")]
    BondHeld {
        /// The one that comes back first.
        log: LogId,
        /// The first block that may give it back.
        until: Height,
        /// The chain's last block, as far as it is proven.
        tip: Height,
    },
    /// A part of the relay ended that must not.
    #[error("the relay's {part} ended: {reason}")]
    Ended {
        /// Which part.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Malformed { .. } => 7001,
            Self::WrongType => 7002,
            Self::TooLarge { .. } => 7003,
            Self::NoSuchPath => 7004,
            Self::NoSuchMethod => 7005,
            Self::TooSlow => 7006,
            Self::NoToken => 7011,
            Self::BadToken => 7012,
            Self::ExpiredToken => 7013,
            Self::EndedSession => 7014,
            Self::BadSignIn => 7015,
            Self::BadRefresh => 7016,
            Self::ReusedRefresh => 7017,
            Self::NotYours => 7018,
            Self::Closed => 7021,
            Self::BadInvitation => 7022,
            Self::NoIdentity => 7023,
            Self::Deactivated => 7024,
            Self::Operation(_) => 7025,
            Self::WrongOperation => 7026,
            Self::NoAccount => 7027,
            Self::BudgetSpent { .. } => 7031,
            Self::IdentityBudgetSpent { .. } => 7032,
            Self::TooManyRegistrations { .. } => 7033,
            Self::TooManyAttempts { .. } => 7034,
            Self::TooManyBundles { .. } => 7035,
            Self::Busy { .. } => 7036,
            Self::WrongIdentityKey => 7041,
            Self::BadPrekey { .. } => 7042,
            Self::TooManyPrekeys { .. } => 7043,
            Self::NoPrekeys => 7044,
            Self::NoLeaf => 7045,
            Self::Refused { .. } => 7051,
            Self::Late { .. } => 7052,
            Self::NoChain { .. } => 7053,
            Self::Store { .. } => 7061,
            Self::File { .. } => 7091,
            Self::Config { .. } => 7092,
            Self::TokensKey { .. } => 7093,
            Self::Database { .. } => 7094,
            Self::NoBond { .. } => 7095,
            Self::Log { .. } => 7096,
            Self::Listen { .. } => 7097,
            Self::Ended { .. } => 7098,
            Self::Sound { .. } => 7099,
            Self::BondHeld { .. } => 7100,
        }
    }

    /// In how many milliseconds it makes sense to try again, where it does.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::BudgetSpent { retry_after_ms }
            | Self::IdentityBudgetSpent { retry_after_ms }
            | Self::TooManyRegistrations { retry_after_ms }
            | Self::TooManyAttempts { retry_after_ms }
            | Self::TooManyBundles { retry_after_ms }
            | Self::Busy { retry_after_ms }
            | Self::Late { retry_after_ms } => Some(*retry_after_ms),
            Self::NoChain { .. } | Self::Store { .. } => Some(1_000),
            _ => None,
        }
    }

    /// What the chain's client says, as the person who asked is told.
    #[must_use]
    pub fn chain(error: rpc::Error) -> Self {
        match error {
            rpc::Error::Transaction { codespace, number, height, .. } => Self::Refused { codespace, number, free: height.is_none() },
            rpc::Error::Timeout { .. } => Self::Late { retry_after_ms: 2_000 },
            other => Self::NoChain { source: Box::new(other) },
        }
    }

    /// For `map_err`, with the file that it is about.
    pub(crate) fn file(path: &Path) -> impl FnOnce(genesis::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }

    /// A store failed.
    pub(crate) fn store(error: impl std::fmt::Display) -> Self {
        Self::Store { reason: error.to_string() }
    }

    /// An identity is not what it must be to have an account.
    pub(crate) fn of_entry(entry: Option<identity::Entry>) -> Result<identity::Entry, Self> {
        match entry {
            None => Err(Self::NoIdentity),
            Some(entry) if entry.is_deactivated() => Err(Self::Deactivated),
            Some(entry) => Ok(entry),
        }
    }
}

impl From<rpc::Error> for Error {
    fn from(error: rpc::Error) -> Self {
        Self::chain(error)
    }
}
