//! Signing and verifying what validators say, in Tendermint's canonical bytes.

use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use malachite::app::types::core::{NilOrVal, Round, SignedMessage, ValidatorProof, VoteExtensionScope, VoteType};
use malachite::{Signer, Verifier};
use malachite_signing::{Error, VerificationResult};
use tendermint::block::Id;
use tendermint::{chain, proposal, vote};
use types::{PublicKey, Signature, SigningKey};

use super::context::{BlockHash, ConsensusSignature, Proposal, Vote, Zynk};
use crate::commit::{block_id, signature_holds, vote_time};
use crate::guard::{Guard, Step};
use crate::privval::Remote;

/// For so long a vote waits for a remote signer, and the engine with it; then it stops, and the node goes on without signing.
const VOTE_PATIENCE: Duration = Duration::from_secs(10);

/// For so long a proposal waits; then this turn passes.
const PROPOSAL_PATIENCE: Duration = Duration::from_secs(2);

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

/// The key that signs a validator's votes and proposals.
#[derive(Clone, Debug)]
pub enum ValidatorKey {
    /// In this process.
    Local(SigningKey),
    /// In another one, which has said that this is its public half.
    Remote(Arc<Remote>, PublicKey),
}

impl From<SigningKey> for ValidatorKey {
    fn from(key: SigningKey) -> Self {
        Self::Local(key)
    }
}

/// What a validator's key signs to say that the peer with this id is its node's. Other nodes keep a place for such a peer. A
/// remote signer does not sign it; whoever has the key can, once.
#[must_use]
pub fn peer_proof(key: &PublicKey, peer: &[u8]) -> Vec<u8> {
    ValidatorProof::<Zynk>::signing_bytes(&key.0, peer)
}

impl ValidatorKey {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Local(key) => key.public(),
            Self::Remote(_, public) => *public,
        }
    }
}

/// What a validator signs, and nothing else.
#[derive(Clone, Debug)]
enum Said {
    Vote(Box<vote::Vote>),
    Proposal(Box<proposal::Proposal>),
}

impl Said {
    fn bytes(&self, chain: &chain::Id) -> Vec<u8> {
        match self.clone() {
            Self::Vote(vote) => vote.into_signable_vec(chain.clone()),
            Self::Proposal(proposal) => proposal.into_signable_vec(chain.clone()),
        }
    }

    /// Height, round and step.
    fn slot(&self) -> (types::Height, u32, Step) {
        match self {
            Self::Vote(vote) => {
                let step = if vote.is_prevote() { Step::Prevote } else { Step::Precommit };
                (types::Height(vote.height.value()), vote.round.value(), step)
            }
            Self::Proposal(proposal) => (types::Height(proposal.height.value()), proposal.round.value(), Step::Proposal),
        }
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
    key: ValidatorKey,
    guard: Arc<Mutex<Guard>>,
    log: Arc<dyn EngineLog>,
    refusal: Arc<OnceLock<String>>,
    /// The proposal that was signed last: it is announced first, and then said to the engine.
    proposed: Arc<Mutex<Option<Proposed>>>,
}

/// The bytes of a proposal, and the signature over them.
type Proposed = (Vec<u8>, Signature);

impl GuardedSigner {
    /// Signs for `chain` with `key`, of which `guard` is, for the engine that has this `log`.
    #[must_use]
    pub fn new(chain: chain::Id, key: impl Into<ValidatorKey>, guard: Arc<Mutex<Guard>>, log: Arc<dyn EngineLog>) -> Self {
        Self { chain, key: key.into(), guard, log, refusal: Arc::default(), proposed: Arc::default() }
    }

    /// Why the first signature that was refused was refused. The engine stops at one, and says no
    /// more of it than that it has stopped.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Signs a proposal before it is announced, and before the engine says it: whoever does not get it signed passes its turn,
    /// while the engine would stop.
    ///
    /// # Errors
    /// Why it was refused, or that no signer answers.
    pub fn announce(&self, proposal: proposal::Proposal) -> Result<Signature, String> {
        self.signed(&Said::Proposal(Box::new(proposal)))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Whether the key is in another process.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        matches!(self.key, ValidatorKey::Remote(..))
    }

