//! A node's chain: what the loop that answers the engine does with blocks (`consensus::malachite::driver`),
//! without its channels and its clock. The rules are the crate's own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::ValidatorSet;
use consensus::chain::{self, BadBlock, ChainState};
use consensus::commit::block_id;
use consensus::host::{Decided, Proposed};
use consensus::malachite::context::{Address, BlockHash, Zynk};
use consensus::malachite::translation::{proposed_value, to_certificate, to_commit};
use consensus::pace::{Pace, Waiting};
use ledger::{Outcome, Verified, block as ledger_block};
use malachite::app::types::core::{CommitCertificate, ExtendedCommitCertificate, Round};
use malachite::app::types::{MisbehaviorEvidence, ProposedValue};
use std::time::Duration;
use tendermint::block::{Block, Commit};
use tendermint::{Time, account};
use types::Hash;

use crate::app::{self, App};
use crate::past::Past;
use crate::plan::{Bug, Plan};

/// As the loop that answers the engine has it.
const KEPT_PER_ROUND: usize = 2;
const EARLY: usize = 16;

/// How fast the simulated chain goes.
pub(crate) const PACE: Pace =
    Pace { interval: Duration::from_millis(300), heartbeat: Duration::from_secs(3), propose_timeout: Duration::from_secs(1) };

/// A node's blocks, state and pending transactions.
#[derive(Debug)]
pub(crate) struct Store {
    bug: Option<Bug>,
    me: account::Id,
    // What is durable.
    pub(crate) state: ChainState,
    pub(crate) app: App,
    history: Past,
    kept: Vec<Proposed>,
    // What a crash takes.
    proposed: Vec<Proposed>,
    early: Vec<Proposed>,
    pool: BTreeMap<(types::Address, u64), (Bytes, Verified)>,
    executed: BTreeMap<[u8; 32], Outcome>,
    last_commit: Option<Commit>,
    unproven_change: bool,
    synced: Option<[u8; 32]>,
    committed_at: u64,
    pub(crate) heard: u64,
}

impl Store {
    /// The chain at its genesis.
    pub(crate) fn new(plan: &Plan, name: usize, me: account::Id) -> Self {
        let app = App::genesis(plan, name);
        Self {
            bug: plan.bug,
            me,
            state: genesis(plan, &app),
            app,
            history: Past::default(),
            kept: Vec::new(),
            proposed: Vec::new(),
            early: Vec::new(),
            pool: BTreeMap::new(),
            executed: BTreeMap::new(),
            last_commit: None,
            unproven_change: true,
            synced: None,
            committed_at: 0,
            heard: 0,
        }
    }

    /// Takes up where the durable part stands, after a crash.
    pub(crate) fn restart(&mut self, now: u64) {
        self.proposed = self.kept.clone();
        self.early.clear();
        self.pool.clear();
        self.executed.clear();
        self.last_commit = self.history.blocks.get(&self.tip()).map(|decided| decided.commit.clone());
        self.unproven_change = true;
        self.synced = None;
        self.committed_at = now;
        self.heard = 0;
    }

    /// The last height.
    pub(crate) fn tip(&self) -> u64 {
        self.state.tip().value()
    }

    pub(crate) fn next_height(&self) -> u64 {
        self.state.next_height().value()
    }

    /// Takes a transaction into the pool.
    pub(crate) fn submit(&mut self, bytes: Bytes) {
        let Ok(verified) = ledger_block::verify(&bytes) else { return };
        let author = verified.transaction().author.address();
        let slot = (author, verified.transaction().sequence);
        if slot.1 >= self.app.sequence(&author) || self.bug == Some(Bug::ReusedSequence) {
            self.pool.insert(slot, (bytes, verified));
        }
    }

