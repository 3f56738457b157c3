//! What must reach the chain once, and outlives the process that wants it there.
//!
//! Whoever hands something in names it. From then on it is in the store, and the queue brings it to the chain: it signs a
//! transaction, keeps it, sends it, and sends it again until the chain shows what became of it. The outcome stays for a
//! while, for whoever asks by the same name; a name that was included is never sent again.
//!
//! That nothing comes into two blocks follows from the account's sequence alone. All transactions for one job have the same
//! author and sequence, of which the chain takes one; another is signed only when a proven account shows that the
//! sequence is unused and the last one's time is over ([`job::next`]). So a node that lies, answers that are lost, and a
//! crash at any point delay, and cause nothing twice.
//!
//! An author makes one transaction after another. So a queue has several, out of nothing but keys: [`Lane`]. They are this queue's
//! alone.

mod door;
pub mod job;
mod sqlite;
mod store;

use std::sync::Arc;
use std::time::Duration;

use ledger::{Body, TxHash};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use types::{Hash, SigningKey};

pub use self::door::Door;
pub use self::job::{Attempt, Job, Outcome};
pub use self::sqlite::Sqlite;
pub use self::store::{Added, Store, StoreError};

use self::job::{Step, next};
use crate::{Error, FeePayer};

/// At most this many jobs wait or are on their way.
pub const MAX_WAITING: u32 = 10_000;

/// For how long an outcome is kept.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often outcomes are forgotten.
const SWEEP: Duration = Duration::from_secs(600);

/// How long the queue waits for what.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// A transaction is looked for so long before the account is asked and it is sent again; doubled each time, up to
    /// `longest_look`.
    first_look: Duration,
    longest_look: Duration,
    /// The time between two looks for a transaction that was just sent.
    glance: Duration,
    /// The pause of a lane that has nothing to do, or whose store or node fails.
    rest: Duration,
    /// How long it is asked for the transaction that used a sequence, before the job ends as [`Outcome::Unseen`].
    unseen_after: Duration,
}

const PACE: Pace = Pace {
    first_look: Duration::from_secs(2),
    longest_look: Duration::from_secs(60),
    glance: Duration::from_millis(50),
    rest: Duration::from_secs(2),
    unseen_after: Duration::from_secs(60),
};

/// An author that sends for the queue, and nothing else.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Its key.
    pub author: SigningKey,
    /// Who signs for the fee; none where the author pays itself.
    pub payer: Option<SigningKey>,
}

/// The queue. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Queue {
    store: Arc<dyn Store>,
    work: Arc<Notify>,
    /// Counts the outcomes.
    done: Arc<watch::Sender<u64>>,
    pace: Pace,
}

impl Queue {
    /// The queue that is kept in a store. It takes jobs; nothing is sent before [`Queue::run`].
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, work: Arc::default(), done: Arc::new(watch::Sender::new(0)), pace: PACE }
    }

    /// Takes a job. Durable when it returns. A name that is known is not taken twice, unless it was refused: then it is tried
    /// again.
    ///
    /// # Errors
    /// [`StoreError`]; where [`MAX_WAITING`] jobs wait, [`Added::Full`] is the answer.
    pub async fn submit(&self, name: &Hash, body: &Body) -> Result<Added, StoreError> {
        let added = self.store.add(name, body, MAX_WAITING).await?;
        if added == Added::New {
            self.work.notify_one();
        }
        Ok(added)
    }

    /// What became of a job: none while it is on its way, and for a name that is not known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outcome(&self, name: &Hash) -> Result<Option<Outcome>, StoreError> {
        self.store.outcome(name).await
    }

    /// Waits until it is known what became of a job, at most so long. The job goes on either way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wait(&self, name: &Hash, patience: Duration) -> Result<Option<Outcome>, StoreError> {
        let until = Instant::now() + patience;
        let mut done = self.done.subscribe();
        loop {
            done.mark_unchanged();
            let outcome = self.outcome(name).await?;
            if outcome.is_some() || timeout_at(until, done.changed()).await.is_err() {
                return Ok(outcome);
            }
        }
    }

    /// Sends what waits, over these lanes, until the task is dropped. A lane is known by its place: the list may grow, and
    /// never shrink while jobs wait.
    pub async fn run<D: Door + Clone + 'static>(&self, door: D, lanes: Vec<Lane>) {
        let mut tasks = JoinSet::new();
        for (place, lane) in (0u32..).zip(lanes) {
            tasks.spawn(Sender { queue: self.clone(), door: door.clone(), place, lane }.run());
        }
        loop {
            if let Err(error) = self.store.forget(KEPT).await {
                tracing::error!(%error, "outcomes of submissions cannot be forgotten");
            }
            sleep(SWEEP).await;
        }
    }
}

/// One lane at work.
struct Sender<D> {
    queue: Queue,
    door: D,
    place: u32,
    lane: Lane,
}

