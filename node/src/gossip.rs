//! Transactions on their way from node to node, over a libp2p swarm of their own.
//!
//! A transaction is forwarded only by nodes that took it into their own mempool, so what is
//! malformed, badly signed or unpaid stops at the first honest node. Nodes also tell their height,
//! so that one which must catch up before it may sign knows how far. The format's page is
//! `docs/spec/gossip.md`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, tcp, yamux};
use tokio::sync::broadcast;
use types::{ChainId, SigningKey};

use crate::app::App;
use crate::config::Network;
use crate::mempool::NotTaken;

/// A message carries this many bytes at most: a transaction and its stamp.
const MAX_MESSAGE: usize = ledger::transaction::MAX_BYTES + 64;
/// At most this many connections that others opened.
const MAX_INBOUND: u32 = 128;
/// At most this many transactions are offered again at once.
const OFFERED_AGAIN: usize = 256;
/// How often peers are dialled, heights told, and waiting transactions offered again.
const TICK: Duration = Duration::from_secs(1);

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    limits: connection_limits::Behaviour,
}

/// What the rest of the node knows of the gossip.
#[derive(Debug, Default)]
pub struct Neighbours {
    connected: AtomicUsize,
    highest: AtomicU64,
    heights: Mutex<HashMap<PeerId, u64>>,
}

impl Neighbours {
    /// How many peers are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many peers have told their height, and the highest told.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        let told = self.heights.lock().unwrap_or_else(PoisonError::into_inner).len();
        (told > 0).then(|| self.highest.load(Ordering::Relaxed))
    }

    fn tell(&self, peer: PeerId, height: u64) {
        let mut heights = self.heights.lock().unwrap_or_else(PoisonError::into_inner);
        if heights.len() < MAX_INBOUND as usize || heights.contains_key(&peer) {
            heights.insert(peer, height);
            self.highest.fetch_max(height, Ordering::Relaxed);
        }
    }
}

