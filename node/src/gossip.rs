//! Transactions and evidence on their way from node to node, over a libp2p swarm of their own.
//!
//! A transaction is forwarded only by nodes that took it into their own mempool, so what is
//! malformed, badly signed or unpaid stops at the first honest node. Nodes also tell their height,
//! so that one which must catch up before it may sign knows how far. Nodes find each other by asking whom
//! they are connected to (`discovery`), and who does wrong is kept out (`standing`, `doors`). The format's page is
//! `docs/spec/gossip.md`.

mod alive;
mod announcement;
mod attempts;
mod book;
mod discovery;
mod doors;
mod evidence;
mod exchange;
mod judging;
mod meeting;
mod message;
mod offering;
mod offers;
mod own;
pub mod peers;
mod place;
mod scores;
mod standing;
mod validators;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, ping, tcp, yamux};
use tokio::sync::{broadcast, watch};
use types::{ChainId, Hash};

use self::alive::{Alive, SILENCE};
use self::discovery::Discovery;
pub use self::discovery::Setup;
use self::evidence::Accusations;
use self::judging::{Checked, Judge, Judged, Message, Offer, Received, Verdict};
use self::message::MAX_MESSAGE;
use self::offering::Gathering;
use self::offers::Offers;
use crate::app::App;

/// Reads what a peer may ask or answer about nodes, or offer, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub fn hear(bytes: &[u8]) {
    discovery::read(bytes);
    if let Some((stamp, transactions)) = message::read(bytes) {
        assert_eq!(message::write(stamp, &transactions), bytes, "one message has one form");
    }
}

/// The topics; evidence has its own.
const TRANSACTIONS: &str = "transactions/2";
const HEIGHTS: &str = "heights/1";
/// What stands around a message in a frame, at most: the topic with the name of its chain, tags and lengths.
const AROUND: usize = 256;
/// A frame has this many bytes at most.
const FRAME: usize = evidence::MAX_MESSAGE + AROUND;
/// A frame tells of this many messages at most, by their names of 32 bytes.
const TOLD_OF: usize = 1_000;
/// How often a connection is tried, and how long an answer may take.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often peers are dialled, heights told, and waiting transactions offered again.
const TICK: Duration = Duration::from_secs(1);
/// A transaction is offered at most once in so many seconds, by all nodes together.
const WINDOW_S: u64 = 5;
/// At most this many heights are passed on in one second: anybody can tell as many as he likes, at no cost.
const HEIGHTS_PASSED: usize = 256;
/// A peer that hands over more of them in one second does wrong: each is remembered for a minute.
const HEIGHTS_TOLD: usize = 4 * HEIGHTS_PASSED;
/// At most this many received messages with transactions wait to be judged, 32 MiB of them, and this many transactions in
/// them: a second's work. What comes while so many wait is dropped: its holders offer it again.
const UNJUDGED: (usize, usize) = (4096, 16_384);
/// At most this many verdicts wait to be reported; above that, judging waits.
const UNREPORTED: usize = 1024;

/// Gossipsub, for topics that are known: peers could subscribe to as many as they like, and each is remembered.
type Topics = gossipsub::Behaviour<gossipsub::IdentityTransform, gossipsub::WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    /// First: whom it refuses the others must not have seen, request-response least of all, which counts connections before they are open.
    doors: doors::Behaviour,
    gossip: Topics,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    exchange: exchange::Behaviour,
}

/// The gossip of one node.
pub struct Gossip {
    swarm: Swarm<Behaviour>,
    app: Arc<App>,
    discovery: Discovery,
    /// What peers say that they are.
    agents: BTreeMap<PeerId, String>,
    /// What every node of this chain says that it speaks.
    protocol_version: String,
    /// The height of which the validators are known.
    validators_at: Option<u64>,
    transactions: IdentTopic,
    heights: IdentTopic,
    offers: Offers,
    gathering: Gathering,
    judge: Judge,
    verdicts: tokio::sync::mpsc::Receiver<Judged>,
    accusations: Accusations,
    dropped: u64,
    /// Heights that came in this second.
    heights_passed: usize,
    /// The same, by who handed them over: only connected peers do.
    heights_told: BTreeMap<PeerId, usize>,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("discovery", &self.discovery).finish_non_exhaustive()
    }
}

