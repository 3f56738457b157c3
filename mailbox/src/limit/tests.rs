use proptest::prelude::*;
use types::Millis;

use super::{Bucket, Rate};

const RATE: Rate = Rate { per_second: 10, burst: 5 };

/// Takes at each (time, cost) and compares the answers.
fn check(story: &str, rate: Rate, takes: &[(u64, u32, Result<(), u64>)]) {
    let mut bucket = Bucket::new(rate);
    for (number, (now, cost, expected)) in takes.iter().enumerate() {
        assert_eq!(bucket.take(Millis(*now), *cost), *expected, "{story}: take {number}");
    }
}

#[test]
fn a_bucket_gives_what_it_has_and_fills_with_time() {
    check(
        "the burst at once, then one each 100 ms",
        RATE,
        &[(1_000, 5, Ok(())), (1_000, 1, Err(100)), (1_099, 1, Err(1)), (1_100, 1, Ok(()))],
    );
    check("what was refused took nothing", RATE, &[(0, 4, Ok(())), (0, 3, Err(200)), (0, 1, Ok(())), (0, 1, Err(100))]);
    check("a pause fills no more than the burst", RATE, &[(0, 5, Ok(())), (9_000_000, 5, Ok(())), (9_000_000, 1, Err(100))]);
    check("nothing costs nothing", RATE, &[(0, 5, Ok(())), (0, 0, Ok(()))]);
    check("what is above the burst never comes", RATE, &[(0, 6, Err(u64::MAX))]);
    check("a clock that goes back gives nothing", RATE, &[(5_000, 5, Ok(())), (4_000, 1, Err(1_100)), (5_100, 1, Ok(()))]);
    check("a rate of nothing is taken as one a second", Rate { per_second: 0, burst: 1 }, &[(0, 1, Ok(())), (0, 1, Err(1_000))]);
    check("the end of time", RATE, &[(u64::MAX, 5, Ok(()))]);
}

#[test]
fn a_bucket_that_is_full_can_be_forgotten() {
    let mut bucket = Bucket::new(RATE);
    assert!(bucket.is_full(Millis(0)));
    bucket.take(Millis(1_000), 2).expect("within the burst");
    assert!(!bucket.is_full(Millis(1_199)));
    assert!(bucket.is_full(Millis(1_200)));
}

proptest! {
    #[test]
    fn no_window_gives_more_than_burst_and_rate(takes in prop::collection::vec((0u64..500, 1u32..4), 1..60)) {
        let mut bucket = Bucket::new(RATE);
        let (mut now, mut taken) = (10_000u64, Vec::new());
        for (wait, cost) in takes {
            now += wait;
            match bucket.take(Millis(now), cost) {
                Ok(()) => taken.push((now, u64::from(cost))),
                Err(wait) => {
                    let mut later = bucket;
                    prop_assert_eq!(later.take(Millis(now + wait), cost), Ok(()), "the wait that it names is enough");
                }
            }
        }
        for (first, (from, _)) in taken.iter().enumerate() {
            for (last, (upto, _)) in taken.iter().enumerate().skip(first) {
                let sum: u64 = taken[first..=last].iter().map(|(_, cost)| cost).sum();
                prop_assert!(sum * 100 <= 500 + (upto - from) + 100, "{sum} in {} ms", upto - from);
            }
        }
    }
}
