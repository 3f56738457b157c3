//! Evidence that validators broke the rules, and whether it holds.
//!
//! Two kinds, as CometBFT 0.38 has them: two different votes of one validator for one height, round
//! and step ([`votes`]), and a block that enough validators signed beside the chain's own, to
//! deceive a light client (judged by [`light::attack`]). What is asked here depends on the chain up
//! to its last block and on the evidence alone, so every validator comes to the same verdict. The
//! format's page is `docs/spec/blocks.md`.

pub mod bytes;
pub mod votes;

use std::collections::BTreeSet;

use tendermint::abci::types::{Misbehavior, MisbehaviorKind, Validator as AbciValidator};
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Header, Height};
use tendermint::evidence::{Evidence, LightClientAttackEvidence, List};
use tendermint::{Time, account, consensus, vote};
use types::Hash;

use crate::chain::ChainState;
use crate::validators::ValidatorSet;

/// What evidence is held against: the blocks of this node.
pub trait History {
    /// The header of the block at `height`.
    fn header(&self, height: Height) -> Option<Header>;

    /// The same header with the commit that the block after it carries, which is the same on every
    /// node; so none for the last block.
    fn signed_header(&self, height: Height) -> Option<SignedHeader>;

    /// The validator set of `height`.
    fn validators(&self, height: Height) -> Option<ValidatorSet>;

    /// Whether evidence with this mark stands in a block.
    fn is_committed(&self, mark: &Mark) -> bool;
}

/// What can stand in the chain once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// That this validator voted twice: whoever did could make any number of such votes, and more of
    /// them show nothing new.
    Votes(account::Id),
    /// The attack of this name.
    Attack(Hash),
}

impl Mark {
    /// A byte for the kind (0 votes, 1 attack), then the address of 20 bytes or the name of 32.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Votes(validator) => [&[0], validator.as_bytes()].concat(),
            Self::Attack(name) => [&[1], name.0.as_slice()].concat(),
        }
    }
}

/// Why evidence does not count. Each has a number in the codespace `evidence` (`docs/errors.md`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvidence {
    /// The bytes are no evidence, or not its canonical bytes.
    #[error("the bytes are no evidence: {0}")]
    Malformed(String),
    /// It is above the bound of a block, alone or with the rest of the list.
    #[error("the evidence has {found} bytes, at most {bound} are allowed in a block")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// The chain has no block at its height, or this node has it no more.
    #[error("the evidence is of height {height}, of which there is no block here")]
    Unknown {
        /// The height.
        height: Height,
    },
    /// Both ages are passed.
    #[error("the evidence of height {height} has expired")]
    Expired {
        /// The height.
        height: Height,
    },
    /// Its time is not that of the block at its height.
    #[error("the evidence has the time {found}, the block at its height has {expected}")]
    Time {
        /// Its time.
        found: Time,
        /// The block's.
        expected: Time,
    },
    /// The two votes are not for one height, round and step.
    #[error("the two votes are not for one height, round and step")]
    Slot,
    /// The two votes are not by one validator.
    #[error("the two votes are not by one validator")]
    Voters,
    /// The two votes agree.
    #[error("the two votes are for the same block")]
    Agreeing,
    /// The two votes stand in the wrong order.
    #[error("the two votes are not in the order of their block ids")]
    Unsorted,
    /// A vote says what no vote of this chain says.
    #[error("a vote has another {field} than a vote of this chain")]
    Vote {
        /// The field.
        field: &'static str,
    },
    /// The voter was no validator at that height.
    #[error("{voter} was no validator at height {height}")]
    Stranger {
        /// The voter.
        voter: account::Id,
        /// The height.
        height: Height,
    },
    /// The validator's power or the set's was another.
    #[error("the powers in the evidence are not those of its height")]
    Power,
    /// A signature does not hold.
    #[error("a vote's signature does not hold")]
    Signature,
    /// It stands in a block already.
    #[error("the evidence stands in a block already")]
    Committed,
    /// It stands in this block twice.
    #[error("the evidence stands in the block twice")]
    Twice,
    /// It is about the last block, whose commit is settled by the next one.
    #[error("the evidence is about the last block: it can be judged after the next one")]
    Early,
    /// It shows no attack.
    #[error("the evidence shows no attack: {0}")]
    Attack(#[from] light::attack::BadAttack),
}

impl BadEvidence {
    /// The number in the codespace `evidence`; never another's.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Malformed(_) => 1,
            Self::TooLarge { .. } => 2,
            Self::Unknown { .. } => 3,
            Self::Expired { .. } => 4,
            Self::Time { .. } => 5,
            Self::Slot => 6,
            Self::Voters => 7,
            Self::Agreeing => 8,
            Self::Unsorted => 9,
            Self::Vote { .. } => 10,
            Self::Stranger { .. } => 11,
            Self::Power => 12,
            Self::Signature => 13,
            Self::Committed => 14,
            Self::Twice => 15,
            Self::Early => 16,
            Self::Attack(_) => 17,
        }
    }
}

/// The height of the misdeed: the votes', or the last one that the attacked client and the chain share.
#[must_use]
pub fn height(evidence: &Evidence) -> Height {
    match evidence {
        Evidence::DuplicateVote(votes) => votes.vote_a.height,
        Evidence::LightClientAttack(attack) => attack.common_height,
    }
}

/// The time that it gives the misdeed: that of the block at its height.
#[must_use]
pub fn time(evidence: &Evidence) -> Time {
    match evidence {
        Evidence::DuplicateVote(votes) => votes.timestamp,
        Evidence::LightClientAttack(attack) => attack.timestamp,
    }
}

