//! What can go wrong on a person's device. [`Error::code`] is stable: `docs/errors.md`.

use std::path::PathBuf;

use types::{ChainId, DecodeError};
use uuid::Uuid;

use crate::contact::Mismatch;
use crate::{envelope, kit, signal};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read or written.
    #[error("the store: {0}")]
    Store(#[from] sqlx::Error),
    /// The passphrase does not open the store.
    #[error("the passphrase does not open this store (or the file is not a store)")]
    WrongPassphrase,
    /// The passphrase is empty, or has a zero byte.
    #[error("a passphrase has at least one letter, and no zero byte")]
    Passphrase,
    /// There is a store already.
    #[error("{} holds a device already", .0.display())]
    StoreExists(PathBuf),
    /// There is no store.
    #[error("{} holds no device", .0.display())]
    NoStore(PathBuf),
    /// The store was written by a newer program.
    #[error("the store has version {found}, this program knows {known}")]
    StoreVersion {
        /// The store's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What this device wrote does not read.
    #[error("the store is damaged: a {what} does not read: {source}")]
    StoreDamaged {
        /// What.
        what: &'static str,
        /// Why.
        source: DecodeError,
    },
    /// What this device wrote does not read.
    #[error("the store is damaged: a {what} does not read")]
    StoreText {
        /// What.
        what: &'static str,
    },
    /// The system could not read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process is connected with this device.
    #[error("another process is connected with this device: {0}")]
    Busy(#[source] genesis::Error),

    /// The address is not a gateway's.
    #[error("{0} is not the address of a gateway (such as http://127.0.0.1:8080)")]
    Url(String),
    /// Nobody answers.
    #[error("no answer from the gateway: {reason}")]
    Unreachable {
        /// What the system says.
        reason: String,
    },
    /// The relay refuses.
    #[error("the relay refuses ({code}): {title}")]
    Relay {
        /// Its number for that.
        code: u32,
        /// Its words.
        title: String,
        /// The HTTP status.
        status: u16,
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
    /// What answers there is not a relay of this version.
    #[error("the answer to {what} is not a relay's: {fault}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The relay is on another chain than the one that is trusted.
    #[error("the relay is on chain {found}, trusted is {trusted}")]
    OtherChain {
        /// The relay's.
        found: ChainId,
        /// The trusted one.
        trusted: ChainId,
    },
    /// The relay closed the session.
    #[error("the relay closed the session ({code}): {reason}")]
    Closed {
        /// The WebSocket's close code, or the problem's number.
        code: u32,
        /// Its words.
        reason: String,
    },
    /// The relay said what it may not say.
    #[error("the relay's frame is not one of this protocol: {0}")]
    Frame(#[from] mailbox::wire::Error),

    /// The chain could not be asked, or did not prove what its node says.
    #[error("the chain: {0}")]
    Chain(#[from] rpc::Error),
    /// What the relay or the node says of somebody is not what the chain proves.
    #[error("{0}")]
    Contact(#[from] Mismatch),
    /// Signal's layer refused.
    #[error("{0}")]
    Signal(#[from] signal::Refused),
    /// The inner envelope was refused.
    #[error("{0}")]
    Envelope(#[from] envelope::Refused),

    /// This device has no identity yet.
    #[error("this device has no identity yet: register, link it, or recover one")]
    NotRegistered,
    /// This device has an identity.
    #[error("this device has an identity already")]
    Registered,
    /// This device does not hold the control key.
    #[error("this device does not hold the control key: use the one that registered, or the recovery kit")]
    NoControl,
    /// The chain has other keys than this device.
    #[error("the chain has another {0} than this device: the identity was changed elsewhere")]
    Behind(&'static str),
    /// The words are no recovery kit.
    #[error("{0}")]
    Kit(#[from] kit::BadWords),
    /// The kit is not this identity's.
    #[error("the recovery kit is not this identity's, or the identity was rotated without it")]
    OtherKit,
    /// The text is not a link code.
    #[error("not a link code, or one of another chain or identity")]
    LinkCode,
    /// The link code was made before the identity changed.
    #[error("the link code is of before the identity's last change: make another")]
    LinkCodeOld,
    /// An operation could not be made.
    #[error("the operation: {0}")]
    Operation(#[from] identity::Error),

    /// There is no such message.
    #[error("there is no message {0}")]
    NoMessage(Uuid),
    /// The message has no proof, and will have none.
    #[error("message {id} cannot be proven: {why}")]
    NoProof {
        /// The message.
        id: Uuid,
        /// Why not.
        why: &'static str,
    },
    /// The message is not anchored yet.
    #[error("message {0} is not anchored yet: try again in a moment")]
    NotAnchored(Uuid),
    /// What the relay shows is not the way from the message's leaf to its anchor.
    #[error("the relay's proof of message {id} does not hold: {fault}")]
    BadProof {
        /// The message.
        id: Uuid,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The message is too long for that many devices.
    #[error("the message is too long for that many devices: {found} bytes, {bound} fit into a frame")]
    TooLarge {
        /// Its frame's bytes.
        found: usize,
        /// The bound.
        bound: usize,
    },
    /// It was not done in time; it may still be.
    #[error("{what} took longer than {after_s} s; it may still happen")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        after_s: u64,
    },
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Store(_) => 8001,
            Self::WrongPassphrase => 8002,
            Self::Passphrase => 8003,
            Self::StoreExists(_) => 8004,
            Self::NoStore(_) => 8005,
            Self::StoreVersion { .. } => 8006,
            Self::StoreDamaged { .. } | Self::StoreText { .. } => 8007,
            Self::Io { .. } => 8008,
            Self::Busy(_) => 8009,
            Self::Url(_) => 8101,
            Self::Unreachable { .. } => 8102,
            Self::Relay { .. } => 8103,
            Self::Answer { .. } => 8104,
            Self::OtherChain { .. } => 8105,
            Self::Closed { .. } => 8106,
            Self::Frame(_) => 8107,
            Self::Chain(_) => 8108,
            Self::NotRegistered => 8201,
            Self::Registered => 8202,
            Self::NoControl => 8203,
            Self::Behind(_) => 8204,
            Self::Kit(_) => 8205,
            Self::OtherKit => 8206,
            Self::LinkCode => 8207,
            Self::LinkCodeOld => 8208,
            Self::Operation(_) => 8209,
            Self::NoMessage(_) => 8210,
            Self::NoProof { .. } => 8211,
            Self::NotAnchored(_) => 8212,
            Self::BadProof { .. } => 8213,
            Self::TooLarge { .. } => 8214,
            Self::Timeout { .. } => 8215,
            Self::Contact(mismatch) => mismatch.code(),
            Self::Signal(refused) => refused.code(),
            Self::Envelope(refused) => refused.code(),
        }
    }

    /// Whether trying again later may help, without anybody doing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Frame(_)
            | Self::Answer { .. }
            | Self::Store(_) => true,
            Self::Relay { status, .. } => *status == 429 || *status >= 500,
            // A node that lags or lies is as bad as none: nothing is sent or read by it.
            Self::Chain(_) => true,
            Self::Contact(mismatch) => matches!(mismatch, Mismatch::OldHeader { .. } | Mismatch::Older { .. }),
            _ => false,
        }
    }
}
