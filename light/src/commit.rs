//! The rule that the published verifier does not have: every signature in a commit counts.
//!
//! It stops counting at two thirds, so a bit flipped in the last signature passes. A proof that is
//! kept for years must not have two forms, so here each entry must be what it claims to be.

use std::collections::BTreeSet;

use tendermint::block::CommitSig;
use tendermint::block::signed_header::SignedHeader;
use tendermint::crypto::signature::{Error as Refusal, Verifier};
use tendermint::validator::Info;
use tendermint::vote::{self, Vote};
use tendermint::{PublicKey, Signature, Time, account, block};
use tendermint_light_client_verifier::PredicateVerifier;
use tendermint_light_client_verifier::operations::ProdCommitValidator;
use tendermint_light_client_verifier::operations::voting_power::ProvidedVotingPowerCalculator;
use tendermint_light_client_verifier::predicates::ProdPredicates;

use crate::Error;
use crate::validators::Validators;

/// The votes of one commit, every signature checked.
///
/// The published verifier counts by asking whether signatures are right: this answers from what was
/// found once, so that no signature is worked out twice. What was not found is not right.
pub(crate) struct Votes {
    right: BTreeSet<Signed>,
}

/// A key, a message, and the key's signature over it.
type Signed = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The published verifier, over votes that were checked.
pub(crate) type Published = PredicateVerifier<ProdPredicates, ProvidedVotingPowerCalculator<Votes>, ProdCommitValidator>;

impl Votes {
    /// Checks that entry i of the commit is absent or the vote of validator i, for this block or for
    /// none, under a signature that `crypto` finds right: ZIP-215, but for tests.
    pub(crate) fn check(signed: &SignedHeader, validators: &Validators, crypto: &impl Verifier) -> Result<Self, Error> {
        let (entries, members) = (&signed.commit.signatures, validators.set().validators());
        if entries.len() != members.len() {
            return Err(Error::Vote {
                index: entries.len().min(members.len()),
                fault: "has no counterpart: votes and validators differ in number",
            });
        }
        let mut right = BTreeSet::new();
        for (index, (entry, validator)) in entries.iter().zip(members).enumerate() {
            if let Some(cast) = Cast::of(entry, signed.commit.block_id) {
                right.insert(cast.check(signed, index, validator, crypto).map_err(|fault| Error::Vote { index, fault })?);
            }
        }
        Ok(Self { right })
    }

    /// The published verifier that counts these votes.
    pub(crate) fn published(self) -> Published {
        PredicateVerifier::new(ProdPredicates, ProvidedVotingPowerCalculator::new(self), ProdCommitValidator)
    }
}

impl Verifier for Votes {
    fn verify(&self, key: PublicKey, message: &[u8], signature: &Signature) -> Result<(), Refusal> {
        let asked = (key.to_bytes(), message.to_vec(), signature.as_bytes().to_vec());
        if self.right.contains(&asked) { Ok(()) } else { Err(Refusal::VerificationFailed) }
    }
}

/// A vote that was cast, for a block or for none.
struct Cast<'a> {
    block_id: Option<block::Id>,
    address: account::Id,
    timestamp: Time,
    signature: Option<&'a Signature>,
}

impl<'a> Cast<'a> {
    const fn of(entry: &'a CommitSig, block_id: block::Id) -> Option<Self> {
        match entry {
            CommitSig::BlockIdFlagAbsent => None,
            CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature } => {
                Some(Self { block_id: Some(block_id), address: *validator_address, timestamp: *timestamp, signature: signature.as_ref() })
            }
            CommitSig::BlockIdFlagNil { validator_address, timestamp, signature } => {
                Some(Self { block_id: None, address: *validator_address, timestamp: *timestamp, signature: signature.as_ref() })
            }
        }
    }

    fn check(&self, signed: &SignedHeader, index: usize, validator: &Info, crypto: &impl Verifier) -> Result<Signed, &'static str> {
        if self.address != validator.address {
            return Err("is not of the validator in its place");
        }
        let signature = self.signature.ok_or("has no signature")?;
        let vote = Vote {
            vote_type: vote::Type::Precommit,
            height: signed.commit.height,
            round: signed.commit.round,
            block_id: self.block_id,
            timestamp: Some(self.timestamp),
            validator_address: self.address,
            validator_index: index.try_into().map_err(|_| "is beyond any set")?,
            signature: None,
            extension: Vec::new(),
            extension_signature: None,
        };
        let bytes = vote.into_signable_vec(signed.header.chain_id.clone());
        validator.verify_signature(crypto, &bytes, signature).map_err(|_| "has a wrong signature")?;
        Ok((validator.pub_key.to_bytes(), bytes, signature.as_bytes().to_vec()))
    }
}
