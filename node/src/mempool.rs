//! Transactions that wait to be included.
//!
//! Each author has a queue by sequence. What follows without a gap is *ready*, and every ready
//! transaction could be charged if all were included in order of rank (`mempool/rank.rs`): what they
//! take from accounts and allowances is promised to them (`mempool/purses.rs`). A body is tried on the stored state and its
//! author's own earlier transactions only; one that fails later costs its fee and does nothing. What
//! comes behind a gap is *held* for a while: nothing is promised to it, and it makes room for what is
//! ready.
//!
//! A plain value: state and height come in with each call. What a transaction means is asked of the
//! ledger, once when it comes, and again only if something that it depends on turned out otherwise than
//! expected. What may wait is bounded: [`Bounds`].

mod after_block;
mod effect;
mod purses;
mod queue;
mod rank;
mod shelf;
mod trial;

use bytes::Bytes;
use ledger::block::Block;
use ledger::{Changes, Refusal, State, TxHash, Verified, View, account};
use tendermint::abci::response;
use types::{Address, Amount, Height};

use self::effect::Effect;
use self::queue::{Queue, Ready, Waiting};
use self::rank::{Place, Rank};
use self::shelf::Shelf;
use self::trial::Entrance;
use crate::tx::Tx;

/// For so many blocks a transaction is held while its author's earlier ones are missing.
pub const HELD_BLOCKS: u64 = 20;
/// What a replacement pays more at least, in percent of the fee.
pub const REPLACEMENT_PERCENT: u64 = 10;
/// What a transaction costs of a block's room beside its bytes, at most.
const FRAMING: usize = 8;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many transactions: 10,000.
    pub count: usize,
    /// At most this many bytes together: 32 MiB.
    pub bytes: usize,
    /// At most this many ready transactions of one author: 1,000.
    pub per_author: usize,
    /// At most this many of them behind gaps: 1,024.
    pub held: usize,
    /// At most this many of one author behind gaps: 64.
    pub held_per_author: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { count: 10_000, bytes: 32 * 1024 * 1024, per_author: 1_000, held: 1_024, held_per_author: 64 }
    }
}

/// What became of a transaction that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What can be included since: itself, and what waited for it. Nothing if it is held.
    pub ready: Vec<Tx>,
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
    /// No more transactions fit, and none of those that wait pays less.
    #[error("the mempool is full: pay more, or try again after the next block")]
    Full,
    /// Its author has too many waiting.
    #[error("{bound} transactions of this author are waiting already")]
    TooMany {
        /// How many may wait.
        bound: usize,
    },
    /// Another one of this author and sequence waits, and this one does not pay enough to replace it.
    #[error("another transaction waits with this sequence: to replace it, pay {needed} at least")]
    PaysTooLittle {
        /// The least fee of a replacement.
        needed: Amount,
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
            Self::PaysTooLittle { .. } => 4,
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

/// The answer to `CheckTx`, and with the same fields to those who submit over RPC.
impl From<NotTaken> for response::CheckTx {
    fn from(refusal: NotTaken) -> Self {
        Self { code: refusal.code().into(), codespace: refusal.codespace().to_owned(), log: refusal.to_string(), ..Self::default() }
    }
}

/// The waiting transactions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mempool {
    bounds: Bounds,
    shelf: Shelf,
    arrivals: u64,
}

impl Mempool {
    /// An empty one with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Takes a transaction whose signatures hold: as ready, if it is its author's next or replaces one
    /// that is ready, and else as held. Where there is no room for a ready one, what is held goes, and
    /// then what ranks lowest, if this one ranks higher.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing has changed.
    pub fn take(&mut self, view: &dyn View, block: Block<'_>, tx: Tx, verified: Verified) -> Result<Taken, NotTaken> {
        let (waiting, entrance) = self.examine(view, block, tx, verified)?;
        let ready = match entrance {
            Entrance::Next => self.take_ready(view, block, waiting)?,
            Entrance::BehindGap => self.take_held(view, block, waiting)?,
            Entrance::ForReady => self.replace_ready(view, block, waiting)?,
            Entrance::ForHeld => self.replace_held(view, block, waiting)?,
        };
        self.arrivals += 1;
        Ok(Taken { ready })
    }

    /// The ready transactions in the order in which they should be included, as many as fit into
    /// `max_bytes` (with some bytes of framing each): the highest fee for a byte first, but each after
    /// those of its author that precede it.
    #[must_use]
    pub fn best(&self, max_bytes: usize) -> Vec<Bytes> {
        let mut room = max_bytes;
        let ranked = self.shelf.ranking.iter().rev().filter_map(|rank| self.shelf.waiting(rank.place()));
        let fitting = ranked.map_while(|waiting| {
            let bytes = waiting.tx.bytes();
            room = room.checked_sub(bytes.len() + FRAMING)?;
            Some(bytes.clone())
        });
        fitting.collect()
    }

