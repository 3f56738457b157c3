//! Each rule, and what it refuses.

use std::collections::BTreeSet;

use types::{ChainId, DecodeError, Encode, Hash, Height, PublicKey};

use super::{MAX_RECOVERY_DELAY, MAX_VALIDITY, MIN_RECOVERY_DELAY, apply};
use crate::control::Control;
use crate::device::bind;
use crate::draft::Draft;
use crate::entry::Entry;
use crate::error::Error;
use crate::fixture::{
    AFTER, CONTROL, HEIGHT, LAPTOP, NEXT, PHONE, RECOVERY, STRANGER, UNTIL, WEAK, alice, chain, create, device, genesis, key, life, named,
    operate, put, rotation, services, set, signal, signed,
};
use crate::operation::{Genesis, Operation, SignedOperation, Signer};

/// A story: what the state holds, an operation, and the rule that refuses it.
struct Refusals(BTreeSet<u32>);

impl Refusals {
    fn check(&mut self, story: &str, entry: Option<&Entry>, signed: &SignedOperation, error: Error) {
        self.0.insert(error.code());
        assert_eq!(put(entry, signed), Err(error), "{story}");
    }

    fn parse(&mut self, story: &str, bytes: &[u8], error: Error) {
        self.0.insert(error.code());
        assert_eq!(SignedOperation::parse(bytes), Err(error), "{story}");
    }
}

#[test]
fn every_rule_refuses() {
    let mut refused = Refusals(BTreeSet::new());
    refuse_frames(&mut refused);
    refuse_creations(&mut refused);
    refuse_devices(&mut refused);
    refuse_rotations(&mut refused);
    assert_eq!(refused.0, (1..=26).collect(), "each code is reached");
}

fn refuse_frames(refused: &mut Refusals) {
    let (did, entry) = alice();
    let update = || operate((&did, &entry), Operation::Update { services: services(&[]) }, &[CONTROL]);
    let bytes = update().to_bytes();
    refused.parse("too many bytes", &[0; 4097], Error::TooLarge { found: 4097, bound: 4096 });
    refused.parse("nothing", &[], Error::Malformed(DecodeError::Truncated { missing: 1 }));
    refused.parse("another version", &[2], Error::Malformed(DecodeError::Tag { what: "operation version", found: 2 }));
    refused.parse("a byte more", &[&bytes[..], &[0]].concat(), Error::Malformed(DecodeError::Trailing { left: 1 }));
    // The operation's tag stands after version, DID, sequence, previous and valid_until.
    for tag in [0, 8, 9, 10, 11, 255] {
        let mut bytes = bytes.clone();
        assert_eq!(std::mem::replace(&mut bytes[1 + 32 + 1 + 32 + 2], tag), 2);
        refused.parse("an unknown operation", &bytes, Error::Malformed(DecodeError::Tag { what: "identity operation", found: tag }));
    }

    let late = |height| apply(Some(&entry), &chain(), Height(height), &update());
    assert!(late(UNTIL.0).is_ok(), "the last height counts");
    assert_eq!(late(201), Err(Error::Expired { valid_until: UNTIL, height: Height(201) }));
    let far = |height| {
        let draft = Draft::new(&chain(), &did, &entry, Operation::Update { services: services(&[]) }, Height(height));
        signed(draft, &[CONTROL])
    };
    let latest = Height(HEIGHT.0 + MAX_VALIDITY);
    assert!(put(Some(&entry), &far(latest.0)).is_ok(), "the latest height there may be");
    let farther = latest.next();
    refused.check("too far", Some(&entry), &far(farther.0), Error::ValidTooFar { valid_until: farther, latest });
    refused.check("past", Some(&entry), &far(99), Error::Expired { valid_until: Height(99), height: HEIGHT });

    refused.check("an update of nobody", None, &update(), Error::UnknownDid);
    let stale = |sequence| SignedOperation { sequence, ..update() };
    refused.check("a sequence back", Some(&entry), &stale(0), Error::StaleSequence { found: 0, expected: 1 });
    refused.check("a sequence ahead", Some(&entry), &stale(2), Error::StaleSequence { found: 2, expected: 1 });
    let elsewhere = SignedOperation { previous: Hash([1; 32]), ..update() };
    refused.check("after another operation", Some(&entry), &elsewhere, Error::WrongPrevious);
    let stranger = operate((&did, &entry), Operation::Update { services: services(&[]) }, &[STRANGER]);
    refused.check("a stranger", Some(&entry), &stranger, Error::BadSignature { signer: Signer::Control(0) });
    let nobody = operate((&did, &entry), Operation::Update { services: services(&[]) }, &[]);
    refused.check("nobody", Some(&entry), &nobody, Error::Threshold { found: 0, needed: 1 });
    for (story, wrong) in [("a bad one", &["https://a.example", "a"][..]), ("one twice", &["https://a.example", "https://a.example"])] {
        let update = operate((&did, &entry), Operation::Update { services: services(wrong) }, &[CONTROL]);
        refused.check(story, Some(&entry), &update, Error::BadService { place: 1 });
    }
    let life = life();
    let (_, _, dead) = life.last().expect("a last step");
    refused.check("after the end", Some(dead), &update(), Error::Deactivated { height: HEIGHT });
}

