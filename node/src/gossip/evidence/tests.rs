//! Evidence between nodes, over loopback.

use std::time::Duration;

use libp2p::Multiaddr;
use tendermint::evidence::Evidence;

use super::*;
use crate::testing::Bench;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn two_votes(bench: &Bench, seed: u8) -> Evidence {
    bench.two_votes(seed, 1u32.into())
}

#[test]
fn messages_are_judged_by_what_the_pool_says() {
    let bench = Bench::new();
    bench.make(2);
    let check = |story: &str, bytes: &[u8], offered_again: bool, expected: MessageAcceptance| {
        assert_eq!(format!("{:?}", judge(&bench.app, bytes, offered_again)), format!("{expected:?}"), "{story}");
    };
    let good = bytes::encode(&two_votes(&bench, 2));
    let bend = |bend: &dyn Fn(&mut tendermint::evidence::DuplicateVoteEvidence)| match two_votes(&bench, 2) {
        Evidence::DuplicateVote(mut votes) => {
            bend(&mut votes);
            bytes::encode(&(*votes).into())
        }
        Evidence::LightClientAttack(_) => panic!("two votes"),
    };
    check("nothing", &[], true, MessageAcceptance::Reject);
    check("noise", &[7; 300], true, MessageAcceptance::Reject);
    check("too large", &vec![0; MAX_EVIDENCE + 1], true, MessageAcceptance::Reject);
    check("a byte too many", &[good.as_slice(), &[0]].concat(), true, MessageAcceptance::Reject);
    let forged = bend(&|votes| votes.vote_a.signature = votes.vote_b.signature.clone());
    check("a signature that does not hold", &forged, true, MessageAcceptance::Reject);
    let ahead = bend(&|votes| (votes.vote_a.height, votes.vote_b.height) = (9u32.into(), 9u32.into()));
    check("a height that is not here yet", &ahead, true, MessageAcceptance::Ignore);
    assert!(bench.app.pending_evidence(usize::MAX).is_empty(), "none of it was taken");
    check("it holds", &good, false, MessageAcceptance::Accept);
    check("known", &good, false, MessageAcceptance::Ignore);
    check("known, and offered again", &good, true, MessageAcceptance::Accept);
    bench.make(1);
    check("in a block", &good, true, MessageAcceptance::Ignore);
}

#[tokio::test]
async fn what_a_neighbour_sends_under_an_old_stamp_does_not_silence_this_node() {
    let bench = Bench::new();
    let mut accusations = Accusations::start(Arc::clone(&bench.app), bench.app.genesis().chain());
    let from = libp2p::identity::Keypair::ed25519_from_bytes([5; 32]).expect("a key").public().to_peer_id();
    let mut take = |stamp: u64| {
        let data = [stamp.to_be_bytes().as_slice(), b"evidence"].concat();
        accusations.take(MessageId::from(Vec::new()), from, &data, 100).expect("room");
        accusations.passed.len()
    };
    for (story, stamp, expected) in [("long ago", 0, 0), ("two windows ago", 98, 0), ("to come", 102, 0), ("the window before", 99, 1)] {
        assert_eq!(take(stamp), expected, "{story}");
    }
    for number in 0..=REMEMBERED as u64 {
        accusations.pass(Hash::sha256(&[&number.to_be_bytes()]));
    }
    assert_eq!(accusations.passed.len(), REMEMBERED, "bounded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_reaches_the_neighbour_and_its_neighbour() {
    let benches = [Bench::new(), Bench::new(), Bench::new()];
    let early = {
        // The three have the same blocks, since the same hand makes them at the same time.
        let first = crate::testing::alike(&benches, 2);
        assert_eq!(first.app.take_evidence(two_votes(first, 2)), Ok(Taken::New));
        two_votes(first, 2)
    };
    let mut peers: Vec<Multiaddr> = Vec::new();
    let mut running = Vec::new();
    for (seed, bench) in (21..).zip(&benches) {
        let (gossip, address) = crate::gossip::tests::listening(bench, seed, peers.clone()).await;
        // Each knows the one before it alone.
        peers = vec![address];
        running.push(tokio::spawn(gossip.run()));
    }
    let late = two_votes(&benches[0], 3);
    let arrived = async |evidence: &Evidence| {
        for bench in &benches[1..] {
            while !bench.app.pending_evidence(usize::MAX).contains(evidence) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, arrived(&early)).await.expect("what waited before anybody listened");
    assert_eq!(benches[0].app.take_evidence(late.clone()), Ok(Taken::New));
    tokio::time::timeout(PATIENCE, arrived(&late)).await.expect("what comes later");
    running.iter().for_each(tokio::task::JoinHandle::abort);
}
