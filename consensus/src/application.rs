//! The application that an engine replicates, in the shape of ABCI 2.0.

use tendermint::abci::{request, response};

/// A replicated state machine, as ABCI 2.0 asks and answers (CometBFT 0.38, `spec/abci`).
///
/// The engine calls [`finalize_block`](Self::finalize_block) once a height, in order, and makes the
/// outcome durable by [`commit`](Self::commit) before it goes on. The other methods may be called
/// at any time and from any thread. All of them may block.
pub trait Application: Send + Sync + 'static {
    /// Where the application stands.
    fn info(&self) -> response::Info;

    /// Makes the state of the genesis.
    fn init_chain(&self, request: request::InitChain) -> response::InitChain;

    /// Whether a transaction may enter the mempool.
    fn check_tx(&self, request: request::CheckTx) -> response::CheckTx;

    /// Chooses and orders the transactions of a block to propose.
    fn prepare_proposal(&self, request: request::PrepareProposal) -> response::PrepareProposal;

    /// Whether a proposed block may be voted for.
    fn process_proposal(&self, request: request::ProcessProposal) -> response::ProcessProposal;

    /// Executes a decided block; nothing is durable yet.
    fn finalize_block(&self, request: request::FinalizeBlock) -> response::FinalizeBlock;

    /// Makes the finalized block's outcome durable.
    fn commit(&self) -> response::Commit;

    /// Answers a question about the state, with a proof if asked.
    fn query(&self, request: request::Query) -> response::Query;
}
