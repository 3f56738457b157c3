//! How transactions stand in a message.

use super::*;

fn tx(bytes: &[u8]) -> Tx {
    Bytes::copy_from_slice(bytes).into()
}

#[test]
fn a_message_has_one_form() {
    let data = write(FIRST, &[tx(b"ab"), tx(&[7; 300])]);
    assert_eq!(data[..13], [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, b'a', b'b', 0xac], "stamp, count, and each with its length");
    assert_eq!(read(&data), Some((0, vec![tx(b"ab"), tx(&[7; 300])])));
    let alone = write(9, &[tx(b"ab")]);
    assert_eq!(alone, [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, b'a', b'b']);
    assert_eq!(read(&alone), Some((9, vec![tx(b"ab")])));
}

#[test]
fn what_no_honest_node_writes_is_not_read() {
    let longest = vec![1; transaction::MAX_BYTES];
    assert!(read(&write(FIRST, &[tx(&longest)])).is_some());
    assert!(write(FIRST, &[tx(&longest)]).len() <= MAX_MESSAGE);
    let many = vec![tx(b"a"); MAX_TRANSACTIONS];
    assert!(read(&write(FIRST, &many)).is_some());
    for (story, data) in [
        ("nothing", Vec::new()),
        ("half a stamp", vec![0; 4]),
        ("a stamp alone", vec![0; 8]),
        ("no transaction", write(FIRST, &[])),
        ("two offered again", write(9, &[tx(b"a"), tx(b"b")])),
        ("too long a transaction", write(FIRST, &[tx(&vec![1; transaction::MAX_BYTES + 1])])),
        ("one too many", write(FIRST, &vec![tx(b"a"); MAX_TRANSACTIONS + 1])),
        ("a byte too many", [write(FIRST, &[tx(b"a")]), vec![0]].concat()),
        ("a byte too few", vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1]),
        ("a count in a longer form", vec![0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 1, 1]),
    ] {
        assert_eq!(read(&data), None, "{story}");
    }
}

#[test]
fn as_few_messages_as_hold_them() {
    let sizes = |lengths: &[usize]| {
        let all: Vec<_> = lengths.iter().map(|length| tx(&vec![1; *length])).collect();
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
