//! A small chain without an engine: a state in memory, and people with keys of one-byte seeds.

use std::collections::BTreeMap;

use audit::{Anchor, LogId, LogRecord, SignedAnchor};
use identity::{Control, DeviceKeys, Did, Draft, Entry, Genesis, SignalKey, SignedOperation};
use ledger::account::{self, Account, Allowance};
use ledger::genesis::GenesisValidator;
use ledger::state::key as at;
use ledger::supply::Census;
use ledger::transaction::Verified;
use ledger::{
    AppState, Block, Body, Misbehavior, Outcome, Params, Payer, Refusal, SignedTransaction, State, Transaction, anchors, block, identities,
};
use types::{Address, Amount, ChainId, Encode as _, Hash, Height, Millis, SigningKey};

/// People with an account of 1,000 ZYNK.
pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;
pub(crate) const SPONSOR: u8 = 3;
/// Somebody who owns nothing.
pub(crate) const PAUPER: u8 = 4;
/// The keys of logs, and of identities.
pub(crate) const LOG: u8 = 20;
pub(crate) const NEXT_LOG: u8 = 21;
pub(crate) const CONTROL: u8 = 30;
pub(crate) const NEXT_CONTROL: u8 = 31;
pub(crate) const PHONE: u8 = 32;

/// When every chain here begins.
pub(crate) const START: Millis = Millis(1_790_000_000_000);

/// What every transaction here pays, unless it says otherwise: enough for all of them.
pub(crate) const FEE: Amount = Amount(20_000);
pub(crate) const BOND: Amount = Amount(10_000_000);
pub(crate) const WEALTH: Amount = Amount(1_000_000_000);

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn address(seed: u8) -> Address {
    key(seed).public().address()
}

pub(crate) fn chain() -> ChainId {
    "zynk-test-1".parse().expect("a chain id")
}

pub(crate) fn params() -> Params {
    Params { log_bond: BOND, bond_hold_blocks: 5, ..Params::default() }
}

pub(crate) fn app_state() -> AppState {
    AppState {
        engine: ledger::Engine::Embedded,
        params: params(),
        accounts: [ALICE, BOB, SPONSOR].map(|seed| (address(seed), WEALTH)).into(),
        validators: vec![GenesisValidator {
            operator: address(9),
            consensus_key: key(10).public(),
            peer_id: vec![1; 38].try_into().expect("38 bytes"),
            moniker: "first".try_into().expect("a short name"),
            stake: Amount(5_000_000),
            commission_bps: 500,
        }],
    }
}