impl<D: Door> Sender<D> {
    async fn run(mut self) {
        loop {
            let worked = match self.queue.store.claim(self.place).await {
                Ok(Some(job)) => self.finish(job).await,
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            match worked {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the queue's store fails"),
            }
            // What another process put in is noticed without being told.
            let _ = tokio::time::timeout(self.queue.pace.rest, self.queue.work.notified()).await;
        }
    }

    /// Brings a job to its end.
    async fn finish(&mut self, job: Job) -> Result<bool, StoreError> {
        let name = job.name;
        let outcome = Pursuit::new(self, job).end().await?;
        self.queue.store.finish(&name, &outcome).await?;
        self.queue.done.send_modify(|done| *done += 1);
        tracing::debug!(%name, ?outcome, "submission ended");
        Ok(true)
    }
}

/// A job until its end.
struct Pursuit<'a, D> {
    sender: &'a mut Sender<D>,
    job: Job,
    /// The mempool's last refusal of a transaction that may have been taken before.
    refusal: Option<Outcome>,
    used_since: Option<Instant>,
    look: Duration,
}

impl<'a, D: Door> Pursuit<'a, D> {
    fn new(sender: &'a mut Sender<D>, job: Job) -> Self {
        let look = sender.queue.pace.first_look;
        Self { sender, job, refusal: None, used_since: None, look }
    }

    async fn end(mut self) -> Result<Outcome, StoreError> {
        loop {
            match self.step().await? {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(name = %self.job.name, %error, "a submission waits for the chain");
                    sleep(self.sender.queue.pace.rest).await;
                }
            }
        }
    }

    /// One look at the chain, and what follows from it. The outer error is the store's, after which nothing may be sent.
    async fn step(&mut self) -> Result<Result<Option<Outcome>, Error>, StoreError> {
        let found = match &self.job.attempt {
            Some(attempt) => match self.sender.door.find(attempt.hash()).await {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            },
            None => None,
        };
        let stand = match self.sender.door.stand(&self.sender.lane.author.public().address()).await {
            Ok(stand) => stand,
            Err(error) => return Ok(Err(error)),
        };
        match next(self.job.attempt.as_ref(), found, stand) {
            Step::Done(outcome) => Ok(Ok(Some(outcome))),
            Step::Used => Ok(Ok(self.used().await)),
            Step::Send => Ok(self.send(false).await),
            Step::Sign { sequence } => {
                if let Some(refusal) = self.refusal.take() {
                    return Ok(Ok(Some(refusal)));
                }
                let terms = match self.sender.door.terms(sequence).await {
                    Ok(terms) => terms,
                    Err(error) => return Ok(Err(error)),
                };
                let Lane { author, payer } = &self.sender.lane;
                let payer = payer.as_ref().map_or(FeePayer::Author, FeePayer::Cosigner);
                let attempt = Attempt::new(terms.sign(author, payer, self.job.body.clone()));
                // Durable before it leaves: what may be on its way must be known after a crash.
                self.sender.queue.store.keep(&self.job.name, &attempt).await?;
                self.job.attempt = Some(attempt);
                Ok(self.send(true).await)
            }
        }
    }

    /// Sends the transaction and looks for it for a while. `fresh`: it was never sent before, so that a refusal is the end.
    async fn send(&mut self, fresh: bool) -> Result<Option<Outcome>, Error> {
        let Some(attempt) = &self.job.attempt else { return Ok(None) };
        let hash = attempt.hash();
        match self.sender.door.send(attempt.bytes().to_vec()).await {
            Ok(()) => {}
            Err(Error::Transaction { codespace, number, log, .. }) if job::is_final(&codespace, number) => {
                let refusal = Outcome::Refused { codespace, number, log, height: None };
                if fresh {
                    return Ok(Some(refusal));
                }
                self.refusal = Some(refusal);
            }
            Err(Error::Transaction { codespace, number, log, .. }) => {
                tracing::debug!(%codespace, number, log, "a submission waits for the mempool");
            }
            Err(error) => return Err(error),
        }
        self.watch(hash).await
    }

    async fn watch(&mut self, hash: TxHash) -> Result<Option<Outcome>, Error> {
        let until = Instant::now() + self.look;
        let Pace { longest_look, glance, .. } = self.sender.queue.pace;
        self.look = (self.look * 2).min(longest_look);
        while Instant::now() < until {
            sleep(glance).await;
            if let Some(found) = self.sender.door.find(hash).await? {
                return Ok(Some(found.into()));
            }
        }
        Ok(None)
    }

    /// The sequence is used, and the node does not show by what: not yet, or not any more.
    async fn used(&mut self) -> Option<Outcome> {
        let since = *self.used_since.get_or_insert_with(Instant::now);
        let Pace { glance, unseen_after, .. } = self.sender.queue.pace;
        sleep(glance).await;
        (since.elapsed() >= unseen_after).then_some(Outcome::Unseen)
    }
}

#[cfg(test)]
mod tests;
