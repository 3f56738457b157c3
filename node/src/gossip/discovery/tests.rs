//! Whom to know, to ask and to dial.

use super::*;
use crate::gossip::announcement::MAX_BYTES;
use crate::testing::key;

const NOW_MS: u64 = 1_800_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn chain(name: &str) -> ChainId {
    name.parse().expect("a chain id")
}

fn network(listen: &str, peers: &[String]) -> Network {
    let peers = peers.iter().map(|peer| peer.parse().expect("an address")).collect();
    Network::new(listen.parse().expect("an address"), peers)
}

/// Somebody with a public address, who knows these.
fn somebody(seed: u8, validates: bool, peers: &[String]) -> Discovery {
    let listen = |port: u16| network(&format!("/ip4/8.{seed}.8.8/tcp/{port}"), if port == 2 { peers } else { &[] });
    let key = key(seed);
    let setup = Setup { key: &key, moniker: "one", gossip: &listen(2), consensus: &listen(1), validates, addresses: None };
    let mut discovery = Discovery::new(&setup, &chain("zynk-test-1"), Vec::new(), NOW_MS);
    discovery.own.listens(&setup.gossip.listen);
    discovery
}

fn announced(seed: u8, time_ms: u64) -> Announcement {
    let place = |port: u16| Place::of(&format!("/ip4/8.{seed}.8.8/tcp/{port}").parse().expect("an address")).expect("a place");
    Announcement::sign(&key(seed), &chain("zynk-test-1"), &[place(2)], &[place(1)], time_ms)
}

fn peer(seed: u8) -> PeerId {
    announced(seed, 1).peer().expect("a peer id")
}

fn open(seed: u8, direction: Direction) -> Open {
    Open { peer: peer(seed), address: format!("/ip4/8.{seed}.8.8/tcp/2").parse().expect("an address"), direction, since: Duration::ZERO }
}

fn answer(announcements: Vec<Announcement>) -> Vec<u8> {
    Answer::try_from(announcements).expect("few").to_bytes()
}

#[test]
fn two_who_ask_each_other_know_each_other() {
    let (mut one, mut two) = (somebody(1, true, &[]), somebody(2, false, &[]));
    let question = one.question(peer(2), SECOND, NOW_MS).expect("nobody was asked");
    let answered = two.answer(peer(1), &question, SECOND, NOW_MS).expect("no offence").expect("an answer");
    assert_eq!(one.hear(&answered, NOW_MS), Ok(1));
    let known = |discovery: &Discovery, seed: u8| discovery.book.node(&peer(seed)).map(|node| (node.gossip.len(), node.consensus.len()));
    assert_eq!(known(&one, 2), Some((1, 0)), "one that does not validate announces no place for votes");
    assert_eq!(known(&two, 1), Some((1, 1)));
    assert_eq!(one.hear(&answered, NOW_MS), Ok(0), "nothing new");
    assert_eq!(one.question(peer(2), SECOND * 2, NOW_MS), None, "it was asked a moment ago");
    assert_eq!(one.question(peer(2), SECOND * 3, NOW_MS).as_ref(), Some(&question), "it is signed anew only when it must be");
    assert_ne!(one.question(peer(3), SECOND * 3, NOW_MS + ANNOUNCED_EVERY_MS), Some(question));
}

