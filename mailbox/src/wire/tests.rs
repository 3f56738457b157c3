use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Encoding, Error, decode_client, decode_server, encode};
use crate::fixture::{address, client_frames, content, delivery, id, server_frames, submission};
use crate::frame::{
    Accepted, AcceptedItem, Acknowledge, ClientFrame, MAX_CONTENT, MAX_FRAME, MAX_NUMBER, Open, Problem, Received, Refusal, Refused,
    ServerFrame, SlowDown, Submission,
};

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];

#[test]
fn each_frame_comes_back_in_both_forms() {
    for encoding in BOTH {
        for frame in client_frames() {
            assert_eq!(decode_client(encoding, &encode(encoding, &frame)), Ok(frame), "{encoding:?}");
        }
        for frame in server_frames() {
            assert_eq!(decode_server(encoding, &encode(encoding, &frame)), Ok(frame), "{encoding:?}");
        }
    }
}

#[test]
fn cbor_has_byte_strings_for_what_is_bytes() {
    let bytes = encode(Encoding::Cbor, &ClientFrame::Send(submission()));
    for (what, needle) in [("id", id(1).as_bytes().as_slice()), ("did", &[2; 32]), ("hash", &[9; 32]), ("content", &[3; 7])] {
        assert!(bytes.windows(needle.len()).any(|window| window == needle), "{what}");
    }
    let json = encode(Encoding::Json, &ClientFrame::Send(submission()));
    assert!(bytes.len() < json.len() * 3 / 4, "{} against {}", bytes.len(), json.len());
}

