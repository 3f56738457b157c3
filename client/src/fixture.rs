//! A cast for tests: people with identities made by the rules of the chain, and their devices' Signal keys.

use std::collections::BTreeMap;

use identity::{Control, DeviceKeys, Did, Draft, Entry, Genesis, apply};
use mailbox::Address;
use rpc::relay::{PrekeyBundle, PrekeyBundles, possession_message};
use types::{ChainId, Height, List, Millis, SigningKey};

use crate::contact::Proven;
use crate::signal::{Own, Peer, Prekeys, Used, prekeys};

pub(crate) const NOW: Millis = Millis(1_790_000_000_000);
const UNTIL: Height = Height(200);

pub(crate) fn chain() -> ChainId {
    "zynk-test-1".parse().expect("a chain id")
}

/// A person, with everything that their devices and their kit hold.
pub(crate) struct Person {
    pub(crate) did: Did,
    pub(crate) entry: Entry,
    pub(crate) control: SigningKey,
    pub(crate) devices: BTreeMap<u16, Device>,
}

/// A device with its prekeys.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) own: Own,
    pub(crate) signed: prekeys::Made<rpc::relay::SignedPrekey>,
    pub(crate) kyber: prekeys::Made<rpc::relay::SignedPrekey>,
    pub(crate) one_time: prekeys::Made<rpc::relay::OneTimePrekey>,
}

impl Device {
    fn new(seed: u8) -> Self {
        let own = Own::generate();
        Self {
            key: SigningKey::from_seed(&[seed; 32]),
            own,
            signed: prekeys::signed(&own, 7, NOW).expect("a prekey"),
            kyber: prekeys::kyber(&own, 8, NOW).expect("a prekey"),
            one_time: prekeys::one_time(9).expect("a prekey"),
        }
    }

    /// The secret halves that a message names.
    pub(crate) fn prekeys(&self, used: &Used) -> Prekeys {
        assert_eq!((used.signed, used.kyber), (7, 8));
        let one_time = used.one_time.map(|_| self.one_time.record.clone());
        Prekeys { signed: Some(self.signed.record.clone()), kyber: Some(self.kyber.record.clone()), one_time }
    }
}

impl Person {
    /// Somebody with devices 1 to `devices`; `seed` makes the keys.
    pub(crate) fn new(seed: u8, devices: u16) -> Self {
        let control = SigningKey::from_seed(&[seed; 32]);
        let next = SigningKey::from_seed(&[seed + 1; 32]);
        let made: Vec<Device> = (0..devices).map(|id| Device::new(seed + 10 + u8::try_from(id).expect("few devices"))).collect();
        let keys: Vec<_> = made.iter().map(|device| DeviceKeys { key: device.key.public(), signal: device.own.key() }).collect();
        let genesis = Genesis {
            chain: chain(),
            control: Control::single(control.public()),
            next_control: Control::single(next.public()).commitment(),
            recovery: Control::single(next.public()).recovery_commitment(),
            recovery_delay: 100,
            devices: keys.try_into().expect("few devices"),
            services: List::default(),
            nonce: [seed; 16],
        };
        let signers: Vec<_> = made.iter().map(|device| &device.key).collect();
        let operation =
            Draft::create(genesis, &signers, UNTIL).expect("the devices' keys").sign(0, &control).finish().expect("one signature");
        let entry = apply(None, &chain(), Height(100), &operation).expect("a valid creation");
        Self { did: operation.did, entry, control, devices: (1..).zip(made).collect() }
    }

    pub(crate) fn address(&self, device: u16) -> Address {
        Address { did: self.did, device }
    }

    pub(crate) fn peer(&self, device: u16) -> Peer {
        Peer { address: self.address(device), key: self.devices[&device].own.key() }
    }

    pub(crate) fn own(&self, device: u16) -> &Own {
        &self.devices[&device].own
    }

    /// What an honest relay hands out for a device.
    pub(crate) fn bundle(&self, id: u16) -> PrekeyBundle {
        let device = &self.devices[&id];
        let key = device.own.key();
        PrekeyBundle {
            device: id,
            registration_id: device.own.registration_id,
            identity_key: key,
            possession: device.own.sign(&possession_message(&chain(), &self.did, id, &device.key.public(), &key)).into(),
            succession: None,
            signed_prekey: device.signed.public.clone(),
            kyber_prekey: device.kyber.public.clone(),
            one_time: Some(device.one_time.public.clone()),
        }
    }

    /// What an honest relay hands out.
    pub(crate) fn bundles(&self) -> PrekeyBundles {
        PrekeyBundles { did: self.did, devices: self.devices.keys().map(|id| self.bundle(*id)).collect() }
    }

    /// Applies an operation that the control key signs.
    pub(crate) fn change(&mut self, draft: impl FnOnce(&Self) -> Draft) {
        let operation = draft(self).sign(0, &self.control).finish().expect("one signature");
        self.entry = apply(Some(&self.entry), &chain(), Height(120), &operation).expect("a valid operation");
    }

    pub(crate) const fn until() -> Height {
        UNTIL
    }
}

/// What is compared against, for a chain and a person.
pub(crate) fn proven<'a>(chain: &'a ChainId, person: &'a Person) -> Proven<'a> {
    Proven { chain, did: &person.did, entry: &person.entry }
}
