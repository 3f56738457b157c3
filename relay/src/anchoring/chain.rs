//! The chain, as far as an outbox needs it.

use async_trait::async_trait;
use audit::{LogId, LogRecord, SignedAnchor};
use ledger::Body;
use rpc::submit::FeePayer;
use rpc::{Chain, Error};
use types::SigningKey;

/// One log on a chain.
#[async_trait]
pub trait LogChain: Send {
    /// What the chain holds of the log, proven, and not older than what was submitted here;
    /// `None` if it is not registered.
    async fn record(&mut self) -> Result<Option<LogRecord>, Error>;

    /// Sends an anchor and waits until it seems to be in a block. After an error it may be in one
    /// all the same, or come to be.
    async fn submit(&mut self, anchor: &SignedAnchor) -> Result<(), Error>;
}

/// A log on a chain that is believed only what it proves.
#[derive(Debug)]
pub struct ProvenLog {
    chain: Chain,
    log: LogId,
    account: SigningKey,
}

impl ProvenLog {
    /// `account`: who signs the transactions and pays for them.
    #[must_use]
    pub const fn new(chain: Chain, log: LogId, account: SigningKey) -> Self {
        Self { chain, log, account }
    }
}

#[async_trait]
impl LogChain for ProvenLog {
    async fn record(&mut self) -> Result<Option<LogRecord>, Error> {
        Ok(Box::pin(self.chain.log(&self.log)).await?.value)
    }

    async fn submit(&mut self, anchor: &SignedAnchor) -> Result<(), Error> {
        let body = Body::Anchor(Box::new(anchor.clone()));
        // With the account's sequence of now: an earlier try may have used up the one before it.
        Box::pin(self.chain.submit(&self.account, FeePayer::Author, body)).await.map(drop)
    }
}
