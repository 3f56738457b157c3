//! Where jobs are kept.

use std::time::Duration;

use async_trait::async_trait;
use ledger::Body;
use types::Hash;

use super::job::{Attempt, Job, Outcome};

/// A store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the submissions cannot be stored: {0}")]
pub struct StoreError(pub String);

impl StoreError {
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What became of handing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in the queue now.
    New,
    /// It is in the queue already, or has its outcome.
    Known,
    /// Too many wait; it was not taken.
    Full,
}

/// What a store of jobs must do; every writing method is durable when it returns. `queue/tests/suite.rs` is the test of all of
/// them.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Takes a job, where fewer than `most` have no outcome yet. One that was refused is begun anew.
    ///
    /// # Errors
    /// When it is not durable.
    async fn add(&self, name: &Hash, body: &Body, most: u32) -> Result<Added, StoreError>;

    /// The job that this lane has begun and not ended; else the oldest that no lane has, which is this lane's from now on.
    ///
    /// # Errors
    /// When it cannot be read or written.
    async fn claim(&self, lane: u32) -> Result<Option<Job>, StoreError>;

    /// Keeps the transaction of a job, instead of the one before.
    ///
    /// # Errors
    /// When it is not durable.
    async fn keep(&self, name: &Hash, attempt: &Attempt) -> Result<(), StoreError>;

    /// Keeps what became of a job.
    ///
    /// # Errors
    /// When it is not durable.
    async fn finish(&self, name: &Hash, outcome: &Outcome) -> Result<(), StoreError>;

    /// What became of a job, if that is known.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn outcome(&self, name: &Hash) -> Result<Option<Outcome>, StoreError>;

    /// Forgets jobs that ended so long ago.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn forget(&self, kept: Duration) -> Result<(), StoreError>;
}
