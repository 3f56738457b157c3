//! What an engine inside the node needs beyond ABCI: a place for blocks, and what waits for one.

use std::sync::Arc;

use bytes::Bytes;
use tendermint::abci::response::FinalizeBlock;
use tendermint::block::{Block, Commit, Height, Id};
use tendermint::evidence::Evidence;
use tokio::sync::Notify;

use crate::application::Application;
use crate::chain::ChainState;
use crate::evidence::History;
use crate::pace::Pace;

/// A decided block with all that came of it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The block.
    pub block: Block,
    /// Its id.
    pub id: Id,
    /// The commit as this node saw it first.
    pub seen_commit: Commit,
    /// What the application made of it.
    pub outcome: FinalizeBlock,
    /// The chain after it.
    pub state: ChainState,
}

/// A block that was proposed and not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// The height at which it is proposed.
    pub height: Height,
    /// The round in which it is proposed.
    pub round: u32,
    /// The round in which it gathered a quorum of prevotes before, if it is proposed again.
    pub valid_round: Option<u32>,
    /// Who proposes it.
    pub proposer: [u8; 20],
    /// Its hash.
    pub hash: [u8; 32],
    /// Whether this node found it valid.
    pub valid: bool,
    /// Its bytes, as `docs/spec/blocks.md` has them.
    pub body: Bytes,
}

/// A failure of the host that the engine cannot mend: it stops.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// The node, as an embedded engine sees it.
pub trait Host: Application {
    /// The blocks that evidence is held against.
    type History: History;

    /// The blocks that evidence is held against.
    fn history(&self) -> &Self::History;

    /// The chain after the last committed block, or before the first one.
    fn chain_state(&self) -> ChainState;

    /// The lowest height of which the block is still here.
    fn earliest(&self) -> Height;

    /// The decided block at `height` and the best commit known for it.
    fn decided(&self, height: Height) -> Option<(Block, Commit)>;

    /// The best commit known for the last block, which is here also where that block is not.
    fn last_commit(&self) -> Option<Commit> {
        self.chain_state().last_block.and_then(|(height, _)| self.decided(height)).map(|(_, commit)| commit)
    }

    /// Keeps a proposed block through a crash of the process.
    ///
    /// # Errors
    /// When it could not be stored.
    fn keep(&self, proposed: &Proposed) -> Result<(), HostError>;

    /// The proposed blocks kept for `height`, which is above the last committed.
    fn kept(&self, height: Height) -> Vec<Proposed>;

    /// Stores a decided block, its outcome and the application's state in one synced write, and
    /// drops the proposals kept for its height.
    ///
    /// # Errors
    /// When it is not durable; the engine then stops without going on.
    fn commit_block(&self, decided: Decided) -> Result<(), HostError>;

    /// Transactions that wait, best first, of at most `max_bytes` together.
    fn pending(&self, max_bytes: usize) -> Vec<Bytes>;

    /// Evidence that waits and holds after the last block, of at most `max_bytes` together.
    fn pending_evidence(&self, max_bytes: usize) -> Vec<Evidence>;

    /// Takes up evidence that the engine found.
    fn accuse(&self, evidence: Evidence);

    /// Whether neither transactions nor evidence wait.
    fn is_idle(&self) -> bool;

    /// How fast the chain goes.
    fn pace(&self) -> Pace;

    /// The highest height that a peer has told of; its word only.
    fn peers_tip(&self) -> u64;

    /// Rung when a transaction or evidence arrives.
    fn bell(&self) -> Arc<Notify>;
}
