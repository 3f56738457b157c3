//! How much one account may send, over all its devices and connections.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use identity::Did;
use mailbox::frame::Kind;
use mailbox::limit::{Bucket, Rate};
use types::Millis;

/// How many buckets are kept. One more, and those that are full go, and if none is, all.
const MAX_BUCKETS: usize = 65_536;

/// How many receipts an account may send for each message that it may send: it receives from many.
const RECEIPTS: u32 = 8;

/// The accounts that have sent something of late.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: Mutex<HashMap<(Did, bool), Bucket>>,
}

impl Limits {
    /// Counts one message or receipt.
    ///
    /// # Errors
    /// In how many milliseconds the next one may be sent.
    pub(super) fn take(&self, of: Did, kind: Kind, rate: Rate, now: Millis) -> Result<(), u64> {
        let receipt = kind != Kind::Message;
        let rate = if receipt { times(rate, RECEIPTS) } else { rate };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&(of, receipt)) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= MAX_BUCKETS {
                buckets.clear();
            }
        }
        buckets.entry((of, receipt)).or_insert_with(|| Bucket::new(rate)).take(now, 1)
    }
}

const fn times(rate: Rate, factor: u32) -> Rate {
    Rate { per_second: rate.per_second.saturating_mul(factor), burst: rate.burst.saturating_mul(factor) }
}

#[cfg(test)]
mod tests {
    use identity::Did;
    use mailbox::frame::Kind;
    use mailbox::limit::Rate;
    use types::Millis;

    use super::{Limits, MAX_BUCKETS};

    #[test]
    fn an_account_is_slowed_down_and_others_are_not() {
        let (limits, rate, now) = (Limits::default(), Rate { per_second: 1, burst: 2 }, Millis(1_800_000_000_000));
        let (alice, bob) = (Did([1; 32]), Did([2; 32]));
        let take = |of, kind, later| limits.take(of, kind, rate, Millis(now.0 + later));
        assert_eq!([take(alice, Kind::Message, 0), take(alice, Kind::Message, 0)], [Ok(()); 2]);
        assert_eq!(take(alice, Kind::Message, 0), Err(1_000));
        assert_eq!(take(alice, Kind::Read, 0), Ok(()), "receipts have a bucket of their own");
        assert_eq!(take(bob, Kind::Message, 0), Ok(()));
        assert_eq!(take(alice, Kind::Message, 999), Err(1));
        assert_eq!(take(alice, Kind::Message, 1_000), Ok(()));
    }

    #[test]
    fn buckets_are_bounded() {
        let (limits, rate) = (Limits::default(), Rate { per_second: 1, burst: 2 });
        for number in 0..=MAX_BUCKETS {
            let mut did = [0; 32];
            did[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(limits.take(Did(did), Kind::Message, rate, Millis(1_800_000_000_000)), Ok(()));
        }
        assert!(limits.buckets.lock().expect("no test panics here").len() <= MAX_BUCKETS);
    }
}
