//! Whom one writes to: the devices that the chain proves, and nobody that a relay puts among them.
//!
//! A relay hands out prekey bundles and could hand out its own. So before the first message to a device,
//! and whenever the contact's entry has changed, each bundle is compared with the entry that a state proof
//! shows ([`check`]), and what differs is named. Pure: no question is asked here.
//!
//! `docs/spec/envelope.md` has the rules.

use std::collections::BTreeSet;
use std::time::Duration;

use identity::{Did, Entry, SignalKey};
use rpc::relay::{PrekeyBundle, PrekeyBundles, possession_message};
use serde::Serialize;
use types::{ChainId, Height};

use crate::signal;

pub mod change;
pub mod safety;

pub use change::{Change, Note};
pub use safety::SafetyNumber;

/// How old the header that proves an entry may be when a message is sent by it.
pub const FRESH: Duration = Duration::from_secs(5 * 60);

/// Why nothing is sent to somebody: what the relay or the node says is not what the chain proves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// There is no such identity.
    #[error("the chain has no identity {did}")]
    NoIdentity {
        /// Whose.
        did: Did,
    },
    /// The identity was ended by its owner.
    #[error("{did} was deactivated by its owner")]
    Deactivated {
        /// Whose.
        did: Did,
    },
    /// The newest header that the node shows is too old to send by.
    #[error("the newest header is {} s old, more than {} s: what it proves may have changed since", .age.as_secs(), FRESH.as_secs())]
    OldHeader {
        /// How old.
        age: Duration,
    },
    /// The node showed an older state of the identity than it did before.
    #[error("the node shows {did} as of operation {found}, and showed operation {known} before")]
    Older {
        /// Whose.
        did: Did,
        /// The sequence shown now.
        found: u64,
        /// The sequence shown before.
        known: u64,
    },
    /// The relay answered for somebody else.
    #[error("the relay answered with the devices of {found}, asked for was {did}")]
    OtherIdentity {
        /// Who was asked for.
        did: Did,
        /// Who was answered.
        found: Did,
    },
    /// The relay names a device that the chain does not have.
    #[error("extra device: the relay names device {device} of {did}, which the chain does not have")]
    ExtraDevice {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// The relay names a device twice, or not in order.
    #[error("the relay names device {device} of {did} twice, or out of order")]
    Order {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// The relay has another Signal key for a device than the chain.
    #[error("wrong key: the relay's Signal key for device {device} of {did} is not the one on the chain")]
    WrongKey {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// The device's key did not sign for the Signal key.
    #[error("device {device} of {did} has not signed for its Signal key")]
    NotBound {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// Nobody has shown to hold the Signal key.
    #[error("device {device} of {did} has not shown that it has its Signal key")]
    NoPossession {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// The device's prekeys cannot be used.
    #[error("the prekeys of device {device} of {did} cannot be used: {source}")]
    Prekeys {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
        /// Why.
        source: signal::Refused,
    },
    /// The relay leaves out a device that it had prekeys of before.
    #[error("missing device: the relay leaves out device {device} of {did}, which the chain has")]
    MissingDevice {
        /// Whose.
        did: Did,
        /// The device.
        device: u16,
    },
    /// No device of the identity can be written to.
    #[error("{did} has no device that can be written to: none has published prekeys")]
    NoDevice {
        /// Whose.
        did: Did,
    },
}

impl Mismatch {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::NoIdentity { .. } => 8301,
            Self::Deactivated { .. } => 8302,
            Self::OldHeader { .. } => 8303,
            Self::Older { .. } => 8304,
            Self::OtherIdentity { .. } => 8305,
            Self::ExtraDevice { .. } => 8306,
            Self::Order { .. } => 8307,
            Self::WrongKey { .. } => 8308,
            Self::NotBound { .. } => 8309,
            Self::NoPossession { .. } => 8310,
            Self::Prekeys { .. } => 8311,
            Self::MissingDevice { .. } => 8312,
            Self::NoDevice { .. } => 8313,
        }
    }
}

/// What an identity is compared against.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// The chain.
    pub chain: &'a ChainId,
    /// The identity.
    pub did: &'a Did,
    /// Its entry, as a state proof shows it.
    pub entry: &'a Entry,
}

/// What was found to fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The devices that can be written to.
    pub devices: Vec<CheckedDevice>,
    /// Devices that the chain has and that have not published prekeys yet.
    pub silent: Vec<u16>,
}

/// A device that the chain proves and the relay has prekeys of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedDevice {
    /// Its id.
    pub device: u16,
    /// Its Signal key.
    pub key: SignalKey,
    /// When it joined.
    pub added: Height,
}

/// Compares a relay's bundles with the proven entry. `known`: the devices that have had prekeys before, so
/// that a relay cannot quietly leave one out; `without`: this device itself, which needs none.
///
/// # Errors
/// [`Mismatch`]: the first thing that differs.
pub fn check(proven: &Proven<'_>, bundles: &PrekeyBundles, known: &BTreeSet<u16>, without: Option<u16>) -> Result<Checked, Mismatch> {
    let did = *proven.did;
    if proven.entry.is_deactivated() {
        return Err(Mismatch::Deactivated { did });
    }
    if bundles.did != did {
        return Err(Mismatch::OtherIdentity { did, found: bundles.did });
    }
    if let Some(pair) = bundles.devices.windows(2).find(|pair| pair[0].device >= pair[1].device) {
        return Err(Mismatch::Order { did, device: pair[1].device });
    }
    let devices: Vec<_> = bundles.devices.iter().map(|bundle| check_device(proven, bundle)).collect::<Result<_, _>>()?;
    let named = |id: u16| devices.iter().any(|device| device.device == id);
    let silent: Vec<u16> = proven.entry.devices.iter().map(|device| device.id).filter(|id| !named(*id) && Some(*id) != without).collect();
    if let Some(device) = silent.iter().find(|id| known.contains(id)) {
        return Err(Mismatch::MissingDevice { did, device: *device });
    }
    Ok(Checked { devices, silent })
}

fn check_device(proven: &Proven<'_>, bundle: &PrekeyBundle) -> Result<CheckedDevice, Mismatch> {
    let (did, id) = (*proven.did, bundle.device);
    let device = proven.entry.device(id).ok_or(Mismatch::ExtraDevice { did, device: id })?;
    let key = device.signal.identity_key;
    if bundle.identity_key != key {
        return Err(Mismatch::WrongKey { did, device: id });
    }
    if !device.is_bound(proven.chain, &did) {
        return Err(Mismatch::NotBound { did, device: id });
    }
    signal::prekeys::check(bundle).map_err(|source| Mismatch::Prekeys { did, device: id, source })?;
    let message = possession_message(proven.chain, &did, id, &device.key, &key);
    if !signal::verify(&key, &message, &bundle.possession.0) {
        return Err(Mismatch::NoPossession { did, device: id });
    }
    Ok(CheckedDevice { device: id, key, added: device.added })
}

#[cfg(test)]
mod tests;
