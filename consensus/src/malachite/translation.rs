//! What the engine says in the chain's words, and the other way round: votes, commits, proposed blocks.
//!
//! Pure. The driver and the simulation of `consensus/tests/simulation/` share it.

use std::collections::BTreeMap;

use malachite::app::types::ProposedValue;
use malachite::app::types::core::{
    CommitCertificate, ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, Round, SignedVote, Validity, VoteType,
};
use tendermint::block::{Commit, CommitSig};
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{Signature, account};
use types::Hash;

use super::context::{Address, BlockHash, ConsensusSignature, Zynk};
use crate::commit::{self, block_id, vote_time};
use crate::host::Proposed;
use crate::validators::ValidatorSet;

/// A vote as the chain's evidence has it; none if the voter is not in the set.
#[must_use]
pub fn to_vote(signed: &SignedVote<Zynk>, set: &ValidatorSet) -> Option<Vote> {
    let vote = &signed.message;
    let place = set.as_slice().iter().position(|validator| validator.address() == vote.voter.0)?;
    Some(Vote {
        vote_type: match vote.kind {
            VoteType::Prevote => Type::Prevote,
            VoteType::Precommit => Type::Precommit,
        },
        height: vote.height.to_tendermint(),
        round: vote.round.as_u32()?.try_into().ok()?,
        block_id: match vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(block_id(tendermint::Hash::Sha256(hash.0.0))),
        },
        timestamp: Some(vote_time()),
        validator_address: vote.voter.0,
        validator_index: ValidatorIndex::try_from(u32::try_from(place).ok()?).ok()?,
        signature: Signature::try_from(signed.signature.0.0.as_slice()).ok(),
        extension: Vec::new(),
        extension_signature: None,
    })
}

/// The commit that a certificate makes, with an entry for each validator of `set`.
///
/// # Panics
/// Never: a signature has 64 bytes.
#[must_use]
pub fn to_commit(certificate: &CommitCertificate<Zynk>, set: &ValidatorSet) -> Commit {
    let signature = |signature: &ConsensusSignature| Signature::try_from(signature.0.0.as_slice()).expect("64 bytes");
    let signatures: BTreeMap<_, _> =
        certificate.commit_signatures.iter().map(|entry| (entry.address.0, signature(&entry.signature))).collect();
    let round = certificate.round.as_u32().and_then(|round| round.try_into().ok()).unwrap_or_default();
    let id = block_id(tendermint::Hash::Sha256(certificate.value_id.0.0));
    commit::build(certificate.height.to_tendermint(), round, id, set, &signatures)
}

/// The certificate that a commit makes; entries without a signature are left out.
///
/// # Panics
/// Never: a block's hash has 32 bytes.
#[must_use]
pub fn to_certificate(commit: &Commit) -> ExtendedCommitCertificate<Zynk> {
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

/// A proposed block as the engine is told of it.
#[must_use]
pub fn proposed_value(proposed: &Proposed) -> ProposedValue<Zynk> {
    ProposedValue {
        height: proposed.height.into(),
        round: Round::new(proposed.round),
        valid_round: proposed.valid_round.map_or(Round::Nil, Round::new),
        proposer: Address(account::Id::new(proposed.proposer)),
        value: BlockHash(Hash(proposed.hash)),
        validity: Validity::from_bool(proposed.valid),
    }
}