impl Gossip {
    /// Listens, and gets ready to dial the peers.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(setup: &Setup<'_>, app: Arc<App>) -> anyhow::Result<Self> {
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*setup.key.seed())?;
        let chain = app.genesis().chain().clone();
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_quic()
            .with_other_transport(over_tcp)?
            .with_dns()?
            .with_behaviour(|keypair| Ok(behaviour(&chain, keypair, MAX_MESSAGE, setup.moniker, setup.gossip.max_per_address)?))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        swarm.listen_on(setup.gossip.listen.clone())?;
        let (transactions, heights) = (topic(&chain, TRANSACTIONS), topic(&chain, HEIGHTS));
        swarm.behaviour_mut().gossip.subscribe(&transactions)?;
        swarm.behaviour_mut().gossip.subscribe(&heights)?;
        let accusations = Accusations::start(Arc::clone(&app), &chain);
        swarm.behaviour_mut().gossip.subscribe(accusations.topic())?;
        let (judge, verdicts) = Judge::start(Arc::clone(&app), UNJUDGED, UNREPORTED);
        let discovery = Discovery::new(setup, &chain, validators::peers(&app), u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX));
        Ok(Self {
            swarm,
            app,
            discovery,
            agents: BTreeMap::new(),
            protocol_version: protocol_version(&chain),
            validators_at: None,
            transactions,
            heights,
            offers: Offers::default(),
            gathering: Gathering::default(),
            judge,
            verdicts,
            accusations,
            dropped: 0,
            heights_passed: 0,
            heights_told: BTreeMap::new(),
        })
    }

    /// Where the validators are to which the engine is to stay connected, as that changes.
    #[must_use]
    pub fn validators(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.discovery.persistent()
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut to_offer = self.app.to_offer();
        let accusations = self.app.accusations();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                Some(judged) = self.verdicts.recv() => self.conclude(judged),
                Some(checked) = self.accusations.judged() => drop(self.report(checked)),
                () = accusations.notified() => self.accuse(),
                ready = to_offer.recv() => match ready {
                    Ok(tx) => {
                        self.gathering.add(tx);
                        while let Some(tx) = self.gathering.has_room().then(|| to_offer.try_recv().ok()).flatten() {
                            self.gathering.add(tx);
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(missed)) => tracing::debug!(missed, "offered later with the rest"),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = self.gathering.due() => self.offer_ready(),
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening for transactions");
                self.discovery.own.listens(&address);
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => self.connected(peer_id, &endpoint),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.disconnected(&peer_id),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => self.not_there(peer_id, &error),
            SwarmEvent::Behaviour(BehaviourEvent::Exchange(event)) => self.exchanged(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.identified(peer_id, &info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.pinged(&event),
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
            let acceptance = match height {
                None => MessageAcceptance::Reject,
                Some(_) if self.heights_passed >= HEIGHTS_PASSED => MessageAcceptance::Ignore,
                Some(_) => MessageAcceptance::Accept,
            };
            self.heights_passed = self.heights_passed.saturating_add(1);
            let told = self.heights_told.entry(from).or_default();
            *told = told.saturating_add(1);
            self.report(Checked { id, from, acceptance });
            return;
        }
        if message.topic == self.accusations.topic().hash() {
            if let Err(verdict) = self.accusations.take(id, from, &message.data, window()) {
                self.report(verdict);
            }
            return;
        }
        let Some((stamp, transactions)) = message::read(&message.data) else {
            self.report(Checked { id, from, acceptance: MessageAcceptance::Reject });
            return;
        };
        let offer = match stamp {
            message::FIRST => Offer::First,
            stamp if stamp.abs_diff(window()) <= 1 => Offer::Again,
            _ => Offer::Stray,
        };
        if let Err(ignored) = self.judge.take(Received { id, from, message: Message { transactions, offer } }) {
            self.dropped += 1;
            self.report(ignored);
        }
    }

    fn conclude(&mut self, Judged { id, from, verdict: Verdict { acceptance, held, new, again } }: Judged) {
        let window = window();
        held.into_iter().for_each(|transaction| self.offers.is_held(transaction));
        again.into_iter().for_each(|transaction| self.offers.passes(transaction, window));
        new.iter().for_each(|tx| self.offers.came(*tx.hash(), window));
        let goes_on = matches!(acceptance, MessageAcceptance::Accept);
        // Gossipsub forgets a message that is judged too late.
        let known = self.report(Checked { id, from, acceptance });
        if !(goes_on && known) {
            self.offer_first(&new);
        }
    }

    /// Says what becomes of a message; whether gossipsub still has it.
    fn report(&mut self, checked: Checked) -> bool {
        let Checked { id, from, acceptance } = checked;
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance)
    }

    /// Offers the evidence that waits.
    fn accuse(&mut self) {
        self.accusations.offer(&mut self.swarm.behaviour_mut().gossip, window());
    }

    fn tick(&mut self) {
        self.meet();
        self.heights_passed = 0;
        for (peer, told) in std::mem::take(&mut self.heights_told) {
            if told > HEIGHTS_TOLD {
                self.offend(peer, standing::Offence::Flood);
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tracing::debug!(dropped, "messages came faster than they can be judged");
        }
        let tip = self.app.tip();
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

/// The name of a message: whoever tells it, it has one, so that copies are known by it. The topic is part of it: or else
/// bytes sent on the wrong one, where they are refused, would keep those of the right one away.
fn name(message: &gossipsub::Message) -> gossipsub::MessageId {
    gossipsub::MessageId::from(Hash::sha256(&[message.topic.as_str().as_bytes(), &[0], &message.data]).0.to_vec())
}

/// TCP with Noise and Yamux, for connections of which both ends live.
fn over_tcp(keypair: &libp2p::identity::Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(|stream, _| Alive::new(stream, SILENCE))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .boxed())
}

/// The topic of this name, which ends with its version.
fn topic(chain: &ChainId, name: &str) -> IdentTopic {
    IdentTopic::new(format!("/zynk/{chain}/{name}"))
}

/// What nodes of a chain tell each other that they speak.
fn protocol_version(chain: &ChainId) -> String {
    format!("/zynk/{chain}")
}

fn behaviour(
    chain: &ChainId,
    keypair: &libp2p::identity::Keypair,
    max_message: usize,
    moniker: &str,
    max_per_address: usize,
) -> anyhow::Result<Behaviour> {
    let topics = [topic(chain, TRANSACTIONS).hash(), topic(chain, HEIGHTS).hash(), topic(chain, evidence::TOPIC).hash()];
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(Duration::from_millis(300))
        // Nobody signs messages: transactions and evidence carry signatures of their own, and a height is somebody's word.
        .validation_mode(ValidationMode::Anonymous)
        // Two nodes may tell the same: each then hears as another's what it has told itself. Gossipsub would count that as an
        // invalid message, and honest nodes would ban each other.
        .allow_self_origin(true)
        .validate_messages()
        .flood_publish(true)
        // The first is of frames, in which the longest message and as many names as may be must fit; who cannot read one ends the stream.
        .max_transmit_size(FRAME.max(max_message + AROUND))
        .max_transmit_size_for_topic(max_message + AROUND, topic(chain, TRANSACTIONS).hash())
        .max_transmit_size_for_topic(max_message + AROUND, topic(chain, HEIGHTS).hash())
        .max_transmit_size_for_topic(evidence::MAX_MESSAGE + AROUND, topic(chain, evidence::TOPIC).hash())
        .max_ihave_length(TOLD_OF)
        // Of longer messages neighbours are told, of each copy anew: who repeats one must spend more than that costs.
        .idontwant_message_size_threshold(max_message / 4)
        .message_id_fn(name)
        .build()?;
    let known = gossipsub::WhitelistSubscriptionFilter(topics.iter().cloned().collect());
    let mut gossip = Topics::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, known).map_err(anyhow::Error::msg)?;
    gossip.with_peer_score(scores::params(topics), scores::thresholds()).map_err(anyhow::Error::msg)?;
    let identify = identify::Config::new(protocol_version(chain), keypair.public()).with_agent_version(peers::agent(moniker));
    Ok(Behaviour {
        gossip,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_TIMEOUT)),
        exchange: exchange::behaviour(chain)?,
        doors: doors::Behaviour::new(max_per_address),
    })
}

#[cfg(test)]
mod tests;
