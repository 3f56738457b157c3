//! What a device tells whoever listens.

use mailbox::Address;
use mailbox::frame::Kind;
use serde::Serialize;
use uuid::Uuid;

use crate::contact::Note;
use crate::history::Message;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The session stands.
    Connected,
    /// The session ended; it is tried again.
    Disconnected {
        /// The number of why.
        code: u32,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in_ms: u64,
    },
    /// The chain proves that this device is not one of its identity any more: it was removed, or the identity has
    /// ended. It does not connect again; nothing follows.
    Removed,
    /// The mailbox at the relay is empty for now.
    CaughtUp,
    /// A message is in the store: received, sent from another device of this identity, or unreadable.
    Message {
        /// The message.
        message: Box<Message>,
    },
    /// The relay has a message on disk: one tick.
    Accepted {
        /// The message.
        message_id: Uuid,
    },
    /// A device of the other side has a message, or its person has read it: two ticks.
    Receipt {
        /// The message.
        message_id: Uuid,
        /// Delivered or read.
        kind: Kind,
        /// Who says so.
        by: Address,
    },
    /// A message is not sent now. It stays in the outbox, and is tried again.
    Waiting {
        /// The message.
        message_id: Uuid,
        /// The number of why.
        code: u32,
        /// Why.
        reason: String,
    },
    /// The relay will not take a message.
    Refused {
        /// The message.
        message_id: Uuid,
        /// The number of why.
        code: u32,
        /// Why.
        reason: String,
    },
    /// The relay accepted something else than what was sent under this id.
    OtherAccepted {
        /// The message.
        message_id: Uuid,
    },
    /// A contact's keys changed.
    Changed {
        /// What was noted.
        note: Note,
    },
    /// Messages were not fetched in time: the relay has deleted them.
    Lost {
        /// The first number that is gone.
        from: u64,
        /// The last.
        to: u64,
    },
}
