//! What a person sees of their messages.

use audit::leaf::{EnvelopePart, leaf};
use audit::{Commitment, Opening};
use identity::Did;
use mailbox::Address;
use mailbox::frame::Kind;
use serde::Serialize;
use types::{Hash, Millis};
use uuid::Uuid;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored on this device, and not yet promised by the relay: no tick.
    Queued,
    /// On the relay's disk: one tick. With a delivered receipt of a device of the recipient: two.
    Accepted,
    /// The relay will not take it.
    Refused,
    /// It came, and was read by this device.
    Received,
    /// It came, and could not be read or believed; the reason stands beside it.
    Unreadable,
}

impl State {
    /// The stable name, as the store keeps it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Unreadable => "unreadable",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Queued, Self::Accepted, Self::Refused, Self::Received, Self::Unreadable].into_iter().find(|state| state.name() == name)
    }
}

/// What a device of the other side said about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Who.
    pub did: Did,
    /// Which device.
    pub device: u16,
    /// Delivered or read.
    pub kind: Kind,
    /// When, by that device's clock.
    pub at: Millis,
}

/// A message of a conversation.
#[derive(Clone, PartialEq, Serialize)]
pub struct Message {
    #[serde(skip)]
    pub(crate) row: i64,
    /// The other side of the conversation.
    pub peer: Did,
    /// The message's id.
    pub message_id: Uuid,
    /// Who sent it, from which device.
    pub sender: Address,
    /// Whether this identity sent it.
    pub outgoing: bool,
    /// What it says; empty if it could not be read.
    pub text: String,
    /// When it was sent, by the sender's clock.
    pub sent: Millis,
    /// When this device stored it.
    pub stored: Millis,
    /// Where it stands.
    pub state: State,
    /// The number of why it is refused, unreadable, or still queued.
    pub code: Option<u32>,
    /// Why it is refused, unreadable, or still queued.
    pub reason: Option<String>,
    /// `holds`, `other_commitment` or `other_content`: whether the commitment that the relay passed on is of
    /// this message.
    pub integrity: Option<String>,
    /// What opens the commitment. Whoever has it can show what was written.
    pub opening: Option<Opening>,
    /// The commitment.
    pub commitment: Option<Commitment>,
    /// The relay's half of the leaf.
    pub envelope: Option<EnvelopePart>,
    /// Whether a finished proof is kept.
    pub proven: bool,
    /// Whether this identity has read it.
    pub read: bool,
    /// What devices of the other side said about it.
    pub receipts: Vec<Receipt>,
}

impl Message {
    /// The message's leaf, by which its proof is asked for; none before the relay has accepted it.
    #[must_use]
    pub fn leaf(&self) -> Option<Hash> {
        Some(leaf(self.commitment.as_ref()?, &self.envelope.as_ref()?.sealed()))
    }

    /// Whether a device of the other side has said that it has the message, or that it was read.
    #[must_use]
    pub fn has_receipt(&self, kind: Kind) -> bool {
        self.receipts.iter().any(|receipt| receipt.kind == kind)
    }
}

impl std::fmt::Debug for Message {
    /// Where it stands, and nothing of what it says or to whom.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("outgoing", &self.outgoing).field("state", &self.state).finish_non_exhaustive()
    }
}
