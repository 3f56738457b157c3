//! The inner envelope: what a message is once Signal's layer is off.
//!
//! Signal's library at v0.85.3 does not bind addresses into what it authenticates, and the relay names
//! the sender of each delivery. So the sender writes down who writes to whom, from and to which device, in
//! which conversation and under which id, inside the ciphertext; the receiver compares all of it with
//! what the relay said. With it goes the opening of the commitment, so that the receiver can recompute it.
//!
//! `docs/spec/envelope.md` is the format's page.

use audit::commitment::Body;
use audit::{Commitment, Opening};
use identity::Did;
use mailbox::Address;
use mailbox::frame::{Delivery, Kind};
use types::{ChainId, Decode, DecodeError, Domain, Encode, Hash, List, Millis, Reader, Text};
use uuid::Uuid;

/// The most bytes of UTF-8 that a message's text can have.
pub const MAX_TEXT: usize = 63 << 10;

/// The most messages that one receipt can name.
pub const MAX_RECEIPTS: usize = 64;

/// What a padded envelope can measure, in bytes. The relay sees which of them, and no more.
pub const SIZES: [usize; 5] = [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];

const VERSION: u8 = 1;

/// The byte after the envelope, before the zeros.
const END: u8 = 0x80;

static CONVERSATION: Domain = Domain::new("zynk.2026 conversation v1");

/// What two people's conversation is called, by both: the hash of the chain and the two identifiers, the
/// lesser first, in the domain `conversation`. With oneself, the identifier stands twice.
#[must_use]
pub fn conversation(chain: &ChainId, one: &Did, other: &Did) -> Hash {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    CONVERSATION.hash(&[&chain.to_bytes(), &first.0, &second.0])
}

/// BLAKE3 of a text's UTF-8: what a [`Body::Message`] commits to.
#[must_use]
pub fn content_hash(text: &str) -> Hash {
    Hash(*blake3::hash(text.as_bytes()).as_bytes())
}

/// What one device says to one device.
///
/// Bytes: the version (1 byte, the value 1), then the fields in order; a UUID is its 16 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who writes, from which device.
    pub from: Address,
    /// Which device this copy is for: one of the recipient, or another one of the sender.
    pub to: Address,
    /// Who is written to.
    pub recipient: Did,
    /// [`conversation`] of the sender and the recipient.
    pub conversation: Hash,
    /// The submission's id.
    pub message_id: Uuid,
    /// When it was sent, by the sender's clock.
    pub sent: Millis,
    /// What is said.
    pub content: Content,
}

/// What is said. A tag byte, then the fields in order.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// 1: a message.
    Message {
        /// What opens the submission's commitment.
        opening: Opening,
        /// The text.
        text: Text<MAX_TEXT>,
    },
    /// 2: the sending device has stored these messages.
    Delivered(List<MessageId, MAX_RECEIPTS>),
    /// 3: the person who sends this has read these messages.
    Read(List<MessageId, MAX_RECEIPTS>),
}

/// A message's id inside an envelope: the 16 bytes of a UUID.
pub type MessageId = [u8; 16];

impl Content {
    /// What the relay is told that this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Message { .. } => Kind::Message,
            Self::Delivered(_) => Kind::Delivered,
            Self::Read(_) => Kind::Read,
        }
    }
}

impl std::fmt::Debug for Envelope {
    /// Its kind only: the rest is somebody's message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("kind", &self.content.kind()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Content").field(&self.kind()).finish()
    }
}

/// Why a decrypted envelope was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bytes are no envelope.
    #[error("what was decrypted is no envelope: {0}")]
    Malformed(#[from] DecodeError),
    /// The padding is not as it must be.
    #[error("what was decrypted is not padded to one of the sizes")]
    Padding,
    /// The relay says one thing and the sender another.
    #[error("the sender's {what} inside the message is not what the relay says")]
    Differs {
        /// What differs.
        what: &'static str,
    },
    /// The text is too long for the largest size.
    #[error("a text of {found} bytes is longer than {MAX_TEXT}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
}

impl Refused {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Malformed(_) => 8501,
            Self::Padding => 8502,
            Self::Differs { .. } => 8503,
            Self::TooLong { .. } => 8504,
        }
    }
}

/// Whether a message's commitment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Integrity {
    /// The opening is of this text, and it opens the commitment that the relay passed on.
    Holds,
    /// The relay passed on another commitment than the sender opened: the relay's leaf is not of
    /// this message.
    OtherCommitment,
    /// The sender opened a commitment to something else than this message.
    OtherContent,
}

impl Integrity {
    /// The stable name, as the store keeps it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::OtherCommitment => "other_commitment",
            Self::OtherContent => "other_content",
        }
    }
}

