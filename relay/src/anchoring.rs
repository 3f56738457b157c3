//! The anchoring outbox: leaves into batches, batches under anchors, anchors onto the chain.
//!
//! One batch is on its way at a time. It is sealed on a fixed cadence, also when nothing came in, so
//! that a lone message cannot be timed; batch and signed anchor are one synced write before the
//! anchor leaves; the same bytes are sent until a state proof shows that the chain has them. There
//! is no second anchor for a sequence whatever crashes, is lost or repeated in between, since
//! nothing is signed that is not in the database first, and nothing that is in it is signed again.
//!
//! Where the chain and the database contradict each other, nothing is signed any more: [`judge`].

mod chain;

use std::time::Duration;

use audit::record::Status;
use audit::{Anchor, Batch, LogRecord, SignedAnchor};
use genesis::{LogFile, entropy};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use types::{Hash, PublicKey, SigningKey};

pub use chain::{LogChain, ProvenLog};

use crate::fault;
use crate::messages::store::{self, Answer, LogState, Seal, Write};
use crate::messages::{FULL_BATCH, Messages};

/// The first pause after something failed; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Why anchoring ends. None of these goes away by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The chain has no such log.
    #[error("the chain has no log {0}: register it first")]
    NotRegistered(audit::LogId),
    /// The log takes no more anchors.
    #[error("the log takes no more anchors: {0:?}")]
    Ended(Status),
    /// The log's key on the chain is another one.
    #[error("the log's key on the chain is {found}, this relay signs with {expected}")]
    Key {
        /// The chain's.
        found: PublicKey,
        /// The relay's.
        expected: PublicKey,
    },
    /// The chain has anchors that this database knows nothing of.
    #[error(
        "the chain has anchor {chain}, the database has sealed {store}: it is older than the log. Begin a new log; never sign with this one"
    )]
    Behind {
        /// The chain's last sequence.
        chain: u64,
        /// The database's.
        store: u64,
    },
    /// The chain has another anchor for a sequence than this database.
    #[error("anchor {sequence} on the chain is not the one of this database: somebody else signs with the log's key")]
    Foreign {
        /// The sequence.
        sequence: u64,
    },
    /// Somebody else seals batches in this database.
    #[error("batch {sequence} does not follow the last one: the database has two writers")]
    OutOfOrder {
        /// The sequence.
        sequence: u64,
    },
}

impl Error {
    /// The stable number of this reason: `docs/errors.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Store(error) => error.code(),
            Self::NotRegistered(_) => 7151,
            Self::Ended(_) => 7152,
            Self::Key { .. } => 7153,
            Self::Behind { .. } => 7154,
            Self::Foreign { .. } => 7155,
            Self::OutOfOrder { .. } => 7156,
        }
    }
}

/// What follows from what the database and the chain hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// No anchor is on its way.
    Seal,
    /// The chain has not the anchor that is on its way.
    Send,
    /// The chain has it.
    Complete,
    /// The chain shows less than it had before: a node that lags behind.
    Wait,
}

/// Compares what the database holds with what the chain was proven to hold.
///
/// # Errors
/// All but [`Error::Store`]: whatever would be signed then could be a second anchor for a sequence.
pub fn judge(state: &LogState, record: &LogRecord, key: &PublicKey) -> Result<Next, Error> {
    if record.key != *key {
        return Err(Error::Key { found: record.key, expected: *key });
    }
    if record.sequence > state.sealed {
        return Err(Error::Behind { chain: record.sequence, store: state.sealed });
    }
    if record.sequence == state.sealed {
        if record.last != state.last {
            return Err(Error::Foreign { sequence: state.sealed });
        }
        if state.pending() {
            return Ok(Next::Complete);
        }
    }
    if record.status != Status::Active {
        return Err(Error::Ended(record.status));
    }
    Ok(match state.pending() {
        false if record.sequence == state.sealed => Next::Seal,
        true if record.sequence == state.anchored => Next::Send,
        _ => Next::Wait,
    })
}

/// Anchors what `messages` takes in, until it is told to stop.
///
/// `log`: the log and its key; `account`: the author of the transactions, who pays for them;
/// `every`: the cadence. From the acceptance of a message to its anchor's block it takes about
/// `every` and one block, to its proof one block more.
///
/// # Errors
/// Only what does not go away by itself; outages are waited out.
pub async fn run(
    messages: Messages,
    chain: rpc::Chain,
    log: LogFile,
    account: SigningKey,
    every: Duration,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let chain = ProvenLog::new(chain, log.log, account);
    Outbox::new(messages, chain, log).run(every, stop).await
}

