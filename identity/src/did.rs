//! The identifier: `did:zynk:` and 52 letters.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{Decode, DecodeError, Domain, Encode, Reader};

use crate::operation::Genesis;

/// A did:zynk identifier: the hash of the genesis that made it.
///
/// As text, `did:zynk:` and the 32 bytes in base32 (RFC 4648 §6, lower case, no padding): 52
/// letters of `a-z 2-7`. Each identifier has exactly one spelling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did(pub [u8; 32]);

/// What each did:zynk identifier begins with.
pub const PREFIX: &str = "did:zynk:";

static GENESIS: Domain = Domain::new("zynk.2026 did v1");

impl Did {
    /// The identifier that `genesis` makes. It names the chain, so that one genesis on two chains
    /// is two identifiers; it holds no signature, so that re-signing makes no second one.
    #[must_use]
    pub fn of(genesis: &Genesis) -> Self {
        Self(GENESIS.hash(&[&genesis.to_bytes()]).0)
    }

    /// The 52 letters after the prefix.
    #[must_use]
    pub fn suffix(&self) -> String {
        base32().encode(&self.0)
    }

    /// The key of this identifier's [`Entry`](crate::Entry) in the state: `identity/` and the suffix.
    #[must_use]
    pub fn state_key(&self) -> Vec<u8> {
        format!("identity/{}", self.suffix()).into_bytes()
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.suffix())
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Did {
    type Err = DecodeError;
    /// Refuses whatever is not the one spelling: another length, upper case, padding, bits set
    /// beyond the 256th, a path, query or fragment.
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let suffix = text.strip_prefix(PREFIX).filter(|suffix| suffix.len() == 52);
        let bytes = suffix.and_then(|suffix| base32().decode(suffix.as_bytes()).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(DecodeError::Value { what: "did:zynk identifier (did:zynk: and 52 of a-z 2-7)" })
    }
}

/// Text in JSON, its 32 bytes where the form has byte strings (CBOR).
impl Serialize for Did {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() { deserializer.deserialize_str(Either) } else { deserializer.deserialize_bytes(Either) }
    }
}

/// Takes both: what serde buffered (a tagged enum's content) no longer says which form it had.
struct Either;

impl Visitor<'_> for Either {
    type Value = Did;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a did:zynk identifier")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Did, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Did, E> {
        bytes.try_into().map(Did).map_err(|_| E::invalid_length(bytes.len(), &"32 bytes"))
    }
}

impl Encode for Did {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Did {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// Base32 that refuses non-zero trailing bits.
fn base32() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("a constant alphabet of 32 letters")
}

#[cfg(test)]
mod tests;
