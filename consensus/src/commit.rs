//! From signatures to Tendermint's commit.
//!
//! Under the embedded engine every vote is signed with one constant timestamp, so that all
//! precommits for a block sign identical bytes (`docs/spec/blocks.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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

/// Signatures that were checked; for operators and benches.
static CHECKS: AtomicU64 = AtomicU64::new(0);

/// How many of validators' signatures this process has checked: on votes, proposals, announcements and commits.
#[must_use]
pub fn checks() -> u64 {
    CHECKS.load(Ordering::Relaxed)
}

/// At most twice this many signatures are remembered: those of four heights of the largest set.
const REMEMBERED: usize = 1_024;

/// Signatures that were found to hold, by a hash of key, signature and message: the older half, and the newer.
#[derive(Debug)]
struct Held([BTreeSet<[u8; 32]>; 2]);

static HELD: Mutex<Held> = Mutex::new(Held([BTreeSet::new(), BTreeSet::new()]));

impl Held {
    fn knows(&self, name: &[u8; 32]) -> bool {
        self.0.iter().any(|half| half.contains(name))
    }

    fn remember(&mut self, name: [u8; 32]) {
        let [older, newer] = &mut self.0;
        if newer.len() >= REMEMBERED {
            *older = std::mem::take(newer);
        }
        newer.insert(name);
    }
}

/// Whether `signature` over `message` is `key`'s by ZIP-215, the rule for consensus votes: the
/// published light client judges by it, so validators must not be stricter.
///
/// One that held is remembered for a while: a precommit is asked for when it comes, in two certificates of the engine, and
/// in the next block's commit.
#[must_use]
pub fn signature_holds(key: tendermint::PublicKey, message: &[u8], signature: &Signature) -> bool {
    use tendermint::crypto::signature::Verifier as _;
    let mut hasher = blake3::Hasher::new();
    for part in [key.to_bytes().as_slice(), signature.as_bytes()] {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    let name = *hasher.update(message).finalize().as_bytes();
    let held = || HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held().knows(&name) {
        return true;
    }
    CHECKS.fetch_add(1, Ordering::Relaxed);
    let holds = tendermint::crypto::default::signature::Verifier.verify(key, message, signature).is_ok();
    if holds {
        held().remember(name);
    }
    holds
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

#[cfg(test)]
mod tests {
    use types::SigningKey;

    use super::*;

    #[test]
    fn what_held_says_nothing_of_another_key_message_or_signature() {
        let [signer, other] = [91, 92].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let key = |signer: &SigningKey| tendermint::PublicKey::from_raw_ed25519(&signer.public().0).expect("a key");
        let sign = |message: &[u8]| Signature::try_from(signer.sign(message).0.as_slice()).expect("64 bytes");
        for _ in 0..2 {
            assert!(signature_holds(key(&signer), b"a vote", &sign(b"a vote")));
            assert!(!signature_holds(key(&signer), b"another", &sign(b"a vote")));
            assert!(!signature_holds(key(&signer), b"a vote", &sign(b"another")));
            assert!(!signature_holds(key(&other), b"a vote", &sign(b"a vote")));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest() {
        let mut held = Held([BTreeSet::new(), BTreeSet::new()]);
        let name = |number: u64| *blake3::hash(&number.to_be_bytes()).as_bytes();
        let last = 3 * REMEMBERED as u64;
        for number in 0..=last {
            held.remember(name(number));
            assert!(held.knows(&name(number)));
        }
        assert!(held.0.iter().map(BTreeSet::len).sum::<usize>() <= 2 * REMEMBERED);
        assert!(held.knows(&name(last - REMEMBERED as u64)) && !held.knows(&name(0)));
    }
}
