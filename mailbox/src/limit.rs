//! How much somebody may do in a time: a token bucket, as a value.

use serde::{Deserialize, Serialize};
use types::Millis;

/// What is allowed: so many in a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In a second; at least 1.
    pub per_second: u32,
    /// At once, after a pause; at least 1. Nothing that costs more can ever be taken.
    pub burst: u32,
}

impl Rate {
    /// What one account may send: 30 messages in a second, 120 at once.
    pub const MESSAGES: Self = Self { per_second: 30, burst: 120 };

    /// Microseconds that one unit takes to come back.
    const fn unit(self) -> u64 {
        let per_second = if self.per_second == 0 { 1 } else { self.per_second as u64 };
        1_000_000 / per_second
    }
}

/// What is left of a [`Rate`], as the time at which nothing of it will be used any more. 24 bytes, no
/// timer: it fills by being asked later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    /// Microseconds since 1970; in the past if the bucket is full.
    full: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, full: 0 }
    }

    /// Takes `cost` units at the time `now`. A clock that goes back fills nothing and empties nothing.
    ///
    /// # Errors
    /// In how many milliseconds `cost` units will be there, at least 1; nothing is then taken. For a
    /// cost above the burst that time never comes, and [`u64::MAX`] says so.
    pub const fn take(&mut self, now: Millis, cost: u32) -> Result<(), u64> {
        if cost > self.rate.burst {
            return Err(u64::MAX);
        }
        let now = now.0.saturating_mul(1_000);
        let start = if self.full > now { self.full } else { now };
        let used = start.saturating_add(self.rate.unit().saturating_mul(cost as u64));
        let latest = now.saturating_add(self.rate.unit().saturating_mul(self.rate.burst as u64));
        if used > latest {
            return Err((used - latest).div_ceil(1_000));
        }
        self.full = used;
        Ok(())
    }

    /// Whether nothing is used at `now`: a map of buckets may forget it.
    #[must_use]
    pub const fn is_full(&self, now: Millis) -> bool {
        self.full <= now.0.saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests;