    /// How long the next height waits yet, at `now`; none if it is to begin.
    pub(crate) fn delay(&self, now: u64) -> Option<Duration> {
        let next = self.next_height();
        let last = self.state.last_block.map(|(_, id)| id.hash);
        let waiting = Waiting {
            unproven_change: self.unproven_change,
            work: !self.pool.is_empty() || self.history.accuses(),
            others_began: self.proposed.iter().any(|proposed| proposed.height.value() == next),
            behind: last.is_some() && self.synced.map(tendermint::Hash::Sha256) == last && self.heard >= next,
            idle_for: Duration::from_millis(now - self.committed_at),
        };
        waiting.delay(&PACE)
    }

    /// The proposals that are here for a round.
    pub(crate) fn known(&self, round: Round) -> Vec<ProposedValue<Zynk>> {
        let here = |proposed: &&Proposed| proposed.height == self.state.next_height() && Some(proposed.round) == round.as_u32();
        self.proposed.iter().filter(here).map(proposed_value).collect()
    }

    /// This node's block for a round: the same again after a restart, or a new one.
    pub(crate) fn propose(&mut self, round: u32, clock: Time) -> Proposed {
        let me = address_bytes(self.me);
        let mine = |proposed: &&Proposed| proposed.round == round && proposed.proposer == me && proposed.valid_round.is_none();
        if let Some(proposed) = self.proposed.iter().find(mine) {
            return proposed.clone();
        }
        let time = self.state.build(self.me, clock, Vec::new(), None).header.time;
        let waiting = self.pool.values().map(|(_, verified)| verified);
        let chosen: BTreeSet<_> = self.app.prepare(types::Height(self.next_height()), time, waiting).into_iter().map(slot).collect();
        let transactions = self.pool.iter().filter(|(slot, _)| chosen.contains(slot)).map(|(_, (bytes, _))| bytes.to_vec()).collect();
        let proposed = self.build(round, clock, transactions);
        self.keep(proposed.clone());
        proposed
    }

    /// Another block for the same round, as an equivocating proposer makes one.
    pub(crate) fn twin(&self, round: u32, clock: Time) -> Proposed {
        let later = clock.checked_add(Duration::from_millis(1)).expect("a time");
        self.build(round, later, Vec::new())
    }

    fn build(&self, round: u32, clock: Time, transactions: Vec<Vec<u8>>) -> Proposed {
        let block = self.state.build_with(self.history.pending(&self.state), self.me, clock, transactions, self.last_commit.clone());
        Proposed {
            height: block.header.height,
            round,
            valid_round: None,
            proposer: address_bytes(self.me),
            hash: hash_bytes(&block),
            valid: true,
            body: chain::encode(&block).into(),
        }
    }

    fn keep(&mut self, proposed: Proposed) {
        self.kept.push(proposed.clone());
        self.proposed.push(proposed);
    }

    /// A block that is proposed again, under this node's name.
    pub(crate) fn again(&self, round: u32, valid_round: Option<u32>, block: BlockHash) -> Option<Proposed> {
        let found = self.proposed.iter().find(|proposed| proposed.hash == block.0.0)?;
        Some(Proposed { round, valid_round, proposer: address_bytes(self.me), ..found.clone() })
    }

    /// Another block of this height that is here.
    pub(crate) fn other_block(&self, than: Option<BlockHash>) -> Option<BlockHash> {
        let hashes = self.proposed.iter().map(|proposed| BlockHash(Hash(proposed.hash)));
        hashes.rev().find(|hash| Some(*hash) != than)
    }

    /// A block proposed in a round that was found valid here.
    pub(crate) fn valid_of(&self, round: Round) -> Option<BlockHash> {
        let here = |proposed: &&Proposed| proposed.valid && Some(proposed.round) == round.as_u32();
        self.proposed.iter().find(here).map(|proposed| BlockHash(Hash(proposed.hash)))
    }

    /// Takes another's block.
    pub(crate) fn receive(&mut self, said: Proposed, clock: Time) -> Option<ProposedValue<Zynk>> {
        let next = self.next_height();
        let set = match said.height.value() {
            height if height == next => &self.state.validators,
            height if height == next + 1 => &self.state.next_validators,
            _ => return None,
        };
        if set.proposer(said.round).address() != account::Id::new(said.proposer) {
            return None;
        }
        if said.height.value() > next {
            if self.early.len() < EARLY {
                self.early.push(said);
            }
            return None;
        }
        self.admit(said, clock)
    }

