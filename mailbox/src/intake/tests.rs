use std::collections::BTreeMap;

use types::{Hash, Millis};
use uuid::Uuid;

use super::{Devices, check, deliveries, fingerprint};
use crate::fixture::{NOW, address, content, did, id, submission};
use crate::frame::{Content, Kind, MAX_CONTENT, Refusal, Submission};

fn devices(ids: &[u16]) -> Devices {
    Devices(ids.iter().map(|device| (*device, 100 + u32::from(*device))).collect::<BTreeMap<u16, u32>>())
}

/// Submits from identity 1, device 1.
fn story(what: &str, kind: Kind, submission: &Submission, recipient: &[u16], own: &[u16], expected: Result<(), Refusal>) {
    assert_eq!(check(&address(1, 1), kind, submission, &devices(recipient), &devices(own)), expected, "{what}");
}

fn malformed(what: &str) -> Result<(), Refusal> {
    Err(Refusal::Malformed { what: what.to_owned() })
}

fn others(number: u8, missing: &[u16], extra: &[u16], stale: &[u16]) -> Result<(), Refusal> {
    Err(Refusal::Devices { did: did(number), missing: missing.to_vec(), extra: extra.to_vec(), stale: stale.to_vec() })
}

fn receipt() -> Submission {
    Submission { content_hash: None, ..submission() }
}

fn to_oneself(contents: Vec<Content>) -> Submission {
    Submission { recipient_id: did(1), contents, own_contents: vec![], ..submission() }
}

#[test]
fn what_is_for_exactly_the_devices_is_taken() {
    story("a message", Kind::Message, &submission(), &[1, 2], &[1, 3], Ok(()));
    story("own devices without the sending one", Kind::Message, &submission(), &[1, 2], &[3], Ok(()));
    story("a receipt of a device", Kind::Delivered, &receipt(), &[1, 2], &[1, 3], Ok(()));
    story("a receipt of a person", Kind::Read, &receipt(), &[1, 2], &[1, 3], Ok(()));
    let alone = Submission { own_contents: vec![], ..submission() };
    story("of somebody with one device", Kind::Message, &alone, &[1, 2], &[1], Ok(()));
    story("to oneself", Kind::Message, &to_oneself(vec![content(3, 1)]), &[3], &[1, 3], Ok(()));
    story("to oneself, the recipient's devices not asked", Kind::Message, &to_oneself(vec![content(3, 1)]), &[1, 3], &[1, 3], Ok(()));
    story("to oneself with one device", Kind::Message, &to_oneself(vec![]), &[], &[1], Ok(()));
    let largest = Submission { contents: vec![content(1, MAX_CONTENT), content(2, 1)], ..submission() };
    story("the largest content", Kind::Message, &largest, &[1, 2], &[3], Ok(()));
}

#[test]
fn what_is_for_other_devices_is_refused_with_the_difference() {
    story("a device more", Kind::Message, &submission(), &[1, 2, 4], &[3], others(2, &[4], &[], &[]));
    story("a device less", Kind::Message, &submission(), &[1], &[3], others(2, &[], &[2], &[]));
    let renewed = Devices(BTreeMap::from([(1, 101), (2, 999)]));
    let answer = check(&address(1, 1), Kind::Message, &submission(), &renewed, &devices(&[3]));
    assert_eq!(answer, others(2, &[], &[], &[2]), "a device set up anew");
    let mixed = Devices(BTreeMap::from([(2, 1), (5, 105)]));
    let answer = check(&address(1, 1), Kind::Message, &submission(), &mixed, &devices(&[]));
    assert_eq!(answer, others(2, &[5], &[1], &[2]), "all at once, the recipient's before the sender's");
    story("an own device more", Kind::Message, &submission(), &[1, 2], &[3, 4], others(1, &[4], &[], &[]));
    story("an own device less", Kind::Message, &submission(), &[1, 2], &[], others(1, &[], &[3], &[]));
    let itself = Submission { own_contents: vec![content(1, 1), content(3, 7)], ..submission() };
    story("a copy for the sending device", Kind::Message, &itself, &[1, 2], &[1, 3], others(1, &[], &[1], &[]));
    story("to oneself, itself too", Kind::Message, &to_oneself(vec![content(1, 1), content(3, 1)]), &[3], &[3], others(1, &[], &[1], &[]));
    story("to oneself, a device left out", Kind::Message, &to_oneself(vec![]), &[3], &[1, 3], others(1, &[3], &[], &[]));
    story("nobody to take it", Kind::Message, &submission(), &[], &[3], Err(Refusal::NoDevices { did: did(2) }));
    let none = Submission { contents: vec![], ..submission() };
    story("for nobody", Kind::Message, &none, &[1], &[3], others(2, &[1], &[], &[]));
}

