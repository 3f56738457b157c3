//! Finding each other: validators who know one other node each, and nothing else, come to be connected to all; and the
//! one that they knew is needed no longer.

#![allow(clippy::print_stdout, reason = "a long story says how far it is")]

mod world;

use std::collections::BTreeSet;

use devnet::Network;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use node::config::Config;
use world::{PATIENCE, World, ZYNK, until};

/// Whom all others are told of.
const SEED: usize = 0;

/// Has everybody know the seed alone, and the seed nobody.
fn star(network: Network) -> Network {
    change(network, |place, config, seed| {
        for (network, known) in [(&mut config.consensus, &seed.consensus), (&mut config.gossip, &seed.gossip)] {
            // The networks on loopback name everybody to everybody; of these the seed is kept.
            network.peers.retain(|peer| place != SEED && bare(peer) == known.listen);
            assert_eq!(network.peers.len(), usize::from(place != SEED));
        }
    })
}

/// Has everybody listen and dial over QUIC.
fn quic(network: Network) -> Network {
    let over = |address: &Multiaddr| -> Multiaddr {
        let part = |part| match part {
            Protocol::Tcp(port) => vec![Protocol::Udp(port), Protocol::QuicV1],
            other => vec![other],
        };
        address.iter().flat_map(part).collect()
    };
    change(network, |_, config, _| {
        for network in [&mut config.consensus, &mut config.gossip] {
            network.listen = over(&network.listen);
            network.peers = network.peers.iter().map(over).collect();
        }
    })
}

fn change(network: Network, change: impl Fn(usize, &mut Config, &Config)) -> Network {
    let load = |place: usize| Config::load(&network.home(place).config()).expect("a configuration");
    let seed = load(SEED);
    for place in 0..network.len() {
        let mut config = load(place);
        change(place, &mut config, &seed);
        config.save(&network.home(place).config()).expect("saved");
    }
    Network::load(network.folder()).expect("the same network")
}

fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// Asserts that everybody but `without` signs what is committed from now on.
fn all_sign(world: &mut World, without: Option<usize>) {
    let through = without.map_or(0, |gone| (gone + 1) % 4);
    let height = until("the chain goes on", PATIENCE, || world.transfer(through).ok()).height.0;
    for place in (0..4).filter(|place| Some(*place) != without) {
        let signed = world.wait_for_signature(place, through, height);
        println!("validator {place} has signed block {signed}");
    }
}

#[test]
fn who_knows_one_finds_all_and_needs_it_no_more() {
    let mut world = World::start_with(|network| (star(network), ZYNK.into()));
    // Each has the addresses of the three others, which nobody named to it, and hands them to its engine.
    for place in 1..4 {
        let validators = || {
            let log = world.log(place);
            let found: BTreeSet<&str> = log.lines().filter(|line| line.contains("a validator to stay connected to")).collect();
            (found.len() >= 2).then_some(())
        };
        until("it has found the validators", PATIENCE, validators);
    }
    all_sign(&mut world, None);
    println!("all have found all");

    world.kill(SEED);
    all_sign(&mut world, Some(SEED));
    println!("three go on without the one that all were told of");

    // Nor is it needed by one that starts anew: it has a book.
    let book = world.running.network().home(2).addresses();
    until("its book", PATIENCE, || book.exists().then_some(()));
    world.kill(2);
    world.revive(2, &[]);
    all_sign(&mut world, Some(SEED));
    println!("one that started anew has found the others by itself");
}

#[test]
fn four_over_quic_make_blocks() {
    let mut world = World::start_with(|network| (quic(network), ZYNK.into()));
    for _ in 0..3 {
        all_sign(&mut world, None);
    }
    let said = world.log(0);
    assert!(said.contains("/quic-v1"), "{said}");
}
