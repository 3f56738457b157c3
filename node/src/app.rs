//! The application: the ledger over the store, as an engine drives it.

mod alone;
pub(crate) mod transactions;
mod verifying;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consensus::host::{Decided, HostError, Proposed};
use consensus::malachite::probe::Probe;
use consensus::{Application, ChainState, Host, Pace};
use genesis::Genesis;
use ledger::block::{self, Block, Misbehavior, Offence};
use ledger::governance::upgrade::FIRST_VERSION;
use ledger::{Changes, Note, Outcome, Refusal, State};
use tendermint::abci::types::{BlockSignatureInfo, CommitInfo, Misbehavior as AbciMisbehavior, MisbehaviorKind};
use tendermint::abci::{request, response};
use tendermint::block::{BlockIdFlag, Commit, Height};
use tendermint::consensus as consensus_params;
use tendermint::consensus::params::VersionParams;
use tendermint::evidence::Evidence;
use tendermint::{AppHash, Time, validator};
use tokio::sync::{Notify, broadcast};
use types::{Address, ChainId, Hash, Millis, PublicKey};

use crate::checked::Checked;
use crate::evidence::{self, Pool};
use crate::gossip::peers::Peers;
use crate::mempool::Mempool;
use crate::state::Upkeep;
use crate::store::Store;
use crate::tx::Tx;
use crate::{query, tree, upgrade};

/// At most this many executed proposals are remembered until one of them is decided.
const EXECUTED: usize = 8;

/// A committed block, as subscribers get it.
pub type Committed = Arc<Decided>;

/// The node's application. Shared by the engine, the RPC and the gossip.
#[derive(Debug)]
pub struct App {
    chain: ChainId,
    store: Store,
    genesis: Arc<Genesis>,
    state: RwLock<ChainState>,
    mempool: Mutex<Mempool>,
    /// What was checked here lately: it may wait in CometBFT's mempool, come in a block, or once more from a peer.
    checked: Checked,
    evidence: Mutex<Pool>,
    executed: Mutex<VecDeque<(tendermint::Hash, Arc<Outcome>)>>,
    /// How often transactions were executed.
    executions: AtomicU64,
    initial_height: Height,
    /// The height of the last block.
    tip: AtomicU64,
    finalized: Mutex<Option<Finalized>>,
    pace: RwLock<Pace>,
    committed_at: Mutex<Instant>,
    heard: Mutex<Option<u64>>,
    bell: Arc<Notify>,
    accusations: Arc<Notify>,
    blocks: broadcast::Sender<Committed>,
    to_offer: broadcast::Sender<Tx>,
    upkeep: OnceLock<Arc<Upkeep>>,
    peers: Peers,
    probe: RwLock<Option<Probe>>,
}

/// A block, as far as its execution depends on it.
struct Content<'a> {
    height: Height,
    time: Time,
    /// Who signed the block before it.
    commit: Option<&'a CommitInfo>,
    misbehavior: &'a [AbciMisbehavior],
    transactions: &'a [Bytes],
}

/// What a decided block made of the state, until it is durable.
#[derive(Debug)]
struct Finalized {
    height: Height,
    hash: tendermint::Hash,
    time: Time,
    outcome: Arc<Outcome>,
    update: Option<tree::Update>,
}

impl App {
    /// Takes up the chain in `store`, or begins it with its genesis.
    ///
    /// # Errors
    /// When the genesis state cannot be made or written.
    pub fn open(store: Store, genesis: Arc<Genesis>) -> anyhow::Result<Self> {
        let chain = genesis.chain().clone();
        let state = match store.chain_state() {
            Some(state) => state,
            None => begin(&store, &genesis)?,
        };
        let (pace, tip) = (pace(&block::params(&State::new(&store))), state.tip().value());
        let initial_height = state.initial_height;
        let evidence = Pool::open(&store, &state);
        Ok(Self {
            chain,
            store,
            genesis,
            state: RwLock::new(state),
            mempool: Mutex::default(),
            checked: Checked::default(),
            evidence: Mutex::new(evidence),
            executed: Mutex::default(),
            executions: AtomicU64::new(0),
            initial_height,
            tip: AtomicU64::new(tip),
            finalized: Mutex::default(),
            pace: RwLock::new(pace),
            committed_at: Mutex::new(Instant::now()),
            heard: Mutex::default(),
            bell: Arc::new(Notify::new()),
            accusations: Arc::new(Notify::new()),
            blocks: broadcast::channel(256).0,
            to_offer: broadcast::channel(4096).0,
            upkeep: OnceLock::new(),
            peers: Peers::default(),
            probe: RwLock::default(),
        })
    }

