//! A chain without an engine, for tests: four validators in one process, whose blocks are made by
//! hand and driven through the application as an engine drives it.
//!
//! It panics where a test is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consensus::host::Decided;
use consensus::{Application as _, Host as _};
use genesis::{Builder, Genesis, peer};
use ledger::genesis::GenesisValidator;
use ledger::{Body, Params, SignedTransaction};
use rpc::FeePayer;
use rpc::submit::Terms;
use tempfile::TempDir;
use tendermint::abci::request;
use tendermint::abci::response::ProcessProposal;
use tendermint::block::{Height, Round};
use tendermint::vote::Type;
use tendermint::{Signature, Time, account};
use types::{Amount, Encode as _, SigningKey, Text};

use crate::app::App;
use crate::store::Store;

/// The validators' keys.
const VALIDATORS: [u8; 4] = [1, 2, 3, 4];

/// Who owns something at the beginning.
pub(crate) const RICH: u8 = 9;

/// A chain and the folder that holds it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) app: Arc<App>,
    folder: TempDir,
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn genesis() -> Genesis {
    let time = Time::from_unix_timestamp(1_790_000_000, 0).expect("a time");
    let mut builder = Builder::new("zynk-test-1".parse().expect("a chain id"), time, Params::default());
    for seed in VALIDATORS {
        let validator = GenesisValidator {
            operator: key(seed + 100).public().address(),
            consensus_key: key(seed).public(),
            peer_id: peer::peer_id_blob(&key(seed + 50).public()),
            moniker: format!("validator {seed}").try_into().expect("a short name"),
            stake: Amount(10 * Amount::ZYNK.0),
            commission_bps: 500,
        };
        builder = builder.validator(validator).expect("a validator with power");
    }
    let rich = key(RICH).public().address();
    builder.account(rich, Amount(1_000 * Amount::ZYNK.0)).and_then(Builder::build).expect("a genesis")
}

impl Bench {
    /// A chain before its first block.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let genesis = genesis();
        let store = Store::open(folder.path(), genesis.hash()).expect("a new database");
        let app = App::open(store, Arc::new(genesis)).expect("a genesis state");
        Self { app: Arc::new(app), folder }
    }

    /// Where the database is.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Makes this many blocks of what waits.
    pub(crate) fn make(&self, blocks: usize) {
        for _ in 0..blocks {
            self.make_block();
        }
    }

    /// Makes one block of what waits. The last validator does not sign it.
    pub(crate) fn make_block(&self) -> Height {
        let (app, state) = (&self.app, self.app.chain_state());
        let height = state.next_height();
        let last_commit = state.last_block.and_then(|(last, _)| app.store().block(last)).map(|(_, seen)| seen);
        let proposer = state.validators.proposer(0).address();
        let prepared = app.prepare_proposal(request::PrepareProposal {
            max_tx_bytes: 1 << 20,
            txs: app.pending(1 << 20),
            local_last_commit: None,
            misbehavior: Vec::new(),
            height,
            time: Time::now(),
            next_validators_hash: state.next_validators.hash(),
            proposer_address: proposer,
        });
        let transactions: Vec<Vec<u8>> = prepared.txs.iter().map(|bytes| bytes.to_vec()).collect();
        let block = state.build(proposer, Time::now(), transactions, last_commit.clone());
        state.check(&block).expect("a block that follows");
        let (hash, id) = (block.header.hash(), consensus::commit::block_id(block.header.hash()));
        let info = state.commit_info(last_commit.as_ref());
        let accepted = app.process_proposal(request::ProcessProposal {
            txs: prepared.txs.clone(),
            proposed_last_commit: Some(info.clone()),
            misbehavior: Vec::new(),
            hash,
            height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: proposer,
        });
        assert_eq!(accepted, ProcessProposal::Accept);
        let outcome = app.finalize_block(request::FinalizeBlock {
            txs: prepared.txs,
            decided_last_commit: info,
            misbehavior: Vec::new(),
            hash,
            height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: proposer,
        });
        let vote = consensus::commit::vote_bytes(&state.chain_id, Type::Precommit, height, Round::default(), Some(id));
        let signatures: BTreeMap<account::Id, Signature> = VALIDATORS[..3].iter().map(|seed| sign(*seed, &vote)).collect();
        let seen_commit = consensus::commit::build(height, Round::default(), id, &state.validators, &signatures);
        let after = state.after(&block, &outcome).expect("no change of validators");
        app.commit_block(Decided { block, id, seen_commit, outcome, state: after }).expect("a durable block");
        height
    }

    /// A transaction of the rich one, valid now if `sequence` is their next.
    pub(crate) fn transaction(&self, sequence: u64, body: Body) -> SignedTransaction {
        self.terms(sequence).sign(&key(RICH), FeePayer::Author, body)
    }

    /// A transfer by the rich one, as it travels.
    pub(crate) fn transfer(&self, sequence: u64) -> Bytes {
        self.transaction(sequence, transfer()).to_bytes().into()
    }

    pub(crate) fn terms(&self, sequence: u64) -> Terms {
        let chain = self.app.genesis().chain().clone();
        Terms { chain, sequence, valid_until: types::Height(1_000), params: Params::default() }
    }
}

pub(crate) fn transfer() -> Body {
    Body::Transfer { to: key(10).public().address(), amount: Amount(5), memo: Text::try_from(String::new()).expect("short") }
}

pub(crate) fn public(seed: u8) -> tendermint::PublicKey {
    tendermint::PublicKey::from_raw_ed25519(&key(seed).public().0).expect("a key")
}

fn sign(seed: u8, bytes: &[u8]) -> (account::Id, Signature) {
    let signature = Signature::new(key(seed).sign(bytes).0).ok().flatten().expect("a signature of 64 bytes");
    (public(seed).into(), signature)
}
