//! The chain, as far as an outbox needs it.

use async_trait::async_trait;
use audit::{LogId, LogRecord, SignedAnchor};
use ledger::Body;
use rpc::submit::FeePayer;
use rpc::{Chain, Error};
use tokio::sync::Mutex;
use types::{Encode as _, Height, SigningKey};

/// One log on a chain. It is looked at and sent to at the same time.
#[async_trait]
pub trait LogChain: Send + Sync {
    /// What the chain holds of the log, proven; `None` if it is not registered. The first time it is told at once, then
    /// whenever there is a new proof, of whatever it may be.
    async fn record(&self) -> Result<Option<LogRecord>, Error>;

    /// Hands an anchor over. Only the record shows whether it came into a block: after an answer it may not, after an
    /// error it may all the same. One that was handed over before is sent again, unless it is on the chain.
    async fn submit(&self, anchor: &SignedAnchor) -> Result<(), Error>;
}

/// A log on a chain that is believed only what it proves.
#[derive(Debug)]
pub struct ProvenLog {
    log: LogId,
    account: SigningKey,
    looking: Mutex<Looking>,
    sending: Mutex<Sending>,
}

#[derive(Debug)]
struct Looking {
    chain: Chain,
    /// The height of the last proof.
    seen: Height,
}

#[derive(Debug)]
struct Sending {
    chain: Chain,
    /// The sequence of the last anchor that was handed over without an error, and that of the account's next transaction.
    last: Option<(u64, u64)>,
}

impl ProvenLog {
    /// `account`: who signs the transactions and pays for them.
    #[must_use]
    pub fn new(chain: Chain, log: LogId, account: SigningKey) -> Self {
        let looking = Looking { chain: chain.clone(), seen: Height(0) };
        Self { log, account, looking: Mutex::new(looking), sending: Mutex::new(Sending { chain, last: None }) }
    }
}

#[async_trait]
impl LogChain for ProvenLog {
    async fn record(&self) -> Result<Option<LogRecord>, Error> {
        let Looking { chain, seen } = &mut *self.looking.lock().await;
        let proven = Box::pin(chain.follow_log(&self.log, *seen)).await?;
        *seen = proven.header.height();
        Ok(proven.value)
    }

    async fn submit(&self, anchor: &SignedAnchor) -> Result<(), Error> {
        let Sending { chain, last } = &mut *self.sending.lock().await;
        let terms = match last.take() {
            Some((before, next)) if anchor.anchor.sequence > before => Box::pin(chain.terms_at(next)).await?,
            _ => {
                // After a start, an error or a loss: earlier tries may have used up any number of sequences, or none. The log
                // is asked after the account, since a try that comes into a block in between has used up the sequence.
                let terms = Box::pin(chain.terms(&self.account.public().address())).await?;
                let record = Box::pin(chain.log(&self.log)).await?.value;
                if record.is_some_and(|record| record.sequence >= anchor.anchor.sequence) {
                    return Ok(());
                }
                terms
            }
        };
        let transaction = terms.sign(&self.account, FeePayer::Author, Body::Anchor(Box::new(anchor.clone())));
        chain.node().send(transaction.to_bytes()).await?;
        *last = Some((anchor.anchor.sequence, terms.sequence + 1));
        Ok(())
    }
}
