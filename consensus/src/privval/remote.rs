//! The node's side: it listens for its signer and asks it to sign.
//!
//! A signer that is away costs signatures and nothing else. Who connects must show the identity that the operator has
//! named; the newest connection of it counts, so that one that is dead does not stand in the way.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tendermint::proposal::Proposal;
use tendermint::vote::Vote;
use tendermint::{Signature, chain};
use tendermint_proto::v0_38::crypto::public_key;
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{
    PingRequest, PubKeyRequest, PubKeyResponse, RemoteSignerError, SignProposalRequest, SignVoteRequest,
};
use types::{PublicKey, SigningKey};

use super::Endpoint;
use super::link::Link;
use crate::commit::signature_holds;

/// An answer that takes longer ends the connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a signer that is not asked anything is pinged.
const PING: Duration = Duration::from_secs(2);

/// How often the listener looks for somebody.
const GLANCE: Duration = Duration::from_millis(20);

/// At most so many strangers are listened to at once.
const STRANGERS: usize = 8;

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no signer, or none that answers.
    #[error("the remote signer does not answer: {0}")]
    Away(String),
    /// The signer refused.
    #[error("the remote signer refused: {0}")]
    Refused(String),
}

/// A signer elsewhere.
#[derive(Debug)]
pub struct Remote {
    chain: chain::Id,
    /// Who may connect over TCP.
    allowed: Option<PublicKey>,
    identity: SigningKey,
    state: Mutex<State>,
    arrived: Condvar,
    strangers: AtomicUsize,
    gone: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    /// The validator's key, once a signer has said it. Another one is refused from then on.
    key: Option<tendermint::PublicKey>,
    asked: Option<Instant>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Remote {
    /// Listens for the signer of a validator on `chain`. `allowed`: the identity that it must show over TCP; `identity`: the
    /// node's own. It listens until what is returned is dropped.
    ///
    /// # Errors
    /// When the address cannot be listened on, or nobody could be told from a stranger there.
    pub fn listen(endpoint: &Endpoint, allowed: Option<PublicKey>, identity: SigningKey, chain: chain::Id) -> io::Result<Arc<Self>> {
        let listener = match endpoint {
            Endpoint::Tcp { .. } if allowed.is_none() => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "a signer over TCP needs an identity that is known: name it as `key`"));
            }
            Endpoint::Tcp { address, .. } => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Listener::Tcp(listener)
            }
            Endpoint::Unix(path) => {
                // What a process that has ended left there.
                if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                listener.set_nonblocking(true)?;
                Listener::Unix(listener)
            }
        };
        let remote = Arc::new(Self {
            chain,
            allowed,
            identity,
            state: Mutex::default(),
            arrived: Condvar::new(),
            strangers: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        });
        let (listening, pinging) = (Arc::downgrade(&remote), Arc::downgrade(&remote));
        thread::Builder::new().name("signer-listener".to_owned()).spawn(move || listener.run(&listening))?;
        thread::Builder::new().name("signer-ping".to_owned()).spawn(move || ping(&pinging))?;
        Ok(remote)
    }

    /// Whether a signer is there.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.state().link.is_some()
    }

    /// Waits for a signer. The validator's key, as it says.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<PublicKey> {
        let until = Instant::now() + patience;
        let state = self.arrival(self.state(), until);
        state.link.as_ref().and(state.key).and_then(raw)
    }

    /// Whether a signature was not had because no signer answered.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Has a vote signed. Waits for a signer for as long as `patience`.
    ///
    /// # Errors
    /// [`NotSigned`]. Of a signer that is away [`Remote::is_gone`] tells from then on.
    pub fn sign_vote(&self, vote: &Vote, patience: Duration) -> Result<Signature, NotSigned> {
        let request = SignVoteRequest { vote: Some(vote.clone().into()), chain_id: self.chain.to_string() };
        let bytes = vote.clone().into_signable_vec(self.chain.clone());
        let signed = self.sign(&Sum::SignVoteRequest(request), &bytes, patience);
        if matches!(signed, Err(NotSigned::Away(_))) {
            self.gone.store(true, Ordering::SeqCst);
        }
        signed
    }

    /// Has a proposal signed, as [`Remote::sign_vote`] does; that none was signed costs a turn, and is not remembered.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign_proposal(&self, proposal: &Proposal, patience: Duration) -> Result<Signature, NotSigned> {
        let request = SignProposalRequest { proposal: Some(proposal.clone().into()), chain_id: self.chain.to_string() };
        let bytes = proposal.clone().into_signable_vec(self.chain.clone());
        self.sign(&Sum::SignProposalRequest(request), &bytes, patience)
    }

    /// Asks until there is an answer. The same request twice is harmless: a signer signs it alike.
    fn sign(&self, request: &Sum, bytes: &[u8], patience: Duration) -> Result<Signature, NotSigned> {
        let until = Instant::now() + patience;
        let mut reason = "none is connected".to_owned();
        let mut state = self.state();
        loop {
            state = self.arrival(state, until);
            let Some(key) = state.key.filter(|_| state.link.is_some()) else {
                return Err(NotSigned::Away(reason));
            };
            match state.ask(request.clone()) {
                Ok(answer) => {
                    let signature = signature_in(answer).map_err(NotSigned::Refused)?;
                    // A signer may have changed what it signed, a time for instance; that would count for nothing.
                    return match signature.filter(|signature| signature_holds(key, bytes, signature)) {
                        Some(signature) => Ok(signature),
                        None => Err(NotSigned::Refused("its signature is not over what it was asked to sign".to_owned())),
                    };
                }
                Err(error) => {
                    tracing::error!(%error, "the remote signer is lost");
                    reason = error.to_string();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrival<'a>(&self, mut state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        while state.link.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Takes a connection whose other side has shown who it is: asks it for the validator's key.
    fn welcome(&self, mut link: Link) -> io::Result<()> {
        link.send(Sum::PubKeyRequest(PubKeyRequest { chain_id: self.chain.to_string() }))?;
        let Sum::PubKeyResponse(answer) = link.receive()? else {
            return Err(io::Error::new(ErrorKind::InvalidData, "another answer than was asked for"));
        };
        if let Some(error) = answer.error {
            return Err(io::Error::other(error.description));
        }
        let key = key_in(answer).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it has no ed25519 key"))?;
        let mut state = self.state();
        if state.key.is_some_and(|known| known != key) {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "it has another validator's key than before"));
        }
        (state.key, state.link) = (Some(key), Some(link));
        self.arrived.notify_all();
        tracing::info!(key = ?raw(key), "the remote signer is connected");
        Ok(())
    }
}

/// The validator's key that a signer tells.
fn key_in(answer: PubKeyResponse) -> Option<tendermint::PublicKey> {
    match answer.pub_key.and_then(|key| key.sum) {
        Some(public_key::Sum::Ed25519(bytes)) => tendermint::PublicKey::from_raw_ed25519(&bytes),
        _ => None,
    }
}

/// The signature that a signer gives, if its answer has one; or why it gives none, in its words.
fn signature_in(answer: Sum) -> Result<Option<Signature>, String> {
    let (signature, error) = match answer {
        Sum::SignedVoteResponse(answer) => (answer.vote.map(|vote| vote.signature), answer.error),
        Sum::SignedProposalResponse(answer) => (answer.proposal.map(|proposal| proposal.signature), answer.error),
        _ => (None, None),
    };
    match error {
        Some(RemoteSignerError { description, .. }) => Err(description),
        None => Ok(signature.and_then(|signature| Signature::try_from(signature).ok())),
    }
}

/// Reads an answer, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub(super) fn consider(answer: Sum) {
    match answer {
        Sum::PubKeyResponse(answer) => drop(key_in(answer)),
        answer => drop(signature_in(answer)),
    }
}

