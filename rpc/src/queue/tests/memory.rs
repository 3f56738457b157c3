//! Jobs in memory, for runs under a clock that is not real.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use ledger::Body;
use types::Hash;

use crate::queue::{Added, Attempt, Job, Outcome, Store, StoreError};

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    job: Job,
    lane: Option<u32>,
    outcome: Option<Outcome>,
}

impl Memory {
    fn change(&self, name: &Hash, change: impl FnOnce(&mut Kept)) -> Result<(), StoreError> {
        let mut all = self.0.lock().expect("no panic");
        let kept = all.iter_mut().find(|kept| kept.job.name == *name && kept.outcome.is_none());
        kept.map(change).ok_or_else(|| StoreError("no such job".to_owned()))
    }
}

#[async_trait]
impl Store for Memory {
    async fn add(&self, name: &Hash, body: &Body, most: u32) -> Result<Added, StoreError> {
        let mut all = self.0.lock().expect("no panic");
        all.retain(|kept| kept.job.name != *name || !kept.outcome.as_ref().is_some_and(Outcome::is_refusal));
        if all.iter().any(|kept| kept.job.name == *name) {
            return Ok(Added::Known);
        }
        if all.iter().filter(|kept| kept.outcome.is_none()).count() >= most as usize {
            return Ok(Added::Full);
        }
        all.push(Kept { job: Job { name: *name, body: body.clone(), attempt: None }, lane: None, outcome: None });
        Ok(Added::New)
    }

    async fn claim(&self, lane: u32) -> Result<Option<Job>, StoreError> {
        let mut all = self.0.lock().expect("no panic");
        let waiting = |wanted: Option<u32>| move |kept: &Kept| kept.outcome.is_none() && kept.lane == wanted;
        let place = all.iter().position(waiting(Some(lane))).or_else(|| all.iter().position(waiting(None)));
        Ok(place.map(|place| {
            all[place].lane = Some(lane);
            all[place].job.clone()
        }))
    }

    async fn keep(&self, name: &Hash, attempt: &Attempt) -> Result<(), StoreError> {
        self.change(name, |kept| kept.job.attempt = Some(attempt.clone()))
    }

    async fn finish(&self, name: &Hash, outcome: &Outcome) -> Result<(), StoreError> {
        self.change(name, |kept| kept.outcome = Some(outcome.clone()))
    }

    async fn outcome(&self, name: &Hash) -> Result<Option<Outcome>, StoreError> {
        let all = self.0.lock().expect("no panic");
        Ok(all.iter().find(|kept| kept.job.name == *name).and_then(|kept| kept.outcome.clone()))
    }

    async fn forget(&self, kept: Duration) -> Result<(), StoreError> {
        if kept.is_zero() {
            self.0.lock().expect("no panic").retain(|kept| kept.outcome.is_none());
        }
        Ok(())
    }
}
