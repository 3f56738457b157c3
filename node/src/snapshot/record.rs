//! One record of a snapshot. A chunk is whole records, one after the other.

use audit::SignedAnchor;
use types::{Blob, Decode, DecodeError, Encode, Reader};

use super::MAX_CHUNK;
use crate::store::light::Light;

/// The longest key and value of the state, in bytes, with room for what is to come.
const MAX_KEY: usize = 1 << 10;
const MAX_VALUE: usize = 1 << 20;

/// What a snapshot is made of, in this order: all entries by key, all anchors by log and sequence, blocks by height.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "most records are entries, and one is there at a time")]
pub enum Record {
    /// An entry of the state. Byte 0, key, value.
    Entry {
        /// Its key.
        key: Blob<MAX_KEY>,
        /// Its value.
        value: Blob<MAX_VALUE>,
    },
    /// An anchor. Byte 1, its place in the log of all anchors, the signed anchor.
    Anchor {
        /// Its place, from 0.
        index: u64,
        /// The anchor.
        anchor: SignedAnchor,
    },
    /// A block without transactions. Byte 2, its bytes with their count first.
    Block(Light),
}

impl Record {
    /// The bytes of an entry.
    pub(super) fn entry(key: &[u8], value: &[u8]) -> anyhow::Result<Vec<u8>> {
        let record = Self::Entry { key: key.to_vec().try_into()?, value: value.to_vec().try_into()? };
        Ok(record.to_bytes()?)
    }

    /// The bytes of an anchor as the store has it: its place, big endian, and its bytes.
    pub(super) fn anchor(row: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (index, anchor) = row.split_first_chunk().ok_or_else(|| anyhow::anyhow!("an anchor's row is cut short"))?;
        Ok(Self::Anchor { index: u64::from_be_bytes(*index), anchor: SignedAnchor::from_bytes(anchor)? }.to_bytes()?)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`DecodeError::Bound`] for a block that no chain has.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        match self {
            Self::Entry { key, value } => {
                out.push(0);
                key.encode(&mut out);
                value.encode(&mut out);
            }
            Self::Anchor { index, anchor } => {
                out.push(1);
                index.encode(&mut out);
                anchor.encode(&mut out);
            }
            Self::Block(block) => {
                out.push(2);
                Blob::<MAX_CHUNK>::try_from(block.to_bytes()?)?.encode(&mut out);
            }
        }
        Ok(out)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What the bytes break.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Entry { key: Blob::decode(reader)?, value: Blob::decode(reader)? }),
            1 => Ok(Self::Anchor { index: u64::decode(reader)?, anchor: SignedAnchor::decode(reader)? }),
            2 => Light::from_bytes(&Blob::<MAX_CHUNK>::decode(reader)?).map(Self::Block),
            found => Err(DecodeError::Tag { what: "record", found }),
        }
    }
}
