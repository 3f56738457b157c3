use proptest::prelude::*;
use types::{Decode, DecodeError, Encode, Hash, Millis, PublicKey, Text};

use super::{CommitmentPart, Envelope, EnvelopePart, LeafOpening, SizeClass, leaf};
use crate::commitment::{Body, Commitment, Opening};
use crate::domains;

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn any_body() -> impl Strategy<Value = Body> {
    let file = (any_hash(), any::<u64>(), proptest::option::of("[a-zé/]{0,100}")).prop_map(|(content, size, name)| Body::File {
        content,
        size,
        name: name.map(|name| Text::try_from(name).expect("at most 255 bytes")),
    });
    let message = (any_hash(), any::<Option<[u8; 32]>>(), any::<u64>(), any::<u64>(), any_hash(), proptest::option::of(any_hash()))
        .prop_map(|(conversation, device, sequence, sent, content, previous)| Body::Message {
            conversation,
            device: device.map(PublicKey),
            sequence,
            sent: Millis(sent),
            content,
            previous,
        });
    prop_oneof![file, message]
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    (any_hash(), any::<u64>(), any::<u64>()).prop_map(|(ciphertext, received, size)| Envelope {
        ciphertext,
        received: Millis(received),
        size_class: SizeClass::of(size),
    })
}

fn any_opening() -> impl Strategy<Value = LeafOpening> {
    let commitment = prop_oneof![
        (any::<[u8; 32]>(), any_body()).prop_map(|(salt, body)| CommitmentPart::Opened(Opening { salt, body })),
        any_hash().prop_map(|hash| CommitmentPart::Hidden(Commitment(hash))),
    ];
    let envelope = prop_oneof![
        (any::<[u8; 32]>(), any_envelope()).prop_map(|(salt, envelope)| EnvelopePart::Opened { salt, envelope }),
        any_hash().prop_map(EnvelopePart::Hidden),
    ];
    (commitment, envelope).prop_map(|(commitment, envelope)| LeafOpening { commitment, envelope })
}

#[test]
fn a_size_class_is_the_least_power_of_two_that_holds_the_size() {
    let table = [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 63, 63), ((1 << 63) + 1, 64), (u64::MAX, 64)];
    for (size, class) in table {
        assert_eq!(SizeClass::of(size).exponent(), class, "{size} bytes");
    }
    let refused = Err(DecodeError::Value { what: "size class (0 to 64)" });
    assert_eq!(SizeClass::from_bytes(&[65]), refused);
    assert!(serde_json::from_str::<SizeClass>("65").is_err());
}

#[test]
fn unknown_tags_and_fields_are_refused() {
    assert_eq!(Body::from_bytes(&[3]), Err(DecodeError::Tag { what: "body", found: 3 }));
    assert_eq!(CommitmentPart::from_bytes(&[0]), Err(DecodeError::Tag { what: "commitment part", found: 0 }));
    assert_eq!(EnvelopePart::from_bytes(&[3]), Err(DecodeError::Tag { what: "envelope part", found: 3 }));
    let zero = Hash::ZERO;
    let json = format!(r#"{{"kind":"file","content":"{zero}","size":1,"name":null,"colour":"red"}}"#);
    assert!(serde_json::from_str::<Body>(&json).is_err(), "a field that a file does not have");
}

#[test]
fn no_two_domains_share_a_key() {
    let mut keys: Vec<_> = domains::ALL.iter().map(|domain| domain.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), domains::ALL.len());
}

#[test]
fn the_halves_of_a_leaf_cannot_change_places() {
    let (one, two) = (Hash([1; 32]), Hash([2; 32]));
    assert_ne!(leaf(&Commitment(one), &two), leaf(&Commitment(two), &one));
}

proptest! {
    #[test]
    fn an_opening_reads_back_from_bytes_and_json(opening in any_opening()) {
        prop_assert_eq!(LeafOpening::from_bytes(&opening.to_bytes()), Ok(opening.clone()));
        let json = serde_json::to_string(&opening).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<LeafOpening>(&json).expect("parses"), opening);
    }

    #[test]
    fn hiding_a_half_keeps_the_leaf(opening in any_opening()) {
        let hidden_commitment = CommitmentPart::Hidden(opening.commitment.commitment());
        let hidden_envelope = EnvelopePart::Hidden(opening.envelope.sealed());
        for commitment in [opening.commitment.clone(), hidden_commitment] {
            for envelope in [opening.envelope.clone(), hidden_envelope.clone()] {
                let shown = LeafOpening { commitment: commitment.clone(), envelope };
                prop_assert_eq!(shown.leaf(), opening.leaf());
            }
        }
    }

    #[test]
    fn one_changed_bit_changes_the_leaf(opening in any_opening(), bit: usize) {
        let mut bytes = opening.to_bytes();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = LeafOpening::from_bytes(&bytes) {
            prop_assert_ne!(changed.leaf(), opening.leaf());
        }
    }

    #[test]
    fn any_bytes_decode_to_one_value_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(opening) = LeafOpening::from_bytes(&bytes) {
            prop_assert_eq!(opening.to_bytes(), bytes);
        }
    }
}
