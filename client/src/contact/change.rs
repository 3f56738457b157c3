//! What became of a contact's keys between two looks at the chain, in words for people.

use identity::device::succession_message;
use identity::{Device, Did, Entry, SignalBinding, SignalKey, Succession};
use serde::{Deserialize, Serialize};
use types::{ChainId, Millis};

use crate::signal;

/// One change of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A device joined; the control keys signed for it.
    DeviceAdded {
        /// Its id.
        device: u16,
    },
    /// A device left.
    DeviceRemoved {
        /// Its id.
        device: u16,
    },
    /// A device has another Signal key, and its old key signed for the new one: the same person.
    KeyProven {
        /// Its id.
        device: u16,
    },
    /// A device has another Signal key, and nothing shows that who had the old one has the new one, but
    /// the control keys' signature: compare safety numbers, and ask.
    KeyReset {
        /// Its id.
        device: u16,
        /// The key before: what it signed may come to light later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<SignalKey>,
    },
    /// The control keys that had been committed to took over.
    ControlRotated,
    /// The owner ended the identity.
    Deactivated,
}

impl Change {
    /// The device whose Signal key this is about.
    #[must_use]
    pub const fn rekeyed(&self) -> Option<u16> {
        match self {
            Self::KeyProven { device } | Self::KeyReset { device, .. } => Some(*device),
            _ => None,
        }
    }

    /// Whether a person should be warned.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::KeyReset { .. } | Self::Deactivated)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeviceAdded { device } => write!(f, "device {device} joined"),
            Self::DeviceRemoved { device } => write!(f, "device {device} left"),
            Self::KeyProven { device } => write!(f, "device {device} has a new Signal key, which its old one signed for"),
            Self::KeyReset { device, .. } => write!(f, "device {device} has a new Signal key, which its old one did not sign for"),
            Self::ControlRotated => f.write_str("the control keys committed to took over"),
            Self::Deactivated => f.write_str("the owner ended this identity"),
        }
    }
}

/// A change, and when this device saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Whose.
    pub did: Did,
    /// When, by this device's clock.
    pub seen: Millis,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// Whether `signature` is the word of a device's Signal key before, `old`, that the one in its proven entry follows on it.
/// It is of this identity, this device, these two keys and this operation, or it is none.
#[must_use]
pub fn is_signed(chain: &ChainId, did: &Did, old: &SignalKey, device: &Device, signature: &[u8]) -> bool {
    let SignalBinding { identity_key, sequence, succession, .. } = &device.signal;
    *succession == Succession::Signed
        && signal::verify(old, &succession_message(chain, did, *sequence, &device.key, old, identity_key), signature)
}

/// The devices with another Signal key in a later entry, of which the chain says that the old key has signed for it: of
/// these the signature is worth asking for.
pub fn claimed<'a>(before: &'a Entry, after: &'a Entry) -> impl Iterator<Item = u16> + 'a {
    let is_new = |new: &&Device| before.device(new.id).is_some_and(|old| old.signal.identity_key != new.signal.identity_key);
    after.devices.iter().filter(is_new).filter(|new| new.signal.succession == Succession::Signed).map(|new| new.id)
}

/// What changed from one proven entry to a later one. `proof`: for a device's id, the signature of its old
/// Signal key over the new one, where somebody has it; without it a change of keys is a reset, whatever
/// the entry says of itself, since the chain cannot check such a signature.
pub fn changes(chain: &ChainId, did: &Did, before: &Entry, after: &Entry, proof: impl Fn(u16) -> Option<Vec<u8>>) -> Vec<Change> {
    let mut changes = Vec::new();
    for old in &before.devices {
        let (device, from) = (old.id, old.signal.identity_key);
        match after.device(device) {
            None => changes.push(Change::DeviceRemoved { device }),
            Some(new) if new.signal.identity_key != from => {
                let proven = proof(device).is_some_and(|proof| is_signed(chain, did, &from, new, &proof));
                changes.push(if proven { Change::KeyProven { device } } else { Change::KeyReset { device, from: Some(from) } });
            }
            Some(_) => {}
        }
    }
    let joined = after.devices.iter().filter(|new| before.device(new.id).is_none());
    changes.extend(joined.map(|new| Change::DeviceAdded { device: new.id }));
    if before.control != after.control {
        changes.push(Change::ControlRotated);
    }
    if after.is_deactivated() && !before.is_deactivated() {
        changes.push(Change::Deactivated);
    }
    changes
}
