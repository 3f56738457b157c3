//! Transactions on their way from node to node, over a libp2p swarm of their own.
//!
//! A transaction is forwarded only by nodes that took it into their own mempool, so what is
//! malformed, badly signed or unpaid stops at the first honest node. Nodes also tell their height,
//! so that one which must catch up before it may sign knows how far. The format's page is
//! `docs/spec/gossip.md`.

mod judging;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, tcp, yamux};
use tokio::sync::broadcast;
use types::{ChainId, Hash, SigningKey};

use self::judging::{Checked, Judge, Received};
use crate::app::App;
use crate::config::Network;

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
/// At most this many received transactions wait to be judged, 32 MiB of them. What comes while so many
/// wait is dropped: its holders offer it again.
const UNJUDGED: usize = 4096;
/// At most this many verdicts wait to be reported; above that, judging waits.
const UNREPORTED: usize = 1024;

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    limits: connection_limits::Behaviour,
}

/// The gossip of one node.
pub struct Gossip {
    swarm: Swarm<Behaviour>,
    app: Arc<App>,
    peers: Vec<Multiaddr>,
    transactions: IdentTopic,
    heights: IdentTopic,
    passed: Passed,
    judge: Judge,
    verdicts: tokio::sync::mpsc::Receiver<Checked>,
    dropped: u64,
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
        let (judge, verdicts) = Judge::start(Arc::clone(&app), UNJUDGED, UNREPORTED);
        let (peers, passed) = (network.peers.clone(), Passed::default());
        Ok(Self { swarm, app, peers, transactions, heights, passed, judge, verdicts, dropped: 0 })
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
                tracing::debug!(%peer_id, "peer connected");
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
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
            if let Some(height) = height {
                self.app.hear(height);
            }
            let acceptance = if height.is_some() { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
            return self.report(Checked { id, from, acceptance });
        }
        let Some((stamp, bytes)) = message.data.split_first_chunk().map(|(stamp, bytes)| (u64::from_be_bytes(*stamp), bytes)) else {
            return self.report(Checked { id, from, acceptance: MessageAcceptance::Reject });
        };
        let (hash, bytes) = (Hash::sha256(&[bytes]), Bytes::copy_from_slice(bytes));
        let offered_again = stamp.abs_diff(window()) <= 1;
        match self.judge.take(Received { id, from, bytes, offered_again }) {
            Ok(()) => self.passed.note(hash),
            Err(ignored) => {
                self.dropped += 1;
                self.report(ignored);
            }
        }
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
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tracing::debug!(dropped, "transactions came faster than they can be judged");
        }
        let tip = self.app.chain().tip().value();
        let _ = self.swarm.behaviour_mut().gossip.publish(self.heights.clone(), write_height(tip, since_1970()));
        let stamp = window();
        if self.passed.turn(stamp) {
            for bytes in self.app.oldest_waiting(OFFERED_AGAIN * 1024).into_iter().take(OFFERED_AGAIN) {
                self.offer(Hash::sha256(&[&bytes]), &bytes, stamp);
            }
        }
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
