//! What others' DID methods have been attacked with, tried on did:zynk.
//!
//! The names are those of the negative scenarios of the did:webvh test suite and of the invalid
//! logs of did:plc; where the published data is at hand, each of its scenarios must stand here.

use std::collections::BTreeSet;

use support::published;
use types::{Decode, Encode, Hash, Height};

use super::MAX_VALIDITY;
use crate::did::Did;
use crate::draft::Draft;
use crate::entry::Entry;
use crate::error::Error;
use crate::fixture::{
    AFTER, CONTROL, HEIGHT, LAPTOP, NEXT, PHONE, STRANGER, UNTIL, alice, chain, create, genesis, key, life, named, operate, put, relay,
    rotation, services, set, signal, signed,
};
use crate::operation::{Genesis, Operation, SignedOperation, Signer};
use crate::resolution::{Problem, requested};

type Attack = fn() -> Result<Entry, Error>;

const BAD: Error = Error::BadSignature { signer: Signer::Control(0) };

/// The last height that `valid_until` may name.
const LATEST: Height = Height(HEIGHT.0 + MAX_VALIDITY);

/// Scenario, how it is tried here, and the answer.
fn webvh() -> Vec<(&'static str, Attack, Error)> {
    vec![
        ("cross-did-witness-replay", signature_of_another_identity, BAD),
        ("did-key-body-fragment-mismatch", signature_under_another_place, Error::BadSignature { signer: Signer::Control(1) }),
        ("duplicate-witness-ids", one_key_signing_twice, Error::DuplicateSigner { signer: Signer::Control(0) }),
        ("fragment-leaks-into-domain", || endpoint("https://relay.example.org#evil.example"), Error::BadService { place: 0 }),
        ("lowercase-pct-port-ip", || endpoint("https://127.0.0.1%3a8080"), Error::BadService { place: 0 }),
        ("path-traversal-did", || endpoint("https://relay.example.org/../../etc"), Error::BadService { place: 0 }),
        ("pct-encoded-ip-host", || endpoint("https://%31%32%37.0.0.1"), Error::BadService { place: 0 }),
        ("pct-encoded-traversal", || endpoint("https://relay.example.org/%2e%2e/etc"), Error::BadService { place: 0 }),
        ("portable-scid-swap", operation_moved_to_another_identifier, BAD),
        ("pre-rotation-omit-updatekeys", rotation_to_keys_never_committed, Error::CommitmentMismatch),
        ("scid-mismatch-genesis", creation_under_a_chosen_identifier, Error::WrongDid),
        ("unknown-method-version", another_version, Error::Malformed(types::DecodeError::Tag { what: "operation version", found: 2 })),
        ("versiontime-future", || valid_until(LATEST.next()), Error::ValidTooFar { valid_until: LATEST.next(), latest: LATEST }),
        ("versiontime-non-monotonic", || valid_until(Height(HEIGHT.0 - 1)), Error::Expired { valid_until: Height(99), height: HEIGHT }),
        ("wrong-cryptosuite", signature_of_another_context, BAD),
        ("zero-witness-threshold", threshold_of_zero, Error::BadThreshold { threshold: 0, keys: 1 }),
    ]
}

fn plc() -> Vec<(&'static str, Attack, Error)> {
    vec![
        ("nullification_reused_key", history_rewritten, Error::StaleSequence { found: 1, expected: 2 }),
        ("nullification_too_slow", history_rewritten_at_the_next_sequence, Error::WrongPrevious),
        ("update_nullified", operation_on_a_lost_branch, Error::WrongPrevious),
        ("update_tombstoned", update_after_the_end, Error::Deactivated { height: HEIGHT }),
        ("sig_b64_newline", || respelled(|bytes| bytes.push(b'\n')), Error::Malformed(types::DecodeError::Trailing { left: 1 })),
        ("sig_b64_padding_chars", || respelled(|bytes| bytes.push(b'=')), Error::Malformed(types::DecodeError::Trailing { left: 1 })),
        ("sig_b64_padding_bits", count_with_padding, Error::Malformed(types::DecodeError::Number)),
        ("sig_der", || respelled(|bytes| bytes.truncate(bytes.len() - 1)), Error::Malformed(types::DecodeError::Truncated { missing: 1 })),
        ("sig_k256_high_s", signature_with_high_s, BAD),
        ("sig_p256_high_s", signature_with_high_s, BAD),
    ]
}

