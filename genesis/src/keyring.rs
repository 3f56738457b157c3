//! The keys of one identity, in one file: those in force, those committed to, and the devices'.
//!
//! A change of keys is written down before it is sent and settled after it is seen on the chain, so
//! that a crash between the two never leaves the chain with keys that nobody has.

use std::path::Path;

use curve25519_dalek::MontgomeryPoint;
use identity::{Control, DeviceKeys, Did, Draft, Entry, Genesis, Operation, SignalKey, SignedOperation};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{ChainId, Height, List, PublicKey, SigningKey};
use zeroize::Zeroizing;

use crate::keys::{Seed, Version, secret};
use crate::passphrase::Passphrase;
use crate::sealed::{Holds, Label, Lock, Secret, load, to_bytes};
use crate::{Error, entropy, file};

/// How many blocks lie between the start of a recovery and its end, for a new identity: about a
/// day at a block a second.
pub const RECOVERY_DELAY: u32 = 86_400;

/// The keys of one identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    version: Version,
    /// The chain that the identity lives on.
    pub chain: ChainId,
    /// The identity.
    pub did: Did,
    /// The control key in force.
    control: Seed,
    /// The control key committed to.
    next_control: Seed,
    /// While a rotation is under way: the control key that it commits to.
    after_next: Option<Seed>,
    /// The recovery key. A copy belongs on paper.
    recovery: Seed,
    /// The devices whose keys are in this file.
    devices: Vec<DeviceSecret>,
    #[serde(skip)]
    lock: Option<Lock>,
}

impl Secret for Keyring {
    fn label(&self) -> Label {
        Label { holds: Holds::Identity, name: self.did.to_string(), encrypted: self.lock.is_some() }
    }

    fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    fn set_lock(&mut self, lock: Option<Lock>) {
        self.lock = lock;
    }
}

/// The keys of one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSecret {
    /// Its id; none until the chain has it.
    pub id: Option<u16>,
    seed: Seed,
    signal: SignalSecret,
}

/// A Signal identity key's private half: 32 bytes of X25519. Never printed.
#[derive(Clone)]
struct SignalSecret(Zeroizing<[u8; 32]>);

impl DeviceSecret {
    /// New keys out of the system's entropy.
    #[must_use]
    pub fn generate() -> Self {
        Self { id: None, seed: Seed(entropy::key()), signal: SignalSecret(Zeroizing::new(entropy::bytes())) }
    }

    /// The key that signs for the device.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.seed.0
    }

    /// The public half of the device's Signal identity key.
    #[must_use]
    pub fn signal(&self) -> SignalKey {
        SignalKey::from_x25519(&MontgomeryPoint::mul_base_clamped(*self.signal.0).to_bytes())
    }
}

impl Keyring {
    /// A new identity with one device: its keys, and the operation that creates it on `chain`.
    ///
    /// # Panics
    /// Never: one control key, one device and their signatures are within every bound.
    #[must_use]
    pub fn generate(chain: &ChainId, valid_until: Height) -> (Self, SignedOperation) {
        let [control, next, recovery] = [(); 3].map(|()| entropy::key());
        let device = DeviceSecret::generate();
        let keys = DeviceKeys { key: device.key().public(), signal: device.signal() };
        let genesis = Genesis {
            chain: chain.clone(),
            control: Control::single(control.public()),
            next_control: Control::single(next.public()).commitment(),
            recovery: Control::single(recovery.public()).recovery_commitment(),
            recovery_delay: RECOVERY_DELAY,
            devices: vec![keys].try_into().expect("one device is within the bound"),
            services: List::default(),
            nonce: entropy::bytes(),
        };
        let draft = Draft::create(genesis, &[device.key()], valid_until).expect("the device signs its own binding");
        let did = draft.did();
        let operation = finish(draft.sign(0, &control));
        let ring = Self {
            version: Version,
            chain: chain.clone(),
            did,
            control: Seed(control),
            next_control: Seed(next),
            after_next: None,
            recovery: Seed(recovery),
            devices: vec![DeviceSecret { id: Some(1), ..device }],
            lock: None,
        };
        (ring, operation)
    }

    /// The same keys, for a file that is encrypted under `passphrase`.
    ///
    /// # Errors
    /// [`Error::Cost`] if there is not the memory for it.
    pub fn encrypted(self, passphrase: &Passphrase) -> Result<Self, Error> {
        Ok(Self { lock: Some(Lock::new(passphrase)?), ..self })
    }

    /// Reads an identity's file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Exposed`], [`Error::TooLarge`], [`Error::Utf8`], [`Error::Json`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        load(path)
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn create(&self, path: &Path) -> Result<(), Error> {
        file::create_secret(path, to_bytes(self).as_bytes())
    }

