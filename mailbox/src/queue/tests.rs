use std::collections::BTreeMap;

use proptest::prelude::*;
use types::{Decode, DecodeError, Encode, Millis};

use super::{Ahead, Full, MAX_BYTES, MAX_RUNS, MAX_STORED, Queue, is_expired};

/// A queue that has given `count` numbers, each for as many bytes as its number.
fn given(count: u64) -> Queue {
    let mut queue = Queue::default();
    for number in 1..=count {
        assert_eq!(queue.push(number), Ok(number));
    }
    queue
}

/// Acknowledges and compares: what is deleted, up to where all is gone, how many items and bytes are left.
fn check(story: &str, queue: &mut Queue, upto: u64, also: &[u64], deleted: &[u64], left: (u64, u64, u64)) {
    let deletions = queue.acknowledge(upto, also, |number| number);
    assert_eq!(deletions.numbers().collect::<Vec<u64>>(), deleted, "{story}");
    assert_eq!((queue.acknowledged(), queue.items(), queue.bytes()), left, "{story}");
    let ends = |pair: &[std::ops::RangeInclusive<u64>]| pair[0].end() + 1 < *pair[1].start();
    assert!(deletions.0.windows(2).all(ends), "{story}: ranges ascend and do not touch");
    assert_eq!(Queue::from_bytes(&queue.to_bytes()).as_ref(), Ok(&*queue), "{story}");
}

#[test]
fn what_is_acknowledged_is_deleted_once() {
    let queue = &mut given(10);
    assert_eq!((queue.items(), queue.bytes()), (10, 55));
    check("a prefix", queue, 3, &[], &[1, 2, 3], (3, 7, 49));
    check("again", queue, 3, &[], &[], (3, 7, 49));
    check("an older one", queue, 1, &[2], &[], (3, 7, 49));
    check("out of turn", queue, 3, &[6, 8], &[6, 8], (3, 5, 35));
    check("out of turn again", queue, 3, &[6, 8], &[], (3, 5, 35));
    check("the one between", queue, 3, &[7], &[7], (3, 4, 28));
    check("up to a run: the run is taken in", queue, 5, &[], &[4, 5], (8, 2, 19));
    check("numbers never given", queue, 8, &[11, 99], &[], (8, 2, 19));
    check("both, with the last", queue, 9, &[10], &[9, 10], (10, 0, 0));
    assert_eq!(queue.push(1), Ok(11), "numbers go on");
    check("beyond what was given: only what was", queue, 99, &[], &[11], (11, 0, 0));
    assert_eq!(queue.push(1), Ok(12), "and are not skipped");
}

#[test]
fn runs_grow_on_both_sides() {
    let queue = &mut given(9);
    check("one", queue, 0, &[5], &[5], (0, 8, 40));
    check("before it", queue, 0, &[4], &[4], (0, 7, 36));
    check("after it", queue, 0, &[6], &[6], (0, 6, 30));
    check("apart, not sorted, twice", queue, 0, &[8, 2, 8], &[2, 8], (0, 4, 20));
    assert_eq!(queue.stored_upto(9), [1..=1, 3..=3, 7..=7, 9..=9]);
    assert_eq!(queue.stored_upto(3), [1..=1, 3..=3]);
    assert_eq!(queue.stored_upto(2), [1..=1]);
    check("the first closes up to the gap", queue, 0, &[1], &[1], (2, 3, 19));
    check("the next up to the next", queue, 0, &[3], &[3], (6, 2, 16));
    check("all at once", queue, 0, &[9, 7], &[7, 9], (9, 0, 0));
}

#[test]
fn a_device_goes_on_where_it_says_unless_it_was_never_there() {
    let queue = &mut given(5);
    assert_eq!(queue.resume(0, |number| number).map(|deletions| deletions.is_empty()), Ok(true));
    assert_eq!(queue.resume(2, |number| number).map(|deletions| deletions.numbers().collect()), Ok(vec![1, 2]));
    assert_eq!(queue.resume(1, |number| number).map(|deletions| deletions.is_empty()), Ok(true));
    assert_eq!(queue.resume(6, |number| number), Err(Ahead { claimed: 6, last: 5 }));
    assert_eq!(queue.acknowledged(), 2, "nothing is changed by a refusal");
    assert_eq!(queue.resume(5, |number| number).map(|deletions| deletions.numbers().count()), Ok(3));
    assert_eq!(Queue::default().resume(1, |_| 0), Err(Ahead { claimed: 1, last: 0 }));
}

#[test]
fn a_mailbox_has_an_end() {
    let mut queue = Queue::default();
    assert_eq!(queue.push(MAX_BYTES + 1), Err(Full));
    assert_eq!(queue.push(MAX_BYTES), Ok(1));
    assert_eq!(queue.push(1), Err(Full));
    assert_eq!(queue.push(0), Ok(2), "no number was lost to a refusal");
    let mut queue = Queue::default();
    for number in 1..=MAX_STORED {
        assert_eq!(queue.push(1), Ok(number));
    }
    assert_eq!(queue.push(0), Err(Full));
    assert!(queue.has_room(0, 0) && !queue.has_room(1, 0));
    assert_eq!(queue.expire(1, |_| 1).numbers().collect::<Vec<u64>>(), [1]);
    assert_eq!(queue.push(1), Ok(MAX_STORED + 1));
}

