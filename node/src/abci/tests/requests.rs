//! What CometBFT asks, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consensus::Application as _;
use consensus::abci::{Ended, Ending};
use genesis::Genesis;
use tendermint::abci::request::{self, CheckTxKind};
use tendermint::block::Height;
use tendermint::validator;

use crate::abci::CometApp;
use crate::testing::{Bench, genesis};

/// How CometBFT begins the chain of a genesis.
pub(super) fn init_chain(genesis: &Genesis) -> request::InitChain {
    let document = genesis.as_tendermint();
    let mut validators: Vec<_> = document.validators.iter().collect();
    // By power, not as the file lists them.
    validators.reverse();
    request::InitChain {
        time: document.genesis_time,
        chain_id: document.chain_id.to_string(),
        consensus_params: document.consensus_params.clone(),
        validators: validators.iter().map(|info| validator::Update { pub_key: info.pub_key, power: info.power }).collect(),
        app_state_bytes: serde_json::to_vec(&document.app_state).expect("it serialises").into(),
        initial_height: Height::from(1u32),
    }
}

fn served(bench: &Bench) -> (CometApp, Ended) {
    let (ending, ended) = Ending::new();
    (CometApp::new(Arc::clone(&bench.app), ending), ended)
}

/// The reason for which a question ends the node; the thread that asks it is left behind.
fn ends(bench: &Bench, ask: impl FnOnce(&CometApp) + Send + 'static) -> String {
    let (app, mut ended) = served(bench);
    std::thread::spawn(move || ask(&app));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let heard = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), ended.heard()).await });
    heard.unwrap_or_else(|_| "nothing was told".to_owned())
}

fn check(app: &CometApp, bytes: &Bytes, kind: CheckTxKind) -> (u32, String) {
    let answer = app.check_tx(request::CheckTx { tx: bytes.clone(), kind });
    (answer.code.value(), answer.log)
}

#[test]
fn a_row_of_one_author_waits_and_a_gap_does_not() {
    let bench = Bench::new();
    let (app, _) = served(&bench);
    let row: Vec<Bytes> = (0..5).map(|sequence| bench.transfer(sequence)).collect();
    for bytes in &row {
        assert_eq!(check(&app, bytes, CheckTxKind::New).0, 0);
    }
    assert_eq!(bench.app.remembered_checks(), 5);
    let (code, words) = check(&app, &bench.transfer(7), CheckTxKind::New);
    assert!(code != 0 && words.contains("leaves a gap; the account's next is 5"), "{words}");
    let (code, words) = check(&app, &row[2], CheckTxKind::New);
    assert!(code != 0 && words.contains("used before"), "{words}");
    let (code, words) = check(&app, &Bytes::from_static(b"nonsense"), CheckTxKind::New);
    assert!(code != 0 && words.contains("malformed"), "{words}");

    // A block takes two of them; CometBFT gives the others anew, in their order.
    for bytes in &row[..2] {
        bench.app.submit(bytes.clone()).expect("taken");
    }
    bench.make_block();
    app.check.begin_anew();
    assert!(check(&app, &row[1], CheckTxKind::Recheck).1.contains("used before"));
    for bytes in &row[2..] {
        assert_eq!(check(&app, bytes, CheckTxKind::Recheck).0, 0);
    }
    assert_eq!(check(&app, &bench.transfer(5), CheckTxKind::New).0, 0, "the row goes on");
}