#[test]
fn what_a_hostile_peer_asks_and_answers() {
    let check_question = |story: &str, question: Vec<u8>, expected: Result<bool, Offence>| {
        let mut discovery = somebody(1, true, &[]);
        let answered = discovery.answer(peer(2), &question, SECOND, NOW_MS).map(|answer| answer.is_some());
        assert_eq!(answered, expected, "{story}");
        assert_eq!(discovery.book.len(), usize::from(story == "its own"), "{story}");
    };
    let mut forged = announced(2, NOW_MS).to_bytes();
    *forged.last_mut().expect("a byte") ^= 1;
    check_question("nothing to announce", Vec::new(), Ok(true));
    check_question("its own", announced(2, NOW_MS).to_bytes(), Ok(true));
    check_question("somebody else's", announced(3, NOW_MS).to_bytes(), Err(Offence::BadSignature));
    check_question("a forged one", forged.clone(), Err(Offence::BadSignature));
    check_question("noise", vec![7; 60], Err(Offence::Undecodable));
    check_question("one from the future", announced(2, u64::MAX).to_bytes(), Ok(true));

    let check_answer = |story: &str, bytes: Vec<u8>, expected: Result<usize, Offence>, known: usize| {
        let mut discovery = somebody(1, true, &[]);
        assert_eq!(discovery.hear(&bytes, NOW_MS), expected, "{story}");
        assert_eq!(discovery.book.len(), known, "{story}");
    };
    let other = Announcement::sign(&key(2), &chain("zynk-other-1"), &[], &[], NOW_MS);
    check_answer("nobody", answer(Vec::new()), Ok(0), 0);
    check_answer("two", answer(vec![announced(2, NOW_MS), announced(3, NOW_MS)]), Ok(2), 2);
    check_answer("one twice", answer(vec![announced(2, NOW_MS), announced(2, NOW_MS)]), Ok(1), 1);
    check_answer("this node itself, later than it knows", answer(vec![announced(1, NOW_MS + 5)]), Ok(0), 0);
    check_answer("an old one", answer(vec![announced(2, 5)]), Ok(0), 0);
    check_answer("another chain's", answer(vec![other]), Err(Offence::WrongChain), 0);
    check_answer("noise", vec![1; MAX_BYTES], Err(Offence::Undecodable), 0);
    check_answer("nothing at all", Vec::new(), Err(Offence::Undecodable), 0);
    let mut last = answer(vec![announced(2, NOW_MS), announced(3, NOW_MS)]);
    *last.last_mut().expect("a byte") ^= 1;
    check_answer("a forged one after a good one", last, Err(Offence::BadSignature), 1);
    let mut longer = answer(vec![announced(2, NOW_MS)]);
    longer.push(0);
    check_answer("a byte too many", longer, Err(Offence::Undecodable), 0);
}

#[test]
fn a_flood_of_forged_announcements_is_over_with_the_first() {
    let mut discovery = somebody(1, true, &[]);
    let mut forged: Vec<Announcement> = (2..200).map(|seed| Announcement { key: key(seed).public(), ..announced(201, NOW_MS) }).collect();
    forged.push(announced(202, NOW_MS));
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(discovery.hear(&answer(forged.clone()), NOW_MS), Err(Offence::BadSignature));
    }
    assert_eq!(discovery.book.len(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "one signature is checked for each of them, not 198");
}

#[test]
fn who_asks_again_and_again_is_not_answered() {
    let mut discovery = somebody(1, true, &[]);
    assert!(discovery.answer(peer(2), &[], SECOND, NOW_MS).is_ok());
    assert_eq!(discovery.answer(peer(2), &[], SECOND + SECOND / 2, NOW_MS), Err(Offence::Hasty));
    assert!(discovery.answer(peer(3), &[], SECOND + SECOND / 2, NOW_MS).is_ok(), "another one is");
    assert!(discovery.answer(peer(2), &[], SECOND * 3, NOW_MS).is_ok());
    discovery.tick(SECOND * 10, NOW_MS);
    assert!(discovery.answered.is_empty());
}

