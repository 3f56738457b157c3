//! The signer's side: it has the key, and signs what its guard permits.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use prost::Message as _;
use tendermint::chain;
use tendermint::proposal::Proposal;
use tendermint::vote::{Type, Vote};
use tendermint_proto::v0_38::crypto::{PublicKey as ProtoKey, public_key};
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{
    PingResponse, PubKeyResponse, RemoteSignerError, SignProposalRequest, SignVoteRequest, SignedProposalResponse, SignedVoteResponse,
};
use tendermint_proto::v0_38::types::CanonicalVoteExtension;
use types::{Height, SigningKey};

use super::Endpoint;
use super::link::Link;
use crate::commit::vote_time;
use crate::guard::{Guard, GuardError, Step};

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long after one connection the next is tried.
const REDIAL: Duration = Duration::from_millis(500);

/// A node that says nothing for so long is gone: it pings more often.
const PATIENCE: Duration = Duration::from_secs(15);

/// A validator's key for one chain, behind a guard.
#[derive(Debug)]
pub struct Signer {
    chain: chain::Id,
    key: SigningKey,
    guard: Guard,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// It is gone, or never came about.
    Lost(io::Error),
    /// The guard's file cannot be written: this process must sign no more.
    Broken(String),
}

/// Why a request was not followed.
enum Refusal {
    /// The one who asks is told; the next request may be another.
    Told(String),
    /// The guard's file cannot be written: there must be no further signature.
    Broken(String),
}

impl Signer {
    /// Signs for `chain` with `key`, of which `guard` is.
    #[must_use]
    pub const fn new(chain: chain::Id, key: SigningKey, guard: Guard) -> Self {
        Self { chain, key, guard }
    }

    /// Dials the node at `endpoint`, and again whenever the connection ends. Returns only why nothing must be signed by this
    /// process any more: its guard's file cannot be written.
    pub fn run(mut self, endpoint: &Endpoint, identity: &SigningKey) -> String {
        let mut said = String::new();
        loop {
            match self.serve(endpoint, identity) {
                Ended::Broken(reason) => return reason,
                Ended::Lost(error) => {
                    // Once for each reason: a node may be down for long.
                    let reason = error.to_string();
                    if reason != said {
                        tracing::warn!(%endpoint, reason, "not connected to the node");
                        said = reason;
                    }
                }
            }
            std::thread::sleep(REDIAL);
        }
    }

    /// Dials a node and answers until the connection ends.
    pub fn serve(&mut self, endpoint: &Endpoint, identity: &SigningKey) -> Ended {
        let mut serve = || -> io::Result<String> {
            let mut link = dial(endpoint, identity)?;
            tracing::info!(%endpoint, "connected");
            loop {
                let request = link.receive()?;
                let (answer, broken) = self.answer(request)?;
                let sent = link.send(answer);
                if let Some(reason) = broken {
                    return Ok(reason);
                }
                sent?;
            }
        };
        serve().map_or_else(Ended::Lost, Ended::Broken)
    }

    /// The answer to a request, and why nothing must be signed after it, if so.
    ///
    /// # Errors
    /// What is no request ends the connection.
    pub fn answer(&mut self, request: Sum) -> io::Result<(Sum, Option<String>)> {
        let mut broken = None;
        let mut error = |refusal| {
            let description = match refusal {
                Refusal::Told(reason) => reason,
                Refusal::Broken(reason) => broken.insert(reason).clone(),
            };
            tracing::error!(reason = %description, "did not sign");
            Some(RemoteSignerError { code: 1, description })
        };
        let answer = match request {
            Sum::PingRequest(_) => Sum::PingResponse(PingResponse {}),
            Sum::PubKeyRequest(request) => Sum::PubKeyResponse(match self.of(&request.chain_id) {
                Ok(()) => PubKeyResponse { pub_key: Some(self.public()), error: None },
                Err(refusal) => PubKeyResponse { pub_key: None, error: error(refusal) },
            }),
            Sum::SignVoteRequest(request) => Sum::SignedVoteResponse(match self.vote(request) {
                Ok(vote) => SignedVoteResponse { vote: Some(vote.into()), error: None },
                Err(refusal) => SignedVoteResponse { vote: None, error: error(refusal) },
            }),
            Sum::SignProposalRequest(request) => Sum::SignedProposalResponse(match self.proposal(request) {
                Ok(proposal) => SignedProposalResponse { proposal: Some(proposal.into()), error: None },
                Err(refusal) => SignedProposalResponse { proposal: None, error: error(refusal) },
            }),
            Sum::PubKeyResponse(_) | Sum::SignedVoteResponse(_) | Sum::SignedProposalResponse(_) | Sum::PingResponse(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer where a request was expected"));
            }
        };
        Ok((answer, broken))
    }

    fn public(&self) -> ProtoKey {
        ProtoKey { sum: Some(public_key::Sum::Ed25519(self.key.public().0.to_vec())) }
    }

