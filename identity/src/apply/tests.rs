use serde_json::json;
use types::{Decode, DecodeError, Encode, Hash, Height, List, Signature};

use crate::control::Control;
use crate::device::{Device, SignalBinding, Succession};
use crate::document::Document;
use crate::draft::Draft;
use crate::entry::{Entry, MAX_ENTRY_BYTES, Status};
use crate::error::Error;
use crate::fixture::{
    CONTROL, HEIGHT, NEXT, PHONE, RECOVERY, UNTIL, WEAK, alice, chain, create, device, genesis, key, life, named, operate, put, relay,
    services, set, signal, signed,
};
use crate::operation::{Genesis, IndexedSignature, MAX_OPERATION_BYTES, Operation, SignedOperation, Signer};

#[test]
fn a_life_is_frozen() {
    let steps: Vec<_> = life()
        .iter()
        .map(|(name, signed, entry)| {
            let document = Document::render(&signed.did, entry);
            json!({
                "name": name,
                "operation": hex(&signed.operation.to_bytes()),
                "signing": hex(&signed.signing_bytes(&chain())),
                "signed": hex(&signed.to_bytes()),
                "hash": signed.hash(&chain()).to_string(),
                "entry": hex(&entry.to_bytes()),
                "json": { "signed": signed, "entry": entry },
                "document": document,
            })
        })
        .collect();
    let genesis = genesis();
    let computed = json!({
        "chain": chain(),
        "height": HEIGHT,
        "genesis": hex(&genesis.to_bytes()),
        "did": crate::Did::of(&genesis),
        "next_control": set(&[NEXT], 1).commitment(),
        "recovery": set(&[RECOVERY], 1).recovery_commitment(),
        "steps": steps,
    });
    support::frozen("identity", &computed);
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn what_is_encoded_reads_back() {
    for (name, signed, entry) in life() {
        assert_eq!(SignedOperation::parse(&signed.to_bytes()), Ok(signed.clone()), "{name}");
        assert_eq!(Entry::from_bytes(&entry.to_bytes()), Ok(entry.clone()), "{name}");
        let text = serde_json::to_string(&(&signed, &entry)).expect("JSON");
        assert_eq!(serde_json::from_str::<(SignedOperation, Entry)>(&text).expect("our JSON"), (signed, entry), "{name}");
    }
}

#[test]
fn reserved_and_unknown_tags_are_refused() {
    let (_, entry) = alice();
    let bytes = entry.to_bytes();
    // The status stands before the heights of creation and last operation, a byte each.
    for tag in 2..=255 {
        let mut bytes = bytes.clone();
        let status = bytes.len() - 3;
        assert_eq!(std::mem::replace(&mut bytes[status], tag), 0);
        assert_eq!(Entry::from_bytes(&bytes), Err(DecodeError::Tag { what: "identity status", found: tag }));
    }
    let newer = [&[2], &bytes[1..]].concat();
    assert_eq!(Entry::from_bytes(&newer), Err(DecodeError::Tag { what: "identity entry version", found: 2 }));
    assert_eq!(Signer::from_bytes(&[2, 0]), Err(DecodeError::Tag { what: "signer", found: 2 }));
    assert_eq!(Succession::from_bytes(&[3]), Err(DecodeError::Tag { what: "succession", found: 3 }));
    for tag in [0, 3, 255] {
        assert_eq!(crate::ServiceKind::from_bytes(&[tag]), Err(DecodeError::Tag { what: "service kind", found: tag }));
    }
    let other = [&[6][..], &[1; 32]].concat();
    assert!(crate::SignalKey::from_bytes(&other).is_err(), "a Signal key of another type");
}

#[test]
fn each_operation_changes_what_it_says_and_no_more() {
    let life = life();
    for (place, (name, signed, after)) in life.iter().enumerate() {
        let Some((_, _, before)) = place.checked_sub(1).map(|place| &life[place]) else { continue };
        let mut expected = before.clone();
        expected.sequence += 1;
        expected.last_operation = signed.hash(&chain());
        match &signed.operation {
            Operation::Create { .. } => unreachable!("one creation"),
            Operation::Update { services } => expected.services = services.clone(),
            Operation::AddDevice { device, binding } => {
                let id = expected.next_device;
                expected.next_device += 1;
                let signal = SignalBinding {
                    identity_key: device.signal,
                    signature: *binding,
                    sequence: signed.sequence,
                    succession: Succession::First,
                };
                expected.devices.push(Device { id, key: device.key, signal, added: HEIGHT }).expect("room");
            }
            Operation::RemoveDevice { device } => expected.devices.retain(|known| known.id != *device),
            Operation::RotateDeviceSignalKey { device, signal, binding, succession } => {
                let succession = if succession.is_some() { Succession::Signed } else { Succession::Reset };
                let signal = SignalBinding { identity_key: *signal, signature: *binding, sequence: signed.sequence, succession };
                expected.devices.iter_mut().find(|known| known.id == *device).expect("a device").signal = signal;
            }
            Operation::RotateControl { control, next_control, recovery, recovery_delay } => {
                expected.control = control.clone();
                (expected.next_control, expected.recovery, expected.recovery_delay) = (*next_control, *recovery, *recovery_delay);
            }
            Operation::Deactivate { control } => {
                expected.control = control.clone();
                (expected.next_control, expected.recovery) = (Hash::ZERO, Hash::ZERO);
                (expected.devices, expected.services) = (List::default(), List::default());
                expected.status = Status::Deactivated { height: HEIGHT };
            }
        }
        assert_eq!(after, &expected, "{name}");
    }
}

#[test]
fn a_threshold_takes_as_many_and_any_of_them() {
    let genesis = Genesis { control: set(&[1, 4, 5], 2), ..genesis() };
    let first = create(genesis, &[PHONE], &[1, 4]);
    let entry = put(None, &first).expect("two of three");
    let update = || Draft::new(&chain(), &first.did, &entry, Operation::Update { services: services(&[]) }, UNTIL);
    let by = |signers: &[(u8, u8)]| signers.iter().fold(update(), |draft, (place, seed)| draft.sign(*place, &key(*seed))).finish();
    for signers in [&[(0, 1), (1, 4)][..], &[(2, 5), (0, 1)], &[(0, 1), (1, 4), (2, 5)]] {
        put(Some(&entry), &by(signers).expect("few")).unwrap_or_else(|error| panic!("{signers:?}: {error}"));
    }
    let refused = |signers, error| assert_eq!(put(Some(&entry), &by(signers).expect("few")), Err(error), "{signers:?}");
    refused(&[(0, 1)], Error::Threshold { found: 1, needed: 2 });
    refused(&[(0, 1), (0, 1)], Error::DuplicateSigner { signer: Signer::Control(0) });
    refused(&[(0, 1), (1, 1)], Error::BadSignature { signer: Signer::Control(1) });
    // Enough good signatures do not carry a bad one.
    refused(&[(0, 1), (1, 4), (2, 6)], Error::BadSignature { signer: Signer::Control(2) });
    refused(&[(0, 1), (3, 6)], Error::UnknownSigner { signer: Signer::Control(3) });
}

#[test]
fn an_id_is_never_given_again() {
    let (did, mut entry) = alice();
    entry = put(Some(&entry), &operate((&did, &entry), Operation::RemoveDevice { device: 1 }, &[CONTROL])).expect("device 1 goes");
    let again = Draft::add_device(&chain(), &did, &entry, &key(PHONE), signal(PHONE), UNTIL);
    entry = put(Some(&entry), &signed(again, &[CONTROL])).expect("the same phone comes back");
    assert_eq!(entry.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [2]);
}

#[test]
fn the_bounds_of_the_parts_keep_the_whole_within_4096_bytes() {
    let long = format!("https://{}", "a".repeat(120));
    let services: List<_, 4> = vec![relay(&long); 4].try_into().expect("4");
    let control = Control { keys: vec![WEAK; 8].try_into().expect("8"), threshold: 8 };
    let binding =
        SignalBinding { identity_key: signal(1), signature: Signature([1; 64]), sequence: u64::MAX, succession: Succession::Signed };
    let most = Device { id: u16::MAX, key: WEAK, signal: binding, added: Height(u64::MAX) };
    let entry = Entry {
        control: control.clone(),
        sequence: u64::MAX,
        last_operation: Hash::ZERO,
        next_control: Hash::ZERO,
        recovery: Hash::ZERO,
        recovery_delay: u32::MAX,
        next_device: u16::MAX,
        devices: vec![most; 16].try_into().expect("16"),
        services: services.clone(),
        status: Status::Deactivated { height: Height(u64::MAX) },
        created: Height(u64::MAX),
        updated: Height(u64::MAX),
    };
    assert_eq!(entry.to_bytes().len(), 3378);
    assert!(entry.to_bytes().len() <= MAX_ENTRY_BYTES, "an entry");
    let genesis = Genesis {
        chain: named(&"a".repeat(50)),
        control,
        next_control: Hash::ZERO,
        recovery: Hash::ZERO,
        recovery_delay: u32::MAX,
        devices: vec![device(PHONE); 16].try_into().expect("16"),
        services,
        nonce: [0; 16],
    };
    let one = IndexedSignature { signer: Signer::Device(u16::MAX), signature: Signature([0; 64]) };
    let signed = SignedOperation {
        did: crate::Did::of(&genesis),
        sequence: u64::MAX,
        previous: Hash::ZERO,
        valid_until: Height(u64::MAX),
        operation: Operation::Create { genesis, bindings: vec![Signature([0; 64]); 16].try_into().expect("16") },
        signatures: vec![one; 8].try_into().expect("8"),
    };
    assert_eq!(signed.to_bytes().len(), 3616);
    assert!(signed.to_bytes().len() <= MAX_OPERATION_BYTES, "an operation");
}
