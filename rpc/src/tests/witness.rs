//! Nodes that show two histories. The last block is at height 12, signed by validators 9 to 12, who come
//! in at height 10.

use std::time::Duration;

use light::testing::{Ballot, Manner, key, validators};
use light::{Checkpoint, LightBlock, Options};
use serde_json::{Value, json};
use tendermint::block::Header;
use tendermint::evidence::{DuplicateVoteEvidence, Evidence};
use tendermint::vote::{self, Vote};
use types::{Address, Hash, Height};

use super::world::{Judgement, Lie, World};
use super::{code, soon};
use crate::witness::MAX_WITNESSES;
use crate::{Chain, Error, Node, evidence};

/// A drift of a tenth of a second: nobody waits long for a witness that is behind.
fn options() -> Options {
    Options { clock_drift: Duration::from_millis(100), ..Options::default() }
}

async fn client(node: &World, witnesses: &[&World]) -> Chain {
    let mut urls = Vec::new();
    for witness in witnesses {
        urls.push((*witness).clone().serve().await);
    }
    let url = node.clone().serve().await;
    let chain = Chain::with(Node::new(&url).expect("a URL"), node.genesis(), options(), soon);
    chain.watched_by(&urls).expect("URLs")
}

fn invented(header: &mut Header) {
    header.app_hash = vec![8; 32].try_into().expect("a hash");
}

fn chosen(header: &mut Header) {
    header.data_hash = Some(tendermint::Hash::Sha256([8; 32]));
}

/// The addresses of those who sign from height 10 on.
fn signers() -> Vec<Address> {
    validators(&[9, 10, 11, 12]).members().map(|member| member.public_key.address()).collect()
}

fn accused(world: &World) -> Vec<Judgement> {
    world.accused.lock().expect("no test panics here").clone()
}

#[tokio::test]
async fn witnesses_that_agree_or_keep_silent_stop_nobody() {
    let (world, behind) = (World::new(), World::new().cut(11));
    let (mute, refusing) = (World::lying(Lie::NoJson), World::lying(Lie::Status));
    for (story, witnesses, agreed, doubts) in [
        ("nobody was asked", vec![], 0, 0),
        ("two agree", vec![&world, &world], 2, 0),
        ("one agrees, one talks nonsense", vec![&mute, &world], 1, 1),
        ("nobody answers", vec![&mute, &refusing], 0, 2),
        ("one is behind", vec![&behind], 0, 1),
    ] {
        let mut chain = client(&world, &witnesses).await;
        chain.latest().await.expect("verified");
        let said = chain.testimony();
        assert_eq!((said.asked, said.agreed, said.doubts.len()), (witnesses.len(), agreed, doubts), "{story}: {said:?}");
        assert_eq!(said.is_missing(), !witnesses.is_empty() && agreed == 0, "{story}");
        assert!(said.doubts.iter().all(|doubt| !doubt.dropped), "{story}: {said:?}");
    }
}

#[tokio::test]
async fn so_many_must_agree_as_are_asked_for() {
    let (world, behind, mute) = (World::new(), World::new().cut(11), World::lying(Lie::NoJson));
    for (story, witnesses, needed, expected) in [
        ("none is needed", vec![], 0, 0),
        ("one is needed and there is none", vec![], 1, 5015),
        ("one agrees", vec![&mute, &world], 1, 0),
        ("two must", vec![&mute, &world], 2, 5015),
        ("one that is behind agrees with nothing", vec![&behind], 1, 5015),
    ] {
        let mut chain = client(&world, &witnesses).await.requiring(needed);
        assert_eq!(code(chain.latest().await), expected, "{story}");
        assert_eq!(chain.trust().height(), Height(if expected == 0 { 12 } else { 0 }), "{story}");
        assert_eq!(code(chain.header(Height(11)).await), if story == "one that is behind agrees with nothing" { 0 } else { expected });
    }
}

