//! What peers did wrong, and who is kept out for how long. Times are since any fixed moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::PeerId;

use super::peers::{Banned, Who};
use super::place::household;

/// With this score, or below it, a peer is banned.
pub(super) const BANNED_AT: f64 = -100.0;
/// So much of a bad score is forgotten in a second.
const FORGOTTEN_A_SECOND: f64 = 0.2;
/// The first ban of a peer; each further one within [`REMEMBERED`] is twice as long.
const FIRST_BAN: Duration = Duration::from_secs(10 * 60);
/// No ban is longer.
const LONGEST_BAN: Duration = Duration::from_secs(24 * 60 * 60);
/// A ban of a peer that the operator named: enough to keep it from doing harm, not enough to lose it.
const NAMED_BAN: Duration = Duration::from_secs(60);
/// So many bans of peers at one address ban the address.
const BANS_OF_AN_ADDRESS: u32 = 3;
/// For so long earlier bans count: longer than the longest lasts.
const REMEMBERED: Duration = Duration::from_secs(48 * 60 * 60);
/// At most so many scores, bans and earlier bans are kept, each.
const KEPT: usize = 4096;

/// What a peer can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offence {
    /// It belongs to another chain.
    WrongChain,
    /// It sent bytes that are no message.
    Undecodable,
    /// It sent more than a message may have.
    Oversize,
    /// It handed over what nobody signed.
    BadSignature,
    /// It asked again and again.
    Hasty,
    /// It told more heights than all nodes together.
    Flood,
    /// It spread messages that break the rules of gossip: gossipsub's own score says so.
    Invalid,
}

impl Offence {
    const fn points(self) -> f64 {
        match self {
            Self::WrongChain | Self::Invalid => 100.0,
            Self::BadSignature => 50.0,
            Self::Undecodable | Self::Oversize | Self::Flood => 34.0,
            Self::Hasty => 10.0,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::WrongChain => "it is of another chain",
            Self::Undecodable => "it sent bytes that are no message",
            Self::Oversize => "it sent more than a message may have",
            Self::BadSignature => "it handed over what nobody signed",
            Self::Hasty => "it asked too often",
            Self::Flood => "it told too many heights",
            Self::Invalid => "it spread invalid messages",
        }
    }
}

/// Who did something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offender {
    pub(super) peer: PeerId,
    /// Where it is connected from, unless everybody is: nobody is banned by an address of this machine, or by one
    /// that the operator named.
    pub(super) address: Option<IpAddr>,
    /// Whether the operator named it.
    pub(super) named: bool,
}

/// The peers' scores and bans.
#[derive(Debug, Default)]
pub(super) struct Standing {
    scores: BTreeMap<PeerId, (f64, Duration)>,
    bans: BTreeMap<Who, (Duration, Offence)>,
    earlier: BTreeMap<Who, (u32, Duration)>,
}

impl Standing {
    /// A peer's score: 0 or less.
    pub(super) fn score(&self, peer: &PeerId, now: Duration) -> f64 {
        let Some((score, at)) = self.scores.get(peer) else { return 0.0 };
        (score + now.saturating_sub(*at).as_secs_f64() * FORGOTTEN_A_SECOND).min(0.0)
    }

    /// Takes note of an offence; who is banned for it now.
    pub(super) fn offend(&mut self, offender: Offender, offence: Offence, now: Duration) -> Vec<Who> {
        let Offender { peer, address, named } = offender;
        let score = self.score(&peer, now) - offence.points();
        if score > BANNED_AT {
            if self.scores.len() >= KEPT {
                self.scores.retain(|_, (score, at)| *score + now.saturating_sub(*at).as_secs_f64() * FORGOTTEN_A_SECOND < 0.0);
            }
            if self.scores.len() < KEPT || self.scores.contains_key(&peer) {
                self.scores.insert(peer, (score, now));
            }
            return Vec::new();
        }
        self.scores.remove(&peer);
        if named {
            self.ban(Who::Peer(peer), offence, now, NAMED_BAN);
            return vec![Who::Peer(peer)];
        }
        let mut banned = vec![Who::Peer(peer)];
        let before = self.count(Who::Peer(peer), now);
        self.ban(Who::Peer(peer), offence, now, longer(FIRST_BAN, before));
        if let Some(address) = address.map(household).map(Who::Address) {
            let before = self.count(address, now);
            if before + 1 >= BANS_OF_AN_ADDRESS {
                self.ban(address, offence, now, longer(FIRST_BAN, before + 1 - BANS_OF_AN_ADDRESS));
                banned.push(address);
            }
        }
        banned
    }

    /// Whether a peer is kept out.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Duration) -> bool {
        self.lasts(&Who::Peer(*peer), now)
    }

    /// Whether an address is.
    pub(super) fn is_address_banned(&self, ip: IpAddr, now: Duration) -> bool {
        self.lasts(&Who::Address(household(ip)), now)
    }

    /// Who is kept out, the last to be free again last.
    pub(super) fn banned(&self, now: Duration) -> Vec<Banned> {
        let lasting = self.bans.iter().filter(|(_, (until, _))| *until > now);
        let mut all: Vec<_> =
            lasting.map(|(who, (until, offence))| Banned { who: *who, left: until.saturating_sub(now), reason: offence.words() }).collect();
        all.sort_by_key(|ban| (ban.left, ban.who));
        all
    }

    fn lasts(&self, who: &Who, now: Duration) -> bool {
        self.bans.get(who).is_some_and(|(until, _)| *until > now)
    }

    /// Counts one more ban; how many there were before.
    fn count(&mut self, who: Who, now: Duration) -> u32 {
        if self.earlier.len() >= KEPT {
            self.earlier.retain(|_, (_, at)| now.saturating_sub(*at) < REMEMBERED);
        }
        let before = self.earlier.get(&who).filter(|(_, at)| now.saturating_sub(*at) < REMEMBERED).map_or(0, |(count, _)| *count);
        if self.earlier.len() < KEPT || self.earlier.contains_key(&who) {
            self.earlier.insert(who, (before.saturating_add(1), now));
        }
        before
    }

    fn ban(&mut self, who: Who, offence: Offence, now: Duration, time: Duration) {
        if self.bans.len() >= KEPT {
            self.bans.retain(|_, (until, _)| *until > now);
        }
        if self.bans.len() >= KEPT
            && let Some(soonest) = self.bans.iter().min_by_key(|(_, (until, _))| *until).map(|(who, _)| *who)
        {
            self.bans.remove(&soonest);
        }
        self.bans.insert(who, (now + time, offence));
    }
}

fn longer(first: Duration, before: u32) -> Duration {
    first.saturating_mul(1 << before.min(16)).min(LONGEST_BAN)
}

#[cfg(test)]
mod tests;
