//! The application: the real ledger over a map in memory. Its hash is one over the sorted map.

use std::borrow::Cow;
use std::collections::BTreeMap;

use consensus::evidence::misbehavior;
use ledger::block::{self, Block, Misbehavior, Offence};
use ledger::genesis::GenesisValidator;
use ledger::stake::StakeParams;
use ledger::state::key;
use ledger::supply::Census;
use ledger::{AppState, Changes, Outcome, Params, Refusal, State, Verified, account};
use tendermint::abci::response::FinalizeBlock;
use tendermint::abci::types::{BlockSignatureInfo, CommitInfo, Misbehavior as AbciMisbehavior, VoteInfo};
use tendermint::block::BlockIdFlag;
use tendermint::{AppHash, Time, validator, vote};
use types::{Address, Amount, Blob, ChainId, Encode as _, Height, Millis, PublicKey, SigningKey};

use crate::plan::{Bug, Plan};

/// The accounts that author transactions.
pub(crate) const PEOPLE: u8 = 3;
const WEALTH: Amount = Amount(1_000_000_000);

/// The genesis' time, in milliseconds.
pub(crate) const START: Millis = Millis(1_790_000_000_000);

/// The chain's name.
pub(crate) fn chain() -> ChainId {
    "zynk-simulated-1".parse().expect("a chain id")
}

/// The key that signs a node's votes.
pub(crate) fn consensus_key(node: usize) -> SigningKey {
    SigningKey::from_seed(&[u8::try_from(node).expect("few nodes") + 1; 32])
}

/// The key of somebody with an account.
pub(crate) fn person(who: u8) -> SigningKey {
    SigningKey::from_seed(&[100 + who; 32])
}

/// The address under which the ledger knows a node's validator.
pub(crate) fn validator(node: usize) -> Address {
    consensus_key(node).public().address()
}

/// The account that operates a node's validator.
pub(crate) fn operator(node: usize) -> u8 {
    PEOPLE + u8::try_from(node).expect("few nodes")
}

/// A node's peer id: the multihash of a key of its own.
pub(crate) fn peer_id(node: usize) -> Blob<64> {
    let key = [[0, 36, 8, 1, 18, 32].as_slice(), &person(operator(node)).public().0].concat();
    key.try_into().expect("38 bytes")
}

/// The application of one node: what of it is durable.
#[derive(Debug, Clone)]
pub(crate) struct App {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    bug: Option<Bug>,
    /// With [`Bug::OwnState`], which node this is.
    own: Option<usize>,
}

impl App {
    /// The state of the genesis.
    pub(crate) fn genesis(plan: &Plan, node: usize) -> Self {
        let params = Params {
            // Epochs and windows of a few blocks, so that they end within a run; nobody is jailed for being absent.
            stake: StakeParams { epoch_ms: 5_000, unbonding_ms: 4_000, min_signed_bps: 0, ..StakeParams::default() },
            ..Params::default()
        };
        let candidate = |(node, (_, power)): (usize, &(_, u64))| GenesisValidator {
            operator: person(operator(node)).public().address(),
            consensus_key: consensus_key(node).public(),
            peer_id: peer_id(node),
            moniker: "simulated".try_into().expect("a short name"),
            stake: Amount(power * params.power_unit.0),
            commission_bps: 500,
        };
        let people = PEOPLE + u8::try_from(plan.nodes.len()).expect("few nodes");
        let state = AppState {
            engine: ledger::Engine::Embedded,
            params,
            accounts: (0..people).map(|who| (person(who).public().address(), WEALTH)).collect(),
            validators: plan.nodes.iter().enumerate().filter(|(_, (_, power))| *power > 0).map(candidate).collect(),
        };
        let own = (plan.bug == Some(Bug::OwnState)).then_some(node);
        let mut app = Self { entries: BTreeMap::new(), bug: plan.bug, own };
        app.put(&state.build(START).expect("a genesis"));
        app
    }

