//! What a sender commits to, and the commitment: 32 bytes that give nothing away until opened.

use serde::{Deserialize, Serialize};
use types::{Decode, DecodeError, Encode, Hash, Millis, PublicKey, Reader, Text, codec};

use crate::domains::{BODY, COMMITMENT};

/// What was committed to. Encoding: one tag byte, then the fields in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A file, or any bytes that stand alone (tag 1).
    File {
        /// BLAKE3 of the bytes.
        content: Hash,
        /// How many bytes there are.
        size: u64,
        /// What the holder calls the file, at most 255 bytes.
        name: Option<Text<255>>,
    },
    /// A message of a conversation (tag 2).
    Message {
        /// What the members of the conversation agreed to call it; the same for each of them.
        conversation: Hash,
        /// The sending device's key, where the sender chose to be named.
        device: Option<PublicKey>,
        /// The number that the sending device gave the message in this conversation, from 1.
        sequence: u64,
        /// When the message was sent, by the sender's clock.
        sent: Millis,
        /// BLAKE3 of the plaintext.
        content: Hash,
        /// The commitment that the same device made before this one in the conversation, so that
        /// a run of messages can be shown to have none removed.
        previous: Option<Hash>,
    },
}

impl Body {
    /// Hash of the body's bytes in the domain `body`.
    #[must_use]
    pub fn hash(&self) -> Hash {
        BODY.hash(&[&self.to_bytes()])
    }
}

impl Encode for Body {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::File { content, size, name } => {
                out.push(1);
                content.encode(out);
                size.encode(out);
                name.encode(out);
            }
            Self::Message { conversation, device, sequence, sent, content, previous } => {
                out.push(2);
                conversation.encode(out);
                device.encode(out);
                sequence.encode(out);
                sent.encode(out);
                content.encode(out);
                previous.encode(out);
            }
        }
    }
}

impl Decode for Body {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::File { content: Hash::decode(reader)?, size: u64::decode(reader)?, name: Option::decode(reader)? }),
            2 => Ok(Self::Message {
                conversation: Hash::decode(reader)?,
                device: Option::decode(reader)?,
                sequence: u64::decode(reader)?,
                sent: Millis::decode(reader)?,
                content: Hash::decode(reader)?,
                previous: Option::decode(reader)?,
            }),
            found => Err(DecodeError::Tag { what: "body", found }),
        }
    }
}

/// A commitment: the hash of salt and body hash in the domain `commitment`, one compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(pub Hash);

/// What opens a commitment. Whoever holds it can show what was committed to; nobody else can
/// test a guess, as long as the salt is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 32 bytes from the sender's entropy, never used twice.
    #[serde(with = "salt")]
    pub salt: [u8; 32],
    /// What was committed to.
    pub body: Body,
}
codec!(Opening { salt, body });

impl Opening {
    /// The commitment that this opens.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        Commitment(COMMITMENT.pair(&Hash(self.salt), &self.body.hash()))
    }
}

/// A salt in JSON: hexadecimal, as a hash is.
pub(crate) mod salt {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use types::Hash;

    pub(crate) fn serialize<S: Serializer>(salt: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        Hash(*salt).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        Hash::deserialize(deserializer).map(|hash| hash.0)
    }
}
