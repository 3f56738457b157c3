//! Committing under an engine that keeps the blocks: the state alone becomes durable here.

use anyhow::Context as _;
use ledger::{State, block};

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
        self.set_state(after);
        *self.pace.write().unwrap_or_else(PoisonError::into_inner) = pace(&block::params(&State::new(&self.store)));
        lock(&self.executed).clear();
        *lock(&self.committed_at) = Instant::now();
        Ok(())
    }
}
