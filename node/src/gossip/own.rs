//! Where this node says that it is reached: what its operator wrote, else where it listens, else the address that its
//! peers see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use libp2p::Multiaddr;

use super::place::{Group, Place, group, ip_of, is_local};
use crate::config::Network;

/// What this many groups of addresses say of ours is believed.
const WITNESSES: usize = 3;
/// Of at most so many groups it is kept what they say.
const SAYINGS: usize = 64;

/// What a node knows of its own address.
#[derive(Debug, Default)]
pub(super) struct Own {
    gossip: Vec<Place>,
    /// Where it listens for transactions, once it does.
    listening: BTreeSet<Place>,
    /// The same for consensus, if the node validates: what was announced, and where it listens.
    consensus: Vec<Place>,
    consensus_listen: Option<Place>,
    /// The last word of each group about our address; that of `None`, somebody whom the operator named, is enough.
    sayings: BTreeMap<Option<Group>, IpAddr>,
    local: bool,
}

impl Own {
    /// What the configuration says. `consensus`: only for a node that validates.
    pub(super) fn new(gossip: &Network, consensus: Option<&Network>) -> Self {
        let written = |network: &Network| network.announce.iter().filter_map(Place::of).collect();
        let known = gossip.announce.iter().chain(&gossip.peers).chain([&gossip.listen]);
        Self {
            gossip: written(gossip),
            listening: BTreeSet::new(),
            consensus: consensus.map(written).unwrap_or_default(),
            consensus_listen: consensus.and_then(|network| Place::of(&network.listen)),
            sayings: BTreeMap::new(),
            // Who listens, announces or has peers in a network that is nobody else's lives there.
            local: known.filter_map(ip_of).any(is_local),
        }
    }

    /// Whether addresses of networks that are nobody else's count.
    pub(super) const fn is_local(&self) -> bool {
        self.local
    }

    /// The node listens here now.
    pub(super) fn listens(&mut self, address: &Multiaddr) {
        self.listening.extend(Place::of(address));
    }

    /// A peer says from where it sees this node. `from`: the peer's own address, none for one that was named.
    pub(super) fn is_seen(&mut self, ip: IpAddr, from: Option<IpAddr>) {
        let from = from.map(group);
        if from.is_none() || self.sayings.len() < SAYINGS || self.sayings.contains_key(&from) {
            self.sayings.insert(from, ip);
        }
    }

    /// The address that peers see, as far as they are believed.
    fn seen(&self) -> Option<IpAddr> {
        if let Some(ip) = self.sayings.get(&None) {
            return Some(*ip);
        }
        let mut witnesses: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for ip in self.sayings.values() {
            *witnesses.entry(*ip).or_default() += 1;
        }
        witnesses.into_iter().filter(|(_, count)| *count >= WITNESSES).max_by_key(|(_, count)| *count).map(|(ip, _)| ip)
    }

    /// What is announced: for transactions, and for consensus.
    pub(super) fn places(&self) -> (Vec<Place>, Vec<Place>) {
        let port = self.listening.first().copied();
        let gossip = self.announced(&self.gossip, self.listening.iter().copied(), port);
        // Where it listens for consensus, the configuration says alone.
        let listens = self.consensus_listen.into_iter().filter(|place| !place.ip.is_unspecified());
        (gossip, self.announced(&self.consensus, listens, self.consensus_listen))
    }

    fn announced(&self, written: &[Place], listening: impl Iterator<Item = Place>, port: Option<Place>) -> Vec<Place> {
        if !written.is_empty() {
            return written.to_vec();
        }
        let mut all: Vec<Place> = listening.filter(|place| place.may_be_dialled(self.local)).collect();
        if let (Some(ip), Some(place)) = (self.seen(), port) {
            let seen = Place { ip, ..place };
            if seen.may_be_dialled(self.local) && !all.contains(&seen) {
                all.push(seen);
            }
        }
        if all.iter().any(|place| !place.ip.is_loopback()) {
            all.retain(|place| !place.ip.is_loopback());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(listen: &str, announce: &[&str], peers: &[&str]) -> Network {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
        Network { announce: addresses(announce), ..Network::new(listen.parse().expect("an address"), addresses(peers)) }
    }

    fn texts(places: &[Place]) -> Vec<String> {
        places.iter().map(|place| place.address().to_string()).collect()
    }

    #[test]
    fn an_operators_word_counts_most_and_a_strangers_least() {
        let ip = |text: &str| text.parse().expect("an address");
        let check = |story: &str, own: &Own, gossip: &[&str], consensus: &[&str]| {
            let (found, votes) = own.places();
            assert_eq!(
                (texts(&found), texts(&votes)),
                (gossip.iter().map(ToString::to_string).collect(), consensus.iter().map(ToString::to_string).collect()),
                "{story}"
            );
        };
        let open = network("/ip4/0.0.0.0/tcp/26658", &[], &["/ip4/8.8.8.8/tcp/26658"]);
        let votes = network("/ip4/0.0.0.0/tcp/26656", &[], &[]);
        let mut own = Own::new(&open, Some(&votes));
        own.listens(&"/ip4/127.0.0.1/tcp/26658".parse().expect("an address"));
        own.listens(&"/ip4/192.168.0.2/tcp/26658".parse().expect("an address"));
        check("behind a router that nobody has looked through", &own, &[], &[]);
        own.is_seen(ip("9.9.9.9"), Some(ip("1.1.1.1")));
        own.is_seen(ip("9.9.9.9"), Some(ip("1.1.2.2")));
        own.is_seen(ip("9.9.9.9"), Some(ip("2.1.1.1")));
        check("two owners of addresses say it", &own, &[], &[]);
        own.is_seen(ip("9.9.9.9"), Some(ip("3.1.1.1")));
        check("three do", &own, &["/ip4/9.9.9.9/tcp/26658"], &["/ip4/9.9.9.9/tcp/26656"]);
        own.is_seen(ip("7.7.7.7"), None);
        check("one whom the operator named says another", &own, &["/ip4/7.7.7.7/tcp/26658"], &["/ip4/7.7.7.7/tcp/26656"]);
        for last in 0..200 {
            own.is_seen(IpAddr::from([5, 5, 5, last]), Some(ip("1.1.1.1")));
        }
        for first in 0..200 {
            own.is_seen(ip("5.5.5.5"), Some(IpAddr::from([first, 1, 1, 1])));
        }
        assert!(own.sayings.len() <= SAYINGS + 1);
        own.is_seen(ip("7.7.7.8"), None);
        check("a named one sees a new address, whatever others say", &own, &["/ip4/7.7.7.8/tcp/26658"], &["/ip4/7.7.7.8/tcp/26656"]);

        let written = network("/ip4/0.0.0.0/tcp/26658", &["/ip4/6.6.6.6/tcp/1"], &[]);
        let mut own = Own::new(&written, None);
        own.listens(&"/ip4/9.9.9.9/tcp/26658".parse().expect("an address"));
        own.is_seen(ip("7.7.7.7"), None);
        check("it is written", &own, &["/ip4/6.6.6.6/tcp/1"], &[]);

        let home = network("/ip4/127.0.0.1/tcp/0", &[], &[]);
        let mut own = Own::new(&home, Some(&network("/ip4/127.0.0.1/tcp/9", &[], &[])));
        own.listens(&"/ip4/127.0.0.1/tcp/4000".parse().expect("an address"));
        assert!(own.is_local());
        check("on one machine", &own, &["/ip4/127.0.0.1/tcp/4000"], &["/ip4/127.0.0.1/tcp/9"]);
    }
}
