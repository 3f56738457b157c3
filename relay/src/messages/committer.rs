//! The one writer: takes everything that waits, makes it durable in one synced write, answers, and
//! rings. What comes in meanwhile forms the next group, so a group is as large as the disk is slow;
//! there is no timer.

use std::sync::Arc;
use std::thread;

use audit::MAX_BATCH;
use mailbox::Address;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::bell::Bells;
use super::store::{Answer, Error, Store, Write};
use crate::fault;

/// The most writes of one group.
pub const GROUP_ITEMS: usize = 4_096;

/// After so many bytes a group is closed.
pub const GROUP_BYTES: usize = 4 << 20;

/// The most writes that wait for the committer.
const INLET_ITEMS: usize = 4_096;

/// The most bytes that wait for the committer, in KiB: 16 MiB.
const INLET_KIB: u32 = 16 << 10;

/// With so many leaves a batch is sealed before its time: one less than it can hold, since a full
/// one would show by its missing padding how many messages there were.
pub const FULL_BATCH: usize = MAX_BATCH - 1;

/// A write that waits, and who wants to know.
struct Job {
    write: Write,
    weight: usize,
    answer: oneshot::Sender<Result<Answer, Error>>,
    /// Held until the write is durable.
    _room: OwnedSemaphorePermit,
}

enum Note {
    Job(Job),
    Stop,
}

/// The way to the committer.
#[derive(Debug, Clone)]
pub(crate) struct Inlet {
    notes: mpsc::Sender<Note>,
    room: Arc<Semaphore>,
}

/// A write that found no place.
#[derive(Debug)]
pub(crate) struct Full(pub(crate) Write);

/// What the committer will say.
#[derive(Debug)]
pub(crate) struct Promise(oneshot::Receiver<Result<Answer, Error>>);

impl Promise {
    pub(crate) async fn kept(&mut self) -> Result<Answer, Error> {
        (&mut self.0).await.unwrap_or(Err(Error::Closed))
    }
}

/// Starts the committer. `full` is notified when leaves for a whole batch wait.
pub(crate) fn start(store: Arc<dyn Store>, bells: Bells, full: Arc<Notify>) -> Inlet {
    let (notes, inlet) = mpsc::channel(INLET_ITEMS);
    let committer = Committer { store, bells, full, inlet };
    // A thread of its own: it waits for the disk nearly all the time.
    let started = thread::Builder::new().name("committer".to_owned()).spawn(move || committer.run());
    drop(started.expect("the system gives a thread"));
    Inlet { notes, room: Arc::new(Semaphore::new(INLET_KIB as usize)) }
}

impl Inlet {
    /// Hands over a write if there is a place for it now.
    pub(crate) fn offer(&self, write: Write) -> Result<Promise, Full> {
        let weight = weight(&write);
        let Ok(room) = self.room.clone().try_acquire_many_owned(kib(weight)) else {
            return Err(Full(write));
        };
        let (answer, promise) = oneshot::channel();
        match self.notes.try_send(Note::Job(Job { write, weight, answer, _room: room })) {
            Ok(()) => Ok(Promise(promise)),
            Err(mpsc::error::TrySendError::Full(Note::Job(job))) => Err(Full(job.write)),
            // The job is dropped, and with it the one who would answer.
            Err(_) => Ok(Promise(promise)),
        }
    }

    /// Hands over a write as soon as there is a place for it: first come, first served.
    pub(crate) async fn hand_over(&self, write: Write) -> Promise {
        let weight = weight(&write);
        let room = self.room.clone().acquire_many_owned(kib(weight)).await.expect("it is never closed");
        let (answer, promise) = oneshot::channel();
        // If the committer has ended, the job is dropped, and with it the one who would answer.
        let _ = self.notes.send(Note::Job(Job { write, weight, answer, _room: room })).await;
        Promise(promise)
    }

    /// Has everything written that waits, and nothing after it. Returns when the committer has ended.
    pub(crate) async fn stop(&self) {
        let _ = self.notes.send(Note::Stop).await;
        self.notes.closed().await;
    }

    /// Waits until the committer has ended: stopped, or at a write that failed.
    pub(crate) async fn ended(&self) {
        self.notes.closed().await;
    }
}

