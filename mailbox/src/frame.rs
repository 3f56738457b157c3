//! What a device and its relay say to each other over a WebSocket.
//!
//! A frame is `{"type": …, "payload": {…}}`. Unknown fields and types are refused, so that a newer
//! device does not believe that an older relay understood it. The bounds below are held by
//! [`wire`](crate::wire), at the door.

use std::fmt;

use audit::{Commitment, SizeClass};
use identity::Did;
use serde::{Deserialize, Serialize};
use types::{Hash, Millis};
use uuid::Uuid;

use crate::bytes::Bytes;

/// The most devices that one message can be for: 16 of the recipient, 15 others of the sender.
pub const MAX_CONTENTS: usize = 31;

/// The most bytes that one device's ciphertext can have: 96 KiB, as Signal's server takes.
pub const MAX_CONTENT: usize = 96 * 1024;

/// The most items in a frame that carries a list.
pub const MAX_ITEMS: usize = 64;

/// The most numbers that an acknowledgement can name one by one.
pub const MAX_SELECTED: usize = 256;

/// The most bytes of an access token.
pub const MAX_TOKEN: usize = 2_048;

/// The most bytes of a text for people, in a refusal or a problem.
pub const MAX_TEXT: usize = 512;

/// The largest number in a frame, 2^53 - 1: beyond it a double, which is what JSON's numbers are to
/// many, no longer holds each.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The largest frame either side takes, in bytes, in either form: [`MAX_CONTENTS`] small
/// ciphertexts or a few large ones.
pub const MAX_FRAME: usize = 1 << 20;

/// One device of an identity: whose mailbox it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The identity.
    pub did: Did,
    /// The device's id in the identity's entry.
    pub device: u16,
}
types::codec!(Address { did, device });

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", deny_unknown_fields)]
pub enum ClientFrame {
    /// The first frame, and no other: who this is.
    #[serde(rename = "session.open")]
    Open(Open),
    /// A message.
    #[serde(rename = "message.send")]
    Send(Submission),
    /// A device of the recipient has stored a message: a receipt, sealed like a message.
    #[serde(rename = "message.delivered")]
    Delivered(Submission),
    /// The recipient has read a message: a receipt, sealed like a message.
    #[serde(rename = "message.read")]
    Read(Submission),
    /// This device has stored what it was given: the relay deletes it.
    #[serde(rename = "message.acknowledge")]
    Acknowledge(Acknowledge),
}

/// Who opens a session, and where it goes on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// An access token; at most [`MAX_TOKEN`] bytes.
    pub token: String,
    /// The last number up to which this device has stored everything; 0 for none.
    pub acknowledged: u64,
}

impl fmt::Debug for Open {
    /// Without the token: it opens a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("acknowledged", &self.acknowledged).finish_non_exhaustive()
    }
}

/// What a message is, as far as the relay needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message: it has a commitment and becomes a leaf.
    Message,
    /// A receipt that a device stored messages.
    Delivered,
    /// A receipt that a person read messages.
    Read,
}

/// A message on its way in: one ciphertext for each device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Chosen by the sending device, a UUID of version 7. The same id again is the same message: it
    /// is answered again and stored once.
    pub message_id: Uuid,
    /// What both sides call the conversation.
    pub conversation_id: Hash,
    /// Who is to read it.
    pub recipient_id: Did,
    /// One for each device of the recipient.
    pub contents: Vec<Content>,
    /// One for each other device of the sender.
    #[serde(default)]
    pub own_contents: Vec<Content>,
    /// The commitment to the plaintext; in a message always, in a receipt never.
    pub content_hash: Option<Commitment>,
    /// When it was sent, by the sender's clock, in milliseconds since 1970.
    pub timestamp: Millis,
}

impl Submission {
    /// All its ciphertexts as one hash, for [`audit::Envelope`]: BLAKE3 over the concatenated BLAKE3
    /// hashes of the ciphertexts, `contents` and then `own_contents`, in their order.
    #[must_use]
    pub fn ciphertext_hash(&self) -> Hash {
        let mut all = blake3::Hasher::new();
        for content in self.all_contents() {
            all.update(blake3::hash(&content.encrypted_content.0).as_bytes());
        }
        Hash(*all.finalize().as_bytes())
    }

    /// How many bytes all ciphertexts have together, for [`SizeClass::of`].
    #[must_use]
    pub fn size(&self) -> u64 {
        self.all_contents().map(|content| content.encrypted_content.0.len() as u64).sum()
    }

    /// The ciphertexts: `contents`, then `own_contents`.
    pub fn all_contents(&self) -> impl Iterator<Item = &Content> {
        self.contents.iter().chain(&self.own_contents)
    }
}

/// A ciphertext for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The device's id.
    pub device_id: u16,
    /// The registration id that the device's prekeys had: another one means that the device was set
    /// up anew, and the ciphertext could not be read.
    pub registration_id: u32,
    /// Which kind of Signal message it is.
    pub form: Form,
    /// Signal's message; base64 in JSON, bytes in CBOR. At most [`MAX_CONTENT`].
    pub encrypted_content: Bytes,
}

/// Which kind of Signal message a ciphertext is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A `PreKeySignalMessage`: begins a session.
    Prekey,
    /// A `SignalMessage` of a session that stands.
    Ratchet,
}

/// What a device has stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Everything up to and with this number.
    pub upto: u64,
    /// And these, which are above it; ascending, at most [`MAX_SELECTED`].
    #[serde(default)]
    pub also: Vec<u64>,
}