#[test]
fn thirty_days_are_kept() {
    let day = 24 * 3_600 * 1_000;
    assert!(!is_expired(Millis(day), Millis(31 * day - 1)));
    assert!(is_expired(Millis(day), Millis(31 * day)));
    assert!(!is_expired(Millis(day), Millis(0)), "a clock that goes back");
}

#[test]
fn what_cannot_be_remembered_stays() {
    let mut queue = given(2 * MAX_RUNS as u64 + 10);
    let even: Vec<u64> = (1..=MAX_RUNS as u64 + 1).map(|number| 2 * number).collect();
    let deleted = queue.acknowledge(0, &even, |number| number);
    assert_eq!(deleted.numbers().count(), MAX_RUNS, "one of them is given again");
    assert!(queue.is_stored(even[MAX_RUNS]));
    assert_eq!(queue.acknowledge(1, &[], |number| number).numbers().collect::<Vec<u64>>(), [1]);
    assert_eq!(queue.acknowledge(0, &even, |number| number).numbers().collect::<Vec<u64>>(), [even[MAX_RUNS]], "there is room again");
}

#[test]
fn damaged_bytes_are_refused() {
    let check = |story: &str, bytes: &[u8], expected: DecodeError| assert_eq!(Queue::from_bytes(bytes), Err(expected), "{story}");
    let (runs, numbers, bounds) = (
        DecodeError::Value { what: "queue (runs)" },
        DecodeError::Value { what: "queue (numbers)" },
        DecodeError::Value { what: "queue (bounds)" },
    );
    // Version, last, acknowledged, count of runs, runs, bytes.
    assert_eq!(given(9).to_bytes(), [1, 9, 0, 0, 45]);
    check("another version", &[2, 9, 0, 0, 45], DecodeError::Tag { what: "queue version", found: 2 });
    check("acknowledged beyond the last", &[1, 9, 10, 0, 0], numbers.clone());
    check("a last beyond every number", &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0, 0], numbers);
    check("a run that touches the prefix", &[1, 9, 2, 1, 3, 4, 5], runs.clone());
    check("a run in the prefix", &[1, 9, 2, 1, 1, 4, 5], runs.clone());
    check("a run backwards", &[1, 9, 2, 1, 5, 4, 5], runs.clone());
    check("a run beyond the last", &[1, 9, 2, 1, 5, 10, 5], runs.clone());
    check("runs that touch", &[1, 9, 2, 2, 4, 5, 6, 7, 5], runs.clone());
    check("runs that cross", &[1, 9, 2, 2, 4, 7, 6, 8, 5], runs);
    check("bytes of nothing", &[1, 9, 9, 0, 1], bounds.clone());
    check("more items than a mailbox has", &[1, 0x81, 0x80, 4, 0, 0, 1], bounds);
    check("more runs than are remembered", &[1, 9, 0, 0x81, 4], DecodeError::Bound { found: 513, bound: MAX_RUNS });
    check("a byte more", &[1, 9, 0, 0, 45, 0], DecodeError::Trailing { left: 1 });
}

#[derive(Debug, Clone)]
enum Act {
    Push(u64),
    Acknowledge(u64, Vec<u64>),
    Resume(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1u64..1_000).prop_map(Act::Push),
        1 => (0u64..40, prop::collection::vec(1u64..40, 0..6)).prop_map(|(upto, also)| Act::Acknowledge(upto, also)),
        1 => (0u64..40).prop_map(Act::Resume),
    ]
}

proptest! {
    /// Against a plain map of what is stored.
    #[test]
    fn the_queue_is_the_set_of_stored_numbers(acts in prop::collection::vec(act(), 0..120)) {
        let (mut queue, mut stored, mut last) = (Queue::default(), BTreeMap::<u64, u64>::new(), 0u64);
        for act in acts {
            let deleted = match act {
                Act::Push(bytes) => {
                    last += 1;
                    prop_assert_eq!(queue.push(bytes), Ok(last));
                    stored.insert(last, bytes);
                    continue;
                }
                Act::Acknowledge(upto, also) => {
                    let deleted = queue.acknowledge(upto, &also, |number| stored[&number]);
                    let expected: Vec<u64> = stored.keys().copied().filter(|number| *number <= upto || also.contains(number)).collect();
                    prop_assert_eq!(deleted.numbers().collect::<Vec<u64>>(), expected);
                    deleted
                }
                Act::Resume(claimed) => match queue.resume(claimed, |number| stored[&number]) {
                    Ok(deleted) => deleted,
                    Err(ahead) => {
                        prop_assert_eq!(ahead, Ahead { claimed, last });
                        prop_assert!(claimed > last);
                        continue;
                    }
                }
            };
            for number in deleted.numbers() {
                prop_assert!(stored.remove(&number).is_some(), "{} was deleted twice", number);
            }
            prop_assert_eq!(queue.items(), stored.len() as u64);
            prop_assert_eq!(queue.bytes(), stored.values().sum::<u64>());
            prop_assert_eq!(queue.stored_upto(u64::MAX).into_iter().flatten().collect::<Vec<u64>>(), stored.keys().copied().collect::<Vec<u64>>());
            prop_assert!((1..=last).all(|number| queue.is_stored(number) == stored.contains_key(&number)));
            prop_assert_eq!(Queue::from_bytes(&queue.to_bytes()), Ok(queue.clone()));
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused_and_encode_the_same(bytes in prop::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..24)) {
        if let Ok(queue) = Queue::from_bytes(&bytes) {
            prop_assert_eq!(queue.to_bytes(), bytes);
        }
    }
}
