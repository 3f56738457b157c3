//! The state: readable keys, canonical values, and changes laid over what is stored.

use std::collections::BTreeMap;

use audit::{LogId, SignedAnchor};
use types::{Address, Decode, Encode, Hash};

/// Reads the state as some block left it.
///
/// A view that cannot read (a broken disk) must not answer at all: the store behind it stops the
/// process, since any answer would fork this node off the chain.
pub trait View {
    /// The value stored under `key`.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
}

impl View for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key).cloned()
    }
}

/// What is written (`Some`) and removed (`None`), by key.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a block adds beside the authenticated state, for a node to keep and serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An anchor entered the log of all anchors.
    Anchored {
        /// Its place in the log of all anchors, from 0.
        index: u64,
        /// The anchor.
        anchor: Box<SignedAnchor>,
    },
    /// A node of the log of all anchors became final.
    LogNode {
        /// Its level; 0 are the leaves.
        level: u8,
        /// Its place within the level, from 0.
        index: u64,
        /// Its hash.
        hash: Hash,
    },
}

/// A state being changed: a view, and what was changed over it.
pub struct State<'a> {
    view: &'a dyn View,
    settled: Changes,
    open: Changes,
    notes: Vec<Note>,
    settled_notes: usize,
}

impl std::fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("settled", &self.settled.len()).field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl<'a> State<'a> {
    /// The state of `view`, unchanged.
    #[must_use]
    pub fn new(view: &'a dyn View) -> Self {
        Self::resume(view, Changes::new())
    }

    /// The state of `view` with `changes` made before.
    #[must_use]
    pub fn resume(view: &'a dyn View, changes: Changes) -> Self {
        Self { view, settled: changes, open: Changes::new(), notes: Vec::new(), settled_notes: 0 }
    }

    /// Reads an entry of a type whose bytes only this crate writes.
    ///
    /// # Panics
    /// If the stored bytes are not of that type: the database is not ours.
    #[must_use]
    pub fn read<T: Decode>(&self, key: &[u8]) -> Option<T> {
        let stored = match self.open.get(key).or_else(|| self.settled.get(key)) {
            Some(change) => change.clone(),
            None => self.view.get(key),
        };
        stored.map(|bytes| T::from_bytes(&bytes).expect("the state holds what the ledger wrote"))
    }

    /// Writes an entry.
    pub fn write(&mut self, key: Vec<u8>, value: &impl Encode) {
        self.open.insert(key, Some(value.to_bytes()));
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.open.insert(key, None);
    }

    /// Whether an entry whose key begins like this was written or removed, settled or not.
    #[must_use]
    pub fn touches(&self, prefix: &[u8]) -> bool {
        let in_changes = |changes: &Changes| changes.range(prefix.to_vec()..).next().is_some_and(|(key, _)| key.starts_with(prefix));
        in_changes(&self.settled) || in_changes(&self.open)
    }

    /// Adds a note.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Keeps all that was changed since the last settling.
    pub fn settle(&mut self) {
        // Not `append`, which builds all of the map anew: a block settles twice for each transaction.
        self.settled.extend(std::mem::take(&mut self.open));
        self.settled_notes = self.notes.len();
    }

    /// Forgets all that was changed since the last settling.
    pub fn discard(&mut self) {
        self.open.clear();
        self.notes.truncate(self.settled_notes);
    }

    /// Ends the changing; what is not settled is forgotten.
    #[must_use]
    pub fn finish(mut self) -> (Changes, Vec<Note>) {
        self.discard();
        (self.settled, self.notes)
    }
}

/// The keys of the state, as `docs/spec/state.md` lists them.
pub mod key {
    use super::{Address, LogId};

