//! Crash points, for tests of recovery: a place just before or after a durable write at which a
//! debug build can be told to die.
//!
//! `ZYNK_FAULT=guard.append.before:3` ends the process, as SIGKILL would, the third time that the
//! point is reached, and says so on standard error. Release builds have no crash points.

/// Every crash point there is; the tests of recovery kill at each of them.
pub const POINTS: [&str; 8] = [
    "proposal.keep.before",
    "proposal.keep.after",
    "guard.append.before",
    "guard.append.after",
    "guard.compact.before",
    "guard.compact.after",
    "store.commit.before",
    "store.commit.after",
];

/// The crash points around what a node writes beside the committing of blocks: pruning, snapshots, synced states.
pub const STATE_POINTS: [&str; 11] = [
    "prune.before",
    "prune.after",
    "snapshot.chunk",
    "snapshot.publish.before",
    "snapshot.publish.after",
    "statesync.chunk",
    "statesync.build.before",
    "statesync.publish.before",
    "statesync.publish.after",
    "rollback.before",
    "rollback.after",
];

/// Marks a crash point.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    debug::reach(name);
}

/// Marks a crash point: nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn point(_name: &str) {}

#[cfg(debug_assertions)]
mod debug {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    #[allow(clippy::print_stderr, reason = "the test that asked for the crash reads this line")]
    pub(super) fn reach(name: &str) {
        debug_assert!(super::POINTS.contains(&name) || super::STATE_POINTS.contains(&name), "{name} is not listed");
        let Some((planned, count)) = PLAN.get_or_init(plan) else {
            return;
        };
        if planned == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *count {
            eprintln!("crash point {name} reached {count} times");
            std::process::abort();
        }
    }

    fn plan() -> Option<(String, u64)> {
        let text = std::env::var("ZYNK_FAULT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    }
}