impl Envelope {
    /// The padded bytes: what is given to Signal's layer.
    ///
    /// # Panics
    /// Never: the bounds of the fields keep an envelope below the largest size.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        bytes.push(END);
        let size = SIZES.into_iter().find(|size| *size >= bytes.len()).expect("the bounds of the fields keep it below the largest size");
        bytes.resize(size, 0);
        bytes
    }

    /// Reads padded bytes.
    ///
    /// # Errors
    /// [`Refused::Padding`], [`Refused::Malformed`].
    pub fn open(padded: &[u8]) -> Result<Self, Refused> {
        let end = padded.iter().rposition(|byte| *byte != 0).filter(|end| padded[*end] == END).ok_or(Refused::Padding)?;
        let least = SIZES.into_iter().find(|size| *size > end);
        if least != Some(padded.len()) {
            return Err(Refused::Padding);
        }
        Ok(Self::from_bytes(&padded[..end])?)
    }

    /// Compares what the sender wrote with what the relay said. `to` is the device that reads.
    ///
    /// # Errors
    /// [`Refused::Differs`] with what does.
    pub fn check(&self, chain: &ChainId, delivery: &Delivery, to: &Address) -> Result<(), Refused> {
        let from = Address { did: delivery.sender_id, device: delivery.sender_device_id };
        let fits = [
            (self.from.did == from.did, "identity"),
            (self.from.device == from.device, "device"),
            (self.to == *to, "addressed device"),
            (self.recipient == delivery.recipient_id, "recipient"),
            (self.recipient == to.did || self.from.did == to.did, "recipient"),
            (self.conversation == conversation(chain, &self.from.did, &self.recipient), "conversation"),
            (self.conversation == delivery.conversation_id, "conversation"),
            (self.message_id == delivery.message_id, "message id"),
            (self.sent == delivery.timestamp, "time"),
            (self.content.kind() == delivery.kind, "kind"),
        ];
        match fits.into_iter().find(|(fits, _)| !fits) {
            Some((_, what)) => Err(Refused::Differs { what }),
            None => Ok(()),
        }
    }

    /// Recomputes the commitment out of the opening and the text, and compares it with `passed_on`, the
    /// relay's word. `None` for what has no commitment.
    #[must_use]
    pub fn integrity(&self, passed_on: Option<&Commitment>) -> Option<Integrity> {
        let Content::Message { opening, text } = &self.content else { return None };
        let of_this = match &opening.body {
            Body::Message { conversation, sent, content, .. } => {
                (*conversation, *sent, *content) == (self.conversation, self.sent, content_hash(text))
            }
            Body::File { .. } => false,
        };
        Some(match passed_on {
            _ if !of_this => Integrity::OtherContent,
            Some(commitment) if *commitment == opening.commitment() => Integrity::Holds,
            _ => Integrity::OtherCommitment,
        })
    }
}

/// The text of a message, within its bound.
///
/// # Errors
/// [`Refused::TooLong`].
pub fn text(text: &str) -> Result<Text<MAX_TEXT>, Refused> {
    Text::try_from(text).map_err(|_| Refused::TooLong { found: text.len() })
}

impl Encode for Envelope {
    fn encode(&self, out: &mut Vec<u8>) {
        VERSION.encode(out);
        self.from.encode(out);
        self.to.encode(out);
        self.recipient.encode(out);
        self.conversation.encode(out);
        self.message_id.as_bytes().encode(out);
        self.sent.encode(out);
        self.content.encode(out);
    }
}

impl Decode for Envelope {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "inner envelope version", found }),
        }
        Ok(Self {
            from: Decode::decode(reader)?,
            to: Decode::decode(reader)?,
            recipient: Decode::decode(reader)?,
            conversation: Decode::decode(reader)?,
            message_id: Uuid::from_bytes(reader.array()?),
            sent: Decode::decode(reader)?,
            content: Decode::decode(reader)?,
        })
    }
}

impl Encode for Content {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message { opening, text } => {
                out.push(1);
                opening.encode(out);
                text.encode(out);
            }
            Self::Delivered(ids) => {
                out.push(2);
                ids.encode(out);
            }
            Self::Read(ids) => {
                out.push(3);
                ids.encode(out);
            }
        }
    }
}

impl Decode for Content {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            1 => Self::Message { opening: Decode::decode(reader)?, text: Decode::decode(reader)? },
            2 => Self::Delivered(Decode::decode(reader)?),
            3 => Self::Read(Decode::decode(reader)?),
            found => return Err(DecodeError::Tag { what: "inner envelope content", found }),
        })
    }
}

#[cfg(test)]
mod tests;
