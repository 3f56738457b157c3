//! One list of blocks gives the same application hash at every height under the embedded engine, over ABCI's
//! socket, and by plain replay of the ledger over another tree's code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use audit::{LogId, SignedAnchor};
use consensus::ChainState;
use consensus::abci::{Ending, Server};
use identity::{Control, DeviceKeys, Draft, SignalKey};
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use ledger::block::{self, Block, Misbehavior, Offence};
use ledger::stake::Candidacy;
use ledger::{Body, Changes};
use serde_json::json;
use sha2::Sha256;
use support::abci::Client;
use tempfile::TempDir;
use tendermint::abci::request;
use tendermint::abci::types::{BlockSignatureInfo, MisbehaviorKind};
use tendermint::block::{BlockIdFlag, Height};
use tendermint_proto::v0_38::abci::{self as pb, request::Value, response::Value as Answer};
use types::{Address, Amount, Encode as _, Hash, Millis};

use crate::abci::CometApp;
use crate::app::App;
use crate::store::Store;
use crate::testing::{Bench, RICH, genesis, key, transfer};

const TEN: Amount = Amount(10 * Amount::ZYNK.0);

/// A chain that the embedded engine's path has made: transfers, an identity, anchors, stake that moves, a new
/// validator, one that signs nothing, and one of which it is proven that it signed twice.
fn story() -> Bench {
    let bench = Bench::new();
    let chain = bench.app.genesis().chain().clone();
    let validator = |seed: u8| key(seed).public().address();
    let owner = key(RICH).public().address();
    let log = LogId::derive(&chain, &owner, 2);
    let (batch, _) = audit::testing::stamped(audit::Body::File { content: Hash([3; 32]), size: 7, name: None }, [Hash([1; 32])]);
    let anchor = SignedAnchor::sign(audit::testing::anchor(&chain, log, &batch), &key(20));
    let candidacy = Candidacy {
        consensus_key: key(5).public(),
        peer_id: genesis::peer::peer_id_blob(&key(55).public()),
        moniker: "validator 5".try_into().expect("a short name"),
        commission_bps: 100,
        stake: TEN,
        proof: types::Signature([0; 64]),
    };
    let draft = identity::Genesis {
        chain: chain.clone(),
        control: Control::single(key(30).public()),
        next_control: Control::single(key(31).public()).commitment(),
        recovery: Hash([8; 32]),
        recovery_delay: 259_200,
        devices: vec![DeviceKeys { key: key(32).public(), signal: SignalKey::from_x25519(&[5; 32]) }].try_into().expect("one device"),
        services: types::List::default(),
        nonce: [7; 16],
    };
    let draft = Draft::create(draft, &[&key(32)], types::Height(200)).expect("the device's key");
    let identity = draft.sign(0, &key(30)).finish().expect("one signature");

    let blocks: [Vec<Body>; 9] = [
        vec![transfer(), Body::Delegate { validator: validator(1), amount: Amount(10 * TEN.0) }],
        vec![Body::RegisterLog { key: key(20).public(), bond: Amount(10_000_000) }, Body::Identity(Box::new(identity))],
        vec![Body::Anchor(Box::new(anchor)), transfer(), transfer()],
        vec![Body::CreateValidator(Box::new(candidacy.prove(&chain, &owner, &key(5))))],
        vec![],
        vec![Body::Redelegate { from: validator(1), to: validator(2), amount: TEN }, transfer()],
        vec![Body::Undelegate { validator: validator(1), amount: TEN }],
        vec![Body::WithdrawRewards { validator: validator(2) }],
        vec![],
    ];
    let (mut sequence, mut seconds) = (0, 0);
    let mut make = || {
        seconds += 7;
        bench.make_block_at(genesis().time().checked_add(Duration::from_millis(seconds * 1_000)).expect("a time"))
    };
    for bodies in blocks {
        for body in bodies {
            let bytes = bench.transaction(sequence, body).to_bytes();
            bench.app.submit(bytes.into()).unwrap_or_else(|error| panic!("transaction {sequence}: {error}"));
            sequence += 1;
        }
        let height = make();
        if height.value() == 5 {
            bench.app.take_evidence(bench.two_votes(4, Height::from(4u32))).expect("evidence");
        }
    }
    for _ in 0..3 {
        make();
    }
    bench
}

/// The blocks of a chain, as ABCI gives them to an application.
fn recorded(app: &App) -> Vec<request::FinalizeBlock> {
    let ask = |height: u64| {
        let height = Height::try_from(height).expect("a height");
        let (block, _) = app.store().block(height).expect("a block");
        let before = height.value().checked_sub(1).and_then(|before| app.store().validators(Height::try_from(before).expect("a height")));
        let state = ChainState { last_validators: before, ..app.chain() };
        state.to_finalize(&block)
    };
    (1..=app.chain().tip().value()).map(ask).collect()
}

/// The application hash after each block, as the headers of the blocks after them say.
fn embedded(app: &App) -> Vec<String> {
    let tip = app.chain().tip().value();
    let of = |height: u64| {
        let next = app.store().block(Height::try_from(height + 1).expect("a height"));
        next.map_or_else(|| app.chain().app_hash, |(block, _)| block.header.app_hash).to_string()
    };
    (1..=tip).map(of).collect()
}