/// `payload` may stand before `type`: a map has no order. Serde then buffers the payload and forgets
/// whether it was text or bytes.
#[test]
fn a_payload_may_come_before_its_type() {
    for frame in client_frames() {
        let Value::Object(fields) = serde_json::to_value(&frame).expect("a frame") else { panic!("an object") };
        let text = format!(r#"{{"payload":{},"type":{}}}"#, fields["payload"], fields["type"]);
        assert_eq!(decode_client(Encoding::Json, text.as_bytes()), Ok(frame.clone()));
        let cbor: ciborium::Value = ciborium::from_reader(encode(Encoding::Cbor, &frame).as_slice()).expect("CBOR");
        let ciborium::Value::Map(mut pairs) = cbor else { panic!("a map") };
        pairs.reverse();
        let mut bytes = Vec::new();
        ciborium::into_writer(&ciborium::Value::Map(pairs), &mut bytes).expect("memory");
        assert_eq!(decode_client(Encoding::Cbor, &bytes), Ok(frame));
    }
}

#[test]
fn subprotocols_name_encodings() {
    for encoding in BOTH {
        assert_eq!(Encoding::of_subprotocol(encoding.subprotocol()), Some(encoding));
    }
    for name in ["", "zynk.v1", "zynk.v2+json", "ZYNK.V1+JSON"] {
        assert_eq!(Encoding::of_subprotocol(name), None, "{name}");
    }
}

/// A valid `message.send`, changed.
fn sent(change: impl FnOnce(&mut Value)) -> String {
    let mut frame = serde_json::to_value(ClientFrame::Send(submission())).expect("a frame");
    change(&mut frame);
    frame.to_string()
}

#[test]
fn what_is_no_frame_is_refused() {
    let check =
        |story: &str, text: &str, expected: Error| assert_eq!(decode_client(Encoding::Json, text.as_bytes()), Err(expected), "{story}");
    check("nothing", "", Error::Syntax { at: 0 });
    check("half a frame", r#"{"type":"#, Error::Syntax { at: 8 });
    check("two frames", r#"{"type":"message.acknowledge","payload":{"upto":1}}{}"#, Error::Syntax { at: 52 });
    check("a list", "[]", Error::Shape);
    check("no type", r#"{"payload":{}}"#, Error::Shape);
    check("no payload", r#"{"type":"message.send"}"#, Error::Shape);
    check("an unknown type", r#"{"type":"message.edit","payload":{}}"#, Error::Shape);
    check("a relay's frame", r#"{"type":"queue.empty","payload":{}}"#, Error::Shape);
    check("a field beside", r#"{"type":"message.acknowledge","payload":{"upto":1},"id":1}"#, Error::Shape);
    check("type twice", r#"{"type":"message.acknowledge","type":"message.acknowledge","payload":{"upto":1}}"#, Error::Shape);
    check("a field twice", r#"{"type":"message.acknowledge","payload":{"upto":1,"upto":1}}"#, Error::Shape);
    check("a field unknown", r#"{"type":"message.acknowledge","payload":{"upto":1,"down":1}}"#, Error::Shape);
    check("a number as text", r#"{"type":"message.acknowledge","payload":{"upto":"1"}}"#, Error::Shape);
    check("a number below 0", r#"{"type":"message.acknowledge","payload":{"upto":-1}}"#, Error::Shape);
    check("a number with a fraction", r#"{"type":"message.acknowledge","payload":{"upto":1.0}}"#, Error::Shape);
    check("a field missing", &sent(|frame| drop(frame["payload"].as_object_mut().expect("an object").remove("contents"))), Error::Shape);
    let wrong = [
        ("message_id", json!("0")),
        ("conversation_id", json!("09")),
        ("conversation_id", json!([9])),
        ("recipient_id", json!("did:zynk:2")),
        ("recipient_id", json!("did:web:example.org")),
        ("content_hash", json!("zz")),
        ("timestamp", json!("now")),
        ("contents", json!({})),
        ("contents", json!([{}])),
    ];
    for (field, value) in wrong {
        check(field, &sent(|frame| frame["payload"][field] = value), Error::Shape);
    }
    let wrong = [
        ("device_id", json!(65_536)),
        ("registration_id", json!(4_294_967_296u64)),
        ("form", json!("sender_key")),
        ("encrypted_content", json!("=")),
        ("encrypted_content", json!("AAA")),
        ("encrypted_content", json!("AA-_")),
        ("encrypted_content", json!([1, 2])),
        ("extra", json!(1)),
    ];
    for (field, value) in wrong {
        check(field, &sent(|frame| frame["payload"]["contents"][0][field] = value), Error::Shape);
    }
    let deep = format!(r#"{{"type":"message.send","payload":{}"#, "[".repeat(100_000));
    assert!(decode_client(Encoding::Json, deep.as_bytes()).is_err(), "depth is bounded");
}

#[test]
fn a_refusal_takes_no_unknown_field() {
    let check = |story: &str, refusal: Value, good: bool| {
        let frame = json!({"type": "message.refused", "payload": {"message_id": id(1), "refusal": refusal}}).to_string();
        assert_eq!(decode_server(Encoding::Json, frame.as_bytes()).is_ok(), good, "{story}");
    };
    check("as it is", json!({"reason": "id_reused"}), true);
    check("beside the reason", json!({"reason": "id_reused", "more": 1}), false);
    check("a detail of none", json!({"reason": "id_reused", "detail": {"more": 1}}), false);
    check("in the detail", json!({"reason": "too_many", "detail": {"retry_after_ms": 1, "more": 1}}), false);
    check("an unknown reason", json!({"reason": "other"}), false);
}

#[test]
fn cbor_that_is_no_frame_is_refused() {
    let check = |story: &str, bytes: &[u8], expected: Error| assert_eq!(decode_client(Encoding::Cbor, bytes), Err(expected), "{story}");
    let good = encode(Encoding::Cbor, &ClientFrame::Acknowledge(Acknowledge { upto: 1, also: vec![] }));
    check("nothing", &[], Error::Syntax { at: 0 });
    check("a reserved byte", &[0x1c], Error::Syntax { at: 0 });
    check("a byte more", &[good.as_slice(), &[0]].concat(), Error::Trailing { left: 1 });
    check("cut", &good[..good.len() - 1], Error::Syntax { at: good.len() - 1 });
    check("a number", &[0], Error::Shape);
    check("lists without an end", &[0x9f; 100_000], Error::Shape);
    let payload = ciborium::Value::serialized(&serde_json::to_value(submission()).expect("a message")).expect("CBOR");
    let text = ciborium::Value::Map(vec![("type".into(), "message.send".into()), ("payload".into(), payload)]);
    check("base64 and hexadecimal where bytes are due", &encode(Encoding::Cbor, &text), Error::Shape);
    // A text that says it is 2^60 bytes long reserves nothing.
    check("a lying length", &[0xa1, 0x7b, 0x10, 0, 0, 0, 0, 0, 0, 0], Error::Shape);
}

#[test]
fn every_bound_is_held() {
    let check = |story: &str, frame: &ClientFrame, expected: Result<(), Error>| {
        for encoding in BOTH {
            assert_eq!(decode_client(encoding, &encode(encoding, frame)).map(|_| ()), expected, "{story}, {encoding:?}");
        }
    };
    let bound = |what: &'static str, found: u64, bound: u64| Err(Error::Bound { what, found, bound });
    let open = |token: usize, acknowledged: u64| ClientFrame::Open(Open { token: "x".repeat(token), acknowledged });
    check("the longest token", &open(2_048, MAX_NUMBER), Ok(()));
    check("a token too long", &open(2_049, 0), bound("bytes of a token", 2_049, 2_048));
    check("a number too high", &open(1, MAX_NUMBER + 1), bound("number", MAX_NUMBER + 1, MAX_NUMBER));
    let send = |contents: Vec<crate::frame::Content>| ClientFrame::Send(Submission { contents, ..submission() });
    check("the most contents", &send((0..30).map(|device| content(device, 1)).collect()), Ok(()));
    check("a content too many", &send((0..31).map(|device| content(device, 1)).collect()), bound("contents", 32, 31));
    check("the longest content", &send(vec![content(1, MAX_CONTENT)]), Ok(()));
    check("a content too long", &send(vec![content(1, MAX_CONTENT + 1)]), bound("bytes of a content", 98_305, 98_304));
    let late = ClientFrame::Send(Submission { timestamp: types::Millis(u64::MAX), ..submission() });
    check("the end of time", &late, bound("number", u64::MAX, MAX_NUMBER));
    let acknowledge = |upto: u64, also: Vec<u64>| ClientFrame::Acknowledge(Acknowledge { upto, also });
    check("the most numbers", &acknowledge(0, (2..258).collect()), Ok(()));
    check("a number too many", &acknowledge(0, (2..259).collect()), bound("numbers acknowledged one by one", 257, 256));
    check("numbers that do not ascend", &acknowledge(0, vec![3, 2]), Err(Error::Order { what: "numbers acknowledged" }));
    check("a number twice", &acknowledge(0, vec![3, 3]), Err(Error::Order { what: "numbers acknowledged" }));
    check("a number in the prefix", &acknowledge(3, vec![3, 4]), Err(Error::Order { what: "numbers acknowledged" }));
    for encoding in BOTH {
        let long = vec![b' '; MAX_FRAME + 1];
        assert_eq!(decode_client(encoding, &long), Err(Error::TooLong { found: MAX_FRAME + 1 }));
        assert_eq!(decode_server(encoding, &long), Err(Error::TooLong { found: MAX_FRAME + 1 }));
    }
}

#[test]
fn every_bound_of_a_relay_is_held() {
    let check = |story: &str, frame: &ServerFrame, expected: Result<(), Error>| {
        for encoding in BOTH {
            assert_eq!(decode_server(encoding, &encode(encoding, frame)).map(|_| ()), expected, "{story}, {encoding:?}");
        }
    };
    let bound = |what: &'static str, found: u64, bound: u64| Err(Error::Bound { what, found, bound });
    let received =
        |items: Vec<u64>| ServerFrame::Received(Received { items: items.into_iter().map(|number| delivery(number, 1)).collect() });
    check("the most items", &received((1..65).collect()), Ok(()));
    check("an item too many", &received((1..66).collect()), bound("received items", 65, 64));
    check("items out of order", &received(vec![2, 1]), Err(Error::Order { what: "numbers of received items" }));
    check("a number twice", &received(vec![2, 2]), Err(Error::Order { what: "numbers of received items" }));
    let long = ServerFrame::Received(Received { items: vec![delivery(1, MAX_CONTENT + 1)] });
    check("a content too long", &long, bound("bytes of a content", 98_305, 98_304));
    let accepted = ServerFrame::Accepted(Accepted { items: vec![AcceptedItem { message_id: id(1), envelope: None }; 65] });
    check("answers too many", &accepted, bound("accepted items", 65, 64));
    let problem = ServerFrame::Error(Problem { code: 1, message: "x".repeat(513) });
    check("a text too long", &problem, bound("bytes of a problem's message", 513, 512));
    let refused = |refusal: Refusal| ServerFrame::Refused(Refused { message_id: id(1), refusal });
    let devices = Refusal::Devices { did: address(1, 1).did, missing: vec![], extra: (0..32).collect(), stale: vec![] };
    check("devices too many", &refused(devices), bound("devices", 32, 31));
    check("words too many", &refused(Refusal::Malformed { what: "x".repeat(513) }), bound("bytes of a refusal", 513, 512));
    check("a long wait", &refused(Refusal::TooMany { retry_after_ms: u64::MAX }), bound("number", u64::MAX, MAX_NUMBER));
    check("a longer wait", &ServerFrame::SlowDown(SlowDown { retry_after_ms: 1 << 53 }), bound("number", 1 << 53, MAX_NUMBER));
}

#[test]
fn the_largest_flight_fits_a_frame() {
    // 64 items of together 256 KiB: the most that a session gives at once.
    let items = (1..65).map(|number| delivery(number, crate::session::MAX_UNACKNOWLEDGED_BYTES / 64)).collect();
    let frame = ServerFrame::Received(Received { items });
    for encoding in BOTH {
        assert!(encode(encoding, &frame).len() <= MAX_FRAME);
    }
}

#[test]
fn an_error_repeats_nothing_of_the_frame() {
    let secret = sent(|frame| frame["payload"]["timestamp"] = json!("my secret"));
    let error = decode_client(Encoding::Json, secret.as_bytes()).expect_err("a text where a number is due");
    assert!(!error.to_string().contains("secret"));
    assert!(!format!("{:?}", ClientFrame::Open(Open { token: "my secret".to_owned(), acknowledged: 1 })).contains("secret"));
    assert!(!format!("{:?}", submission()).contains("[1, 1, 1"));
}

fn any_submission() -> impl Strategy<Value = Submission> {
    let content = (any::<u16>(), any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..200));
    let content = content.prop_map(|(device_id, registration_id, first, bytes)| crate::frame::Content {
        device_id,
        registration_id,
        form: if first { crate::frame::Form::Prekey } else { crate::frame::Form::Ratchet },
        encrypted_content: bytes.into(),
    });
    let contents = || prop::collection::vec(content.clone(), 0..5);
    (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u8; 32]>(), contents(), contents(), any::<Option<[u8; 32]>>(), 0..=MAX_NUMBER).prop_map(
        |(message, conversation, recipient, contents, own_contents, commitment, time)| Submission {
            message_id: uuid::Uuid::from_bytes(message),
            conversation_id: types::Hash(conversation),
            recipient_id: identity::Did(recipient),
            contents,
            own_contents,
            content_hash: commitment.map(|hash| audit::Commitment(types::Hash(hash))),
            timestamp: types::Millis(time),
        },
    )
}

proptest! {
    #[test]
    fn any_submission_comes_back(submission in any_submission()) {
        let frame = ClientFrame::Send(submission);
        for encoding in BOTH {
            prop_assert_eq!(decode_client(encoding, &encode(encoding, &frame)), Ok(frame.clone()));
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for encoding in BOTH {
            let _ = decode_client(encoding, &bytes);
            let _ = decode_server(encoding, &bytes);
        }
    }

    /// One byte changed: a frame that reads must write and read again as the same.
    #[test]
    fn a_changed_byte_is_refused_or_another_frame(which in 0usize..5, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for encoding in BOTH {
            let mut bytes = encode(encoding, &client_frames()[which]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(frame) = decode_client(encoding, &bytes) {
                prop_assert_eq!(decode_client(encoding, &encode(encoding, &frame)), Ok(frame));
            }
        }
    }
}
