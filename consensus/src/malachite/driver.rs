//! The loop that answers the engine: blocks in and out of the host, one message at a time.
//!
//! It runs on a thread of its own, so that it may block: the host's disk and the application's
//! work never hold up the engine's network. A reply is owed to every message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use malachite::app::engine::host::{HeightParams, Next, SyncedValueOutcome};
use malachite::app::streaming::StreamMessage;
use malachite::app::types::core::{CommitCertificate, ExtendedCommitCertificate, ExtendedCommitSignature, LinearTimeouts, Round, Validity};
use malachite::app::types::sync::RawDecidedValue;
use malachite::app::types::{LocallyProposedValue, PeerId, ProposedValue};
use malachite::{AppMsg, Channels, NetworkMsg, NetworkRequest, Reply};
use tendermint::abci::{request, response};
use tendermint::block::{Block, Commit, CommitSig};
use tendermint::{Time, account};
use tokio::sync::mpsc::Sender;
use types::Hash;

use super::context::{Address, BlockHash, ConsensusSignature, Height, Part, Validators, Zynk};
use super::parts::{Announcement, Assembled, Assembly, Init, split};
use super::signing::GuardedSigner;
use crate::chain::{self, BadBlock, ChainState};
use crate::commit::{self, block_id};
use crate::host::{Decided, Host, HostError, Proposed};
use crate::pace::Waiting;
use crate::validators::ValidatorSet;

/// The most decided blocks in one answer to a peer that catches up, and the most bytes.
const SYNC_BLOCKS: usize = 32;
const SYNC_BYTES: usize = 6 * 1024 * 1024;

/// How long the first height waits for peers after a start.
const PEER_WAIT: Duration = Duration::from_secs(5);

/// How often a waiting height is reconsidered where nothing else wakes it: peers tell their heights
/// about once a second.
const RECONSIDER: Duration = Duration::from_millis(500);

/// A height needs far fewer rounds than this to decide.
const MAX_ROUND: u32 = 10_000;

/// At most this many different blocks are kept of one round: an honest proposer makes one, and two
/// are enough to show that it is not.
const KEPT_PER_ROUND: usize = 2;