/// The same over a socket, as CometBFT asks.
fn over_abci(blocks: &[request::FinalizeBlock], bench: &Bench) -> Vec<String> {
    let folder = TempDir::new().expect("a folder");
    let genesis = Arc::new(genesis());
    let app = App::open(Store::open(folder.path(), genesis.hash()).expect("a database"), Arc::clone(&genesis)).expect("a genesis state");
    let (ending, _ended) = Ending::new();
    let app = Arc::new(app);
    let served = Arc::new(CometApp::new(Arc::clone(&app), ending.clone()));
    let server = Server::bind("127.0.0.1:0".parse().expect("an address"), served, ending).expect("a port");
    let address = server.address();
    server.start().expect("a thread");
    let mut client = Client::connect(&address).expect("it listens");
    let info = pb::RequestInfo { abci_version: "2.0.0".to_owned(), ..Default::default() };
    let begun = super::requests::init_chain(&genesis);
    assert!(
        matches!(client.ask(Value::Info(info)).expect("an answer"), Answer::Info(info) if info.last_block_height == 0 && info.app_version == 1)
    );
    assert!(matches!(client.ask(Value::InitChain(begun.into())), Ok(Answer::InitChain(_))));
    let mut hashes = Vec::new();
    for block in blocks {
        let proposal = request::ProcessProposal {
            txs: block.txs.clone(),
            proposed_last_commit: Some(block.decided_last_commit.clone()),
            misbehavior: block.misbehavior.clone(),
            hash: block.hash,
            height: block.height,
            time: block.time,
            next_validators_hash: block.next_validators_hash,
            proposer_address: block.proposer_address,
        };
        let accept = pb::response_process_proposal::ProposalStatus::Accept as i32;
        let answer = client.ask(Value::ProcessProposal(proposal.into())).expect("an answer");
        assert!(matches!(answer, Answer::ProcessProposal(answer) if answer.status == accept), "height {}", block.height);
        let Ok(Answer::FinalizeBlock(outcome)) = client.ask(Value::FinalizeBlock(block.clone().into())) else {
            panic!("no outcome of height {}", block.height);
        };
        assert!(matches!(client.ask(Value::Commit(pb::RequestCommit {})), Ok(Answer::Commit(_))));
        let stored = bench.app.store().outcome(block.height).expect("an outcome");
        assert_eq!(outcome, pb::ResponseFinalizeBlock::from(stored), "height {}", block.height);
        hashes.push(hex::encode_upper(&outcome.app_hash));
    }
    // What light clients ask, from either.
    assert_eq!(app.store().handoffs(1, 100), bench.app.store().handoffs(1, 100));
    assert!(!app.store().handoffs(1, 100).is_empty(), "validators change in the story");
    assert_eq!(app.chain().next_validators.hash(), bench.app.chain().next_validators.hash());
    hashes
}

/// The ledger alone over a map, and the roots by the crate `jmt`.
fn replayed(blocks: &[request::FinalizeBlock]) -> Vec<String> {
    let (genesis, mut entries, store) = (genesis(), BTreeMap::<Vec<u8>, Vec<u8>>::new(), MockTreeStore::default());
    let mut version = 0;
    let mut put = |entries: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: Changes| {
        let values = changes.iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value.clone()));
        let (root, batch) = Sha256Jmt::new(&store).put_value_set(values, version).expect("a tree in memory");
        store.write_tree_update_batch(batch).expect("it is written");
        version += 1;
        for (key, value) in changes {
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
        hex::encode_upper(root.0)
    };
    let mut root = put(&mut entries, genesis.first_state());
    let mut hashes = Vec::new();
    for asked in blocks {
        let unsigned = asked.decided_last_commit.votes.iter().filter(|vote| vote.sig_info == BlockSignatureInfo::Flag(BlockIdFlag::Absent));
        let absent: Vec<Address> = unsigned.map(|vote| Address(vote.validator.address)).collect();
        let misdeed = |accused: &tendermint::abci::types::Misbehavior| Misbehavior {
            kind: if accused.kind == MisbehaviorKind::DuplicateVote { Offence::DuplicateVote } else { Offence::LightClientAttack },
            validator: Address(accused.validator.address),
            height: accused.height.into(),
            time: Millis::try_from(accused.time).expect("a time"),
        };
        let misbehavior: Vec<Misbehavior> = asked.misbehavior.iter().map(misdeed).collect();
        let (height, time) = (asked.height.into(), Millis::try_from(asked.time).expect("a time"));
        let block = Block { chain: genesis.chain(), height, time, misbehavior: &misbehavior, absent: &absent };
        let outcome = block::execute(&entries, block, asked.txs.iter().map(|bytes| block::verify(bytes))).expect("it executed before");
        if !outcome.changes.is_empty() {
            root = put(&mut entries, outcome.changes);
        }
        hashes.push(root.clone());
    }
    hashes
}

#[test]
fn every_way_leads_to_the_same_hashes() {
    let bench = story();
    let blocks = recorded(&bench.app);
    let expected = embedded(&bench.app);
    assert!(blocks.iter().any(|block| !block.misbehavior.is_empty()), "somebody is accused");
    assert!(blocks.iter().any(|block| block.txs.len() > 2), "blocks have transactions");
    assert_eq!(over_abci(&blocks, &bench), expected, "over ABCI");
    assert_eq!(replayed(&blocks), expected, "by replay");
    support::frozen("abci", &json!({"chain": genesis().chain(), "app_hashes": expected}));
}
