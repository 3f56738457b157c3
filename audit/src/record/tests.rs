use types::{Amount, ChainId, Decode, DecodeError, Encode, Hash, Height, PublicKey, SigningKey};

use super::{FormerKey, LogRecord, MAX_FORMER_KEYS, Status, Taken};
use crate::anchor::tests::{anchor, key};
use crate::anchor::{Anchor, AnchorError, Equivocation, LogId, SignedAnchor};

fn chain() -> ChainId {
    anchor(1, Hash::ZERO).chain
}

fn other_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[100 + number; 32])
}

fn registered() -> LogRecord {
    let log = anchor(1, Hash::ZERO).log;
    LogRecord::register(log, key().public().address(), key().public(), Amount::ZYNK, Height(3)).expect("a usable key")
}

/// The next anchor after `record`, signed by `key`.
fn next(record: &LogRecord, key: &SigningKey) -> SignedAnchor {
    SignedAnchor::sign(anchor(record.sequence + 1, record.last), key)
}

fn take(record: &LogRecord, signed: &SignedAnchor) -> Result<Taken, AnchorError> {
    record.take(&chain(), signed)
}

fn taken(record: &LogRecord, signed: &SignedAnchor) -> LogRecord {
    let Ok(Taken::New(after)) = take(record, signed) else { panic!("{signed:?} is the next of {record:?}") };
    after
}

/// `record` after `count` more anchors.
fn after(record: &LogRecord, count: usize, key: &SigningKey) -> LogRecord {
    (0..count).fold(record.clone(), |record, _| taken(&record, &next(&record, key)))
}

/// `signed`, changed in its root and signed again: another anchor for the same sequence.
fn contradiction(signed: &SignedAnchor, key: &SigningKey) -> SignedAnchor {
    SignedAnchor::sign(Anchor { root: Hash([6; 32]), ..signed.anchor.clone() }, key)
}

#[test]
fn anchors_are_taken_in_order_and_once() {
    let start = registered();
    let first = next(&start, &key());
    let one = taken(&start, &first);
    assert_eq!((one.sequence, one.last), (1, first.anchor.hash()));
    assert_eq!(LogRecord { sequence: 0, last: Hash::ZERO, ..one.clone() }, start, "nothing else changes");
    assert_eq!(take(&one, &first), Ok(Taken::Again), "sent again");

    let second = next(&one, &key());
    let two = taken(&one, &second);
    assert_eq!(take(&start, &second), Err(AnchorError::Future { found: 2, expected: 1 }), "the second before the first");
    assert_eq!(take(&two, &first), Err(AnchorError::Stale { found: 1, expected: 3 }), "the first after the second");
    let ahead = SignedAnchor::sign(anchor(9, two.last), &key());
    assert_eq!(take(&two, &ahead), Err(AnchorError::Future { found: 9, expected: 3 }), "far ahead");
    let unlinked = SignedAnchor::sign(anchor(3, Hash([9; 32])), &key());
    assert_eq!(take(&two, &unlinked), Err(AnchorError::Previous { found: Hash([9; 32]), expected: two.last }), "another past");
}

#[test]
fn a_second_anchor_for_a_taken_sequence_is_equivocation() {
    let one = after(&registered(), 1, &key());
    let first = next(&registered(), &key());
    let other = contradiction(&first, &key());
    let (taken, found) = (first.anchor.hash(), other.anchor.hash());
    let refused = Err(AnchorError::Equivocation { sequence: 1, taken, found });
    assert_eq!(take(&one, &other), refused);
    let retired = one.retire(Height(9)).expect("active");
    assert_eq!(take(&retired, &other), refused, "also once the log is retired");
    let forged = contradiction(&first, &other_key(0));
    let expected = Err(AnchorError::Signature { sequence: 1, key: key().public() });
    assert_eq!(take(&one, &forged), expected, "but nobody else can bring it about");
}

#[test]
fn anchors_for_another_place_are_refused() {
    let record = registered();
    let sign = |anchor| SignedAnchor::sign(anchor, &key());
    let first = anchor(1, Hash::ZERO);
    let other_chain: ChainId = "other".parse().expect("a chain id");
    let elsewhere = sign(Anchor { chain: other_chain.clone(), ..first.clone() });
    assert_eq!(take(&record, &elsewhere), Err(AnchorError::Chain { found: other_chain, expected: chain() }));
    let log = LogId(Hash([1; 32]));
    let misdirected = sign(Anchor { log, ..first.clone() });
    assert_eq!(take(&record, &misdirected), Err(AnchorError::Log { found: log, expected: record.log }));
    let malformed = sign(Anchor { count: 3, ..first.clone() });
    assert_eq!(take(&record, &malformed), Err(AnchorError::Count { found: 3 }));
    let stranger = SignedAnchor::sign(first, &other_key(0));
    assert_eq!(take(&record, &stranger), Err(AnchorError::Signature { sequence: 1, key: key().public() }));
}

#[test]
fn a_retired_log_takes_its_last_anchor_again_but_no_new_one() {
    let one = after(&registered(), 1, &key());
    let retired = one.retire(Height(9)).expect("active");
    let ended = AnchorError::Retired { at: Height(9) };
    assert_eq!(take(&retired, &next(&registered(), &key())), Ok(Taken::Again));
    assert_eq!(take(&retired, &next(&one, &key())), Err(ended.clone()));
    assert_eq!(retired.retire(Height(10)), Err(ended.clone()));
    assert_eq!(retired.rotate_key(other_key(0).public()), Err(ended));
}

