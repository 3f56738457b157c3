//! Whether a chain goes on before one's eyes: blocks that are decided while one looks are above all that was signed before.
//!
//! A validator in doubt about what it signed must let the chain pass it. How high that is its peers tell, and one that tells too much
//! would keep it waiting for ever. Blocks cannot be told: more than two thirds have signed each. A block whose time is well after this
//! process began was voted for since, because no honest validator votes for a fresh proposal from more than 5 s ahead (`docs/spec/blocks.md`). So whatever
//! this validator's key had signed before is at its height or below.
//!
//! That rests on this machine's clock, which may be wrong. One that is behind sees blocks from the future as soon as the node catches up;
//! one that is ahead sees none that is fresh. So it takes some blocks, over a while in which none was from the future.
//!
//! A pure rule; [`run`](crate::run()) feeds it with each block and carries it out.

use std::time::Duration;

use tendermint::Time;

use crate::unheard::FRESH_MS;

/// So many fresh blocks.
const BLOCKS: u32 = 3;

/// From the first of them to the last.
const WATCHED: Duration = Duration::from_secs(60);

/// A block's time must be so far behind the beginning: a proposer may be 5 s ahead of honest clocks, and these 5 s behind or before this one.
const MARGIN_MS: i128 = 10_000;

/// A block from so far ahead shows that this clock is wrong.
const AHEAD_MS: i128 = 10_000;

/// What was seen of a chain.
#[derive(Debug)]
pub struct Live {
    began_ms: i128,
    blocks: u32,
    since: Duration,
}

impl Live {
    /// Nothing was seen yet. `began`: this clock's time, after the last signature that this validator may have forgotten.
    #[must_use]
    pub fn new(began: Time) -> Self {
        Self { began_ms: millis(began), blocks: 0, since: Duration::ZERO }
    }

    /// Takes in the time of a block that was decided; `clock` says what time it is, `now` how long it is since any beginning. Whether the
    /// chain has certainly passed what was signed before.
    pub fn saw(&mut self, block: Time, clock: Time, now: Duration) -> bool {
        let (time_ms, age_ms) = (millis(block), millis(clock) - millis(block));
        if age_ms < -AHEAD_MS {
            self.forget();
            return false;
        }
        if age_ms.abs() > FRESH_MS || time_ms < self.began_ms + MARGIN_MS {
            return false;
        }
        if self.blocks == 0 {
            self.since = now;
        }
        self.blocks = self.blocks.saturating_add(1);
        self.blocks >= BLOCKS && now.saturating_sub(self.since) >= WATCHED
    }

    /// Forgets what it saw: blocks were missed.
    pub const fn forget(&mut self) {
        self.blocks = 0;
    }
}

fn millis(time: Time) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This validator's process began then.
    const BEGAN: i64 = 1_800_000_000;

    fn at(second: i64) -> Time {
        Time::from_unix_timestamp(second, 0).expect("a time")
    }

    /// After how many seconds it is certain, within an hour. `blocks`: the times of the blocks that come in a second, counted from the
    /// beginning in truth. `late`: how far this clock is behind the truth.
    fn after(late: i64, blocks: impl Fn(i64) -> Vec<i64>) -> Option<i64> {
        let mut live = Live::new(at(BEGAN - late));
        (0..3_600i64).find(|second| {
            let now = Duration::from_secs(second.unsigned_abs());
            blocks(*second).into_iter().any(|time| live.saw(at(BEGAN + time), at(BEGAN + second - late), now))
        })
    }

    #[test]
    fn blocks_that_are_decided_while_one_looks_are_past_what_was_signed_before() {
        let every = |pause: i64| move |second: i64| if second % pause == 0 { vec![second] } else { vec![] };
        // 100 s of the past in each second, until the present.
        let catching_up =
            |second: i64| if second < 36 { (0..100).map(|past| -3_600 + 100 * second + past).collect() } else { vec![second] };
        assert_eq!(after(0, every(1)), Some(70), "10 s of margin, and a minute");
        assert_eq!(after(0, every(10)), Some(70), "an idle chain");
        assert_eq!(after(0, every(200)), Some(600), "a very idle one: its third block");
        assert_eq!(after(0, |_| vec![]), None, "the network waits for this validator");
        assert_eq!(after(0, |second| vec![second - 3_600]), None, "old blocks, one a second");
        assert_eq!(after(0, |second| if second < 3 { vec![second] } else { vec![] }), None, "the chain stood still soon after");
        assert_eq!(after(0, |_| (5..9).collect()), None, "blocks from before the beginning by a clock that is ahead");
        assert_eq!(after(0, catching_up), Some(36 + 60), "it catches up first");
        // One proposer in four is slow on purpose, or ahead of its time.
        assert_eq!(after(0, |second| vec![if second % 4 == 0 { second - 9 } else { second }]), Some(70));
        assert_eq!(after(0, |second| vec![if second % 4 == 0 { second + 5 } else { second }]).map(|second| second < 75), Some(true));
    }

    #[test]
    fn a_wrong_clock_is_noticed() {
        let caught_up_at = 40;
        for late in [30, 600, 3_000, -30, -600] {
            let blocks = |second: i64| {
                if second < caught_up_at { (0..100).map(|past| -100 * (caught_up_at - second) + past).collect() } else { vec![second] }
            };
            assert_eq!(after(late, blocks), None, "a clock that is {late} s late");
        }
        // As far as clocks may differ, it goes on.
        for late in [-4, 4] {
            assert!(after(late, |second| vec![second]).is_some(), "a clock that is {late} s late");
        }
    }

    #[test]
    fn what_was_missed_may_have_been_from_the_future() {
        let mut live = Live::new(at(BEGAN));
        let mut saw = |second: i64, forget: bool| {
            if forget {
                live.forget();
            }
            live.saw(at(BEGAN + second), at(BEGAN + second), Duration::from_secs(second.unsigned_abs()))
        };
        assert!(!saw(20, false) && !saw(50, false) && !saw(85, true), "what was seen before does not count");
        assert!(!saw(100, false) && saw(145, false));
    }
}