    fn of(&self, chain: &str) -> Result<(), Refusal> {
        if chain == self.chain.as_str() {
            Ok(())
        } else {
            Err(Refusal::Told(format!("this signer signs for {}, not for {chain:?}", self.chain)))
        }
    }

    fn vote(&mut self, request: SignVoteRequest) -> Result<Vote, Refusal> {
        self.of(&request.chain_id)?;
        let mut vote = asked_vote(request)?;
        let step = match vote.vote_type {
            Type::Prevote => Step::Prevote,
            Type::Precommit => Step::Precommit,
        };
        let timeless = Vote { timestamp: Some(vote_time()), ..vote.clone() };
        self.permit(vote.height.value(), vote.round.value(), step, &timeless.into_signable_vec(self.chain.clone()))?;
        if step == Step::Precommit && vote.block_id.is_some() {
            // CometBFT expects a signature of the extension, also of an empty one, with every precommit for a block.
            let extension = extension_bytes(&self.chain, &vote);
            vote.extension_signature = Some(self.sign(&extension)?);
        }
        let bytes = vote.clone().into_signable_vec(self.chain.clone());
        vote.signature = Some(self.sign(&bytes)?);
        Ok(vote)
    }

    fn proposal(&mut self, request: SignProposalRequest) -> Result<Proposal, Refusal> {
        self.of(&request.chain_id)?;
        let mut proposal = asked_proposal(request)?;
        let timeless = Proposal { timestamp: Some(vote_time()), ..proposal.clone() };
        let bytes = timeless.into_signable_vec(self.chain.clone());
        self.permit(proposal.height.value(), proposal.round.value(), Step::Proposal, &bytes)?;
        proposal.signature = Some(self.sign(&proposal.clone().into_signable_vec(self.chain.clone()))?);
        Ok(proposal)
    }

    /// Asks the guard. What is signed counts without its time: a node of CometBFT that lost a signature by a crash asks
    /// again with a later time, and two signatures that differ in it alone are no evidence.
    fn permit(&mut self, height: u64, round: u32, step: Step, timeless: &[u8]) -> Result<(), Refusal> {
        if height == 0 {
            return Err(told("height 0"));
        }
        self.guard.permit(Height(height), round, step, timeless).map_err(|error| match error {
            GuardError::Regression { .. } | GuardError::Conflict { .. } => told(error),
            GuardError::Io { .. } | GuardError::Damaged { .. } | GuardError::Foreign { .. } => Refusal::Broken(error.to_string()),
        })
    }

    fn sign(&self, message: &[u8]) -> Result<tendermint::Signature, Refusal> {
        tendermint::Signature::try_from(self.key.sign(message).0.as_slice()).map_err(told)
    }
}

fn asked_vote(request: SignVoteRequest) -> Result<Vote, Refusal> {
    request.vote.ok_or_else(|| told("no vote"))?.try_into().map_err(told)
}

fn asked_proposal(request: SignProposalRequest) -> Result<Proposal, Refusal> {
    request.proposal.ok_or_else(|| told("no proposal"))?.try_into().map_err(told)
}

/// Reads a request as far as the guard, which it does not ask, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub(super) fn consider(request: Sum) {
    match request {
        Sum::SignVoteRequest(request) => {
            let Ok(chain) = chain::Id::try_from(request.chain_id.clone()) else { return };
            if let Ok(vote) = asked_vote(request) {
                drop(extension_bytes(&chain, &vote));
                drop(vote.into_signable_vec(chain));
            }
        }
        Sum::SignProposalRequest(request) => {
            let Ok(chain) = chain::Id::try_from(request.chain_id.clone()) else { return };
            if let Ok(proposal) = asked_proposal(request) {
                drop(proposal.into_signable_vec(chain));
            }
        }
        _ => {}
    }
}

fn told(reason: impl ToString) -> Refusal {
    Refusal::Told(reason.to_string())
}

/// The bytes that an extension's signature is over. Source: CometBFT `types/vote.go`, `VoteExtensionSignBytes`.
fn extension_bytes(chain: &chain::Id, vote: &Vote) -> Vec<u8> {
    let canonical = CanonicalVoteExtension {
        extension: vote.extension.clone(),
        height: vote.height.into(),
        round: i64::from(vote.round.value()),
        chain_id: chain.to_string(),
    };
    canonical.encode_length_delimited_to_vec()
}

fn dial(endpoint: &Endpoint, identity: &SigningKey) -> io::Result<Link> {
    match endpoint {
        Endpoint::Unix(path) => Link::unix(UnixStream::connect(path)?, PATIENCE),
        Endpoint::Tcp { peer, address } => {
            let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECTING) {
                    Ok(stream) => {
                        let (link, who) = Link::tcp(stream, identity, PATIENCE)?;
                        if peer.is_some_and(|peer| peer != who.address().0) {
                            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("somebody else answers there: {who}")));
                        }
                        return Ok(link);
                    }
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        }
    }
}
