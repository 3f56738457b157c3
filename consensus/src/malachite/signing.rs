//! Signing and verifying what validators say, in Tendermint's canonical bytes.

use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use malachite::app::types::core::{NilOrVal, Round, SignedMessage, ValidatorProof, VoteExtensionScope, VoteType};
use malachite::{Signer, Verifier};
use malachite_signing::{Error, VerificationResult};
use tendermint::block::Id;
use tendermint::{chain, proposal, vote};
use types::{PublicKey, Signature, SigningKey};

use super::context::{BlockHash, ConsensusSignature, Height, Proposal, Vote, Zynk};
use crate::commit::{block_id, signature_holds, vote_bytes, vote_time};
use crate::guard::{Guard, Step};

/// Verifies by ZIP-215.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    chain: chain::Id,
}

impl ChainVerifier {
    /// Verifies what is said on `chain`.
    #[must_use]
    pub const fn new(chain: chain::Id) -> Self {
        Self { chain }
    }
}

/// The engine's log of the current height, as a signer needs it.
pub trait EngineLog: Debug + Send + Sync {
    /// Makes durable what the engine has appended so far.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn sync(&self) -> std::io::Result<()>;
}

/// The log's file. The engine writes to it through a descriptor of its own; syncing is of the file.
impl EngineLog for PathBuf {
    fn sync(&self) -> std::io::Result<()> {
        File::open(self)?.sync_data()
    }
}

/// Signs with a validator's key, behind its guard.
///
/// The guard must not remember what the log forgot: were the power cut between their writes, the engine would start
/// with a log that leads it to another vote, which the guard refuses, and at every start again. So what led to a vote
/// is durable before the guard writes the vote down.
#[derive(Clone, Debug)]
pub struct GuardedSigner {
    chain: chain::Id,
    key: SigningKey,
    guard: Arc<Mutex<Guard>>,
    log: Arc<dyn EngineLog>,
    refusal: Arc<OnceLock<String>>,
}

impl GuardedSigner {
    /// Signs for `chain` with `key`, of which `guard` is, for the engine that has this `log`.
    #[must_use]
    pub fn new(chain: chain::Id, key: SigningKey, guard: Arc<Mutex<Guard>>, log: Arc<dyn EngineLog>) -> Self {
        Self { chain, key, guard, log, refusal: Arc::default() }
    }

    /// Why the first signature that was refused was refused. The engine stops at one, and says no
    /// more of it than that it has stopped.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Signs the head of a block's stream of parts. It is no vote: the guard is not asked.
    #[must_use]
    pub fn sign_init(&self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The signature, once the guard has durably permitted it.
    async fn guarded(&self, height: Height, round: u32, step: Step, message: Vec<u8>) -> Result<ConsensusSignature, Error> {
        let signer = self.clone();
        let signed = move || {
            signer.log.sync().map_err(|error| format!("the consensus log could not be synced: {error}"))?;
            let mut guard = signer.guard.lock().unwrap_or_else(PoisonError::into_inner);
            guard.permit(types::Height(height.0), round, step, &message).map_err(|error| error.to_string())?;
            Ok::<_, String>(ConsensusSignature(signer.key.sign(&message)))
        };
        let refused = |reason: String| {
            tracing::error!(%reason, "did not sign");
            self.refusal.get_or_init(|| reason.clone());
            Error::from_source(std::io::Error::other(reason))
        };
        match tokio::task::spawn_blocking(signed).await {
            Ok(Ok(signature)) => Ok(signature),
            Ok(Err(reason)) => Err(refused(reason)),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// Whether `signature` over `message` is `key`'s by ZIP-215.
pub(super) fn holds(key: tendermint::PublicKey, message: &[u8], signature: &Signature) -> bool {
    tendermint::Signature::try_from(signature.0.as_slice()).is_ok_and(|signature| signature_holds(key, message, &signature))
}

fn verdict(key: PublicKey, message: &[u8], signature: &ConsensusSignature) -> VerificationResult {
    let key = tendermint::PublicKey::from_raw_ed25519(&key.0);
    VerificationResult::from_bool(key.is_some_and(|key| holds(key, message, &signature.0)))
}

pub(super) fn signed_vote(chain: &chain::Id, vote: &Vote) -> Vec<u8> {
    let kind = match vote.kind {
        VoteType::Prevote => vote::Type::Prevote,
        VoteType::Precommit => vote::Type::Precommit,
    };
    let block = match vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(hash) => Some(id(hash)),
    };
    vote_bytes(chain, kind, vote.height.to_tendermint(), round(vote.round), block)
}

fn signed_proposal(chain: &chain::Id, proposal: &Proposal) -> Vec<u8> {
    let canonical = proposal::Proposal {
        msg_type: proposal::Type::Proposal,
        height: proposal.height.to_tendermint(),
        round: round(proposal.round),
        pol_round: proposal.pol_round.as_u32().map(|_| round(proposal.pol_round)),
        block_id: Some(id(proposal.value)),
        timestamp: Some(vote_time()),
        signature: None,
    };
    canonical.into_signable_vec(chain.clone())
}

fn id(hash: BlockHash) -> Id {
    block_id(tendermint::Hash::Sha256(hash.0.0))
}

/// A round that is not nil, as the `tendermint` crate has it. The codec bounds rounds by 2^31.
fn round(round: Round) -> tendermint::block::Round {
    round.as_u32().and_then(|round| round.try_into().ok()).unwrap_or_default()
}

#[async_trait]
impl Verifier<Zynk> for ChainVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &ConsensusSignature,
        key: &super::context::ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(key.0, &signed_vote(&self.chain, vote), signature))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &ConsensusSignature,
        key: &super::context::ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(key.0, &signed_proposal(&self.chain, proposal), signature))
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<Zynk>,
        _extension: &Bytes,
        _signature: &ConsensusSignature,
        _key: &super::context::ConsensusKey,
    ) -> Result<VerificationResult, Error> {
        // No vote of this chain carries an extension.
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<Zynk>) -> Result<VerificationResult, Error> {
        let Ok(key) = proof.decoded_public_key() else {
            return Ok(VerificationResult::Invalid);
        };
        Ok(verdict(key.0, &proof.preimage(), &proof.signature))
    }
}

#[async_trait]
impl Signer<Zynk> for GuardedSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Zynk, Vote>, Error> {
        let step = match vote.kind {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        };
        let message = signed_vote(&self.chain, &vote);
        let signature = self.guarded(vote.height, vote.round.as_u32().unwrap_or(0), step, message).await?;
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Zynk, Proposal>, Error> {
        let message = signed_proposal(&self.chain, &proposal);
        let signature = self.guarded(proposal.height, proposal.round.as_u32().unwrap_or(0), Step::Proposal, message).await?;
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(&self, _scope: VoteExtensionScope<Zynk>, _extension: Bytes) -> Result<SignedMessage<Zynk, Bytes>, Error> {
        Err(Error::from_source(std::io::Error::other("vote extensions are not used on this chain")))
    }

    async fn sign_validator_proof(&self, key: Vec<u8>, peer: Vec<u8>) -> Result<ValidatorProof<Zynk>, Error> {
        let signature = self.key.sign(&ValidatorProof::<Zynk>::signing_bytes(&key, &peer));
        Ok(ValidatorProof::new(key, peer, ConsensusSignature(signature)))
    }
}
