//! One device's mailbox as numbers: which was given last, which are acknowledged, how much is left.
//!
//! Numbers are given from 1 without a gap, and never twice. What is stored is exactly what was given
//! and is neither acknowledged nor expired; so the shell keeps the items under their numbers, and this
//! head beside them, in the same write.
//!
//! Bounds: [`MAX_STORED`] items of together [`MAX_BYTES`] bytes; [`MAX_RUNS`] runs of numbers
//! acknowledged out of turn.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use types::{Decode, DecodeError, Encode, List, Millis, Reader};

use crate::frame::MAX_NUMBER;

/// The most items that a mailbox holds.
pub const MAX_STORED: u64 = 1 << 16;

/// The most bytes that the items of a mailbox have together: 64 MiB.
pub const MAX_BYTES: u64 = 64 << 20;

/// The most runs of numbers that are remembered as acknowledged out of turn. A device that
/// acknowledges only what it was given cannot come near: between two runs there is an item that is
/// under way, and at most [`MAX_UNACKNOWLEDGED`](crate::session::MAX_UNACKNOWLEDGED) are.
pub const MAX_RUNS: usize = 512;

/// How long an item waits for its device, in milliseconds: 30 days. The ids of messages are
/// remembered as long.
pub const RETENTION_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// Whether an item that was stored at `received_at` has waited for [`RETENTION_MS`].
#[must_use]
pub const fn is_expired(received_at: Millis, now: Millis) -> bool {
    now.0.saturating_sub(received_at.0) >= RETENTION_MS
}

/// The version of a queue's bytes, their first.
const VERSION: u8 = 1;

/// A mailbox's head. A new mailbox's is the default.
///
/// Bytes: version (1), last number given, last number up to which all is gone, runs that are gone
/// beyond it (list of at most [`MAX_RUNS`] pairs: first, last), bytes stored; all numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// The last number given; 0 before the first.
    last: u64,
    /// Up to this number everything is acknowledged or expired.
    acknowledged: u64,
    /// Numbers beyond that are acknowledged too: ascending runs, neither touching another nor
    /// `acknowledged`.
    runs: List<Run, MAX_RUNS>,
    /// Of the items that are stored, together.
    bytes: u64,
}

/// A mailbox that takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox is full")]
pub struct Full;

/// The device says that it has more than this mailbox ever gave: the mailbox is an old copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device has number {claimed}, the mailbox gave only up to {last}")]
pub struct Ahead {
    /// What the device says.
    pub claimed: u64,
    /// The last number given here.
    pub last: u64,
}

impl Ahead {
    /// The error's number: stable. The device opens again with 0 and knows repeats by their message id.
    pub const CODE: u32 = 2301;
}

/// Which items to delete, in the write that stores the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deletions(
    /// Ascending, apart from each other; every number in them is stored.
    pub Vec<RangeInclusive<u64>>,
);