#[test]
fn a_proposal_has_each_authors_transactions_in_order() {
    let bench = Bench::new();
    let (app, _) = served(&bench);
    let state = bench.app.chain();
    let nonsense = Bytes::from_static(b"nonsense");
    let waiting = [bench.transfer(2), nonsense, bench.transfer(0), bench.transfer(1), bench.transfer(9)];
    let prepare = |max_tx_bytes: usize| {
        let request = request::PrepareProposal {
            max_tx_bytes: i64::try_from(max_tx_bytes).expect("few"),
            txs: waiting.to_vec(),
            local_last_commit: None,
            misbehavior: Vec::new(),
            height: state.next_height(),
            time: state.last_time,
            next_validators_hash: state.next_validators.hash(),
            proposer_address: state.validators.proposer(0).address(),
        };
        app.prepare_proposal(request).txs
    };
    assert_eq!(prepare(1 << 20), [bench.transfer(0), bench.transfer(1), bench.transfer(2)]);
    assert_eq!(prepare(2 * (bench.transfer(0).len() + 8)), [bench.transfer(0), bench.transfer(1)], "as far as there is room");
}

type Bend = fn(&mut request::InitChain);

#[test]
fn another_genesis_is_named_and_refused() {
    let bench = Bench::new();
    let (app, _) = served(&bench);
    let same = app.init_chain(init_chain(&genesis()));
    assert_eq!(same.app_hash, bench.app.chain().app_hash);
    let bends: [(&str, Bend); 6] = [
        ("another chain_id", |request| request.chain_id = "zynk-other-1".to_owned()),
        ("another initial_height", |request| request.initial_height = Height::from(2u32)),
        ("another genesis_time", |request| request.time = tendermint::Time::unix_epoch()),
        ("other consensus_params", |request| request.consensus_params.block.max_bytes += 1),
        ("other validators", |request| request.validators.truncate(request.validators.len() - 1)),
        ("another app_state", |request| request.app_state_bytes = Bytes::from_static(b"{}")),
    ];
    for (what, bend) in bends {
        let mut request = init_chain(&genesis());
        bend(&mut request);
        let why = ends(&bench, move |app| drop(app.init_chain(request)));
        assert!(why.contains("CometBFT's genesis is not this node's") && why.contains(what), "{what}: {why}");
    }
    bench.make_block();
    let why = ends(&bench, |app| drop(app.init_chain(init_chain(&genesis()))));
    assert!(why.contains("CometBFT begins the chain, and this node's state is after height 1"), "{why}");
}

#[test]
fn homes_that_do_not_belong_together_end_the_node() {
    let bench = Bench::new();
    let state = bench.app.chain();
    let block = request::FinalizeBlock {
        txs: Vec::new(),
        decided_last_commit: state.commit_info(None),
        misbehavior: Vec::new(),
        hash: tendermint::Hash::Sha256([1; 32]),
        height: Height::from(1u32),
        time: state.last_time,
        next_validators_hash: state.next_validators.hash(),
        proposer_address: state.validators.proposer(0).address(),
    };
    let later = request::FinalizeBlock { height: Height::from(5u32), ..block.clone() };
    let why = ends(&bench, move |app| drop(app.finalize_block(later)));
    assert!(why.contains("CometBFT finalizes height 5, and this node's next is 1"), "{why}");
    let others = request::FinalizeBlock { next_validators_hash: tendermint::Hash::Sha256([9; 32]), ..block.clone() };
    let why = ends(&bench, move |app| drop(app.finalize_block(others)));
    assert!(why.contains("CometBFT has other validators for height 2"), "{why}");

    // What fits is executed, and durable when it is committed: a second application of the same files goes on after it.
    // Another folder: the threads that rest for ever hold the first one's database.
    let bench = Bench::new();
    let (app, _) = served(&bench);
    let outcome = app.finalize_block(block.clone());
    assert_eq!(app.info().last_block_height.value(), 0, "not before the commit");
    app.commit();
    let info = app.info();
    assert_eq!((info.last_block_height, info.last_block_app_hash.clone()), (block.height, outcome.app_hash));
    drop(app);
    let folder = bench.close();
    let genesis = Arc::new(genesis());
    let store = crate::store::Store::open(folder.path(), genesis.hash()).expect("the database");
    let again = crate::app::App::open(store, genesis).expect("the same state");
    assert_eq!((again.chain().tip(), again.chain().app_hash), (info.last_block_height, info.last_block_app_hash));
}
