//! The anchoring outbox: leaves into batches, batches under anchors, anchors onto the chain.
//!
//! A batch is sealed on a fixed cadence, also when nothing came in, so that a lone message cannot be
//! timed. Several may be on their way ([`ON_THE_WAY`]), each anchor naming the one before by hash;
//! batch and signed anchor are one synced write before the anchor leaves; anchors are sent in order,
//! the same bytes again until a state proof shows that the chain has them. There is no second anchor
//! for a sequence whatever crashes, is lost or repeated in between, since nothing is signed that is
//! not in the database first, and nothing that is in it is signed again.
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
use crate::messages::store::{self, Answer, LogState, ON_THE_WAY, Seal, Sealed, Store, Write};
use crate::messages::{FULL_BATCH, Messages};

/// The first pause after something failed; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// After so long without a sign of it an anchor that a node took is sent again: the node may have ended, or have had to let it go.
const PATIENCE: Duration = Duration::from_secs(10);

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
    #[error("the log takes no more anchors: {0:?}. `zynk relay new-log` begins another one")]
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
        "the chain has anchor {chain}, the database has sealed {store}: it is older than the log. `zynk relay new-log` begins another one"
    )]
    Behind {
        /// The chain's last sequence.
        chain: u64,
        /// The database's.
        store: u64,
    },
    /// The chain has another anchor for a sequence than this database.
    #[error(
        "anchor {sequence} on the chain is not the one of this database: somebody else signs with the log's key. `zynk relay new-log` begins another log"
    )]
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
    /// The chain has none of the anchors that are on their way.
    Send,
    /// The chain has those up to this sequence.
    Complete(u64),
    /// The chain shows less than it had before: a node that lags behind.
    Wait,
}

/// Compares what the database holds with what the chain was proven to hold.
///
/// `ours`: the hash of the database's own anchor of the record's sequence, which it knows from the last completed
/// one to the last sealed one.
///
/// # Errors
/// All but [`Error::Store`]: whatever would be signed then could be a second anchor for a sequence.
pub fn judge(state: &LogState, ours: Option<Hash>, record: &LogRecord, key: &PublicKey) -> Result<Next, Error> {
    let sequence = record.sequence;
    if record.key != *key {
        return Err(Error::Key { found: record.key, expected: *key });
    }
    if sequence > state.sealed {
        return Err(Error::Behind { chain: sequence, store: state.sealed });
    }
    if sequence >= state.anchored && ours != Some(record.last) {
        return Err(Error::Foreign { sequence });
    }
    if sequence > state.anchored {
        return Ok(Next::Complete(sequence));
    }
    if record.status != Status::Active {
        return Err(Error::Ended(record.status));
    }
    Ok(match state.on_the_way() {
        _ if sequence < state.anchored => Next::Wait,
        0 => Next::Seal,
        _ => Next::Send,
    })
}

/// Anchors what `messages` takes in, until it is told to stop.
///
/// `log`: the log and its key; `account`: the author of the transactions, who pays for them;
/// `every`: the cadence. From the acceptance of a message to its anchor's block it takes at most about
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
    /// After so long an anchor that was handed over and is not on the chain counts as lost.
    patience: Duration,
}

/// What was handed over to the chain since something failed.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Anchors up to this sequence; those that the chain was seen to have may not be counted.
    upto: u64,
    /// The last time.
    at: Instant,
}

impl Sent {
    /// Nothing: whatever is on its way is sent.
    fn nothing() -> Self {
        Self { upto: 0, at: Instant::now() }
    }
}

impl<C: LogChain> Outbox<C> {
    /// Nothing is read or asked yet.
    #[must_use]
    pub const fn new(messages: Messages, chain: C, log: LogFile) -> Self {
        Self { messages, chain, log, patience: PATIENCE }
    }

    /// See [`run`].
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(self, every: Duration, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        tokio::select! {
            // What is dropped here is on disk, and goes on from there.
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            ended = self.go_on(every) => ended,
        }
    }

