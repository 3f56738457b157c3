//! A validator that votes twice, on a chain of real processes: its evidence is in every node's block, once.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

mod world;

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use consensus::ValidatorSet;
use consensus::commit::{block_id, vote_bytes, vote_time};
use consensus::evidence::{bytes, votes};
use genesis::{KeyFile, KeyKind};
use node::config::{Config, Home};
use tendermint::abci::Event;
use tendermint::block::{Height, Round};
use tendermint::evidence::Evidence;
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{Hash, Signature, account};
use tendermint_rpc::{Client, HttpClient, Paging};
use types::SigningKey;
use world::{PATIENCE, World, ZYNK, until};

/// The validator whose key is used in two places.
const OFFENDER: usize = 2;

/// A block long past.
const AT: u32 = 1;

#[test]
fn who_votes_twice_stands_accused_in_one_block_and_leaves_the_set() {
    let mut world = World::start();
    let offender = KeyFile::load(&world.running.network().home(OFFENDER).validator_key(), KeyKind::Validator).expect("a key").key().clone();
    let evidence = two_votes(&world, &offender);
    let clients: Vec<HttpClient> = (0..4).map(|place| HttpClient::new(world.url(place).as_str()).expect("a URL")).collect();

    // What does not hold is refused with its number, and leaves no trace.
    let mut forged = evidence.clone();
    if let Evidence::DuplicateVote(votes) = &mut forged {
        votes.vote_a.signature = votes.vote_b.signature.clone();
    }
    let refusal = world.runtime.block_on(world.node(1).broadcast_evidence(&forged)).expect_err("a signature does not hold");
    assert!(refusal.to_string().contains("evidence 13"), "{refusal}");

    let name = world.runtime.block_on(world.node(1).broadcast_evidence(&evidence)).expect("it holds");
    assert_eq!(name.as_bytes(), bytes::name(&evidence).0);
    let found = |world: &World, place: usize, from: u64| {
        let tip = world.height(place);
        (from..=tip).filter(|height| !list(world, &clients[place], *height).is_empty()).collect::<Vec<u64>>()
    };
    let at = until("a block with evidence", PATIENCE, || found(&world, 0, 1).first().copied());
    // Told again, by another door: it is known, and not included again.
    world.wait_for(3, at);
    world.runtime.block_on(world.node(3).broadcast_evidence(&evidence)).expect("known");
    world.transfer(3).expect("included");
    world.wait_for(0, at + 4);
    for (place, client) in clients.iter().enumerate() {
        world.wait_for(place, at + 4);
        assert_eq!(found(&world, place, 1), [at], "validator {place}: in one block");
        assert_eq!(list(&world, client, at), std::slice::from_ref(&evidence), "as the published client reads it");
    }
    world.assert_agreed(at + 3);

    // Two blocks later it is a validator no more, and the rest go on.
    let voters = |height: u64| -> Vec<account::Id> {
        let height = Height::try_from(height).expect("a height");
        let answer = world.runtime.block_on(clients[0].validators(height, Paging::All)).expect("validators");
        answer.validators.iter().map(|validator| validator.address).collect()
    };
    let address = account::Id::from(offender.public().address());
    assert!(voters(at + 1).contains(&address) && voters(at + 1).len() == 4);
    assert!(!voters(at + 2).contains(&address) && voters(at + 2).len() == 3);
    until("it says so itself", PATIENCE, || world.log(OFFENDER).contains("THIS VALIDATOR stands accused").then_some(()));
    assert!(!world.log(0).contains("THIS VALIDATOR"), "nobody else is meant");
}

/// A process that runs; dropped, it is killed.
struct Second(Child);

impl Drop for Second {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_key_on_two_machines_costs_its_validator_its_place_and_its_stake() {
    let mut world = World::start();
    let home = world.running.network().home(OFFENDER);
    let address = account::Id::from(KeyFile::load(&home.validator_key(), KeyKind::Validator).expect("a key").key().public().address());
    let _second = second(&world);

    // Whenever it is its turn, each of the two proposes a block of its own and votes for it.
    let client = HttpClient::new(world.url(0).as_str()).expect("a URL");
    let mut from = 1;
    let (at, evidence) = until("evidence that the engines found", PATIENCE, || {
        world.transfer(0).expect("included");
        let tip = world.height(0);
        let found = (from..=tip).map(|height| (height, list(&world, &client, height))).find(|(_, list)| !list.is_empty());
        from = tip;
        found
    });
    let [Evidence::DuplicateVote(votes)] = &evidence[..] else { panic!("height {at}: {evidence:?}") };
    assert_eq!(votes.vote_a.validator_address, address, "height {at}");