    /// Replaces the file by what the keys are now, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        file::replace_secret(path, to_bytes(self).as_bytes())
    }

    /// The control key in force.
    #[must_use]
    pub fn control(&self) -> PublicKey {
        self.control.0.public()
    }

    /// The devices whose keys are here.
    #[must_use]
    pub fn devices(&self) -> &[DeviceSecret] {
        &self.devices
    }

    /// Whether a rotation was begun and not yet settled.
    #[must_use]
    pub const fn is_rotating(&self) -> bool {
        self.after_next.is_some()
    }

    /// Brings the file in line with what the chain proves: a rotation or a new device that has
    /// arrived is settled, a device that was removed is dropped. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Error::Behind`] if the chain has moved on without this file.
    pub fn settle(&mut self, entry: &Entry) -> Result<bool, Error> {
        let before = (self.control(), self.ids());
        if !holds(entry, &self.control.0) {
            // A deactivation reveals the next key too, and nothing follows it.
            if !holds(entry, &self.next_control.0) {
                return Err(Error::Behind("control key"));
            }
            self.control = self.next_control.clone();
            if let Some(after) = self.after_next.take() {
                self.next_control = after;
            }
        }
        let next = Control::single(self.next_control.0.public()).commitment();
        if !entry.is_deactivated() && next != entry.next_control {
            return Err(Error::Behind("commitment to the next control key"));
        }
        self.devices.retain_mut(|device| {
            let known = entry.devices.iter().find(|known| known.key == device.key().public());
            let on_its_way = device.id.is_none();
            device.id = known.map(|known| known.id);
            on_its_way || known.is_some()
        });
        Ok(before != (self.control(), self.ids()))
    }

    /// Begins a rotation, or takes up the one begun: the key that it commits to is in the file once
    /// the caller has saved it, and only then may the operation be sent.
    pub fn begin_rotation(&mut self) {
        self.after_next.get_or_insert_with(|| Seed(entropy::key()));
    }

    /// The operation of the rotation that was begun.
    ///
    /// # Panics
    /// If none was.
    #[must_use]
    pub fn rotation(&self, entry: &Entry, valid_until: Height) -> SignedOperation {
        let after = self.after_next.as_ref().expect("a rotation was begun");
        let operation = Operation::RotateControl {
            control: Control::single(self.next_control.0.public()),
            next_control: Control::single(after.0.public()).commitment(),
            recovery: Control::single(self.recovery.0.public()).recovery_commitment(),
            recovery_delay: entry.recovery_delay,
        };
        finish(self.draft(entry, operation, valid_until).sign(0, &self.next_control.0))
    }

    /// The operation that ends the identity for good.
    #[must_use]
    pub fn deactivation(&self, entry: &Entry, valid_until: Height) -> SignedOperation {
        let operation = Operation::Deactivate { control: Control::single(self.next_control.0.public()) };
        finish(self.draft(entry, operation, valid_until).sign(0, &self.next_control.0))
    }

    /// New keys for a device, or those of one that is still on its way.
    pub fn begin_device(&mut self) -> DeviceSecret {
        if let Some(waiting) = self.devices.iter().find(|device| device.id.is_none()) {
            return waiting.clone();
        }
        let device = DeviceSecret::generate();
        self.devices.push(device.clone());
        device
    }

    /// The operation that adds a device.
    #[must_use]
    pub fn addition(&self, entry: &Entry, device: &DeviceSecret, valid_until: Height) -> SignedOperation {
        let draft = Draft::add_device(&self.chain, &self.did, entry, device.key(), device.signal(), valid_until);
        finish(draft.sign(0, &self.control.0))
    }

    /// The operation that removes a device.
    #[must_use]
    pub fn removal(&self, entry: &Entry, device: u16, valid_until: Height) -> SignedOperation {
        finish(self.draft(entry, Operation::RemoveDevice { device }, valid_until).sign(0, &self.control.0))
    }

    fn draft(&self, entry: &Entry, operation: Operation, valid_until: Height) -> Draft {
        Draft::new(&self.chain, &self.did, entry, operation, valid_until)
    }

    fn ids(&self) -> Vec<Option<u16>> {
        self.devices.iter().map(|device| device.id).collect()
    }
}

fn holds(entry: &Entry, key: &SigningKey) -> bool {
    entry.control == Control::single(key.public())
}

fn finish(draft: Draft) -> SignedOperation {
    draft.finish().expect("one signature is within the bound")
}

impl std::fmt::Debug for SignalSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSecret")
    }
}

impl Serialize for SignalSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(hex::encode(*self.0)))
    }
}

impl<'de> Deserialize<'de> for SignalSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests;
