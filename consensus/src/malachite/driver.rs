//! The loop that answers the engine: blocks in and out of the host, one message at a time.
//!
//! It runs on a thread of its own, so that it may block: the host's disk and the application's
//! work never hold up the engine's network. A reply is owed to every message.
//!
//! A height walks through the files of the folder `driver`: `beginning`, `proposing` or
//! `receiving`, `deciding`; a node that is behind takes it by `syncing`. What validators did wrong
//! meanwhile is `accusing`'s.

mod accusing;
mod beginning;
mod deciding;
mod proposing;
mod receiving;
mod syncing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use malachite::app::engine::host::Next;
use malachite::{AppMsg, Channels, Reply};
use tendermint::abci::{request, response};
use tendermint::account;
use tendermint::block::{Block, Commit};
use types::Hash;

use super::context::{BlockHash, Zynk};
use super::parts::{Assembled, Assembly, Init};
use super::signing::GuardedSigner;
use crate::chain::ChainState;
use crate::evidence::misbehavior;
use crate::host::{Host, HostError, Proposed};

/// How often a waiting height is reconsidered where nothing else wakes it: peers tell their heights
/// about once a second.
const RECONSIDER: Duration = Duration::from_millis(500);

/// How long a program that may not begin the next height stays for its peers, who may still need
/// its votes for the last one or that block itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The engine has gone.
    #[error("the consensus engine has stopped")]
    EngineGone,
    /// The host could not store.
    #[error("the node could not store a block: {0}")]
    Host(#[from] HostError),
    /// The engine decided a block whose bytes are not here.
    #[error("block {hash} was decided at height {height}, but its bytes are not here")]
    Missing {
        /// The height.
        height: u64,
        /// The decided block.
        hash: Hash,
    },
    /// The next height needs a program of another version.
    #[error("height {height} has version {version} of the application; this program runs versions up to {highest}")]
    Outdated {
        /// The height that is not begun.
        height: u64,
        /// Its version.
        version: u64,
        /// The highest version that this program runs.
        highest: u64,
    },
    /// The application changed the validators as they cannot be.
    #[error("the application's validator updates are not possible: {0}")]
    Updates(#[from] crate::validators::BadUpdate),
}

/// Answers one engine.
pub struct Driver<H> {
    host: Arc<H>,
    channels: Channels<Zynk>,
    /// None for a node that does not sign: it never proposes either.
    signer: Option<GuardedSigner>,
    state: ChainState,
    /// The round of the next height that the engine has come to.
    round: u32,
    /// The highest version of the application that this program runs.
    highest: u64,
    /// The best commit known for the last block.
    last_commit: Option<Commit>,
    proposed: Vec<Proposed>,
    /// The announcements by which those of others came, as their proposers signed them.
    announced: Vec<Init>,
    assembly: Assembly,
    early: Vec<Assembled>,
    waiting: Option<Reply<Next<Zynk>>>,
    unproven_change: bool,
    /// The last block that a peer handed over as decided.
    synced: Option<BlockHash>,
    committed_at: Instant,
    streams: u64,
}

impl<H> std::fmt::Debug for Driver<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("height", &self.state.next_height()).finish_non_exhaustive()
    }
}

impl<H: Host> Driver<H> {
    /// Takes up where the host's chain stands.
    #[must_use]
    pub fn new(host: Arc<H>, channels: Channels<Zynk>, signer: Option<GuardedSigner>) -> Self {
        let state = host.chain_state();
        let last_commit = host.last_commit();
        let proposed = host.kept(state.next_height());
        let highest = host.info().app_version;
        Self {
            host,
            channels,
            signer,
            state,
            round: 0,
            highest,
            last_commit,
            proposed,
            announced: Vec::new(),
            assembly: Assembly::default(),
            early: Vec::new(),
            waiting: None,
            unproven_change: true,
            synced: None,
            committed_at: Instant::now(),
            streams: 0,
        }
    }

