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

    /// Adds a note.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Keeps all that was changed since the last settling.
    pub fn settle(&mut self) {
        self.settled.append(&mut self.open);
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
    /// Size and root of the log of all anchors.
    pub const ANCHORS_HEAD: &[u8] = b"anchors/head";
    /// The complete subtrees of the log of all anchors.
    pub const ANCHORS_FRONTIER: &[u8] = b"anchors/frontier";

    /// An account.
    #[must_use]
    pub fn account(address: &Address) -> Vec<u8> {
        format!("account/{address}").into_bytes()
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

    /// A validator, by the address of its consensus key.
    #[must_use]
    pub fn stake(validator: &Address) -> Vec<u8> {
        format!("stake/{validator}").into_bytes()
    }
}
