//! Nodes that find each other, lose each other, and keep others out; in one process, over loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, noise, tcp, yamux};
use types::Encode as _;

use super::*;
use crate::app::App;
use crate::config::Network;
use crate::gossip::tests::{arrives, listening, started};
use crate::gossip::{Behaviour, HEIGHTS, MAX_MESSAGE, TRANSACTIONS, behaviour, topic};
use crate::testing::{Bench, key};

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(story: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {story}"));
}

fn connected(app: &App) -> BTreeSet<PeerId> {
    app.peers().seen().connected.iter().map(|peer| peer.id).collect()
}

fn id(seed: u8) -> PeerId {
    libp2p::identity::Keypair::ed25519_from_bytes(*key(seed).seed()).expect("a key").public().to_peer_id()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn along_a_line_all_find_all() {
    // The keys of the validators' nodes: the chain's records have them.
    let benches: Vec<Bench> = (0..4).map(|_| Bench::new()).collect();
    let (mut running, mut peers, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (bench, seed) in benches.iter().zip(51..) {
        let (gossip, address) = listening(bench, seed, peers.clone()).await;
        wanted.push(gossip.validators());
        // Each knows the one before it alone.
        peers = vec![address];
        running.push(tokio::spawn(gossip.run()));
    }
    for (bench, seed) in benches.iter().zip(51u8..) {
        let others: BTreeSet<PeerId> = (51..55).filter(|other| *other != seed).map(id).collect();
        until("all are connected", || connected(&bench.app) == others).await;
    }
    for (wanted, seed) in wanted.iter().zip(51u8..) {
        let places = |seed: u8| format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", 30_000 + u16::from(seed), id(seed)).parse().expect("an address");
        let others: BTreeSet<Multiaddr> = (51..55).filter(|other| *other != seed).map(places).collect();
        until("the engine is told of all", || wanted.borrow().iter().cloned().collect::<BTreeSet<_>>() == others).await;
    }
    let shown = || {
        let seen = benches[1].app.peers().seen();
        let known = seen.connected.iter().all(|peer| peer.validator && peer.moniker() == "one" && peer.score >= 0.0);
        known && (seen.known, seen.listening.len(), seen.banned.len()) == (3, 1, 0)
    };
    until("the node shows what it knows of them", shown).await;
    // One that is gone is dialled again, and found again.
    running[2].abort();
    let gone = id(53);
    for place in [0, 1, 3] {
        until("it is gone", || !connected(&benches[place].app).contains(&gone)).await;
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A swarm that speaks as a node does, and does what it likes.
fn hostile(bench: &Bench, seed: u8) -> libp2p::Swarm<Behaviour> {
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(seed).seed()).expect("a key");
    let chain = bench.app.genesis().chain().clone();
    libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|keypair| Ok(behaviour(&chain, keypair, MAX_MESSAGE, "hostile", 8)?))
        .expect("a behaviour")
        .build()
}

/// Lets a hostile peer do something once it is connected, and waits until it is banned.
async fn is_banned_for(
    bench: &Bench,
    seed: u8,
    address: &Multiaddr,
    reason: &str,
    mut act: impl FnMut(&mut libp2p::Swarm<Behaviour>, PeerId),
) {
    let victim = address.iter().find_map(|part| if let Protocol::P2p(id) = part { Some(id) } else { None }).expect("an id");
    let mut swarm = hostile(bench, seed);
    swarm.dial(address.clone()).expect("an address");
    let acting = async {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                _ = every.tick() => if swarm.is_connected(&victim) { act(&mut swarm, victim); },
            }
        }
    };
    let banned = || {
        let seen = bench.app.peers().seen();
        let banned = seen.banned.iter().any(|ban| ban.who == Who::Peer(id(seed)) && ban.reason == reason);
        banned && seen.connected.iter().all(|peer| peer.id != id(seed))
    };
    tokio::select! {
        () = until(reason, banned) => {}
        () = acting => {}
    }
    // It cannot come back.
    let _ = swarm.dial(address.clone());
    let again = async {
        loop {
            if let SwarmEvent::ConnectionClosed { num_established: 0, .. } | SwarmEvent::OutgoingConnectionError { .. } =
                swarm.select_next_some().await
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is sent away");
    assert!(!connected(&bench.app).contains(&id(seed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_wrong_is_sent_away() {
    let (bench, honest) = (Bench::new(), Bench::new());
    let (gossip, address) = listening(&bench, 21, Vec::new()).await;
    let running = tokio::spawn(gossip.run());
    let (other, _) = listening(&honest, 22, vec![address.clone()]).await;
    let other = tokio::spawn(other.run());
    let chain = bench.app.genesis().chain().clone();

    is_banned_for(&bench, 61, &address, Offence::Undecodable.words(), |swarm, victim| {
        swarm.behaviour_mut().exchange.send_request(&victim, vec![7; 50]);
        std::thread::sleep(Duration::from_millis(1));
    })
    .await;
    let stolen = crate::gossip::announcement::Announcement::sign(&key(77), &chain, &[], &[], 1).to_bytes();
    is_banned_for(&bench, 62, &address, Offence::BadSignature.words(), |swarm, victim| {
        swarm.behaviour_mut().exchange.send_request(&victim, stolen.clone());
    })
    .await;
    let transactions = topic(&chain, TRANSACTIONS);
    let mut number = 0u64;
    is_banned_for(&bench, 63, &address, Offence::Invalid.words(), |swarm, _| {
        number += 1;
        // No transaction, each time another.
        let data = [&[0; 8][..], &number.to_be_bytes()].concat();
        let _ = swarm.behaviour_mut().gossip.publish(transactions.clone(), data);
    })
    .await;
    let heights = topic(&chain, HEIGHTS);
    let mut told = 0u64;
    is_banned_for(&bench, 65, &address, Offence::Flood.words(), |swarm, _| {
        for _ in 0..400 {
            told += 1;
            let data = crate::gossip::write_height(1, Duration::from_millis(told));
            let _ = swarm.behaviour_mut().gossip.publish(heights.clone(), data);
        }
    })
    .await;
    // All of them came from this machine, as everybody else.
    until("the honest one is still there", || connected(&bench.app).contains(&id(22))).await;
    assert!(bench.app.peers().seen().banned.iter().all(|ban| matches!(ban.who, Who::Peer(_))));
    running.abort();
    other.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_chain_is_sent_away() {
    let bench = Bench::new();
    let (gossip, address) = listening(&bench, 21, Vec::new()).await;
    let running = tokio::spawn(gossip.run());
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(64).seed()).expect("a key");
    let other = "zynk-other-1".parse().expect("a chain id");
    let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|keypair| Ok(behaviour(&other, keypair, MAX_MESSAGE, "other", 8)?))
        .expect("a behaviour")
        .build();
    swarm.dial(address).expect("an address");
    let swarm = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let banned =
        || bench.app.peers().seen().banned.iter().any(|ban| ban.who == Who::Peer(id(64)) && ban.reason == Offence::WrongChain.words());
    until("it is banned", banned).await;
    running.abort();
    swarm.abort();
}

/// Carries bytes between a node and whoever connects to it, and can go silent as a cable does that is pulled: nobody
/// is told.
struct Cable {
    address: std::net::SocketAddr,
    silent: tokio::sync::watch::Sender<u64>,
}

impl Cable {
    async fn to(target: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let silent = tokio::sync::watch::Sender::new(0);
        let pulled = silent.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect(target).await else { continue };
                let mut pulled = pulled.subscribe();
                let born = *pulled.borrow();
                tokio::spawn(async move {
                    let (mut near, mut far) = (near, far);
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        _ = pulled.wait_for(|age| *age > born) => {}
                    }
                    // Both ends stay open: neither hears an end. The near one ends when the test says that its node noticed.
                    let _ = pulled.wait_for(|age| *age > born + 1).await;
                    drop(near);
                    let _ = pulled.wait_for(|age| *age > born + 1000).await;
                    drop(far);
                });
            }
        });
        Self { address, silent }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lost_its_connection_unnoticed_is_heard_again() {
    let (one, two) = (Bench::new(), Bench::new());
    let (first, address) = listening(&one, 21, Vec::new()).await;
    let mut target = None;
    for part in &address {
        if let Protocol::Tcp(port) = part {
            target = Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        }
    }
    let cable = Cable::to(target.expect("a port")).await;
    let through: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", cable.address.port(), id(21)).parse().expect("an address");
    // The second one knows the first through the cable alone, and announces nothing.
    let network = Network { discover: false, ..Network::new("/ip4/127.0.0.1/tcp/0".parse().expect("an address"), vec![through]) };
    let second = started(&two, 22, &network, None);
    let running = [tokio::spawn(first.run()), tokio::spawn(second.run())];
    one.app.submit(one.transfer(0)).expect("a transfer that can be paid");
    arrives(&two.app, &one.transfer(0)).await;
    // Long enough connected that the next attempt is no half of a handshake that both began.
    tokio::time::sleep(Duration::from_secs(6)).await;
    cable.silent.send_modify(|age| *age += 1);
    cable.silent.send_modify(|age| *age += 1);
    until("the second one has noticed and is connected anew", || {
        let seen = two.app.peers().seen();
        seen.connected.iter().any(|peer| peer.id == id(21) && peer.age < Duration::from_secs(6))
    })
    .await;
    // What either is told reaches the other: each heard what the other listens to.
    two.app.submit(two.transfer(1)).expect("a transfer that can be paid");
    arrives(&one.app, &two.transfer(1)).await;
    one.app.submit(one.transfer(2)).expect("a transfer that can be paid");
    arrives(&two.app, &one.transfer(2)).await;
    // What is shown is a second old.
    until("one connection for a peer", || one.app.peers().seen().connected.len() == 1).await;
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_place_of_a_handshake_is_bounded() {
    let (bench, honest) = (Bench::new(), Bench::new());
    let (gossip, address) = listening(&bench, 21, Vec::new()).await;
    let running = tokio::spawn(gossip.run());
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None }).expect("a port");
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x5a; 2048]).await;
        open.push(stream);
    }
    // Some of those have ended: there is room again, and a node comes in.
    let (other, _) = listening(&honest, 22, vec![address]).await;
    let other = tokio::spawn(other.run());
    until("a node comes in", || connected(&bench.app).contains(&id(22))).await;
    running.abort();
    other.abort();
}