    // It loses its place and a part of its stake at once, for ever, and the others go on.
    let outcome = world.runtime.block_on(client.block_results(Height::try_from(at).expect("a height"))).expect("results");
    let of_block = outcome.finalize_block_events;
    for (kind, name, value) in [("slash", "reason", "duplicate_vote"), ("jail", "reason", "duplicate_vote"), ("jail", "until", "ever")] {
        let events: Vec<_> = of_block.iter().filter(|event| event.kind == kind).collect();
        let bytes = (name.as_bytes(), value.as_bytes());
        let says = |event: &Event| event.attributes.iter().any(|told| (told.key_bytes(), told.value_bytes()) == bytes);
        assert!(events.len() == 1 && says(events[0]), "{kind} {name} {value}: {of_block:?}");
    }
    world.transfer(1).expect("the others are enough");
    world.wait_for(0, at + 3);
    let after = world.runtime.block_on(client.validators(Height::try_from(at + 2).expect("a height"), Paging::All)).expect("validators");
    assert!(after.validators.len() == 3 && after.validators.iter().all(|validator| validator.address != address), "{after:?}");
    for place in 0..4 {
        world.wait_for(place, at + 3);
        let words = if place == OFFENDER { "THIS VALIDATOR stands accused" } else { "a block accuses a validator" };
        until(words, PATIENCE, || world.log(place).contains(words).then_some(()));
    }
    world.assert_agreed(at + 3);
}

/// The mistake of an operator: a copy of the offender's home, without what its first process wrote, on another
/// machine.
fn second(world: &World) -> Second {
    let folder = world.beside("second");
    let (first, copy) = (world.running.network().home(OFFENDER), Home::new(&folder));
    fs::create_dir(&folder).expect("made");
    fs::copy(first.genesis(), copy.genesis()).expect("copied");
    fs::copy(first.validator_key(), copy.validator_key()).expect("copied");
    KeyFile::generate(KeyKind::Node).create(&copy.node_key()).expect("written");
    let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [consensus, gossip, rpc] = free.map(|listener| listener.local_addr().expect("an address"));
    let mut config = Config::load(&first.config()).expect("a configuration");
    config.moniker = "second".to_owned();
    config.consensus.listen = format!("/ip4/127.0.0.1/tcp/{}", consensus.port()).parse().expect("an address");
    config.gossip.listen = format!("/ip4/127.0.0.1/tcp/{}", gossip.port()).parse().expect("an address");
    config.rpc.listen = rpc;
    config.save(&copy.config()).expect("written");
    let log = fs::File::create(folder.join("node.log")).expect("a log");
    let mut command = Command::new(ZYNK);
    command.args(["node", "--attached", "--home"]).arg(&folder).env("ZYNK_LOG", "info,arc_malachitebft=warn");
    let child = command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a handle")).stderr(log).spawn();
    Second(child.expect("it starts"))
}

/// The evidence in a block, as the published client reads it.
fn list(world: &World, client: &HttpClient, height: u64) -> Vec<Evidence> {
    let height = Height::try_from(height).expect("a height");
    let block = world.runtime.block_on(client.block(height)).expect("a block").block;
    assert_eq!(block.header.evidence_hash, Some(bytes::list_hash(&block.evidence)), "the header names it");
    block.evidence.into_vec()
}

/// Two precommits of a validator, for two blocks that nobody proposed.
fn two_votes(world: &World, key: &SigningKey) -> Evidence {
    let genesis = world.running.network().load_genesis().expect("a genesis");
    let document = genesis.as_tendermint();
    let set = ValidatorSet::genesis(document.validators.iter().map(|validator| (validator.pub_key, validator.power()))).expect("a set");
    let voter = account::Id::from(key.public().address());
    let place = set.as_slice().iter().position(|validator| validator.address() == voter).expect("a validator");
    let vote = |block: u8| {
        let id = block_id(Hash::Sha256([block; 32]));
        let bytes = vote_bytes(&document.chain_id, Type::Precommit, AT.into(), Round::default(), Some(id));
        Vote {
            vote_type: Type::Precommit,
            height: AT.into(),
            round: Round::default(),
            block_id: Some(id),
            timestamp: Some(vote_time()),
            validator_address: voter,
            validator_index: ValidatorIndex::try_from(u32::try_from(place).expect("few")).expect("an index"),
            signature: Signature::new(key.sign(&bytes).0).expect("64 bytes"),
            extension: Vec::new(),
            extension_signature: None,
        }
    };
    let node = world.node(0);
    let time = world.runtime.block_on(node.commit(Some(types::Height(AT.into())))).expect("a block").header.time;
    votes::accuse(vote(1), vote(2), &set, time).expect("a validator")
}
