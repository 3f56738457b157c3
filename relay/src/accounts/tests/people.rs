use genesis::{DeviceSecret, Keyring};
use identity::{Did, Entry, SignalKey, SignedOperation};
use mailbox::{Address, Bytes};
use rpc::relay::{OneTimePrekey, PublishPrekeys, SignedPrekey};
use types::{ChainId, Height, SigningKey};

use crate::accounts::Known;

pub(crate) const CHAIN: &str = "zynk-test-1";

const VALID_UNTIL: Height = Height(1_000);

/// Somebody with an identity, as the chain would have it.
pub(crate) struct Person {
    pub(crate) ring: Keyring,
    pub(crate) entry: Entry,
    pub(crate) create: SignedOperation,
    pub(crate) height: u64,
}

impl Person {
    pub(crate) fn new() -> Self {
        let chain: ChainId = CHAIN.parse().expect("a chain");
        let (ring, create) = Keyring::generate(&chain, VALID_UNTIL);
        let entry = identity::apply(None, &chain, Height(1), &create).expect("a new identity");
        Self { ring, entry, create, height: 1 }
    }

    pub(crate) fn did(&self) -> Did {
        self.ring.did
    }

    pub(crate) fn known(&self) -> Known {
        Known { entry: self.entry.clone(), height: Height(self.height) }
    }

    pub(crate) fn address(&self, device: u16) -> Address {
        Address { did: self.did(), device }
    }

    pub(crate) fn device(&self, id: u16) -> &DeviceSecret {
        self.ring.devices().iter().find(|device| device.id == Some(id)).expect("a device of this person")
    }

    pub(crate) fn key(&self, device: u16) -> SigningKey {
        self.device(device).key().clone()
    }

    /// Not applied yet.
    pub(crate) fn adding(&mut self) -> SignedOperation {
        let device = self.ring.begin_device();
        self.ring.addition(&self.entry, &device, VALID_UNTIL)
    }

    /// Not applied yet.
    pub(crate) fn removing(&self, device: u16) -> SignedOperation {
        self.ring.removal(&self.entry, device, VALID_UNTIL)
    }

    pub(crate) fn deactivating(&self) -> SignedOperation {
        self.ring.deactivation(&self.entry, VALID_UNTIL)
    }

    /// The Signal key that the entry has for a device.
    pub(crate) fn signal(&self, device: u16) -> SignalKey {
        self.entry.device(device).expect("a device of this person").signal.identity_key
    }

    /// A device has another Signal key from the next block on. Who signed for it is not the relay's to check.
    pub(crate) fn rekey(&mut self, id: u16) {
        self.height += 1;
        let key = SignalKey::from_x25519(&[u8::try_from(self.height).expect("a few blocks"); 32]);
        for device in self.entry.devices.iter_mut().filter(|device| device.id == id) {
            device.signal.identity_key = key;
        }
    }

    pub(crate) fn apply(&mut self, operation: &SignedOperation) {
        let chain: ChainId = CHAIN.parse().expect("a chain");
        self.height += 1;
        self.entry = identity::apply(Some(&self.entry), &chain, Height(self.height), operation).expect("it follows");
        self.ring.settle(&self.entry).expect("these keys");
    }
}

/// Prekeys of a device, with one-time keys of both kinds numbered from `first`.
pub(crate) fn prekeys(person: &Person, device: u16, registration_id: u32, first: u32, count: u32) -> PublishPrekeys {
    PublishPrekeys {
        registration_id,
        identity_key: person.device(device).signal(),
        possession: Bytes(vec![7; 64]),
        succession: None,
        signed_prekey: SignedPrekey { id: 1, key: x25519(1), signature: Bytes(vec![1; 64]) },
        last_resort_kyber: kyber(0),
        one_time: (first..first + count).map(|id| OneTimePrekey { id, key: x25519(id) }).collect(),
        one_time_kyber: (first..first + count).map(kyber).collect(),
    }
}

fn x25519(id: u32) -> Bytes {
    let mut key = vec![5; 33];
    key[1..5].copy_from_slice(&id.to_be_bytes());
    Bytes(key)
}

fn kyber(id: u32) -> SignedPrekey {
    let mut key = vec![8; 1_569];
    key[1..5].copy_from_slice(&id.to_be_bytes());
    SignedPrekey { id, key: Bytes(key), signature: Bytes(vec![2; 64]) }
}
