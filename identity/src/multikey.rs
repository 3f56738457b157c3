//! Multikey: public keys as the W3C writes them (Controlled Identifiers §2.2.2): the letter `z`,
//! then base58btc of a two-byte code and the key.

use std::fmt;
use std::str::FromStr;

use types::{DecodeError, PublicKey};

/// A public key of a kind that did:zynk documents hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multikey {
    /// Code `ed 01`: Ed25519. As text it begins with `z6Mk`.
    Ed25519(PublicKey),
    /// Code `ec 01`: X25519. As text it begins with `z6LS`. The multicodec table has it and
    /// did:key uses it; the table of Controlled Identifiers does not.
    X25519([u8; 32]),
}

const ED25519: [u8; 2] = [0xed, 0x01];
const X25519: [u8; 2] = [0xec, 0x01];

/// The longest text of 34 bytes in base58, with its `z`.
const MAX_LETTERS: usize = 48;

impl fmt::Display for Multikey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, key) = match self {
            Self::Ed25519(key) => (ED25519, &key.0),
            Self::X25519(key) => (X25519, key),
        };
        write!(f, "z{}", bs58::encode([&code[..], key].concat()).into_string())
    }
}

impl FromStr for Multikey {
    type Err = DecodeError;
    /// Refuses other bases, other kinds of key, and keys of another length.
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let refused = DecodeError::Value { what: "Multikey (Ed25519 or X25519, base58btc)" };
        let letters = text.strip_prefix('z').filter(|letters| letters.len() < MAX_LETTERS).ok_or(refused.clone())?;
        let bytes = bs58::decode(letters).into_vec().map_err(|_| refused.clone())?;
        let (code, key) = bytes.split_at_checked(2).ok_or(refused.clone())?;
        let key = <[u8; 32]>::try_from(key).map_err(|_| refused.clone())?;
        match code {
            _ if code == ED25519 => Ok(Self::Ed25519(PublicKey(key))),
            _ if code == X25519 => Ok(Self::X25519(key)),
            _ => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests;