/// The chain after some block.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) height: u64,
    /// The time of the last block; blocks are half a second apart unless somebody changes this between them.
    pub(crate) time: Millis,
    /// What the next block's evidence proves.
    pub(crate) accused: Vec<Misbehavior>,
    /// Who has not signed the next block's last commit.
    pub(crate) absent: Vec<Address>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(&app_state())
    }

    pub(crate) fn of(state: &AppState) -> Self {
        let entries = BTreeMap::new();
        let mut world = Self { entries, height: 0, time: START, accused: Vec::new(), absent: Vec::new() };
        world.put(&state.build(START).expect("a genesis"));
        world
    }

    pub(crate) fn put(&mut self, changes: &ledger::Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.entries.insert(key.clone(), value.clone())),
                None => drop(self.entries.remove(key)),
            }
        }
        assert!(self.census().holds(), "tokens appeared or vanished: {:?}", self.census());
    }

    pub(crate) fn census(&self) -> Census {
        Census::take(self.entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }

    pub(crate) fn try_play(&self, transactions: &[Vec<u8>]) -> Result<Outcome, (usize, Refusal)> {
        let chain = chain();
        let (misbehavior, absent) = (&self.accused[..], &self.absent[..]);
        let block = Block { misbehavior, absent, ..Block::new(&chain, Height(self.height + 1), Millis(self.time.0 + 500)) };
        block::execute(&self.entries, block, transactions.iter().map(|bytes| block::verify(bytes)))
    }

    /// Plays the next block, twice, since it must give the same both times.
    pub(crate) fn play(&mut self, transactions: &[SignedTransaction]) -> Outcome {
        let bytes: Vec<_> = transactions.iter().map(types::Encode::to_bytes).collect();
        let outcome = self.try_play(&bytes).unwrap_or_else(|(place, refusal)| panic!("transaction {place}: {refusal}"));
        let again = self.try_play(&bytes).expect("as before");
        assert_eq!((&outcome.results, &outcome.changes, &outcome.notes), (&again.results, &again.changes, &again.notes));
        assert_eq!((&outcome.events, &outcome.validator_updates), (&again.events, &again.validator_updates));
        self.put(&outcome.changes);
        self.height += 1;
        self.time.0 += 500;
        self.accused.clear();
        self.absent.clear();
        outcome
    }

    /// Plays a block of one transaction; its codespace and code.
    pub(crate) fn one(&mut self, author: u8, body: Body) -> (String, u32) {
        let signed = self.signed(author, body);
        let result = self.play(&[signed]).results.remove(0);
        (result.codespace, result.code.value())
    }

    /// As [`Self::one`], of a body that does what it says.
    pub(crate) fn done(&mut self, author: u8, body: Body) {
        let signed = self.signed(author, body);
        let result = self.play(&[signed]).results.remove(0);
        assert!(result.code.is_ok(), "{}", result.log);
    }

    /// Lets blocks go by.
    pub(crate) fn idle(&mut self, blocks: u64) {
        for _ in 0..blocks {
            assert!(self.play(&[]).changes.is_empty());
        }
    }

    pub(crate) fn transaction(&self, author: u8, body: Body) -> Transaction {
        Transaction {
            chain: chain(),
            author: key(author).public(),
            sequence: self.account(author).sequence,
            valid_until: Height(self.height + 100),
            fee: FEE,
            payer: Payer::Author,
            body,
        }
    }

    pub(crate) fn signed(&self, author: u8, body: Body) -> SignedTransaction {
        self.transaction(author, body).sign(&key(author), None)
    }

    /// Whether the mempool would take it, and that a refusal changes nothing.
    pub(crate) fn check(&self, signed: &SignedTransaction) -> Result<(), Refusal> {
        let verified: Verified = block::verify(&signed.to_bytes())?;
        let chain = chain();
        let block = Block::new(&chain, Height(self.height + 1), self.time);
        let mut state = State::new(&self.entries);
        let checked = block::check(&mut state, block, &verified);
        let (changes, notes) = state.finish();
        assert_eq!(changes.is_empty(), checked.is_err());
        assert!(checked.is_ok() || notes.is_empty());
        checked
    }

    pub(crate) fn account(&self, seed: u8) -> Account {
        account::read(&State::new(&self.entries), &address(seed))
    }

    pub(crate) fn balance(&self, seed: u8) -> u64 {
        self.account(seed).balance.0
    }

    pub(crate) fn allowance(&self, sponsor: u8, beneficiary: u8) -> Option<Allowance> {
        State::new(&self.entries).read(&at::allowance(&address(sponsor), &address(beneficiary)))
    }

    pub(crate) fn fees(&self) -> u64 {
        State::new(&self.entries).read::<Amount>(at::FEES).expect("the pool").0
    }

    pub(crate) fn log(&self, log: &LogId) -> LogRecord {
        anchors::read(&State::new(&self.entries), log).expect("a log")
    }

    pub(crate) fn identity(&self, did: &Did) -> Option<Entry> {
        identities::read(&State::new(&self.entries), did)
    }

    /// A log of `owner` with the key [`LOG`].
    pub(crate) fn register(&mut self, owner: u8) -> LogId {
        let log = LogId::derive(&chain(), &address(owner), self.account(owner).sequence);
        self.done(owner, Body::RegisterLog { key: key(LOG).public(), bond: BOND });
        log
    }

    /// The next anchor of a log, with this byte for its root.
    pub(crate) fn next_anchor(&self, log: &LogId, root: u8) -> Anchor {
        let record = self.log(log);
        Anchor {
            version: 1,
            chain: chain(),
            log: *log,
            sequence: record.sequence + 1,
            previous: record.last,
            root: Hash([root; 32]),
            count: 4,
            opened: Millis(1_790_000_000_000),
            closed: Millis(1_790_000_001_000),
        }
    }
}

pub(crate) fn anchored(anchor: Anchor, seed: u8) -> Body {
    Body::Anchor(Box::new(SignedAnchor::sign(anchor, &key(seed))))
}

pub(crate) fn transfer(to: u8, amount: u64) -> Body {
    Body::Transfer { to: address(to), amount: Amount(amount), memo: "rent".try_into().expect("a short memo") }
}

pub(crate) fn allow(beneficiary: u8, limit: u64, expires: u64) -> Body {
    Body::Allow { beneficiary: address(beneficiary), limit: Amount(limit), expires: Height(expires) }
}

/// A new identity with one device.
pub(crate) fn creation(chain: ChainId, control: u8) -> SignedOperation {
    let genesis = Genesis {
        chain,
        control: Control::single(key(CONTROL).public()),
        next_control: Control::single(key(NEXT_CONTROL).public()).commitment(),
        recovery: Hash([8; 32]),
        recovery_delay: 259_200,
        devices: vec![DeviceKeys { key: key(PHONE).public(), signal: SignalKey::from_x25519(&[5; 32]) }].try_into().expect("one device"),
        services: types::List::default(),
        nonce: [7; 16],
    };
    let draft = Draft::create(genesis, &[&key(PHONE)], Height(200)).expect("the device's key");
    draft.sign(0, &key(control)).finish().expect("one signature")
}
