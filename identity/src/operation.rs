//! Operations: the one way in which an entry comes to be and changes.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{ChainId, Decode, DecodeError, Domain, Encode, Hash, Height, List, Reader, Signature};

use crate::control::Control;
use crate::device::{DeviceKeys, SignalKey, SuccessionProof, context_bytes};
use crate::did::Did;
use crate::error::Error;
use crate::hexadecimal;
use crate::service::Service;

/// The most that a signed operation can take, in bytes.
pub const MAX_OPERATION_BYTES: usize = 4096;

const VERSION: u8 = 1;

/// Its context opens the signed bytes, its key hashes them: one name for one format.
static OPERATION: Domain = Domain::new("zynk.2026 operation v1");

/// What an identity begins with; its hash is the identifier. It holds no signature.
///
/// Bytes: the fields in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// The chain on which the identity is to live.
    pub chain: ChainId,
    /// The first control keys.
    pub control: Control,
    /// The commitment to the second ([`Control::commitment`]).
    pub next_control: Hash,
    /// The commitment to the recovery keys ([`Control::recovery_commitment`]). Who wants none
    /// puts 32 random bytes here, and nobody sees the difference.
    pub recovery: Hash,
    /// How many blocks lie between the start of a recovery and its end.
    pub recovery_delay: u32,
    /// The first devices; they get the ids from 1 on.
    pub devices: List<DeviceKeys, 16>,
    /// Where the identity can be reached.
    pub services: List<Service, 4>,
    /// 16 bytes of entropy.
    #[serde(with = "hexadecimal")]
    pub nonce: [u8; 16],
}
types::codec!(Genesis { chain, control, next_control, recovery, recovery_delay, devices, services, nonce });

/// What is to change. A tag byte, then the fields in order.
///
/// The tags 8 to 11 are kept for starting and finishing a recovery, cancelling it, and freezing;
/// until they have their meaning they are refused, as all others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Operation {
    /// 1: begins an identity. Signed by the genesis' control keys.
    Create {
        /// What the identifier is the hash of.
        genesis: Genesis,
        /// Each device's signature over its Signal key, in the order of the genesis. They stand
        /// outside it because they sign the identifier.
        bindings: List<Signature, 16>,
    },
    /// 2: replaces the services by these. Signed by the control keys.
    Update {
        /// All services there are to be; what is not here is gone.
        services: List<Service, 4>,
    },
    /// 3: adds a device. Signed by the control keys.
    AddDevice {
        /// Its keys.
        device: DeviceKeys,
        /// Its signature over its Signal key.
        binding: Signature,
    },
    /// 4: removes a device. Signed by the control keys, or by that device alone.
    RemoveDevice {
        /// Its id.
        device: u16,
    },
    /// 5: gives a device another Signal key. Signed by the control keys.
    RotateDeviceSignalKey {
        /// The device's id.
        device: u16,
        /// The new Signal key.
        signal: SignalKey,
        /// The device's signature over it.
        binding: Signature,
        /// The old Signal key's signature over the new one, for clients to check: with it, the
        /// same person has a new phone; without it, this is a reset, and contacts are warned.
        succession: Option<SuccessionProof>,
    },
    /// 6: puts the committed control keys in force and commits to those after them. Signed by
    /// the revealed keys, not by today's.
    RotateControl {
        /// The set that the entry's `next_control` is the commitment to.
        control: Control,
        /// The commitment to the set after it.
        next_control: Hash,
        /// The commitment to the recovery keys, anew or again.
        recovery: Hash,
        /// The recovery delay, anew or again.
        recovery_delay: u32,
    },
    /// 7: ends the identity for good. Reveals the committed control keys and is signed by them.
    Deactivate {
        /// The set that the entry's `next_control` is the commitment to.
        control: Control,
    },
}

impl Operation {
    /// What the operation is called in events and messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::AddDevice { .. } => "add device",
            Self::RemoveDevice { .. } => "remove device",
            Self::RotateDeviceSignalKey { .. } => "rotate Signal key",
            Self::RotateControl { .. } => "rotate control",
            Self::Deactivate { .. } => "deactivate",
        }
    }

    /// The control keys that this operation reveals, if it does. Such an operation is signed by
    /// them, so a thief of today's keys can neither make it nor use up a quota meant for it.
    #[must_use]
    pub const fn revealed(&self) -> Option<&Control> {
        match self {
            Self::RotateControl { control, .. } | Self::Deactivate { control } => Some(control),
            Self::Create { .. }
            | Self::Update { .. }
            | Self::AddDevice { .. }
            | Self::RemoveDevice { .. }
            | Self::RotateDeviceSignalKey { .. } => None,
        }
    }
}

impl Encode for Operation {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create { genesis, bindings } => {
                out.push(1);
                genesis.encode(out);
                bindings.encode(out);
            }
            Self::Update { services } => {
                out.push(2);
                services.encode(out);
            }
            Self::AddDevice { device, binding } => {
                out.push(3);
                device.encode(out);
                binding.encode(out);
            }
            Self::RemoveDevice { device } => {
                out.push(4);
                device.encode(out);
            }
            Self::RotateDeviceSignalKey { device, signal, binding, succession } => {
                out.push(5);
                device.encode(out);
                signal.encode(out);
                binding.encode(out);
                succession.encode(out);
            }
            Self::RotateControl { control, next_control, recovery, recovery_delay } => {
                out.push(6);
                control.encode(out);
                next_control.encode(out);
                recovery.encode(out);
                recovery_delay.encode(out);
            }
            Self::Deactivate { control } => {
                out.push(7);
                control.encode(out);
            }
        }
    }
}