    /// Answers until the engine stops.
    ///
    /// # Errors
    /// [`DriverError`]; there is no way on.
    pub async fn run(mut self) -> Result<(), DriverError> {
        let bell = self.host.bell();
        self.may_begin()?;
        loop {
            if self.committed_at.elapsed() >= FAREWELL {
                self.may_begin()?;
            }
            let rung = bell.notified();
            let ready = self.waiting.is_some() && self.may_begin().is_ok();
            let delay = if ready { self.delay() } else { Some(Duration::MAX) };
            let Some(delay) = delay else {
                self.begin();
                continue;
            };
            tokio::select! {
                message = self.channels.consensus.recv() => self.answer(message.ok_or(DriverError::EngineGone)?)?,
                () = rung => {}
                () = tokio::time::sleep(delay.min(RECONSIDER)) => {}
            }
        }
    }

    /// Asks whether this program may begin the next height, or judge a block of it.
    fn may_begin(&self) -> Result<(), DriverError> {
        let (height, version, highest) = (self.state.next_height().value(), self.state.app_version, self.highest);
        if version <= highest { Ok(()) } else { Err(DriverError::Outdated { height, version, highest }) }
    }

    fn answer(&mut self, message: AppMsg<Zynk>) -> Result<(), DriverError> {
        // A reply that nobody waits for any more is no error.
        match message {
            AppMsg::ConsensusReady { reply } => self.ready(reply),
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                tracing::debug!(%height, %round, "round started");
                self.round = round.as_u32().unwrap_or(0);
                let _ = reply_value.send(self.known(height, round));
            }
            AppMsg::GetValue { height, round, reply, .. } => self.propose(height, round, reply)?,
            AppMsg::RestreamProposal { height, round, valid_round, address, value_id } => {
                self.restream(height, round, valid_round, address, value_id)?;
            }
            AppMsg::ReceivedProposalPart { published_by, part, reply, .. } => {
                let value = self.receive(published_by, part)?;
                let _ = reply.send(value);
            }
            AppMsg::Decided { certificate, reply, .. } => {
                self.decided(&certificate)?;
                let _ = reply.send(());
            }
            AppMsg::Finalized { certificate, evidence, reply, .. } => {
                self.accuse(&evidence);
                self.improve(&certificate);
                self.waiting = Some(reply);
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let _ = reply.send(self.host.earliest().into());
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let _ = reply.send(self.history(*range.start(), *range.end()));
            }
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                let outcome = self.synced(height, round, proposer, value_bytes)?;
                let _ = reply.send(outcome);
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                // None is ever asked for on this chain, so none is ever accepted.
                use malachite::app::consensus::VoteExtensionError;
                let refused = |address| (address, Err(VoteExtensionError::InvalidVoteExtension));
                let _ = reply.send(extensions.into_iter().map(|(address, _)| refused(address)).collect());
            }
        }
        Ok(())
    }

    /// Whether the application can execute the block.
    fn accepted(&self, block: &Block) -> bool {
        let request = request::ProcessProposal {
            txs: block.data.iter().cloned().map(Bytes::from).collect(),
            proposed_last_commit: Some(self.state.commit_info(block.last_commit.as_ref())),
            misbehavior: misbehavior(&block.evidence),
            hash: block.header.hash(),
            height: block.header.height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: block.header.proposer_address,
        };
        self.host.process_proposal(request) == response::ProcessProposal::Accept
    }

    /// Keeps a block of this height, durably: the engine may vote for it as soon as it is told of it.
    fn keep(&mut self, proposed: Proposed) -> Result<(), DriverError> {
        self.host.keep(&proposed)?;
        self.proposed.push(proposed);
        Ok(())
    }

    fn max_block_bytes(&self) -> usize {
        usize::try_from(self.state.params.block.max_bytes).unwrap_or(usize::MAX)
    }
}

fn hash_bytes(block: &Block) -> [u8; 32] {
    block.header.hash().as_bytes().try_into().expect("a header's hash has 32 bytes")
}

fn address_bytes(address: account::Id) -> [u8; 20] {
    address.as_bytes().try_into().expect("an address has 20 bytes")
}