fn refuse_creations(refused: &mut Refusals) {
    let (_, entry) = alice();
    let good = || create(genesis(), &[PHONE], &[CONTROL]);
    refused.check("created before", Some(&entry), &good(), Error::AlreadyExists);
    let life = life();
    let (_, _, dead) = life.last().expect("a last step");
    refused.check("created again after the end", Some(dead), &good(), Error::AlreadyExists);
    let mut other = good();
    other.did.0[0] ^= 1;
    refused.check("another identifier", None, &other, Error::WrongDid);
    refused.check("a sequence", None, &SignedOperation { sequence: 1, ..good() }, Error::StaleSequence { found: 1, expected: 0 });
    refused.check("something before", None, &SignedOperation { previous: Hash([1; 32]), ..good() }, Error::WrongPrevious);
    let mut check = |story, genesis: Genesis, error| refused.check(story, None, &create(genesis, &[PHONE], &[CONTROL]), error);
    let elsewhere: ChainId = named("zynk-test-2");
    check("another chain", Genesis { chain: elsewhere.clone(), ..genesis() }, Error::WrongChain { found: elsewhere });
    check("no keys", Genesis { control: set(&[], 0), ..genesis() }, Error::BadThreshold { threshold: 0, keys: 0 });
    check("a threshold of zero", Genesis { control: set(&[1], 0), ..genesis() }, Error::BadThreshold { threshold: 0, keys: 1 });
    check("a threshold not to be met", Genesis { control: set(&[1], 2), ..genesis() }, Error::BadThreshold { threshold: 2, keys: 1 });
    check("a weak key", Genesis { control: Control::single(WEAK), ..genesis() }, Error::WeakKey { role: "control key" });
    check("no point", Genesis { control: Control::single(no_point()), ..genesis() }, Error::WeakKey { role: "control key" });
    check("a key twice", Genesis { control: set(&[1, 1], 2), ..genesis() }, Error::DuplicateKey { role: "control key" });
    check("a control key is a device's", Genesis { control: set(&[1, PHONE], 1), ..genesis() }, Error::DuplicateKey { role: "device key" });
    check("no next keys", Genesis { next_control: Hash::ZERO, ..genesis() }, Error::MissingCommitment { to: "next control keys" });
    check("no recovery keys", Genesis { recovery: Hash::ZERO, ..genesis() }, Error::MissingCommitment { to: "recovery keys" });
    check("the next keys are these", Genesis { next_control: set(&[1], 1).commitment(), ..genesis() }, Error::ReusedKey);
    check("the recovery keys are these", Genesis { recovery: set(&[1], 1).recovery_commitment(), ..genesis() }, Error::ReusedKey);
    for found in [0, MIN_RECOVERY_DELAY - 1, MAX_RECOVERY_DELAY + 1, u32::MAX] {
        check("a delay out of range", Genesis { recovery_delay: found, ..genesis() }, Error::BadRecoveryDelay { found });
    }
    check("a bad service", Genesis { services: services(&["ftp://a"]), ..genesis() }, Error::BadService { place: 0 });

    let twins = |first, second| Genesis { devices: vec![first, second].try_into().expect("2"), ..genesis() };
    let same_key = twins(device(PHONE), crate::DeviceKeys { signal: signal(1), ..device(PHONE) });
    let two = create(same_key, &[PHONE, PHONE], &[CONTROL]);
    refused.check("two devices of one key", None, &two, Error::DuplicateKey { role: "device key" });
    let same_signal = twins(device(PHONE), crate::DeviceKeys { signal: signal(PHONE), ..device(LAPTOP) });
    let two = create(same_signal, &[PHONE, LAPTOP], &[CONTROL]);
    refused.check("two devices of one Signal key", None, &two, Error::DuplicateKey { role: "Signal key" });

    for (count, device) in [(0, 1), (2, 2)] {
        let mut unbound = good();
        let Operation::Create { bindings, .. } = &mut unbound.operation else { unreachable!("a creation") };
        *bindings = vec![bindings[0]; count].try_into().expect("few");
        refused.check("a binding too few or too many", None, &unbound, Error::BadBinding { device });
    }
    for (devices, wrong) in [(&[][..], 1), (&[LAPTOP], 1), (&[PHONE, LAPTOP], 2)] {
        let devices: Vec<_> = devices.iter().map(|seed| key(*seed)).collect();
        let draft = Draft::create(genesis(), &devices.iter().collect::<Vec<_>>(), UNTIL);
        assert_eq!(draft.err(), Some(Error::BadBinding { device: wrong }), "other devices' keys");
    }
}

