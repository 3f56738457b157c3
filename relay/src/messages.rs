//! Messages: taken in, made durable, read, acknowledged, let go.
//!
//! A submission is checked and sealed by the task that brings it ([`Messages::prepare`]), waits in a
//! bounded inlet, and becomes durable in a group with whatever else waits: the copies in their
//! mailboxes, its id, and its leaf in one synced write. Only then is the sender answered and do
//! the recipients' bells ring. Numbers are given by the one committer and nowhere else.
//!
//! Start with [`store`], which says what a store must do; [`Rocks`] is the one there is.

mod bell;
mod committer;
mod proofs;
mod rocks;
pub mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::Envelope;
use audit::SizeClass;
use genesis::entropy;
use mailbox::frame::{AcceptedItem, Acknowledge, Kind, SeenEnvelope};
use mailbox::intake::{self, Devices};
use mailbox::queue::{Ahead, RETENTION_MS};
use mailbox::{Address, Refusal, Submission};
use rpc::relay::LeafProof;
use tokio::sync::{Notify, watch};
use types::{Encode as _, Hash, Millis};

pub use bell::{Bell, Bells, Rung, Watch};
pub use committer::{FULL_BATCH, GROUP_BYTES, GROUP_ITEMS};
pub use rocks::Rocks;
pub use store::{Error, Page, Store};

use committer::{Full, Inlet, Promise};
use proofs::Trees;
use store::{Answer, Entry, Reach, Recall, Write};

/// How long the paths of an anchored batch are served: 90 days, in milliseconds. A client asks within seconds and
/// keeps what it gets.
pub const PROOF_RETENTION_MS: u64 = 90 * 24 * 3_600 * 1_000;

/// When a sender is told to try again while the inlet is full, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 250;

/// The time between two sweeps.
const SWEEP: Duration = Duration::from_secs(10);

/// What one write of a sweep touches at most: messages, or batches.
const SWEPT: usize = 256;

/// The most writes of one sweep.
const SWEEPS: usize = 16;

/// All mailboxes of a relay. A clone is the same.
#[derive(Debug, Clone)]
pub struct Messages {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    inlet: Inlet,
    bells: Bells,
    full: Arc<Notify>,
    trees: Trees,
    clock: fn() -> Millis,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("inlet", &self.inlet).finish_non_exhaustive()
    }
}

/// A submission that was checked, or was refused and may have been stored before.
#[derive(Debug)]
pub struct Prepared(Write);

/// The answer to come for a submission that was handed over.
#[derive(Debug)]
pub struct Pending(Promise);

impl Pending {
    /// Waits for the answer. Safe to drop and call again, until it has answered.
    ///
    /// # Errors
    /// The refusal; [`Refusal::Unavailable`] where it is not known to be stored.
    pub async fn answer(&mut self) -> Result<AcceptedItem, Refusal> {
        match self.0.kept().await {
            Ok(Answer::Accepted(item)) => Ok(item),
            Ok(Answer::Refused(refusal)) => Err(refusal),
            Ok(_) | Err(_) => Err(Refusal::Unavailable),
        }
    }
}

