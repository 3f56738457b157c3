//! Which announcements are believed.

use types::Decode as _;

use super::*;
use crate::testing::key;

const NOW_MS: u64 = 1_800_000_000_000;

fn chain(name: &str) -> ChainId {
    name.parse().expect("a chain id")
}

fn place(text: &str) -> Place {
    Place::of(&text.parse().expect("a multiaddress")).expect("a place")
}

fn announced(time_ms: u64, gossip: &[&str], consensus: &[&str]) -> Announcement {
    let places = |texts: &[&str]| texts.iter().map(|text| place(text)).collect::<Vec<_>>();
    Announcement::sign(&key(1), &chain("zynk-test-1"), &places(gossip), &places(consensus), time_ms)
}

#[test]
fn what_is_believed_and_what_is_held_against_whom() {
    let good = || announced(NOW_MS, &["/ip4/8.8.8.8/tcp/1"], &["/ip4/8.8.8.8/tcp/2"]);
    let check = |story: &str, announcement: Announcement, local: bool, expected: Result<(usize, usize), (Bad, bool)>| {
        let judged = announcement.judge(&chain("zynk-test-1"), NOW_MS, local);
        let found = judged.map(|node| (node.gossip.len(), node.consensus.len())).map_err(|bad| (bad, bad.is_fault()));
        assert_eq!(found, expected, "{story}");
    };
    check("a good one", good(), false, Ok((1, 1)));
    check("a day old", announced(NOW_MS - MAX_AGE_MS, &["/ip4/8.8.8.8/tcp/1"], &[]), false, Ok((1, 0)));
    check("older", announced(NOW_MS - MAX_AGE_MS - 1, &["/ip4/8.8.8.8/tcp/1"], &[]), false, Err((Bad::Stale, false)));
    check("a clock that is ahead", announced(NOW_MS + MAX_AHEAD_MS, &["/ip4/8.8.8.8/tcp/1"], &[]), false, Ok((1, 0)));
    check("from the future", announced(NOW_MS + MAX_AHEAD_MS + 1, &["/ip4/8.8.8.8/tcp/1"], &[]), false, Err((Bad::Early, false)));
    check("the end of time", announced(u64::MAX, &["/ip4/8.8.8.8/tcp/1"], &[]), false, Err((Bad::Early, false)));
    check("no address", announced(NOW_MS, &[], &[]), false, Err((Bad::Unreachable, false)));
    check("addresses of a home", announced(NOW_MS, &["/ip4/10.0.0.1/tcp/1"], &[]), false, Err((Bad::Unreachable, false)));
    check("the same at home", announced(NOW_MS, &["/ip4/10.0.0.1/tcp/1"], &[]), true, Ok((1, 0)));
    check("of two the one within reach", announced(NOW_MS, &["/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"], &[]), false, Ok((1, 0)));
    check("another chain's", Announcement { chain: chain("zynk-other-1"), ..good() }, false, Err((Bad::WrongChain, true)));
    check("somebody else's id", Announcement { key: key(2).public(), ..good() }, false, Err((Bad::Unsigned, true)));
    check("a key that is none", Announcement { key: PublicKey([0; 32]), ..good() }, false, Err((Bad::Malformed, true)));
    check("another time", Announcement { time_ms: NOW_MS + 1, ..good() }, false, Err((Bad::Unsigned, true)));
    let moved = announced(NOW_MS, &["/ip4/9.9.9.9/tcp/1"], &[]).gossip;
    check("other addresses", Announcement { gossip: moved.clone(), ..good() }, false, Err((Bad::Unsigned, true)));
    check("votes moved", Announcement { consensus: moved, ..good() }, false, Err((Bad::Unsigned, true)));
    for (story, address) in [
        ("a name", "/dns4/node.example/tcp/1"),
        ("a port alone", "/tcp/1"),
        ("no port", "/ip4/8.8.8.8/tcp/0"),
        ("an address in another form", "/ip6/::ffff:8.8.8.8/tcp/1"),
        ("a detour", "/ip4/8.8.8.8/tcp/1/ws"),
    ] {
        let bytes = address.parse::<Multiaddr>().expect("a multiaddress").to_vec();
        let gossip = Addresses::try_from(vec![Blob::try_from(bytes).expect("short")]).expect("one");
        let mut announcement = Announcement { gossip, ..good() };
        announcement.signature = key(1).sign(&announcement.signed());
        check(story, announcement, true, Err((Bad::Malformed, true)));
    }
    let gossip = Addresses::try_from(vec![Blob::try_from(vec![255; 9]).expect("short")]).expect("one");
    check("noise for an address", Announcement { gossip, ..good() }, false, Err((Bad::Malformed, true)));
}

#[test]
fn the_bytes_of_an_announcement() {
    let most = ["/ip6/2600::1/udp/65535/quic-v1"; MAX_ADDRESSES + 3];
    let largest = announced(u64::MAX, &most, &most);
    let bytes = largest.to_bytes();
    assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
    assert_eq!(Announcement::from_bytes(&bytes).as_ref(), Ok(&largest), "what is more than fits was left out");
    for cut in 0..bytes.len() {
        assert!(Announcement::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let expected = announced(1, &["/ip4/8.8.8.8/tcp/1"], &["/ip4/8.8.8.8/udp/2/quic-v1"]).to_bytes();
    let (signed, _) = expected.split_last_chunk::<64>().expect("a signature");
    // chain ‖ key ‖ one address: ip4 (4), tcp (6) ‖ one address: ip4, udp (273), quic-v1 (461) ‖ time.
    let spelled = [
        &b"\x0bzynk-test-1"[..],
        &key(1).public().0,
        b"\x01\x08\x04\x08\x08\x08\x08\x06\x00\x01",
        b"\x01\x0b\x04\x08\x08\x08\x08\x91\x02\x00\x02\xcd\x03",
        b"\x01",
    ];
    assert_eq!(signed, spelled.concat());
    let announcement = Announcement::from_bytes(&expected).expect("it was encoded");
    assert!(key(1).public().verify(&[CONTEXT, signed].concat(), &announcement.signature), "what is signed is the context and these bytes");
}

#[test]
fn the_vectors() {
    let rows = [
        ("a full node", announced(1, &["/ip4/8.8.8.8/tcp/26658"], &[])),
        ("a validator", announced(NOW_MS, &["/ip4/8.8.8.8/tcp/26658", "/ip6/2600::1/tcp/26658"], &["/ip4/8.8.8.8/udp/26656/quic-v1"])),
    ];
    let row = |(story, announcement): &(&str, Announcement)| {
        let id = announcement.peer().expect("a key").to_string();
        serde_json::json!({"story": story, "peer": id, "signed": hex::encode(announcement.signed()), "bytes": hex::encode(announcement.to_bytes())})
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    support::frozen("announcement", &serde_json::json!({"chain": "zynk-test-1", "seed": hex::encode([1; 32]), "announcements": rows}));
}
