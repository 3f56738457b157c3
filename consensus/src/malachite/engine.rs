//! Starting and supervising the engine.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytesize::ByteSize;
use libp2p::Multiaddr;
use malachite::app::config::{
    ConsensusConfig, DiscoveryConfig, GossipSubConfig, NodeConfig, P2pConfig, ProtocolNames, PubSubMaxSizePerTopic, PubSubProtocol,
    ValuePayload, ValueSyncConfig,
};
use malachite::app::events::RxEvent;
use malachite::app::types::Keypair;
use malachite::app::types::codec::Codec as _;
use malachite::app::types::core::ValidatorProof;
use malachite::{
    ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity, RequestContext, Signer as _, SyncContext, WalContext,
};
use tendermint::account;
use tokio::sync::watch;
use types::{Signature, SigningKey};

use super::codec::Wire;
use super::context::{Address, ConsensusSignature, Zynk};
use super::driver::{Driver, DriverError};
use super::parts::PIECE_BYTES;
use super::persistent;
use super::probe::Probe;
use super::signing::{ChainVerifier, GuardedSigner, ValidatorKey};
use crate::guard::Guard;
use crate::host::Host;

/// How many peers pass on to each other what others published; at most, and at least.
const MESH: usize = 4;
const MOST_MESH: usize = 6;
const LEAST_MESH: usize = 3;

/// No set has more validators (`docs/spec/stake.md`).
const MOST_VALIDATORS: usize = 128;

/// What the engine is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// What people call this node.
    pub moniker: String,
    /// Where it listens for other validators. It speaks TCP, or QUIC if this is an address of that, with everybody.
    pub listen: Multiaddr,
    /// Whom the operator named: it stays connected to them.
    pub peers: Vec<Multiaddr>,
    /// Whom it stays connected to beside them, as that changes while it runs.
    pub discovered: watch::Receiver<Vec<Multiaddr>>,
    /// At most so many connections that others opened from one address, of IPv6 from one /64.
    pub max_per_address: usize,
    /// The engine's log of the current height.
    pub wal: PathBuf,
    /// The key of its peer id on the consensus network.
    pub peer_key: SigningKey,
    /// The validator's key and guard; none for a node that only follows.
    pub signer: Option<(ValidatorKey, Arc<Mutex<Guard>>)>,
    /// The signature of [`peer_proof`](super::signing::peer_proof), where the key is elsewhere.
    pub proof: Option<Signature>,
}

/// Why an engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It could not be started.
    #[error("the consensus engine could not be started: {0}")]
    Start(String),
    /// Its log is damaged.
    #[error(
        "the consensus log {path} is damaged: {reason}. This node has stopped so that it cannot sign twice. Move the file away and start again: the signing guard beside it still refuses every second signature"
    )]
    DamagedLog {
        /// The log.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A signature was refused, and the engine stops at the first.
    #[error("the consensus engine has stopped because a signature was refused: {0}")]
    Refused(String),
    /// The loop that answers it ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// It ended by itself.
    #[error("the consensus engine ended by itself; the log lines before this one say why")]
    Ended,
}

/// A running engine.
pub struct Engine {
    handle: EngineHandle,
    probe: Probe,
    end: End,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("end", &self.end.reason).finish_non_exhaustive()
    }
}

struct Settings {
    moniker: String,
    consensus: ConsensusConfig,
    sync: ValueSyncConfig,
}