/// The outbox of one log.
#[derive(Debug)]
pub struct Outbox<C> {
    messages: Messages,
    chain: C,
    log: LogFile,
}

impl<C: LogChain> Outbox<C> {
    /// Nothing is read or asked yet.
    #[must_use]
    pub const fn new(messages: Messages, chain: C, log: LogFile) -> Self {
        Self { messages, chain, log }
    }

    /// See [`run`].
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(mut self, every: Duration, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        tokio::select! {
            // What is dropped here is on disk, and goes on from there.
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            ended = self.go_on(every) => ended,
        }
    }

    async fn go_on(&mut self, every: Duration) -> Result<(), Error> {
        let mut ticks = interval(every);
        // A batch that took longer than the cadence is followed by the next at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = BACKOFF;
        // After a start the chain is asked even where nothing is on its way.
        let mut agreed = false;
        loop {
            let state = self.state().await?;
            if agreed && !state.pending() {
                self.due(&mut ticks).await?;
                self.seal(&state).await?;
                // That the chain has it is looked up, whatever became of sending it.
                let _ = self.send().await?;
                continue;
            }
            match self.look(&state).await? {
                Some(Next::Seal) => agreed = true,
                Some(Next::Complete) => self.complete(state.sealed).await?,
                Some(Next::Send) if self.send().await? => {}
                Some(Next::Send | Next::Wait) | None => {
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST);
                    continue;
                }
            }
            backoff = BACKOFF;
        }
    }

    /// Waits for the cadence, or for a whole batch.
    async fn due(&self, ticks: &mut tokio::time::Interval) -> Result<(), Error> {
        loop {
            tokio::select! {
                _ = ticks.tick() => return Ok(()),
                () = self.messages.full_batch() => {
                    if self.state().await?.waiting() >= FULL_BATCH as u64 {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn state(&self) -> Result<LogState, Error> {
        Ok(self.messages.blocking(store::Store::log).await?)
    }

    /// Seals what waits, and signs the anchor for it.
    async fn seal(&self, state: &LogState) -> Result<(), Error> {
        let sealed = self.messages.blocking(|store| {
            let leaves = store.unsealed(FULL_BATCH)?;
            let taken = leaves.len() as u64;
            let batch = Batch::seal(leaves, || Hash(entropy::bytes()));
            Ok((taken, batch.map_err(|_| store::Error::Corrupt { what: "leaves, one of them twice" })?))
        });
        let (taken, batch) = sealed.await?;
        let now = self.messages.now();
        let opened = if state.sealed == 0 { now } else { state.closed };
        let anchor = Anchor {
            version: audit::anchor::VERSION,
            chain: self.log.chain.clone(),
            log: self.log.log,
            sequence: state.sealed + 1,
            previous: state.last,
            root: batch.root(),
            count: batch.count(),
            opened,
            closed: now.max(opened),
        };
        let sequence = anchor.sequence;
        let anchor = SignedAnchor::sign(anchor, self.log.key());
        let seal = Seal { anchor, end: state.sealed_leaves + taken, leaves: batch.leaves().collect() };
        match self.messages.write(Write::Seal(Box::new(seal))).await? {
            Answer::Done { .. } => Ok(()),
            _ => Err(Error::OutOfOrder { sequence }),
        }
    }

    /// Sends the anchor that is on its way, as it is. Whether the chain seems to have it.
    async fn send(&mut self) -> Result<bool, Error> {
        let sequence = self.state().await?.sealed;
        let batch = self.messages.blocking(move |store| store.batch(sequence)).await?;
        let batch = batch.ok_or(store::Error::Corrupt { what: "a batch that is on its way" })?;
        fault::point("submit.before");
        let began = Instant::now();
        let sent = self.chain.submit(&batch.anchor).await;
        fault::point("submit.after");
        match sent {
            Ok(()) => {
                tracing::debug!(sequence, took_ms = began.elapsed().as_millis(), "an anchor is in a block");
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(sequence, code = error.code(), %error, "an anchor was not taken yet, it is sent again");
                Ok(false)
            }
        }
    }

    /// Asks the chain; `None` if it does not answer.
    async fn look(&mut self, state: &LogState) -> Result<Option<Next>, Error> {
        match self.chain.record().await {
            Ok(Some(record)) => judge(state, &record, &self.log.key().public()).map(Some),
            Ok(None) => Err(Error::NotRegistered(self.log.log)),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the chain does not say what it has of the log");
                Ok(None)
            }
        }
    }

    async fn complete(&self, sequence: u64) -> Result<(), Error> {
        match self.messages.write(Write::Complete { sequence, at: self.messages.now() }).await? {
            Answer::Done { .. } => Ok(()),
            _ => Err(Error::OutOfOrder { sequence }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
