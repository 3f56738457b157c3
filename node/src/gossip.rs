//! Transactions on their way from node to node, over a libp2p swarm of their own.
//!
//! A transaction is forwarded only by nodes that took it into their own mempool, so what is
//! malformed, badly signed or unpaid stops at the first honest node. Nodes also tell their height,
//! so that one which must catch up before it may sign knows how far. The format's page is
//! `docs/spec/gossip.md`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, tcp, yamux};
use tokio::sync::broadcast;
use types::{ChainId, Hash, SigningKey};

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
/// How long a transaction rests before it is offered again, in seconds.
const WINDOW_S: u64 = 5;
/// At most this many transactions are known to have passed in one window.
const PASSED: usize = 16_384;

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

    /// The highest height told so far; none while no connected peer has told one.
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
    passed: Passed,
    neighbours: Arc<Neighbours>,
    checked: tokio::sync::mpsc::Sender<Checked>,
    verdicts: tokio::sync::mpsc::Receiver<Checked>,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// The transactions that came in or went out in this window and in the one before: their copies are
/// in every neighbour's hands, and gossipsub would complain of one more.
#[derive(Debug, Default)]
struct Passed {
    window: u64,
    now: HashSet<Hash>,
    before: HashSet<Hash>,
}

impl Passed {
    /// Goes on to this window; whether it is a new one.
    fn turn(&mut self, window: u64) -> bool {
        if window == self.window {
            return false;
        }
        self.window = window;
        self.before = std::mem::take(&mut self.now);
        true
    }

    fn note(&mut self, transaction: Hash) {
        if self.now.len() < PASSED {
            self.now.insert(transaction);
        }
    }
}

/// A message that was judged.
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
            .with_behaviour(|keypair| Ok(behaviour(&chain, keypair, MAX_MESSAGE)?))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        swarm.listen_on(network.listen.clone())?;
        let (transactions, heights) = (topic(&chain, "transactions"), topic(&chain, "heights"));
        swarm.behaviour_mut().gossip.subscribe(&transactions)?;
        swarm.behaviour_mut().gossip.subscribe(&heights)?;
        let (checked, verdicts) = tokio::sync::mpsc::channel(1024);
        let (peers, passed, neighbours) = (network.peers.clone(), Passed::default(), Arc::default());
        Ok(Self { swarm, app, peers, transactions, heights, passed, neighbours, checked, verdicts })
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
                Some(checked) = self.verdicts.recv() => self.report(checked),
                arrival = arrivals.recv() => match arrival {
                    Ok(bytes) => self.offer_first(&bytes),
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
            let height = read_height(&message.data);
            if let (Some(height), Some(source)) = (height, message.source) {
                self.neighbours.tell(source, height);
                self.app.hear(height);
            }
            let acceptance = if height.is_some() { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
            return self.report(Checked { id, from, acceptance });
        }
        let Some((stamp, bytes)) = message.data.split_first_chunk().map(|(stamp, bytes)| (u64::from_be_bytes(*stamp), bytes)) else {
            return self.report(Checked { id, from, acceptance: MessageAcceptance::Reject });
        };
        self.passed.note(Hash::sha256(&[bytes]));
        let (app, checked, bytes) = (Arc::clone(&self.app), self.checked.clone(), Bytes::copy_from_slice(bytes));
        let offered_again = stamp.abs_diff(window()) <= 1;
        tokio::task::spawn_blocking(move || {
            let acceptance = judge(&app, bytes, offered_again);
            // Dropped when the gossip has ended or cannot follow; the message then just expires.
            let _ = checked.try_send(Checked { id, from, acceptance });
        });
    }

    fn report(&mut self, checked: Checked) {
        let Checked { id, from, acceptance } = checked;
        let _ = self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
    }

    /// Offers a transaction that entered the mempool, unless it came from a peer: it then spreads
    /// because it was accepted.
    fn offer_first(&mut self, bytes: &[u8]) {
        let hash = Hash::sha256(&[bytes]);
        if !self.passed.now.contains(&hash) && !self.passed.before.contains(&hash) {
            self.offer(hash, bytes, 0);
        }
    }

    /// Offers a transaction. The stamp lets one that waits long be offered again: without it,
    /// peers would drop the message as known.
    fn offer(&mut self, hash: Hash, bytes: &[u8], stamp: u64) {
        let mut data = stamp.to_be_bytes().to_vec();
        data.extend_from_slice(bytes);
        match self.swarm.behaviour_mut().gossip.publish(self.transactions.clone(), data) {
            Ok(_) => self.passed.note(hash),
            Err(error) => tracing::trace!(%error, "not offered yet"),
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
        let _ = self.swarm.behaviour_mut().gossip.publish(self.heights.clone(), write_height(tip, since_1970()));
        let stamp = window();
        if self.passed.turn(stamp) {
            for bytes in self.app.oldest_waiting(OFFERED_AGAIN * 1024).into_iter().take(OFFERED_AGAIN) {
                self.offer(Hash::sha256(&[&bytes]), &bytes, stamp);
            }
        }
    }
}