/// What a relay says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", deny_unknown_fields)]
pub enum ServerFrame {
    /// The answer to `session.open`.
    #[serde(rename = "session.opened")]
    Opened(Opened),
    /// The messages are on disk, with their leaves.
    #[serde(rename = "message.accepted")]
    Accepted(Accepted),
    /// The message was not taken, and nothing was stored.
    #[serde(rename = "message.refused")]
    Refused(Refused),
    /// Messages of this device's mailbox, in the order of their numbers.
    #[serde(rename = "message.received")]
    Received(Received),
    /// The mailbox holds nothing more for now.
    #[serde(rename = "queue.empty")]
    Empty(Empty),
    /// Too much, too fast: what was said before this is taken, more is not read for a while.
    #[serde(rename = "slow_down")]
    SlowDown(SlowDown),
    /// One-time prekeys run low.
    #[serde(rename = "prekeys.low")]
    PrekeysLow(PrekeysLow),
    /// Why the relay closes the session.
    #[serde(rename = "error")]
    Error(Problem),
}

/// The session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Whose session it is.
    pub address: Address,
    /// The relay's clock.
    pub time: Millis,
    /// The mailbox holds nothing up to this number: delivery goes on above it. Where it is above
    /// what the device said it has, messages in between were not fetched in time and are gone.
    pub acknowledged: u64,
    /// How many received items may be without acknowledgement before the relay waits.
    pub max_unacknowledged: u32,
    /// The largest frame, in bytes.
    pub max_frame: u32,
}

/// Messages that are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// At most [`MAX_ITEMS`].
    pub items: Vec<AcceptedItem>,
}

/// One message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedItem {
    /// The message.
    pub message_id: Uuid,
    /// What the relay saw, with its salt: it opens the envelope half of the leaf. In a receipt's
    /// answer there is none.
    pub envelope: Option<SeenEnvelope>,
}

/// What the relay saw of a message: see [`audit::Envelope`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenEnvelope {
    /// [`Submission::ciphertext_hash`].
    pub ciphertext: Hash,
    /// When the relay stored it, by its clock.
    pub received: Millis,
    /// How large all ciphertexts are together, coarsely.
    pub size_class: SizeClass,
    /// The relay's salt: 32 bytes.
    pub salt: Hash,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The message.
    pub message_id: Uuid,
    /// The reason. Not flattened: serde would then take unknown fields.
    pub refusal: Refusal,
}

/// Why something was refused: a closed list. The number is [`Refusal::code`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", content = "detail", rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// The message has not one ciphertext for each device.
    #[error("the devices of {did} are others than the message is for")]
    Devices {
        /// Whose devices: the recipient's, or the sender's own.
        did: Did,
        /// Devices that the message leaves out.
        missing: Vec<u16>,
        /// Devices that the message is for and that there are not.
        extra: Vec<u16>,
        /// Devices that have been set up anew since.
        stale: Vec<u16>,
    },
    /// There is no such account here.
    #[error("there is no account {did} on this relay")]
    NoAccount {
        /// The recipient.
        did: Did,
    },
    /// The account has no device that takes messages.
    #[error("{did} has no device that takes messages")]
    NoDevices {
        /// The recipient.
        did: Did,
    },
    /// The recipient's mailbox is full.
    #[error("the mailbox of {did} is full")]
    Full {
        /// The recipient.
        did: Did,
    },
    /// Too many messages: again after this time.
    #[error("too many messages, again in {retry_after_ms} ms")]
    TooMany {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The message is not one that may be sent.
    #[error("not a message: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// The id was used for another message.
    #[error("the id was used for another message")]
    IdReused,
    /// The relay cannot store now; nothing is known to be lost.
    #[error("the relay cannot store messages now")]
    Unavailable,
}

impl Refusal {
    /// The refusal's number: stable.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Devices { .. } => 2001,
            Self::NoAccount { .. } => 2002,
            Self::NoDevices { .. } => 2003,
            Self::Full { .. } => 2004,
            Self::TooMany { .. } => 2005,
            Self::Malformed { .. } => 2006,
            Self::IdReused => 2007,
            Self::Unavailable => 2008,
        }
    }
}

/// Messages of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// By ascending number, at most [`MAX_ITEMS`].
    pub items: Vec<Delivery>,
}

/// One message of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Its number in this device's mailbox: from 1, without a gap.
    pub sequence: u64,
    /// What it is.
    pub kind: Kind,
    /// As the sender chose it.
    pub message_id: Uuid,
    /// As the sender chose it.
    pub conversation_id: Hash,
    /// Who sent it, as the relay knows from the sender's session.
    pub sender_id: Did,
    /// From which device.
    pub sender_device_id: u16,
    /// To whom: this identity, or another in a copy for the sender's own devices.
    pub recipient_id: Did,
    /// Which kind of Signal message it is.
    pub form: Form,
    /// Signal's message.
    pub encrypted_content: Bytes,
    /// The commitment that the sender gave; in a message always.
    pub content_hash: Option<Commitment>,
    /// When it was sent, by the sender's clock.
    pub timestamp: Millis,
    /// When the relay stored it.
    pub received_at: Millis,
    /// The sealed envelope half of the leaf; in a message always. With the commitment it gives the
    /// leaf, by which the proof is asked for.
    pub sealed_envelope: Option<Hash>,
}

/// Nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// When to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowDown {
    /// Milliseconds.
    pub retry_after_ms: u64,
}

/// How many one-time prekeys are left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrekeysLow {
    /// X25519.
    pub one_time: u32,
    /// Kyber.
    pub one_time_kyber: u32,
}

/// Why the relay closes the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// A stable number: `docs/errors.md`.
    pub code: u32,
    /// What is wrong, for people.
    pub message: String,
}
