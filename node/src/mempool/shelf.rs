//! All that waits, and the indexes to find it by. Here nothing is decided.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{Changes, TxHash};
use types::{Address, Height};

use super::HELD_BLOCKS;
use super::effect::Effect;
use super::purses::Purses;
use super::queue::{Held, Queue, Ready, Waiting};
use super::rank::{Place, Rank};

/// The waiting transactions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Shelf {
    pub(super) queues: BTreeMap<Address, Queue>,
    pub(super) names: BTreeMap<TxHash, Place>,
    /// The ready ones, worst first.
    pub(super) ranking: BTreeSet<Rank>,
    /// The held ones, worst first.
    pub(super) holding: BTreeSet<Rank>,
    /// The ready ones as they came.
    pub(super) arrived: BTreeMap<u64, Place>,
    /// When what must be looked at again.
    ends: BTreeSet<(Height, Place)>,
    /// Which ready ones depend on an entry of the state.
    readers: BTreeSet<(Vec<u8>, Place)>,
    pub(super) purses: Purses,
    /// How many bytes all of them have.
    pub(super) bytes: usize,
}

impl Shelf {
    pub(super) fn waiting(&self, (author, sequence): Place) -> Option<&Waiting> {
        self.queues.get(&author)?.waiting(sequence)
    }

    pub(super) fn ready(&self, (author, sequence): Place) -> Option<&Ready> {
        self.queues.get(&author)?.ready.get(&sequence)
    }

    /// Whose ready transactions depend on an entry of the state.
    pub(super) fn readers<'a>(&'a self, at: &'a [u8]) -> impl Iterator<Item = Address> + 'a {
        let first = (at.to_vec(), (Address([0; 20]), 0));
        self.readers.range(first..).take_while(move |(read, _)| read == at).map(|(_, (author, _))| *author)
    }

    /// Takes out what must be looked at before this height.
    pub(super) fn ended(&mut self, height: Height) -> BTreeSet<Place> {
        let later = self.ends.split_off(&(height, (Address([0; 20]), 0)));
        std::mem::replace(&mut self.ends, later).into_iter().map(|(_, place)| place).collect()
    }

    /// Has a ready transaction looked at again after this height.
    pub(super) fn look_again(&mut self, place: Place, until: Height) {
        if let Some(ready) = self.queues.get_mut(&place.0).and_then(|queue| queue.ready.get_mut(&place.1)) {
            self.ends.remove(&(ready.effect.until, place));
            self.ends.insert((until, place));
            ready.effect.until = until;
        }
    }

    /// Forgets the author's transactions before this sequence; what the ready ones of them were expected
    /// to change. The rest is ranked anew, since nothing stands before it any longer.
    pub(super) fn forget_used(&mut self, author: &Address, next: u64) -> Changes {
        let Some(queue) = self.queues.get_mut(author) else { return Changes::new() };
        let rest = queue.ready.split_off(&next);
        let used = std::mem::replace(&mut queue.ready, rest);
        let held: Vec<u64> = queue.held.range(..next).map(|(used, _)| *used).collect();
        used.values().for_each(|ready| self.leave(ready));
        held.into_iter().for_each(|sequence| self.forget((*author, sequence)));
        self.tidy(author);
        if !used.is_empty() {
            self.rank_again(author);
        }
        used.into_values().flat_map(|ready| ready.effect.writes).collect()
    }

    /// Takes this one and those after it out of the ready ones.
    pub(super) fn cut(&mut self, (author, from): Place) -> Vec<Ready> {
        let Some(queue) = self.queues.get_mut(&author) else { return Vec::new() };
        let tail = queue.ready.split_off(&from);
        tail.values().for_each(|ready| self.leave(ready));
        self.tidy(&author);
        tail.into_values().collect()
    }