    /// The signature, once the guard has durably permitted it.
    fn signed(&self, said: &Said) -> Result<Signature, String> {
        let (message, (height, round, step)) = (said.bytes(&self.chain), said.slot());
        let mut proposed = self.proposed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, signature)) = proposed.as_ref().filter(|(before, _)| *before == message) {
            return Ok(*signature);
        }
        self.log.sync().map_err(|error| format!("the consensus log could not be synced: {error}"))?;
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.permit(height, round, step, &message).map_err(|error| error.to_string())?;
        drop(guard);
        let signature = match (&self.key, said) {
            (ValidatorKey::Local(key), _) => key.sign(&message),
            (ValidatorKey::Remote(remote, _), Said::Vote(vote)) => given(remote.sign_vote(vote, VOTE_PATIENCE))?,
            (ValidatorKey::Remote(remote, _), Said::Proposal(proposal)) => given(remote.sign_proposal(proposal, PROPOSAL_PATIENCE))?,
        };
        if step == Step::Proposal {
            *proposed = Some((message, signature));
        }
        Ok(signature)
    }

    /// As [`GuardedSigner::signed`], away from the engine's threads: it syncs files, and may wait for a signer elsewhere.
    async fn guarded(&self, said: Said) -> Result<ConsensusSignature, Error> {
        let signer = self.clone();
        let refused = |reason: String| {
            tracing::error!(%reason, "did not sign");
            self.refusal.get_or_init(|| reason.clone());
            Error::from_source(std::io::Error::other(reason))
        };
        match tokio::task::spawn_blocking(move || signer.signed(&said)).await {
            Ok(Ok(signature)) => Ok(ConsensusSignature(signature)),
            Ok(Err(reason)) => Err(refused(reason)),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// What a signer elsewhere gave, as ours.
fn given(signed: Result<tendermint::Signature, crate::privval::NotSigned>) -> Result<Signature, String> {
    let signature = signed.map_err(|error| error.to_string())?;
    signature.as_bytes().try_into().map(Signature).map_err(|_| "the remote signer gave no ed25519 signature".to_owned())
}

/// Whether `signature` over `message` is `key`'s by ZIP-215.
pub(super) fn holds(key: tendermint::PublicKey, message: &[u8], signature: &Signature) -> bool {
    tendermint::Signature::try_from(signature.0.as_slice()).is_ok_and(|signature| signature_holds(key, message, &signature))
}

fn verdict(key: PublicKey, message: &[u8], signature: &ConsensusSignature) -> VerificationResult {
    let key = tendermint::PublicKey::from_raw_ed25519(&key.0);
    VerificationResult::from_bool(key.is_some_and(|key| holds(key, message, &signature.0)))
}

/// The bytes that a vote signs: Tendermint's canonical vote.
pub(super) fn signed_vote(chain: &chain::Id, vote: &Vote) -> Vec<u8> {
    said(vote).into_signable_vec(chain.clone())
}

fn said(vote: &Vote) -> vote::Vote {
    vote::Vote {
        vote_type: match vote.kind {
            VoteType::Prevote => vote::Type::Prevote,
            VoteType::Precommit => vote::Type::Precommit,
        },
        height: vote.height.to_tendermint(),
        round: round(vote.round),
        block_id: match vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(id(hash)),
        },
        timestamp: Some(vote_time()),
        // Neither address nor index is part of what is signed.
        validator_address: vote.voter.0,
        validator_index: vote::ValidatorIndex::try_from(0u32).expect("zero is an index"),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    }
}

fn signed_proposal(chain: &chain::Id, said: &Proposal) -> Vec<u8> {
    let pol_round = said.pol_round.as_u32().map(|_| round(said.pol_round));
    proposal(said.height.to_tendermint(), round(said.round), pol_round, said.value).into_signable_vec(chain.clone())
}

/// A proposal as Tendermint has it, for signing.
pub(super) fn proposal(
    height: tendermint::block::Height,
    round: tendermint::block::Round,
    pol_round: Option<tendermint::block::Round>,
    block: BlockHash,
) -> proposal::Proposal {
    proposal::Proposal {
        msg_type: proposal::Type::Proposal,
        height,
        round,
        pol_round,
        block_id: Some(id(block)),
        timestamp: Some(vote_time()),
        signature: None,
    }
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
        let signature = self.guarded(Said::Vote(Box::new(said(&vote)))).await?;
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, said: Proposal) -> Result<SignedMessage<Zynk, Proposal>, Error> {
        let pol_round = said.pol_round.as_u32().map(|_| round(said.pol_round));
        let canonical = proposal(said.height.to_tendermint(), round(said.round), pol_round, said.value);
        let signature = self.guarded(Said::Proposal(Box::new(canonical))).await?;
        Ok(SignedMessage::new(said, signature))
    }

    async fn sign_vote_extension(&self, _scope: VoteExtensionScope<Zynk>, _extension: Bytes) -> Result<SignedMessage<Zynk, Bytes>, Error> {
        Err(Error::from_source(std::io::Error::other("vote extensions are not used on this chain")))
    }

    async fn sign_validator_proof(&self, key: Vec<u8>, peer: Vec<u8>) -> Result<ValidatorProof<Zynk>, Error> {
        let ValidatorKey::Local(signing) = &self.key else {
            return Err(Error::from_source(std::io::Error::other("a remote signer signs votes and proposals alone")));
        };
        let signature = signing.sign(&ValidatorProof::<Zynk>::signing_bytes(&key, &peer));
        Ok(ValidatorProof::new(key, peer, ConsensusSignature(signature)))
    }
}
