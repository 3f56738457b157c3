//! The frozen vectors of every format in this crate: `tests/vectors/audit.json`.

use serde_json::{Value, json};
use types::{Address, Amount, Encode, Hash, Height, Millis, SigningKey};

use crate::anchor::{Anchor, LogId, SignedAnchor, VERSION};
use crate::batch::Batch;
use crate::commitment::{Body, Opening};
use crate::leaf::{CommitmentPart, Envelope, EnvelopePart, LeafOpening, SizeClass};
use crate::log::{Frontier, inclusion};
use crate::record::{LogRecord, Taken};
use crate::tree::Tree;
use crate::{domains, log};

#[test]
fn the_formats_are_those_frozen() {
    let vectors = json!({
        "domains": domains::ALL.iter().map(|domain| json!({"context": domain.context(), "key": Hash(*domain.key())})).collect::<Value>(),
        "leaves": [leaf(file()), leaf(message())],
        "tree": trees(),
        "batch": batch(),
        "anchors": anchors(),
        "record": records(),
        "log": logs(),
    });
    support::frozen("audit", &vectors);
}

/// The hash of bytes `number`, 32 times: any value that is easy to type.
fn filled(number: u8) -> Hash {
    Hash([number; 32])
}

fn bytes(value: &impl Encode) -> String {
    value.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn file() -> Body {
    let name = Some("report.pdf".try_into().expect("short"));
    Body::File { content: Hash(*blake3::hash(b"hello").as_bytes()), size: 5, name }
}

fn message() -> Body {
    Body::Message {
        conversation: filled(1),
        device: Some(key().public()),
        sequence: 300,
        sent: Millis(1_700_000_000_000),
        content: filled(2),
        previous: Some(filled(3)),
    }
}

fn leaf(body: Body) -> Value {
    let opening = Opening { salt: [4; 32], body };
    let envelope = Envelope { ciphertext: filled(5), received: Millis(1_700_000_000_500), size_class: SizeClass::of(1_000) };
    let shown = LeafOpening {
        commitment: CommitmentPart::Opened(opening.clone()),
        envelope: EnvelopePart::Opened { salt: [6; 32], envelope: envelope.clone() },
    };
    let hidden =
        LeafOpening { commitment: CommitmentPart::Hidden(opening.commitment()), envelope: EnvelopePart::Hidden(shown.envelope.sealed()) };
    json!({
        "body_bytes": bytes(&opening.body),
        "body_hash": opening.body.hash(),
        "salt": Hash(opening.salt),
        "commitment": opening.commitment(),
        "envelope_bytes": bytes(&envelope),
        "envelope_salt": filled(6),
        "sealed": shown.envelope.sealed(),
        "leaf": shown.leaf(),
        "opening": shown,
        "opening_bytes": bytes(&shown),
        "hidden": hidden,
        "hidden_bytes": bytes(&hidden),
    })
}

/// Leaf i is BLAKE3 of i as eight bytes, least first.
fn numbered(count: u64) -> Vec<Hash> {
    (0..count).map(|number| Hash(*blake3::hash(&number.to_le_bytes()).as_bytes())).collect()
}

fn trees() -> Value {
    let tree = |count: u64| {
        let tree = Tree::build(numbered(count));
        json!({"count": count, "root": tree.root(), "path_of_last": tree.path(tree.count().saturating_sub(1))})
    };
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 64, 100, 1_023, 1_024, 1_025, 65_536].into_iter().map(tree).collect()
}

fn batch() -> Value {
    let mut padding = 0u8;
    let batch = Batch::seal(numbered(3), || {
        padding += 1;
        filled(padding)
    });
    let batch = batch.expect("distinct leaves");
    let absences = [filled(0), filled(0x80), filled(0xff)].map(|leaf| {
        let absence = batch.absence(&leaf).expect("not in the batch");
        json!({"leaf": leaf, "absence": absence, "bytes": bytes(&absence)})
    });
    json!({
        "given": numbered(3),
        "padding": [filled(1)],
        "leaves": batch.leaves().collect::<Vec<_>>(),
        "root": batch.root(),
        "paths": (0..batch.count()).map(|index| batch.path(index)).collect::<Vec<_>>(),
        "absences": absences,
    })
}

/// Two anchors, the second linked to the first.
fn signed_anchors() -> [SignedAnchor; 2] {
    let chain = "zynk-1".parse().expect("a chain id");
    let log = LogId::derive(&chain, &Address([7; 20]), 300);
    let (opened, closed) = (Millis(1_700_000_000_000), Millis(1_700_000_000_250));
    let first = Anchor { version: VERSION, chain, log, sequence: 1, previous: Hash::ZERO, root: filled(8), count: 1_024, opened, closed };
    let second = Anchor { sequence: 2, previous: first.hash(), root: filled(9), opened: closed, ..first.clone() };
    [first, second].map(|anchor| SignedAnchor::sign(anchor, &key()))
}

fn anchors() -> Value {
    let anchor = |signed: &SignedAnchor| {
        json!({
            "anchor": signed.anchor,
            "anchor_bytes": bytes(&signed.anchor),
            "hash": signed.anchor.hash(),
            "state_key": signed.anchor.log.state_key(),
            "public_key": key().public(),
            "signature": signed.signature,
            "entry_bytes": bytes(signed),
            "entry_hash": signed.entry_hash(),
        })
    };
    signed_anchors().iter().map(anchor).collect()
}

fn records() -> Value {
    let [first, _] = signed_anchors();
    let (log, chain) = (first.anchor.log, first.anchor.chain.clone());
    let start = LogRecord::register(log, Address([7; 20]), key().public(), Amount::ZYNK, Height(300)).expect("a usable key");
    let Ok(Taken::New(one)) = start.take(&chain, &first) else { panic!("the first anchor is the next") };
    let rotated = one.rotate_key(SigningKey::from_seed(&[2; 32]).public()).expect("a new key");
    let retired = rotated.retire(Height(301)).expect("active");
    [start, one, retired].iter().map(|record| json!({"record": record, "bytes": bytes(record)})).collect()
}

/// Entry i is the eight bytes of i, least first.
fn logs() -> Value {
    let mut frontier = Frontier::default();
    let mut nodes = std::collections::BTreeMap::new();
    let mut logs = Vec::new();
    for number in 0..=130u64 {
        if [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 64, 100, 127, 128, 129, 130].contains(&number) {
            let node = |level, index| nodes.get(&(level, index)).copied();
            logs.push(json!({
                "head": frontier.head(),
                "head_bytes": bytes(&frontier.head()),
                "frontier": frontier.hashes(),
                "frontier_bytes": bytes(&frontier),
                "path_of_first": inclusion(0, number, node),
                "proof_from_half": log::consistency(number / 2, number, node),
            }));
        }
        frontier.append(log::entry_hash(&number.to_le_bytes()), |level, index, node| {
            nodes.insert((level, index), node);
        });
    }
    logs.into()
}
