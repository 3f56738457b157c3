//! The chain, as far as the queue needs it.

use async_trait::async_trait;
use ledger::TxHash;
use types::Address;

use super::job::Stand;
use crate::node::Found;
use crate::submit::Terms;
use crate::{Chain, Error};

/// A chain that transactions can be brought to.
#[async_trait]
pub trait Door: Send {
    /// Where an account stands, proven. Never older than what this client has seen included.
    ///
    /// # Errors
    /// What the node or the network fails at, or does not prove.
    async fn stand(&mut self, author: &Address) -> Result<Stand, Error>;

    /// The terms for a transaction with this sequence.
    ///
    /// # Errors
    /// As [`Door::stand`].
    async fn terms(&mut self, sequence: u64) -> Result<Terms, Error>;

    /// Hands a transaction to a mempool.
    ///
    /// # Errors
    /// As [`Door::stand`], and [`Error::Transaction`] if it is refused there. Any error but that leaves open whether it was taken.
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Error>;

    /// Where a transaction was included, by the node's word.
    ///
    /// # Errors
    /// What the node or the network fails at.
    async fn find(&mut self, hash: TxHash) -> Result<Option<Found>, Error>;
}

#[async_trait]
impl Door for Chain {
    async fn stand(&mut self, author: &Address) -> Result<Stand, Error> {
        let account = self.account(author).await?;
        Ok(Stand { sequence: account.value.sequence, height: account.height() })
    }

    async fn terms(&mut self, sequence: u64) -> Result<Terms, Error> {
        self.terms_at(sequence).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.node().send(bytes).await
    }

    async fn find(&mut self, hash: TxHash) -> Result<Option<Found>, Error> {
        self.node().find(hash).await
    }
}
