//! Transactions that wait to be included, in the order in which they came.
//!
//! A plain value: what a transaction means is asked of the ledger, over the state that the waiting
//! ones before it leave. What may wait is bounded: [`Bounds`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ledger::block::{self, Block};
use ledger::{Changes, Refusal, State, TxHash, Verified, View};
use types::{Address, Hash};

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many transactions: 10,000.
    pub count: usize,
    /// At most this many bytes together: 32 MiB.
    pub bytes: usize,
    /// At most this many transactions of one author: 1,000.
    pub per_author: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { count: 10_000, bytes: 32 * 1024 * 1024, per_author: 1_000 }
    }
}

/// Why a transaction does not enter the mempool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The ledger refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It waits already.
    #[error("the transaction is waiting already")]
    Waiting,
    /// No more transactions fit.
    #[error("the mempool is full: try again after the next block")]
    Full,
    /// Its author has too many waiting.
    #[error("{bound} transactions of this author are waiting already")]
    TooMany {
        /// How many may wait.
        bound: usize,
    },
}

impl NotTaken {
    /// The reason's number in its codespace.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Waiting => 1,
            Self::Full => 2,
            Self::TooMany { .. } => 3,
        }
    }

    /// Whose list the code is from.
    #[must_use]
    pub const fn codespace(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.codespace(),
            _ => "mempool",
        }
    }
}

#[derive(Debug, Clone)]
struct Waiting {
    bytes: Bytes,
    verified: Verified,
}

/// The waiting transactions.
#[derive(Debug, Default)]
pub struct Mempool {
    bounds: Bounds,
    order: BTreeMap<u64, TxHash>,
    waiting: BTreeMap<TxHash, Waiting>,
    per_author: BTreeMap<Address, usize>,
    arrivals: u64,
    bytes: usize,
    /// What the waiting transactions change, in their order.
    changes: Changes,
}

impl Mempool {
    /// An empty one with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Takes a transaction whose signatures hold.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing has changed.
    pub fn take(&mut self, view: &dyn View, block: Block<'_>, bytes: Bytes, verified: Verified) -> Result<TxHash, NotTaken> {
        let hash = Hash::sha256(&[&bytes]);
        if self.waiting.contains_key(&hash) {
            return Err(NotTaken::Waiting);
        }
        if self.waiting.len() >= self.bounds.count || self.bytes + bytes.len() > self.bounds.bytes {
            return Err(NotTaken::Full);
        }
        let author = verified.transaction().author.address();
        if self.per_author.get(&author).is_some_and(|count| *count >= self.bounds.per_author) {
            return Err(NotTaken::TooMany { bound: self.bounds.per_author });
        }
        self.try_on_top(view, block, &verified)?;
        self.arrivals += 1;
        self.bytes += bytes.len();
        self.order.insert(self.arrivals, hash);
        *self.per_author.entry(author).or_default() += 1;
        self.waiting.insert(hash, Waiting { bytes, verified });
        Ok(hash)
    }

    /// The waiting transactions, oldest first, as many as fit into `max_bytes` (with some bytes of
    /// framing each).
    #[must_use]
    pub fn best(&self, max_bytes: usize) -> Vec<Bytes> {
        let mut room = max_bytes;
        let fitting = self.in_order().map_while(|waiting| {
            room = room.checked_sub(waiting.bytes.len() + 8)?;
            Some(waiting.bytes.clone())
        });
        fitting.collect()
    }

    /// A waiting transaction that was verified before.
    #[must_use]
    pub fn verified(&self, hash: &TxHash) -> Option<&Verified> {
        self.waiting.get(hash).map(|waiting| &waiting.verified)
    }

    /// Drops what a block included, and what has become impossible since.
    pub fn after_block(&mut self, view: &dyn View, block: Block<'_>, included: &BTreeSet<TxHash>) {
        let old = std::mem::replace(self, Self::new(self.bounds));
        self.arrivals = old.arrivals;
        let Self { order, mut waiting, .. } = old;
        for hash in order.into_values().filter(|hash| !included.contains(hash)) {
            if let Some(Waiting { bytes, verified }) = waiting.remove(&hash) {
                // Refused now: its sequence was used, its time is over, or its money is gone.
                let _ = self.take(view, block, bytes, verified);
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn in_order(&self) -> impl Iterator<Item = &Waiting> {
        self.order.values().filter_map(|hash| self.waiting.get(hash))
    }

    fn try_on_top(&mut self, view: &dyn View, block: Block<'_>, verified: &Verified) -> Result<(), Refusal> {
        let mut state = State::resume(view, std::mem::take(&mut self.changes));
        let checked = block::check(&mut state, block, verified);
        (self.changes, _) = state.finish();
        checked
    }
}

#[cfg(test)]
mod tests;
