use types::{Decode, DecodeError, Encode, Hash};

use super::Stored;
use crate::fixture::{NOW, address, content, delivery, submission};
use crate::frame::{Form, Kind, MAX_CONTENT};
use crate::intake::deliveries;

fn stored(kind: Kind) -> Stored {
    let mut submission = submission();
    if kind != Kind::Message {
        submission.content_hash = None;
    }
    let sealed = (kind == Kind::Message).then_some(Hash([6; 32]));
    deliveries(&address(1, 1), kind, &submission, NOW, sealed).remove(0).1
}

#[test]
fn what_is_stored_is_what_is_delivered() {
    for kind in [Kind::Message, Kind::Delivered, Kind::Read] {
        for form in [Form::Prekey, Form::Ratchet] {
            let stored = Stored { form, ..stored(kind) };
            let back = Stored::from_bytes(&stored.to_bytes()).expect("its own bytes");
            assert_eq!(back, stored);
            assert_eq!(back.clone().delivery(7).sequence, 7);
            assert_eq!(back.delivery(7), stored.delivery(7));
        }
    }
    let delivered = stored(Kind::Message).delivery(3);
    let expected = crate::frame::Delivery {
        form: Form::Ratchet,
        encrypted_content: content(1, 5).encrypted_content,
        received_at: NOW,
        ..delivery(3, 0)
    };
    assert_eq!(delivered, crate::frame::Delivery { message_id: submission().message_id, ..expected });
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = stored(Kind::Message).to_bytes();
    let check = |story: &str, bytes: &[u8], expected: DecodeError| {
        assert_eq!(Stored::from_bytes(bytes), Err(expected), "{story}");
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    check("nothing", &[], DecodeError::Truncated { missing: 1 });
    check("another version", &with(0, 2), DecodeError::Tag { what: "stored message version", found: 2 });
    check("another kind", &with(1, 4), DecodeError::Tag { what: "message kind", found: 4 });
    let form = 2 + 16 + 32 + 32 + 1 + 32;
    check("another form", &with(form, 0), DecodeError::Tag { what: "content form", found: 0 });
    check("a byte more", &[bytes.as_slice(), &[0]].concat(), DecodeError::Trailing { left: 1 });
    for end in 0..bytes.len() {
        assert!(matches!(Stored::from_bytes(&bytes[..end]), Err(DecodeError::Truncated { .. })), "cut at {end}");
    }
    let long = Stored { encrypted_content: vec![0; MAX_CONTENT + 1].into(), ..stored(Kind::Message) };
    let bound = DecodeError::Bound { found: MAX_CONTENT as u64 + 1, bound: MAX_CONTENT };
    check("a content that is too long", &long.to_bytes(), bound);
}
