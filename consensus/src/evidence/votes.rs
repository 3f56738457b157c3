//! Two different votes of one validator for one height, round and step.
//!
//! Source: CometBFT 0.38, `types/evidence.go` and `evidence/verify.go`.

use tendermint::block::Id;
use tendermint::evidence::{DuplicateVoteEvidence, Evidence};
use tendermint::{Hash, PublicKey, Time, Vote, chain, vote};
use tendermint_proto::v0_38::types as pb;

use super::BadEvidence;
use crate::commit::{signature_holds, vote_bytes, vote_time};
use crate::validators::ValidatorSet;

/// Evidence of two votes, given the set of their height and the time of its block; none if the voter
/// is not in the set.
#[must_use]
pub fn accuse(one: Vote, other: Vote, set: &ValidatorSet, time: Time) -> Option<Evidence> {
    let validator = set.by_address(one.validator_address)?;
    let (vote_a, vote_b) = if order(one.block_id) <= order(other.block_id) { (one, other) } else { (other, one) };
    let votes = DuplicateVoteEvidence {
        vote_a,
        vote_b,
        total_voting_power: power(set.total_power()),
        validator_power: power(validator.power),
        timestamp: time,
    };
    Some(votes.into())
}

/// Judges two votes by the set of their height. Age, time and whether it is known are asked before.
pub(super) fn verify(votes: &DuplicateVoteEvidence, chain: &chain::Id, set: &ValidatorSet) -> Result<(), BadEvidence> {
    let (a, b) = votes.votes();
    if (a.height, a.round, a.vote_type) != (b.height, b.round, b.vote_type) {
        return Err(BadEvidence::Slot);
    }
    if a.validator_address != b.validator_address {
        return Err(BadEvidence::Voters);
    }
    match order(a.block_id).cmp(&order(b.block_id)) {
        std::cmp::Ordering::Less => {}
        std::cmp::Ordering::Equal => return Err(BadEvidence::Agreeing),
        std::cmp::Ordering::Greater => return Err(BadEvidence::Unsorted),
    }
    let voter = a.validator_address;
    let place = set.as_slice().iter().position(|validator| validator.address() == voter);
    let place = place.ok_or(BadEvidence::Stranger { voter, height: a.height })?;
    let validator = &set.as_slice()[place];
    if (votes.validator_power, votes.total_voting_power) != (power(validator.power), power(set.total_power())) {
        return Err(BadEvidence::Power);
    }
    check_form(a, place)?;
    check_form(b, place)?;
    if holds(a, chain, validator.key) && holds(b, chain, validator.key) { Ok(()) } else { Err(BadEvidence::Signature) }
}

/// What a vote says beyond what it signs has one form, or one pair of votes could be shown in many.
fn check_form(vote: &Vote, place: usize) -> Result<(), BadEvidence> {
    let other = |field| Err(BadEvidence::Vote { field });
    let complete = |id: Id| id.hash != Hash::None && id.part_set_header.total > 0 && id.part_set_header.hash != Hash::None;
    match () {
        () if vote.timestamp != Some(vote_time()) => other("time"),
        () if usize::try_from(vote.validator_index.value()) != Ok(place) => other("validator index"),
        () if !vote.block_id.is_none_or(complete) => other("block id"),
        () if !vote.extension.is_empty() || vote.extension_signature.is_some() => other("extension"),
        () => Ok(()),
    }
}

fn holds(vote: &Vote, chain: &chain::Id, key: PublicKey) -> bool {
    let bytes = vote_bytes(chain, vote.vote_type, vote.height, vote.round, vote.block_id);
    vote.signature.as_ref().is_some_and(|signature| signature_holds(key, &bytes, signature))
}

/// What votes are ordered by: the block's hash and then the bytes of its part set, of nil nothing.
fn order(id: Option<Id>) -> Vec<u8> {
    use prost::Message as _;
    let bytes = |id: Id| [id.hash.as_bytes(), &pb::PartSetHeader::from(id.part_set_header).encode_to_vec()].concat();
    id.map_or_else(Vec::new, bytes)
}

fn power(power: u64) -> vote::Power {
    power.try_into().expect("powers are bounded by 2^60")
}
