use identity::device::succession_message;
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
    let reset = |bob: &Entry| Change::KeyReset { device: 1, from: bob.device(1).map(|device| device.signal.identity_key) };
    let check = |story: &str, change: &dyn Fn(&mut Person) -> Option<Vec<u8>>, expected: &dyn Fn(&Entry) -> Vec<Change>| {
        let mut bob = Person::new(1, 2);
        let before = bob.entry.clone();
        let proof = change(&mut bob);
        let found = changes(&chain, &bob.did, &before, &bob.entry, |_| proof.clone());
        assert_eq!(found, expected(&before), "{story}");
    };
    check("nothing", &|_| None, &|_| vec![]);
    check(
        "a new key, which the old one signed for",
        &|bob| {
            let new = Own::generate();
            let device = &bob.devices[&1];
            let message = succession_message(&chain, &bob.did, 1, &device.key.public(), &device.own.key(), &new.key());
            let proof = device.own.sign(&message);
            rotate(bob, Some(proof.clone()), new);
            Some(proof)
        },
        &|_| vec![Change::KeyProven { device: 1 }],
    );
    check(
        "a new key, and what claims to be the old one's signature",
        &|bob| {
            rotate(bob, Some(vec![1; 64]), Own::generate());
            Some(vec![1; 64])
        },
        &|before| vec![reset(before)],
    );
    check(
        "a new key, which the chain says was signed for, and nobody shows the signature",
        &|bob| {
            rotate(bob, Some(vec![1; 64]), Own::generate());
            None
        },
        &|before| vec![reset(before)],
    );
    check(
        "a new key without a word",
        &|bob| {
            rotate(bob, None, Own::generate());
            None
        },
        &|before| vec![reset(before)],
    );
    check(
        "one device for another",
        &|bob| {
            let key = SigningKey::from_seed(&[77; 32]);
            bob.change(|bob| Draft::add_device(&chain, &bob.did, &bob.entry, &key, Own::generate().key(), Person::until()));
            bob.change(|bob| Draft::new(&chain, &bob.did, &bob.entry, Operation::RemoveDevice { device: 2 }, Person::until()));
            None
        },
        &|_| vec![Change::DeviceRemoved { device: 2 }, Change::DeviceAdded { device: 3 }],
    );
}

/// A person's device with its key replaced by `new`, and what the old key has signed for it.
fn rotate(person: &mut Person, new: &Own, is_signed: bool) -> Vec<u8> {
    let (chain, device) = (chain(), &person.devices[&1]);
    let (key, old) = (device.key.clone(), device.own.key());
    let message = succession_message(&chain, &person.did, person.entry.sequence + 1, &key.public(), &old, &new.key());
    let signature = device.own.sign(&message);
    let claim = is_signed.then(|| signature.clone().try_into().expect("64 bytes"));
    person.change(|person| Draft::rotate_signal_key(&chain, &person.did, &person.entry, (1, &key), new.key(), claim, Person::until()));
    person.devices.get_mut(&1).expect("device 1").own = *new;
    signature
}

/// Alice knew Bob's first key. The chain has his third, and says that the second signed for it.
#[test]
fn a_forged_succession_is_none() {
    let chain = chain();
    let (mut bob, [second, third, thief]) = (Person::new(1, 2), [(); 3].map(|()| Own::generate()));
    let (did, first, key) = (bob.did, *bob.own(1), bob.devices[&1].key.public());
    let to_second = rotate(&mut bob, &second, true);
    let known = bob.entry.clone();
    let to_third = rotate(&mut bob, &third, true);
    let device = bob.entry.device(1).expect("device 1").clone();
    let sequence = device.signal.sequence;
    let signed = |by: &Own, did: &Did, sequence, key: &_, from: &Own, to: &Own| {
        by.sign(&succession_message(&chain, did, sequence, key, &from.key(), &to.key()))
    };
    let other_key = bob.devices[&2].key.public();
    let other_chain = succession_message(&"another".parse().expect("a chain id"), &did, sequence, &key, &second.key(), &third.key());
    let stories = [
        ("the second key's word", to_third.clone(), true),
        ("the same, signed once more", signed(&second, &did, sequence, &key, &second, &third), true),
        ("the new key's own", signed(&third, &did, sequence, &key, &second, &third), false),
        ("a thief's", signed(&thief, &did, sequence, &key, &second, &third), false),
        ("a thief's, about the thief's own key", signed(&thief, &did, sequence, &key, &thief, &third), false),
        ("of the change before", to_second, false),
        ("of the first key, which has no word any more", signed(&first, &did, sequence, &key, &first, &third), false),
        ("of another operation", signed(&second, &did, sequence + 1, &key, &second, &third), false),
        ("for another identity", signed(&second, &Did([7; 32]), sequence, &key, &second, &third), false),
        ("for another device", signed(&second, &did, sequence, &other_key, &second, &third), false),
        ("for another new key", signed(&second, &did, sequence, &key, &second, &thief), false),
        ("on another chain", second.sign(&other_chain), false),
        ("cut short", to_third[..63].to_vec(), false),
        ("with something behind it", [&to_third[..], &[0]].concat(), false),
        ("nothing", Vec::new(), false),
    ];
    for (story, signature, holds) in stories {
        assert_eq!(change::is_signed(&chain, &did, &second.key(), &device, &signature), holds, "{story}");
        let expected = if holds { Change::KeyProven { device: 1 } } else { Change::KeyReset { device: 1, from: Some(second.key()) } };
        assert_eq!(changes(&chain, &did, &known, &bob.entry, |_| Some(signature.clone())), [expected], "{story}");
    }
    assert_eq!(change::claimed(&known, &bob.entry).collect::<Vec<_>>(), [1]);
    assert_eq!(change::claimed(&bob.entry, &bob.entry).count(), 0, "no other key");
    // The chain says that nothing was signed: then nothing was.
    let known = bob.entry.clone();
    let signature = rotate(&mut bob, &thief, false);
    assert_eq!(change::claimed(&known, &bob.entry).count(), 0, "nothing to ask for");
    let found = changes(&chain, &did, &known, &bob.entry, |_| Some(signature.clone()));
    assert_eq!(found, [Change::KeyReset { device: 1, from: Some(third.key()) }]);
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
