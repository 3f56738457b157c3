//! Which waiting transaction comes before which.

use std::cmp::Reverse;

use ledger::Verified;
use types::Address;

/// What a byte of a transaction pays, in 2^−32 of the smallest amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(u128);

impl Rate {
    pub(super) fn of(verified: &Verified) -> Self {
        Self((u128::from(verified.transaction().fee.0) << 32) / verified.size_bytes().max(1) as u128)
    }
}

/// How good a transaction is: a higher rate before a lower one, then what came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    pub(super) rate: Rate,
    pub(super) arrival: Reverse<u64>,
}

/// A transaction's place among all; the least is the worst.
///
/// Its worth is the least in its author's queue as far as itself, so that nothing is better than what
/// must go before it: the order by rank keeps every author's sequence, it is the order in which one
/// would choose the best head of all queues again and again, and the worst of all is the last of its
/// queue. Nor can an expensive last transaction keep a long cheap queue from being evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) worth: Worth,
    pub(super) sequence: Reverse<u64>,
    pub(super) author: Address,
}

/// Whose transaction, and which of theirs.
pub(super) type Place = (Address, u64);

impl Rank {
    pub(super) const fn place(&self) -> Place {
        (self.author, self.sequence.0)
    }
}