/// 32 bytes that no point of the curve has: two is such a y.
fn no_point() -> PublicKey {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    let key = PublicKey(bytes);
    assert!(!key.is_usable(), "y = 2 is not on the curve");
    key
}

fn refuse_devices(refused: &mut Refusals) {
    let (did, entry) = alice();
    let add = |entry: &Entry, seed, byte| signed(Draft::add_device(&chain(), &did, entry, &key(seed), signal(byte), UNTIL), &[CONTROL]);
    refused.check("a device's key again", Some(&entry), &add(&entry, PHONE, 40), Error::DuplicateKey { role: "device key" });
    refused.check("a control key", Some(&entry), &add(&entry, CONTROL, 40), Error::DuplicateKey { role: "device key" });
    refused.check("a Signal key again", Some(&entry), &add(&entry, LAPTOP, PHONE), Error::DuplicateKey { role: "Signal key" });
    let binding = bind(&chain(), &did, 1, &key(LAPTOP), &signal(LAPTOP));
    let weak = crate::DeviceKeys { key: WEAK, signal: signal(40) };
    let weak = operate((&did, &entry), Operation::AddDevice { device: weak, binding }, &[CONTROL]);
    refused.check("a weak key", Some(&entry), &weak, Error::WeakKey { role: "device key" });
    let other = operate((&did, &entry), Operation::AddDevice { device: device(40), binding }, &[CONTROL]);
    refused.check("another device's binding", Some(&entry), &other, Error::BadBinding { device: 2 });

    let mut full = entry.clone();
    for seed in 41..56 {
        full = put(Some(&full), &add(&full, seed, seed)).expect("up to 16 devices");
    }
    refused.check("a 17th device", Some(&full), &add(&full, 60, 60), Error::TooManyDevices);
    let spent = Entry { next_device: u16::MAX, ..entry.clone() };
    refused.check("no id left", Some(&spent), &add(&spent, 60, 60), Error::TooManyDevices);

    let mut check = |story, operation, signers: &[(Signer, u8)], error| {
        let draft = Draft::new(&chain(), &did, &full, operation, UNTIL);
        let bytes = draft.signing_bytes();
        let draft = signers.iter().fold(draft, |draft, (signer, seed)| draft.attach(*signer, key(*seed).sign(&bytes)));
        refused.check(story, Some(&full), &draft.finish().expect("few signatures"), error);
    };
    let (control, own) = ((Signer::Control(0), CONTROL), (Signer::Device(1), PHONE));
    let remove = |device| Operation::RemoveDevice { device };
    check("an unknown device", remove(17), &[control], Error::UnknownDevice { id: 17 });
    check("by another device", remove(1), &[(Signer::Device(2), 41)], Error::UnknownSigner { signer: Signer::Device(2) });
    check("by another key as the device", remove(1), &[(Signer::Device(1), 41)], Error::BadSignature { signer: Signer::Device(1) });
    check("one key twice", remove(1), &[control, control], Error::DuplicateSigner { signer: Signer::Control(0) });
    check("by the device and control", remove(1), &[own, control], Error::UnknownSigner { signer: Signer::Device(1) });
    check(
        "an update by a device",
        Operation::Update { services: services(&[]) },
        &[own],
        Error::UnknownSigner { signer: Signer::Device(1) },
    );

    let sequence = full.sequence + 1;
    let rotate = |device, to, binding, succession| Operation::RotateDeviceSignalKey { device, signal: signal(to), binding, succession };
    let bound = |seed, to| bind(&chain(), &did, sequence, &key(seed), &signal(to));
    check("its own doing", rotate(1, 70, bound(PHONE, 70), None), &[own], Error::UnknownSigner { signer: Signer::Device(1) });
    check("an unknown device", rotate(17, 70, bound(PHONE, 70), None), &[control], Error::UnknownDevice { id: 17 });
    check("the key that it has", rotate(1, PHONE, bound(PHONE, PHONE), None), &[control], Error::DuplicateKey { role: "Signal key" });
    check("the key of another", rotate(1, 41, bound(PHONE, 41), None), &[control], Error::DuplicateKey { role: "Signal key" });
    check("bound by another", rotate(1, 70, bound(41, 70), None), &[control], Error::BadBinding { device: 1 });
    check("another key bound", rotate(1, 70, bound(PHONE, 71), None), &[control], Error::BadBinding { device: 1 });
    let nothing = Some(Vec::new().try_into().expect("no bytes"));
    check("an empty signature of the old key", rotate(1, 70, bound(PHONE, 70), nothing), &[control], Error::BadBinding { device: 1 });
    let early = bind(&chain(), &did, sequence - 1, &key(PHONE), &signal(70));
    check("a binding of another sequence", rotate(1, 70, early, None), &[control], Error::BadBinding { device: 1 });
}

