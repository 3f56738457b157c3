use proptest::prelude::*;
use types::{Decode, DecodeError, Encode, Hash, Millis, SigningKey};

use super::{Anchor, AnchorError, Equivocation, LogId, SignedAnchor, VERSION};
use crate::batch::MAX_BATCH;

/// The key that signs in these tests.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[11; 32])
}

/// A well-formed anchor of number `sequence`.
pub(crate) fn anchor(sequence: u64, previous: Hash) -> Anchor {
    let chain = "zynk-test".parse().expect("a chain id");
    let log = LogId::derive(&chain, &key().public().address(), 7);
    let (opened, closed) = (Millis(1_700_000_000_000), Millis(1_700_000_001_000));
    Anchor { version: VERSION, chain, log, sequence, previous, root: Hash([5; 32]), count: 8, opened, closed }
}

fn first() -> Anchor {
    anchor(1, Hash::ZERO)
}

#[test]
fn fields_that_no_anchor_has_are_refused_in_memory_and_in_bytes() {
    let zero = Hash::ZERO;
    let table: [(&str, Anchor, AnchorError); 9] = [
        ("a newer version", Anchor { version: 2, ..first() }, AnchorError::Version { found: 2 }),
        (
            "a window that ends before it begins",
            Anchor { opened: Millis(2), closed: Millis(1), ..first() },
            AnchorError::Window { opened: Millis(2), closed: Millis(1) },
        ),
        ("no leaves", Anchor { count: 0, ..first() }, AnchorError::Count { found: 0 }),
        ("a count that is not padded", Anchor { count: 12, ..first() }, AnchorError::Count { found: 12 }),
        ("a count above the bound", Anchor { count: 1 << 17, ..first() }, AnchorError::Count { found: 1 << 17 }),
        ("sequence 0", anchor(0, zero), AnchorError::Link { sequence: 0, previous: zero }),
        ("sequence 0 with a link", anchor(0, Hash([1; 32])), AnchorError::Link { sequence: 0, previous: Hash([1; 32]) }),
        ("a first one with a link", anchor(1, Hash([1; 32])), AnchorError::Link { sequence: 1, previous: Hash([1; 32]) }),
        ("a second one without", anchor(2, zero), AnchorError::Link { sequence: 2, previous: zero }),
    ];
    for (story, anchor, error) in table {
        assert!(Anchor::from_bytes(&anchor.to_bytes()).is_err(), "{story}, as bytes");
        let signed = SignedAnchor::sign(anchor, &key());
        assert_eq!(signed.verify(&key().public()), Err(error), "{story}");
    }
    let newer = Anchor { version: 2, ..first() };
    assert_eq!(Anchor::from_bytes(&newer.to_bytes()), Err(DecodeError::Tag { what: "anchor version", found: 2 }));
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let largest = u32::try_from(MAX_BATCH).expect("2^16");
    for (count, window) in [(1, 0), (largest, 1)] {
        let opened = first().opened;
        let anchor = Anchor { count, closed: Millis(opened.0 + window), ..first() };
        assert_eq!(Anchor::from_bytes(&anchor.to_bytes()), Ok(anchor));
    }
}

#[test]
fn a_signature_is_over_the_context_and_every_field() {
    let signed = SignedAnchor::sign(first(), &key());
    let public = key().public();
    assert_eq!(signed.verify(&public), Ok(()));
    let refused = |sequence| Err(AnchorError::Signature { sequence, key: public });
    let changed: [(&str, Anchor); 5] = [
        ("chain", Anchor { chain: "other".parse().expect("a chain id"), ..first() }),
        ("log", Anchor { log: LogId(Hash([1; 32])), ..first() }),
        ("root", Anchor { root: Hash([6; 32]), ..first() }),
        ("count", Anchor { count: 16, ..first() }),
        ("window", Anchor { closed: Millis(u64::MAX), ..first() }),
    ];
    for (field, anchor) in changed {
        let forged = SignedAnchor { anchor, signature: signed.signature };
        assert_eq!(forged.verify(&public), refused(1), "another {field}");
    }
    // The anchor's bytes alone, signed for some other purpose, are no anchor.
    let bare = SignedAnchor { anchor: first(), signature: key().sign(&first().to_bytes()) };
    assert_eq!(bare.verify(&public), refused(1), "without the context");
    let stranger = SigningKey::from_seed(&[12; 32]).public();
    assert_eq!(signed.verify(&stranger), Err(AnchorError::Signature { sequence: 1, key: stranger }));
}