    /// The database.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Has what is done beside committing hear of each block from now on; the first one stays.
    pub fn attach(&self, upkeep: Arc<Upkeep>) {
        let _ = self.upkeep.set(upkeep);
    }

    /// What is done beside committing, where something is.
    pub fn upkeep(&self) -> Option<&Arc<Upkeep>> {
        self.upkeep.get()
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain after the last block.
    #[must_use]
    pub fn chain(&self) -> ChainState {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago this process committed a block, or started.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        lock(&self.committed_at).elapsed()
    }

    /// Blocks as they are committed. A subscriber that falls 256 behind misses some.
    #[must_use]
    pub fn blocks(&self) -> broadcast::Receiver<Committed> {
        self.blocks.subscribe()
    }

    /// Transactions as they become able to be in the next block, but those that a peer told of just then: what this node is to tell others.
    #[must_use]
    pub fn to_offer(&self) -> broadcast::Receiver<Tx> {
        self.to_offer.subscribe()
    }

    /// The node's peers on the network of transactions.
    #[must_use]
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Tells of the engine that runs over this application.
    pub fn is_driven(&self, probe: Probe) {
        *self.probe.write().unwrap_or_else(PoisonError::into_inner) = Some(probe);
    }

    /// For questions to the embedded engine, once it has started.
    #[must_use]
    pub fn probe(&self) -> Option<Probe> {
        self.probe.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears of a peer's height.
    pub fn hear(&self, height: u64) {
        let mut heard = lock(&self.heard);
        *heard = heard.max(Some(height));
    }

    /// The highest height that a peer has told of since the start, whether or not it is still
    /// connected; none while nobody has told one. Their word only.
    #[must_use]
    pub fn heard(&self) -> Option<u64> {
        *lock(&self.heard)
    }

    /// How many transactions this process has executed, a transaction as often as it was.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    /// Takes evidence into the pool. Blocks for the time of some signature checks.
    ///
    /// # Errors
    /// [`evidence::NotTaken`].
    pub fn take_evidence(&self, evidence: Evidence) -> Result<evidence::Taken, evidence::NotTaken> {
        if let Some(known) = lock(&self.evidence).known(&self.store, &evidence) {
            return Ok(known);
        }
        let before = self.chain();
        let verdict = evidence::judge(&self.store, &before, &evidence);
        let mut pool = lock(&self.evidence);
        let now = self.chain();
        let taken = if now.tip() == before.tip() {
            pool.admit(&self.store, evidence, verdict)
        } else {
            // A block came meanwhile, which seldom happens.
            pool.take(&self.store, &now, evidence)
        };
        drop(pool);
        let taken = taken?;
        if taken == evidence::Taken::New {
            self.bell.notify_one();
            self.accusations.notify_one();
        }
        Ok(taken)
    }

    /// Rung when evidence enters the pool.
    #[must_use]
    pub fn accusations(&self) -> Arc<Notify> {
        Arc::clone(&self.accusations)
    }

    /// The height of the last block. Who asks holds no lock: the chain never waits for him, however seldom he runs.
    pub(crate) fn tip(&self) -> u64 {
        self.tip.load(Ordering::Acquire)
    }

    fn set_state(&self, state: ChainState) {
        let tip = state.tip().value();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.tip.store(tip, Ordering::Release);
    }

    /// What waiting transactions are judged by: the next height and, for want of its time, the last one.
    pub(crate) fn next(&self) -> Block<'_> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Block::new(&self.chain, state.next_height().into(), millis(state.last_time))
    }

    fn execute(&self, proposed: &Content<'_>) -> Result<Outcome, (usize, Refusal)> {
        let Content { height, time, commit, misbehavior, transactions } = proposed;
        self.executions.fetch_add(transactions.len() as u64, Ordering::Relaxed);
        let absent: Vec<Address> = commit.map(absent).unwrap_or_default();
        let misbehavior: Vec<Misbehavior> = misbehavior.iter().map(offence).collect();
        let block = Block { chain: &self.chain, height: (*height).into(), time: millis(*time), misbehavior: &misbehavior, absent: &absent };
        block::execute(&self.store, block, self.verify_all(&txs(transactions)))
    }

    /// The engine's parameters from an upgrade on.
    fn params_of(&self, app: u64) -> consensus_params::Params {
        consensus_params::Params { version: Some(VersionParams { app }), ..self.chain().params }
    }

    /// What the engine is told of a block that was executed.
    fn answer(&self, outcome: &Outcome, update: Option<&tree::Update>) -> response::FinalizeBlock {
        response::FinalizeBlock {
            events: outcome.events.clone(),
            tx_results: outcome.results.clone(),
            validator_updates: outcome.validator_updates.iter().map(update_of).collect(),
            consensus_param_updates: outcome.app_version.map(|app| self.params_of(app)),
            app_hash: update.map_or_else(|| self.chain().app_hash, |update| app_hash(update.root)),
        }
    }

    fn remember(&self, hash: tendermint::Hash, outcome: Outcome) -> Arc<Outcome> {
        let outcome = Arc::new(outcome);
        let mut executed = lock(&self.executed);
        if executed.len() == EXECUTED {
            executed.pop_front();
        }
        executed.push_back((hash, Arc::clone(&outcome)));
        outcome
    }

    fn remembered(&self, hash: tendermint::Hash) -> Option<Arc<Outcome>> {
        lock(&self.executed).iter().find(|(of, _)| *of == hash).map(|(_, outcome)| Arc::clone(outcome))
    }

    /// After a block: the mempool forgets what it included, subscribers hear of it.
    fn announce(&self, decided: Decided, changed: &Changes) {
        let next = self.next();
        let ready = lock(&self.mempool).after_block(&self.store, next, changed);
        self.are_ready(ready, &HashSet::new());
        if lock(&self.evidence).after_block(&self.store, &self.chain()) {
            self.accusations.notify_one();
        }
        lock(&self.executed).clear();
        *lock(&self.committed_at) = Instant::now();
        let _ = self.blocks.send(Arc::new(decided));
    }
}

impl Application for App {
    fn info(&self) -> response::Info {
        let state = self.chain();
        response::Info {
            data: "zynk".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: upgrade::highest(),
            last_block_height: state.tip(),
            last_block_app_hash: state.app_hash,
        }
    }