#[test]
fn the_attacks_of_webvh_fail() {
    try_all(&webvh(), "did-webvh/vectors", "negative-");
}

#[test]
fn the_attacks_of_plc_fail() {
    try_all(&plc(), "did-plc-audit-logs/interop_tests/audit_log/invalid", "log_invalid_");
}

fn try_all(attacks: &[(&str, Attack, Error)], folder: &str, prefix: &str) {
    for (scenario, attack, error) in attacks {
        assert_eq!(attack(), Err(error.clone()), "{scenario}");
    }
    let Some(root) = published(folder) else { return };
    let tried: BTreeSet<_> = attacks.iter().map(|(scenario, _, _)| (*scenario).to_owned()).collect();
    let names = std::fs::read_dir(root).expect("the published folder").map(|item| item.expect("an item").file_name());
    let names = names.map(|name| name.into_string().expect("a plain name"));
    let scenarios: BTreeSet<_> =
        names.filter_map(|name| name.strip_prefix(prefix).map(|name| name.trim_end_matches(".json").to_owned())).collect();
    assert_eq!(scenarios, tried, "each published scenario is tried here");
}

/// What did:plc allows and did:zynk does not: keys that stand twice, and none at all.
#[test]
fn what_plc_tolerates_is_refused() {
    let begin = |control| put(None, &create(Genesis { control, ..genesis() }, &[PHONE], &[CONTROL])).map(|_| ());
    assert_eq!(begin(set(&[CONTROL, CONTROL], 1)), Err(Error::DuplicateKey { role: "control key" }), "duplicate_rotation_keys");
    assert_eq!(begin(set(&[], 1)), Err(Error::BadThreshold { threshold: 1, keys: 0 }), "empty_rotation_keys");
}

/// The scenarios about identifiers, tried on the identifier itself.
#[test]
fn identifiers_that_hide_something_are_refused() {
    let (did, _) = alice();
    for (story, text) in [
        ("a fragment", format!("{did}#evil.example")),
        ("a traversal", format!("{did}/../../etc")),
        ("a traversal for an identifier", "did:zynk:..".to_owned()),
        ("an encoded traversal", "did:zynk:%2e%2e%2fetc".to_owned()),
        ("an encoded port", format!("{did}%3a8080")),
        ("a second part", format!("{did}:path")),
    ] {
        assert_eq!(requested(&text), Err(Problem::InvalidDid), "{story}");
    }
}

/// Both identities have the same keys, so that only the identifier tells them apart.
fn twins() -> [(Did, Entry); 2] {
    let other = create(Genesis { nonce: [8; 16], ..genesis() }, &[PHONE], &[CONTROL]);
    [alice(), (other.did, put(None, &other).expect("a valid creation"))]
}

fn update() -> Operation {
    Operation::Update { services: services(&["https://evil.example"]) }
}

fn signature_of_another_identity() -> Result<Entry, Error> {
    let [(did, entry), (other, elsewhere)] = twins();
    let replayed = operate((&other, &elsewhere), update(), &[CONTROL]);
    put(Some(&entry), &SignedOperation { did, previous: entry.last_operation, ..replayed })
}

fn operation_moved_to_another_identifier() -> Result<Entry, Error> {
    let [(did, entry), (other, _)] = twins();
    put(Some(&entry), &SignedOperation { did: other, ..operate((&did, &entry), update(), &[CONTROL]) })
}

