//! From signatures to Tendermint's commit.
//!
//! Under the embedded engine every vote is signed with one constant timestamp, so that all
//! precommits for a block sign identical bytes (`docs/spec/blocks.md`).

use std::collections::BTreeMap;

use tendermint::block::{Commit, CommitSig, Height, Id, Round, parts};
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{Hash, Signature, Time, account, chain};

use crate::validators::ValidatorSet;

/// The time in every vote and proposal under the embedded engine: 1970-01-01T00:00:01Z.
///
/// One second, not zero: published clients drop a zero timestamp out of their JSON and then refuse
/// the commit for lacking it (`docs/decisions/0002-constant-vote-time.md`).
///
/// # Panics
/// Never: the constant is a time.
#[must_use]
pub fn vote_time() -> Time {
    Time::from_unix_timestamp(1, 0).expect("the constant is a time")
}

/// Whether `signature` over `message` is `key`'s by ZIP-215, the rule for consensus votes: the
/// published light client judges by it, so validators must not be stricter.
#[must_use]
pub fn signature_holds(key: tendermint::PublicKey, message: &[u8], signature: &Signature) -> bool {
    use tendermint::crypto::signature::Verifier as _;
    tendermint::crypto::default::signature::Verifier.verify(key, message, signature).is_ok()
}

/// A block's id: its header's hash, with a part-set header derived from it.
///
/// # Panics
/// Never: one part and a hash make a valid part-set header.
#[must_use]
pub fn block_id(hash: Hash) -> Id {
    let part_set_header = parts::Header::new(1, hash).expect("one part with a hash is valid");
    Id { hash, part_set_header }
}

/// The bytes that a vote signs: Tendermint's canonical vote. No block is a vote for nil.
#[must_use]
pub fn vote_bytes(chain: &chain::Id, kind: Type, height: Height, round: Round, block: Option<Id>) -> Vec<u8> {
    let vote = Vote {
        vote_type: kind,
        height,
        round,
        block_id: block,
        timestamp: Some(vote_time()),
        // Neither address nor index is part of the canonical bytes.
        validator_address: account::Id::new([0; 20]),
        validator_index: ValidatorIndex::try_from(0u32).expect("zero is an index"),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    };
    vote.into_signable_vec(chain.clone())
}

/// The commit of a block: one entry a validator, in the set's order, absent where nobody signed.
#[must_use]
pub fn build(height: Height, round: Round, id: Id, set: &ValidatorSet, signatures: &BTreeMap<account::Id, Signature>) -> Commit {
    let entry = |address: account::Id| match signatures.get(&address) {
        Some(signature) => {
            CommitSig::BlockIdFlagCommit { validator_address: address, timestamp: vote_time(), signature: Some(signature.clone()) }
        }
        None => CommitSig::BlockIdFlagAbsent,
    };
    let signatures = set.as_slice().iter().map(|validator| entry(validator.address())).collect();
    Commit { height, round, block_id: id, signatures }
}
