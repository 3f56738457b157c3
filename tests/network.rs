//! The whole chain from outside: the story, published clients, a restart, and absent validators.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

mod world;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tendermint_light_client::builder::LightClientBuilder;
use tendermint_light_client::light_client::Options;
use tendermint_light_client::store::memory::MemoryStore;
use tendermint_light_client::types::TrustThreshold;
use tendermint_rpc::{Client, HttpClient, Paging};
use types::Height;
use world::{World, ZYNK};

#[test]
fn the_story_holds() {
    let folder = TempDir::new().expect("a folder");
    let record = folder.path().join("story.json");
    let began = Instant::now();
    let mut command = Command::new(ZYNK);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
        command.env_remove(name);
    }
    let output = command.args(["demo", "--json"]).arg(&record).env("TMPDIR", folder.path()).output().expect("it runs");
    let took = began.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A minute on a machine that has nothing else to do; here four other networks run beside it.
    assert!(took < Duration::from_secs(150), "{took:?}");
    let told: Value = serde_json::from_slice(&std::fs::read(&record).expect("a record")).expect("JSON");
    assert_eq!(told["held"], Value::Bool(true));
    let steps: Vec<&str> = told["steps"].as_array().expect("a list").iter().filter_map(|step| step["step"].as_str()).collect();
    let expected = [
        "four validators, each a process of its own, agree",
        "a relay and a gateway stand before them",
        "alice registers with the relay, which pays",
        "bob registers with the relay, which pays",
        "before her first message alice proves bob's device and Signal key on chain",
        "alice writes while bob is away: one tick",
        "bob connects, receives, recomputes the commitment, and answers",
        "two ticks: delivered and read, both sealed by bob's device",
        "sender and recipient each export a proof of a message",
        "dave has an identity without a relay, and no tokens: a sponsor paid",
        "erin has an identity without a relay, and no tokens: a sponsor paid",
        "erin rotates her control key",
        "dave proves erin's current keys by light client",
        "dave gets 20 ZYNK",
        "dave stamps a folder of 3 files",
        "9 transfers are final after",
        "is killed (SIGKILL); the chain goes on without it",
        "comes back and catches up",
        "a process without any network verifies all 3",
        "attack: one bit of a proof flipped. Caught: ",
        "attack: erin's document of height",
        "attack: a transfer sent a second time, to another validator. Caught: ",
        "attack: a second root for a sequence that dave's log has used. Caught: ",
        "attack: a wrong key for bob. Caught, and nothing was sent: ",
        "attack: an extra device for bob. Caught: ",
        "attack: another commitment for a message. Caught by the receiver: ",
        "bob links a tablet",
        "attack: an old header, true once, with the state that it proves. Caught: ",
        "the relay is killed at 13 places between its durable steps",
    ];
    assert_eq!(steps.len(), expected.len(), "{steps:#?}");
    for (step, expected) in steps.iter().zip(expected) {
        assert!(step.contains(expected), "expected {expected:?}, told {step:?}");
    }
    assert!(
        !folder.path().read_dir().expect("a folder").any(|entry| entry.expect("an entry").path().is_dir()),
        "the network was left behind"
    );
}

#[test]
fn the_published_rpc_client_reads_the_chain() {
    let mut world = World::start();
    let included = world.transfer(0).expect("included");
    world.wait_for(0, included.height.0 + 1);
    let client = HttpClient::new(world.url(0).as_str()).expect("a URL");
    let height = tendermint::block::Height::try_from(included.height).expect("a height");
    let genesis = world.running.network().load_genesis().expect("a genesis");
    world.runtime.block_on(async {
        client.health().await.expect("health");
        let status = client.status().await.expect("status");
        assert_eq!(status.node_info.network.as_str(), genesis.chain().as_str());
        assert!(status.sync_info.latest_block_height > height && !status.sync_info.catching_up);

        let block = client.block(height).await.expect("block");
        assert_eq!((block.block.header.height, block.block.data.len()), (height, 1));
        assert_eq!(block.block_id.hash, block.block.header.hash(), "the block's id is its header's hash");
        let commit = client.commit(height).await.expect("commit");
        assert_eq!(commit.signed_header.commit.block_id, block.block_id);
        let validators = client.validators(height, Paging::All).await.expect("validators").validators;
        assert_eq!(validators.len(), 4);
        let set = tendermint::validator::Set::without_proposer(validators);
        assert_eq!(set.hash(), block.block.header.validators_hash);

        let results = client.block_results(height).await.expect("block_results").txs_results.expect("one");
        assert!(results.len() == 1 && results[0].code.is_ok());
        let found = client.tx(tendermint::Hash::Sha256(included.hash.0), true).await.expect("tx");
        assert_eq!((found.height, &found.tx), (height, &block.block.data[0]));
        let proof = found.proof.expect("asked for");
        assert_eq!((Some(proof.root_hash), &proof.data), (block.block.header.data_hash, &block.block.data[0]));

        let answer = client.abci_query(Some("nothing".to_owned()), Vec::new(), None, false).await.expect("an answer");
        assert!(answer.code.is_err(), "an unknown path is refused");
        let key = ledger::state::key::PARAMS.to_vec();
        let answer = client.abci_query(Some(rpc::query::STATE.to_owned()), key, None, true).await.expect("abci_query");
        assert!(answer.code.is_ok() && !answer.value.is_empty() && answer.proof.is_some(), "{answer:?}");
    });
}