#[test]
fn validators_are_handed_to_the_engine_as_the_set_changes() {
    let all: Vec<Announcement> = (2..12).map(|seed| announced(seed, NOW_MS)).collect();
    let kept = |discovery: &Discovery| discovery.persistent.borrow().iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let text = |seed: u8| format!("/ip4/8.{seed}.8.8/tcp/1/p2p/{}", peer(seed));
    let mut validator = somebody(1, true, &[]);
    assert_eq!(validator.hear(&answer(all.clone()), NOW_MS), Ok(10));
    validator.tick(SECOND, NOW_MS);
    assert_eq!(kept(&validator), BTreeSet::new(), "nobody validates");
    validator.validate((1..8).map(peer).chain([peer(77)]).collect());
    validator.tick(SECOND, NOW_MS);
    assert_eq!(kept(&validator), (2..8).map(text).collect(), "all but itself, and one of whom nothing is known");
    validator.validate((5..10).map(peer).collect());
    validator.tick(SECOND, NOW_MS);
    assert_eq!(kept(&validator), (5..10).map(text).collect());
    // One moves.
    let moved = Announcement::sign(
        &key(5),
        &chain("zynk-test-1"),
        &[],
        &[Place::of(&"/ip4/9.9.9.9/tcp/1".parse().expect("an address")).expect("a place")],
        NOW_MS + 1,
    );
    assert_eq!(validator.hear(&answer(vec![moved]), NOW_MS), Ok(1));
    validator.tick(SECOND, NOW_MS);
    assert!(kept(&validator).contains(&format!("/ip4/9.9.9.9/tcp/1/p2p/{}", peer(5))) && !kept(&validator).contains(&text(5)));

    // Who only follows takes a few, and others take others.
    let of = |seed: u8| {
        let mut follower = somebody(seed, false, &[]);
        assert_eq!(follower.hear(&answer(all.clone()), NOW_MS), Ok(10));
        follower.validate((2..12).map(peer).collect());
        follower.tick(SECOND, NOW_MS);
        kept(&follower)
    };
    let some: Vec<_> = (20..30).map(of).collect();
    assert!(some.iter().all(|kept| kept.len() == VALIDATORS_OF_A_FOLLOWER));
    assert!(some.iter().flatten().collect::<BTreeSet<_>>().len() > 2 * VALIDATORS_OF_A_FOLLOWER, "they spread");
    // An engine over QUIC can do nothing with addresses of TCP.
    let quic = network("/ip4/8.1.8.8/udp/1/quic-v1", &[]);
    let setup = Setup {
        key: &key(1),
        moniker: "one",
        gossip: &network("/ip4/8.1.8.8/tcp/2", &[]),
        consensus: &quic,
        validates: true,
        addresses: None,
    };
    let mut other = Discovery::new(&setup, &chain("zynk-test-1"), Vec::new(), NOW_MS);
    assert_eq!(other.hear(&answer(all), NOW_MS), Ok(10));
    other.validate((2..12).map(peer).collect());
    other.tick(SECOND, NOW_MS);
    assert_eq!(kept(&other), BTreeSet::new());
}

#[test]
fn those_who_are_dialled_are_of_different_owners_and_not_too_many() {
    let named = format!("/ip4/8.99.8.8/tcp/2/p2p/{}", peer(99));
    let mut discovery = somebody(1, false, &[named.clone(), "/dns4/node.example/tcp/2".to_owned()]);
    // Forty nodes of forty owners, and thirty of one.
    assert_eq!(discovery.hear(&answer((2..42).map(|seed| announced(seed, NOW_MS)).collect()), NOW_MS), Ok(40));
    let crowd = |seed: u8| {
        let place = Place::of(&format!("/ip4/66.6.{seed}.6/tcp/2").parse().expect("an address")).expect("a place");
        Announcement::sign(&key(seed), &chain("zynk-test-1"), &[place], &[], NOW_MS)
    };
    assert_eq!(discovery.hear(&answer((100..130).map(crowd).collect()), NOW_MS), Ok(30));
    let first = discovery.dials(&[], |_| false, SECOND);
    assert_eq!(first.len(), 2 + DIALS_A_SECOND);
    assert_eq!(first[0], Dial { peer: Some(peer(99)), addresses: vec![named.parse().expect("an address")] });
    assert_eq!(first[1].peer, None);
    assert!(discovery.dials(&[], |_| true, SECOND).is_empty(), "the named ones have a pause now, all others are banned");

    let mut connected: Vec<Open> = Vec::new();
    for second in 2..200 {
        for dial in discovery.dials(&connected, |_| false, SECOND * second) {
            // Nobody named is there.
            let Some(peer) = dial.peer.filter(|peer| !discovery.is_named(peer)) else { continue };
            let address = dial.addresses[0].clone();
            connected.push(Open { peer, address, direction: Direction::Outbound, since: SECOND * second });
        }
    }
    assert_eq!(connected.len(), DIALLED);
    let groups: BTreeSet<_> = connected.iter().filter_map(|open| ip_of(&open.address)).map(group).collect();
    assert_eq!(groups.len(), DIALLED, "each of another owner");
    assert!(discovery.dials(&connected, |_| false, SECOND * 200).iter().all(|dial| dial.peer.is_none_or(|peer| discovery.is_named(&peer))));
    // Somebody who has come by itself does not count, and is not dialled.
    let come: Vec<Open> = (2..42).map(|seed| open(seed, Direction::Inbound)).collect();
    let dialled = discovery.dials(&come, |_| false, SECOND * 1000);
    assert!(dialled.iter().filter_map(|dial| dial.peer).all(|peer| come.iter().all(|open| open.peer != peer)));
}

