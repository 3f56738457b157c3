//! Ed25519 keys and signatures, and the addresses derived from them.
//!
//! Transactions, identity operations and anchors are checked by [`PublicKey::verify`], which is
//! strict (`verify_strict`: no small-order keys, no malleable signatures), so that every machine
//! gives the same answer. Consensus votes follow ZIP-215 and are checked by the `light` and
//! `consensus` rooms through the published verifier.

mod address;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::Signer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::hash::Hash;

macro_rules! bytes_text {
    ($name:ident, $len:literal, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl FromStr for $name {
            type Err = DecodeError;
            fn from_str(text: &str) -> Result<Self, DecodeError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| DecodeError::Value { what: $what })?;
                Ok(Self(bytes))
            }
        }
        bytes_codec!($name);
    };
}

macro_rules! bytes_codec {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }
        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }
    };
}

/// An Ed25519 public key, 32 bytes, as RFC 8032 encodes it. Hexadecimal as text.
///
/// Any 32 bytes are held; whether they are a usable key shows in [`PublicKey::verify`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);
bytes_text!(PublicKey, 32, "public key (64 hexadecimal digits)");

/// Signatures that were checked. No rule reads it: operators and benches do.
static CHECKS: AtomicU64 = AtomicU64::new(0);

/// How many signatures this process has checked by the strict rule: those of transactions, and those in their bodies.
#[must_use]
pub fn checks() -> u64 {
    CHECKS.load(Ordering::Relaxed)
}

impl PublicKey {
    /// Whether `signature` over `message` is this key's, by the strict rule.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        CHECKS.fetch_add(1, Ordering::Relaxed);
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&self.0) else {
            return false;
        };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }

    /// Whether the bytes are a point of the curve that is not of small order.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }

    /// The address of this key: SHA-256 cut to 20 bytes, as CometBFT derives it.
    #[must_use]
    pub fn address(&self) -> Address {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&Hash::sha256(&[&self.0]).0[..20]);
        Address(bytes)
    }
}

/// An Ed25519 signature, 64 bytes. Hexadecimal as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);
bytes_text!(Signature, 64, "signature (128 hexadecimal digits)");

/// An Ed25519 secret key. It is erased when dropped and never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of `seed`: 32 bytes that must come from the system's entropy or a test's table.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for storing it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`; deterministic (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

/// An account's or validator's address: 20 bytes. As text, bech32m with the prefix `zynk`, whose
/// checksum catches a mistyped letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);
bytes_codec!(Address);

impl Address {
    /// The text, in ASCII: 43 letters and digits.
    #[must_use]
    pub fn text(&self) -> [u8; address::LENGTH] {
        address::write(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Address {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        address::read(text).map(Self).ok_or(DecodeError::Value { what: "address (zynk1…)" })
    }
}

impl From<Address> for tendermint::account::Id {
    fn from(address: Address) -> Self {
        Self::new(address.0)
    }
}

impl From<tendermint::account::Id> for Address {
    fn from(id: tendermint::account::Id) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(id.as_bytes());
        Self(bytes)
    }
}