impl Engine {
    /// Starts the engine over `host`.
    ///
    /// # Errors
    /// [`Stopped::Start`] when it cannot be started, for instance when the address is taken.
    pub async fn start<H: Host>(config: Config, host: Arc<H>) -> Result<Self, Stopped> {
        let start = |error: &dyn std::fmt::Display| Stopped::Start(error.to_string());
        let state = host.chain_state();
        let chain = state.chain_id.clone();
        let max_block = state.params.block.max_bytes;
        let keypair = Keypair::ed25519_from_bytes(*config.peer_key.seed()).map_err(|error| start(&error))?;
        let log = Arc::new(config.wal.clone());
        let signer = config.signer.clone().map(|(key, guard)| GuardedSigner::new(chain.clone(), key, guard, log));
        let identity = identity(&config.moniker, &keypair, signer.as_ref(), config.proof).await.map_err(|error| start(&error))?;
        let verifier = Box::new(ChainVerifier::new(chain.clone()));
        let consensus = match &signer {
            Some(signer) => ConsensusContext::new_validator(address(signer), verifier, Box::new(signer.clone())),
            None => ConsensusContext::new_full_node(Address(account::Id::new([0; 20])), verifier),
        };
        let settings = settings(&config, chain.as_str(), max_block);
        let (channels, handle) = EngineBuilder::new(Zynk, settings)
            .with_default_wal(WalContext::new(config.wal.clone(), Wire))
            .with_default_network(NetworkContext::new(identity, Wire))
            .with_default_sync(SyncContext::new(Wire))
            .with_default_consensus(consensus)
            .with_default_request(RequestContext::new(128))
            .build()
            .await
            .map_err(|error| start(&error))?;
        let end = End { reason: watch::Sender::default(), signer: signer.clone() };
        watch_events(channels.events.subscribe(), config.wal, end.clone());
        let probe = Probe::new(channels.requests.clone(), channels.net_requests.clone());
        tokio::spawn(persistent::follow(config.discovered, config.peers, channels.net_requests.clone()));
        spawn_driver(Driver::new(host, channels, signer), end.clone());
        Ok(Self { handle, probe, end })
    }

    /// For questions to the engine while it runs.
    #[must_use]
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Waits until the engine ends, and says why.
    pub async fn ended(&mut self) -> Arc<Stopped> {
        let mut told = self.end.reason.subscribe();
        let given = tokio::select! {
            given = told.wait_for(Option::is_some) => given.is_ok(),
            _ = &mut self.handle.handle => false,
        };
        if !given {
            // The engine's end closes the driver's channel; a better reason may be a moment away.
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.end.finish(Stopped::Ended);
        }
        let reason = self.end.reason.borrow().clone();
        reason.unwrap_or_else(|| Arc::new(Stopped::Ended))
    }

    /// Stops the engine and waits until it has stopped.
    pub async fn stop(self) {
        self.handle.actor.stop(None);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.handle.handle).await;
    }
}

fn address(signer: &GuardedSigner) -> Address {
    Address(signer.public().address().into())
}

async fn identity(
    moniker: &str,
    keypair: &Keypair,
    signer: Option<&GuardedSigner>,
    proof: Option<Signature>,
) -> Result<NetworkIdentity, malachite_signing::Error> {
    let Some(signer) = signer else {
        return Ok(NetworkIdentity::new(moniker.to_owned(), keypair.clone(), None));
    };
    let peer = libp2p::PeerId::from_public_key(&keypair.public());
    let key = signer.public().0.to_vec();
    let proof = match (signer.is_remote(), proof) {
        (false, _) => signer.sign_validator_proof(key, peer.to_bytes()).await?,
        (true, Some(signature)) => ValidatorProof::new(key, peer.to_bytes(), ConsensusSignature(signature)),
        // Others hear its votes all the same, and keep no place for it among their connections.
        (true, None) => return Ok(NetworkIdentity::new(moniker.to_owned(), keypair.clone(), Some(address(signer).to_string()))),
    };
    let proof = Wire.encode(&proof).expect("a proof is always encodable");
    Ok(NetworkIdentity::new_validator(moniker.to_owned(), keypair.clone(), address(signer).to_string(), proof))
}

