//! Evidence that waits to stand in a block.
//!
//! What waits holds after the last block: it is judged when it comes, and again after each block. It
//! is kept in the store too, so it survives the process. Evidence about the last block, which only the
//! next one settles, is held in memory until then.

use std::collections::{BTreeMap, VecDeque};

use consensus::evidence::{self, BadEvidence, Mark, bytes};
use consensus::{ChainState, History as _};
use tendermint::evidence::{Evidence, List};

use crate::store::Store;

/// At most this many pieces wait. There is one for each validator that voted twice, and attacks take
/// the keys of more than a third.
const MAX_WAITING: usize = 64;

/// At most this many are held until the next block; a newer one pushes the oldest out.
const MAX_HELD: usize = 8;

/// What became of evidence that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It waits now.
    New,
    /// The same misdeed waits already.
    Waiting,
    /// It is held until the next block.
    Held,
    /// The same misdeed stands in a block already.
    Committed,
}

/// Why evidence is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It does not hold.
    #[error(transparent)]
    Refused(#[from] BadEvidence),
    /// No more can wait.
    #[error("{MAX_WAITING} pieces of evidence are waiting already")]
    Full,
}

impl NotTaken {
    /// Its number in the codespace `evidence`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Full => 18,
        }
    }
}

/// The waiting evidence.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: BTreeMap<Mark, Evidence>,
    held: VecDeque<Evidence>,
}

impl Pool {
    /// Takes up what waited in the store when the process ended.
    #[must_use]
    pub fn open(store: &Store, state: &ChainState) -> Self {
        let waiting = store.pending_evidence().into_iter().map(|evidence| (evidence::mark(&evidence), evidence)).collect();
        let mut pool = Self { waiting, held: VecDeque::new() };
        pool.sweep(store, state);
        pool
    }

    /// Whether none waits. What is held does not count: the next block comes without it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes evidence that holds after the block of `state`.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(&mut self, store: &Store, state: &ChainState, evidence: Evidence) -> Result<Taken, NotTaken> {
        if let Some(known) = self.known(store, &evidence) {
            return Ok(known);
        }
        let verdict = judge(store, state, &evidence);
        self.admit(store, evidence, verdict)
    }

    /// Where the misdeed is already, if this node knows it.
    #[must_use]
    pub fn known(&self, store: &Store, evidence: &Evidence) -> Option<Taken> {
        let mark = evidence::mark(evidence);
        let waits = self.waiting.contains_key(&mark).then_some(Taken::Waiting);
        waits.or_else(|| store.is_committed(&mark).then_some(Taken::Committed))
    }

    /// Takes evidence with the verdict of [`judge`], between which and this no block may have come.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn admit(&mut self, store: &Store, evidence: Evidence, verdict: Result<(), BadEvidence>) -> Result<Taken, NotTaken> {
        match verdict {
            Ok(()) => {}
            Err(BadEvidence::Early) => {
                self.hold(evidence);
                return Ok(Taken::Held);
            }
            Err(refusal) => return Err(refusal.into()),
        }
        if let Some(known) = self.known(store, &evidence) {
            return Ok(known);
        }
        if self.waiting.len() == MAX_WAITING {
            return Err(NotTaken::Full);
        }
        if let Err(error) = store.keep_evidence(&evidence) {
            tracing::error!(%error, "evidence waits in memory alone: it could not be written");
        }
        for misdeed in evidence::misbehavior(&List::new([evidence.clone()])) {
            let offender = tendermint::account::Id::new(misdeed.validator.address);
            tracing::warn!(%offender, height = %misdeed.height, kind = ?misdeed.kind, "evidence against a validator waits for a block");
        }
        self.waiting.insert(evidence::mark(&evidence), evidence);
        Ok(Taken::New)
    }

    /// What waits, as far as a list of `max_bytes` takes it.
    #[must_use]
    pub fn best(&self, max_bytes: usize) -> Vec<Evidence> {
        let mut room = max_bytes;
        let fits = |evidence: &&Evidence| match room.checked_sub(size(evidence)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        self.waiting.values().filter(fits).cloned().collect()
    }

    /// Drops what stands in the block of `state` or has expired, and judges what was held for it;
    /// whether some of that waits now.
    pub fn after_block(&mut self, store: &Store, state: &ChainState) -> bool {
        let held = std::mem::take(&mut self.held);
        self.sweep(store, state);
        let taken = held.into_iter().map(|evidence| self.take(store, state, evidence));
        taken.filter(|taken| *taken == Ok(Taken::New)).count() > 0
    }

    fn hold(&mut self, evidence: Evidence) {
        if self.held.contains(&evidence) {
            return;
        }
        if self.held.len() == MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(evidence);
    }

    fn sweep(&mut self, store: &Store, state: &ChainState) {
        let mut early = Vec::new();
        self.waiting.retain(|mark, evidence| {
            let verdict = evidence::verify(evidence, state, store);
            if verdict == Err(BadEvidence::Early) {
                early.push(evidence.clone());
            }
            if let Err(reason) = &verdict {
                tracing::debug!(%reason, "evidence waits no more");
                if let Err(error) = store.drop_evidence(mark) {
                    tracing::error!(%error, "evidence that waits no more could not be dropped");
                }
            }
            verdict.is_ok()
        });
        // A block that was above the chain is beside its last one now.
        early.into_iter().for_each(|evidence| self.hold(evidence));
    }
}

/// Judges evidence for the block after `state`. Reads blocks and checks signatures: whoever holds the pool's lock
/// meanwhile makes the engine wait for strangers.
///
/// # Errors
/// [`BadEvidence`].
pub fn judge(store: &Store, state: &ChainState, evidence: &Evidence) -> Result<(), BadEvidence> {
    let (found, bound) = (size(evidence), evidence::max_bytes(&state.params));
    if found > bound {
        return Err(BadEvidence::TooLarge { found, bound });
    }
    evidence::verify(evidence, state, store)
}

/// What a piece takes of a list; a list takes the sum.
fn size(evidence: &Evidence) -> usize {
    bytes::list_size(&List::new([evidence.clone()]))
}

#[cfg(test)]
mod tests;
