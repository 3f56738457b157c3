//! Who is connected, and who is kept out: what the gossip shows of itself to the rest of the node.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// An agent is shown with so many characters at most.
const MAX_AGENT: usize = 64;

/// A look at the node's peers, as it was at most a second ago. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<RwLock<Arc<Seen>>>);

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Where the node listens for transactions.
    pub listening: Vec<Multiaddr>,
    /// Who is connected, by peer id.
    pub connected: Vec<Connected>,
    /// Who is banned, the last to be free again last.
    pub banned: Vec<Banned>,
    /// How many nodes the address book has.
    pub known: usize,
}

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    /// Its peer id, the same on both networks.
    pub id: PeerId,
    /// The other end of the connection.
    pub address: Multiaddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// What it says of itself, `zynk/VERSION/MONIKER`; empty before it has said so. Printable, 64 characters at most.
    pub agent: String,
    /// 0 for one that did nothing wrong, below for what it did; at -100 it is banned.
    pub score: f64,
    /// For how long it is connected.
    pub age: Duration,
    /// Whether the operator named it.
    pub named: bool,
    /// Whether it stands in the record of a validator of the set.
    pub validator: bool,
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// Somebody who is kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banned {
    /// Who.
    pub who: Who,
    /// For how long still.
    pub left: Duration,
    /// The offence that brought it about, in words.
    pub reason: &'static str,
}

/// Who can be kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A peer, from wherever it comes.
    Peer(PeerId),
    /// Everybody at an address; of an IPv6 address, everybody in its /64.
    Address(IpAddr),
}

impl Peers {
    /// The last look.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, seen: Seen) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }
}

impl Connected {
    /// What people call it, by its own word.
    #[must_use]
    pub fn moniker(&self) -> &str {
        self.agent.splitn(3, '/').nth(2).unwrap_or_default()
    }
}

/// What this node says of itself.
pub(super) fn agent(moniker: &str) -> String {
    printable(&format!("zynk/{}/{moniker}", env!("CARGO_PKG_VERSION")))
}

/// A stranger's text, made fit to be shown.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_of_itself_is_bounded_and_printable() {
        let cases = [
            ("zynk/0.1.0/alpha", "zynk/0.1.0/alpha", "alpha"),
            ("zynk/0.1.0/a/b", "zynk/0.1.0/a/b", "a/b"),
            ("rust-libp2p/0.56", "rust-libp2p/0.56", ""),
            ("\u{1b}[2Jzynk/1/\nx", "[2Jzynk/1/x", "x"),
            ("", "", ""),
        ];
        for (said, shown, moniker) in cases {
            let connected = Connected {
                id: PeerId::random(),
                address: Multiaddr::empty(),
                direction: Direction::Inbound,
                agent: printable(said),
                score: 0.0,
                age: Duration::ZERO,
                named: false,
                validator: false,
            };
            assert_eq!((connected.agent.as_str(), connected.moniker()), (shown, moniker), "{said:?}");
        }
        assert_eq!(printable(&"é".repeat(1000)).chars().count(), MAX_AGENT);
        assert_eq!(agent("alpha"), format!("zynk/{}/alpha", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn everybody_sees_the_last_look() {
        let peers = Peers::default();
        let other = peers.clone();
        assert_eq!(*other.seen(), Seen::default());
        peers.show(Seen { known: 7, ..Seen::default() });
        assert_eq!(other.seen().known, 7);
    }
}
