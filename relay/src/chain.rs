//! The relay's view of the chain: what identities are, proven, and the operations it pays for.

pub mod follower;
pub(crate) mod lanes;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use identity::{Did, Entry, SignedOperation};
use ledger::{Body, SignedTransaction, TxHash};
use rpc::chain::PATIENCE;
use rpc::queue::{Added, Outcome};
use rpc::{Chain, Queue};
use sha2::Sha256;
use types::{ChainId, Domain, Encode as _, Height};

use crate::Error;

/// When somebody whose operation is in no block yet should ask again, in milliseconds.
const LATE_MS: u64 = 2_000;

static OPERATION: Domain = Domain::new("zynk.2026 relay sponsored operation v1");

/// What the chain held of an identity, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its entry; none if there is no such identity.
    pub entry: Option<Entry>,
    /// The height after which it was like this.
    pub height: Height,
}

/// The chain, as far as the relay needs it.
#[async_trait]
pub trait ChainView: Send + Sync + std::fmt::Debug {
    /// Which chain it is.
    fn id(&self) -> &ChainId;

    /// An identity's entry, proven: not older than what the node holds now, as far as it says.
    ///
    /// # Errors
    /// [`Error::NoChain`], [`Error::Late`].
    async fn identity(&self, did: &Did) -> Result<Seen, Error>;

    /// Sends an operation at the relay's cost and waits until it is in a block: its height. It goes on
    /// when the caller stops waiting, and when the relay stops; who asks again is told of the same one.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Late`], [`Error::Busy`], [`Error::Store`].
    async fn sponsor(&self, operation: SignedOperation) -> Result<Height, Error>;

    /// The newest block's height, verified.
    ///
    /// # Errors
    /// [`Error::NoChain`].
    async fn tip(&self) -> Result<Height, Error>;

    /// Waits for a block above a height: the newest one's height, verified.
    ///
    /// # Errors
    /// [`Error::NoChain`]; [`Error::Late`] if there was none for a while.
    async fn follow(&self, from: Height) -> Result<Height, Error>;

    /// The identities that operations in the block of a height are about: all of them, since the
    /// verified header says which transactions the block has.
    ///
    /// # Errors
    /// [`Error::NoChain`], also for a block that is not the header's.
    async fn operated(&self, height: Height) -> Result<Vec<Did>, Error>;
}

/// The chain through a node that need not be honest.
#[derive(Debug)]
pub struct Proven {
    id: ChainId,
    chain: Mutex<Chain>,
    queue: Queue,
}

impl Proven {
    /// The chain, seen through its client. What is sponsored goes into `queue`.
    #[must_use]
    pub fn new(chain: Chain, queue: Queue) -> Self {
        Self { id: chain.trust().chain().clone(), chain: Mutex::new(chain), queue }
    }

    /// A client that trusts what this one does. Several ask at once, and one that waits for a
    /// block keeps nobody else from asking.
    fn chain(&self) -> Chain {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what a client has come to trust.
    fn keep(&self, chain: Chain) {
        let mut kept = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        if chain.trust().height() > kept.trust().height() {
            *kept = chain;
        }
    }
}

#[async_trait]
impl ChainView for Proven {
    fn id(&self) -> &ChainId {
        &self.id
    }

    async fn identity(&self, did: &Did) -> Result<Seen, Error> {
        let mut chain = self.chain();
        let proven = chain.identity(did).await?;
        self.keep(chain);
        Ok(Seen { height: proven.height(), entry: proven.value })
    }

    async fn sponsor(&self, operation: SignedOperation) -> Result<Height, Error> {
        let name = OPERATION.hash(&[&operation.to_bytes()]);
        if self.queue.submit(&name, &Body::Identity(Box::new(operation))).await.map_err(Error::store)? == Added::Full {
            return Err(Error::Busy { retry_after_ms: LATE_MS });
        }
        match self.queue.wait(&name, PATIENCE).await.map_err(Error::store)? {
            Some(Outcome::Included { height }) => Ok(height),
            Some(Outcome::Refused { codespace, number, height, .. }) => Err(Error::Refused { codespace, number, free: height.is_none() }),
            // The identity's entry says what became of it.
            Some(Outcome::Unseen) | None => Err(Error::Late { retry_after_ms: LATE_MS }),
        }
    }

    async fn tip(&self) -> Result<Height, Error> {
        let mut chain = self.chain();
        let height = chain.latest().await?.height();
        self.keep(chain);
        Ok(height)
    }

    async fn follow(&self, from: Height) -> Result<Height, Error> {
        let mut chain = self.chain();
        let height = chain.follow(from).await?.height();
        self.keep(chain);
        Ok(height)
    }

    async fn operated(&self, height: Height) -> Result<Vec<Did>, Error> {
        let mut chain = self.chain();
        let header = chain.header(height).await?;
        let node = chain.node().clone();
        self.keep(chain);
        let committed = header.header().data_hash;
        if committed.is_none_or(|hash| hash == data_hash(&[])) {
            return Ok(Vec::new());
        }
        let transactions = node.transactions(height).await?;
        if committed != Some(data_hash(&transactions)) {
            return Err(Error::chain(rpc::Error::Mismatch { query: "block", fault: "transactions that the header does not have" }));
        }
        let mut dids: Vec<Did> = transactions.iter().filter_map(|bytes| subject(bytes)).collect();
        dids.sort_unstable();
        dids.dedup();
        Ok(dids)
    }
}

/// The identity that a transaction is about, if it carries an operation on one.
fn subject(bytes: &[u8]) -> Option<Did> {
    match SignedTransaction::parse(bytes).ok()?.transaction.body {
        Body::Identity(operation) => Some(operation.did),
        _ => None,
    }
}

/// A block's data hash, as CometBFT 0.38 has it: over the transactions' hashes.
fn data_hash(transactions: &[Vec<u8>]) -> tendermint::Hash {
    let hashes: Vec<Vec<u8>> = transactions.iter().map(|bytes| TxHash::sha256(&[bytes]).0.to_vec()).collect();
    tendermint::Hash::Sha256(tendermint::merkle::simple_hash_from_byte_vectors::<Sha256>(&hashes))
}
