//! When the next height begins: blocks on demand.
//!
//! No transaction, no block; but one after every block that changed the application hash, so that
//! the change can be proven at once, and one when the chain has been idle for a heartbeat.

use std::time::Duration;

/// How fast a chain goes; from its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one block to the next when there is work; zero is as fast as possible.
    pub interval: Duration,
    /// Idle for this long, the chain makes a block all the same.
    pub heartbeat: Duration,
    /// How long a proposal is waited for in round 0.
    pub propose_timeout: Duration,
}

/// What is known while the next height waits to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The last block changed the application hash (or there is no block yet), so the next header
    /// is the first that proves the change.
    pub unproven_change: bool,
    /// Transactions wait.
    pub work: bool,
    /// A peer has begun the next height.
    pub others_began: bool,
    /// The last block came from a peer that is further on, and peers tell of more: this node is
    /// catching up.
    pub behind: bool,
    /// Since the last block was committed.
    pub idle_for: Duration,
}

impl Waiting {
    /// How long the next height still waits; `None` to begin now.
    #[must_use]
    pub fn delay(&self, pace: &Pace) -> Option<Duration> {
        if self.unproven_change || self.work || self.others_began || self.behind {
            return None;
        }
        pace.heartbeat.checked_sub(self.idle_for).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Waiting};
    use std::time::Duration;

    const PACE: Pace =
        Pace { interval: Duration::from_millis(500), heartbeat: Duration::from_secs(10), propose_timeout: Duration::from_secs(1) };
    const IDLE: Waiting =
        Waiting { unproven_change: false, work: false, others_began: false, behind: false, idle_for: Duration::from_secs(3) };

    #[test]
    fn a_height_begins_when_there_is_a_reason() {
        let stories = [
            ("idle: wait for the rest of the heartbeat", IDLE, Some(Duration::from_secs(7))),
            ("a transaction waits", Waiting { work: true, ..IDLE }, None),
            ("the last change is not provable yet", Waiting { unproven_change: true, ..IDLE }, None),
            ("a peer has begun", Waiting { others_began: true, ..IDLE }, None),
            ("this node is catching up", Waiting { behind: true, ..IDLE }, None),
            ("the heartbeat is due", Waiting { idle_for: Duration::from_secs(10), ..IDLE }, None),
            ("the heartbeat is overdue", Waiting { idle_for: Duration::from_secs(11), ..IDLE }, None),
        ];
        for (story, waiting, delay) in stories {
            assert_eq!(waiting.delay(&PACE), delay, "{story}");
        }
    }
}