impl Messages {
    /// Opens the database in a folder, or makes it.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Format`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::over(Arc::new(Rocks::open(path)?), now))
    }

    /// Over any store, with any clock. The store must have no other writer.
    #[must_use]
    pub fn over(store: Arc<dyn Store>, clock: fn() -> Millis) -> Self {
        let (bells, full) = (Bells::default(), Arc::new(Notify::new()));
        let inlet = committer::start(store.clone(), bells.clone(), full.clone());
        Self { inner: Arc::new(Inner { store, inlet, bells, full, trees: Trees::default(), clock }) }
    }

    /// Checks a submission and seals what the relay saw of it.
    ///
    /// `recipient`: the devices of the recipient, `None` if there is no such account; `own`: the
    /// sender's devices. One that is refused is still looked up: if it was stored before its
    /// sender lost the answer, and the devices have changed since, it stays stored.
    #[must_use]
    pub fn prepare(&self, from: Address, kind: Kind, submission: &Submission, recipient: Option<&Devices>, own: &Devices) -> Prepared {
        let (message_id, fingerprint) = (submission.message_id, intake::fingerprint(kind, submission));
        let checked = match recipient {
            Some(recipient) => intake::check(&from, kind, submission, recipient, own),
            None => Err(Refusal::NoAccount { did: submission.recipient_id }),
        };
        if let Err(otherwise) = checked {
            return Prepared(Write::Recall(Box::new(Recall { from, message_id, fingerprint, otherwise })));
        }
        let received = (self.inner.clock)();
        let seen = submission.content_hash.map(|commitment| {
            let ciphertext = submission.ciphertext_hash();
            let (salt, envelope) = (entropy::bytes(), Envelope { ciphertext, received, size_class: SizeClass::of(submission.size()) });
            let sealed = envelope.seal(&salt);
            (SeenEnvelope { ciphertext, received, size_class: envelope.size_class, salt: Hash(salt) }, sealed, commitment)
        });
        let sealed = seen.as_ref().map(|(_, sealed, _)| *sealed);
        let leaf = seen.as_ref().map(|(_, sealed, commitment)| audit::leaf::leaf(commitment, sealed));
        let copies = intake::deliveries(&from, kind, submission, received, sealed);
        let copies = copies.into_iter().map(|(address, copy)| (address, copy.to_bytes())).collect();
        let answer = AcceptedItem { message_id, envelope: seen.map(|(envelope, ..)| envelope) };
        Prepared(Write::Submit(Box::new(Entry { from, message_id, fingerprint, received, answer, leaf, copies })))
    }

    /// Hands over what was prepared, if the inlet has room now; else it is given back.
    ///
    /// # Errors
    /// It, unchanged.
    pub fn offer(&self, prepared: Prepared) -> Result<Pending, Prepared> {
        crate::fault::point("accept.before");
        self.inner.inlet.offer(prepared.0).map(Pending).map_err(|Full(write)| Prepared(write))
    }

    /// Hands over what was prepared as soon as the inlet has room.
    pub async fn hand_over(&self, prepared: Prepared) -> Pending {
        Pending(self.inner.inlet.hand_over(prepared.0).await)
    }

    /// All of it: checks, hands over, waits until it is durable.
    ///
    /// # Errors
    /// The refusal; [`Refusal::TooMany`] while the inlet is full; [`Refusal::Unavailable`] where it
    /// is not known to be stored.
    pub async fn submit(
        &self,
        from: Address,
        kind: Kind,
        submission: Submission,
        recipient: Option<&Devices>,
        own: &Devices,
    ) -> Result<AcceptedItem, Refusal> {
        let prepared = self.prepare(from, kind, &submission, recipient, own);
        let offered = self.offer(prepared);
        offered.map_err(|_| Refusal::TooMany { retry_after_ms: RETRY_AFTER_MS })?.answer().await
    }

    /// What a mailbox holds above a number: at most `items`, and no more after `bytes` of content
    /// are reached.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(&self, of: Address, after: u64, items: u32, bytes: u32) -> Result<Page, Error> {
        if let Some(page) = self.inner.store.read(&of, after, items, bytes, Reach::Memory)? {
            return Ok(page);
        }
        let page = self.blocking(move |store| store.read(&of, after, items, bytes, Reach::Disk)).await?;
        Ok(page.unwrap_or_default())
    }

    /// A device opens a session and says up to which number it has stored everything: that is
    /// deleted. The number above which delivery goes on.
    ///
    /// # Errors
    /// [`Ahead`] if this mailbox never gave so much; [`Error::Closed`] or what the write failed at.
    pub async fn resume(&self, of: Address, claimed: u64) -> Result<Result<u64, Ahead>, Error> {
        match self.write(Write::Resume { of, claimed }).await? {
            Answer::Resumed { acknowledged } => Ok(Ok(acknowledged)),
            Answer::Ahead(ahead) => Ok(Err(ahead)),
            _ => Err(Error::Closed),
        }
    }

    /// Deletes what a device has; returns once that is on its way, since the device says it again
    /// where it was lost.
    pub async fn acknowledge(&self, of: Address, acknowledge: Acknowledge) {
        drop(self.inner.inlet.hand_over(Write::Acknowledge { of, acknowledge }).await);
    }

    /// From now on `bell` rings when the mailbox has something new, and once a newer session of the
    /// same device has come.
    #[must_use]
    pub fn watch(&self, of: Address, bell: Arc<Bell>) -> Watch {
        self.inner.bells.watch(of, bell)
    }

    /// How many devices are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.inner.bells.count()
    }

    /// Where a leaf stands, with its path once it is anchored; `None` if it is not one of this
    /// relay's or longer ago than [`PROOF_RETENTION_MS`]. A leaf is known only to whom the message
    /// went, so who asks for it may have its proof.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn proof(&self, leaf: Hash) -> Result<Option<LeafProof>, Error> {
        let messages = self.clone();
        let asked = tokio::task::spawn_blocking(move || messages.inner.trees.proof(&*messages.inner.store, &leaf));
        asked.await.unwrap_or(Err(Error::Closed))
    }

    /// Lets go what is older than [`RETENTION_MS`] and [`PROOF_RETENTION_MS`]: one sweep, which is bounded;
    /// the next goes on where it ended.
    ///
    /// # Errors
    /// What a write failed at.
    pub async fn sweep(&self) -> Result<(), Error> {
        let now = (self.inner.clock)();
        let before = |retention: u64| Millis(now.0.saturating_sub(retention));
        for _ in 0..SWEEPS {
            let expired = self.write(Write::Expire { before: before(RETENTION_MS), most: SWEPT }).await?;
            let forgotten = self.write(Write::Forget { before: before(PROOF_RETENTION_MS), most: SWEPT }).await?;
            if [expired, forgotten].iter().all(|answer| *answer == Answer::Done { more: false }) {
                break;
            }
        }
        Ok(())
    }

    /// Sweeps every ten seconds, until it is told to stop or a write fails.
    pub async fn keep_swept(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Its answer is a guard, which must not be kept over the sweep.
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                _ = ticks.tick() => {
                    if let Err(error) = self.sweep().await {
                        tracing::error!(%error, "the sweep ends");
                        return;
                    }
                }
            }
        }
    }

    /// Has everything written that was handed over, and nothing after it.
    pub async fn stop(&self) {
        self.inner.inlet.stop().await;
    }

    /// Waits until nothing is written any more: stopped, or a write has failed and the relay must
    /// be started again.
    pub async fn ended(&self) {
        self.inner.inlet.ended().await;
    }

    /// Waits until the leaves of a whole batch wait to be sealed.
    pub(crate) async fn full_batch(&self) {
        self.inner.full.notified().await;
    }

    /// A write, in its turn.
    pub(crate) async fn write(&self, write: Write) -> Result<Answer, Error> {
        self.inner.inlet.hand_over(write).await.kept().await
    }

    /// Reads where it may wait for the disk.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.inner.store.clone();
        tokio::task::spawn_blocking(move || read(&*store)).await.unwrap_or(Err(Error::Closed))
    }

    /// The time by the clock that this was opened with.
    pub(crate) fn now(&self) -> Millis {
        (self.inner.clock)()
    }
}

/// The system's clock.
pub(crate) fn now() -> Millis {
    Millis::try_from(tendermint::Time::now()).expect("the clock is past 1970")
}

#[cfg(test)]
pub(crate) mod tests;
