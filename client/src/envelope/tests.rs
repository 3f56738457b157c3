use mailbox::Bytes;
use mailbox::frame::Form;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SENT: Millis = Millis(1_790_000_000_123);

fn chain() -> ChainId {
    "zynk-test-1".parse().expect("a chain id")
}

const fn address(byte: u8, device: u16) -> Address {
    Address { did: Did([byte; 32]), device }
}

fn opening(words: &str, previous: Option<Hash>) -> Opening {
    let conversation = conversation(&chain(), &Did([1; 32]), &Did([2; 32]));
    let body = Body::Message { conversation, device: None, sequence: 1, sent: SENT, content: content_hash(words), previous };
    Opening { salt: [9; 32], body }
}

fn message(words: &str) -> Envelope {
    with(Content::Message { opening: opening(words, None), text: text(words).expect("short") })
}

fn with(content: Content) -> Envelope {
    Envelope {
        from: address(1, 1),
        to: address(2, 3),
        recipient: Did([2; 32]),
        conversation: conversation(&chain(), &Did([1; 32]), &Did([2; 32])),
        message_id: Uuid::from_bytes([7; 16]),
        sent: SENT,
        content,
    }
}

fn delivery(envelope: &Envelope) -> Delivery {
    Delivery {
        sequence: 1,
        kind: envelope.content.kind(),
        message_id: envelope.message_id,
        conversation_id: envelope.conversation,
        sender_id: envelope.from.did,
        sender_device_id: envelope.from.device,
        recipient_id: envelope.recipient,
        form: Form::Ratchet,
        encrypted_content: Bytes(vec![1]),
        content_hash: None,
        timestamp: envelope.sent,
        received_at: SENT,
        sealed_envelope: None,
    }
}

#[test]
fn the_relay_learns_one_of_five_sizes() {
    for (length, size) in [(0, 256), (10, 256), (600, 1024), (3_000, 4096), (12_000, 16_384), (50_000, 65_536), (MAX_TEXT, 65_536)] {
        let envelope = message(&"x".repeat(length));
        let sealed = envelope.seal();
        // The shortest message is above 256 bytes with all that it binds, if it has a predecessor.
        assert!(sealed.len() == size || (length < 600 && sealed.len() == 1024), "{length}: {}", sealed.len());
        assert_eq!(Envelope::open(&sealed).map(|found| found == envelope), Ok(true));
    }
    assert_eq!(text(&"x".repeat(MAX_TEXT + 1)).map(|_| ()), Err(Refused::TooLong { found: MAX_TEXT + 1 }));
}

#[test]
fn there_is_one_padding() {
    let sealed = with(Content::Delivered(vec![[1; 16]].try_into().expect("one"))).seal();
    let check = |story: &str, bytes: &[u8], expected: Result<(), Refused>| {
        assert_eq!(Envelope::open(bytes).map(|_| ()), expected, "{story}");
    };
    let mut longer = sealed.clone();
    longer.resize(1024, 0);
    let mut open = sealed.clone();
    let end = open.iter().rposition(|byte| *byte == 0x80).expect("the end");
    open[end] = 0;
    check("as sealed", &sealed, Ok(()));
    check("padded to the next size", &longer, Err(Refused::Padding));
    check("one byte less", &sealed[..255], Err(Refused::Padding));
    check("without the end", &open, Err(Refused::Padding));
    check("nothing", &[], Err(Refused::Padding));
    check("zeros", &[0; 256], Err(Refused::Padding));
    let mut version = sealed;
    version[0] = 2;
    check("another version", &version, Err(Refused::Malformed(DecodeError::Tag { what: "inner envelope version", found: 2 })));
}

/// The relay says one thing, the sender inside the message another.
#[test]
fn what_the_relay_says_is_compared_with_what_the_sender_wrote() {
    let check = |story: &str, lie: &dyn Fn(&mut Envelope, &mut Delivery), expected: Option<&'static str>| {
        let mut envelope = message("hello");
        let mut delivery = delivery(&envelope);
        lie(&mut envelope, &mut delivery);
        let expected = expected.map_or(Ok(()), |what| Err(Refused::Differs { what }));
        assert_eq!(envelope.check(&chain(), &delivery, &address(2, 3)), expected, "{story}");
    };
    check("the truth", &|_, _| {}, None);
    check("another sender", &|_, told| told.sender_id = Did([3; 32]), Some("identity"));
    check("another device of the sender", &|_, told| told.sender_device_id = 2, Some("device"));
    check("a copy for another device", &|said, _| said.to.device = 4, Some("addressed device"));
    check("a message to another identity, passed on", &|said, _| said.to = address(3, 3), Some("addressed device"));
    check("another recipient", &|_, told| told.recipient_id = Did([3; 32]), Some("recipient"));
    check(
        "another recipient, on both",
        &|said, told| (said.recipient, told.recipient_id) = (Did([3; 32]), Did([3; 32])),
        Some("recipient"),
    );
    check("another conversation", &|_, told| told.conversation_id = Hash::ZERO, Some("conversation"));
    check(
        "another conversation, on both",
        &|said, told| (said.conversation, told.conversation_id) = (Hash::ZERO, Hash::ZERO),
        Some("conversation"),
    );
    check("another id", &|_, told| told.message_id = Uuid::nil(), Some("message id"));
    check("another time", &|_, told| told.timestamp = Millis(1), Some("time"));
    check("a receipt in the place of a message", &|_, told| told.kind = Kind::Read, Some("kind"));
}