#[tokio::test]
async fn a_witness_whose_header_does_not_hold_is_dropped() {
    let world = World::new();
    let few = Manner { ballots: &[Ballot::Absent; 2], ..Manner::EMBEDDED };
    for (story, lie) in [("a forged header", World::lying(Lie::ForgedHeader)), ("too few votes", World::new().with(12, few, chosen))] {
        let mut chain = client(&world, &[&lie, &world]).await;
        for height in [12, 11] {
            assert_eq!(chain.header(Height(height)).await.expect("verified").hash(), world.hash(height), "{story}");
            let said = chain.testimony();
            assert_eq!((said.asked, said.agreed), (2, 1), "{story}");
            assert!(matches!(said.doubts.as_slice(), [doubt] if doubt.dropped), "{story}: {said:?}");
        }
    }
}

#[tokio::test]
async fn two_histories_that_hold_are_an_attack() {
    let own = World::new();
    let second = Manner { round: 1, ..Manner::EMBEDDED };
    let early = |header: &mut Header| header.time = World::new().time(12);
    for (story, other, height, guilty) in [
        ("an invented state", World::new().with(12, Manner::EMBEDDED, invented), 12, signers()),
        ("a block signed twice", World::new().with(12, Manner::EMBEDDED, chosen), 12, signers()),
        ("a block of another round", World::new().with(12, second, chosen), 12, Vec::new()),
        ("a block ahead of the chain, and not later", World::new().cut(10).with(13, Manner::EMBEDDED, early), 13, signers()),
    ] {
        let mut chain = client(&other, &[&own, &own]).await;
        let refused = chain.latest().await.expect_err(story);
        let Error::Attack { height: found, shown, instead, .. } = &refused else { panic!("{story}: {refused}") };
        assert_eq!((*found, *shown, *instead), (Height(height), other.hash(height), own.hash(12)), "{story}: {refused}");
        let words = refused.to_string();
        assert!(words.contains(&shown.to_string()) && words.contains(&instead.to_string()), "{words}");
        assert_eq!(refused.code(), 5013);
        assert_eq!(chain.trust().height(), Height(0), "{story}: nothing is believed");
        assert_eq!(accused(&own), [Ok(guilty)], "{story}: the witness knows who did it: {refused}");
        own.accused.lock().expect("no test panics here").clear();
    }
}

#[tokio::test]
async fn who_lies_is_for_the_two_chains_to_tell() {
    let (own, other) = (World::new(), World::new().with(12, Manner::EMBEDDED, invented));
    for (node, witness) in [(&own, &other), (&other, &own)] {
        let refused = client(node, &[witness]).await.latest().await.expect_err("an attack");
        assert!(refused.to_string().contains("the witness has taken the evidence; the node has taken the evidence"), "{refused}");
        for world in [node, witness] {
            assert_eq!(accused(world), [Ok(signers())], "by its own chain the other one lies");
            world.accused.lock().expect("no test panics here").clear();
        }
    }
}

#[tokio::test]
async fn a_second_history_of_the_past_is_an_attack() {
    let (own, other) = (World::new(), World::new().with(7, Manner::EMBEDDED, chosen));
    let mut chain = client(&own, &[&other]).await;
    assert_eq!(chain.latest().await.expect("the newest is the same").height(), Height(12));
    assert_eq!(code(chain.header(Height(7)).await), 5013);
    assert_eq!(accused(&other).len(), 1);
    assert_eq!(chain.header(Height(8)).await.expect("the same").hash(), own.hash(8));

    // Before a checkpoint there is nothing to make evidence from.
    let trusted = chain.header(Height(8)).await.expect("verified");
    let trust = light::Trust::checkpoint(&Checkpoint::at(&trusted, own.validators(9)).expect("the next set"));
    let (url, witness) = (own.clone().serve().await, other.clone().serve().await);
    let chain = Chain::with(Node::new(&url).expect("a URL"), trust, options(), soon);
    let mut chain = chain.watched_by(&[witness]).expect("a URL");
    assert_eq!(code(chain.header(Height(7)).await), 5013);
    assert_eq!(chain.latest().await.expect("the newest is the same").height(), Height(12));
    assert_eq!(chain.testimony().agreed, 1);
}

