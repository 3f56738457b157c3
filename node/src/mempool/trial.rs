//! What the mempool makes of a transaction, before anything is changed by it.

use std::cmp::Ordering;

use ledger::block::Block;
use ledger::{Refusal, Verified, View};

use super::queue::Waiting;
use super::{Mempool, NotTaken, effect};
use crate::tx::Tx;

/// How a transaction comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// As its author's next.
    Next,
    /// Behind a gap.
    BehindGap,
    /// In place of one that is ready.
    ForReady,
    /// In place of one that is held.
    ForHeld,
}

impl Mempool {
    /// Whether [`Mempool::take`] would take it, if there were room.
    ///
    /// # Errors
    /// [`NotTaken`]: what it would answer.
    pub fn would_take(&self, view: &dyn View, block: Block<'_>, tx: Tx, verified: Verified) -> Result<(), NotTaken> {
        let (waiting, entrance) = self.examine(view, block, tx, verified)?;
        match entrance {
            Entrance::Next => Ok(self.effect(view, block, &waiting).map(drop)?),
            Entrance::BehindGap => Ok(effect::could_be_charged(view, &self.shelf.purses, block, &waiting.verified)?),
            Entrance::ForReady | Entrance::ForHeld => Ok(()),
        }
    }

    /// How a transaction whose signatures hold would come in, by its name, its chain and its place among those that wait.
    ///
    /// # Errors
    /// [`NotTaken`]: it waits, is of another chain, its sequence was used, or it pays too little for a replacement or has no
    /// room as one.
    pub(super) fn examine(&self, view: &dyn View, block: Block<'_>, tx: Tx, verified: Verified) -> Result<(Waiting, Entrance), NotTaken> {
        if self.shelf.names.contains_key(tx.hash()) {
            return Err(NotTaken::Waiting);
        }
        let transaction = verified.transaction();
        if transaction.chain != *block.chain {
            let (found, expected) = (transaction.chain.to_string(), block.chain.to_string());
            return Err(Refusal::WrongChain { found, expected }.into());
        }
        let waiting = Waiting::new(tx, verified, self.arrivals + 1);
        let (author, sequence) = waiting.place();
        let next = self.next(view, &author);
        let other = self.shelf.queues.get(&author).and_then(|queue| queue.waiting(sequence));
        if let Some(other) = other {
            self.check_replacement(other, &waiting)?;
        }
        let entrance = match (other, sequence.cmp(&next)) {
            (Some(_), Ordering::Less) => Entrance::ForReady,
            (Some(_), _) => Entrance::ForHeld,
            (None, Ordering::Less) => return Err(Refusal::StaleSequence { found: sequence, expected: next }.into()),
            (None, Ordering::Equal) => Entrance::Next,
            (None, Ordering::Greater) => Entrance::BehindGap,
        };
        Ok((waiting, entrance))
    }
}