    fn init_chain(&self, _request: request::InitChain) -> response::InitChain {
        // The genesis state is made when the store is opened; this only reports it.
        let state = self.chain();
        response::InitChain { consensus_params: None, validators: Vec::new(), app_hash: state.app_hash }
    }

    fn check_tx(&self, request: request::CheckTx) -> response::CheckTx {
        self.submit(request.tx).map_or_else(response::CheckTx::from, |_| response::CheckTx::default())
    }

    fn prepare_proposal(&self, request: request::PrepareProposal) -> response::PrepareProposal {
        let mut state = State::new(&self.store);
        let params = block::params(&state);
        let next = Block::new(&self.chain, request.height.into(), millis(request.time));
        let mut room = usize::try_from(request.max_tx_bytes).unwrap_or(0);
        let verified = self.verify_all(&txs(&request.txs));
        self.executions.fetch_add(request.txs.len() as u64, Ordering::Relaxed);
        let mut chosen = Vec::new();
        for (bytes, verified) in request.txs.into_iter().zip(verified) {
            let Some(left) = room.checked_sub(bytes.len() + 8) else {
                break;
            };
            if verified.is_ok_and(|verified| block::apply(&mut state, &params, next, &verified).is_ok()) {
                room = left;
                chosen.push(bytes);
            }
        }
        response::PrepareProposal { txs: chosen }
    }