/// What counts once.
#[must_use]
pub fn mark(evidence: &Evidence) -> Mark {
    match evidence {
        Evidence::DuplicateVote(votes) => Mark::Votes(votes.vote_a.validator_address),
        Evidence::LightClientAttack(attack) => Mark::Attack(light::attack::hash(attack)),
    }
}

/// Who is accused of what, as the application is told (CometBFT 0.38, `types/evidence.go`, `ABCI`).
#[must_use]
pub fn misbehavior(list: &List) -> Vec<Misbehavior> {
    let accused = |evidence: &Evidence| -> Vec<(MisbehaviorKind, account::Id, vote::Power, vote::Power)> {
        match evidence {
            Evidence::DuplicateVote(votes) => {
                let voter = votes.vote_a.validator_address;
                vec![(MisbehaviorKind::DuplicateVote, voter, votes.validator_power, votes.total_voting_power)]
            }
            Evidence::LightClientAttack(attack) => {
                let validators = attack.byzantine_validators.iter();
                let total = attack.total_voting_power;
                validators.map(|validator| (MisbehaviorKind::LightClientAttack, validator.address, validator.power, total)).collect()
            }
        }
    };
    let told = |evidence: &Evidence| {
        let (height, time) = (height(evidence), time(evidence));
        accused(evidence).into_iter().map(move |(kind, address, power, total_voting_power)| Misbehavior {
            kind,
            validator: AbciValidator { address: address.as_bytes().try_into().expect("an address has 20 bytes"), power },
            height,
            time,
            total_voting_power,
        })
    };
    list.iter().flat_map(told).collect()
}

/// Judges the evidence of the block after `state`.
///
/// # Errors
/// [`BadEvidence`]: the block is to be refused.
pub fn check(list: &List, state: &ChainState, history: &impl History) -> Result<(), BadEvidence> {
    let (found, bound) = (bytes::list_size(list), max_bytes(&state.params));
    if found > bound {
        return Err(BadEvidence::TooLarge { found, bound });
    }
    let mut seen = BTreeSet::new();
    for evidence in list.iter() {
        if !seen.insert(mark(evidence)) {
            return Err(BadEvidence::Twice);
        }
        verify(evidence, state, history)?;
    }
    Ok(())
}

/// Judges one piece of evidence for the block after `state`. Its size is not asked here.
///
/// Source: CometBFT 0.38, `evidence/verify.go`.
///
/// # Errors
/// [`BadEvidence`].
pub fn verify(evidence: &Evidence, state: &ChainState, history: &impl History) -> Result<(), BadEvidence> {
    if history.is_committed(&mark(evidence)) {
        return Err(BadEvidence::Committed);
    }
    let (height, found) = (height(evidence), time(evidence));
    let known = if height <= state.tip() { history.header(height).zip(history.validators(height)) } else { None };
    let (header, validators) = known.ok_or(BadEvidence::Unknown { height })?;
    if found != header.time {
        return Err(BadEvidence::Time { found, expected: header.time });
    }
    if has_expired(state, height, found) {
        return Err(BadEvidence::Expired { height });
    }
    match evidence {
        Evidence::DuplicateVote(votes) => votes::verify(votes, &state.chain_id, &validators),
        Evidence::LightClientAttack(attack) => verify_attack(attack, state, &header, &validators, history),
    }
}

fn verify_attack(
    attack: &LightClientAttackEvidence,
    state: &ChainState,
    common: &Header,
    validators: &ValidatorSet,
    history: &impl History,
) -> Result<(), BadEvidence> {
    let malformed = |error: &dyn std::fmt::Display| BadEvidence::Malformed(error.to_string());
    let (tip, height) = (state.tip(), attack.conflicting_block.signed_header.header.height);
    let (signed, newest);
    let ours = match height.cmp(&tip) {
        std::cmp::Ordering::Less => {
            signed = history.signed_header(height).ok_or(BadEvidence::Unknown { height })?;
            light::attack::Ours::Block(&signed)
        }
        std::cmp::Ordering::Equal => {
            // Whose votes our block has is settled by the next one. With theirs in that place shows whether
            // it is worth waiting for: all but who is to blame is asked already.
            let header = history.header(tip).ok_or(BadEvidence::Unknown { height: tip })?;
            let votes = attack.conflicting_block.signed_header.commit.clone();
            signed = SignedHeader::new(header, votes).map_err(|error| malformed(&error))?;
            light::attack::Ours::Block(&signed)
        }
        std::cmp::Ordering::Greater => {
            newest = history.header(tip).ok_or(BadEvidence::Unknown { height: tip })?;
            light::attack::Ours::Tip(&newest)
        }
    };
    let chain = state.chain_id.as_str().parse().map_err(|error: types::DecodeError| malformed(&error))?;
    let validators = light::Validators::try_from(&validators.to_tendermint()).map_err(|error| malformed(&error))?;
    let common = light::attack::Common { header: common, validators: &validators };
    match light::attack::verify(attack, &chain, &common, ours) {
        Ok(_) | Err(light::attack::BadAttack::Offenders { .. }) if height == tip => Err(BadEvidence::Early),
        verdict => Ok(verdict.map(drop)?),
    }
}

/// Whether evidence of this height and time has expired after the last block: when it is too old by the number of blocks and by time.
#[must_use]
pub fn has_expired(state: &ChainState, height: Height, time: Time) -> bool {
    let params = &state.params.evidence;
    let blocks = state.tip().value().saturating_sub(height.value());
    let age = state.last_time.duration_since(time).unwrap_or_default();
    blocks > params.max_age_num_blocks && age > params.max_age_duration.0
}

/// The most bytes of evidence in a block.
#[must_use]
pub fn max_bytes(params: &consensus::Params) -> usize {
    usize::try_from(params.evidence.max_bytes).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests;
