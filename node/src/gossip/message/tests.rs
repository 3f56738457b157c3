//! How transactions stand in a message.

use super::*;

fn named(bytes: &[u8]) -> (Hash, Bytes) {
    (Hash::sha256(&[bytes]), Bytes::copy_from_slice(bytes))
}

#[test]
fn a_message_has_one_form() {
    let data = write(FIRST, &[named(b"ab"), named(&[7; 300])]);
    assert_eq!(data[..13], [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, b'a', b'b', 0xac], "stamp, count, and each with its length");
    assert_eq!(read(&data), Some((0, vec![b"ab".as_slice().into(), vec![7; 300].into()])));
    let alone = write(9, &[named(b"ab")]);
    assert_eq!(alone, [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, b'a', b'b']);
    assert_eq!(read(&alone), Some((9, vec![b"ab".as_slice().into()])));
}

#[test]
fn what_no_honest_node_writes_is_not_read() {
    let longest = vec![1; transaction::MAX_BYTES];
    assert!(read(&write(FIRST, &[named(&longest)])).is_some());
    assert!(write(FIRST, &[named(&longest)]).len() <= MAX_MESSAGE);
    let many = vec![named(b"a"); MAX_TRANSACTIONS];
    assert!(read(&write(FIRST, &many)).is_some());
    for (story, data) in [
        ("nothing", Vec::new()),
        ("half a stamp", vec![0; 4]),
        ("a stamp alone", vec![0; 8]),
        ("no transaction", write(FIRST, &[])),
        ("two offered again", write(9, &[named(b"a"), named(b"b")])),
        ("too long a transaction", write(FIRST, &[named(&vec![1; transaction::MAX_BYTES + 1])])),
        ("one too many", write(FIRST, &vec![named(b"a"); MAX_TRANSACTIONS + 1])),
        ("a byte too many", [write(FIRST, &[named(b"a")]), vec![0]].concat()),
        ("a byte too few", vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1]),
        ("a count in a longer form", vec![0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 1, 1]),
    ] {
        assert_eq!(read(&data), None, "{story}");
    }
}

#[test]
fn as_few_messages_as_hold_them() {
    let sizes = |lengths: &[usize]| {
        let all: Vec<_> = lengths.iter().map(|length| named(&vec![1; *length])).collect();
        let messages: Vec<_> = divide(&all).collect();
        assert!(messages.iter().all(|message| write(FIRST, message).len() <= MAX_MESSAGE));
        assert_eq!(messages.concat(), all, "all of them, in their order");
        messages.iter().map(|message| message.len()).collect::<Vec<_>>()
    };
    let most = transaction::MAX_BYTES;
    assert_eq!(sizes(&[]), [0; 0]);
    assert_eq!(sizes(&[most]), [1]);
    assert_eq!(sizes(&[most, most, 1]), [1, 2]);
    assert_eq!(sizes(&[1; 200]), [MAX_TRANSACTIONS, MAX_TRANSACTIONS, MAX_TRANSACTIONS, 8]);
    assert_eq!(sizes(&[300; 60]), [27, 27, 6]);
}
