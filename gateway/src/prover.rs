//! Questions to the chain, proven before they are answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use light::Verified;
use rpc::{Chain, Proven};
use serde_json::{Value, json};
use tendermint::Time;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Error;
use crate::settings::Limits;
use crate::upstream::NODE;

/// The chain as far as the gateway has verified it.
#[derive(Debug)]
pub(crate) struct Prover {
    /// What has been verified so far: each question begins there.
    chain: Mutex<Chain>,
    turns: Arc<Semaphore>,
    patience: Duration,
}

/// One question's own view of the chain.
pub(crate) struct Turn {
    pub(crate) chain: Chain,
    _permit: OwnedSemaphorePermit,
}

/// An entry of the state with everything that a client needs to check it again.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) key: Vec<u8>,
    pub(crate) entry: Proven<Option<Vec<u8>>>,
    /// The ICS-23 proof under `entry.header`.
    pub(crate) ics23: Vec<u8>,
}

impl Prover {
    pub(crate) fn new(chain: Chain, limits: &Limits) -> Self {
        let patience = Duration::from_millis(limits.request_ms);
        Self { chain: Mutex::new(chain), turns: Arc::new(Semaphore::new(limits.proofs)), patience }
    }

    /// A turn to ask, if there is one.
    pub(crate) fn begin(&self) -> Result<Turn, Error> {
        let permit = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| Error::Busy)?;
        Ok(Turn { chain: self.known().clone(), _permit: permit })
    }

    /// Asks within the time of a request, and keeps what was verified on the way.
    pub(crate) async fn within<T>(&self, asking: impl Future<Output = Result<T, rpc::Error>>) -> Result<T, Error> {
        timeout(self.patience, asking).await.map_err(|_| Error::Late { upstream: NODE })?.map_err(|error| refused(&error))
    }

    /// Keeps what a question has verified, for the next one.
    pub(crate) fn keep(&self, turn: Turn) {
        let mut known = self.known();
        if turn.chain.trust().height() > known.trust().height() {
            *known = turn.chain;
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// What the state holds at a key, with its proof.
    pub(crate) async fn show(&mut self, key: Vec<u8>) -> Result<Shown, rpc::Error> {
        let entry = self.chain.entry(&key).await?;
        // The chain keeps no proof that it has checked: the same one is asked for once more.
        let ics23 = self.chain.node().state(&key, Some(entry.height())).await?.proof;
        if entry.header.entry(&key, &ics23)? != entry.value {
            return Err(rpc::Error::Mismatch { query: rpc::query::STATE, fault: "two proofs of one entry differ" });
        }
        Ok(Shown { key, entry, ics23 })
    }

    /// By what a header was proven, as JSON.
    pub(crate) fn facts(&self, header: &Verified) -> Value {
        json!({
            "chain": header.chain(),
            "height": header.state_height(),
            "header_height": header.height(),
            "header_hash": header.hash(),
            "app_hash": hex::encode(header.header().app_hash.as_bytes()),
            "time": header.time(),
            "age_s": header.age(Time::now()).as_secs(),
            "origin": self.chain.trust().origin(),
            "beyond_trusting_period": self.chain.is_beyond_period(),
        })
    }

    /// As [`Turn::facts`], with the entry and its own proof.
    pub(crate) fn proof(&self, shown: &Shown) -> Value {
        let mut facts = self.facts(&shown.entry.header);
        facts["key"] = hex::encode(&shown.key).into();
        facts["entry"] = shown.entry.value.as_ref().map_or(Value::Null, |bytes| hex::encode(bytes).into());
        facts["ics23"] = hex::encode(&shown.ics23).into();
        facts
    }
}

/// What a client is told when the chain gives no proven answer.
fn refused(error: &rpc::Error) -> Error {
    match error {
        rpc::Error::Unreachable { .. } => Error::Unreachable { upstream: NODE },
        rpc::Error::Timeout { .. } => Error::Late { upstream: NODE },
        rpc::Error::Refused { .. } | rpc::Error::Query { .. } => Error::Height,
        _ => {
            tracing::warn!(%error, "what the node says is not believed");
            Error::Unproven { code: error.code() }
        }
    }
}
