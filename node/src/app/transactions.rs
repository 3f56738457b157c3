//! Transactions on their way into a block: taking them, and telling which wait.

use std::collections::HashSet;

use bytes::Bytes;
use ledger::{Refusal, TxHash, Verified};

use super::{App, lock};
use crate::mempool::{NotTaken, Taken};
use crate::tx::Tx;

/// After so many have been taken, others who wait for the mempool have their turn.
const TAKEN_TOGETHER: usize = 64;

/// A transaction, and what came of its signatures.
pub(crate) type Examined = (Tx, Result<Verified, Refusal>);

/// Who hands a transaction over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Client,
    /// Who hears of it sees to it that others do.
    Peer,
}

impl App {
    /// Takes a transaction into the mempool, where it is ready, or held behind a gap. Blocks for the time of
    /// a signature check.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn submit(&self, bytes: Bytes) -> Result<Taken, NotTaken> {
        self.submit_all(vec![bytes.into()]).remove(0)
    }

    /// As [`App::submit`] of one after the other, their signatures checked on every core.
    pub fn submit_all(&self, transactions: Vec<Tx>) -> Vec<Result<Taken, NotTaken>> {
        let verified = self.verify_all(&transactions);
        self.take_all(transactions.into_iter().zip(verified).collect(), Origin::Client)
    }

    /// Takes one after the other.
    pub(crate) fn take_all(&self, examined: Vec<Examined>, origin: Origin) -> Vec<Result<Taken, NotTaken>> {
        let (mut all, mut examined) = (Vec::with_capacity(examined.len()), examined.into_iter());
        let (mut ready, mut heard) = (Vec::new(), HashSet::new());
        while examined.len() > 0 {
            let next = self.next();
            let mut mempool = lock(&self.mempool);
            all.extend(examined.by_ref().take(TAKEN_TOGETHER).map(|(tx, verified)| {
                let hash = *tx.hash();
                let taken = mempool.take(&self.store, next, tx, verified?)?;
                heard.extend((origin == Origin::Peer).then_some(hash));
                ready.extend(taken.ready.iter().cloned());
                Ok(taken)
            }));
        }
        self.are_ready(ready, &heard);
        all
    }

    /// What [`App::submit`] would say to a transaction if there were room. Blocks for the time of a signature check.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn would_take(&self, tx: Tx) -> Result<(), NotTaken> {
        let verified = self.verify_once(&tx)?;
        let next = self.next();
        lock(&self.mempool).would_take(&self.store, next, tx, verified)
    }

    /// How many transactions wait that can be in the next block.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.mempool).len()
    }

    /// How many transactions wait that can be in the next block, and their bytes together.
    #[must_use]
    pub fn waiting_size(&self) -> (usize, usize) {
        lock(&self.mempool).oldest().fold((0, 0), |(count, sum), tx| (count + 1, sum + tx.bytes().len()))
    }

    /// Whether a transaction waits, ready or held.
    #[cfg(test)]
    pub(crate) fn is_waiting(&self, hash: &TxHash) -> bool {
        lock(&self.mempool).verified(hash).is_some()
    }

    /// Lets somebody look at many: whether each waits, ready or held.
    pub fn among_waiting(&self, look: impl FnOnce(&dyn Fn(&TxHash) -> bool)) {
        let mempool = lock(&self.mempool);
        look(&|hash| mempool.verified(hash).is_some());
    }

    /// Whether a transaction waits behind a gap.
    #[must_use]
    pub fn is_held(&self, hash: &TxHash) -> bool {
        lock(&self.mempool).is_held(hash)
    }

    /// At most `count` of these transactions, oldest first: `wanted`, and able to be in the next block.
    #[must_use]
    pub fn oldest_waiting(&self, count: usize, mut wanted: impl FnMut(&TxHash) -> bool) -> Vec<Tx> {
        let mempool = lock(&self.mempool);
        mempool.oldest().filter(|tx| wanted(tx.hash())).take(count).cloned().collect()
    }

    /// Says that there is work, and what of it this node is to offer: all but what was `heard` just now. Of one author the later
    /// may have been heard first, and become ready with the earlier.
    pub(super) fn are_ready(&self, ready: Vec<Tx>, heard: &HashSet<TxHash>) {
        if !ready.is_empty() {
            self.bell.notify_one();
        }
        for tx in ready.into_iter().filter(|tx| !heard.contains(tx.hash())) {
            // Nobody may be listening.
            let _ = self.to_offer.send(tx);
        }
    }
}