    fn process_proposal(&self, request: request::ProcessProposal) -> response::ProcessProposal {
        if self.remembered(request.hash).is_some() {
            return response::ProcessProposal::Accept;
        }
        let content = Content {
            height: request.height,
            time: request.time,
            commit: request.proposed_last_commit.as_ref(),
            misbehavior: &request.misbehavior,
            transactions: &request.txs,
        };
        match self.execute(&content) {
            Ok(outcome) => {
                self.remember(request.hash, outcome);
                response::ProcessProposal::Accept
            }
            Err((place, refusal)) => {
                tracing::warn!(height = %request.height, place, %refusal, "refused a proposal");
                response::ProcessProposal::Reject
            }
        }
    }

    fn finalize_block(&self, request: request::FinalizeBlock) -> response::FinalizeBlock {
        let outcome = self.remembered(request.hash).unwrap_or_else(|| {
            let executed = self.execute(&Content {
                height: request.height,
                time: request.time,
                commit: Some(&request.decided_last_commit),
                misbehavior: &request.misbehavior,
                transactions: &request.txs,
            });
            // Two thirds of the validators accepted this block: if this node cannot execute it, it
            // must not go on as if nothing had happened.
            let outcome = executed.unwrap_or_else(|(place, refusal)| {
                panic!("the decided block at height {} cannot be executed: transaction {place}: {refusal}", request.height)
            });
            self.remember(request.hash, outcome)
        });
        let update = (!outcome.changes.is_empty())
            .then(|| tree::update(&self.store, self.store.tree_version() + 1, &outcome.changes).expect("the stored state tree is whole"));
        let answer = self.answer(&outcome, update.as_ref());
        let (height, hash, time) = (request.height, request.hash, request.time);
        *lock(&self.finalized) = Some(Finalized { height, hash, time, outcome, update });
        answer
    }

    fn commit(&self) -> response::Commit {
        // The embedded engine commits with `Host::commit_block`, state and block in one write.
        self.commit_state().expect("a finalized block becomes durable, or the node must not go on");
        response::Commit { data: Bytes::new(), retain_height: Height::from(0u32) }
    }

    fn query(&self, request: request::Query) -> response::Query {
        query::answer(self, &request)
    }
}

impl Host for App {
    type History = Store;

    fn history(&self) -> &Store {
        &self.store
    }

    fn chain_state(&self) -> ChainState {
        self.chain()
    }

    fn earliest(&self) -> Height {
        self.store.earliest(self.initial_height)
    }

    fn last_commit(&self) -> Option<Commit> {
        self.store.commit_of(self.chain().tip())
    }

    fn decided(&self, height: Height) -> Option<(tendermint::Block, Commit)> {
        self.store.decided(height)
    }

    fn keep(&self, proposed: &Proposed) -> Result<(), HostError> {
        consensus::fault::point("proposal.keep.before");
        self.store.keep(proposed)?;
        consensus::fault::point("proposal.keep.after");
        Ok(())
    }

    fn kept(&self, height: Height) -> Vec<Proposed> {
        self.store.proposals(height)
    }

    fn commit_block(&self, decided: Decided) -> Result<(), HostError> {
        let finalized = lock(&self.finalized).take().filter(|finalized| finalized.height == decided.block.header.height);
        let Finalized { outcome, update, .. } =
            finalized.ok_or_else(|| HostError("a block was committed that was not finalized".into()))?;
        let (changes, notes): (&Changes, &[Note]) = (&outcome.changes, &outcome.notes);
        consensus::fault::point("store.commit.before");
        self.store.commit(&decided, changes, notes, update.as_ref()).map_err(|error| HostError(format!("{error:#}")))?;
        consensus::fault::point("store.commit.after");
        self.set_state(decided.state.clone());
        if let Some(upkeep) = self.upkeep() {
            upkeep.after_commit(decided.block.header.height.value());
        }
        *self.pace.write().unwrap_or_else(PoisonError::into_inner) = pace(&block::params(&State::new(&self.store)));
        self.announce(decided, changes);
        Ok(())
    }