fn refuse_rotations(refused: &mut Refusals) {
    let (did, entry) = alice();
    let by = |operation, control: &[u8]| operate((&did, &entry), operation, control);
    let to = |control: Control, next: &Control| Operation::RotateControl {
        control,
        next_control: next.commitment(),
        recovery: set(&[RECOVERY], 1).recovery_commitment(),
        recovery_delay: MIN_RECOVERY_DELAY,
    };
    let bad = |place| Error::BadSignature { signer: Signer::Control(place) };
    refused.check("a thief with today's keys", Some(&entry), &by(rotation(), &[CONTROL]), bad(0));
    let thief = set(&[STRANGER], 1);
    let stolen = by(to(thief.clone(), &set(&[STRANGER + 1], 1)), &[STRANGER]);
    refused.check("keys not committed to", Some(&entry), &stolen, Error::CommitmentMismatch);
    let end = |control| Operation::Deactivate { control };
    refused.check("an end by today's keys", Some(&entry), &by(end(set(&[CONTROL], 1)), &[CONTROL]), Error::CommitmentMismatch);
    refused.check("an end by a thief who saw the reveal", Some(&entry), &by(end(set(&[NEXT], 1)), &[CONTROL]), bad(0));
    let same = by(to(set(&[NEXT], 1), &set(&[NEXT], 1)), &[NEXT]);
    refused.check("a rotation to what it reveals", Some(&entry), &same, Error::ReusedKey);
    let none = Operation::RotateControl {
        control: set(&[NEXT], 1),
        next_control: Hash::ZERO,
        recovery: Hash([1; 32]),
        recovery_delay: MIN_RECOVERY_DELAY,
    };
    let error = Error::MissingCommitment { to: "next control keys" };
    refused.check("a rotation without a commitment", Some(&entry), &by(none, &[NEXT]), error);

    // A commitment hides its set, so what is wrong with it shows at the rotation.
    for (story, committed, error) in [
        ("a hidden threshold of zero", set(&[AFTER], 0), Error::BadThreshold { threshold: 0, keys: 1 }),
        ("a hidden weak key", Control::single(WEAK), Error::WeakKey { role: "control key" }),
        ("a hidden key twice", set(&[AFTER, AFTER], 2), Error::DuplicateKey { role: "control key" }),
        ("a hidden key of today's", set(&[CONTROL, AFTER], 2), Error::ReusedKey),
        ("a hidden device key", set(&[PHONE, AFTER], 2), Error::DuplicateKey { role: "control key" }),
    ] {
        let genesis = Genesis { next_control: committed.commitment(), ..genesis() };
        let first = create(genesis, &[PHONE], &[CONTROL]);
        let entry = put(None, &first).expect("a commitment tells nothing");
        let rotate = operate((&first.did, &entry), to(committed, &set(&[STRANGER], 1)), &[AFTER]);
        refused.check(story, Some(&entry), &rotate, error);
    }
}