fn signature_under_another_place() -> Result<Entry, Error> {
    let first = create(Genesis { control: set(&[CONTROL, 4], 1), ..genesis() }, &[PHONE], &[CONTROL]);
    let entry = put(None, &first)?;
    let draft = Draft::new(&chain(), &first.did, &entry, update(), UNTIL).sign(1, &key(CONTROL));
    put(Some(&entry), &draft.finish()?)
}

fn one_key_signing_twice() -> Result<Entry, Error> {
    let first = create(Genesis { control: set(&[CONTROL, 4], 2), ..genesis() }, &[PHONE], &[CONTROL, 4]);
    let entry = put(None, &first)?;
    let draft = Draft::new(&chain(), &first.did, &entry, update(), UNTIL).sign(0, &key(CONTROL)).sign(0, &key(CONTROL));
    put(Some(&entry), &draft.finish()?)
}

fn endpoint(text: &str) -> Result<Entry, Error> {
    let (did, entry) = alice();
    let services = vec![relay(text)].try_into()?;
    put(Some(&entry), &operate((&did, &entry), Operation::Update { services }, &[CONTROL]))
}

fn rotation_to_keys_never_committed() -> Result<Entry, Error> {
    let (did, entry) = alice();
    let Operation::RotateControl { next_control, recovery, recovery_delay, .. } = rotation() else { unreachable!("a rotation") };
    let thief = Operation::RotateControl { control: set(&[STRANGER], 1), next_control, recovery, recovery_delay };
    put(Some(&entry), &operate((&did, &entry), thief, &[STRANGER]))
}

fn creation_under_a_chosen_identifier() -> Result<Entry, Error> {
    let (victim, _) = alice();
    let mine = create(Genesis { nonce: [8; 16], ..genesis() }, &[PHONE], &[CONTROL]);
    put(None, &SignedOperation { did: victim, ..mine })
}

fn another_version() -> Result<Entry, Error> {
    respelled(|bytes| bytes[0] = 2)
}

fn valid_until(height: Height) -> Result<Entry, Error> {
    let (did, entry) = alice();
    put(Some(&entry), &signed(Draft::new(&chain(), &did, &entry, update(), height), &[CONTROL]))
}

/// The key signs the right fields under the name of another format, as a device binding has it.
fn signature_of_another_context() -> Result<Entry, Error> {
    let (did, entry) = alice();
    let draft = Draft::new(&chain(), &did, &entry, update(), UNTIL);
    let bytes = draft.signing_bytes();
    let own = 1 + usize::from(bytes[0]);
    let mut other = types::Text::<64>::try_from("zynk.2026 signal binding v1")?.to_bytes();
    other.extend_from_slice(&bytes[own..]);
    put(Some(&entry), &draft.attach(Signer::Control(0), key(CONTROL).sign(&other)).finish()?)
}

fn threshold_of_zero() -> Result<Entry, Error> {
    put(None, &create(Genesis { control: set(&[CONTROL], 0), ..genesis() }, &[PHONE], &[]))
}

/// An operation, its bytes changed, read and applied.
fn respelled(change: impl Fn(&mut Vec<u8>)) -> Result<Entry, Error> {
    let (did, entry) = alice();
    let mut bytes = operate((&did, &entry), update(), &[CONTROL]).to_bytes();
    change(&mut bytes);
    put(Some(&entry), &SignedOperation::parse(&bytes)?)
}

/// The count of signatures, written with a byte more than it takes.
fn count_with_padding() -> Result<Entry, Error> {
    respelled(|bytes| {
        let count = bytes.len() - 1 - 2 - 64;
        assert_eq!(bytes[count], 1, "one signature");
        bytes.splice(count..=count, [0x81, 0x00]);
    })
}