    /// The ready transactions as they came, oldest first.
    pub fn oldest(&self) -> impl Iterator<Item = &Tx> {
        let waiting = self.shelf.arrived.values().filter_map(|place| self.shelf.waiting(*place));
        waiting.map(|waiting| &waiting.tx)
    }

    /// A waiting transaction that was verified before, ready or held.
    #[must_use]
    pub fn verified(&self, hash: &TxHash) -> Option<&Verified> {
        self.shelf.names.get(hash).and_then(|place| self.shelf.waiting(*place)).map(|waiting| &waiting.verified)
    }

    /// Whether a transaction waits behind a gap.
    #[must_use]
    pub fn is_held(&self, hash: &TxHash) -> bool {
        self.shelf.names.get(hash).is_some_and(|place| self.shelf.ready(*place).is_none())
    }

    /// How many are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelf.ranking.len()
    }

    /// Whether none is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shelf.ranking.is_empty()
    }

    /// How many are held behind gaps.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shelf.holding.len()
    }

    /// The sequence that an author's next ready transaction must have.
    fn next(&self, view: &dyn View, author: &Address) -> u64 {
        let last = self.shelf.queues.get(author).and_then(|queue| queue.ready.last_key_value());
        last.map_or_else(|| account::read(&State::new(view), author).sequence, |(last, _)| last + 1)
    }

    fn take_ready(&mut self, view: &dyn View, block: Block<'_>, waiting: Waiting) -> Result<Vec<Tx>, NotTaken> {
        let place = waiting.place();
        let queue = self.shelf.queues.get(&place.0);
        if queue.is_some_and(|queue| queue.ready.len() >= self.bounds.per_author) {
            return Err(NotTaken::TooMany { bound: self.bounds.per_author });
        }
        let rank = waiting.rank_after(queue.and_then(Queue::last_worth));
        let leaving = self.make_room(&waiting, 0, self.shelf.holding.iter().chain(self.shelf.ranking.range(..rank)))?;
        let effect = self.effect(view, block, &waiting)?;
        leaving.into_iter().for_each(|place| self.shelf.forget(place));
        self.shelf.enter(waiting, effect);
        let mut ready = vec![place];
        ready.extend(self.promote(view, block, place.0));
        Ok(self.are_ready(view, block.height, ready))
    }

    fn take_held(&mut self, view: &dyn View, block: Block<'_>, waiting: Waiting) -> Result<Vec<Tx>, NotTaken> {
        let rank = waiting.rank_after(None);
        if self.shelf.queues.get(&rank.author).is_some_and(|queue| queue.held.len() >= self.bounds.held_per_author) {
            return Err(NotTaken::TooMany { bound: self.bounds.held_per_author });
        }
        let leaving = self.make_room(&waiting, 1, self.shelf.holding.range(..rank))?;
        effect::could_be_charged(view, &self.shelf.purses, block, &waiting.verified)?;
        leaving.into_iter().for_each(|place| self.shelf.forget(place));
        self.shelf.hold(waiting, block.height);
        Ok(Vec::new())
    }

    fn replace_ready(&mut self, view: &dyn View, block: Block<'_>, waiting: Waiting) -> Result<Vec<Tx>, NotTaken> {
        let place = waiting.place();
        // The one that is replaced and those after it give back what was promised to them.
        let tail = self.shelf.cut(place).into_iter();
        match self.effect(view, block, &waiting) {
            Ok(effect) => {
                self.shelf.enter(waiting, effect);
                self.again(view, block, tail.skip(1));
                Ok(self.are_ready(view, block.height, vec![place]))
            }
            Err(refusal) => {
                tail.for_each(|Ready { waiting, effect, .. }| self.shelf.enter(waiting, effect));
                Err(refusal.into())
            }
        }
    }

    fn replace_held(&mut self, view: &dyn View, block: Block<'_>, waiting: Waiting) -> Result<Vec<Tx>, NotTaken> {
        effect::could_be_charged(view, &self.shelf.purses, block, &waiting.verified)?;
        self.shelf.forget(waiting.place());
        self.shelf.hold(waiting, block.height);
        Ok(Vec::new())
    }

    fn check_replacement(&self, old: &Waiting, new: &Waiting) -> Result<(), NotTaken> {
        let fee = old.verified.transaction().fee.0;
        let more = u128::from(fee) * u128::from(REPLACEMENT_PERCENT);
        let more = u64::try_from(more.div_ceil(100)).unwrap_or(u64::MAX).max(1);
        let needed = Amount(fee.saturating_add(more));
        if new.verified.transaction().fee < needed {
            return Err(NotTaken::PaysTooLittle { needed });
        }
        if self.shelf.bytes - old.tx.bytes().len() + new.tx.bytes().len() > self.bounds.bytes {
            return Err(NotTaken::Full);
        }
        Ok(())
    }

    /// Which of the `worse` ones, in their order, must go so that this one fits, as one of `held` more
    /// that are held.
    fn make_room<'a>(&self, new: &Waiting, held: usize, mut worse: impl Iterator<Item = &'a Rank>) -> Result<Vec<Place>, NotTaken> {
        let Bounds { count: most, bytes: most_bytes, held: most_held, .. } = self.bounds;
        let (mut count, mut bytes, mut held) =
            (self.shelf.names.len() + 1, self.shelf.bytes + new.tx.bytes().len(), self.shelf.holding.len() + held);
        let mut leaving = Vec::new();
        while count > most || bytes > most_bytes || held > most_held {
            let place = worse.next().ok_or(NotTaken::Full)?.place();
            bytes -= self.shelf.waiting(place).map_or(0, |waiting| waiting.tx.bytes().len());
            count -= 1;
            held = held.saturating_sub(1);
            leaving.push(place);
        }
        Ok(leaving)
    }

    fn effect(&self, view: &dyn View, block: Block<'_>, waiting: &Waiting) -> Result<Effect, Refusal> {
        let none = Changes::new();
        let earlier = self.shelf.queues.get(&waiting.place().0).map_or(&none, |queue| &queue.changes);
        effect::of(view, &self.shelf.purses, earlier, block, &waiting.verified)
    }

    /// Makes ready what was held for want of those that are ready now.
    fn promote(&mut self, view: &dyn View, block: Block<'_>, author: Address) -> Vec<Place> {
        let mut promoted = Vec::new();
        loop {
            let next = self.next(view, &author);
            let Some(queue) = self.shelf.queues.get(&author).filter(|queue| queue.ready.len() < self.bounds.per_author) else { break };
            let Some(waiting) = queue.held.get(&next).map(|held| held.waiting.clone()) else { break };
            self.shelf.forget((author, next));
            let Ok(effect) = self.effect(view, block, &waiting) else { break };
            self.shelf.enter(waiting, effect);
            promoted.push((author, next));
        }
        promoted
    }

    /// What these allow may be less than others were promised. Those of them that are ready then.
    fn are_ready(&mut self, view: &dyn View, height: Height, places: Vec<Place>) -> Vec<Tx> {
        for place in &places {
            let allows = self.shelf.ready(*place).and_then(|ready| ready.effect.allows.clone());
            if let Some((allowance, _)) = allows {
                self.settle(view, &allowance, height);
            }
        }
        places.into_iter().filter_map(|place| self.shelf.ready(place)).map(|ready| ready.waiting.tx.clone()).collect()
    }

    /// Drops the lowest ranks of those who take from a purse until it holds out.
    fn settle(&mut self, view: &dyn View, purse: &[u8], height: Height) {
        while let Some(rank) = self.shelf.purses.too_much(view, purse, height) {
            self.drop_from(rank.place(), height);
        }
    }

    /// Drops a ready transaction; what follows it is held.
    fn drop_from(&mut self, place: Place, height: Height) {
        for Ready { waiting, .. } in self.shelf.cut(place).into_iter().skip(1) {
            self.hold_if_room(waiting, height);
        }
    }

    /// Tries these, which are the next of one author, once more.
    fn again(&mut self, view: &dyn View, block: Block<'_>, tail: impl IntoIterator<Item = Ready>) {
        let mut gap = false;
        for Ready { waiting, .. } in tail {
            if gap {
                self.hold_if_room(waiting, block.height);
                continue;
            }
            match self.effect(view, block, &waiting) {
                Ok(effect) => self.shelf.enter(waiting, effect),
                Err(_) => gap = true,
            }
        }
    }

    fn hold_if_room(&mut self, waiting: Waiting, height: Height) {
        let Bounds { held, held_per_author, .. } = self.bounds;
        let of_author = self.shelf.queues.get(&waiting.place().0).map_or(0, |queue| queue.held.len());
        if self.shelf.holding.len() < held && of_author < held_per_author && waiting.verified.transaction().valid_until >= height {
            self.shelf.hold(waiting, height);
        }
    }
}

#[cfg(test)]
mod tests;