/// What becomes of a transaction message.
///
/// One that waits here already is passed on if it was offered again just now: behind this node may
/// be one that lacks it, and to that one this node's own offer would be a copy of the same message.
fn judge(app: &App, bytes: Bytes, offered_again: bool) -> MessageAcceptance {
    match app.submit(bytes) {
        Ok(_) => MessageAcceptance::Accept,
        Err(NotTaken::Waiting) if offered_again => MessageAcceptance::Accept,
        Err(NotTaken::Refused(ledger::Refusal::Malformed(_) | ledger::Refusal::BadSignature { .. } | ledger::Refusal::TooLarge { .. })) => {
            MessageAcceptance::Reject
        }
        // Known already, too late or too many: nobody's fault.
        Err(_) => MessageAcceptance::Ignore,
    }
}

/// A height as it travels. The time makes it another message each time it is told.
fn write_height(height: u64, now: Duration) -> [u8; 16] {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&height.to_be_bytes());
    data[8..].copy_from_slice(&u64::try_from(now.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
    data
}

fn read_height(data: &[u8]) -> Option<u64> {
    let (height, _) = <&[u8; 16]>::try_from(data).ok()?.split_first_chunk()?;
    Some(u64::from_be_bytes(*height))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The stamp of transactions that are offered again now.
fn window() -> u64 {
    since_1970().as_secs() / WINDOW_S
}

/// The name of a message. A height is its teller's; a transaction has one name whoever offers it.
fn name(message: &gossipsub::Message, heights: &gossipsub::TopicHash) -> gossipsub::MessageId {
    let source = message.source.filter(|_| message.topic == *heights).map_or_else(Vec::new, |source| source.to_bytes());
    gossipsub::MessageId::from(Hash::sha256(&[&message.data, &source]).0.to_vec())
}

fn topic(chain: &ChainId, name: &str) -> IdentTopic {
    IdentTopic::new(format!("/zynk/{chain}/{name}/1"))
}

fn behaviour(chain: &ChainId, keypair: &libp2p::identity::Keypair, max_message: usize) -> anyhow::Result<Behaviour> {
    let heights = topic(chain, "heights").hash();
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(format!("/zynk/{chain}/gossip"))
        .heartbeat_interval(Duration::from_millis(300))
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .flood_publish(true)
        .max_transmit_size(max_message)
        .message_id_fn(move |message| name(message, &heights))
        .build()?;
    let gossip = gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config).map_err(anyhow::Error::msg)?;
    let identify = identify::Behaviour::new(identify::Config::new(format!("/zynk/{chain}"), keypair.public()));
    let limits = ConnectionLimits::default()
        .with_max_established_incoming(Some(MAX_INBOUND))
        .with_max_pending_incoming(Some(MAX_INBOUND))
        .with_max_established_per_peer(Some(2));
    Ok(Behaviour { gossip, identify, limits: connection_limits::Behaviour::new(limits) })
}

#[cfg(test)]
mod tests;
