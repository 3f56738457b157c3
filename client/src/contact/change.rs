//! What became of a contact's keys between two looks at the chain, in words for people.

use identity::device::succession_message;
use identity::{Did, Entry, Succession};
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
    },
    /// The control keys that had been committed to took over.
    ControlRotated,
    /// The owner ended the identity.
    Deactivated,
}

impl Change {
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
            Self::KeyReset { device } => write!(f, "device {device} has a new Signal key, which its old one did not sign for"),
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

/// What changed from one proven entry to a later one. `proof`: for a device's id, the signature of its old
/// Signal key over the new one, where somebody has it; without it a change of keys is a reset, whatever
/// the entry says of itself, since the chain cannot check such a signature.
pub fn changes(chain: &ChainId, did: &Did, before: &Entry, after: &Entry, proof: impl Fn(u16) -> Option<Vec<u8>>) -> Vec<Change> {
    let mut changes = Vec::new();
    for old in &before.devices {
        match after.device(old.id) {
            None => changes.push(Change::DeviceRemoved { device: old.id }),
            Some(new) if new.signal.identity_key != old.signal.identity_key => {
                let (from, to) = (&old.signal.identity_key, &new.signal.identity_key);
                let message = succession_message(chain, did, new.signal.sequence, &new.key, from, to);
                let signed = new.signal.succession == Succession::Signed;
                let proven = signed && proof(old.id).is_some_and(|proof| signal::verify(from, &message, &proof));
                let device = old.id;
                changes.push(if proven { Change::KeyProven { device } } else { Change::KeyReset { device } });
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