#[test]
fn the_published_light_client_verifies_the_chain() {
    let mut world = World::start();
    for _ in 0..3 {
        world.transfer(0).expect("included");
    }
    world.wait_for(0, 5);
    let first = world.runtime.block_on(world.node(1).commit(Some(Height(1)))).expect("a commit").header;
    let options = Options {
        trust_threshold: TrustThreshold::TWO_THIRDS,
        trusting_period: Duration::from_secs(3600),
        clock_drift: Duration::from_secs(10),
    };
    // The hash trusted is what one validator says, the blocks are what another says.
    let build = |hash| {
        let client = HttpClient::new(world.url(0).as_str()).expect("a URL");
        let status = world.runtime.block_on(client.status()).expect("status");
        LightClientBuilder::prod(status.node_info.id, client, Box::new(MemoryStore::new()), options, Some(Duration::from_secs(10)))
            .trust_primary_at(first.height, hash)
            .map(|builder| builder.build())
    };
    assert!(build(tendermint::Hash::Sha256([7; 32])).is_err(), "another first block is refused");
    let mut instance = build(first.hash()).expect("the first block is trusted");
    let tip = instance.light_client.verify_to_highest(&mut instance.state).expect("verified to the tip");
    assert!(tip.height().value() >= 5, "only to {}", tip.height());
    let seen = world.runtime.block_on(world.node(2).commit(Some(tip.height().into()))).expect("a commit").header;
    assert_eq!(tip.signed_header.header, seen, "a third validator says the same");
    // Every height between, without skipping.
    for height in 2..tip.height().value() {
        let height = height.try_into().expect("a height");
        let verified = instance.light_client.verify_to_target(height, &mut instance.state);
        assert_eq!(verified.expect("verified").height(), height);
    }
}

#[test]
fn a_network_stopped_and_started_again_goes_on() {
    let mut world = World::start();
    let before = world.transfer(0).expect("included").height.0;
    let header = world.runtime.block_on(world.node(0).commit(Some(Height(before)))).expect("a commit").header;
    for place in 0..4 {
        world.stop(place);
    }
    for place in 0..4 {
        world.revive(place, &[]);
    }
    for place in 0..4 {
        assert!(world.wait_for(place, before) >= before);
        let same = world.runtime.block_on(world.node(place).commit(Some(Height(before)))).expect("a commit").header;
        assert_eq!(same, header, "validator {place}");
    }
    let after = world.transfer(1).expect("included").height.0;
    assert!(after > before, "{after}");
    world.assert_agreed(after);
}

#[test]
fn the_chain_goes_on_without_one_and_waits_without_two() {
    let mut world = World::start();
    world.kill(3);
    let without_one = world.transfer(0).expect("included").height.0;
    world.kill(2);
    // What was under way when the second one died may still be decided.
    std::thread::sleep(Duration::from_secs(2));
    let stood = world.height(0).max(world.height(1));
    // Three heartbeats, and the grace that /health gives on top.
    let client = HttpClient::new(world.url(0).as_str()).expect("a URL");
    world::until("an error from /health", Duration::from_secs(20), || world.runtime.block_on(client.health()).err());
    assert_eq!(world.height(0).max(world.height(1)), stood, "two of four have decided a block");
    for place in [2, 3] {
        world.revive(place, &[]);
    }
    world.wait_for(0, stood + 2);
    world.runtime.block_on(client.health()).expect("healthy again");
    let after = world.transfer(2).expect("included").height.0;
    for height in [without_one, after] {
        world.assert_agreed(height);
    }
}