#[test]
fn a_commitment_to_anything_else_is_flagged() {
    let commitment = opening("hello", None).commitment();
    let other = opening("other", None).commitment();
    let check = |story: &str, said: &Envelope, told: Option<Commitment>, expected| {
        assert_eq!(said.integrity(told.as_ref()), expected, "{story}");
    };
    check("the truth", &message("hello"), Some(commitment), Some(Integrity::Holds));
    check("the relay passes on another commitment", &message("hello"), Some(other), Some(Integrity::OtherCommitment));
    check("the relay passes on none", &message("hello"), None, Some(Integrity::OtherCommitment));
    let lying = with(Content::Message { opening: opening("hello", None), text: text("other").expect("short") });
    check("the sender opens a commitment to another text", &lying, Some(commitment), Some(Integrity::OtherContent));
    let moved = Envelope { sent: Millis(1), ..message("hello") };
    check("the sender opens a commitment to another time", &moved, Some(commitment), Some(Integrity::OtherContent));
    check("a receipt has none", &with(Content::Read(List::default())), None, None);
}

#[test]
fn a_conversation_has_one_name() {
    let (one, two, three) = (Did([1; 32]), Did([2; 32]), Did([3; 32]));
    assert_eq!(conversation(&chain(), &one, &two), conversation(&chain(), &two, &one));
    assert_ne!(conversation(&chain(), &one, &two), conversation(&chain(), &one, &three));
    assert_ne!(conversation(&chain(), &one, &one), conversation(&chain(), &one, &two));
    assert_ne!(conversation(&chain(), &one, &two), conversation(&"other".parse().expect("a chain id"), &one, &two));
}

#[test]
fn nothing_of_a_message_is_printed() {
    let shown = format!("{:?}", message("a secret"));
    assert!(!shown.contains("secret") && !shown.contains("did:"), "{shown}");
}

proptest! {
    #[test]
    fn what_is_sealed_opens(words in ".{0,300}", device in 1u16.., previous in proptest::option::of(any::<[u8; 32]>())) {
        let opening = opening(&words, previous.map(Hash));
        let envelope = Envelope { from: address(1, device), ..with(Content::Message { opening, text: text(&words).expect("short") }) };
        prop_assert!(Envelope::open(&envelope.seal()) == Ok(envelope));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Envelope::open(&bytes);
    }
}

#[test]
fn the_formats_are_frozen() {
    let kit = crate::RecoveryKit::from_bytes([0x42; 32]);
    let envelope = |name: &str, envelope: &Envelope| json!({ "name": name, "bytes": hex::encode(envelope.to_bytes()), "padded_size": envelope.seal().len() });
    let receipt = |ids: usize| (0..ids).map(|id| [u8::try_from(id).expect("few"); 16]).collect::<Vec<_>>().try_into().expect("at most 64");
    let safety = crate::contact::SafetyNumber::of(&chain(), &Did([1; 32]), &Did([2; 32]));
    let keys: Vec<Value> = (0..3).map(|number| json!(kit.control(number).public())).collect();
    let vectors = json!({
        "kit": {
            "bytes": hex::encode([0x42; 32]),
            "words": kit.words().join(" "),
            "control": keys,
            "recovery": kit.recovery().public(),
        },
        "conversation": { "chain": chain(), "one": Did([1; 32]), "other": Did([2; 32]), "id": conversation(&chain(), &Did([1; 32]), &Did([2; 32])) },
        "safety": { "digits": safety.digits(), "qr": safety.qr_text() },
        "envelopes": [
            envelope("message", &message("Grüße")),
            envelope("delivered", &with(Content::Delivered(receipt(2)))),
            envelope("read", &with(Content::Read(receipt(64)))),
        ],
        "commitment": opening("Grüße", None).commitment(),
    });
    support::frozen("client", &vectors);
}
