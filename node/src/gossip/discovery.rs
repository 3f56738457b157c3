//! Whom to know, to ask and to dial: the decisions. [`super::meeting`] carries them out.
//!
//! Three kinds of nodes are told apart: those whom the operator *named*, those who stand in the record of a *validator* of
//! the set (both are *expected*: they have a place whatever comes), and all others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::watch;
use types::{ChainId, Decode as _, Encode as _, Hash, SigningKey};

use super::announcement::{Announcement, Bad};
use super::attempts::{Attempts, FOR_EXPECTED, FOR_OTHERS};
use super::book::{Book, MAX_FILE};
use super::doors::Open;
use super::exchange::{Answer, OTHERS};
use super::own::Own;
use super::peers::Direction;
use super::place::{Place, Transport, group, ip_of, is_local};
use super::standing::Offence;
use crate::config::Network;

/// So many nodes that nobody named or expects are dialled and kept.
pub(super) const DIALLED: usize = 8;
/// At most so many of them are dialled in one second.
const DIALS_A_SECOND: usize = 2;
/// A node that does not validate connects to so many validators.
const VALIDATORS_OF_A_FOLLOWER: usize = 4;
/// This often somebody is asked whom it knows, and in the first minute more often.
const ASKED_EVERY: Duration = Duration::from_secs(15);
const ASKED_EVERY_AT_FIRST: Duration = Duration::from_secs(2);
const AT_FIRST: Duration = Duration::from_secs(60);
/// The same peer is asked again after this at the soonest.
const SAME_ASKED_EVERY: Duration = Duration::from_secs(2);
/// A peer that asks again before this has passed is not answered.
const ANSWERED_EVERY: Duration = Duration::from_secs(1);
/// An announcement is made anew when something has changed, and after this.
const ANNOUNCED_EVERY_MS: u64 = 10 * 60 * 1000;
/// The book is written this often, if it has changed.
const WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// What a node is told at its start.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The key of its peer id.
    pub key: &'a SigningKey,
    /// What people call it.
    pub moniker: &'a str,
    /// The network of transactions.
    pub gossip: &'a Network,
    /// The validators' network.
    pub consensus: &'a Network,
    /// Whether it has a validator's key.
    pub validates: bool,
    /// Where it keeps the addresses of others; nowhere, if they need not outlive it.
    pub addresses: Option<PathBuf>,
}

/// Somebody whom the operator named.
#[derive(Debug)]
struct Named {
    address: Multiaddr,
    /// Its peer id: named, or learned by connecting.
    id: Option<PeerId>,
    attempts: Attempts,
}

/// Somebody to dial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) peer: Option<PeerId>,
    pub(super) addresses: Vec<Multiaddr>,
}

/// What a node knows of others, and does about it.
#[derive(Debug)]
pub(super) struct Discovery {
    chain: ChainId,
    key: SigningKey,
    me: PeerId,
    enabled: bool,
    pub(super) own: Own,
    announcement: Option<Announcement>,
    pub(super) book: Book,
    file: Option<PathBuf>,
    written_at: Duration,
    named: Vec<Named>,
    validators: Vec<PeerId>,
    attempts: BTreeMap<PeerId, Attempts>,
    asked_at: Option<Duration>,
    asked: BTreeMap<PeerId, Duration>,
    answered: BTreeMap<PeerId, Duration>,
    /// What carries the engine's connections, and how many validators this node connects to; none, if it does not.
    consensus: Option<(Transport, usize)>,
    persistent: watch::Sender<Vec<Multiaddr>>,
}

impl Discovery {
    pub(super) fn new(setup: &Setup<'_>, chain: &ChainId, validators: Vec<PeerId>, now_ms: u64) -> Self {
        let Setup { key, gossip, consensus, validates, .. } = *setup;
        let me = genesis::peer_id_bytes(&key.public());
        let own = Own::new(gossip, validates.then_some(consensus));
        let named = |address: &Multiaddr| Named { address: address.clone(), id: id_of(address), attempts: Attempts::default() };
        let many = if validates { usize::MAX } else { VALIDATORS_OF_A_FOLLOWER };
        let transport = Place::of(&consensus.listen).map(|place| (place.transport, many));
        let mut discovery = Self {
            chain: chain.clone(),
            key: key.clone(),
            me: PeerId::from_bytes(&me).expect("38 bytes of a key"),
            enabled: gossip.discover,
            own,
            announcement: None,
            book: Book::default(),
            file: setup.addresses.clone(),
            written_at: Duration::ZERO,
            named: gossip.peers.iter().map(named).collect(),
            validators,
            attempts: BTreeMap::new(),
            asked_at: None,
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            consensus: transport.filter(|_| consensus.discover),
            persistent: watch::Sender::default(),
        };
        discovery.book.expect(discovery.expected());
        discovery.open_file(now_ms);
        discovery
    }

