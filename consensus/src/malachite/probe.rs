//! Asking the running engine how far its height has come, and whom it is connected to.
//!
//! Both answers are dumps of the engine's own state, translated; what it does not tell is not here: when the round
//! began, what its peers have of the height, and how many bytes went over a connection.

use libp2p::{Multiaddr, PeerId};
use malachite::app::engine::consensus::state_dump::types::Step;
use malachite::app::types::core::Round;
use malachite::{ConsensusRequest, NetworkRequest};
use tendermint::account;
use tendermint::vote::{Type, Vote};
use tokio::sync::mpsc;
use types::Hash;

use super::context::{BlockHash, Zynk};
use super::translation::to_vote;
use crate::validators::ValidatorSet;

/// A handle that outlives the engine: once that has stopped, there are no answers.
#[derive(Clone)]
pub struct Probe {
    consensus: mpsc::Sender<ConsensusRequest<Zynk>>,
    network: mpsc::Sender<NetworkRequest>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("runs", &!self.consensus.is_closed()).finish()
    }
}

/// How far the engine has come with a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundState {
    /// The height that is being decided.
    pub height: u64,
    /// Its round.
    pub round: u32,
    /// The step of the round, by CometBFT's number: 1 before its begin, 3 propose, 4 prevote, 6 precommit, 8 commit.
    pub step: u8,
    /// Whose turn it is, by the round and the set.
    pub proposer: account::Id,
    /// The block that was proposed in this round.
    pub proposal: Option<Hash>,
    /// The block that this node is locked on.
    pub locked: Option<Hash>,
    /// The last block with a quorum of prevotes.
    pub valid: Option<Hash>,
    /// The votes, by rounds from 0 to the last with one, this round at least.
    pub votes: Vec<RoundVotes>,
    /// Who may vote.
    pub validators: ValidatorSet,
}

/// The votes of a round, with a place for each validator of the set, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundVotes {
    /// The prevotes.
    pub prevotes: Vec<Option<Vote>>,
    /// The precommits.
    pub precommits: Vec<Option<Vote>>,
}

/// A node that the engine is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its peer id.
    pub id: PeerId,
    /// The other end of the connection.
    pub address: Multiaddr,
    /// What it calls itself.
    pub moniker: String,
    /// Whether this node opened the connection.
    pub outbound: bool,
}

impl Probe {
    pub(super) const fn new(consensus: mpsc::Sender<ConsensusRequest<Zynk>>, network: mpsc::Sender<NetworkRequest>) -> Self {
        Self { consensus, network }
    }

    /// How far the height has come; none while the engine has no height, is too busy to say, or has stopped.
    pub async fn round_state(&self) -> Option<RoundState> {
        if self.consensus.is_closed() {
            return None;
        }
        let dump = ConsensusRequest::dump_state(&self.consensus).await.ok().flatten()?;
        let set = dump.validator_set.set();
        let (round, places) = (number(dump.consensus.round), set.as_slice().len());
        let last = dump.vote_keeper.votes.keys().filter_map(Round::as_u32).max().map_or(round, |last| last.max(round));
        let empty = || RoundVotes { prevotes: vec![None; places], precommits: vec![None; places] };
        let mut votes: Vec<RoundVotes> = (0..=last.min(round.saturating_add(MAX_ROUNDS_AHEAD))).map(|_| empty()).collect();
        for vote in dump.vote_keeper.votes.values().flat_map(|round| round.received_votes()).filter_map(|vote| to_vote(vote, set)) {
            let Some(of_round) = usize::try_from(vote.round.value()).ok().and_then(|round| votes.get_mut(round)) else { continue };
            let kind = if vote.vote_type == Type::Prevote { &mut of_round.prevotes } else { &mut of_round.precommits };
            let place = usize::try_from(vote.validator_index.value()).ok().and_then(|place| kind.get_mut(place));
            place.into_iter().for_each(|place| *place = Some(vote.clone()));
        }
        let proposals = dump.proposal_keeper.proposals.get(&dump.consensus.round);
        let proposal = proposals.and_then(|round| round.get_proposals_and_validities().first()).map(|(signed, _)| signed.message.value);
        Some(RoundState {
            height: dump.consensus.height.0,
            round,
            step: step(dump.consensus.step),
            proposer: dump.proposer.map_or_else(|| set.proposer(round).address(), |proposer| proposer.0),
            proposal: proposal.map(hash),
            locked: dump.consensus.locked.map(|locked| hash(locked.value)),
            valid: dump.consensus.valid.map(|valid| hash(valid.value)),
            votes,
            validators: set.clone(),
        })
    }

    /// Whom the engine is connected to, by peer id; none where it does not say.
    pub async fn peers(&self) -> Option<Vec<Peer>> {
        if self.network.is_closed() {
            return None;
        }
        let dump = NetworkRequest::dump_state(&self.network).await.ok().flatten()?;
        let peers = dump.peers.into_iter().map(|(id, peer)| Peer {
            id,
            address: peer.address,
            moniker: peer.moniker.chars().filter(|letter| !letter.is_control()).take(MAX_MONIKER).collect(),
            outbound: peer.connection_direction.is_some_and(|direction| direction.as_str() == OUTBOUND),
        });
        let mut peers: Vec<Peer> = peers.collect();
        peers.sort_by_key(|peer| peer.id.to_bytes());
        Some(peers)
    }
}

/// Votes of rounds further ahead of this node's are not shown: their number is a stranger's word.
const MAX_ROUNDS_AHEAD: u32 = 16;

/// The engine's word for a connection that this node opened.
const OUTBOUND: &str = "outbound";

/// So many characters of a peer's moniker are shown.
const MAX_MONIKER: usize = 64;

fn hash(block: BlockHash) -> Hash {
    block.0
}

fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

/// Source: CometBFT 0.38, `consensus/types/round_state.go`, `RoundStepType`. The engine has no steps of waiting.
const fn step(step: Step) -> u8 {
    match step {
        Step::Unstarted => 1,
        Step::Propose => 3,
        Step::Prevote => 4,
        Step::Precommit => 6,
        Step::Commit => 8,
    }
}
