//! The frozen vectors of every format in this crate: `tests/vectors/mailbox.json`.

use serde::Serialize;
use serde_json::{Value, json};
use types::{Encode, Hash};

use crate::fixture::{NOW, address, client_frames, server_frames, submission};
use crate::frame::Kind;
use crate::intake::{deliveries, fingerprint};
use crate::queue::Queue;
use crate::wire::{Encoding, encode};

#[test]
fn the_formats_are_those_frozen() {
    let vectors = json!({
        "client_frames": client_frames().iter().map(frame).collect::<Value>(),
        "server_frames": server_frames().iter().map(frame).collect::<Value>(),
        "submission": {
            "ciphertext_hash": submission().ciphertext_hash(),
            "size": submission().size(),
            "fingerprint": fingerprint(Kind::Message, &submission()),
        },
        "stored": stored(),
        "queues": queues(),
    });
    support::frozen("mailbox", &vectors);
}

fn frame(frame: &impl Serialize) -> Value {
    let text = String::from_utf8(encode(Encoding::Json, frame)).expect("JSON is UTF-8");
    json!({"frame": frame, "json": text, "cbor": hex::encode(encode(Encoding::Cbor, frame))})
}

fn stored() -> Value {
    let sealed = Some(Hash([6; 32]));
    let given = deliveries(&address(1, 1), Kind::Message, &submission(), NOW, sealed);
    let stored = |(to, stored): (crate::Address, crate::envelope::Stored)| json!({"to": to, "to_bytes": hex::encode(to.to_bytes()), "bytes": hex::encode(stored.to_bytes()), "delivery": stored.delivery(42)});
    given.into_iter().map(stored).collect()
}

fn queues() -> Value {
    let mut queue = Queue::default();
    let mut all = vec![json!({"bytes": hex::encode(queue.to_bytes())})];
    for bytes in 100..110 {
        queue.push(bytes).expect("there is room");
    }
    all.push(json!({"bytes": hex::encode(queue.to_bytes())}));
    let deletions = queue.acknowledge(3, &[5, 6, 9], |number| 99 + number);
    all.push(json!({"deleted": deletions.numbers().collect::<Vec<u64>>(), "bytes": hex::encode(queue.to_bytes())}));
    all.into()
}