#[test]
fn whoever_this_node_chose_is_asked() {
    let mut discovery = somebody(1, false, &[]);
    let come = [open(2, Direction::Inbound), open(3, Direction::Inbound)];
    assert_eq!(discovery.asks(come.iter(), SECOND), None, "who came by itself is not");
    let chosen = [open(2, Direction::Inbound), open(4, Direction::Outbound)];
    assert_eq!(discovery.asks(chosen.iter(), SECOND), Some(peer(4)));
    assert_eq!(discovery.asks(chosen.iter(), SECOND * 2), None);
    assert_eq!(discovery.asks(chosen.iter(), SECOND * 3), Some(peer(4)), "often at first");
    assert_eq!(discovery.asks(chosen.iter(), AT_FIRST), Some(peer(4)));
    assert_eq!(discovery.asks(chosen.iter(), AT_FIRST + ASKED_EVERY_AT_FIRST), None, "later less");
    discovery.validate(vec![peer(2)]);
    discovery.tick(AT_FIRST, NOW_MS);
    assert!(discovery.asks(come.iter(), AT_FIRST + ASKED_EVERY).is_some_and(|asked| asked == peer(2)), "a validator may come by itself");
}

#[test]
fn the_peer_id_of_somebody_named_by_address_is_learned() {
    let address = "/ip4/8.9.8.8/tcp/2";
    let mut discovery = somebody(1, false, &[address.to_owned()]);
    assert!(!discovery.is_named(&peer(9)));
    discovery.connected(peer(9), None);
    assert!(!discovery.is_named(&peer(9)), "it came by itself, from wherever");
    discovery.connected(peer(9), Some(&format!("{address}/p2p/{}", peer(9)).parse().expect("an address")));
    assert!(discovery.is_named(&peer(9)) && discovery.expected().contains(&peer(9)));
    assert_eq!(discovery.dials(&[open(9, Direction::Outbound)], |_| false, SECOND), []);
}

#[tokio::test]
async fn the_book_outlives_the_node_and_a_damaged_one_does_not_stop_it() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("addresses");
    let opened = || {
        let (key, gossip, consensus) = (key(1), network("/ip4/8.1.8.8/tcp/2", &[]), network("/ip4/8.1.8.8/tcp/1", &[]));
        let setup =
            Setup { key: &key, moniker: "one", gossip: &gossip, consensus: &consensus, validates: true, addresses: Some(path.clone()) };
        Discovery::new(&setup, &chain("zynk-test-1"), Vec::new(), NOW_MS)
    };
    let mut discovery = opened();
    assert_eq!(discovery.hear(&answer(vec![announced(2, NOW_MS), announced(3, NOW_MS)]), NOW_MS), Ok(2));
    discovery.tick(WRITTEN_EVERY, NOW_MS);
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(opened().book.len(), 2);
    std::fs::write(&path, b"noise").expect("written");
    assert_eq!(opened().book.len(), 0);
    assert_eq!(std::fs::read(genesis::file::beside(&path, ".damaged")).expect("it was put aside"), b"noise");
    assert!(!path.exists());
}
