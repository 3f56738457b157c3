//! Who stands in the book, and who cannot take others' places.

use std::net::IpAddr;

use types::SigningKey;

use super::*;
use crate::gossip::place::{Transport, group};

const NOW_MS: u64 = 1_800_000_000_000;

fn chain() -> ChainId {
    "zynk-test-1".parse().expect("a chain id")
}

/// A node by its number, at an address.
fn node(number: u32, ip: [u8; 4], time_ms: u64) -> Node {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let place = Place { ip: IpAddr::from(ip), port: 26658, transport: Transport::Tcp };
    let announcement = Announcement::sign(&SigningKey::from_seed(&seed), &chain(), &[place], &[], time_ms);
    announcement.judge(&chain(), time_ms, true).expect("an announcement")
}

/// Dice that always show the same, as far as that is below the count.
fn fixed(drawn: usize) -> impl FnMut(usize) -> usize {
    move |count| drawn % count
}

#[test]
fn the_later_of_two_announcements_counts() {
    let mut book = Book::default();
    let check = |book: &mut Book, story: &str, time_ms: u64, expected: Taken| {
        assert_eq!(book.take(node(1, [8, 8, 8, 8], time_ms)), expected, "{story}");
    };
    check(&mut book, "new", NOW_MS, Taken::New);
    check(&mut book, "the same again", NOW_MS, Taken::Known);
    check(&mut book, "an earlier one, replayed", NOW_MS - 1, Taken::Known);
    check(&mut book, "a later one", NOW_MS + 1, Taken::New);
    assert_eq!(book.len(), 1);
}

#[test]
fn ten_thousand_nodes_of_one_owner_take_a_shelf_and_nothing_else() {
    let mut book = Book::default();
    let honest: Vec<Node> = (0u8..40).map(|net| node(50_000 + u32::from(net), [20 + net, 1, 1, 1], NOW_MS)).collect();
    for node in &honest {
        assert_eq!(book.take(node.clone()), Taken::New);
    }
    // In one /24, and each later than all before it.
    for number in 0..10_000 {
        let last = u8::try_from(number % 256).expect("a byte");
        book.take(node(number, [66, 6, 6, last], NOW_MS + 1 + u64::from(number)));
    }
    assert_eq!(book.shelf(group(IpAddr::from([66, 6, 0, 0]))), ON_A_SHELF);
    assert!(honest.iter().all(|node| book.node(&node.id).is_some()));
    // At one address, fewer.
    for number in 0..1_000 {
        book.take(node(20_000 + number, [77, 7, 7, 7], NOW_MS));
    }
    assert_eq!(book.shelf(group(IpAddr::from([77, 7, 0, 0]))), OF_A_HOUSEHOLD);
    // The dice choose the shelf first: 32 of 72 nodes, and 1 of 42 shelves.
    let bad = (0..42)
        .filter(|drawn| book.choose(|_| true, fixed(*drawn)).is_some_and(|node| node.home().group() == group(IpAddr::from([66, 6, 0, 0]))))
        .count();
    assert_eq!(bad, 1);
}

#[test]
fn a_full_book_keeps_whom_it_reached_and_whom_it_expects() {
    let mut book = Book::default();
    let validator = node(1, [66, 0, 1, 1], NOW_MS - 5);
    book.expect([validator.id].into());
    let proven = node(2, [8, 8, 8, 8], NOW_MS - 4);
    book.take(validator.clone());
    book.take(proven.clone());
    book.reached(&proven.id);
    // Somebody with a /8 of addresses.
    for number in 0..4_000 {
        let (net, host) = (u8::try_from(number / 16).expect("250 nets"), u8::try_from(number % 16).expect("16 in each"));
        book.take(node(100 + number, [66, net, host, 1], NOW_MS + u64::from(number)));
    }
    assert_eq!(book.len(), NODES + 1, "full, beside the one that is expected");
    assert!(book.node(&validator.id).is_some() && book.node(&proven.id).is_some());
    // Everybody was reached: nobody else comes in, but who is expected does.
    let all: Vec<PeerId> = book.entries.keys().copied().collect();
    all.iter().for_each(|peer| book.reached(peer));
    let late = node(9_999, [99, 9, 9, 9], NOW_MS);
    assert_eq!(book.take(late.clone()), Taken::Full);
    book.expect([validator.id, late.id].into());
    assert_eq!(book.take(late.clone()), Taken::New);
    let told = book.told(8, NOW_MS, fixed(0));
    assert_eq!(told.len(), 10, "both that are expected, and eight more");
    assert!([&validator, &late].iter().all(|node| told.contains(&node.announcement)));
}

#[test]
fn who_is_not_there_goes_after_a_while() {
    let (mut book, new, proven, validator) =
        (Book::default(), node(1, [8, 8, 8, 8], NOW_MS), node(2, [9, 9, 9, 9], NOW_MS), node(3, [7, 7, 7, 7], NOW_MS));
    book.expect([validator.id].into());
    for node in [&new, &proven, &validator] {
        book.take(node.clone());
    }
    book.reached(&proven.id);
    let mut last = [0; 3];
    for attempt in 1..=50 {
        for (place, node) in [&new, &proven, &validator].into_iter().enumerate() {
            book.failed(&node.id);
            if book.node(&node.id).is_some() {
                last[place] = attempt;
            }
        }
    }
    assert_eq!(last, [ATTEMPTS_WITH_NEW - 1, ATTEMPTS_WITH_PROVEN - 1, 50]);
    book.tidy(NOW_MS + MAX_AGE_MS + 1);
    assert!(book.node(&validator.id).is_some(), "a chain that stood still finds its validators");
    assert!(book.told(8, NOW_MS + MAX_AGE_MS + 1, fixed(0)).is_empty(), "and tells nobody of what is old");
    book.expect(BTreeSet::new());
    book.tidy(NOW_MS + MAX_AGE_MS + 1);
    assert_eq!(book.len(), 0);
}

#[test]
fn a_file_is_read_as_if_a_stranger_had_written_it() {
    let mut book = Book::default();
    book.take(node(1, [8, 8, 8, 8], NOW_MS));
    book.take(node(2, [9, 9, 9, 9], NOW_MS));
    book.reached(&node(2, [9, 9, 9, 9], NOW_MS).id);
    let bytes = book.take_file().expect("it has changed");
    assert!(bytes.len() as u64 <= MAX_FILE && book.take_file().is_none());
    let read = |bytes: &[u8], now_ms: u64| {
        let mut book = Book::default();
        (book.load(bytes, &chain(), now_ms, false), book.entries.values().map(|entry| entry.proven).collect::<Vec<_>>())
    };
    let (whole, mut proven) = read(&bytes, NOW_MS);
    proven.sort_unstable();
    assert_eq!((whole, proven), (true, vec![false, true]));
    assert_eq!(read(&bytes, NOW_MS + 2 * MAX_AGE_MS), (true, Vec::new()), "too old");
    for cut in 0..bytes.len() {
        assert!(!read(&bytes[..cut], NOW_MS).0, "cut at {cut}");
    }
    let mut forged = bytes.clone();
    let last = forged.len() - 3;
    forged[last] ^= 1;
    assert_eq!(read(&forged, NOW_MS).1.len(), 1, "a forged line is left out");
    let mut other = Book::default();
    assert!(other.load(&bytes, &"zynk-other-1".parse().expect("a chain id"), NOW_MS, false) && other.len() == 0, "another chain's");
    assert!(!read(b"", NOW_MS).0 && !read(&[VERSION + 1], NOW_MS).0);
}