    /// The chain's parameters.
    pub const PARAMS: &[u8] = b"params";
    /// All tokens there are.
    pub const SUPPLY: &[u8] = b"supply";
    /// Fees that wait for being shared.
    pub const FEES: &[u8] = b"pool/fees";
    /// Rewards that are owed.
    pub const REWARDS: &[u8] = b"pool/rewards";
    /// Stake that waits for the end of its unbonding period.
    pub const UNBONDING: &[u8] = b"pool/unbonding";
    /// What the keys of validators' records begin with.
    pub const STAKE: &[u8] = b"stake/";
    /// The set that the engine was told.
    pub const ACTIVE: &[u8] = b"validators/active";
    /// How many blocks have counted for absences.
    pub const COUNTED: &[u8] = b"validators/counted";
    /// When the present epoch began.
    pub const EPOCH: &[u8] = b"validators/epoch";
    /// The ends of the queue of unbondings.
    pub const UNBONDING_QUEUE: &[u8] = b"unbonding/queue";
    /// Size and root of the log of all anchors.
    pub const ANCHORS_HEAD: &[u8] = b"anchors/head";
    /// The complete subtrees of the log of all anchors.
    pub const ANCHORS_FRONTIER: &[u8] = b"anchors/frontier";
    /// Deposits on proposals that are open.
    pub const DEPOSITS: &[u8] = b"pool/deposits";
    /// The proposals that are open, and when each is due.
    pub const OPEN_PROPOSALS: &[u8] = b"proposals/open";
    /// The upgrade that is planned.
    pub const UPGRADE_PLANNED: &[u8] = b"upgrade/planned";
    /// The last upgrade that was reached.
    pub const UPGRADE_REACHED: &[u8] = b"upgrade/reached";

    /// An account.
    #[must_use]
    pub fn account(address: &Address) -> Vec<u8> {
        // Each transaction asks for it a dozen times: no formatting.
        [b"account/".as_slice(), &address.text()].concat()
    }

    /// What `sponsor` allows `beneficiary` to spend on fees.
    #[must_use]
    pub fn allowance(sponsor: &Address, beneficiary: &Address) -> Vec<u8> {
        format!("allowance/{sponsor}/{beneficiary}").into_bytes()
    }

    /// A log of anchors.
    #[must_use]
    pub fn log(id: &LogId) -> Vec<u8> {
        format!("log/{id}").into_bytes()
    }

    /// A proposal.
    #[must_use]
    pub fn proposal(id: u64) -> Vec<u8> {
        format!("proposal/{id}").into_bytes()
    }

    /// What an account has voted on open proposals.
    #[must_use]
    pub fn votes(voter: &Address) -> Vec<u8> {
        format!("votes/{voter}").into_bytes()
    }

    /// The shares of a validator that were voted on open proposals, by those who hold them.
    #[must_use]
    pub fn ballots(validator: &Address) -> Vec<u8> {
        format!("ballots/{validator}").into_bytes()
    }

    /// A validator, by the address of its consensus key.
    #[must_use]
    pub fn stake(validator: &Address) -> Vec<u8> {
        format!("stake/{validator}").into_bytes()
    }

    /// A page of the list of all validators with stake.
    #[must_use]
    pub fn page(number: u8) -> Vec<u8> {
        format!("validators/page/{number}").into_bytes()
    }

    /// The validator that has this peer id.
    #[must_use]
    pub fn peer(peer_id: &[u8]) -> Vec<u8> {
        use std::fmt::Write as _;
        let mut text = "validators/peer/".to_owned();
        for byte in peer_id {
            write!(text, "{byte:02x}").expect("a string takes text");
        }
        text.into_bytes()
    }

    /// A validator's absences.
    #[must_use]
    pub fn missed(validator: &Address) -> Vec<u8> {
        format!("missed/{validator}").into_bytes()
    }

    /// An account's stake at a validator.
    #[must_use]
    pub fn delegation(account: &Address, validator: &Address) -> Vec<u8> {
        format!("delegation/{account}/{validator}").into_bytes()
    }

    /// The validators at which an account has stake.
    #[must_use]
    pub fn delegations(account: &Address) -> Vec<u8> {
        format!("delegations/{account}").into_bytes()
    }

    /// Stake that waits, by its number in the queue.
    #[must_use]
    pub fn unbonding(number: u64) -> Vec<u8> {
        format!("unbonding/{number}").into_bytes()
    }

    /// The numbers of an account's unbondings.
    #[must_use]
    pub fn unbondings(account: &Address) -> Vec<u8> {
        format!("unbondings/{account}").into_bytes()
    }
}