fn settings(config: &Config, chain: &str, max_block: u64) -> Settings {
    let named = |protocol: &str| format!("/zynk/{chain}/{protocol}/1");
    let p2p = P2pConfig {
        listen_addr: config.listen.clone(),
        persistent_peers: config.peers.clone(),
        discovery: DiscoveryConfig {
            // Others find addresses for it (`Config::discovered`). There is room for every validator of the largest set, and
            // for as many who only follow; who validates displaces who does not.
            num_outbound_peers: MOST_VALIDATORS,
            num_inbound_peers: 2 * MOST_VALIDATORS,
            max_connections_per_ip: config.max_per_address,
            // Validators may share an address, and one that starts anew comes back at once.
            ip_throttle_duration: Duration::ZERO,
            ..DiscoveryConfig::default()
        },
        // What is published goes to every peer at once. The mesh is for those whom that does not reach, and each of its
        // links is one more copy of every vote, whose signature gossipsub checks before it knows that it is a copy.
        //
        // No explicit peers: who is named by a peer that it does not name itself would get other validators' votes up to a
        // second late, and miss every commit.
        protocol: PubSubProtocol::GossipSub(GossipSubConfig::new(MESH, MOST_MESH, LEAST_MESH, 1, false, false, true)),
        pubsub_max_size: ByteSize::kib(512),
        pubsub_max_size_per_topic: PubSubMaxSizePerTopic {
            consensus: Some(ByteSize::kib(4)),
            proposal_parts: Some(ByteSize::b(PIECE_BYTES as u64 + 4096)),
            liveness: Some(ByteSize::kib(256)),
        },
        rpc_max_size: ByteSize::b(max_block + (1 << 20)).max(ByteSize::mib(10)),
        protocol_names: ProtocolNames {
            consensus: named("consensus"),
            discovery_kad: named("kad"),
            discovery_regres: named("peers"),
            sync: named("sync"),
            validator_proof: named("validator-proof"),
        },
        ..P2pConfig::default()
    };
    let consensus = ConsensusConfig {
        p2p,
        value_payload: ValuePayload::ProposalAndParts,
        // A height may see several rounds of two votes a validator before this node gets there, and the set may
        // grow while it runs.
        queue_per_height_capacity: 2 * MOST_VALIDATORS * 10,
        ..ConsensusConfig::default()
    };
    let sync = ValueSyncConfig {
        status_update_interval: Duration::from_secs(1),
        request_timeout: Duration::from_secs(5),
        batch_size: 20,
        ..ValueSyncConfig::default()
    };
    Settings { moniker: config.moniker.clone(), consensus, sync }
}

/// The engine hangs on purpose when its log is in doubt; only its events tell.
fn watch_events(mut events: RxEvent<Zynk>, wal: PathBuf, end: End) {
    use malachite::app::engine::util::events::Event;
    use tokio::sync::broadcast::error::RecvError;
    tokio::spawn(async move {
        loop {
            let reason = match events.recv().await {
                Ok(Event::WalCorrupted(error)) => error.to_string(),
                Ok(Event::WalReplayError(error)) => error.to_string(),
                Ok(Event::WalResetError(error)) => error.to_string(),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            end.finish(Stopped::DamagedLog { path: wal.clone(), reason });
        }
    });
}

fn spawn_driver<H: Host>(driver: Driver<H>, end: End) {
    let ending = Ending(end);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let work = move || match runtime {
        Ok(runtime) => {
            if let Err(error) = runtime.block_on(driver.run()) {
                ending.0.finish(error.into());
            }
        }
        Err(error) => ending.0.finish(Stopped::Start(error.to_string())),
    };
    if let Err(error) = std::thread::Builder::new().name("consensus-driver".to_owned()).spawn(work) {
        tracing::error!(%error, "no thread for the consensus driver");
    }
}

/// Ends the engine when the driver's thread ends, also by a panic: a node that no longer answers
/// its engine must not look alive.
struct Ending(End);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.finish(Stopped::Ended);
    }
}

/// Where the reason of the engine's end is left.
#[derive(Clone)]
struct End {
    reason: watch::Sender<Option<Arc<Stopped>>>,
    signer: Option<GuardedSigner>,
}

impl End {
    /// The first reason stands. That the engine is gone is none where a signature was refused: it is
    /// gone because of that.
    fn finish(&self, reason: Stopped) {
        let refusal = self.signer.as_ref().and_then(GuardedSigner::refusal);
        let reason = match (reason, refusal) {
            (Stopped::Ended | Stopped::Driver(DriverError::EngineGone), Some(refusal)) => Stopped::Refused(refusal.to_owned()),
            (reason, _) => reason,
        };
        self.reason.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert_with(|| Arc::new(reason));
            first
        });
    }
}

impl NodeConfig for Settings {
    fn moniker(&self) -> &str {
        &self.moniker
    }
    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }
    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }
    fn value_sync(&self) -> &ValueSyncConfig {
        &self.sync
    }
    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.sync
    }
}

#[cfg(test)]
mod tests;