impl Decode for Operation {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            1 => Self::Create { genesis: Decode::decode(reader)?, bindings: Decode::decode(reader)? },
            2 => Self::Update { services: Decode::decode(reader)? },
            3 => Self::AddDevice { device: Decode::decode(reader)?, binding: Decode::decode(reader)? },
            4 => Self::RemoveDevice { device: Decode::decode(reader)? },
            5 => Self::RotateDeviceSignalKey {
                device: Decode::decode(reader)?,
                signal: Decode::decode(reader)?,
                binding: Decode::decode(reader)?,
                succession: Decode::decode(reader)?,
            },
            6 => Self::RotateControl {
                control: Decode::decode(reader)?,
                next_control: Decode::decode(reader)?,
                recovery: Decode::decode(reader)?,
                recovery_delay: Decode::decode(reader)?,
            },
            7 => Self::Deactivate { control: Decode::decode(reader)? },
            found => return Err(DecodeError::Tag { what: "identity operation", found }),
        })
    }
}

/// Who signs. A tag byte, then a number; no text that could say one thing and mean another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signer {
    /// 0: a control key, by its place (1 byte) in the set that must sign the operation: the
    /// genesis' for create, the revealed one where one is revealed, else the entry's.
    Control(u8),
    /// 1: a device, by its id. It may sign its own removal and nothing else.
    Device(u16),
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(place) => write!(f, "control key {place}"),
            Self::Device(id) => write!(f, "device {id}"),
        }
    }
}

impl Encode for Signer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Control(place) => {
                out.push(0);
                place.encode(out);
            }
            Self::Device(id) => {
                out.push(1);
                id.encode(out);
            }
        }
    }
}

impl Decode for Signer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Decode::decode(reader).map(Self::Control),
            1 => Decode::decode(reader).map(Self::Device),
            found => Err(DecodeError::Tag { what: "signer", found }),
        }
    }
}

/// A signature and whose it is. Bytes: the signer, the signature (64).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedSignature {
    /// Who signs.
    pub signer: Signer,
    /// Over [`SignedOperation::signing_bytes`].
    pub signature: Signature,
}
types::codec!(IndexedSignature { signer, signature });

/// An operation, what it is about and follows, and who signed it.
///
/// Bytes: the version (1 byte, the value 1), then the fields in order; at most
/// [`MAX_OPERATION_BYTES`]. [`crate::Draft`] makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedOperation {
    /// The identity.
    pub did: Did,
    /// One more than the entry's; 0 for create.
    pub sequence: u64,
    /// The entry's last operation; zero for create.
    pub previous: Hash,
    /// The last height at which the operation counts.
    pub valid_until: Height,
    /// What is to change.
    pub operation: Operation,
    /// Each must verify, and they must be as many as the threshold at least.
    pub signatures: List<IndexedSignature, 8>,
}

impl SignedOperation {
    /// Reads an operation as it came from outside.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_OPERATION_BYTES {
            return Err(Error::TooLarge { found: bytes.len(), bound: MAX_OPERATION_BYTES });
        }
        Ok(Self::from_bytes(bytes)?)
    }

    /// The bytes that are signed: the context (a count, then text), the chain id, DID, sequence,
    /// previous, `valid_until`, operation.
    ///
    /// The chain is not a field: it is known to whoever checks, and an operation for another
    /// chain does not verify.
    #[must_use]
    pub fn signing_bytes(&self, chain: &ChainId) -> Vec<u8> {
        let mut out = context_bytes(OPERATION.context());
        chain.encode(&mut out);
        self.did.encode(&mut out);
        self.sequence.encode(&mut out);
        self.previous.encode(&mut out);
        self.valid_until.encode(&mut out);
        self.operation.encode(&mut out);
        out
    }

    /// The hash by which the next operation names this one: of the signed bytes, so that nobody
    /// changes it by adding or leaving out a signature.
    #[must_use]
    pub fn hash(&self, chain: &ChainId) -> Hash {
        OPERATION.hash(&[&self.signing_bytes(chain)])
    }
}

impl Encode for SignedOperation {
    fn encode(&self, out: &mut Vec<u8>) {
        VERSION.encode(out);
        self.did.encode(out);
        self.sequence.encode(out);
        self.previous.encode(out);
        self.valid_until.encode(out);
        self.operation.encode(out);
        self.signatures.encode(out);
    }
}

impl Decode for SignedOperation {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "operation version", found }),
        }
        Ok(Self {
            did: Decode::decode(reader)?,
            sequence: Decode::decode(reader)?,
            previous: Decode::decode(reader)?,
            valid_until: Decode::decode(reader)?,
            operation: Decode::decode(reader)?,
            signatures: Decode::decode(reader)?,
        })
    }
}