#[test]
fn what_is_not_in_form_is_refused() {
    let refused = |what: &str, kind: Kind, submission: &Submission| story(what, kind, submission, &[1, 2], &[3], malformed(what));
    refused("a message without its commitment", Kind::Message, &receipt());
    refused("a receipt with a commitment", Kind::Delivered, &submission());
    refused("a receipt with a commitment", Kind::Read, &submission());
    let version_4 = Uuid::parse_str("7d444840-9dc0-41d1-b245-5ffdce74fad2").expect("a UUID");
    for message_id in [Uuid::nil(), Uuid::max(), version_4] {
        refused("the message id is not a UUID of version 7", Kind::Message, &Submission { message_id, ..submission() });
    }
    refused("two contents for one device", Kind::Message, &Submission { contents: vec![content(1, 1), content(1, 2)], ..submission() });
    refused("two contents for one device", Kind::Message, &Submission { own_contents: vec![content(3, 1), content(3, 1)], ..submission() });
    refused("an empty content", Kind::Message, &Submission { contents: vec![content(1, 1), content(2, 0)], ..submission() });
    refused("a content that is too long", Kind::Message, &Submission { own_contents: vec![content(3, MAX_CONTENT + 1)], ..submission() });
    refused(
        "too many contents",
        Kind::Message,
        &Submission { contents: (0..31).map(|device| content(device, 1)).collect(), ..submission() },
    );
    let copies = Submission { own_contents: vec![content(3, 1)], ..to_oneself(vec![content(3, 1)]) };
    refused("own copies of a message to oneself", Kind::Message, &copies);
}

#[test]
fn each_device_gets_its_own_ciphertext() {
    let given = deliveries(&address(1, 1), Kind::Message, &submission(), NOW, Some(Hash([6; 32])));
    let to: Vec<_> = given.iter().map(|(to, stored)| (*to, stored.encrypted_content.0.len())).collect();
    assert_eq!(to, [(address(2, 1), 5), (address(2, 2), 6), (address(1, 3), 7)]);
    assert!(given.iter().all(|(_, stored)| stored.recipient_id == did(2) && stored.sender_id == did(1) && stored.sender_device_id == 1));
    assert!(given.iter().all(|(_, stored)| stored.received_at == NOW && stored.sealed_envelope == Some(Hash([6; 32]))));
}

#[test]
fn the_fingerprint_is_the_message_and_not_its_ciphertexts() {
    let this = fingerprint(Kind::Message, &submission());
    let same = Submission { contents: vec![content(1, 50)], own_contents: vec![], message_id: id(2), ..submission() };
    assert_eq!(fingerprint(Kind::Message, &same), this);
    let differ = [
        Submission { conversation_id: Hash([1; 32]), ..submission() },
        Submission { recipient_id: did(3), ..submission() },
        Submission { timestamp: Millis(1), ..submission() },
        Submission { content_hash: Some(audit::Commitment(Hash([1; 32]))), ..submission() },
        receipt(),
    ];
    for other in &differ {
        assert_ne!(fingerprint(Kind::Message, other), this);
    }
    assert_ne!(fingerprint(Kind::Read, &receipt()), fingerprint(Kind::Delivered, &receipt()));
}

#[test]
fn the_ciphertext_hash_is_over_all_in_order() {
    let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let parts = [hash(&[1; 5]), hash(&[2; 6]), hash(&[3; 7])];
    assert_eq!(submission().ciphertext_hash(), Hash(hash(&parts.concat())));
    assert_eq!(submission().size(), 18);
    assert_eq!(to_oneself(vec![]).ciphertext_hash(), Hash(hash(&[])));
}
