//! Values that are easy to type, for the tests of this crate.

use audit::Commitment;
use identity::Did;
use types::{Hash, Millis};
use uuid::Uuid;

use crate::bytes::Bytes;
use crate::frame::{
    Accepted, AcceptedItem, Acknowledge, Address, ClientFrame, Content, Delivery, Empty, Form, Kind, Open, Opened, PrekeysLow, Problem,
    Received, Refusal, Refused, SeenEnvelope, ServerFrame, SlowDown, Submission,
};

/// 2026, roughly.
pub(crate) const NOW: Millis = Millis(1_790_000_000_000);

pub(crate) fn did(number: u8) -> Did {
    Did([number; 32])
}

pub(crate) fn address(number: u8, device: u16) -> Address {
    Address { did: did(number), device }
}

/// A UUID of version 7.
pub(crate) fn id(number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&NOW.0.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    Uuid::from_bytes(bytes)
}

pub(crate) fn content(device_id: u16, bytes: usize) -> Content {
    let encrypted_content = Bytes(vec![device_id.to_le_bytes()[0]; bytes]);
    Content { device_id, registration_id: 100 + u32::from(device_id), form: Form::Ratchet, encrypted_content }
}

/// From identity 1, device 1, to identity 2 with devices 1 and 2; the sender's other device is 3.
pub(crate) fn submission() -> Submission {
    Submission {
        message_id: id(1),
        conversation_id: Hash([9; 32]),
        recipient_id: did(2),
        contents: vec![content(1, 5), content(2, 6)],
        own_contents: vec![content(3, 7)],
        content_hash: Some(Commitment(Hash([8; 32]))),
        timestamp: NOW,
    }
}

pub(crate) fn delivery(sequence: u64, bytes: usize) -> Delivery {
    Delivery {
        sequence,
        kind: Kind::Message,
        message_id: id(sequence),
        conversation_id: Hash([9; 32]),
        sender_id: did(1),
        sender_device_id: 1,
        recipient_id: did(2),
        form: Form::Prekey,
        encrypted_content: Bytes(vec![7; bytes]),
        content_hash: Some(Commitment(Hash([8; 32]))),
        timestamp: NOW,
        received_at: Millis(NOW.0 + 5),
        sealed_envelope: Some(Hash([6; 32])),
    }
}

/// One of each.
pub(crate) fn client_frames() -> Vec<ClientFrame> {
    let receipt = Submission { content_hash: None, own_contents: vec![], ..submission() };
    vec![
        ClientFrame::Open(Open { token: "a.b.c".to_owned(), acknowledged: 41 }),
        ClientFrame::Send(submission()),
        ClientFrame::Delivered(receipt.clone()),
        ClientFrame::Read(receipt),
        ClientFrame::Acknowledge(Acknowledge { upto: 41, also: vec![43, 44] }),
    ]
}

/// One of each.
pub(crate) fn server_frames() -> Vec<ServerFrame> {
    let seen = SeenEnvelope {
        ciphertext: submission().ciphertext_hash(),
        received: NOW,
        size_class: audit::SizeClass::of(submission().size()),
        salt: Hash([5; 32]),
    };
    let did = address(2, 1).did;
    let refusals = [
        Refusal::Devices { did, missing: vec![4], extra: vec![2], stale: vec![1] },
        Refusal::NoAccount { did },
        Refusal::NoDevices { did },
        Refusal::Full { did },
        Refusal::TooMany { retry_after_ms: 33 },
        Refusal::Malformed { what: "an empty content".to_owned() },
        Refusal::IdReused,
        Refusal::Unavailable,
    ];
    let mut frames = vec![
        ServerFrame::Opened(Opened { address: address(1, 1), time: NOW, acknowledged: 41, max_unacknowledged: 256, max_frame: 1 << 20 }),
        ServerFrame::Accepted(Accepted {
            items: vec![AcceptedItem { message_id: id(1), envelope: Some(seen) }, AcceptedItem { message_id: id(2), envelope: None }],
        }),
    ];
    frames.extend(refusals.map(|refusal| ServerFrame::Refused(Refused { message_id: id(1), refusal })));
    frames.extend([
        ServerFrame::Received(Received { items: vec![delivery(42, 5), delivery(44, 0)] }),
        ServerFrame::Empty(Empty {}),
        ServerFrame::SlowDown(SlowDown { retry_after_ms: 500 }),
        ServerFrame::PrekeysLow(PrekeysLow { one_time: 3, one_time_kyber: 0 }),
        ServerFrame::Error(Problem { code: 2204, message: "the device opened another session".to_owned() }),
    ]);
    frames
}
