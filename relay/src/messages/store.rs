//! What a store of messages can do. One implementation is RocksDB ([`super::Rocks`]); `suite` in
//! the tests is what each of them must pass.
//!
//! There is one writer, which gives whole groups to [`Store::commit`]; anybody may read meanwhile.
//! Bounds: a group has at most [`super::GROUP_ITEMS`] writes; what a read or a sweep may touch, its caller says.

use audit::SignedAnchor;
use mailbox::frame::{AcceptedItem, Acknowledge};
use mailbox::queue::Ahead;
use mailbox::{Address, Refusal};
use types::{Hash, Millis};
use uuid::Uuid;

/// Something that is to become durable.
#[derive(Debug)]
pub enum Write {
    /// A submission that was checked.
    Submit(Box<Entry>),
    /// A submission that was refused, unless it was stored before: then its answer is given again.
    Recall(Box<Recall>),
    /// A device opens a session and says up to which number it has stored everything.
    Resume {
        /// Which device.
        of: Address,
        /// Which number.
        claimed: u64,
    },
    /// What a device has.
    Acknowledge {
        /// Which device.
        of: Address,
        /// Which numbers.
        acknowledge: Acknowledge,
    },
    /// What was stored before a time is let go: ids are forgotten, copies that nobody fetched go.
    Expire {
        /// The time.
        before: Millis,
        /// At most this many messages.
        most: usize,
    },
    /// A batch is sealed.
    Seal(Box<Seal>),
    /// The chain has the anchors up to this sequence.
    Complete {
        /// The sequence.
        sequence: u64,
        /// When this was seen.
        at: Millis,
    },
    /// Batches that were anchored before a time are let go.
    Forget {
        /// The time.
        before: Millis,
        /// At most this many batches.
        most: usize,
    },
}

/// A submission on its way into mailboxes.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who sends it.
    pub from: Address,
    /// Its id: with the sender's address it names the message.
    pub message_id: Uuid,
    /// Hash of all of the submission: the same id with another one is another message.
    pub fingerprint: Hash,
    /// When the relay took it.
    pub received: Millis,
    /// What the sender is told once it is stored.
    pub answer: AcceptedItem,
    /// Its leaf; in a message, not in a receipt.
    pub leaf: Option<Hash>,
    /// One copy for each device, as the mailbox keeps it.
    pub copies: Vec<(Address, Vec<u8>)>,
}

impl Entry {
    /// About how many bytes its write has.
    #[must_use]
    pub fn weight(&self) -> usize {
        256 + self.copies.iter().map(|(_, copy)| copy.len() + 128).sum::<usize>()
    }
}

/// A submission that was refused.
#[derive(Debug, Clone)]
pub struct Recall {
    /// Who sent it.
    pub from: Address,
    /// Its id.
    pub message_id: Uuid,
    /// As in [`Entry`].
    pub fingerprint: Hash,
    /// Why it was refused.
    pub otherwise: Refusal,
}

/// A batch with the anchor that is to be sent.
#[derive(Debug, Clone)]
pub struct Seal {
    /// The anchor. Its sequence is one above the last.
    pub anchor: SignedAnchor,
    /// The number after the last leaf of the batch; it begins at [`LogState::sealed_leaves`].
    pub end: u64,
    /// All leaves of the batch, padding included, ascending.
    pub leaves: Vec<Hash>,
}

/// What became of a write. A refused one has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Stored, now or before.
    Accepted(AcceptedItem),
    /// Not stored.
    Refused(Refusal),
    /// What the device has is deleted.
    Resumed {
        /// Up to this number the mailbox holds nothing.
        acknowledged: u64,
    },
    /// The device has more than this mailbox ever gave.
    Ahead(Ahead),
    /// Done.
    Done {
        /// Whether a sweep left something to do.
        more: bool,
    },
    /// A batch that does not follow the last one, is for other leaves, or is one more than may be on their way.
    OutOfOrder,
}

/// What was read out of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the order of their numbers.
    pub items: Vec<mailbox::frame::Delivery>,
    /// Whether more follow.
    pub more: bool,
}

/// How many batches at most are sealed while the chain is not seen to have their anchors.
pub const ON_THE_WAY: u64 = 4;

/// How far the log of batches is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// How many batches stand under the logs before this one, whose sequences began at 1 as well.
    pub before: u64,
    /// The sequence of the last batch that was sealed; 0 if none was.
    pub sealed: u64,
    /// The sequence of the last batch whose anchor the chain has: from `sealed` - [`ON_THE_WAY`] to `sealed`.
    pub anchored: u64,
    /// The hash of the last sealed batch's anchor.
    pub last: Hash,
    /// When the last batch was closed.
    pub closed: Millis,
    /// How many leaves are in sealed batches, padding not counted.
    pub sealed_leaves: u64,
    /// How many leaves there are, padding not counted.
    pub leaves: u64,
}

