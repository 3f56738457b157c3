//! Committing under an engine that keeps the blocks: the state alone becomes durable here.

use anyhow::Context as _;
use ledger::{State, Verified, block};

use super::{App, Finalized, Instant, PoisonError, lock, pace};

impl App {
    /// Makes durable what the finalized block made of the state, in one synced write.
    ///
    /// # Errors
    /// When nothing was finalized, or it is not durable; the node must then not go on.
    pub(crate) fn commit_state(&self) -> anyhow::Result<()> {
        let finalized = lock(&self.finalized).take().context("a commit without a finalized block")?;
        let Finalized { height, hash, time, outcome, update } = finalized;
        let before = self.chain();
        let after = before.after_height(height, hash, time, &self.answer(&outcome, update.as_ref()))?;
        consensus::fault::point("store.commit.before");
        self.store.commit_state(&before, &after, (&outcome.changes, &outcome.notes), update.as_ref())?;
        consensus::fault::point("store.commit.after");
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = after;
        *self.pace.write().unwrap_or_else(PoisonError::into_inner) = pace(&block::params(&State::new(&self.store)));
        lock(&self.executed).clear();
        *lock(&self.committed_at) = Instant::now();
        Ok(())
    }

    /// The transaction of these bytes, its signatures checked: once, as long as it is remembered.
    ///
    /// # Errors
    /// As [`block::verify`].
    pub(crate) fn verify_once(&self, bytes: &[u8]) -> Result<Verified, ledger::Refusal> {
        let hash = types::Hash::sha256(&[bytes]);
        if let Some(known) = lock(&self.checked).get(&hash) {
            return Ok(known.clone());
        }
        let verified = block::verify(bytes)?;
        lock(&self.checked).remember(hash, verified.clone());
        Ok(verified)
    }

    /// How many transactions are remembered as checked.
    #[cfg(test)]
    pub(crate) fn remembered_checks(&self) -> usize {
        lock(&self.checked).len()
    }
}
