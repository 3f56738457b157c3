//! The rule that the published verifier does not have: every signature in a commit counts.
//!
//! It stops counting at two thirds, so a bit flipped in the last signature passes. A proof that is
//! kept for years must not have two forms, so here each entry must be what it claims to be.

use tendermint::block::CommitSig;
use tendermint::block::signed_header::SignedHeader;
use tendermint::crypto::default::signature::Verifier;
use tendermint::validator::Info;
use tendermint::vote::{self, Vote};
use tendermint::{Signature, Time, account, block};

use crate::Error;
use crate::validators::Validators;

/// Checks that entry i of the commit is absent or the vote of validator i, for this block or for
/// none, under a signature by ZIP-215.
pub(crate) fn every_vote(signed: &SignedHeader, validators: &Validators) -> Result<(), Error> {
    let (entries, members) = (&signed.commit.signatures, validators.set().validators());
    if entries.len() != members.len() {
        return Err(Error::Vote {
            index: entries.len().min(members.len()),
            fault: "has no counterpart: votes and validators differ in number",
        });
    }
    for (index, (entry, validator)) in entries.iter().zip(members).enumerate() {
        if let Some(cast) = Cast::of(entry, signed.commit.block_id) {
            cast.check(signed, index, validator).map_err(|fault| Error::Vote { index, fault })?;
        }
    }
    Ok(())
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

    fn check(&self, signed: &SignedHeader, index: usize, validator: &Info) -> Result<(), &'static str> {
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
        validator.verify_signature(&Verifier, &bytes, signature).map_err(|_| "has a wrong signature")
    }
}
