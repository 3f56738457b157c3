//! What became of every transaction: nothing may be lost, and nothing come twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use types::Hash;

use super::super::figures::Spread;
use super::prepared::Prepared;

/// The most broken promises, and kinds of refusals, that are named.
const MAX_NAMED: usize = 20;

/// When something was, in microseconds since the book was opened, and 1; 0 is never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    /// Notes the time; whether it is the first.
    fn note(&self, at: Duration) -> bool {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1) + 1;
        self.0.compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn get(&self) -> Option<Duration> {
        self.0.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }
}

#[derive(Debug, Default)]
struct Entry {
    sent: Moment,
    committed: Moment,
    refused: Moment,
}

/// A block as the follower saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) height: u64,
    pub(super) at: Duration,
    pub(super) transactions: usize,
    pub(super) anchors: usize,
}

/// What is known of every transaction.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) prepared: Arc<Prepared>,
    /// Who takes a permit may send one; it comes back with its block.
    pub(super) window: Semaphore,
    opened: Instant,
    entries: Vec<Entry>,
    blocks: Mutex<Vec<Seen>>,
    wrong: Mutex<Vec<String>>,
    refusals: Mutex<BTreeMap<String, u64>>,
    /// How often a full mempool, or one that was too busy, was asked again.
    again: AtomicU64,
}

impl Book {
    pub(super) fn new(prepared: Arc<Prepared>, window: usize) -> Self {
        let entries = std::iter::repeat_with(Entry::default).take(prepared.len()).collect();
        Self {
            prepared,
            window: Semaphore::new(window),
            opened: Instant::now(),
            entries,
            blocks: Mutex::default(),
            wrong: Mutex::default(),
            refusals: Mutex::default(),
            again: AtomicU64::new(0),
        }
    }

    /// The time of this book.
    pub(super) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A transaction is about to be sent, or was to be at this moment.
    pub(super) fn sends(&self, index: usize, at: Duration) {
        self.entries[index].sent.note(at);
    }

    pub(super) fn is_committed(&self, index: usize) -> bool {
        self.entries[index].committed.get().is_some()
    }

    /// It was refused for good.
    pub(super) fn refused(&self, index: usize, why: String) {
        self.entries[index].refused.note(self.now());
        self.window.add_permits(1);
        let mut refusals = lock(&self.refusals);
        if refusals.len() < MAX_NAMED || refusals.contains_key(&why) {
            *refusals.entry(why).or_default() += 1;
        }
    }

    /// It found no room, and is sent again.
    pub(super) fn found_no_room(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }

    /// A block has come with these transactions.
    pub(super) fn block(&self, height: u64, names: &[Hash]) {
        let (at, mut anchors) = (self.now(), 0);
        for name in names {
            let Some(index) = self.prepared.find(name) else {
                self.is_wrong(format!("block {height} has a transaction {name} that nobody sent"));
                continue;
            };
            if !self.entries[index].committed.note(at) {
                self.is_wrong(format!("transaction {name} is in two blocks, the second at height {height}"));
                continue;
            }
            if self.entries[index].refused.get().is_some() {
                self.is_wrong(format!("transaction {name} was refused, and is in block {height}"));
                continue;
            }
            anchors += usize::from(self.prepared.is_anchor(index));
            self.window.add_permits(1);
        }
        lock(&self.blocks).push(Seen { height, at, transactions: names.len(), anchors });
    }

    pub(super) fn is_wrong(&self, words: String) {
        let mut wrong = lock(&self.wrong);
        if wrong.len() < MAX_NAMED {
            wrong.push(words);
        }
    }

    /// How many were sent, came into a block, and were refused.
    pub(super) fn account(&self) -> (usize, usize, usize) {
        let count = |of: fn(&Entry) -> &Moment| self.entries.iter().filter(|entry| of(entry).get().is_some()).count();
        (count(|entry| &entry.sent), count(|entry| &entry.committed), count(|entry| &entry.refused))
    }

    /// How long those took that were sent in this time, from there until a block with them was seen; how many of
    /// them none has come of.
    pub(super) fn latencies(&self, from: Duration, until: Duration) -> (Spread, usize) {
        let sent = self.entries.iter().filter_map(|entry| Some((entry.sent.get().filter(|sent| (from..until).contains(sent))?, entry)));
        let (mut times, mut missing) = (Vec::new(), 0);
        for (sent, entry) in sent {
            match entry.committed.get() {
                Some(committed) => times.push(committed.saturating_sub(sent)),
                None => missing += usize::from(entry.refused.get().is_none()),
            }
        }
        (Spread::of(times), missing)
    }

    /// The blocks that were seen in this time.
    pub(super) fn blocks(&self, from: Duration, until: Duration) -> Vec<Seen> {
        lock(&self.blocks).iter().filter(|seen| (from..until).contains(&seen.at)).copied().collect()
    }

    /// How many of a lane's transactions are in blocks.
    pub(super) fn committed_of(&self, lane: usize) -> usize {
        (0..self.prepared.each).filter(|place| self.is_committed(self.prepared.index(lane, *place))).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let (sent, committed, refused) = self.account();
        let (wrong, refusals) = (lock(&self.wrong).clone(), lock(&self.refusals).clone());
        Verdict { sent, committed, refused, again: self.again.load(Ordering::Relaxed), refusals, wrong }
    }
}

/// What became of all that was sent.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) sent: usize,
    pub(super) committed: usize,
    pub(super) refused: usize,
    pub(super) again: u64,
    pub(super) refusals: BTreeMap<String, u64>,
    pub(super) wrong: Vec<String>,
}

impl Verdict {
    /// Whether each is in one block or was refused, and state and validators agree with that.
    pub(super) const fn holds(&self) -> bool {
        self.sent > 0 && self.lost() == 0 && self.wrong.is_empty()
    }

    pub(super) const fn lost(&self) -> usize {
        self.sent.saturating_sub(self.committed + self.refused)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "held": self.holds(), "sent": self.sent, "committed": self.committed, "refused": self.refused, "lost": self.lost(),
            "sent_again": self.again, "refusals": self.refusals, "wrong": self.wrong,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
