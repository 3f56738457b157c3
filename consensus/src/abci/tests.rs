//! What a connection does that `tendermint-abci` alone would not: end the node.

use std::sync::Arc;
use std::time::Duration;

use support::abci::Client;
use tendermint::abci::{request, response};
use tendermint::block::Height;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::abci::{self as pb, request::Value, response::Value as Answer};

use super::{BindError, Ended, Ending, Server};
use crate::Application;

/// Adds nothing to anything, and cannot execute a block of more than one transaction.
struct Fragile;

impl Application for Fragile {
    fn info(&self) -> response::Info {
        response::Info { last_block_height: Height::from(7u32), ..Default::default() }
    }

    fn init_chain(&self, _: request::InitChain) -> response::InitChain {
        response::InitChain::default()
    }

    fn check_tx(&self, _: request::CheckTx) -> response::CheckTx {
        response::CheckTx::default()
    }

    fn prepare_proposal(&self, request: request::PrepareProposal) -> response::PrepareProposal {
        response::PrepareProposal { txs: request.txs }
    }

    fn process_proposal(&self, _: request::ProcessProposal) -> response::ProcessProposal {
        response::ProcessProposal::Accept
    }

    fn finalize_block(&self, request: request::FinalizeBlock) -> response::FinalizeBlock {
        assert!(request.txs.len() < 2, "too many for me");
        response::FinalizeBlock {
            events: Vec::new(),
            tx_results: Vec::new(),
            validator_updates: Vec::new(),
            consensus_param_updates: None,
            app_hash: tendermint::AppHash::default(),
        }
    }

    fn commit(&self) -> response::Commit {
        response::Commit { data: bytes::Bytes::new(), retain_height: Height::from(0u32) }
    }

    fn query(&self, request: request::Query) -> response::Query {
        response::Query { height: request.height, ..Default::default() }
    }
}

fn serve() -> (String, Ending, Ended) {
    let (ending, ended) = Ending::new();
    let server = Server::bind("127.0.0.1:0".parse().expect("an address"), Arc::new(Fragile), ending.clone()).expect("a port");
    let address = server.address();
    server.start().expect("a thread");
    (address, ending, ended)
}

/// A block that can be read.
fn block(transactions: usize) -> pb::RequestFinalizeBlock {
    pb::RequestFinalizeBlock {
        txs: vec![bytes::Bytes::from_static(b"one"); transactions],
        decided_last_commit: Some(pb::CommitInfo::default()),
        hash: vec![1; 32].into(),
        height: 8,
        time: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        next_validators_hash: vec![2; 32].into(),
        proposer_address: vec![3; 20].into(),
        ..Default::default()
    }
}

fn info(version: &str) -> Value {
    Value::Info(pb::RequestInfo { abci_version: version.to_owned(), ..Default::default() })
}

/// Why the node has to end, if it has to now.
async fn told(mut ended: Ended) -> String {
    tokio::time::timeout(Duration::from_secs(20), ended.heard()).await.unwrap_or_else(|_| "nothing was told".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_answered_is() {
    let (address, _, mut ended) = serve();
    let mut client = Client::connect(&address).expect("it listens");
    let answer = client.ask(info("2.0.0")).expect("an answer");
    assert!(matches!(answer, Answer::Info(info) if info.last_block_height == 7));
    assert!(matches!(client.ask(Value::FinalizeBlock(block(1))), Ok(Answer::FinalizeBlock(_))));
    // What strangers word is refused, not fatal.
    let query = pb::RequestQuery { height: -1, ..Default::default() };
    let answer = client.ask(Value::Query(query)).expect("an answer");
    assert!(matches!(answer, Answer::Query(refused) if refused.code == super::MALFORMED && refused.codespace == super::CODESPACE));
    let proposal = pb::RequestProcessProposal { hash: vec![1; 5].into(), ..Default::default() };
    let answer = client.ask(Value::ProcessProposal(proposal)).expect("an answer");
    let rejected = pb::response_process_proposal::ProposalStatus::Reject;
    assert!(matches!(answer, Answer::ProcessProposal(answer) if answer.status == rejected as i32));
    let silent = tokio::time::timeout(Duration::from_millis(100), ended.heard()).await;
    assert!(silent.is_err(), "the node ends: {silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_ends_the_node() {
    let unreadable = pb::RequestFinalizeBlock { hash: vec![1; 5].into(), ..block(1) };
    let stories = [
        ("a block that cannot be executed", Value::FinalizeBlock(block(2)), "FinalizeBlock failed: too many for me"),
        ("a block that cannot be read", Value::FinalizeBlock(unreadable), "FinalizeBlock cannot be read"),
        ("a genesis that cannot be read", Value::InitChain(pb::RequestInitChain::default()), "InitChain cannot be read"),
        ("an engine of another kind", info("1.0.0"), "CometBFT 0.38, with ABCI 2.0, is needed"),
    ];
    for (story, request, words) in stories {
        let (address, _, ended) = serve();
        let (mut first, mut second) = (Client::connect(&address).expect("it listens"), Client::connect(&address).expect("it listens"));
        let request = prost::Message::encode_to_vec(&pb::Request { value: Some(request) });
        first.send(&request).expect("sent");
        let why = told(ended).await;
        assert!(why.contains(words), "{story}: {why}");
        assert!(first.is_left_waiting(Duration::from_millis(200)).expect("a connection"), "{story}: it was answered");
        // Nobody else is answered either.
        second.send(&prost::Message::encode_to_vec(&pb::Request { value: Some(info("2.0.0")) })).expect("sent");
        assert!(second.is_left_waiting(Duration::from_millis(200)).expect("a connection"), "{story}: another was answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_no_kind_ends_the_node() {
    let (address, _, ended) = serve();
    Client::connect(&address).expect("it listens").send(&[]).expect("sent");
    assert_eq!(told(ended).await, "a request of no kind that ABCI 2.0 has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_lets_no_call_begin() {
    let (address, ending, _) = serve();
    let mut client = Client::connect(&address).expect("it listens");
    client.ask(info("2.0.0")).expect("an answer");
    ending.close();
    client.send(&prost::Message::encode_to_vec(&pb::Request { value: Some(info("2.0.0")) })).expect("sent");
    assert!(client.is_left_waiting(Duration::from_millis(200)).expect("a connection"));
}

#[test]
fn only_loopback_is_listened_on() {
    let (ending, _) = Ending::new();
    for address in ["0.0.0.0:0", "[::]:0", "203.0.113.7:26658"] {
        let refused = Server::bind(address.parse().expect("an address"), Arc::new(Fragile), ending.clone());
        assert!(matches!(refused, Err(BindError::NotLoopback(_))), "{address}");
    }
}
