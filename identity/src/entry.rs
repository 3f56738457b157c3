//! The state entry: what the chain knows of one identity, and the only truth about it.

use serde::{Deserialize, Serialize};
use types::{Decode, DecodeError, Encode, Hash, Height, List, Reader};

use crate::control::Control;
use crate::device::Device;
use crate::service::Service;

/// The most that an encoded entry can take, in bytes. The bounds of its parts keep it below.
pub const MAX_ENTRY_BYTES: usize = 4096;

const VERSION: u8 = 1;

/// One identity as it stands after an operation.
///
/// Bytes: the version (1 byte, the value 1), then the fields in order. It stands in the state
/// under [`Did::state_key`](crate::Did::state_key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The keys that may change this entry.
    pub control: Control,
    /// How many operations came after the creation.
    pub sequence: u64,
    /// The hash of the last operation ([`SignedOperation::hash`](crate::SignedOperation::hash)).
    pub last_operation: Hash,
    /// What the next control keys must hash to ([`Control::commitment`]); zero once deactivated.
    pub next_control: Hash,
    /// What the recovery keys must hash to ([`Control::recovery_commitment`]); zero once deactivated.
    pub recovery: Hash,
    /// How many blocks lie between the start of a recovery and its end.
    pub recovery_delay: u32,
    /// The id that the next device will have.
    pub next_device: u16,
    /// The devices, in order of their ids.
    pub devices: List<Device, 16>,
    /// Where the identity can be reached, in the owner's order.
    pub services: List<Service, 4>,
    /// Whether operations may still follow.
    pub status: Status,
    /// The height of the creation.
    pub created: Height,
    /// The height of the last operation.
    pub updated: Height,
}

/// Whether operations may still follow. A tag byte, then its fields.
///
/// The tags 2 to 5 are kept for recovery and freezing (`docs/spec/identity.md`); until they have
/// their meaning they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Status {
    /// 0: they may.
    Active,
    /// 1: never again; the entry stays, so that the identifier is never given twice.
    Deactivated {
        /// The height at which it was.
        height: Height,
    },
}

impl Entry {
    /// The device with this id.
    #[must_use]
    pub fn device(&self, id: u16) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// Whether the identity has been deactivated.
    #[must_use]
    pub const fn is_deactivated(&self) -> bool {
        matches!(self.status, Status::Deactivated { .. })
    }
}

impl Encode for Status {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Active => out.push(0),
            Self::Deactivated { height } => {
                out.push(1);
                height.encode(out);
            }
        }
    }
}

impl Decode for Status {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Active),
            1 => Ok(Self::Deactivated { height: Decode::decode(reader)? }),
            found => Err(DecodeError::Tag { what: "identity status", found }),
        }
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        VERSION.encode(out);
        self.control.encode(out);
        self.sequence.encode(out);
        self.last_operation.encode(out);
        self.next_control.encode(out);
        self.recovery.encode(out);
        self.recovery_delay.encode(out);
        self.next_device.encode(out);
        self.devices.encode(out);
        self.services.encode(out);
        self.status.encode(out);
        self.created.encode(out);
        self.updated.encode(out);
    }
}

impl Decode for Entry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "identity entry version", found }),
        }
        Ok(Self {
            control: Decode::decode(reader)?,
            sequence: Decode::decode(reader)?,
            last_operation: Decode::decode(reader)?,
            next_control: Decode::decode(reader)?,
            recovery: Decode::decode(reader)?,
            recovery_delay: Decode::decode(reader)?,
            next_device: Decode::decode(reader)?,
            devices: Decode::decode(reader)?,
            services: Decode::decode(reader)?,
            status: Decode::decode(reader)?,
            created: Decode::decode(reader)?,
            updated: Decode::decode(reader)?,
        })
    }
}
