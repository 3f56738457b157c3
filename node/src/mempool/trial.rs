//! What the mempool would say to a transaction, without taking it.

use bytes::Bytes;
use ledger::block::Block;
use ledger::{Refusal, Verified, View};
use types::Hash;

use super::queue::Waiting;
use super::{Mempool, NotTaken, effect};

impl Mempool {
    /// Whether [`Mempool::take`] would take it, if there were room.
    ///
    /// # Errors
    /// [`NotTaken`]: what it would answer.
    pub fn would_take(&self, view: &dyn View, block: Block<'_>, bytes: Bytes, verified: Verified) -> Result<(), NotTaken> {
        let hash = Hash::sha256(&[&bytes]);
        if self.shelf.names.contains_key(&hash) {
            return Err(NotTaken::Waiting);
        }
        let transaction = verified.transaction();
        if transaction.chain != *block.chain {
            let (found, expected) = (transaction.chain.to_string(), block.chain.to_string());
            return Err(Refusal::WrongChain { found, expected }.into());
        }
        let waiting = Waiting::new(hash, bytes, verified, self.arrivals + 1);
        let (author, sequence) = waiting.place();
        let next = self.next(view, &author);
        let other = self.shelf.queues.get(&author).and_then(|queue| queue.waiting(sequence));
        match (other, sequence.cmp(&next)) {
            (Some(other), _) => self.check_replacement(other, &waiting),
            (None, std::cmp::Ordering::Less) => Err(Refusal::StaleSequence { found: sequence, expected: next }.into()),
            (None, std::cmp::Ordering::Equal) => Ok(self.effect(view, block, &waiting).map(drop)?),
            (None, std::cmp::Ordering::Greater) => Ok(effect::could_be_charged(view, &self.shelf.purses, block, &waiting.verified)?),
        }
    }
}
