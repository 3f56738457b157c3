//! One author's waiting transactions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ledger::{Changes, Verified};
use types::Height;

use super::effect::Effect;
use super::rank::{Place, Rank, Rate, Worth};
use crate::tx::Tx;

/// A transaction that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) tx: Tx,
    pub(super) verified: Verified,
    pub(super) worth: Worth,
}

/// One whose author's earlier ones are all included or ready: it can be in the next block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) waiting: Waiting,
    pub(super) rank: Rank,
    pub(super) effect: Effect,
}

/// One behind a gap: held until the gap closes, or for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) waiting: Waiting,
    pub(super) until: Height,
}

/// What waits of one author, by sequence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    /// One after the other, without a gap.
    pub(super) ready: BTreeMap<u64, Ready>,
    pub(super) held: BTreeMap<u64, Held>,
    /// What the ready ones change, beside purses.
    pub(super) changes: Changes,
}

impl Waiting {
    pub(super) fn new(tx: Tx, verified: Verified, arrival: u64) -> Self {
        let worth = Worth { rate: Rate::of(&verified), arrival: Reverse(arrival) };
        Self { tx, verified, worth }
    }

    pub(super) fn place(&self) -> Place {
        (*self.verified.author(), self.verified.transaction().sequence)
    }

    /// Its rank, right after one of this worth.
    pub(super) fn rank_after(&self, before: Option<Worth>) -> Rank {
        let (author, sequence) = self.place();
        let worth = before.map_or(self.worth, |before| before.min(self.worth));
        Rank { worth, sequence: Reverse(sequence), author }
    }
}

impl Queue {
    /// The worth that the last ready one's rank has.
    pub(super) fn last_worth(&self) -> Option<Worth> {
        self.ready.last_key_value().map(|(_, ready)| ready.rank.worth)
    }

    pub(super) fn waiting(&self, sequence: u64) -> Option<&Waiting> {
        let ready = self.ready.get(&sequence).map(|ready| &ready.waiting);
        ready.or_else(|| self.held.get(&sequence).map(|held| &held.waiting))
    }

    /// Works out again what the ready ones change.
    pub(super) fn sum_up(&mut self) {
        self.changes = self.ready.values().flat_map(|ready| ready.effect.writes.clone()).collect();
    }
}