#[test]
fn a_new_key_signs_from_the_next_anchor_on() {
    let (old, new) = (key(), other_key(0));
    let two = after(&registered(), 2, &old);
    let rotated = two.rotate_key(new.public()).expect("a new key");
    let refused = Err(AnchorError::Signature { sequence: 3, key: new.public() });
    assert_eq!(take(&rotated, &next(&two, &old)), refused, "the old key's next anchor");
    assert_eq!(after(&rotated, 1, &new).sequence, 3, "the new key's");
    // What the old key signed stays the old key's: the same anchor again, and a contradiction.
    let one = after(&registered(), 1, &old);
    let second = next(&one, &old);
    assert_eq!(take(&rotated, &second), Ok(Taken::Again));
    let other = contradiction(&second, &old);
    assert!(matches!(take(&rotated, &other), Err(AnchorError::Equivocation { sequence: 2, .. })));
    let by_new = contradiction(&second, &new);
    assert!(matches!(take(&rotated, &by_new), Err(AnchorError::Signature { sequence: 2, .. })));
}

#[test]
fn keys_are_refused_that_are_unusable_or_were_used() {
    let weak = PublicKey([0; 32]);
    let log = anchor(1, Hash::ZERO).log;
    let refused = LogRecord::register(log, key().public().address(), weak, Amount::ZERO, Height(1));
    assert_eq!(refused, Err(AnchorError::Key { key: weak }));

    let mut record = after(&registered(), 1, &key());
    for used in [weak, key().public()] {
        assert_eq!(record.rotate_key(used), Err(AnchorError::Key { key: used }));
    }
    for number in 0..u8::try_from(MAX_FORMER_KEYS).expect("small") {
        record = record.rotate_key(other_key(number).public()).expect("a new key");
        assert_eq!(record.rotate_key(key().public()), Err(AnchorError::Key { key: key().public() }), "the first key again");
        record = after(&record, 1, &other_key(number));
    }
    assert_eq!(record.former.len(), MAX_FORMER_KEYS);
    assert_eq!(record.rotate_key(other_key(99).public()), Err(AnchorError::KeysSpent));
    for sequence in 1..=record.sequence {
        let signer = u8::try_from(sequence).expect("small").checked_sub(2).map_or_else(key, other_key);
        assert_eq!(record.key_at(sequence), signer.public(), "the key of anchor {sequence}");
    }
}

#[test]
fn a_key_that_signed_nothing_is_forgotten() {
    let rotated = registered().rotate_key(other_key(0).public()).expect("a new key");
    assert!(rotated.former.is_empty());
    let one = after(&rotated, 1, &other_key(0)).rotate_key(other_key(1).public()).expect("a new key");
    let again = one.rotate_key(other_key(2).public()).expect("a new key");
    assert_eq!(again.former[..], [FormerKey { key: other_key(0).public(), until: 1 }]);
}

#[test]
fn evidence_freezes_a_log_whatever_its_key_and_status() {
    let first = next(&registered(), &key());
    let evidence = Equivocation { second: contradiction(&first, &key()), first };
    let one = after(&registered(), 1, &key());
    let rotated = after(&one.rotate_key(other_key(0).public()).expect("a new key"), 1, &other_key(0));
    let retired = rotated.retire(Height(8)).expect("active");
    for (story, record) in [("active", &one), ("with another key", &rotated), ("retired", &retired)] {
        let frozen = record.freeze(&chain(), &evidence, Height(9)).expect(story);
        let ended = AnchorError::Frozen { at: Height(9) };
        assert_eq!(frozen.status, Status::Frozen { at: Height(9) }, "{story}");
        assert_eq!(take(&frozen, &next(record, &record_key(record))), Err(ended.clone()), "{story}");
        assert_eq!(frozen.freeze(&chain(), &evidence, Height(10)), Err(ended), "{story}");
    }
    let same = Equivocation { second: evidence.first.clone(), first: evidence.first.clone() };
    assert!(matches!(one.freeze(&chain(), &same, Height(9)), Err(AnchorError::NoConflict { .. })));
    let other_chain = "other".parse().expect("a chain id");
    assert!(matches!(one.freeze(&other_chain, &evidence, Height(9)), Err(AnchorError::Chain { .. })));
    let other_log = LogRecord { log: LogId(Hash([1; 32])), ..one };
    assert!(matches!(other_log.freeze(&chain(), &evidence, Height(9)), Err(AnchorError::Log { .. })));
}

fn record_key(record: &LogRecord) -> SigningKey {
    [key(), other_key(0)].into_iter().find(|key| key.public() == record.key).expect("a key of this test")
}

#[test]
fn a_record_reads_back_from_bytes_and_json() {
    let one = after(&registered(), 1, &key());
    let rotated = one.rotate_key(other_key(0).public()).expect("a new key");
    let retired = rotated.retire(Height(300)).expect("active");
    let frozen = LogRecord { status: Status::Frozen { at: Height(301) }, ..rotated.clone() };
    for record in [registered(), one, rotated, retired, frozen] {
        assert_eq!(LogRecord::from_bytes(&record.to_bytes()), Ok(record.clone()));
        let json = serde_json::to_string(&record).expect("serialises");
        assert_eq!(serde_json::from_str::<LogRecord>(&json).expect("parses"), record);
    }
    let newer = LogRecord { version: 2, ..registered() };
    assert_eq!(LogRecord::from_bytes(&newer.to_bytes()), Err(DecodeError::Tag { what: "log record version", found: 2 }));
    assert_eq!(Status::from_bytes(&[0]), Err(DecodeError::Tag { what: "log status", found: 0 }));
}