/// At most this many complete proposals for the height after the next are held until it begins.
const EARLY: usize = 16;

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
    /// The best commit known for the last block.
    last_commit: Option<Commit>,
    proposed: Vec<Proposed>,
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
        let last_commit = state.last_block.and_then(|(height, _)| host.decided(height)).map(|(_, commit)| commit);
        let proposed = host.kept(state.next_height());
        Self {
            host,
            channels,
            signer,
            state,
            last_commit,
            proposed,
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
        loop {
            let rung = bell.notified();
            let delay = if self.waiting.is_some() { self.delay() } else { Some(Duration::MAX) };
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

    fn answer(&mut self, message: AppMsg<Zynk>) -> Result<(), DriverError> {
        // A reply that nobody waits for any more is no error.
        match message {
            AppMsg::ConsensusReady { reply } => self.ready(reply),
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                tracing::debug!(%height, %round, "round started");
                let _ = reply_value.send(self.known(height, round));
            }
            AppMsg::GetValue { height, round, reply, .. } => self.propose(height, round, reply)?,
            AppMsg::RestreamProposal { height, round, valid_round, value_id, .. } => self.restream(height, round, valid_round, value_id)?,
            AppMsg::ReceivedProposalPart { published_by, part, reply, .. } => {
                let value = self.receive(published_by, part)?;
                let _ = reply.send(value);
            }
            AppMsg::Decided { certificate, reply, .. } => {
                self.decided(&certificate)?;
                let _ = reply.send(());
            }
            AppMsg::Finalized { certificate, evidence, reply, .. } => {
                for offender in
                    evidence.votes.iter().map(|(address, _)| address).chain(evidence.proposals.iter().map(|(address, _)| address))
                {
                    tracing::error!(%offender, height = %certificate.height, "a validator signed two different messages for one slot");
                }
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

    /// Waits for peers before the first height: votes sent before anybody listens are lost, and
    /// the first round with them.
    fn ready(&self, reply: Reply<(Height, HeightParams<Zynk>)>) {
        let (height, params) = (Height::from(self.state.next_height()), self.params());
        let alone = self.state.validators.as_slice().len() == 1;
        let requests = self.channels.net_requests.clone();
        let needed = self.state.validators.as_slice().len() * 2 / 3;
        tokio::spawn(async move {
            if !alone {
                wait_for_peers(&requests, needed).await;
            }
            let _ = reply.send((height, params));
        });
    }

    fn params(&self) -> HeightParams<Zynk> {
        let pace = self.host.pace();
        let step = pace.propose_timeout / 2;
        let timeouts = LinearTimeouts {
            propose: pace.propose_timeout,
            propose_delta: step,
            prevote: step,
            prevote_delta: step,
            precommit: step,
            precommit_delta: step,
            rebroadcast: pace.propose_timeout,
            ..LinearTimeouts::default()
        };
        let target = (!pace.interval.is_zero()).then_some(pace.interval);
        HeightParams::new(Validators::from(&self.state.validators), timeouts, target)
    }

    fn delay(&self) -> Option<Duration> {
        let next = self.state.next_height().value();
        let waiting = Waiting {
            unproven_change: self.unproven_change,
            work: !self.host.is_idle(),
            others_began: self.proposed.iter().any(|proposed| proposed.height.value() == next),
            behind: self.was_synced() && self.host.peers_tip() >= next,
            idle_for: self.committed_at.elapsed(),
        };
        waiting.delay(&self.host.pace())
    }

    /// Whether the last block was decided without this node.
    fn was_synced(&self) -> bool {
        let last = self.state.last_block.map(|(_, id)| id.hash);
        last.is_some() && self.synced.map(|synced| tendermint::Hash::Sha256(synced.0.0)) == last
    }

    fn begin(&mut self) {
        if let Some(reply) = self.waiting.take() {
            let _ = reply.send(Next::Start(self.state.next_height().into(), self.params()));
        }
    }

    /// The proposals that are already here for a round.
    fn known(&self, height: Height, round: Round) -> Vec<ProposedValue<Zynk>> {
        let here = |proposed: &&Proposed| proposed.height.value() == height.0 && Some(proposed.round) == round.as_u32();
        self.proposed.iter().filter(here).map(proposed_value).collect()
    }

    /// Proposes: the same block again after a restart, or a new one.
    fn propose(&mut self, height: Height, round: Round, reply: Reply<LocallyProposedValue<Zynk>>) -> Result<(), DriverError> {
        let (Some(signer), Some(number)) = (self.signer.clone(), round.as_u32()) else {
            tracing::error!("a node that does not sign was asked to propose");
            return Ok(());
        };
        let me = account::Id::from(signer.public().address());
        let mine =
            |proposed: &&Proposed| proposed.round == number && proposed.proposer == address_bytes(me) && proposed.valid_round.is_none();
        let proposed = match self.proposed.iter().find(mine) {
            Some(proposed) => proposed.clone(),
            None => {
                let proposed = self.build(me, number);
                self.keep(proposed.clone())?;
                proposed
            }
        };
        let _ = reply.send(LocallyProposedValue::new(height, round, BlockHash(Hash(proposed.hash))));
        self.publish(&signer, &proposed, number, None)
    }

    fn build(&self, me: account::Id, round: u32) -> Proposed {
        let max_bytes = self.max_block_bytes();
        let state = &self.state;
        let now = Time::now();
        // Header, commit and framing take their part of the block.
        let room = max_bytes.saturating_sub(4096 + 128 * state.validators.as_slice().len());
        let prepared = self.host.prepare_proposal(request::PrepareProposal {
            max_tx_bytes: i64::try_from(room).unwrap_or(i64::MAX),
            txs: self.host.pending(room),
            local_last_commit: None,
            misbehavior: Vec::new(),
            height: state.next_height(),
            time: state.build(me, now, Vec::new(), None).header.time,
            next_validators_hash: state.next_validators.hash(),
            proposer_address: me,
        });
        let transactions = prepared.txs.into_iter().map(Vec::from).collect();
        let block = state.build(me, now, transactions, self.last_commit.clone());
        let valid = self.accepted(&block);
        if !valid {
            tracing::error!(height = %block.header.height, "this node's own application refuses the block that it prepared");
        }
        Proposed {
            height: block.header.height,
            round,
            valid_round: None,
            proposer: address_bytes(me),
            hash: hash_bytes(&block),
            valid,
            body: chain::encode(&block).into(),
        }
    }

    fn publish(&mut self, signer: &GuardedSigner, proposed: &Proposed, round: u32, valid_round: Option<u32>) -> Result<(), DriverError> {
        self.streams += 1;
        let announcement = Announcement {
            height: proposed.height.value(),
            round,
            valid_round,
            proposer: signer.public().address().0,
            block: Hash(proposed.hash),
            size: u32::try_from(proposed.body.len()).expect("blocks are bounded by 8 MiB"),
            body: Hash(*blake3::hash(&proposed.body).as_bytes()),
        };
        let messages = split(self.state.chain_id.as_str(), signer, announcement, &proposed.body, self.streams);
        let network: Sender<NetworkMsg<Zynk>> = self.channels.network.clone();
        if network.is_closed() {
            return Err(DriverError::EngineGone);
        }
        tokio::spawn(async move {
            for message in messages {
                if network.send(NetworkMsg::PublishProposalPart(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Streams again a block that had a quorum of prevotes in an earlier round, in our own name.
    fn restream(&mut self, height: Height, round: Round, valid_round: Round, block: BlockHash) -> Result<(), DriverError> {
        let here = |proposed: &&Proposed| proposed.height.value() == height.0 && proposed.hash == block.0.0;
        let found = self.proposed.iter().find(here).cloned();
        match (found, self.signer.clone(), round.as_u32()) {
            (Some(proposed), Some(signer), Some(round)) => self.publish(&signer, &proposed, round, valid_round.as_u32()),
            _ => {
                tracing::warn!(%height, %round, %block, "asked to stream a block again that is not here");
                Ok(())
            }
        }
    }

    fn receive(&mut self, publisher: Option<PeerId>, message: StreamMessage<Part>) -> Result<Option<ProposedValue<Zynk>>, DriverError> {
        let (state, max_bytes) = (&self.state, self.max_block_bytes());
        let Some(assembled) = self.assembly.take(publisher, message, max_bytes, |init| announced(state, init, max_bytes)) else {
            return Ok(None);
        };
        if assembled.init.announcement.height > state.next_height().value() {
            if self.early.len() < EARLY {
                self.early.push(assembled);
            }
            return Ok(None);
        }
        self.admit(assembled)
    }

    /// Judges a complete proposal and keeps it; one that is here already is not judged again.
    fn admit(&mut self, assembled: Assembled) -> Result<Option<ProposedValue<Zynk>>, DriverError> {
        let announcement = &assembled.init.announcement;
        let of_round = || self.proposed.iter().filter(|proposed| proposed.round == announcement.round);
        if let Some(known) = of_round().find(|proposed| proposed.hash == announcement.block.0) {
            return Ok(Some(proposed_value(known)));
        }
        if of_round().count() >= KEPT_PER_ROUND {
            tracing::warn!(height = announcement.height, round = announcement.round, "dropped one more block of a round");
            return Ok(None);
        }
        let Some(proposed) = self.judge(assembled) else {
            return Ok(None);
        };
        self.keep(proposed.clone())?;
        Ok(Some(proposed_value(&proposed)))
    }

    /// Judges a complete proposal; `None` if its bytes are not the block that was announced.
    fn judge(&self, assembled: Assembled) -> Option<Proposed> {
        let announcement = assembled.init.announcement;
        let block = match chain::decode(&assembled.body, self.max_block_bytes()) {
            Ok(block) if hash_bytes(&block) == announcement.block.0 => block,
            Ok(_) => return None,
            Err(error) => {
                tracing::warn!(height = announcement.height, %error, "refused a proposal");
                return None;
            }
        };
        let fresh = announcement.valid_round.is_none();
        let own = block.header.proposer_address == announcement.proposer();
        let timely = if fresh { ChainState::check_fresh(&block, Time::now()) } else { Ok(()) };
        let followed = timely.and_then(|()| self.state.check(&block));
        let followed = if fresh && !own { Err(BadBlock::Header { field: "proposer address" }) } else { followed };
        if let Err(error) = &followed {
            tracing::warn!(height = announcement.height, round = announcement.round, %error, "refused a proposal");
        }
        Some(Proposed {
            height: block.header.height,
            round: announcement.round,
            valid_round: announcement.valid_round,
            proposer: announcement.proposer,
            hash: announcement.block.0,
            valid: followed.is_ok() && self.accepted(&block),
            body: assembled.body,
        })
    }

    fn accepted(&self, block: &Block) -> bool {
        let request = request::ProcessProposal {
            txs: transactions(block),
            proposed_last_commit: Some(self.state.commit_info(block.last_commit.as_ref())),
            misbehavior: Vec::new(),
            hash: block.header.hash(),
            height: block.header.height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: block.header.proposer_address,
        };
        self.host.process_proposal(request) == response::ProcessProposal::Accept
    }

    fn keep(&mut self, proposed: Proposed) -> Result<(), DriverError> {
        self.host.keep(&proposed)?;
        self.proposed.push(proposed);
        Ok(())
    }

    fn decided(&mut self, certificate: &CommitCertificate<Zynk>) -> Result<(), DriverError> {
        let (height, hash) = (certificate.height, certificate.value_id.0);
        if height.0 < self.state.next_height().value() {
            return Ok(());
        }
        let missing = || DriverError::Missing { height: height.0, hash };
        let body = self.proposed.iter().find(|proposed| proposed.hash == hash.0).map(|proposed| proposed.body.clone());
        let block = chain::decode(&body.ok_or_else(missing)?, self.max_block_bytes()).map_err(|_| missing())?;
        let outcome = self.host.finalize_block(request::FinalizeBlock {
            txs: transactions(&block),
            decided_last_commit: self.state.commit_info(block.last_commit.as_ref()),
            misbehavior: Vec::new(),
            hash: block.header.hash(),
            height: block.header.height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: block.header.proposer_address,
        });
        let after = self.state.after(&block, &outcome)?;
        let seen_commit = to_commit(certificate, &self.state.validators);
        self.unproven_change = after.app_hash != self.state.app_hash;
        let id = block_id(block.header.hash());
        tracing::info!(%height, transactions = block.data.len(), round = %certificate.round, block = %hash, "committed");
        self.host.commit_block(Decided { block, id, seen_commit: seen_commit.clone(), outcome, state: after.clone() })?;
        self.state = after;
        self.last_commit = Some(seen_commit);
        self.committed_at = Instant::now();
        self.proposed.clear();
        self.assembly.forget(height.0);
        self.admit_early()
    }

    /// Judges the proposals that came before their height had begun.
    fn admit_early(&mut self) -> Result<(), DriverError> {
        let next = self.state.next_height().value();
        let (now, later) = std::mem::take(&mut self.early).into_iter().partition(|assembled| assembled.init.announcement.height <= next);
        self.early = later;
        let now: Vec<Assembled> = now;
        for assembled in now.into_iter().filter(|assembled| assembled.init.announcement.height == next) {
            self.admit(assembled)?;
        }
        Ok(())
    }

    /// Takes a certificate with more signatures than the one that decided.
    fn improve(&mut self, certificate: &CommitCertificate<Zynk>) {
        let Some(set) = &self.state.last_validators else {
            return;
        };
        let signed = |commit: &Commit| commit.signatures.iter().filter(|entry| entry.is_commit()).count();
        let better = to_commit(certificate, set);
        if self.last_commit.as_ref().is_some_and(|last| last.block_id == better.block_id && signed(&better) > signed(last)) {
            self.last_commit = Some(better);
        }
    }

    fn history(&self, start: Height, end: Height) -> Vec<RawDecidedValue<Zynk>> {
        let mut bytes = 0;
        let heights = (start.0..=end.0).take(SYNC_BLOCKS).map_while(|height| self.host.decided(Height(height).to_tendermint()));
        let values = heights.map(|(block, commit)| RawDecidedValue::new(chain::encode(&block).into(), to_certificate(&commit)));
        values
            .take_while(|value| {
                let first = bytes == 0;
                bytes += value.value_bytes.len();
                first || bytes <= SYNC_BYTES
            })
            .collect()
    }

    fn synced(&mut self, height: Height, round: Round, proposer: Address, body: Bytes) -> Result<SyncedValueOutcome<Zynk>, DriverError> {
        if height.0 != self.state.next_height().value() {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let Ok(block) = chain::decode(&body, self.max_block_bytes()) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        if let Err(error) = self.state.check(&block) {
            tracing::warn!(%height, %error, "refused a synced block");
            return Ok(SyncedValueOutcome::PeerFault);
        }
        let proposed = Proposed {
            height: block.header.height,
            round: round.as_u32().unwrap_or(0),
            valid_round: None,
            proposer: address_bytes(proposer.0),
            hash: hash_bytes(&block),
            valid: self.accepted(&block),
            body,
        };
        self.synced = Some(BlockHash(Hash(proposed.hash)));
        self.keep(proposed.clone())?;
        Ok(SyncedValueOutcome::Verdict(proposed_value(&proposed)))
    }

    fn max_block_bytes(&self) -> usize {
        usize::try_from(self.state.params.block.max_bytes).unwrap_or(usize::MAX)
    }
}

/// Whether an announcement is one to keep parts for: of this height or the next, by whoever's turn
/// it is, within the bound.
fn announced(state: &ChainState, init: &Init, max_bytes: usize) -> bool {
    let announcement = &init.announcement;
    let next = state.next_height().value();
    let set = match announcement.height {
        height if height == next => &state.validators,
        height if height == next + 1 => &state.next_validators,
        _ => return false,
    };
    let Some(announcer) = set.by_address(announcement.proposer()) else {
        return false;
    };
    // Whose turn it is costs more to find out the higher the round, so the signature is asked first.
    let bytes = announcement.signed_bytes(state.chain_id.as_str());
    let signature = tendermint::Signature::try_from(init.signature.0.as_slice()).ok();
    announcement.size as usize <= max_bytes
        && announcement.round <= MAX_ROUND
        && signature.is_some_and(|signature| commit::signature_holds(announcer.key, &bytes, &signature))
        && set.proposer(announcement.round).address() == announcement.proposer()
}

async fn wait_for_peers(requests: &Sender<NetworkRequest>, needed: usize) {
    let deadline = Instant::now() + PEER_WAIT;
    while Instant::now() < deadline {
        let peers = NetworkRequest::dump_state(requests).await.ok().flatten().map_or(0, |dump| dump.peers.len());
        if peers >= needed {
            // Connected is not yet subscribed; gossipsub exchanges topics within a heartbeat.
            tokio::time::sleep(Duration::from_millis(150)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn transactions(block: &Block) -> Vec<Bytes> {
    block.data.iter().cloned().map(Bytes::from).collect()
}

fn proposed_value(proposed: &Proposed) -> ProposedValue<Zynk> {
    ProposedValue {
        height: proposed.height.into(),
        round: Round::new(proposed.round),
        valid_round: proposed.valid_round.map_or(Round::Nil, Round::new),
        proposer: Address(account::Id::new(proposed.proposer)),
        value: BlockHash(Hash(proposed.hash)),
        validity: Validity::from_bool(proposed.valid),
    }
}

fn to_commit(certificate: &CommitCertificate<Zynk>, set: &ValidatorSet) -> Commit {
    let signature = |signature: &ConsensusSignature| tendermint::Signature::try_from(signature.0.0.as_slice()).expect("64 bytes");
    let signatures: BTreeMap<_, _> =
        certificate.commit_signatures.iter().map(|entry| (entry.address.0, signature(&entry.signature))).collect();
    let round = certificate.round.as_u32().and_then(|round| round.try_into().ok()).unwrap_or_default();
    let id = block_id(tendermint::Hash::Sha256(certificate.value_id.0.0));
    commit::build(certificate.height.to_tendermint(), round, id, set, &signatures)
}

fn to_certificate(commit: &Commit) -> ExtendedCommitCertificate<Zynk> {
    let entry = |entry: &CommitSig| match entry {
        CommitSig::BlockIdFlagCommit { validator_address, signature: Some(signature), .. } => {
            let bytes = signature.as_bytes().try_into().ok()?;
            Some(ExtendedCommitSignature::new(Address(*validator_address), ConsensusSignature(types::Signature(bytes)), None))
        }
        _ => None,
    };
    ExtendedCommitCertificate {
        height: commit.height.into(),
        round: Round::new(commit.round.value()),
        value_id: BlockHash(Hash(commit.block_id.hash.as_bytes().try_into().expect("a block's hash has 32 bytes"))),
        commit_signatures: commit.signatures.iter().filter_map(entry).collect(),
    }
}

fn hash_bytes(block: &Block) -> [u8; 32] {
    block.header.hash().as_bytes().try_into().expect("a header's hash has 32 bytes")
}

fn address_bytes(address: account::Id) -> [u8; 20] {
    address.as_bytes().try_into().expect("an address has 20 bytes")
}