impl State {
    /// Asks what is connected; a connection that fails is dropped.
    fn ask(&mut self, request: Sum) -> io::Result<Sum> {
        let Some(link) = &mut self.link else {
            return Err(ErrorKind::NotConnected.into());
        };
        let answer = link.send(request).and_then(|()| link.receive());
        if answer.is_err() {
            self.link = None;
        }
        self.asked = Some(Instant::now());
        answer
    }
}

impl Listener {
    fn run(&self, remote: &Weak<Remote>) {
        while let Some(remote) = remote.upgrade() {
            let came = match self {
                Self::Tcp(listener) => listener.accept().map(|(stream, from)| {
                    let me = Arc::clone(&remote);
                    receive(&remote, from.to_string(), move || {
                        stream.set_nonblocking(false)?;
                        let (link, who) = Link::tcp(stream, &me.identity, PATIENCE)?;
                        if me.allowed != Some(who) {
                            return Err(io::Error::new(ErrorKind::PermissionDenied, format!("{who} is not the signer that was named")));
                        }
                        me.welcome(link)
                    });
                }),
                Self::Unix(listener) => listener.accept().map(|(stream, _)| {
                    let me = Arc::clone(&remote);
                    receive(&remote, "the socket".to_owned(), move || {
                        stream.set_nonblocking(false)?;
                        me.welcome(Link::unix(stream, PATIENCE)?)
                    });
                }),
            };
            drop(remote);
            if came.is_err() {
                thread::sleep(GLANCE);
            }
        }
    }
}

/// Listens to somebody who came, beside everything else.
fn receive(remote: &Arc<Remote>, from: String, hear: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let remote = Arc::clone(remote);
    if remote.strangers.fetch_add(1, Ordering::SeqCst) >= STRANGERS {
        remote.strangers.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let counted = Arc::clone(&remote);
    let spawned = thread::Builder::new().name("signer-door".to_owned()).spawn(move || {
        if let Err(error) = hear() {
            tracing::error!(%error, from, "refused a remote signer");
        }
        remote.strangers.fetch_sub(1, Ordering::SeqCst);
    });
    if spawned.is_err() {
        counted.strangers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Pings a signer that is not asked anything: so both notice when the other is gone.
fn ping(remote: &Weak<Remote>) {
    while let Some(remote) = remote.upgrade() {
        let mut state = remote.state();
        if state.link.is_some() && state.asked.is_none_or(|asked| asked.elapsed() >= PING) {
            match state.ask(Sum::PingRequest(PingRequest {})) {
                Ok(Sum::PingResponse(_)) => {}
                Ok(_) => state.link = None,
                Err(error) => tracing::error!(%error, "the remote signer is lost"),
            }
        }
        drop(state);
        drop(remote);
        thread::sleep(PING / 4);
    }
}

fn raw(key: tendermint::PublicKey) -> Option<PublicKey> {
    key.to_bytes().try_into().ok().map(PublicKey)
}
