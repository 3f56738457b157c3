//! A cast for tests: keys that are the same in every run, and one identity made of them.

use types::{ChainId, Height, List, PublicKey, SigningKey};

use crate::apply::apply;
use crate::control::Control;
use crate::device::{DeviceKeys, SignalKey};
use crate::did::Did;
use crate::draft::Draft;
use crate::entry::Entry;
use crate::error::Error;
use crate::operation::{Genesis, Operation, SignedOperation};
use crate::service::{Service, ServiceKind};

/// The height of the block that all operations stand in.
pub(crate) const HEIGHT: Height = Height(100);

/// The last height at which they would count.
pub(crate) const UNTIL: Height = Height(200);

/// The control key in force after the creation, and those after it.
pub(crate) const CONTROL: u8 = 1;
pub(crate) const NEXT: u8 = 2;
pub(crate) const AFTER: u8 = 3;
/// The recovery key.
pub(crate) const RECOVERY: u8 = 9;
/// The key of device 1, and of others.
pub(crate) const PHONE: u8 = 11;
pub(crate) const LAPTOP: u8 = 12;
/// A key that has no part in the identity.
pub(crate) const STRANGER: u8 = 66;

/// A point of small order: its signatures prove nothing.
pub(crate) const WEAK: PublicKey = PublicKey([0; 32]);

pub(crate) fn chain() -> ChainId {
    named("zynk-test-1")
}

pub(crate) fn named(chain: &str) -> ChainId {
    chain.parse().expect("a chain id")
}

/// The key of a seed of 32 equal bytes.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A Signal key. That it is no secret's public half matters to nobody here.
pub(crate) fn signal(byte: u8) -> SignalKey {
    SignalKey::from_x25519(&[byte; 32])
}

pub(crate) fn set(seeds: &[u8], threshold: u8) -> Control {
    let keys: Vec<_> = seeds.iter().map(|seed| key(*seed).public()).collect();
    Control { keys: keys.try_into().expect("at most 8 keys"), threshold }
}

pub(crate) fn device(seed: u8) -> DeviceKeys {
    DeviceKeys { key: key(seed).public(), signal: signal(seed) }
}

pub(crate) fn relay(endpoint: &str) -> Service {
    Service { kind: ServiceKind::Relay, endpoint: endpoint.try_into().expect("at most 128 bytes") }
}

pub(crate) fn services(endpoints: &[&str]) -> List<Service, 4> {
    endpoints.iter().map(|endpoint| relay(endpoint)).collect::<Vec<_>>().try_into().expect("at most 4 services")
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        chain: chain(),
        control: set(&[CONTROL], 1),
        next_control: set(&[NEXT], 1).commitment(),
        recovery: set(&[RECOVERY], 1).recovery_commitment(),
        recovery_delay: 259_200,
        devices: vec![device(PHONE)].try_into().expect("one device"),
        services: services(&["https://relay.example.org"]),
        nonce: [7; 16],
    }
}

/// `genesis` signed by the control keys of these seeds, its devices being those of `devices`.
pub(crate) fn create(genesis: Genesis, devices: &[u8], control: &[u8]) -> SignedOperation {
    let devices: Vec<_> = devices.iter().map(|seed| key(*seed)).collect();
    let draft = Draft::create(genesis, &devices.iter().collect::<Vec<_>>(), UNTIL).expect("the devices' keys");
    signed(draft, control)
}

/// The draft, signed by the control keys of these seeds in their order.
pub(crate) fn signed(draft: Draft, control: &[u8]) -> SignedOperation {
    let draft = (0..).zip(control).fold(draft, |draft, (place, seed)| draft.sign(place, &key(*seed)));
    draft.finish().expect("at most 8 signatures")
}

pub(crate) fn put(entry: Option<&Entry>, signed: &SignedOperation) -> Result<Entry, Error> {
    apply(entry, &chain(), HEIGHT, signed)
}

/// The identity right after its creation, with device 1.
pub(crate) fn alice() -> (Did, Entry) {
    let signed = create(genesis(), &[PHONE], &[CONTROL]);
    (signed.did, put(None, &signed).expect("a valid creation"))
}

/// `operation` on `entry`, signed by the control keys of these seeds.
pub(crate) fn operate((did, entry): (&Did, &Entry), operation: Operation, control: &[u8]) -> SignedOperation {
    signed(Draft::new(&chain(), did, entry, operation, UNTIL), control)
}

/// The rotation from the keys after the creation to those after them.
pub(crate) fn rotation() -> Operation {
    Operation::RotateControl {
        control: set(&[NEXT], 1),
        next_control: set(&[AFTER], 1).commitment(),
        recovery: set(&[RECOVERY], 1).recovery_commitment(),
        recovery_delay: 259_200,
    }
}

/// Every kind of operation once, each with the entry that follows from it.
pub(crate) fn life() -> Vec<(&'static str, SignedOperation, Entry)> {
    let create = create(genesis(), &[PHONE], &[CONTROL]);
    let did = create.did;
    let mut life: Vec<(&'static str, SignedOperation, Entry)> = Vec::new();
    let step = |name, make: &dyn Fn(&Entry) -> SignedOperation, life: &mut Vec<(&'static str, SignedOperation, Entry)>| {
        let before = life.last().map(|(_, _, entry)| entry.clone());
        let signed = before.as_ref().map_or_else(|| create.clone(), make);
        let after = put(before.as_ref(), &signed).unwrap_or_else(|error| panic!("{name}: {error}"));
        life.push((name, signed, after));
    };
    let moved = services(&["https://relay.example.net:8443/zynk", "http://[::1]:8080"]);
    let proof = vec![0xaa; 64].try_into().expect("64 bytes");
    let rotated = |entry: &Entry, id, seed, byte, proof| {
        Draft::rotate_signal_key(&chain(), &did, entry, (id, &key(seed)), signal(byte), proof, UNTIL)
    };
    step("create", &|_| create.clone(), &mut life);
    step("update", &|entry| operate((&did, entry), Operation::Update { services: moved.clone() }, &[CONTROL]), &mut life);
    let laptop = |entry: &Entry| Draft::add_device(&chain(), &did, entry, &key(LAPTOP), signal(LAPTOP), UNTIL);
    step("add device", &|entry| signed(laptop(entry), &[CONTROL]), &mut life);
    step(
        "rotate Signal key, signed by the old",
        &|entry| signed(rotated(entry, 2, LAPTOP, 31, Some(Clone::clone(&proof))), &[CONTROL]),
        &mut life,
    );
    step("rotate Signal key, reset", &|entry| signed(rotated(entry, 1, PHONE, 32, None), &[CONTROL]), &mut life);
    step("rotate control", &|entry| operate((&did, entry), rotation(), &[NEXT]), &mut life);
    step("remove device, by control", &|entry| operate((&did, entry), Operation::RemoveDevice { device: 1 }, &[NEXT]), &mut life);
    let leave = |entry: &Entry| Draft::new(&chain(), &did, entry, Operation::RemoveDevice { device: 2 }, UNTIL);
    step("remove device, by itself", &|entry| leave(entry).sign_as_device(2, &key(LAPTOP)).finish().expect("one signature"), &mut life);
    step("deactivate", &|entry| operate((&did, entry), Operation::Deactivate { control: set(&[AFTER], 1) }, &[AFTER]), &mut life);
    life
}