    fn pending(&self, max_bytes: usize) -> Vec<Bytes> {
        lock(&self.mempool).best(max_bytes)
    }

    fn pending_evidence(&self, max_bytes: usize) -> Vec<Evidence> {
        lock(&self.evidence).best(max_bytes)
    }

    fn accuse(&self, evidence: Evidence) {
        match self.take_evidence(evidence) {
            Ok(taken) => tracing::info!(?taken, "the consensus engine found evidence"),
            Err(error) => tracing::error!(%error, "what the consensus engine found is no evidence"),
        }
    }

    fn is_idle(&self) -> bool {
        lock(&self.mempool).is_empty() && lock(&self.evidence).is_empty()
    }

    fn pace(&self) -> Pace {
        *self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers_tip(&self) -> u64 {
        self.heard().unwrap_or(0)
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

fn begin(store: &Store, genesis: &Genesis) -> anyhow::Result<ChainState> {
    let changes = genesis.first_state();
    let update = tree::update(store, 0, &changes)?;
    let document = genesis.as_tendermint();
    let validators = consensus::ValidatorSet::genesis(document.validators.iter().map(|validator| (validator.pub_key, validator.power())))?;
    let state = ChainState {
        chain_id: document.chain_id.clone(),
        initial_height: Height::try_from(document.initial_height)?,
        last_block: None,
        last_time: document.genesis_time,
        last_validators: None,
        next_validators: validators.next([])?,
        validators,
        params: document.consensus_params.clone(),
        app_version: document.consensus_params.version.as_ref().map_or(FIRST_VERSION, |version| version.app),
        app_hash: app_hash(update.root),
        last_results_hash: consensus::chain::results_hash(&[]),
    };
    store.begin(genesis.hash(), &state, &changes, &update)?;
    Ok(state)
}

/// The validators whose signature a commit lacks.
fn absent(commit: &CommitInfo) -> Vec<Address> {
    let absent = commit.votes.iter().filter(|vote| vote.sig_info == BlockSignatureInfo::Flag(BlockIdFlag::Absent));
    absent.map(|vote| Address(vote.validator.address)).collect()
}

fn offence(misbehavior: &AbciMisbehavior) -> Misbehavior {
    let kind = match misbehavior.kind {
        MisbehaviorKind::LightClientAttack => Offence::LightClientAttack,
        // The engine names no other.
        MisbehaviorKind::DuplicateVote | MisbehaviorKind::Unknown => Offence::DuplicateVote,
    };
    let validator = Address(misbehavior.validator.address);
    Misbehavior { kind, validator, height: misbehavior.height.into(), time: millis(misbehavior.time) }
}

fn update_of((key, power): &(PublicKey, u64)) -> validator::Update {
    validator::Update {
        pub_key: tendermint::PublicKey::from_raw_ed25519(&key.0).expect("the state has usable keys only"),
        power: (*power).try_into().expect("all power is below 2^60"),
    }
}

fn pace(params: &ledger::Params) -> Pace {
    let millis = |value: u32| Duration::from_millis(value.into());
    Pace {
        interval: millis(params.block_interval_ms),
        heartbeat: millis(params.heartbeat_ms),
        propose_timeout: millis(params.propose_timeout_ms),
    }
}

fn app_hash(root: Hash) -> AppHash {
    AppHash::try_from(root.0.to_vec()).expect("a root has 32 bytes")
}

fn millis(time: Time) -> Millis {
    time.try_into().unwrap_or_default()
}

fn txs(transactions: &[Bytes]) -> Vec<Tx> {
    transactions.iter().cloned().map(Tx::from).collect()
}

/// A lock is only ever held for work that does not panic; if it did, the value is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
