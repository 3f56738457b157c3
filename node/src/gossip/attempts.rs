//! When somebody is dialled again: later and later, and never all at the same moment.

use std::time::Duration;

/// The first pause after an attempt, and the longest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// For those whom the operator named, and validators.
pub(super) const FOR_EXPECTED: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// For all others.
pub(super) const FOR_OTHERS: Pauses = Pauses { first: Duration::from_secs(10), longest: Duration::from_secs(600) };

/// A connection that lasts so long is a success.
pub(super) const LASTS: Duration = Duration::from_secs(5);

/// The attempts to reach somebody. Times are since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempts {
    failed: u32,
    next: Duration,
}

impl Attempts {
    pub(super) fn are_due(&self, now: Duration) -> bool {
        self.next <= now
    }

    /// Notes an attempt. `dice`: 0 to 255, for a pause of half to one and a half of the time, so that two who dial
    /// each other, and both refuse the second connection, do not do so for ever.
    pub(super) fn begin(&mut self, now: Duration, pauses: Pauses, dice: u8) {
        let pause = pauses.first.saturating_mul(1 << self.failed.min(16)).min(pauses.longest);
        self.next = now + pause / 2 + pause * u32::from(dice) / 255;
        self.failed = self.failed.saturating_add(1);
    }

    /// Notes a connection that lasts.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_with_a_success() {
        let mut attempts = Attempts::default();
        assert!(attempts.are_due(Duration::ZERO));
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..40 {
            attempts.begin(now, FOR_EXPECTED, 255);
            assert!(!attempts.are_due(now));
            pauses.push((attempts.next - now).as_millis());
            now = attempts.next;
        }
        assert_eq!((&pauses[..6], pauses[39]), (&[1500, 3000, 6000, 12_000, 24_000, 45_000][..], 45_000));
        attempts.begin(now, FOR_EXPECTED, 0);
        assert_eq!(attempts.next - now, Duration::from_secs(15), "the dice halve it at most");
        attempts.succeeded();
        assert!(attempts.are_due(now));
    }
}
