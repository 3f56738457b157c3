//! The bytes of evidence: CometBFT's protobuf, in one form for one meaning.
//!
//! The published types write three things otherwise than CometBFT 0.38 does, and a hash over their
//! bytes would be another: the power of a validator that voted twice (they write the total power in
//! its place), the block id of a vote for nil (they leave it out), and the total power of a
//! conflicting block's validators (CometBFT leaves it out). This is the one place that mends them.

use prost::Message as _;
use sha2::Sha256;
use tendermint::block::Block;
use tendermint::evidence::{Evidence, List};
use tendermint::merkle::simple_hash_from_byte_vectors;
use tendermint::{Hash, Vote};
use tendermint_proto::v0_38::types as pb;

use super::BadEvidence;

/// Evidence as protobuf has it.
#[must_use]
pub fn to_proto(evidence: &Evidence) -> pb::Evidence {
    let mut raw = pb::Evidence::from(evidence.clone());
    match (&mut raw.sum, evidence) {
        (Some(pb::evidence::Sum::DuplicateVoteEvidence(raw)), Evidence::DuplicateVote(votes)) => {
            raw.vote_a = Some(vote_to_proto(&votes.vote_a));
            raw.vote_b = Some(vote_to_proto(&votes.vote_b));
            raw.validator_power = votes.validator_power.into();
        }
        (Some(pb::evidence::Sum::LightClientAttackEvidence(raw)), _) => {
            if let Some(set) = raw.conflicting_block.as_mut().and_then(|block| block.validator_set.as_mut()) {
                set.total_voting_power = 0;
            }
        }
        _ => {}
    }
    raw
}

fn vote_to_proto(vote: &Vote) -> pb::Vote {
    let mut raw = pb::Vote::from(vote.clone());
    let nil = || pb::BlockId { hash: Vec::new(), part_set_header: Some(pb::PartSetHeader::default()) };
    raw.block_id.get_or_insert_with(nil);
    raw
}

/// A block as protobuf has it.
#[must_use]
pub fn block_to_proto(block: &Block) -> pb::Block {
    let mut raw = pb::Block::from(block.clone());
    raw.evidence = Some(list_to_proto(&block.evidence));
    raw
}

/// The canonical bytes of one piece of evidence.
#[must_use]
pub fn encode(evidence: &Evidence) -> Vec<u8> {
    to_proto(evidence).encode_to_vec()
}

/// Reads one piece of evidence of at most `bound` bytes.
///
/// # Errors
/// [`BadEvidence::TooLarge`] and [`BadEvidence::Malformed`]; bytes that are not canonical are malformed.
pub fn decode(bytes: &[u8], bound: usize) -> Result<Evidence, BadEvidence> {
    if bytes.len() > bound {
        return Err(BadEvidence::TooLarge { found: bytes.len(), bound });
    }
    let raw = pb::Evidence::decode(bytes).map_err(|error| BadEvidence::Malformed(error.to_string()))?;
    let evidence = Evidence::try_from(raw).map_err(|error| BadEvidence::Malformed(error.to_string()))?;
    if encode(&evidence) != bytes {
        return Err(BadEvidence::Malformed("the bytes are not the canonical ones".to_owned()));
    }
    Ok(evidence)
}

/// How many bytes a list of evidence takes in a block.
#[must_use]
pub fn list_size(list: &List) -> usize {
    list_to_proto(list).encoded_len()
}

/// The hash that headers carry: a tree over the bytes of the message inside each piece.
#[must_use]
pub fn list_hash(list: &List) -> Hash {
    let entries: Vec<Vec<u8>> = list.iter().map(inner).collect();
    Hash::Sha256(simple_hash_from_byte_vectors::<Sha256>(&entries))
}

/// The name that CometBFT gives a piece of evidence: of two votes the hash of their message, of an
/// attack the hash of the conflicting header and the common height.
#[must_use]
pub fn name(evidence: &Evidence) -> types::Hash {
    match evidence {
        Evidence::DuplicateVote(_) => types::Hash::sha256(&[&inner(evidence)]),
        Evidence::LightClientAttack(attack) => light::attack::hash(attack),
    }
}

fn inner(evidence: &Evidence) -> Vec<u8> {
    match to_proto(evidence).sum {
        Some(pb::evidence::Sum::DuplicateVoteEvidence(votes)) => votes.encode_to_vec(),
        Some(pb::evidence::Sum::LightClientAttackEvidence(attack)) => attack.encode_to_vec(),
        None => Vec::new(),
    }
}

fn list_to_proto(list: &List) -> pb::EvidenceList {
    pb::EvidenceList { evidence: list.iter().map(to_proto).collect() }
}
