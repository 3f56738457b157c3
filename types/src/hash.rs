//! Hashes, and the domains that keep two uses of one hash function apart.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// 32 bytes out of BLAKE3 or SHA-256. Lower-case hexadecimal as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: the link of a chain's first element, which has nothing before it.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of the concatenation of `parts`.
    #[must_use]
    pub fn sha256(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DecodeError::Value { what: "hash (64 hexadecimal digits)" })?;
        Ok(Self(bytes))
    }
}

/// Text in JSON, a byte string of 32 where the form has byte strings (CBOR).
impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() { deserializer.deserialize_str(Either) } else { deserializer.deserialize_bytes(Either) }
    }
}

/// Takes both: what serde buffered (a tagged enum's content) no longer says which form it had.
struct Either;

impl Visitor<'_> for Either {
    type Value = Hash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hash, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Hash, E> {
        bytes.try_into().map(Hash).map_err(|_| E::invalid_length(bytes.len(), &"32 bytes"))
    }
}

impl Encode for Hash {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Hash {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// One use of keyed BLAKE3: the context string becomes the key.
///
/// A key separates uses as well as a prefix byte would, and leaves a 64-byte input (two hashes)
/// one compression instead of two.
#[derive(Debug)]
pub struct Domain {
    context: &'static str,
    key: OnceLock<[u8; 32]>,
}

impl Domain {
    /// The domain of `context`, which must be unique: `docs/spec/encoding.md` lists them all.
    #[must_use]
    pub const fn new(context: &'static str) -> Self {
        Self { context, key: OnceLock::new() }
    }

    /// The key, `BLAKE3.derive_key(context, "")`.
    pub fn key(&self) -> &[u8; 32] {
        self.key.get_or_init(|| blake3::derive_key(self.context, b""))
    }

    /// The context string.
    #[must_use]
    pub const fn context(&self) -> &'static str {
        self.context
    }

    /// Keyed BLAKE3 of the concatenation of `parts`.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.key());
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Keyed BLAKE3 of two hashes side by side: one compression.
    #[must_use]
    pub fn pair(&self, left: &Hash, right: &Hash) -> Hash {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&left.0);
        block[32..].copy_from_slice(&right.0);
        Hash(*blake3::keyed_hash(self.key(), &block).as_bytes())
    }
}