    /// Reads what was known before. A damaged file is put aside: it costs time, not the node.
    fn open_file(&mut self, now_ms: u64) {
        let Some(path) = self.file.clone().filter(|path| path.exists()) else { return };
        let read = genesis::file::read(&path, MAX_FILE).map_err(|error| error.to_string());
        let loaded = read.and_then(|bytes| {
            let whole = self.book.load(&bytes, &self.chain, now_ms, self.own.is_local());
            if whole { Ok(()) } else { Err("it is damaged".to_owned()) }
        });
        if let Err(reason) = loaded {
            let aside = genesis::file::beside(&path, ".damaged");
            tracing::warn!(file = %path.display(), %reason, aside = %aside.display(), "the file of addresses is put aside");
            if let Err(error) = std::fs::rename(&path, &aside) {
                tracing::warn!(%error, "it could not be put aside, and is written over");
            }
        }
    }

    /// The consensus addresses that the engine is to stay connected to, as they change.
    pub(super) fn persistent(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.persistent.subscribe()
    }

    pub(super) fn is_named(&self, peer: &PeerId) -> bool {
        self.named.iter().any(|named| named.id == Some(*peer))
    }

    pub(super) fn is_validator(&self, peer: &PeerId) -> bool {
        self.validators.contains(peer)
    }

    /// The addresses that the operator named.
    pub(super) fn named_addresses(&self) -> Vec<IpAddr> {
        self.named.iter().filter_map(|named| ip_of(&named.address)).collect()
    }

    /// Who has a place whatever comes.
    pub(super) fn expected(&self) -> BTreeSet<PeerId> {
        let named = self.named.iter().filter_map(|named| named.id);
        named.chain(self.validators.iter().copied()).filter(|peer| *peer != self.me).take(super::book::EXPECTED).collect()
    }

    /// The peer ids in the records of the validators of the set.
    pub(super) fn validate(&mut self, validators: Vec<PeerId>) {
        self.validators = validators;
    }

