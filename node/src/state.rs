//! What a node keeps of its chain: `[state]` of `node.toml`, and the work beside the committing of blocks that holds to it.
//!
//! Two threads: one prunes, one writes a snapshot when it is time. Committing a block never waits for either, but for the
//! moment in which the database is frozen for a snapshot.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{Hash, Height};

use crate::app::App;
use crate::pruning;
use crate::snapshot::{self, Shelf, Source};
use crate::store::frozen::Frozen;

/// How long a commit waits for the database to be frozen.
const FREEZING: Duration = Duration::from_secs(2);

/// The fewest servers that a node syncs its state from: one that lies is found out by another.
pub const MIN_SERVERS: usize = 2;

/// The most servers.
pub const MAX_SERVERS: usize = 16;

/// `[state]` of `node.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many of the newest blocks are kept whole; 0 keeps all of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub keep_blocks: u64,
    /// A snapshot is made at each height that this divides; 0 makes none.
    #[serde(skip_serializing_if = "is_zero")]
    pub snapshot_interval: u64,
    /// How many of the newest snapshots are kept; at least 1, 2 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_keep: Option<usize>,
    /// Where a node without a database gets its first state from; without it, it executes every block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
}

/// `[state.sync]`: whom a new node asks, and what its operator vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The URLs of nodes' RPC, 2 to 16, which should have different operators.
    pub servers: Vec<String>,
    /// A height whose block the operator vouches for, with `trust_hash`. Needed once the genesis is older than the trusting
    /// period of 14 days.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trust_height: Option<Height>,
    /// The hash of that block's header.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trust_hash: Option<Hash>,
}

impl Settings {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be held to.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn check(&self) -> anyhow::Result<()> {
        let least = pruning::MIN_KEPT;
        anyhow::ensure!(self.keep_blocks == 0 || self.keep_blocks >= least, "state.keep_blocks must be 0 or at least {least}");
        anyhow::ensure!(self.snapshot_keep != Some(0), "state.snapshot_keep must be at least 1");
        if let Some(sync) = &self.sync {
            let count = sync.servers.len();
            anyhow::ensure!(
                (MIN_SERVERS..=MAX_SERVERS).contains(&count),
                "state.sync.servers must be {MIN_SERVERS} to {MAX_SERVERS} URLs, not {count}"
            );
            let both = sync.trust_height.is_some() == sync.trust_hash.is_some();
            anyhow::ensure!(both, "state.sync.trust_height and state.sync.trust_hash belong together");
        }
        Ok(())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The work beside committing, and where snapshots lie.
#[derive(Debug)]
pub struct Upkeep {
    app: Weak<App>,
    settings: Settings,
    shelf: Shelf,
    /// Set while a snapshot is being written.
    writing: AtomicBool,
    stop: Arc<AtomicBool>,
    /// Rung when a block was committed.
    committed: (Mutex<bool>, Condvar),
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Upkeep {
    /// Begins it for `app`, with snapshots in `folder`.
    ///
    /// # Errors
    /// When the folder or a thread cannot be made.
    pub fn start(app: &Arc<App>, settings: &Settings, folder: PathBuf) -> anyhow::Result<Arc<Self>> {
        let keep = settings.snapshot_keep.unwrap_or(snapshot::KEPT);
        let shelf = Shelf::open(folder, keep)?;
        let upkeep = Arc::new(Self {
            app: Arc::downgrade(app),
            settings: settings.clone(),
            shelf,
            writing: AtomicBool::new(false),
            stop: Arc::default(),
            committed: (Mutex::new(true), Condvar::new()),
            threads: Mutex::default(),
        });
        if settings.keep_blocks > 0 {
            let pruner = Arc::clone(&upkeep);
            upkeep.thread("pruning", move || pruner.prune())?;
        }
        app.attach(Arc::clone(&upkeep));
        Ok(upkeep)
    }

    /// The snapshots that are here.
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Hears of a block that is durable, on the thread that commits, before the next one.
    pub fn after_commit(&self, height: u64) {
        if self.settings.keep_blocks > 0 {
            *lock(&self.committed.0) = true;
            self.committed.1.notify_one();
        }
        let due = self.settings.snapshot_interval > 0 && height.is_multiple_of(self.settings.snapshot_interval);
        if due && !self.stop.load(Ordering::Relaxed) {
            self.take(height);
        }
    }

    /// Ends both threads and waits for them; a snapshot that is not whole yet is given up.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        *lock(&self.committed.0) = true;
        self.committed.1.notify_one();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }

    /// Freezes the database and has a thread write the snapshot.
    fn take(&self, height: u64) {
        let Some(app) = self.app.upgrade() else { return };
        if self.writing.swap(true, Ordering::AcqRel) {
            tracing::warn!(height, "no snapshot is made: the one before is not written yet");
            return;
        }
        let (frozen, is_frozen) = mpsc::channel();
        let work = move || {
            let view = Frozen::new(app.store());
            // The commit may have given up waiting.
            let _ = frozen.send(());
            let Some(upkeep) = app.upkeep() else { return };
            match (Source { view: &view, genesis: app.genesis(), height }).write(&upkeep.shelf, &upkeep.stop) {
                Ok(Some(manifest)) => {
                    tracing::info!(height, entries = manifest.entries, chunks = manifest.chunks.len(), "made a snapshot");
                }
                Ok(None) => {}
                Err(error) => tracing::error!(height, %error, "no snapshot was made"),
            }
            upkeep.writing.store(false, Ordering::Release);
        };
        match self.thread("snapshot", work) {
            Ok(()) => drop(is_frozen.recv_timeout(FREEZING)),
            Err(error) => {
                self.writing.store(false, Ordering::Release);
                tracing::error!(height, %error, "no snapshot was made");
            }
        }
    }

    fn prune(&self) {
        loop {
            {
                let waiting = lock(&self.committed.0);
                let mut rung = self.committed.1.wait_while(waiting, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
                *rung = false;
            }
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Some(app) = self.app.upgrade() else { return };
                match pruning::step(app.store(), &app.chain(), self.settings.keep_blocks) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::error!(%error, "old blocks could not be dropped; tried again after the next block");
                        break;
                    }
                }
            }
        }
    }

    fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_held_to_are_refused() {
        let check = |text: &str, named: &str| {
            let read = toml::from_str::<Settings>(text).map_err(anyhow::Error::from);
            let error = read.and_then(|settings| settings.check()).map_or_else(|error| format!("{error:#}"), |()| String::new());
            assert!(if named.is_empty() { error.is_empty() } else { error.contains(named) }, "{text}: {error}");
        };
        let hash = "ab".repeat(32);
        check("", "");
        check("keep_blocks = 10\nsnapshot_interval = 100\nsnapshot_keep = 1", "");
        check("keep_blocks = 9", "at least 10");
        check("snapshot_keep = 0", "at least 1");
        check("sync = { servers = [\"http://one\"] }", "2 to 16");
        check("sync = { servers = [\"http://one\", \"http://two\"] }", "");
        check("sync = { servers = [\"http://one\", \"http://two\"], trust_height = 7 }", "belong together");
        check(&format!("sync = {{ servers = [\"http://one\", \"http://two\"], trust_height = 7, trust_hash = \"{hash}\" }}"), "");
        check("keep = 10", "unknown field");
    }
}