fn weight(write: &Write) -> usize {
    match write {
        Write::Submit(entry) => entry.weight(),
        Write::Acknowledge { acknowledge, .. } => 128 + 8 * acknowledge.also.len(),
        Write::Seal(seal) => 32 * seal.leaves.len(),
        Write::Recall(_) | Write::Resume { .. } | Write::Expire { .. } | Write::Complete { .. } | Write::Forget { .. } => 256,
    }
}

fn kib(weight: usize) -> u32 {
    u32::try_from(weight.div_ceil(1024)).unwrap_or(INLET_KIB).min(INLET_KIB)
}

struct Committer {
    store: Arc<dyn Store>,
    bells: Bells,
    full: Arc<Notify>,
    inlet: mpsc::Receiver<Note>,
}

impl Committer {
    fn run(mut self) {
        let mut group = Group::default();
        let mut open = true;
        while open {
            open = self.collect(&mut group);
            if !group.writes.is_empty() && !self.commit(&mut group) {
                return;
            }
        }
    }

    /// Waits for something, then takes what else is there. Whether anything can follow.
    fn collect(&mut self, group: &mut Group) -> bool {
        let Some(Note::Job(first)) = self.inlet.blocking_recv() else { return false };
        group.push(first);
        while group.writes.len() < GROUP_ITEMS && group.weight < GROUP_BYTES {
            match self.inlet.try_recv() {
                Ok(Note::Job(job)) => group.push(job),
                Ok(Note::Stop) => return false,
                Err(_) => break,
            }
        }
        true
    }

    /// Whether it is durable.
    fn commit(&self, group: &mut Group) -> bool {
        let points = group.points();
        points.iter().for_each(|(before, _)| fault::point(before));
        let committed = self.store.commit(&group.writes);
        let answers = match committed {
            Ok(answers) => answers,
            Err(error) => {
                // What was written and not synced may be there after a restart or not; who sent it
                // was promised nothing, and sends it again.
                tracing::error!(%error, "a group was not written: no more is taken");
                group.waiting.drain(..).for_each(|job| drop(job.answer.send(Err(error.clone()))));
                return false;
            }
        };
        points.iter().for_each(|(_, after)| fault::point(after));
        let mut sent = false;
        for (job, answer) in group.waiting.drain(..).zip(answers.iter().cloned()) {
            sent |= matches!(answer, Answer::Accepted(_));
            // Who has gone meanwhile asks again under the same id.
            let _ = job.answer.send(Ok(answer));
        }
        if sent {
            fault::point("answer.after");
        }
        self.bells.wake(group.recipients(&answers));
        if self.store.log().is_ok_and(|log| log.waiting() >= FULL_BATCH as u64) {
            self.full.notify_one();
        }
        group.clear();
        true
    }
}

struct Waiting {
    answer: oneshot::Sender<Result<Answer, Error>>,
    _room: OwnedSemaphorePermit,
}

/// What becomes durable together.
#[derive(Default)]
struct Group {
    writes: Vec<Write>,
    waiting: Vec<Waiting>,
    weight: usize,
}

impl Group {
    fn push(&mut self, job: Job) {
        self.weight += job.weight;
        self.writes.push(job.write);
        self.waiting.push(Waiting { answer: job.answer, _room: job._room });
    }

    fn clear(&mut self) {
        // A large group's memory is not kept for small ones.
        *self = Self::default();
    }

    /// The crash points around this group's write.
    fn points(&self) -> Vec<(&'static str, &'static str)> {
        let mut points = Vec::new();
        for write in &self.writes {
            let point = match write {
                Write::Submit(_) | Write::Recall(_) => ("commit.before", "commit.after"),
                Write::Resume { .. } | Write::Acknowledge { .. } => ("acknowledge.before", "acknowledge.after"),
                Write::Expire { .. } | Write::Forget { .. } => ("expire.before", "expire.after"),
                Write::Seal(_) => ("seal.before", "seal.after"),
                Write::Complete { .. } => ("complete.before", "complete.after"),
            };
            if !points.contains(&point) {
                points.push(point);
            }
        }
        points
    }

    /// Whose mailboxes have something new.
    fn recipients<'a>(&'a self, answers: &'a [Answer]) -> impl Iterator<Item = &'a Address> {
        let stored = self.writes.iter().zip(answers).filter_map(|(write, answer)| match (write, answer) {
            (Write::Submit(entry), Answer::Accepted(_)) => Some(&entry.copies),
            _ => None,
        });
        stored.flatten().map(|(address, _)| address)
    }
}
