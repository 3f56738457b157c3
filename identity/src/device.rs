//! Devices: a signing key each, and the Signal identity key that it vouches for.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{Blob, ChainId, Decode, DecodeError, Encode, Height, PublicKey, Reader, Signature, SigningKey, Text};

use crate::did::Did;

/// A signature of a device's old Signal identity key over its new one, at most 96 bytes (Signal's
/// own takes 64). Only clients can check it.
pub type SuccessionProof = Blob<96>;

/// A Signal public identity key as Signal writes it: the type byte 5, then 32 bytes of X25519.
/// Hexadecimal as text. What the 32 bytes are worth is for the client to judge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKey([u8; 33]);

impl SignalKey {
    /// The type byte: X25519, the one type Signal has.
    pub const X25519: u8 = 5;

    /// The key of 32 bytes of X25519.
    #[must_use]
    pub fn from_x25519(key: &[u8; 32]) -> Self {
        let mut bytes = [Self::X25519; 33];
        bytes[1..].copy_from_slice(key);
        Self(bytes)
    }

    /// The 33 bytes, as libsignal serialises them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// The 32 bytes without the type byte.
    #[must_use]
    pub fn x25519(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[1..]);
        key
    }
}

impl TryFrom<[u8; 33]> for SignalKey {
    type Error = DecodeError;
    fn try_from(bytes: [u8; 33]) -> Result<Self, DecodeError> {
        if bytes[0] == Self::X25519 { Ok(Self(bytes)) } else { Err(refused()) }
    }
}

impl fmt::Display for SignalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SignalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SignalKey {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| refused())?;
        <[u8; 33]>::try_from(bytes).map_err(|_| refused())?.try_into()
    }
}

impl Serialize for SignalKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignalKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Encode for SignalKey {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for SignalKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()?.try_into()
    }
}

fn refused() -> DecodeError {
    DecodeError::Value { what: "Signal identity key (05 and 32 bytes, in hexadecimal)" }
}

/// The two public keys of a device that is being added. Bytes: 32, then 33.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceKeys {
    /// Ed25519: signs in, and signs for this device.
    pub key: PublicKey,
    /// Signal's identity key on this device.
    pub signal: SignalKey,
}
types::codec!(DeviceKeys { key, signal });

/// How a device came by its Signal key. One byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Succession {
    /// 0: it has had no other.
    First,
    /// 1: replaced, and the old key did not sign the new: contacts are warned.
    Reset,
    /// 2: replaced, and the operation carries what claims to be the old key's signature. The
    /// chain cannot check it; a client does, and warns if it fails.
    Signed,
}

impl Encode for Succession {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::First => 0,
            Self::Reset => 1,
            Self::Signed => 2,
        });
    }
}

impl Decode for Succession {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::First),
            1 => Ok(Self::Reset),
            2 => Ok(Self::Signed),
            found => Err(DecodeError::Tag { what: "succession", found }),
        }
    }
}

/// A Signal identity key, and the device key's word that it is this device's.
///
/// Bytes: the Signal key (33), the signature (64), the sequence, the succession (1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalBinding {
    /// The Signal key.
    pub identity_key: SignalKey,
    /// The device key's signature over [`binding_message`].
    pub signature: Signature,
    /// The sequence of the operation that made this binding; it is under the signature.
    pub sequence: u64,
    /// Whether an earlier Signal key of this device stands behind this one.
    pub succession: Succession,
}
types::codec!(SignalBinding { identity_key, signature, sequence, succession });

/// A device of an entry.
///
/// Bytes: the id, the key (32), the binding, the height. No name: what a person calls their
/// phone is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// From 1; never given again within the identity.
    pub id: u16,
    /// Ed25519: signs in, and signs for this device.
    pub key: PublicKey,
    /// The Signal key and its binding.
    pub signal: SignalBinding,
    /// The height at which the device was added.
    pub added: Height,
}
types::codec!(Device { id, key, signal, added });

impl Device {
    /// Whether the device key did sign for the Signal key, for `did` on `chain`. The chain has
    /// checked it before; a client that holds an entry can check it again.
    #[must_use]
    pub fn is_bound(&self, chain: &ChainId, did: &Did) -> bool {
        let message = binding_message(chain, did, self.signal.sequence, &self.key, &self.signal.identity_key);
        self.key.verify(&message, &self.signal.signature)
    }
}

const BINDING: &str = "zynk.2026 signal binding v1";
const SUCCESSION: &str = "zynk.2026 signal succession v1";

/// What a device key signs to say that `signal` is its device's, from operation `sequence` of
/// `did` on. Bytes: the context (a count, then text), chain id, DID, sequence, device key, Signal key.
#[must_use]
pub fn binding_message(chain: &ChainId, did: &Did, sequence: u64, device: &PublicKey, signal: &SignalKey) -> Vec<u8> {
    let mut out = message(BINDING, chain, did, sequence, device);
    signal.encode(&mut out);
    out
}

/// What the old Signal identity key signs to say that `new` is the same person's: as
/// [`binding_message`], with another context, and the old key before the new. Signing and
/// verifying it takes libsignal, so it is the client's.
#[must_use]
pub fn succession_message(chain: &ChainId, did: &Did, sequence: u64, device: &PublicKey, old: &SignalKey, new: &SignalKey) -> Vec<u8> {
    let mut out = message(SUCCESSION, chain, did, sequence, device);
    old.encode(&mut out);
    new.encode(&mut out);
    out
}

/// Signs [`binding_message`] with the device's key.
#[must_use]
pub fn bind(chain: &ChainId, did: &Did, sequence: u64, device: &SigningKey, signal: &SignalKey) -> Signature {
    device.sign(&binding_message(chain, did, sequence, &device.public(), signal))
}

fn message(context: &str, chain: &ChainId, did: &Did, sequence: u64, device: &PublicKey) -> Vec<u8> {
    let mut out = context_bytes(context);
    chain.encode(&mut out);
    did.encode(&mut out);
    sequence.encode(&mut out);
    device.encode(&mut out);
    out
}

/// The context that opens a signed message. Its count makes sure that none is another's beginning.
pub(crate) fn context_bytes(context: &str) -> Vec<u8> {
    Text::<64>::try_from(context).expect("a constant context is short").to_bytes()
}