/// The gossip of one node.
pub struct Gossip {
    swarm: Swarm<Behaviour>,
    app: Arc<App>,
    peers: Vec<Multiaddr>,
    transactions: IdentTopic,
    heights: IdentTopic,
    neighbours: Arc<Neighbours>,
    checked: tokio::sync::mpsc::Sender<Checked>,
    verdicts: tokio::sync::mpsc::Receiver<Checked>,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// A message that was offered to the mempool.
struct Checked {
    id: gossipsub::MessageId,
    from: PeerId,
    acceptance: MessageAcceptance,
}

impl Gossip {
    /// Listens, and gets ready to dial the peers.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(network: &Network, key: &SigningKey, app: Arc<App>) -> anyhow::Result<Self> {
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key.seed())?;
        let chain = app.genesis().chain().clone();
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|keypair| Ok(behaviour(&chain, keypair)?))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        swarm.listen_on(network.listen.clone())?;
        let topic = |name: &str| IdentTopic::new(format!("/zynk/{chain}/{name}/1"));
        let (transactions, heights) = (topic("transactions"), topic("heights"));
        swarm.behaviour_mut().gossip.subscribe(&transactions)?;
        swarm.behaviour_mut().gossip.subscribe(&heights)?;
        let (checked, verdicts) = tokio::sync::mpsc::channel(1024);
        let neighbours = Arc::default();
        Ok(Self { swarm, app, peers: network.peers.clone(), transactions, heights, neighbours, checked, verdicts })
    }

    /// What the rest of the node may know.
    #[must_use]
    pub fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.neighbours)
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut arrivals = self.app.arrivals();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                Some(checked) = self.verdicts.recv() => self.report(&checked),
                arrival = arrivals.recv() => match arrival {
                    Ok(bytes) => self.offer(&bytes, 0),
                    Err(broadcast::error::RecvError::Lagged(missed)) => tracing::debug!(missed, "offered later with the rest"),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening for transactions"),
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. } if num_established.get() == 1 => {
                self.neighbours.connected.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer_id, "peer connected");
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.neighbours.connected.fetch_sub(1, Ordering::Relaxed);
                self.neighbours.heights.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer_id);
                tracing::debug!(%peer_id, "peer disconnected");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message })) => {
                self.receive(propagation_source, message_id, message);
            }
            _ => {}
        }
    }

    fn receive(&mut self, from: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        if message.topic == self.heights.hash() {
            let height = <[u8; 8]>::try_from(message.data.as_slice()).map(u64::from_be_bytes);
            if let (Ok(height), Some(source)) = (height, message.source) {
                self.neighbours.tell(source, height);
            }
            let acceptance = if height.is_ok() { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
            return self.report(&Checked { id, from, acceptance });
        }
        let Some(bytes) = message.data.get(8..).map(Bytes::copy_from_slice) else {
            return self.report(&Checked { id, from, acceptance: MessageAcceptance::Reject });
        };
        let (app, checked) = (Arc::clone(&self.app), self.checked.clone());
        tokio::task::spawn_blocking(move || {
            let acceptance = match app.submit(bytes) {
                Ok(_) => MessageAcceptance::Accept,
                Err(NotTaken::Refused(
                    ledger::Refusal::Malformed(_) | ledger::Refusal::BadSignature { .. } | ledger::Refusal::TooLarge { .. },
                )) => MessageAcceptance::Reject,
                // Known already, too late or too many: nobody's fault.
                Err(_) => MessageAcceptance::Ignore,
            };
            // Dropped when the gossip has ended or cannot follow; the message then just expires.
            let _ = checked.try_send(Checked { id, from, acceptance });
        });
    }

    fn report(&mut self, checked: &Checked) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let acceptance = match checked.acceptance {
            MessageAcceptance::Accept => MessageAcceptance::Accept,
            MessageAcceptance::Reject => MessageAcceptance::Reject,
            MessageAcceptance::Ignore => MessageAcceptance::Ignore,
        };
        let _ = gossip.report_message_validation_result(&checked.id, &checked.from, acceptance);
    }

    /// Offers a transaction. The stamp lets one that waits long be offered again: without it,
    /// peers would drop the message as known.
    fn offer(&mut self, bytes: &[u8], stamp: u64) {
        let mut data = stamp.to_be_bytes().to_vec();
        data.extend_from_slice(bytes);
        if let Err(error) = self.swarm.behaviour_mut().gossip.publish(self.transactions.clone(), data) {
            tracing::trace!(%error, "not offered yet");
        }
    }

    fn tick(&mut self) {
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        if connected.len() < self.peers.len() {
            for peer in self.peers.clone() {
                // An address that is connected already closes the second connection by itself.
                let known = peer.iter().any(|part| matches!(part, libp2p::multiaddr::Protocol::P2p(id) if connected.contains(&id)));
                if !known && let Err(error) = self.swarm.dial(peer) {
                    tracing::debug!(%error, "could not dial a peer");
                }
            }
        }
        let tip = self.app.chain().last_block.map_or(0, |(height, _)| height.value());
        let _ = self.swarm.behaviour_mut().gossip.publish(self.heights.clone(), tip.to_be_bytes());
        let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 5);
        for bytes in self.app.oldest_waiting(OFFERED_AGAIN * 1024).into_iter().take(OFFERED_AGAIN) {
            self.offer(&bytes, stamp);
        }
    }
}

fn behaviour(chain: &ChainId, keypair: &libp2p::identity::Keypair) -> anyhow::Result<Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(format!("/zynk/{chain}/gossip"))
        .heartbeat_interval(Duration::from_millis(300))
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .flood_publish(true)
        .max_transmit_size(MAX_MESSAGE)
        // Heights repeat every second from everyone; a name of source and number would do, but a
        // transaction must have the same name whoever offers it.
        .message_id_fn(|message| {
            let mut hasher = sha2::Sha256::default();
            use sha2::Digest as _;
            if message.data.len() == 8 {
                hasher.update(message.source.map_or_else(Vec::new, |source| source.to_bytes()));
                hasher.update(message.sequence_number.unwrap_or_default().to_be_bytes());
            }
            hasher.update(&message.data);
            gossipsub::MessageId::from(hasher.finalize().to_vec())
        })
        .build()?;
    let gossip = gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config).map_err(anyhow::Error::msg)?;
    let identify = identify::Behaviour::new(identify::Config::new(format!("/zynk/{chain}"), keypair.public()));
    let limits = ConnectionLimits::default()
        .with_max_established_incoming(Some(MAX_INBOUND))
        .with_max_pending_incoming(Some(MAX_INBOUND))
        .with_max_established_per_peer(Some(2));
    Ok(Behaviour { gossip, identify, limits: connection_limits::Behaviour::new(limits) })
}