    /// Adds the next ready transaction of its author.
    pub(super) fn enter(&mut self, waiting: Waiting, effect: Effect) {
        let (author, sequence) = waiting.place();
        let before = self.queues.get(&author).and_then(Queue::last_worth);
        let ready = Ready { rank: waiting.rank_after(before), waiting, effect };
        self.register(&ready);
        let queue = self.queues.entry(author).or_default();
        queue.changes.extend(ready.effect.writes.clone());
        queue.ready.insert(sequence, ready);
    }

    /// Writes a ready transaction into the indexes.
    fn register(&mut self, Ready { waiting, rank, effect }: &Ready) {
        let place = rank.place();
        self.names.insert(*waiting.tx.hash(), place);
        self.ranking.insert(*rank);
        self.arrived.insert(waiting.worth.arrival.0, place);
        self.ends.insert((effect.until, place));
        self.readers.extend(effect.reads.iter().map(|at| (at.clone(), place)));
        self.bytes += waiting.tx.bytes().len();
        effect.takes.iter().for_each(|(purse, amount)| self.purses.promise(purse, *amount, *rank));
        if let Some((allowance, becomes)) = &effect.allows {
            self.purses.cap(allowance, place, *becomes);
        }
    }

    /// Takes a ready transaction out of the indexes.
    fn leave(&mut self, Ready { waiting, rank, effect }: &Ready) {
        let place = rank.place();
        self.names.remove(waiting.tx.hash());
        self.ranking.remove(rank);
        self.arrived.remove(&waiting.worth.arrival.0);
        self.ends.remove(&(effect.until, place));
        for at in &effect.reads {
            self.readers.remove(&(at.clone(), place));
        }
        self.bytes -= waiting.tx.bytes().len();
        effect.takes.iter().for_each(|(purse, amount)| self.purses.release(purse, *amount, rank));
        if let Some((allowance, _)) = &effect.allows {
            self.purses.uncap(allowance, &place);
        }
    }

    /// Holds a transaction until the gap before it closes.
    pub(super) fn hold(&mut self, waiting: Waiting, height: Height) {
        let (author, sequence) = waiting.place();
        let until = waiting.verified.transaction().valid_until.min(Height(height.0.saturating_add(HELD_BLOCKS)));
        self.names.insert(*waiting.tx.hash(), (author, sequence));
        self.holding.insert(waiting.rank_after(None));
        self.ends.insert((until, (author, sequence)));
        self.bytes += waiting.tx.bytes().len();
        self.queues.entry(author).or_default().held.insert(sequence, Held { waiting, until });
    }

    /// Forgets a transaction, ready or held.
    pub(super) fn forget(&mut self, (author, sequence): Place) {
        let Some(queue) = self.queues.get_mut(&author) else { return };
        if let Some(ready) = queue.ready.remove(&sequence) {
            self.leave(&ready);
        } else if let Some(Held { waiting, until }) = queue.held.remove(&sequence) {
            self.names.remove(waiting.tx.hash());
            self.holding.remove(&waiting.rank_after(None));
            self.ends.remove(&(until, (author, sequence)));
            self.bytes -= waiting.tx.bytes().len();
        }
        self.tidy(&author);
    }

    /// Ranks an author's ready transactions anew.
    fn rank_again(&mut self, author: &Address) {
        let Some(queue) = self.queues.get(author) else { return };
        let mut before = None;
        let mut moved = Vec::new();
        for ready in queue.ready.values() {
            let rank = ready.waiting.rank_after(before);
            before = Some(rank.worth);
            if rank != ready.rank {
                moved.push((ready.clone(), rank));
            }
        }
        for (ready, rank) in moved {
            self.leave(&ready);
            let ready = Ready { rank, ..ready };
            self.register(&ready);
            if let Some(queue) = self.queues.get_mut(author) {
                queue.ready.insert(rank.place().1, ready);
            }
        }
    }

    /// After something left a queue: what the rest changes; an empty queue goes.
    fn tidy(&mut self, author: &Address) {
        let Some(queue) = self.queues.get_mut(author) else { return };
        if queue.ready.is_empty() && queue.held.is_empty() {
            self.queues.remove(author);
        } else if !queue.changes.is_empty() {
            queue.sum_up();
        }
    }
}