    /// Once a second: what was kept is tidied, and what others need to know is made known.
    pub(super) fn tick(&mut self, now: Duration, now_ms: u64) {
        self.book.expect(self.expected());
        self.book.tidy(now_ms);
        self.answered.retain(|_, at| now.saturating_sub(*at) < ANSWERED_EVERY);
        self.asked.retain(|_, at| now.saturating_sub(*at) < SAME_ASKED_EVERY);
        let book = &self.book;
        // Whoever was struck out and is told of again is not dialled sooner for that.
        self.attempts.retain(|peer, attempts| book.node(peer).is_some() || !attempts.are_due(now));
        let persistent = self.validators_to_keep();
        self.persistent.send_if_modified(|before| {
            let changed = *before != persistent;
            *before = persistent;
            changed
        });
        if now.saturating_sub(self.written_at) >= WRITTEN_EVERY {
            self.written_at = now;
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(path) = self.file.clone() else { return };
        if let Some(bytes) = self.book.take_file() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = genesis::file::replace_public(&path, &bytes) {
                    tracing::warn!(%error, "addresses could not be written");
                }
            });
        }
    }

    /// Where the validators are that this node keeps connections to: all, for one that validates, else some that depend on its
    /// peer id, so that followers spread over them.
    fn validators_to_keep(&self) -> Vec<Multiaddr> {
        let Some((transport, many)) = self.consensus else { return Vec::new() };
        let mut kept: Vec<(Hash, Multiaddr)> = Vec::new();
        for node in self.validators.iter().filter(|peer| **peer != self.me).filter_map(|peer| self.book.node(peer)) {
            if let Some(place) = node.consensus.iter().find(|place| place.transport == transport) {
                kept.push((Hash::sha256(&[&self.me.to_bytes(), &node.id.to_bytes()]), place.address().with(Protocol::P2p(node.id))));
            }
        }
        kept.sort();
        kept.into_iter().take(many).map(|(_, address)| address).collect()
    }

    /// What this node announces now, if it is reached anywhere.
    pub(super) fn announcement(&mut self, now_ms: u64) -> Option<&Announcement> {
        if !self.enabled {
            return None;
        }
        let (gossip, consensus) = self.own.places();
        if gossip.is_empty() && consensus.is_empty() {
            return None;
        }
        let made_ms = self.announcement.as_ref().map_or(0, |before| before.time_ms);
        let anew = Announcement::sign(&self.key, &self.chain, &gossip, &consensus, now_ms.max(made_ms + 1));
        let same = self.announcement.as_ref().is_some_and(|before| before.says_as(&anew));
        if !same || now_ms.saturating_sub(made_ms) >= ANNOUNCED_EVERY_MS {
            self.announcement = Some(anew);
        }
        self.announcement.as_ref()
    }

    /// What to send to a peer that is to be asked; none if it was asked a moment ago.
    pub(super) fn question(&mut self, to: PeerId, now: Duration, now_ms: u64) -> Option<Vec<u8>> {
        if !self.enabled || self.asked.get(&to).is_some_and(|at| now.saturating_sub(*at) < SAME_ASKED_EVERY) {
            return None;
        }
        self.asked.insert(to, now);
        Some(self.announcement(now_ms).map(types::Encode::to_bytes).unwrap_or_default())
    }

    /// What to answer to a peer that asks. None: it is not answered.
    ///
    /// # Errors
    /// The offence that its question is.
    pub(super) fn answer(&mut self, from: PeerId, question: &[u8], now: Duration, now_ms: u64) -> Result<Option<Vec<u8>>, Offence> {
        if !self.enabled {
            return Ok(None);
        }
        // A question carries who asks, and nobody else. That costs nothing to see, and says more of a peer than haste.
        let said = match question {
            [] => None,
            question => Some(Announcement::from_bytes(question).map_err(|_| Offence::Undecodable)?),
        };
        if said.as_ref().is_some_and(|announcement| announcement.peer() != Some(from)) {
            return Err(Offence::BadSignature);
        }
        if self.answered.get(&from).is_some_and(|at| now.saturating_sub(*at) < ANSWERED_EVERY) {
            return Err(Offence::Hasty);
        }
        self.answered.insert(from, now);
        if let Some(announcement) = said {
            self.learn(announcement, now_ms)?;
        }
        let mut told = self.book.told(OTHERS, now_ms, dice);
        told.retain(|announcement| announcement.peer() != Some(from));
        if let Some(own) = self.announcement(now_ms) {
            told.truncate(super::book::EXPECTED + OTHERS - 1);
            told.push(own.clone());
        }
        Ok(Answer::try_from(told).ok().map(|answer| answer.to_bytes()))
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// The first offence in it; what came before it is kept.
    pub(super) fn hear(&mut self, answer: &[u8], now_ms: u64) -> Result<usize, Offence> {
        let answer = Answer::from_bytes(answer).map_err(|_| Offence::Undecodable)?;
        let mut news = 0;
        for announcement in answer.into_vec() {
            news += usize::from(self.learn(announcement, now_ms)?);
        }
        Ok(news)
    }

    /// Takes an announcement; whether it was news.
    fn learn(&mut self, announcement: Announcement, now_ms: u64) -> Result<bool, Offence> {
        let Some(peer) = announcement.peer() else { return Err(Offence::Undecodable) };
        if peer == self.me || !self.book.is_news(&peer, announcement.time_ms) {
            return Ok(false);
        }
        match announcement.judge(&self.chain, now_ms, self.own.is_local()) {
            Ok(node) => Ok(self.book.take(node) == super::book::Taken::New),
            Err(Bad::Unsigned) => Err(Offence::BadSignature),
            Err(Bad::WrongChain) => Err(Offence::WrongChain),
            Err(bad) if bad.is_fault() => Err(Offence::Undecodable),
            Err(_) => Ok(false),
        }
    }

    /// Whom to ask now: one whom this node chose itself, if there is any.
    pub(super) fn asks<'a>(&mut self, open: impl Iterator<Item = &'a Open>, now: Duration) -> Option<PeerId> {
        let every = if now < AT_FIRST { ASKED_EVERY_AT_FIRST } else { ASKED_EVERY };
        if !self.enabled || self.asked_at.is_some_and(|at| now.saturating_sub(at) < every) {
            return None;
        }
        // Who came by itself may have come in order to be asked.
        let chosen = |open: &&Open| open.direction == Direction::Outbound || self.book.is_expected(&open.peer);
        let chosen: Vec<PeerId> = open.filter(chosen).map(|open| open.peer).collect();
        let asked = *chosen.get(if chosen.is_empty() { 0 } else { dice(chosen.len()) })?;
        self.asked_at = Some(now);
        Some(asked)
    }

    /// Whom to dial now. `is_banned`: who is not dialled.
    pub(super) fn dials(&mut self, open: &[Open], is_banned: impl Fn(&PeerId) -> bool, now: Duration) -> Vec<Dial> {
        let connected: BTreeSet<PeerId> = open.iter().map(|open| open.peer).collect();
        let mut dials = Vec::new();
        for named in &mut self.named {
            if named.id.is_some_and(|id| connected.contains(&id) || id == self.me) || !named.attempts.are_due(now) {
                continue;
            }
            named.attempts.begin(now, FOR_EXPECTED, genesis::entropy::bytes::<1>()[0]);
            dials.push(Dial { peer: named.id, addresses: vec![named.address.clone()] });
        }
        if !self.enabled {
            return dials;
        }
        // Expected ones beside those are the validators; the engine connects to them, and here they are as others, with a place kept.
        let others = open.iter().filter(|open| open.direction == Direction::Outbound && !self.is_named(&open.peer));
        let (mut count, mut groups) = (0, BTreeSet::new());
        for ip in others.filter_map(|open| ip_of(&open.address)) {
            count += 1;
            if !is_local(ip) {
                groups.insert(group(ip));
            }
        }
        let mut chosen: BTreeSet<PeerId> = BTreeSet::new();
        while count < DIALLED && chosen.len() < DIALS_A_SECOND {
            let suits = |node: &super::announcement::Node| {
                let due = self.attempts.get(&node.id).is_none_or(|attempts| attempts.are_due(now));
                let apart = !groups.contains(&node.home().group());
                due && apart
                    && !connected.contains(&node.id)
                    && !chosen.contains(&node.id)
                    && !self.is_named(&node.id)
                    && !is_banned(&node.id)
            };
            let Some(node) = self.book.choose(suits, dice) else { break };
            let (peer, home) = (node.id, node.home());
            let addresses = node.gossip.iter().map(Place::address).collect();
            chosen.insert(peer);
            count += 1;
            if !is_local(home.ip) {
                groups.insert(home.group());
            }
            let pauses = if self.book.is_expected(&peer) { FOR_EXPECTED } else { FOR_OTHERS };
            self.attempts.entry(peer).or_default().begin(now, pauses, genesis::entropy::bytes::<1>()[0]);
            dials.push(Dial { peer: Some(peer), addresses });
        }
        dials
    }

    /// A peer is connected; by which address, if this node dialled it.
    pub(super) fn connected(&mut self, peer: PeerId, dialled: Option<&Multiaddr>) {
        let Some(address) = dialled else { return };
        for named in &mut self.named {
            if named.id.is_none() && bare(&named.address) == bare(address) {
                named.id = Some(peer);
            }
        }
        self.book.reached(&peer);
    }

    /// A connection has lasted.
    pub(super) fn lasted(&mut self, peer: &PeerId) {
        self.named.iter_mut().filter(|named| named.id == Some(*peer)).for_each(|named| named.attempts.succeeded());
        if let Some(attempts) = self.attempts.get_mut(peer) {
            attempts.succeeded();
        }
    }

    /// Somebody was not there.
    pub(super) fn not_there(&mut self, peer: &PeerId) {
        if self.attempts.contains_key(peer) {
            self.book.failed(peer);
        }
    }

    /// Somebody is banned.
    pub(super) fn banned(&mut self, peer: &PeerId) {
        if !self.book.is_expected(peer) {
            self.book.forget(peer);
        }
    }
}

/// A number below `count`, which is not 0.
fn dice(count: usize) -> usize {
    let drawn = u64::from_be_bytes(genesis::entropy::bytes()) % (count.max(1) as u64);
    usize::try_from(drawn).expect("it is below a usize")
}

fn id_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|part| if let Protocol::P2p(id) = part { Some(id) } else { None })
}

/// An address without the peer id.
fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// Reads a question and an answer, and judges what they announce.
#[cfg(fuzzing)]
pub(super) fn read(bytes: &[u8]) {
    let chain = "zynk-test-1".parse().expect("a chain's name");
    if let Ok(announcement) = Announcement::from_bytes(bytes) {
        assert_eq!(types::Encode::to_bytes(&announcement), bytes, "an announcement has one encoding");
        drop(announcement.judge(&chain, 1_800_000_000_000, true));
    }
    if let Ok(answer) = Answer::from_bytes(bytes) {
        assert_eq!(types::Encode::to_bytes(&answer), bytes, "an answer has one encoding");
    }
}

#[cfg(test)]
mod tests;
