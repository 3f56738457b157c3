//! Crash points: places just before or after a durable step at which a debug build can be told to
//! die. See `consensus::fault`, which has those of a node.
//!
//! `ZYNK_FAULT=commit.before:3` ends the process, as SIGKILL would, the third time that the point
//! is reached, and says so on standard error. Release builds have no crash points.

/// Every crash point there is, in the order in which a message meets them; the tests of recovery
/// kill at each of them.
pub const POINTS: [&str; 16] = [
    // A submission was checked and waits for the committer.
    "accept.before",
    // The synced write of messages, ids and leaves.
    "commit.before",
    "commit.after",
    // Between the senders' answers and the wake-ups of the recipients.
    "answer.after",
    // A frame of messages goes to a device.
    "deliver.before",
    "deliver.after",
    // The same write, where it deletes what a device has.
    "acknowledge.before",
    "acknowledge.after",
    // The same write, where it deletes what nobody fetched.
    "expire.before",
    "expire.after",
    // The synced write of a batch and its signed anchor.
    "seal.before",
    "seal.after",
    // The anchor's way to the chain.
    "submit.before",
    "submit.after",
    // The synced write that says that the chain has the anchor.
    "complete.before",
    "complete.after",
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

/// How often this process has reached a point.
#[cfg(debug_assertions)]
#[must_use]
pub fn hits(name: &str) -> u64 {
    debug::hits(name)
}

#[cfg(debug_assertions)]
mod debug {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::POINTS;

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: [AtomicU64; POINTS.len()] = [const { AtomicU64::new(0) }; POINTS.len()];

    fn counter(name: &str) -> &'static AtomicU64 {
        let place = POINTS.iter().position(|point| *point == name);
        &HITS[place.unwrap_or_else(|| panic!("{name} is not listed"))]
    }

    #[allow(clippy::print_stderr, reason = "the test that asked for the crash reads this line")]
    pub(super) fn reach(name: &str) {
        let reached = counter(name).fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((planned, count)) = PLAN.get_or_init(plan)
            && planned == name
            && reached == *count
        {
            eprintln!("crash point {name} reached {count} times");
            std::process::abort();
        }
    }

    pub(super) fn hits(name: &str) -> u64 {
        counter(name).load(Ordering::SeqCst)
    }

    fn plan() -> Option<(String, u64)> {
        let text = std::env::var("ZYNK_FAULT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    }
}
