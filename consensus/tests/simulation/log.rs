//! The engine's log of the current height, in memory: what is not synced may be lost in a crash.

use std::sync::{Arc, Mutex, MutexGuard};

use consensus::malachite::context::{Height, Zynk};
use consensus::malachite::signing::EngineLog;
use malachite::app::consensus::Input;
use malachite::app::types::core::ValueOrigin;

use crate::dice::Dice;

/// A node's log, which its signer syncs before the guard writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    pub(crate) fn open(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("one thread")
    }
}

impl EngineLog for SharedLog {
    fn sync(&self) -> std::io::Result<()> {
        self.open().sync();
        Ok(())
    }
}

/// A log that is not synced for the signer, for [`crate::plan::Bug::LateLog`].
#[derive(Debug)]
pub(crate) struct NoLog;

impl EngineLog for NoLog {
    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of one height.
#[derive(Debug, Default)]
pub(crate) struct Log {
    height: Height,
    entries: Vec<Input<Zynk>>,
    synced: usize,
}

impl Log {
    /// Takes up the log at the start of a height: what is to be replayed, if it is of this height.
    pub(crate) fn begin(&mut self, height: Height) -> Vec<Input<Zynk>> {
        if self.height != height {
            *self = Self { height, ..Self::default() };
        }
        self.entries.clone()
    }

    /// Appends; an entry of another height is ignored, as the engine's log does.
    pub(crate) fn append(&mut self, height: Height, entry: Input<Zynk>) {
        if self.height == height {
            // The engine's log does not keep where a value came from.
            self.entries.push(match entry {
                Input::ProposedValue(value, _) => Input::ProposedValue(value, ValueOrigin::Consensus),
                other => other,
            });
        }
    }

    /// Makes all entries durable.
    pub(crate) const fn sync(&mut self) {
        self.synced = self.entries.len();
    }

    /// A crash: of the entries that were not synced, some of the first are there, and the rest is gone.
    /// Returns how many were lost.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> usize {
        let before = self.entries.len();
        let left = self.synced + dice.place(before - self.synced + 1);
        self.entries.truncate(left);
        self.synced = left;
        before - left
    }

    /// Forgets everything, for [`crate::plan::Bug::LostMemory`].
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