impl Deletions {
    /// The numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().cloned().flatten()
    }

    /// Whether there is nothing to delete.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Queue {
    /// Gives the next number to an item of `bytes` bytes.
    ///
    /// # Errors
    /// [`Full`], and nothing is changed.
    pub fn push(&mut self, bytes: u64) -> Result<u64, Full> {
        if !self.has_room(1, bytes) || self.last >= MAX_NUMBER {
            return Err(Full);
        }
        self.last += 1;
        self.bytes += bytes;
        Ok(self.last)
    }

    /// Whether so many more items, of so many bytes together, fit.
    #[must_use]
    pub fn has_room(&self, items: u64, bytes: u64) -> bool {
        self.items().saturating_add(items) <= MAX_STORED && self.bytes.saturating_add(bytes) <= MAX_BYTES
    }

    /// The device has stored everything up to `upto`, and `also`. Numbers that were never given
    /// are passed over, and so are those that are gone already: to acknowledge twice is to
    /// acknowledge once.
    ///
    /// `size`: the bytes of the stored item with this number, as given to [`Self::push`]; asked once
    /// for each number that is deleted.
    pub fn acknowledge(&mut self, upto: u64, also: &[u64], mut size: impl FnMut(u64) -> u64) -> Deletions {
        let mut deleted = Deletions::default();
        let upto = upto.min(self.last);
        for gap in self.stored_upto(upto) {
            deleted.0.push(gap);
        }
        self.acknowledged = self.acknowledged.max(upto);
        self.absorb();
        let also: BTreeSet<u64> = also.iter().copied().collect();
        for number in also {
            if self.is_stored(number) && self.remember(number) {
                match deleted.0.last_mut().filter(|range| range.end() + 1 == number) {
                    Some(range) => *range = *range.start()..=number,
                    None => deleted.0.push(number..=number),
                }
            }
        }
        let freed = deleted.numbers().fold(0u64, |sum, number| sum.saturating_add(size(number)));
        self.bytes = if self.items() == 0 { 0 } else { self.bytes.saturating_sub(freed) };
        deleted
    }

    /// Items up to `upto` have waited too long ([`is_expired`]). They go as if they were acknowledged.
    pub fn expire(&mut self, upto: u64, size: impl FnMut(u64) -> u64) -> Deletions {
        self.acknowledge(upto, &[], size)
    }

    /// A device opens a session and says that it has stored everything up to `claimed`: takes it as an
    /// acknowledgement. Delivery goes on above [`Self::acknowledged`].
    ///
    /// # Errors
    /// [`Ahead`] if that was never given. To believe it would let numbers pass for repeats that are
    /// new; to answer it with the next number would leave out what came in meanwhile.
    pub fn resume(&mut self, claimed: u64, size: impl FnMut(u64) -> u64) -> Result<Deletions, Ahead> {
        if claimed > self.last {
            return Err(Ahead { claimed, last: self.last });
        }
        Ok(self.acknowledge(claimed, &[], size))
    }

    /// Whether the item with this number is stored.
    #[must_use]
    pub fn is_stored(&self, number: u64) -> bool {
        number > self.acknowledged && number <= self.last && !self.runs.iter().any(|run| run.first <= number && number <= run.last)
    }

    /// The last number given; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Up to this number nothing is stored.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many items are stored.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.last - self.acknowledged - self.runs.iter().map(Run::len).sum::<u64>()
    }

    /// How many bytes they have together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The ranges of stored numbers, up to `upto` with it.
    #[must_use]
    pub fn stored_upto(&self, upto: u64) -> Vec<RangeInclusive<u64>> {
        let upto = upto.min(self.last);
        let mut ranges = Vec::new();
        let mut next = self.acknowledged + 1;
        for run in &self.runs {
            if next < run.first && next <= upto {
                ranges.push(next..=upto.min(run.first - 1));
            }
            next = run.last + 1;
        }
        if next <= upto {
            ranges.push(next..=upto);
        }
        ranges
    }

    /// Takes in the runs that the acknowledged prefix has reached.
    fn absorb(&mut self) {
        let acknowledged = &mut self.acknowledged;
        self.runs.retain(|run| {
            let reached = run.first <= *acknowledged + 1;
            if reached {
                *acknowledged = (*acknowledged).max(run.last);
            }
            !reached
        });
    }

    /// Notes that a stored number is gone. False if there is no room to note it: it stays, and its
    /// device is given it again.
    fn remember(&mut self, number: u64) -> bool {
        if number == self.acknowledged + 1 {
            self.acknowledged = number;
            self.absorb();
            return true;
        }
        let mut runs = std::mem::take(&mut self.runs).into_vec();
        let at = runs.partition_point(|run| run.last < number);
        let follows = at > 0 && runs[at - 1].last + 1 == number;
        let precedes = at < runs.len() && runs[at].first == number + 1;
        let room = runs.len() < MAX_RUNS;
        let done = match (follows, precedes) {
            (true, true) => {
                runs[at - 1].last = runs[at].last;
                runs.remove(at);
                true
            }
            (true, false) => {
                runs[at - 1].last = number;
                true
            }
            (false, true) => {
                runs[at].first = number;
                true
            }
            (false, false) if room => {
                runs.insert(at, Run { first: number, last: number });
                true
            }
            (false, false) => false,
        };
        self.runs = runs.try_into().expect("one more only where there was room");
        done
    }
}

/// Numbers that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}
types::codec!(Run { first, last });

impl Run {
    const fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl Encode for Queue {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.last.encode(out);
        self.acknowledged.encode(out);
        self.runs.encode(out);
        self.bytes.encode(out);
    }
}

impl Decode for Queue {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "queue version", found }),
        }
        let queue = Self {
            last: u64::decode(reader)?,
            acknowledged: u64::decode(reader)?,
            runs: List::decode(reader)?,
            bytes: u64::decode(reader)?,
        };
        // The least number that the next run may begin with: one apart from what is gone before it.
        let mut least = queue.acknowledged.checked_add(2);
        for run in &queue.runs {
            if least.is_none_or(|least| run.first < least) || run.last < run.first || run.last > queue.last {
                return Err(DecodeError::Value { what: "queue (runs)" });
            }
            least = run.last.checked_add(2);
        }
        if queue.acknowledged > queue.last || queue.last > MAX_NUMBER {
            return Err(DecodeError::Value { what: "queue (numbers)" });
        }
        if queue.items() > MAX_STORED || queue.bytes > MAX_BYTES || (queue.items() == 0 && queue.bytes > 0) {
            return Err(DecodeError::Value { what: "queue (bounds)" });
        }
        Ok(queue)
    }
}

#[cfg(test)]
mod tests;
