//! Transactions and evidence on their way from node to node, over a libp2p swarm of their own.
//!
//! A transaction is forwarded only by nodes that took it into their own mempool, so what is
//! malformed, badly signed or unpaid stops at the first honest node. Nodes also tell their height,
//! so that one which must catch up before it may sign knows how far. The format's page is
//! `docs/spec/gossip.md`.

mod evidence;
mod judging;
mod offers;

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

use self::evidence::Accusations;
use self::judging::{Checked, Judge, Judged, Received};
use self::offers::{First, Offers};
use crate::app::App;
use crate::config::Network;

/// A message carries this many bytes at most: a transaction and its stamp.
const MAX_MESSAGE: usize = ledger::transaction::MAX_BYTES + 64;
/// At most this many connections that others opened.
const MAX_INBOUND: u32 = 128;
/// At most this many transactions are offered again in one second.
const OFFERED_AGAIN: usize = 64;
/// At most this many bytes of them.
const OFFERED_AGAIN_BYTES: usize = 64 * 1024;
/// How often peers are dialled, heights told, and waiting transactions offered again.
const TICK: Duration = Duration::from_secs(1);
/// A transaction is offered at most once in so many seconds, by all nodes together.
const WINDOW_S: u64 = 5;
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
    offers: Offers,
    judge: Judge,
    verdicts: tokio::sync::mpsc::Receiver<Judged>,
    accusations: Accusations,
    dropped: u64,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("peers", &self.peers).finish_non_exhaustive()
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
        let accusations = Accusations::start(Arc::clone(&app), &chain);
        swarm.behaviour_mut().gossip.subscribe(accusations.topic())?;
        let (judge, verdicts) = Judge::start(Arc::clone(&app), UNJUDGED, UNREPORTED);
        let (peers, offers) = (network.peers.clone(), Offers::default());
        Ok(Self { swarm, app, peers, transactions, heights, offers, judge, verdicts, accusations, dropped: 0 })
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut arrivals = self.app.arrivals();
        let accusations = self.app.accusations();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                Some(judged) = self.verdicts.recv() => self.conclude(judged),
                Some(checked) = self.accusations.judged() => self.report(checked),
                () = accusations.notified() => self.accuse(),
                arrival = arrivals.recv() => match arrival {
                    Ok(bytes) => {
                        // Whether it was held before stands in a verdict that may not be read yet.
                        while let Ok(judged) = self.verdicts.try_recv() {
                            self.conclude(judged);
                        }
                        self.offer_first(&bytes);
                    }
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
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { topic, .. }))
                if topic == self.transactions.hash() =>
            {
                self.offers.somebody_came();
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
        if message.topic == self.accusations.topic().hash() {
            if let Err(verdict) = self.accusations.take(id, from, &message.data, window()) {
                self.report(verdict);
            }
            return;
        }
        let Some((stamp, bytes)) = message.data.split_first_chunk().map(|(stamp, bytes)| (u64::from_be_bytes(*stamp), bytes)) else {
            return self.report(Checked { id, from, acceptance: MessageAcceptance::Reject });
        };
        let (hash, bytes) = (Hash::sha256(&[bytes]), Bytes::copy_from_slice(bytes));
        let offered_again = stamp.abs_diff(window()) <= 1;
        match self.judge.take(Received { id, from, bytes, offered_again }) {
            // Under another stamp it is no offer that all hear: it must not keep this node from making its own.
            Ok(()) if stamp == 0 || offered_again => self.offers.passes(hash, window()),
            Ok(()) => {}
            Err(ignored) => {
                self.dropped += 1;
                self.report(ignored);
            }
        }
    }

    fn conclude(&mut self, Judged { checked, held }: Judged) {
        if let Some(transaction) = held {
            self.offers.is_held(transaction);
        }
        self.report(checked);
    }

    fn report(&mut self, checked: Checked) {
        let Checked { id, from, acceptance } = checked;
        let _ = self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
    }

    /// Offers a transaction that became ready, unless it came from a peer: it then spreads because it was
    /// accepted.
    fn offer_first(&mut self, bytes: &[u8]) {
        let hash = Hash::sha256(&[bytes]);
        match self.offers.first(&hash) {
            First::New => self.offer(hash, bytes, 0),
            First::Again => self.offer(hash, bytes, window()),
            First::Never => {}
        }
    }

    /// Offers a transaction. The stamp lets one that waits long be offered again: without it,
    /// peers would drop the message as known.
    fn offer(&mut self, hash: Hash, bytes: &[u8], stamp: u64) {
        let mut data = stamp.to_be_bytes().to_vec();
        data.extend_from_slice(bytes);
        match self.swarm.behaviour_mut().gossip.publish(self.transactions.clone(), data) {
            Ok(_) => self.offers.passes(hash, window()),
            Err(error) => tracing::trace!(%error, "not offered yet"),
        }
    }

    /// Offers again what has rested, each in another second of the window than most other nodes: they hear
    /// this one's offer, and then need not make theirs.
    fn offer_again(&mut self) {
        let (now, me) = (since_1970().as_secs(), self.swarm.local_peer_id().to_bytes());
        let (window, second) = (now / WINDOW_S, now % WINDOW_S);
        self.offers.forget(window, |transaction| self.app.is_waiting(transaction));
        let my_turn = |transaction: &Hash| {
            let [draw, ..] = Hash::sha256(&[&transaction.0, &me]).0;
            u64::from(draw) % WINDOW_S <= second
        };
        let due = |transaction: &Hash| self.offers.is_due(transaction, window) && my_turn(transaction);
        let mut room = OFFERED_AGAIN_BYTES;
        for (transaction, bytes) in self.app.oldest_waiting(OFFERED_AGAIN, due) {
            let Some(left) = room.checked_sub(bytes.len()) else { break };
            room = left;
            self.offer(transaction, &bytes, window);
        }
    }

    /// Offers the evidence that waits.
    fn accuse(&mut self) {
        self.accusations.offer(&mut self.swarm.behaviour_mut().gossip, window());
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
        self.accuse();
        self.offer_again();
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
        .max_transmit_size_for_topic(evidence::MAX_MESSAGE, topic(chain, evidence::TOPIC).hash())
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