impl LogState {
    /// How many anchors are on their way.
    #[must_use]
    pub const fn on_the_way(&self) -> u64 {
        self.sealed - self.anchored
    }

    /// The number of the batch of a sequence, counted from 1 over all logs of the store.
    #[must_use]
    pub const fn number(&self, sequence: u64) -> u64 {
        self.before + sequence
    }

    /// How many leaves are in no batch yet.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.leaves - self.sealed_leaves
    }
}

/// A batch that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its anchor.
    pub anchor: SignedAnchor,
    /// The number of its first leaf, from 0.
    pub first: u64,
    /// The number after its last leaf.
    pub end: u64,
    /// When the chain was seen to have the anchor.
    pub anchored: Option<Millis>,
}
types::codec!(Sealed { anchor, first, end, anchored });

/// Where a leaf stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In no batch yet.
    Stored,
    /// In the batch of this number ([`LogState::number`]).
    Batch(u64),
}

/// Where a read may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In memory only: the answer is there at once, or not at all.
    Memory,
    /// Wherever it is: the thread may wait for a disk.
    Disk,
}

/// A store of messages. Every method may block but [`Store::read`] with [`Reach::Memory`].
pub trait Store: Send + Sync + 'static {
    /// Makes all of it durable in one write, in order, and says what became of each; or nothing of
    /// it, with an error, after which the store must not be written to any more.
    ///
    /// A submission's copies get the next numbers of their mailboxes, and its leaf the next
    /// number of the leaves. A submission that does not fit a mailbox is stored in none.
    ///
    /// # Errors
    /// When it is not known to be durable.
    fn commit(&self, group: &[Write]) -> Result<Vec<Answer>, Error>;

    /// Has another log begin, in one write that is durable: of this one the chain has the anchors up to the sequence
    /// `anchored`, as was seen `at`. Batches above it are taken apart, and their leaves wait again. Repeated with nothing
    /// sealed since, it changes nothing. Only while nobody else writes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `anchored` is below what was completed or above what was sealed; when it is not known to be
    /// durable.
    fn begin_log(&self, anchored: u64, at: Millis) -> Result<(), Error>;

    /// What a mailbox holds above a number: at most `items`, and no more after `bytes` of content
    /// are reached. `None` if it cannot be had within `reach`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read(&self, of: &Address, after: u64, items: u32, bytes: u32, reach: Reach) -> Result<Option<Page>, Error>;

    /// Where a leaf stands; `None` if it is not one of this store's, or was let go.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn place(&self, leaf: &Hash) -> Result<Option<Place>, Error>;

    /// The oldest leaves that are in no batch, at most so many, in the order of their numbers.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn unsealed(&self, most: usize) -> Result<Vec<Hash>, Error>;

    /// How far the log of batches is.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn log(&self) -> Result<LogState, Error>;

    /// A sealed batch by its number ([`LogState::number`]); `None` if it was let go. One of padding only is let go once it
    /// is anchored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn batch(&self, number: u64) -> Result<Option<Sealed>, Error>;

    /// All leaves of a sealed batch, padding included, ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn leaves(&self, number: u64) -> Result<Option<Vec<Hash>>, Error>;
}

/// Why a store cannot serve.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database cannot be opened.
    #[error("the database {path} cannot be opened: {reason}")]
    Open {
        /// The folder.
        path: String,
        /// What it says.
        reason: String,
    },
    /// It has another format.
    #[error("the database has format {found}, this program needs {expected}: use the program that wrote it")]
    Format {
        /// Its format.
        found: u64,
        /// The program's.
        expected: u64,
    },
    /// The database cannot be read or written.
    #[error("the database fails: {0}. Check the disk; nothing is written until the relay is started again")]
    Broken(String),
    /// What it holds is not what was written.
    #[error("the database holds something else than was written: {what}")]
    Corrupt {
        /// What was read.
        what: &'static str,
    },
    /// The relay stops, or a write has failed before.
    #[error("nothing is written any more")]
    Closed,
}

impl Error {
    /// The stable number of this reason: `docs/errors.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Open { .. } => 7101,
            Self::Format { .. } => 7102,
            Self::Broken(_) => 7103,
            Self::Corrupt { .. } => 7104,
            Self::Closed => 7105,
        }
    }
}
