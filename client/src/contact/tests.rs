use identity::{Draft, Operation};
use mailbox::Bytes;
use types::SigningKey;

use super::change::changes;
use super::*;
use crate::fixture::{Person, chain, proven};
use crate::signal::{Own, Refused};

/// A relay that lies in every way that it can.
#[test]
fn what_a_lying_relay_says_is_named() {
    let (bob, mallory) = (Person::new(1, 2), Person::new(101, 1));
    let did = bob.did;
    let check_lie = |story: &str, lie: &dyn Fn(&mut PrekeyBundles), known: &[u16], expected: Result<&[u16], Mismatch>| {
        let (chain, mut bundles) = (chain(), bob.bundles());
        lie(&mut bundles);
        let found = check(&proven(&chain, &bob), &bundles, &known.iter().copied().collect(), None);
        let found = found.map(|checked| checked.devices.iter().map(|device| device.device).collect::<Vec<_>>());
        assert_eq!(found, expected.map(<[u16]>::to_vec), "{story}");
    };
    let prekeys = |device, source| Err(Mismatch::Prekeys { did, device, source });
    check_lie("the truth", &|_| {}, &[], Ok(&[1, 2]));
    check_lie("a device that has published nothing yet", &|told| told.devices.truncate(1), &[1], Ok(&[1]));
    check_lie(
        "a device that had prekeys is left out",
        &|told| told.devices.truncate(1),
        &[1, 2],
        Err(Mismatch::MissingDevice { did, device: 2 }),
    );
    check_lie("nobody's devices", &|told| told.devices.clear(), &[], Ok(&[]));
    check_lie("somebody else's devices", &|told| *told = mallory.bundles(), &[], Err(Mismatch::OtherIdentity { did, found: mallory.did }));
    check_lie(
        "another's key in the place of Bob's",
        &|told| told.devices[0] = mallory.bundle(1),
        &[],
        Err(Mismatch::WrongKey { did, device: 1 }),
    );
    check_lie(
        "a device that Bob does not have",
        &|told| told.devices.push(PrekeyBundle { device: 3, ..mallory.bundle(1) }),
        &[],
        Err(Mismatch::ExtraDevice { did, device: 3 }),
    );
    check_lie("a device twice", &|told| told.devices[1] = told.devices[0].clone(), &[], Err(Mismatch::Order { did, device: 1 }));
    check_lie(
        "one device's bundle as another's",
        &|told| told.devices[1] = PrekeyBundle { device: 2, ..told.devices[0].clone() },
        &[],
        Err(Mismatch::WrongKey { did, device: 2 }),
    );
    check_lie(
        "no proof that the Signal key is held",
        &|told| told.devices[0].possession.0[5] ^= 1,
        &[],
        Err(Mismatch::NoPossession { did, device: 1 }),
    );
    check_lie(
        "a signed prekey of the relay's",
        &|told| told.devices[0].signed_prekey = mallory.bundle(1).signed_prekey,
        &[],
        prekeys(1, Refused::BadSignature { what: "signed prekey" }),
    );
    check_lie(
        "a Kyber prekey of the relay's",
        &|told| told.devices[1].kyber_prekey = mallory.bundle(1).kyber_prekey,
        &[],
        prekeys(2, Refused::BadSignature { what: "Kyber prekey" }),
    );
    check_lie(
        "a one-time prekey of low order, which nobody signs",
        &|told| told.devices[0].one_time.as_mut().expect("there is one").key = weak(),
        &[],
        prekeys(1, Refused::WeakKey { what: "one-time prekey" }),
    );
    check_lie(
        "a Kyber prekey cut short",
        &|told| told.devices[0].kyber_prekey.key.0.truncate(100),
        &[],
        prekeys(1, Refused::Malformed { what: "Kyber prekey" }),
    );
    check_lie(
        "a one-time prekey with something behind it",
        &|told| told.devices[0].one_time.as_mut().expect("there is one").key.0.push(0),
        &[],
        prekeys(1, Refused::Malformed { what: "one-time prekey" }),
    );
}

fn weak() -> Bytes {
    let mut key = vec![0; 33];
    key[0] = 5;
    Bytes(key)
}

/// Weak keys that their owner signed for: the owner may be the attacker.
#[test]
fn weak_keys_are_refused_even_when_signed() {
    let (chain, mut bob) = (chain(), Person::new(1, 1));
    let own = *bob.own(1);
    let device = bob.devices.get_mut(&1).expect("device 1");
    device.signed.public.key = weak();
    device.signed.public.signature = own.sign(&weak().0).into();
    let found = check(&proven(&chain, &bob), &bob.bundles(), &BTreeSet::new(), None);
    assert_eq!(found, Err(Mismatch::Prekeys { did: bob.did, device: 1, source: Refused::WeakKey { what: "signed prekey" } }));
}