#[test]
fn witnesses_are_few_and_have_addresses() {
    let chain = || Chain::connect("http://127.0.0.1:1", World::new().genesis()).expect("a URL");
    let url = "http://127.0.0.1:2".to_owned();
    assert_eq!(code(chain().watched_by(&vec![url.clone(); MAX_WITNESSES])), 0);
    assert_eq!(code(chain().watched_by(&vec![url; MAX_WITNESSES + 1])), 5014);
    assert_eq!(code(chain().watched_by(&["nobody".to_owned()])), 5001);
}

/// Evidence of an attack at height 9, and of two votes, one of them for nothing.
fn evidence_of_both_kinds() -> [Evidence; 2] {
    let (chain, set) = (light::testing::Chain::new("zynk-test-1"), validators(&[1, 2, 3]));
    let block = |height, app| {
        let signed_header = chain.block(height, Hash([app; 32]), &set, &set);
        LightBlock { signed_header, validators: set.clone(), next_validators: set.clone() }
    };
    let (shown, told) = ([block(5, 7), block(9, 8)], [block(5, 7), block(9, 7)]);
    let attack = light::Fork::find(&shown, &told).and_then(|fork| fork.evidence()).expect("they part");
    let vote = |block_id| {
        let vote = Vote {
            vote_type: vote::Type::Prevote,
            height: 9u32.into(),
            round: 0u16.into(),
            block_id,
            timestamp: Some(tendermint::Time::from_unix_timestamp(1, 0).expect("a time")),
            validator_address: set.set().validators()[1].address,
            validator_index: 1u32.try_into().expect("an index"),
            signature: None,
            extension: Vec::new(),
            extension_signature: None,
        };
        let bytes = vote.clone().into_signable_vec(chain.id().into());
        Vote { signature: Some(key(1).sign(&bytes).0.as_slice().try_into().expect("64 bytes")), ..vote }
    };
    let id = shown[0].signed_header.commit.block_id;
    let votes = DuplicateVoteEvidence {
        vote_a: vote(None),
        vote_b: vote(Some(id)),
        total_voting_power: 30u32.into(),
        validator_power: 10u32.into(),
        timestamp: chain.time(9),
    };
    [attack.into(), votes.into()]
}

#[test]
fn evidence_is_written_as_cometbft_reads_it_and_read_as_anybody_writes_it() {
    let [attack, votes] = evidence_of_both_kinds();
    support::frozen("evidence", &json!([evidence::to_json(&attack), evidence::to_json(&votes)]));
    for evidence in [&attack, &votes] {
        assert_eq!(evidence::from_json(evidence::to_json(evidence)).as_ref(), Ok(evidence));
    }
    // The published Rust crates' form, of an attack whole and of votes but for the power they misplace.
    let published = |evidence: &Evidence| {
        serde_json::to_value(tendermint_rpc::dialect::v0_38::Evidence::from(evidence.clone())).expect("it serialises")
    };
    assert_eq!(evidence::from_json(published(&attack)).as_ref(), Ok(&attack));
    serde_json::from_value::<tendermint_rpc::dialect::v0_38::Evidence>(evidence::to_json(&attack)).expect("they read ours");
    serde_json::from_value::<tendermint_rpc::dialect::v0_38::Evidence>(evidence::to_json(&votes)).expect("they read ours");
    // Where nobody is accused, Go writes no list.
    let Evidence::LightClientAttack(mut nobody) = attack else { panic!("an attack") };
    nobody.byzantine_validators.clear();
    let json = evidence::to_json(&(*nobody).clone().into());
    assert_eq!(json["value"]["ByzantineValidators"], Value::Null);
    assert_eq!(evidence::from_json(json), Ok((*nobody).into()));
    for wrong in [
        json!(null),
        json!({}),
        json!({"type": "tendermint/Other", "value": {}}),
        json!({"type": "tendermint/DuplicateVoteEvidence", "value": 5}),
    ] {
        assert!(evidence::from_json(wrong.clone()).is_err(), "{wrong}");
    }
}