#[test]
fn a_log_is_named_by_chain_owner_and_sequence() {
    let chain = "zynk-test".parse().expect("a chain id");
    let owner = key().public().address();
    let id = LogId::derive(&chain, &owner, 7);
    assert_eq!(id.state_key(), format!("log/{id}"));
    let others = [
        LogId::derive(&"zynk-tesu".parse().expect("a chain id"), &owner, 7),
        LogId::derive(&chain, &SigningKey::from_seed(&[12; 32]).public().address(), 7),
        LogId::derive(&chain, &owner, 8),
    ];
    assert!(others.iter().all(|other| *other != id));
}

#[test]
fn two_anchors_for_one_sequence_are_evidence() {
    let sign = |anchor| SignedAnchor::sign(anchor, &key());
    let (one, other) = (sign(first()), sign(Anchor { root: Hash([6; 32]), ..first() }));
    let judge =
        |first: &SignedAnchor, second: &SignedAnchor| Equivocation { first: first.clone(), second: second.clone() }.verify(&key().public());
    assert_eq!(judge(&one, &other), Ok(()));
    assert_eq!(judge(&other, &one), Ok(()));
    let no_conflict = |other: &SignedAnchor| Err(AnchorError::NoConflict { first: one.anchor.hash(), second: other.anchor.hash() });
    let next = sign(anchor(2, one.anchor.hash()));
    let elsewhere = sign(Anchor { chain: "other".parse().expect("a chain id"), ..other.anchor.clone() });
    let of_another_log = sign(Anchor { log: LogId(Hash([1; 32])), ..other.anchor.clone() });
    for innocent in [&one, &next, &elsewhere, &of_another_log] {
        assert_eq!(judge(&one, innocent), no_conflict(innocent));
    }
    let forged = SignedAnchor::sign(other.anchor.clone(), &SigningKey::from_seed(&[12; 32]));
    let refused = Err(AnchorError::Signature { sequence: 1, key: key().public() });
    assert_eq!(judge(&one, &forged), refused, "the second is another's");
    assert_eq!(judge(&forged, &one), refused, "the first is another's");
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    let fields = (1u64.., any::<[u8; 32]>(), any::<[u8; 32]>(), 0u32..=16, any::<u64>(), any::<u64>());
    fields.prop_map(|(sequence, previous, root, power, one, two)| {
        let previous = if sequence == 1 { Hash::ZERO } else { Hash(previous) };
        let (opened, closed) = (Millis(one.min(two)), Millis(one.max(two)));
        Anchor { root: Hash(root), count: 1 << power, opened, closed, ..anchor(sequence, previous) }
    })
}

proptest! {
    #[test]
    fn an_anchor_reads_back_from_bytes_and_json(anchor in any_anchor()) {
        let signed = SignedAnchor::sign(anchor, &key());
        prop_assert_eq!(SignedAnchor::from_bytes(&signed.to_bytes()), Ok(signed.clone()));
        let json = serde_json::to_string(&signed).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<SignedAnchor>(&json).expect("parses"), signed);
    }

    #[test]
    fn one_changed_bit_of_a_signed_anchor_is_refused(anchor in any_anchor(), bit: usize) {
        let mut bytes = SignedAnchor::sign(anchor, &key()).to_bytes();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = SignedAnchor::from_bytes(&bytes) {
            prop_assert!(changed.verify(&key().public()).is_err());
        }
    }

    #[test]
    fn any_bytes_decode_to_one_anchor_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(anchor) = SignedAnchor::from_bytes(&bytes) {
            prop_assert_eq!(anchor.to_bytes(), bytes);
        }
    }
}