    fn admit(&mut self, said: Proposed, clock: Time) -> Option<ProposedValue<Zynk>> {
        let of_round = || self.proposed.iter().filter(|proposed| proposed.round == said.round);
        if let Some(known) = of_round().find(|proposed| proposed.hash == said.hash) {
            return Some(proposed_value(known));
        }
        if of_round().count() >= KEPT_PER_ROUND {
            return None;
        }
        let block = chain::decode(&said.body, self.max_block_bytes()).ok().filter(|block| hash_bytes(block) == said.hash)?;
        let fresh = said.valid_round.is_none();
        let own = block.header.proposer_address == account::Id::new(said.proposer);
        let timely = if fresh { ChainState::check_fresh(&block, clock) } else { Ok(()) };
        let followed = timely.and_then(|()| self.state.check(&block, &self.history));
        let followed = if fresh && !own { Err(BadBlock::Header { field: "proposer address" }) } else { followed };
        let proposed = Proposed { valid: followed.is_ok() && self.accepted(&block), ..said };
        self.keep(proposed.clone());
        Some(proposed_value(&proposed))
    }

    fn accepted(&mut self, block: &Block) -> bool {
        let info = self.state.commit_info(block.last_commit.as_ref());
        let executed = self.app.execute(block, &info);
        executed.map(|executed| self.executed.insert(hash_bytes(block), executed)).is_ok()
    }

    /// Executes what was decided and makes it durable.
    pub(crate) fn decide(&mut self, certificate: &CommitCertificate<Zynk>, now: u64, clock: Time) -> Result<Option<Decided>, String> {
        let (height, hash) = (certificate.height.0, certificate.value_id.0);
        if height < self.next_height() {
            return Ok(None);
        }
        let body = self.proposed.iter().find(|proposed| proposed.hash == hash.0).map(|proposed| proposed.body.clone());
        let body = body.ok_or_else(|| format!("block {hash} was decided at height {height}, but its bytes are not here"))?;
        let block = chain::decode(&body, self.max_block_bytes()).map_err(|error| error.to_string())?;
        if !self.executed.contains_key(&hash.0) && !self.accepted(&block) {
            return Err(format!("the decided block at height {height} cannot be executed"));
        }
        let executed = self.executed.remove(&hash.0).expect("it was executed");
        let outcome = self.app.answer(&executed);
        let mut after = self.state.after(&block, &outcome).map_err(|error| error.to_string())?;
        if self.bug == Some(Bug::EarlyUpdates) {
            after.validators = after.next_validators.clone();
            after.next_validators = after.next_validators.next([]).expect("no update");
        }
        let seen_commit = to_commit(certificate, &self.state.validators);
        self.unproven_change = after.app_hash != self.state.app_hash;
        self.app.commit(&executed);
        self.history.add(&block, body, &self.state, seen_commit.clone());
        self.kept.clear();
        self.state = after.clone();
        self.last_commit = Some(seen_commit.clone());
        self.committed_at = now;
        self.proposed.clear();
        self.executed.clear();
        let app = &self.app;
        self.pool.retain(|(author, sequence), _| *sequence >= app.sequence(author));
        self.admit_early(clock);
        let id = block_id(block.header.hash());
        Ok(Some(Decided { block, id, seen_commit, outcome, state: after }))
    }

    fn admit_early(&mut self, clock: Time) {
        let next = self.next_height();
        let (now, later): (Vec<_>, _) = std::mem::take(&mut self.early).into_iter().partition(|said| said.height.value() <= next);
        self.early = later;
        for said in now.into_iter().filter(|said| said.height.value() == next) {
            self.admit(said, clock);
        }
    }

