//! Verifying: the chain's own verifier, asked once for each signature in a run.
//!
//! Every node verifies what every other has signed. A signature holds or does not, whoever asks; so the
//! answers are shared, and a run costs its different signatures only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use consensus::malachite::context::{Address, BlockHash, ConsensusKey, ConsensusSignature, Height, Proposal, Vote, Zynk};
use consensus::malachite::signing::ChainVerifier;
use malachite::Verifier;
use malachite::app::types::core::{NilOrVal, Round, ValidatorProof, VoteExtensionScope, VoteType};
use malachite_signing::{Error, VerificationResult};

#[derive(Debug, PartialEq, Eq, Hash)]
enum Said {
    Vote(bool, Height, Round, Option<BlockHash>),
    Proposal(Height, Round, BlockHash, Round, Address),
}

type Answers = HashMap<(Said, [u8; 32], [u8; 64]), bool>;

/// The verifier of one run.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    verifier: ChainVerifier,
    answers: Arc<Mutex<Answers>>,
}

impl Shared {
    pub(crate) fn new(chain: tendermint::chain::Id) -> Self {
        Self { verifier: ChainVerifier::new(chain), answers: Arc::default() }
    }

    fn known(&self, asked: &(Said, [u8; 32], [u8; 64])) -> Option<VerificationResult> {
        self.answers.lock().expect("one thread").get(asked).copied().map(VerificationResult::from_bool)
    }

    fn learn(&self, asked: (Said, [u8; 32], [u8; 64]), answer: VerificationResult) -> VerificationResult {
        self.answers.lock().expect("one thread").insert(asked, answer.is_valid());
        answer
    }
}

#[async_trait]
impl Verifier<Zynk> for Shared {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &ConsensusSignature,
        key: &ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        let block = match vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(hash),
        };
        let said = Said::Vote(vote.kind == VoteType::Prevote, vote.height, vote.round, block);
        let asked = (said, key.0.0, signature.0.0);
        match self.known(&asked) {
            Some(answer) => Ok(answer),
            None => Ok(self.learn(asked, self.verifier.verify_signed_vote(vote, signature, key).await?)),
        }
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &ConsensusSignature,
        key: &ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        let said = Said::Proposal(proposal.height, proposal.round, proposal.value, proposal.pol_round, proposal.proposer);
        let asked = (said, key.0.0, signature.0.0);
        match self.known(&asked) {
            Some(answer) => Ok(answer),
            None => Ok(self.learn(asked, self.verifier.verify_signed_proposal(proposal, signature, key).await?)),
        }
    }

    async fn verify_signed_vote_extension(
        &self,
        scope: &VoteExtensionScope<Zynk>,
        extension: &Bytes,
        signature: &ConsensusSignature,
        key: &ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        self.verifier.verify_signed_vote_extension(scope, extension, signature, key).await
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<Zynk>) -> Result<VerificationResult, Error> {
        self.verifier.verify_validator_proof(proof).await
    }
}
