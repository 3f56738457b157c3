//! Transactions whose signatures were checked, until blocks have passed over them; and those that are being checked, so that
//! nobody does it a second time meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ledger::{TxHash, Verified};

/// At most this many are remembered: three times what CometBFT's mempool holds unless told otherwise.
const COUNT: usize = 16_384;
/// Of at most this many bytes together.
const BYTES: usize = 32 << 20;

/// Verified transactions by their hash; the oldest go first.
#[derive(Debug, Default)]
pub struct Checked {
    shelf: Mutex<Shelf>,
    /// Told when something is no longer being checked.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    known: HashMap<TxHash, Verified>,
    order: VecDeque<TxHash>,
    bytes: usize,
    under_way: HashSet<TxHash>,
}

/// What is known of a transaction.
#[derive(Debug)]
pub enum Found {
    /// It was checked.
    Known(Verified),
    /// It is the asker's to check.
    Ours,
    /// Somebody else is checking it; see [`Checked::wait`].
    Theirs,
}

/// What somebody checks. Others wait for it until this is settled or dropped.
#[derive(Debug)]
pub struct Claim<'a> {
    checked: &'a Checked,
    hashes: Vec<TxHash>,
}

impl Checked {
    /// What is known of these, and the claim to check the others. `elsewhere`: what is known without asking here, one for each.
    pub fn claim(&self, hashes: &[TxHash], elsewhere: Vec<Option<Verified>>) -> (Vec<Found>, Claim<'_>) {
        let mut ours = Vec::new();
        let mut shelf = self.shelf();
        let mut find = |(hash, elsewhere): (&TxHash, Option<Verified>)| {
            if let Some(known) = elsewhere.or_else(|| shelf.known.get(hash).cloned()) {
                return Found::Known(known);
            }
            if !shelf.under_way.insert(*hash) {
                return Found::Theirs;
            }
            ours.push(*hash);
            Found::Ours
        };
        let found = hashes.iter().zip(elsewhere).map(&mut find).collect();
        drop(shelf);
        (found, Claim { checked: self, hashes: ours })
    }

    /// What came of a transaction that somebody else was checking; none if its signatures do not hold. Nobody may wait
    /// while he has a claim: another one might wait for that.
    #[must_use]
    pub fn wait(&self, hash: &TxHash) -> Option<Verified> {
        let shelf = self.done.wait_while(self.shelf(), |shelf| shelf.under_way.contains(hash));
        shelf.unwrap_or_else(PoisonError::into_inner).known.get(hash).cloned()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelf().known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// Remembers what holds of it. Each hash is that of the bytes that were checked.
    pub fn settle(self, holds: impl IntoIterator<Item = (TxHash, Verified)>) {
        let mut shelf = self.checked.shelf();
        for (hash, verified) in holds {
            shelf.remember(hash, verified);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.hashes.is_empty() {
            return;
        }
        let mut shelf = self.checked.shelf();
        for hash in &self.hashes {
            shelf.under_way.remove(hash);
        }
        drop(shelf);
        self.checked.done.notify_all();
    }
}

impl Shelf {
    fn remember(&mut self, hash: TxHash, verified: Verified) {
        let size = verified.size_bytes();
        if self.known.insert(hash, verified).is_some() {
            return;
        }
        self.order.push_back(hash);
        self.bytes += size;
        while self.known.len() > COUNT || self.bytes > BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.known.remove(&oldest).map_or(0, |gone| gone.size_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use bytes::Bytes;
    use ledger::block;
    use types::Hash;

    use super::*;
    use crate::testing::Bench;

    fn hash(bytes: &Bytes) -> TxHash {
        Hash::sha256(&[bytes])
    }

    fn words(found: &[Found]) -> Vec<&'static str> {
        let word = |found: &Found| match found {
            Found::Known(_) => "known",
            Found::Ours => "ours",
            Found::Theirs => "theirs",
        };
        found.iter().map(word).collect()
    }

    #[test]
    fn who_comes_second_waits_for_the_first() {
        let (bench, checked) = (Bench::new(), Checked::default());
        let [good, bad, left] = [0, 1, 2].map(|number| bench.transfer(number));
        let verified = block::verify(&good).expect("its signature holds");
        let (found, claim) = checked.claim(&[hash(&good), hash(&bad), hash(&good)], vec![None; 3]);
        assert_eq!(words(&found), ["ours", "ours", "theirs"], "once, also of one asker");
        let (found, other) = checked.claim(&[hash(&good), hash(&left), hash(&bad)], vec![None, Some(verified.clone()), None]);
        assert_eq!(words(&found), ["theirs", "known", "theirs"]);
        drop(other);
        std::thread::scope(|scope| {
            let (told, waited) = mpsc::channel();
            let (checked, good, bad) = (&checked, &good, &bad);
            let waiting = scope.spawn(move || {
                let good = checked.wait(&hash(good)).is_some();
                told.send(()).expect("somebody listens");
                (good, checked.wait(&hash(bad)).is_some())
            });
            assert!(waited.recv_timeout(Duration::from_millis(100)).is_err(), "nothing is known yet");
            claim.settle([(hash(good), verified.clone())]);
            assert_eq!(waiting.join().expect("it ends"), (true, false), "of what does not hold nothing is known");
        });
        let (found, claim) = checked.claim(&[hash(&good), hash(&bad)], vec![None, None]);
        assert_eq!(words(&found), ["known", "ours"]);
        // Whoever gives up leaves it to others.
        drop(claim);
        assert!(checked.wait(&hash(&bad)).is_none());
        assert_eq!(words(&checked.claim(&[hash(&bad)], vec![None]).0), ["ours"]);
        assert_eq!(checked.len(), 1);
    }
}
