//! An upgrade: the holders of stake vote for it, every node of the former version stops before its height, and
//! those of the next version go on with the same chain.

mod world;

use std::collections::BTreeMap;

use devnet::{Network, Settings};
use genesis::{KeyFile, KeyKind};
use ledger::governance::{Choice, Draft, GovernanceParams, Kind, Plan, upgrade};
use ledger::{Body, Params};
use rpc::{Chain, FeePayer};
use tendermint::Time;
use types::{Height, SigningKey};
use world::{PATIENCE, World, ZYNK, until};

/// Long enough for a vote to arrive on a busy machine.
const VOTING_MS: u64 = 10_000;

/// What makes a debug build a program of the next version.
const NEXT: [(&str, &str); 1] = [("ZYNK_APP_VERSION", "2")];

fn network() -> World {
    World::start_with(|network| {
        let governance = GovernanceParams { voting_ms: VOTING_MS, ..GovernanceParams::default() };
        let params = Params { governance, ..world::quick() };
        let settings = Settings { chain: "zynk-test".parse().expect("a chain id"), validators: 4, first_port: 0, services: false, params };
        let folder = network.folder().with_file_name("voting");
        (Network::create(&folder, &settings, Time::now()).expect("a network"), ZYNK.into())
    })
}

/// Sends a transaction of the account that operates all validators, final when this returns.
fn send(world: &World, body: Body) {
    let network = world.running.network();
    let key: SigningKey = KeyFile::load(&network.faucet(), KeyKind::Account).expect("a key").key().clone();
    let trust = network.load_genesis().expect("a genesis").trust();
    let mut chain = Chain::connect(&world.url(0), trust).expect("a URL");
    world.runtime.block_on(chain.submit(&key, FeePayer::Author, body)).expect("it is included");
}

/// The version that a header names, from one validator.
fn version(world: &World, height: u64) -> u64 {
    world.runtime.block_on(world.node(0).commit(Some(Height(height)))).expect("a commit").header.version.app
}

/// Waits until all four have ended by themselves; their last words.
fn all_fall(world: &mut World) -> BTreeMap<usize, String> {
    let mut words = BTreeMap::new();
    until("the end of all four", PATIENCE, || {
        words.extend(world.running.fallen());
        (words.len() == 4).then_some(())
    });
    words
}

#[test]
fn the_network_stops_before_an_upgrade_and_goes_on_as_the_next_version() {
    let mut world = network();
    // Far enough that the vote is over ten blocks before, at a block a second and two for each transaction.
    let height = world.height(0) + 2 * VOTING_MS / 1_000 + 2 * upgrade::MIN_AHEAD;
    let plan = Plan { name: "maple".try_into().expect("a short name"), app_version: 2, height: Height(height) };
    send(
        &world,
        Body::SubmitProposal(Box::new(Draft {
            kind: Kind::Upgrade(plan),
            title: "To maple".try_into().expect("a short title"),
            summary: "For the sake of it.".try_into().expect("a short summary"),
            deposit: GovernanceParams::default().min_deposit,
        })),
    );
    send(&world, Body::Vote { proposal: 1, choice: Choice::Yes });

    let said = |words: &str| {
        let told = ["error 6023", "upgrade maple", &format!("height {height}"), "version 2", "up to 1"];
        told.iter().all(|part| words.contains(part))
    };
    for (place, words) in all_fall(&mut world) {
        assert!(said(&words), "validator {place} ended otherwise: {words}");
    }

    // The former program says the same at once, and leaves the chain where it is.
    world.revive(0, &[]);
    let again = world.wait_for_fall(0);
    assert!(said(&again), "started again it ended otherwise: {again}");

    (0..4).for_each(|place| world.revive(place, &NEXT));
    for place in 0..4 {
        world.wait_for(place, height + 1);
    }
    assert_eq!((version(&world, height - 1), version(&world, height)), (1, 2));
    // A client that knows the genesis alone follows over the upgrade: it proves what it sends.
    world.transfer(1).expect("it is included and proven");
    world.assert_agreed(height + 1);
    // A program of the next version that is stopped and started is still at home.
    world.stop(2);
    world.revive(2, &NEXT);
    let tip = world.height(0);
    world.wait_for(2, tip);
}
