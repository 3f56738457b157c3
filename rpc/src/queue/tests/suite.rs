//! What every store of jobs must do.

use std::sync::Arc;
use std::time::Duration;

use types::Height;

use super::{attempt, body, name};
use crate::queue::{Added, Outcome, Store};

pub(super) async fn all<F: Future<Output = Arc<dyn Store>>>(mut fresh: impl FnMut() -> F) {
    takes_a_name_once(&*fresh().await).await;
    is_bounded(&*fresh().await).await;
    gives_each_lane_its_own(&*fresh().await).await;
    keeps_the_last_attempt(&*fresh().await).await;
    begins_anew_what_was_refused(&*fresh().await).await;
    forgets_only_what_ended(&*fresh().await).await;
}

const INCLUDED: Outcome = Outcome::Included { height: Height(5) };

async fn takes_a_name_once(store: &dyn Store) {
    assert_eq!(store.add(&name(1), &body(1), 10).await, Ok(Added::New));
    assert_eq!(store.add(&name(1), &body(2), 10).await, Ok(Added::Known));
    assert_eq!(store.outcome(&name(1)).await, Ok(None));
    let job = store.claim(0).await.expect("reads").expect("a job");
    assert_eq!((job.name, job.body, job.attempt), (name(1), body(1), None));
    store.finish(&name(1), &INCLUDED).await.expect("writes");
    assert_eq!(store.add(&name(1), &body(1), 10).await, Ok(Added::Known));
    assert_eq!(store.outcome(&name(1)).await, Ok(Some(INCLUDED)));
    assert_eq!(store.claim(0).await, Ok(None));
    assert!(store.finish(&name(1), &Outcome::Unseen).await.is_err(), "the first outcome stands");
    assert_eq!(store.outcome(&name(1)).await, Ok(Some(INCLUDED)));
    assert!(store.keep(&name(1), &attempt(1, 2)).await.is_err());
}

async fn is_bounded(store: &dyn Store) {
    assert_eq!(store.add(&name(1), &body(1), 2).await, Ok(Added::New));
    assert_eq!(store.add(&name(2), &body(2), 2).await, Ok(Added::New));
    assert_eq!(store.add(&name(3), &body(3), 2).await, Ok(Added::Full));
    assert_eq!(store.add(&name(2), &body(2), 2).await, Ok(Added::Known));
    store.finish(&name(1), &INCLUDED).await.expect("writes");
    assert_eq!(store.add(&name(3), &body(3), 2).await, Ok(Added::New));
}

async fn gives_each_lane_its_own(store: &dyn Store) {
    for number in 1..=3 {
        assert_eq!(store.add(&name(number), &body(number), 10).await, Ok(Added::New));
    }
    let claimed = |job: Option<crate::queue::Job>| job.map(|job| job.name);
    assert_eq!(claimed(store.claim(0).await.expect("reads")), Some(name(1)));
    assert_eq!(claimed(store.claim(1).await.expect("reads")), Some(name(2)));
    assert_eq!(claimed(store.claim(0).await.expect("reads")), Some(name(1)), "what it has begun comes first");
    store.finish(&name(1), &INCLUDED).await.expect("writes");
    assert_eq!(claimed(store.claim(1).await.expect("reads")), Some(name(2)));
    assert_eq!(claimed(store.claim(0).await.expect("reads")), Some(name(3)));
    assert_eq!(claimed(store.claim(2).await.expect("reads")), None);
}

async fn keeps_the_last_attempt(store: &dyn Store) {
    assert_eq!(store.add(&name(1), &body(1), 10).await, Ok(Added::New));
    for sequence in [4, 5] {
        store.claim(0).await.expect("reads");
        store.keep(&name(1), &attempt(sequence, 100)).await.expect("writes");
    }
    let job = store.claim(0).await.expect("reads").expect("a job");
    assert_eq!(job.attempt, Some(attempt(5, 100)));
}

async fn begins_anew_what_was_refused(store: &dyn Store) {
    let refused = Outcome::Refused { codespace: "ledger".to_owned(), number: 9, log: "too little".to_owned(), height: None };
    assert_eq!(store.add(&name(1), &body(1), 10).await, Ok(Added::New));
    store.claim(0).await.expect("reads");
    store.keep(&name(1), &attempt(4, 100)).await.expect("writes");
    store.finish(&name(1), &refused).await.expect("writes");
    assert_eq!(store.outcome(&name(1)).await, Ok(Some(refused)));
    assert_eq!(store.add(&name(1), &body(2), 10).await, Ok(Added::New));
    assert_eq!(store.outcome(&name(1)).await, Ok(None));
    let job = store.claim(7).await.expect("reads").expect("a job for any lane");
    assert_eq!((job.body, job.attempt), (body(2), None));
}

async fn forgets_only_what_ended(store: &dyn Store) {
    assert_eq!(store.add(&name(1), &body(1), 10).await, Ok(Added::New));
    assert_eq!(store.add(&name(2), &body(2), 10).await, Ok(Added::New));
    store.finish(&name(1), &INCLUDED).await.expect("writes");
    store.forget(Duration::from_secs(3_600)).await.expect("writes");
    assert_eq!(store.outcome(&name(1)).await, Ok(Some(INCLUDED)), "too young");
}