    /// Takes up what the engine saw of validators that vote twice.
    pub(crate) fn accuse(&mut self, found: &MisbehaviorEvidence<Zynk>) {
        for (one, other) in found.votes.iter().flat_map(|(_, pairs)| pairs) {
            self.history.accuse(one, other);
        }
    }

    /// Takes a certificate with more signatures than the one that decided.
    pub(crate) fn improve(&mut self, certificate: &CommitCertificate<Zynk>) {
        let Some(set) = &self.state.last_validators else { return };
        let signed = |commit: &Commit| commit.signatures.iter().filter(|entry| entry.is_commit()).count();
        let better = to_commit(certificate, set);
        if self.last_commit.as_ref().is_some_and(|last| last.block_id == better.block_id && signed(&better) > signed(last)) {
            self.last_commit = Some(better);
        }
    }

    /// A decided block for a node that catches up.
    pub(crate) fn decided(&self, height: u64) -> Option<(Bytes, ExtendedCommitCertificate<Zynk>)> {
        self.history.blocks.get(&height).map(|decided| (decided.body.clone(), to_certificate(&decided.commit)))
    }

    /// Judges a block that another node hands over as decided, and keeps it.
    pub(crate) fn synced(&mut self, round: Round, proposer: Address, body: Bytes) -> Option<ProposedValue<Zynk>> {
        let block = chain::decode(&body, self.max_block_bytes()).ok()?;
        self.state.check(&block, &self.history).ok()?;
        let proposed = Proposed {
            height: block.header.height,
            round: round.as_u32().unwrap_or(0),
            valid_round: None,
            proposer: address_bytes(proposer.0),
            hash: hash_bytes(&block),
            valid: self.accepted(&block),
            body,
        };
        self.synced = Some(proposed.hash);
        self.keep(proposed.clone());
        Some(proposed_value(&proposed))
    }

    fn max_block_bytes(&self) -> usize {
        usize::try_from(self.state.params.block.max_bytes).unwrap_or(usize::MAX)
    }
}

fn genesis(plan: &Plan, app: &App) -> ChainState {
    let keyed = |(node, (_, power)): (usize, &(_, u64))| {
        let key = tendermint::PublicKey::from_raw_ed25519(&app::consensus_key(node).public().0).expect("a key");
        (key, *power)
    };
    let powers = plan.nodes.iter().enumerate().map(keyed).filter(|(_, power)| *power > 0);
    let validators = ValidatorSet::genesis(powers).expect("a set");
    ChainState {
        chain_id: app::chain().as_str().parse().expect("a chain id"),
        initial_height: 1u32.into(),
        last_block: None,
        last_time: Time::from_unix_timestamp(1_790_000_000, 0).expect("a time"),
        last_validators: None,
        next_validators: validators.next([]).expect("no update"),
        validators,
        params: params(),
        app_version: 1,
        app_hash: app.hash(),
        last_results_hash: chain::results_hash(&[]),
    }
}

fn params() -> tendermint::consensus::Params {
    use tendermint::{block, consensus, evidence, public_key::Algorithm};
    consensus::Params {
        block: block::Size { max_bytes: 1 << 20, max_gas: -1, time_iota_ms: block::Size::default_time_iota_ms() },
        evidence: evidence::Params {
            max_age_num_blocks: 1_000_000,
            max_age_duration: evidence::Duration(Duration::from_secs(1_000_000)),
            max_bytes: 64 << 10,
        },
        validator: consensus::params::ValidatorParams { pub_key_types: vec![Algorithm::Ed25519] },
        version: Some(consensus::params::VersionParams { app: 1 }),
        abci: consensus::params::AbciParams::default(),
    }
}

fn slot(verified: &Verified) -> (types::Address, u64) {
    let transaction = verified.transaction();
    (transaction.author.address(), transaction.sequence)
}

pub(crate) fn hash_bytes(block: &Block) -> [u8; 32] {
    block.header.hash().as_bytes().try_into().expect("a header's hash has 32 bytes")
}

fn address_bytes(address: account::Id) -> [u8; 20] {
    address.as_bytes().try_into().expect("an address has 20 bytes")
}