    async fn go_on(&self, every: Duration) -> Result<(), Error> {
        let mut ticks = interval(every);
        // One that came late, since too many were on their way, is followed by the next after a whole interval.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut backoff) = (Sent::nothing(), BACKOFF);
        // After a start the chain is asked even where nothing is on its way, and again after each failure.
        let mut agreed = false;
        // It goes on while batches are sealed; a new one asks nothing until it is waited for.
        let mut look = self.chain.record();
        loop {
            let state = self.state().await?;
            tokio::select! {
                seen = &mut look, if !agreed || state.on_the_way() > 0 => {
                    look = self.chain.record();
                    agreed = self.take_in(&state, seen, &mut sent).await?;
                }
                due = self.due(&mut ticks), if agreed && state.on_the_way() < ON_THE_WAY => {
                    due?;
                    self.seal(&state).await?;
                    agreed = self.send(&self.state().await?, &mut sent).await?;
                }
            }
            if agreed {
                backoff = BACKOFF;
            } else {
                look = Box::pin(async move {
                    sleep(backoff).await;
                    self.chain.record().await
                });
                backoff = (backoff * 2).min(LONGEST);
            }
        }
    }

    /// Waits for the cadence, or for a whole batch.
    async fn due(&self, ticks: &mut tokio::time::Interval) -> Result<(), Error> {
        while self.state().await?.waiting() < FULL_BATCH as u64 {
            tokio::select! {
                _ = ticks.tick() => break,
                () = self.messages.full_batch() => {}
            }
        }
        Ok(())
    }

    async fn state(&self) -> Result<LogState, Error> {
        Ok(self.messages.blocking(Store::log).await?)
    }

    /// What the chain was seen to hold, or why it was not. Whether database and chain agree, and nothing has failed.
    async fn take_in(&self, state: &LogState, seen: Result<Option<LogRecord>, rpc::Error>, sent: &mut Sent) -> Result<bool, Error> {
        let record = match seen {
            Ok(Some(record)) => record,
            Ok(None) => return Err(Error::NotRegistered(self.log.log)),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the chain does not say what it has of the log");
                return Ok(false);
            }
        };
        let ours = self.hash(state, record.sequence).await?;
        match judge(state, ours, &record, &self.log.key().public())? {
            Next::Seal => Ok(true),
            Next::Complete(sequence) => self.complete(sequence).await.map(|()| true),
            Next::Send => {
                if sent.at.elapsed() >= self.patience {
                    *sent = Sent::nothing();
                }
                self.send(state, sent).await
            }
            Next::Wait => Ok(false),
        }
    }

    /// The hash of an anchor of this log; none of those before the last completed one, or that are not sealed.
    async fn hash(&self, state: &LogState, sequence: u64) -> Result<Option<Hash>, Error> {
        let state = *state;
        Ok(self.messages.blocking(move |store| hash(store, &state, sequence)).await?)
    }

    /// A batch whose anchor is on its way.
    async fn batch(&self, number: u64) -> Result<Sealed, Error> {
        Ok(self.messages.blocking(move |store| batch(store, number)).await?)
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

    /// Hands over the anchors that are on their way and were not handed over, in order, as they are. Whether the chain
    /// took them; if not, all of them are to be sent again.
    async fn send(&self, state: &LogState, sent: &mut Sent) -> Result<bool, Error> {
        for sequence in sent.upto.max(state.anchored) + 1..=state.sealed {
            let batch = self.batch(state.number(sequence)).await?;
            fault::point("submit.before");
            let submitted = self.chain.submit(&batch.anchor).await;
            fault::point("submit.after");
            if let Err(error) = submitted {
                tracing::warn!(sequence, code = error.code(), %error, "an anchor was not taken yet, it is sent again");
                *sent = Sent::nothing();
                return Ok(false);
            }
            *sent = Sent { upto: sequence, at: Instant::now() };
        }
        Ok(true)
    }

    async fn complete(&self, sequence: u64) -> Result<(), Error> {
        match self.messages.write(Write::Complete { sequence, at: self.messages.now() }).await? {
            Answer::Done { .. } => Ok(()),
            _ => Err(Error::OutOfOrder { sequence }),
        }
    }
}

/// The hash of the anchor that a database has for a sequence: [`judge`]'s `ours`.
pub(crate) fn hash(store: &dyn Store, state: &LogState, sequence: u64) -> Result<Option<Hash>, store::Error> {
    if sequence == state.sealed {
        return Ok(Some(state.last));
    }
    if !(state.anchored..state.sealed).contains(&sequence) {
        return Ok(None);
    }
    // The next one names it, also where it was of padding only and was let go.
    Ok(Some(batch(store, state.number(sequence + 1))?.anchor.anchor.previous))
}

fn batch(store: &dyn Store, number: u64) -> Result<Sealed, store::Error> {
    store.batch(number)?.ok_or(store::Error::Corrupt { what: "a batch that is on its way" })
}

#[cfg(test)]
pub(crate) mod tests;