    fn put(&mut self, changes: &Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.entries.insert(key.clone(), value.clone())),
                None => drop(self.entries.remove(key)),
            }
        }
    }

    /// Makes a block's outcome durable.
    pub(crate) fn commit(&mut self, executed: &Outcome) {
        self.put(&executed.changes);
    }

    /// The hash of the state.
    pub(crate) fn hash(&self) -> AppHash {
        self.hash_after(&Changes::new())
    }

    fn hash_after(&self, changes: &Changes) -> AppHash {
        let mut app = self.clone();
        app.put(changes);
        if self.own == Some(0) && !changes.is_empty() {
            app.put(&Changes::from([(b"own".to_vec(), Some(vec![0]))]));
        }
        let mut hasher = blake3::Hasher::new();
        for part in app.entries.iter().flat_map(|(key, value)| [key, value]) {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        AppHash::try_from(hasher.finalize().as_bytes().to_vec()).expect("32 bytes")
    }

    /// The account of an author.
    pub(crate) fn sequence(&self, author: &Address) -> u64 {
        account::read(&State::new(&self.entries), author).sequence
    }

    /// Whether every token is somewhere, and none twice.
    pub(crate) fn census_holds(&self) -> bool {
        Census::take(self.entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))).holds()
    }

    /// Of the transactions that wait, those that a block can charge, in order.
    pub(crate) fn prepare<'a>(&self, height: Height, time: Time, waiting: impl Iterator<Item = &'a Verified>) -> Vec<&'a Verified> {
        let chain = chain();
        let waiting: Vec<_> = waiting.collect();
        let entries = self.entries_for(&waiting);
        let mut state = State::new(entries.as_ref());
        let params = block::params(&state);
        let charged = |verified: &&Verified| block::apply(&mut state, &params, next(&chain, height, time), verified).is_ok();
        waiting.into_iter().filter(charged).collect()
    }

    /// Executes a block.
    pub(crate) fn execute(&self, block: &tendermint::Block, commit: &CommitInfo) -> Result<Outcome, (usize, Refusal)> {
        let chain = chain();
        let absent: Vec<_> = commit.votes.iter().filter(|vote| is_absent(vote)).map(|vote| Address(vote.validator.address)).collect();
        let offences: Vec<_> = misbehavior(&block.evidence).iter().map(offence).collect();
        let verified: Vec<_> = block.data.iter().map(|bytes| block::verify(bytes)).collect();
        let entries = self.entries_for(&verified.iter().flatten().collect::<Vec<_>>());
        let header = &block.header;
        let block = Block { misbehavior: &offences, absent: &absent, ..next(&chain, Height(header.height.value()), header.time) };
        block::execute(entries.as_ref(), block, verified)
    }

    /// The state as these transactions find it. With [`Bug::ReusedSequence`] an author's sequence is what the
    /// first of them says.
    fn entries_for(&self, transactions: &[&Verified]) -> Cow<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut entries = Cow::Borrowed(&self.entries);
        if self.bug == Some(Bug::ReusedSequence) {
            for transaction in transactions.iter().rev().map(|verified| verified.transaction()) {
                let author = transaction.author.address();
                let mut account = account::read(&State::new(&self.entries), &author);
                account.sequence = account.sequence.min(transaction.sequence);
                entries.to_mut().insert(key::account(&author), account.to_bytes());
            }
        }
        entries
    }

    /// The engine's answer.
    pub(crate) fn answer(&self, executed: &Outcome) -> FinalizeBlock {
        let update = |(key, power): &(PublicKey, u64)| validator::Update {
            pub_key: tendermint::PublicKey::from_raw_ed25519(&key.0).expect("a key"),
            power: vote::Power::try_from(*power).expect("small"),
        };
        FinalizeBlock {
            events: executed.events.clone(),
            tx_results: executed.results.clone(),
            validator_updates: executed.validator_updates.iter().map(update).collect(),
            consensus_param_updates: None,
            app_hash: self.hash_after(&executed.changes),
        }
    }
}

fn next(chain: &ChainId, height: Height, time: Time) -> Block<'_> {
    Block::new(chain, height, Millis::try_from(time).unwrap_or_default())
}

fn is_absent(vote: &VoteInfo) -> bool {
    !matches!(vote.sig_info, BlockSignatureInfo::Flag(BlockIdFlag::Commit))
}

fn offence(found: &AbciMisbehavior) -> Misbehavior {
    Misbehavior {
        kind: Offence::DuplicateVote,
        validator: Address(found.validator.address),
        height: Height(found.height.value()),
        time: Millis::try_from(found.time).unwrap_or_default(),
    }
}
