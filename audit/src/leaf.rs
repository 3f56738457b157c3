//! A leaf of a batch: the sender's commitment and what the relay saw, joined.
//!
//! The two halves are hidden separately, so that a proof can open one and keep the other.

use serde::{Deserialize, Deserializer, Serialize};
use types::{Decode, DecodeError, Encode, Hash, Millis, Reader, codec};

use crate::commitment::{Commitment, Opening, salt};
use crate::domains::{ENVELOPE, LEAF};

/// The size of a ciphertext, coarsely: the least power of two that holds it. 0 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The class of `size` bytes: ceil(log2(size)), and 0 for none.
    #[must_use]
    pub const fn of(size: u64) -> Self {
        // At most 64, so the conversion keeps the value.
        #[allow(clippy::cast_possible_truncation, reason = "a count of 64 bits")]
        Self((u64::BITS - size.saturating_sub(1).leading_zeros()) as u8)
    }

    /// The exponent: the ciphertext has at most 2 to the power of this bytes.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for SizeClass {
    type Error = DecodeError;
    fn try_from(exponent: u8) -> Result<Self, DecodeError> {
        if exponent > 64 {
            return Err(DecodeError::Value { what: "size class (0 to 64)" });
        }
        Ok(Self(exponent))
    }
}

impl<'de> Deserialize<'de> for SizeClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl Encode for SizeClass {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for SizeClass {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u8::decode(reader)?.try_into()
    }
}

/// What the relay saw of a message. The recipient is not in it, hashed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// BLAKE3 of the ciphertext.
    pub ciphertext: Hash,
    /// When the relay stored it, by the relay's clock.
    pub received: Millis,
    /// How large the ciphertext is, coarsely.
    pub size_class: SizeClass,
}
codec!(Envelope { ciphertext, received, size_class });

impl Envelope {
    /// The envelope half of a leaf: the hash of `salt` and BLAKE3 of the envelope's bytes, in the
    /// domain `envelope`. `salt`: 32 bytes from the relay's entropy, never used twice.
    #[must_use]
    pub fn seal(&self, salt: &[u8; 32]) -> Hash {
        let seen = Hash(*blake3::hash(&self.to_bytes()).as_bytes());
        ENVELOPE.pair(&Hash(*salt), &seen)
    }
}

/// The commitment half of a leaf, opened or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitmentPart {
    /// What was committed to is shown (tag 1).
    Opened(Opening),
    /// The commitment alone (tag 2).
    Hidden(Commitment),
}

impl CommitmentPart {
    /// The commitment, computed from the opening where there is one.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        match self {
            Self::Opened(opening) => opening.commitment(),
            Self::Hidden(commitment) => *commitment,
        }
    }
}

impl Encode for CommitmentPart {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened(opening) => {
                out.push(1);
                opening.encode(out);
            }
            Self::Hidden(commitment) => {
                out.push(2);
                commitment.0.encode(out);
            }
        }
    }
}

impl Decode for CommitmentPart {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Opening::decode(reader).map(Self::Opened),
            2 => Hash::decode(reader).map(Commitment).map(Self::Hidden),
            found => Err(DecodeError::Tag { what: "commitment part", found }),
        }
    }
}

/// The envelope half of a leaf, opened or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvelopePart {
    /// What the relay saw is shown (tag 1).
    Opened {
        /// The relay's salt.
        #[serde(with = "salt")]
        salt: [u8; 32],
        /// What it saw.
        envelope: Envelope,
    },
    /// The sealed half alone (tag 2).
    Hidden(Hash),
}

impl EnvelopePart {
    /// The sealed half, computed from the opening where there is one.
    #[must_use]
    pub fn sealed(&self) -> Hash {
        match self {
            Self::Opened { salt, envelope } => envelope.seal(salt),
            Self::Hidden(sealed) => *sealed,
        }
    }
}

impl Encode for EnvelopePart {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { salt, envelope } => {
                out.push(1);
                salt.encode(out);
                envelope.encode(out);
            }
            Self::Hidden(sealed) => {
                out.push(2);
                sealed.encode(out);
            }
        }
    }
}

impl Decode for EnvelopePart {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Opened { salt: reader.array()?, envelope: Envelope::decode(reader)? }),
            2 => Hash::decode(reader).map(Self::Hidden),
            found => Err(DecodeError::Tag { what: "envelope part", found }),
        }
    }
}

/// What a proof shows of a leaf: each half opened or hidden.
///
/// A verifier never takes a leaf as bytes, it computes the leaf from this; so an inner node of a
/// tree cannot pass for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafOpening {
    /// The sender's half.
    pub commitment: CommitmentPart,
    /// The relay's half.
    pub envelope: EnvelopePart,
}
codec!(LeafOpening { commitment, envelope });

impl LeafOpening {
    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf(&self.commitment.commitment(), &self.envelope.sealed())
    }
}

/// The leaf of `commitment` and the `sealed` envelope: their hash in the domain `leaf`, one
/// compression.
#[must_use]
pub fn leaf(commitment: &Commitment, sealed: &Hash) -> Hash {
    LEAF.pair(&commitment.0, sealed)
}

#[cfg(test)]
mod tests;
