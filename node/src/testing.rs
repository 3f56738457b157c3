//! A chain without an engine, for tests: four validators in one process, whose blocks are made by
//! hand and driven through the application as an engine drives it.
//!
//! It panics where a test is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::{LogId, SignedAnchor};
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
use tendermint::block::{Height, Id, Round};
use tendermint::evidence::{Evidence, List};
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{Signature, Time, account};
use types::{Amount, Encode as _, Hash, SigningKey, Text};

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

    /// Ends the application, and hands over the folder of its database.
    pub(crate) fn close(self) -> TempDir {
        self.folder
    }

    /// Makes this many blocks of what waits.
    pub(crate) fn make(&self, blocks: usize) {
        for _ in 0..blocks {
            self.make_block();
        }
    }

    /// Makes one block of what waits. The last validator does not sign it.
    pub(crate) fn make_block(&self) -> Height {
        self.make_block_at(Time::now())
    }

    /// As [`Bench::make_block`], at a time.
    pub(crate) fn make_block_at(&self, now: Time) -> Height {
        let (app, state) = (&self.app, self.app.chain_state());
        let height = state.next_height();
        let last_commit = state.last_block.and_then(|(last, _)| app.store().block(last)).map(|(_, seen)| seen);
        let proposer = state.validators.proposer(0).address();
        let evidence = List::new(app.pending_evidence(1 << 20));
        let misbehavior = consensus::evidence::misbehavior(&evidence);
        let prepared = app.prepare_proposal(request::PrepareProposal {
            max_tx_bytes: 1 << 20,
            txs: app.pending(1 << 20),
            local_last_commit: None,
            misbehavior: misbehavior.clone(),
            height,
            time: now,
            next_validators_hash: state.next_validators.hash(),
            proposer_address: proposer,
        });
        let transactions: Vec<Vec<u8>> = prepared.txs.iter().map(|bytes| bytes.to_vec()).collect();
        let block = state.build_with(evidence, proposer, now, transactions, last_commit.clone());
        state.check(&block, app.store()).expect("a block that follows");
        let (hash, id) = (block.header.hash(), consensus::commit::block_id(block.header.hash()));
        let accepted = app.process_proposal(request::ProcessProposal {
            txs: prepared.txs,
            proposed_last_commit: Some(state.commit_info(last_commit.as_ref())),
            misbehavior,
            hash,
            height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: proposer,
        });
        assert_eq!(accepted, ProcessProposal::Accept);
        let outcome = app.finalize_block(state.to_finalize(&block));
        let vote = consensus::commit::vote_bytes(&state.chain_id, Type::Precommit, height, Round::default(), Some(id));
        let signatures: BTreeMap<account::Id, Signature> = VALIDATORS[..3].iter().map(|seed| sign(*seed, &vote)).collect();
        let seen_commit = consensus::commit::build(height, Round::default(), id, &state.validators, &signatures);
        let after = state.after(&block, &outcome).expect("no change of validators");
        app.commit_block(Decided { block, id, seen_commit, outcome, state: after }).expect("a durable block");
        height
    }

    /// Evidence that `seed` precommitted two blocks at `height`, which has a block.
    pub(crate) fn two_votes(&self, seed: u8, height: Height) -> Evidence {
        let (chain, set) = (self.app.chain_state().chain_id, self.app.store().validators(height).expect("a set"));
        let place = set.as_slice().iter().position(|validator| validator.key == public(seed)).expect("a validator");
        let vote = |block: u8| {
            let id: Id = consensus::commit::block_id(tendermint::Hash::Sha256([block; 32]));
            let bytes = consensus::commit::vote_bytes(&chain, Type::Precommit, height, Round::default(), Some(id));
            let (validator_address, signature) = sign(seed, &bytes);
            Vote {
                vote_type: Type::Precommit,
                height,
                round: Round::default(),
                block_id: Some(id),
                timestamp: Some(consensus::commit::vote_time()),
                validator_address,
                validator_index: ValidatorIndex::try_from(u32::try_from(place).expect("few")).expect("an index"),
                signature: Some(signature),
                extension: Vec::new(),
                extension_signature: None,
            }
        };
        let time = self.app.store().block(height).expect("a block").0.header.time;
        consensus::evidence::votes::accuse(vote(1), vote(2), &set, time).expect("a validator")
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

/// Blocks at fixed times with transfers, a log with anchors, and two changes of power, a height each: a chain that is the same every time.
pub(crate) fn eventful(blocks: u64) -> Bench {
    let bench = Bench::new();
    let chain = bench.app.genesis().chain().clone();
    let rich = key(RICH).public().address();
    let log = LogId::derive(&chain, &rich, 1);
    let (batch, _) =
        audit::testing::stamped(audit::Body::File { content: Hash::sha256(&[b"content"]), size: 7, name: None }, [Hash([1; 32])]);
    let anchor = SignedAnchor::sign(audit::testing::anchor(&chain, log, &batch), &key(42));
    let delegate =
        |seed: u8, amount: u64| Body::Delegate { validator: key(seed).public().address(), amount: Amount(amount * Amount::ZYNK.0) };
    let bodies = [
        transfer(),
        Body::RegisterLog { key: key(42).public(), bond: Amount(10_000_000) },
        Body::Anchor(Box::new(anchor)),
        delegate(2, 3),
        transfer(),
        delegate(3, 7),
    ];
    let mut bodies = (0u64..).zip(bodies);
    for block in 1..=blocks {
        if let Some((sequence, body)) = bodies.next() {
            bench.app.submit(bench.transaction(sequence, body).to_bytes().into()).expect("it is taken");
        }
        bench.make_block_at(at_second(block));
    }
    bench
}

/// The time of the block at this height, where blocks have fixed times.
pub(crate) fn at_second(block: u64) -> Time {
    genesis().time().checked_add(std::time::Duration::from_secs(block)).expect("a time")
}

/// Commits the block of one application to another.
pub(crate) fn follow(app: &App, from: &App, height: Height) {
    let (block, seen_commit) = from.store().block(height).expect("a block");
    let chain = app.chain();
    chain.check(&block, app.store()).expect("it follows");
    let outcome = app.finalize_block(chain.to_finalize(&block));
    let state = chain.after(&block, &outcome).expect("a change that can be");
    let id = consensus::commit::block_id(block.header.hash());
    app.commit_block(Decided { block, id, seen_commit, outcome, state }).expect("durable");
}

/// Makes the same blocks of no transactions on chains that have none yet; the first of them.
pub(crate) fn alike(benches: &[Bench], blocks: u8) -> &Bench {
    for block in 1..=blocks {
        for bench in benches {
            bench.make_block_at(at_second(block.into()));
        }
    }
    &benches[0]
}

pub(crate) fn transfer() -> Body {
    Body::Transfer { to: key(10).public().address(), amount: Amount(5), memo: Text::try_from(String::new()).expect("short") }
}

pub(crate) fn public(seed: u8) -> tendermint::PublicKey {
    tendermint::PublicKey::from_raw_ed25519(&key(seed).public().0).expect("a key")
}

pub(crate) fn sign(seed: u8, bytes: &[u8]) -> (account::Id, Signature) {
    let signature = Signature::new(key(seed).sign(bytes).0).ok().flatten().expect("a signature of 64 bytes");
    (public(seed).into(), signature)
}