#[test]
fn who_ended_their_identity_is_not_written_to() {
    let (chain, mut bob) = (chain(), Person::new(1, 1));
    let next = SigningKey::from_seed(&[2; 32]);
    bob.control = next.clone();
    let control = identity::Control::single(next.public());
    bob.change(|bob| Draft::new(&chain, &bob.did, &bob.entry, Operation::Deactivate { control }, Person::until()));
    let found = check(&proven(&chain, &bob), &bob.bundles(), &BTreeSet::new(), None);
    assert_eq!(found, Err(Mismatch::Deactivated { did: bob.did }));
}

#[test]
fn changes_of_keys_are_told_apart() {
    let chain = chain();
    let rotate = |bob: &mut Person, proof: Option<Vec<u8>>, new: Own| {
        let proof = proof.map(|proof| proof.try_into().expect("64 bytes"));
        let key = bob.devices[&1].key.clone();
        bob.change(|bob| Draft::rotate_signal_key(&chain, &bob.did, &bob.entry, (1, &key), new.key(), proof, Person::until()));
    };
    let check = |story: &str, change: &dyn Fn(&mut Person) -> Option<Vec<u8>>, expected: &[Change]| {
        let mut bob = Person::new(1, 2);
        let before = bob.entry.clone();
        let proof = change(&mut bob);
        let found = changes(&chain, &bob.did, &before, &bob.entry, |_| proof.clone());
        assert_eq!(found, expected, "{story}");
    };
    check("nothing", &|_| None, &[]);
    check(
        "a new key, which the old one signed for",
        &|bob| {
            let new = Own::generate();
            let device = &bob.devices[&1];
            let message = identity::device::succession_message(&chain, &bob.did, 1, &device.key.public(), &device.own.key(), &new.key());
            let proof = device.own.sign(&message);
            rotate(bob, Some(proof.clone()), new);
            Some(proof)
        },
        &[Change::KeyProven { device: 1 }],
    );
    check(
        "a new key, and what claims to be the old one's signature",
        &|bob| {
            rotate(bob, Some(vec![1; 64]), Own::generate());
            Some(vec![1; 64])
        },
        &[Change::KeyReset { device: 1 }],
    );
    check(
        "a new key, which the chain says was signed for, and nobody shows the signature",
        &|bob| {
            rotate(bob, Some(vec![1; 64]), Own::generate());
            None
        },
        &[Change::KeyReset { device: 1 }],
    );
    check(
        "a new key without a word",
        &|bob| {
            rotate(bob, None, Own::generate());
            None
        },
        &[Change::KeyReset { device: 1 }],
    );
    check(
        "one device for another",
        &|bob| {
            let key = SigningKey::from_seed(&[77; 32]);
            bob.change(|bob| Draft::add_device(&chain, &bob.did, &bob.entry, &key, Own::generate().key(), Person::until()));
            bob.change(|bob| Draft::new(&chain, &bob.did, &bob.entry, Operation::RemoveDevice { device: 2 }, Person::until()));
            None
        },
        &[Change::DeviceRemoved { device: 2 }, Change::DeviceAdded { device: 3 }],
    );
}

#[test]
fn safety_numbers_are_the_same_on_both_sides_and_for_life() {
    let (chain, mut alice, bob) = (chain(), Person::new(1, 1), Person::new(50, 1));
    let (ours, theirs) = (SafetyNumber::of(&chain, &alice.did, &bob.did), SafetyNumber::of(&chain, &bob.did, &alice.did));
    assert_eq!(ours.digits(), theirs.digits());
    assert_eq!((ours.digits().len(), ours.to_string().split(' ').count()), (safety::DIGITS, 12));
    assert!(ours.digits().bytes().all(|byte| byte.is_ascii_digit()));
    assert_ne!(ours.qr_text(), theirs.qr_text());
    assert!(SafetyNumber::is_shown_by(&chain, &alice.did, &bob.did, theirs.qr_text()));
    assert!(!SafetyNumber::is_shown_by(&chain, &alice.did, &bob.did, ours.qr_text()), "one's own code is no proof");
    assert!(ours.qr().lines().count() > 10);
    let other = SafetyNumber::of(&"another-chain".parse().expect("a chain id"), &alice.did, &bob.did);
    assert_ne!(ours.digits(), other.digits());
    let key = SigningKey::from_seed(&[77; 32]);
    alice.change(|alice| Draft::add_device(&chain, &alice.did, &alice.entry, &key, Own::generate().key(), Person::until()));
    assert_eq!(ours, SafetyNumber::of(&chain, &alice.did, &bob.did));
}
