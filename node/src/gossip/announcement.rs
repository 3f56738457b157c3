//! What a node says of where it is reached, signed with the key of its peer id. The format's page is
//! `docs/spec/gossip.md`.

use libp2p::{Multiaddr, PeerId};
use types::{Blob, ChainId, Encode as _, List, PublicKey, Signature, SigningKey};

use super::place::Place;

/// What is signed begins with this.
const CONTEXT: &[u8] = b"zynk.2026 node announcement v1";
/// A node announces at most this many addresses of either kind.
pub(super) const MAX_ADDRESSES: usize = 4;
/// An address has at most so many bytes: an IPv6 address, a port and a transport have 23.
const MAX_ADDRESS: usize = 32;
/// An announcement has at most so many bytes.
pub(super) const MAX_BYTES: usize = 51 + 32 + 2 * (1 + MAX_ADDRESSES * (1 + MAX_ADDRESS)) + 10 + 64;
/// An announcement of this age is of no use to others.
pub(super) const MAX_AGE_MS: u64 = 72 * 60 * 60 * 1000;
/// By so much may the clock of who announces be ahead of ours.
pub(super) const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;

pub(super) type Addresses = List<Blob<MAX_ADDRESS>, MAX_ADDRESSES>;

/// An announcement as it travels. Of two by one key the later counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) chain: ChainId,
    /// The node's key, which its peer id is made of.
    pub(super) key: PublicKey,
    /// Where it is reached for transactions.
    pub(super) gossip: Addresses,
    /// Where it is reached for blocks and votes, if it validates.
    pub(super) consensus: Addresses,
    /// Milliseconds since 1970 by its own clock.
    pub(super) time_ms: u64,
    pub(super) signature: Signature,
}
types::codec!(Announcement { chain, key, gossip, consensus, time_ms, signature });

/// What an announcement says, once it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: PeerId,
    /// Where it may be dialled for transactions.
    pub(super) gossip: Vec<Place>,
    /// Where it may be dialled for blocks and votes.
    pub(super) consensus: Vec<Place>,
    pub(super) announcement: Announcement,
}

/// Why an announcement is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// An address is none that a node could announce, or the key is none.
    Malformed,
    /// It is of another chain.
    WrongChain,
    /// Somebody else signed it.
    Unsigned,
    /// It comes from the future.
    Early,
    /// It is too old.
    Stale,
    /// This node could dial none of its addresses.
    Unreachable,
}

impl Bad {
    /// Whether who handed it over must have known: what depends on clocks or on the place from which one
    /// looks is nobody's fault.
    pub(super) const fn is_fault(self) -> bool {
        matches!(self, Self::Malformed | Self::WrongChain | Self::Unsigned)
    }
}

impl Announcement {
    /// Announces a node. What is more than fits is left out.
    pub(super) fn sign(key: &SigningKey, chain: &ChainId, gossip: &[Place], consensus: &[Place], time_ms: u64) -> Self {
        let addresses = |places: &[Place]| {
            let bytes = |place: &Place| Blob::try_from(place.address().to_vec()).expect("a place is short");
            let all: Vec<_> = places.iter().take(MAX_ADDRESSES).map(bytes).collect();
            Addresses::try_from(all).expect("so many are taken")
        };
        let (gossip, consensus) = (addresses(gossip), addresses(consensus));
        let mut announcement = Self { chain: chain.clone(), key: key.public(), gossip, consensus, time_ms, signature: Signature([0; 64]) };
        announcement.signature = key.sign(&announcement.signed());
        announcement
    }

    /// The bytes that are signed: the context and everything before the signature.
    fn signed(&self) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        self.chain.encode(&mut bytes);
        self.key.encode(&mut bytes);
        self.gossip.encode(&mut bytes);
        self.consensus.encode(&mut bytes);
        self.time_ms.encode(&mut bytes);
        bytes
    }

    /// Whether another says the same at another time.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        (&self.gossip, &self.consensus) == (&other.gossip, &other.consensus)
    }

    /// The peer id of its key, if that is one.
    pub(super) fn peer(&self) -> Option<PeerId> {
        if !self.key.is_usable() {
            return None;
        }
        PeerId::from_bytes(&genesis::peer_id_bytes(&self.key)).ok()
    }

    /// Judges it, as of `now_ms` since 1970. `local`: addresses of networks that are nobody else's count, too.
    ///
    /// # Errors
    /// The first rule that it breaks; the signature, which costs the most, comes last.
    pub(super) fn judge(self, chain: &ChainId, now_ms: u64, local: bool) -> Result<Node, Bad> {
        if self.chain != *chain {
            return Err(Bad::WrongChain);
        }
        let id = self.peer().ok_or(Bad::Malformed)?;
        let (gossip, consensus) = (places(&self.gossip)?, places(&self.consensus)?);
        if self.time_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(Bad::Early);
        }
        if self.time_ms < now_ms.saturating_sub(MAX_AGE_MS) {
            return Err(Bad::Stale);
        }
        if !self.key.verify(&self.signed(), &self.signature) {
            return Err(Bad::Unsigned);
        }
        let within_reach = |places: Vec<Place>| -> Vec<Place> { places.into_iter().filter(|place| place.may_be_dialled(local)).collect() };
        let (gossip, consensus) = (within_reach(gossip), within_reach(consensus));
        if gossip.is_empty() && consensus.is_empty() {
            return Err(Bad::Unreachable);
        }
        Ok(Node { id, gossip, consensus, announcement: self })
    }
}

/// The places that addresses name, each in its only form.
fn places(addresses: &Addresses) -> Result<Vec<Place>, Bad> {
    let place = |bytes: &Blob<MAX_ADDRESS>| {
        let address = Multiaddr::try_from(bytes.to_vec()).ok()?;
        Place::of(&address).filter(|place| place.address() == address)
    };
    addresses.iter().map(|bytes| place(bytes).ok_or(Bad::Malformed)).collect()
}

impl Node {
    /// The place by which it is put among its likes.
    pub(super) fn home(&self) -> Place {
        *self.gossip.first().or_else(|| self.consensus.first()).expect("one of them is there: `judge`")
    }
}

#[cfg(test)]
mod tests;