/// Adds the order of the group to the second half of the signature: the same value to a lax eye.
fn signature_with_high_s() -> Result<Entry, Error> {
    const ORDER: [u8; 16] = 0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes();
    respelled(|bytes| {
        let s = bytes.len() - 32;
        let mut carry = 0;
        for place in 0..32 {
            let added = ORDER.get(place).copied().unwrap_or(if place == 31 { 0x10 } else { 0 });
            let sum = u16::from(bytes[s + place]) + u16::from(added) + carry;
            [bytes[s + place], _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0, "s and the order fit 256 bits");
    })
}

fn two_branches() -> (Did, Entry, SignedOperation, SignedOperation) {
    let (did, entry) = alice();
    let taken = operate((&did, &entry), Operation::Update { services: services(&[]) }, &[CONTROL]);
    let lost = operate((&did, &entry), update(), &[CONTROL]);
    (did, entry, taken, lost)
}

fn history_rewritten() -> Result<Entry, Error> {
    let (_, entry, taken, lost) = two_branches();
    put(Some(&put(Some(&entry), &taken)?), &lost)
}

fn history_rewritten_at_the_next_sequence() -> Result<Entry, Error> {
    let (did, entry, taken, _) = two_branches();
    let next = put(Some(&entry), &taken)?;
    let as_if = Entry { sequence: next.sequence, ..entry };
    put(Some(&next), &operate((&did, &as_if), update(), &[CONTROL]))
}

fn operation_on_a_lost_branch() -> Result<Entry, Error> {
    let (did, entry, taken, lost) = two_branches();
    let other = put(Some(&entry), &lost)?;
    put(Some(&put(Some(&entry), &taken)?), &operate((&did, &other), update(), &[CONTROL]))
}

fn update_after_the_end() -> Result<Entry, Error> {
    let life = life();
    let (_, last, dead) = life.last().expect("a last step");
    put(Some(dead), &operate((&last.did, dead), update(), &[AFTER]))
}

/// An operation of one chain on another: neither the genesis nor any later operation counts.
#[test]
fn nothing_counts_on_another_chain() {
    let other = named("zynk-test-2");
    let mut before: Option<Entry> = None;
    for (name, signed, after) in life() {
        let refused = super::apply(before.as_ref(), &other, HEIGHT, &signed).map(|_| ());
        let expected = match (&signed.operation, signed.signatures[0].signer) {
            (Operation::Create { .. }, _) => Error::WrongChain { found: chain() },
            (_, signer) => Error::BadSignature { signer },
        };
        assert_eq!(refused, Err(expected), "{name}");
        before = Some(after);
    }
}

/// A binding of another identity, chain or sequence binds nothing here.
#[test]
fn a_binding_is_for_one_identity_at_one_sequence() {
    let [(did, entry), (other, _)] = twins();
    for (story, chain, did_signed, sequence) in
        [("another identity", chain(), other, 1), ("another chain", named("zynk-test-2"), did, 1), ("another sequence", chain(), did, 0)]
    {
        let binding = crate::device::bind(&chain, &did_signed, sequence, &key(LAPTOP), &signal(LAPTOP));
        let add = Operation::AddDevice { device: crate::fixture::device(LAPTOP), binding };
        let refused = put(Some(&entry), &operate((&did, &entry), add, &[CONTROL]));
        assert_eq!(refused, Err(Error::BadBinding { device: 2 }), "{story}");
    }
}

/// Whoever has today's control keys has them until the owner rotates, and cannot rotate himself.
#[test]
fn a_thief_of_todays_keys_loses_to_the_next() {
    let (did, entry) = alice();
    let stolen = put(Some(&entry), &operate((&did, &entry), update(), &[CONTROL])).expect("today's keys do what they may");
    let back = put(Some(&stolen), &operate((&did, &stolen), rotation(), &[NEXT])).expect("the owner rotates");
    assert_eq!(put(Some(&back), &operate((&did, &back), update(), &[CONTROL])), Err(BAD), "the thief is out");
    assert_eq!(back.recovery, entry.recovery, "nothing that the thief may do touches the recovery");
    assert_eq!(Entry::from_bytes(&back.to_bytes()), Ok(back.clone()));
    assert_ne!(back.next_control, Hash::ZERO);
}
