//! Who comes in: how many from one address and altogether, one connection for each peer, nobody who is banned.
//!
//! **One connection for each peer.** Gossipsub tells a peer what it listens to on the first connection alone. A
//! peer that lost its connection without this node noticing comes again, and would be told nothing, since for
//! this node the dead one is still there. So a second connection is refused, always; and as only the peer itself
//! can open it, the first one, unless it is a moment old, is closed for it: the next attempt is a first one.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::peers::{Direction, Who};
use super::place::{household, ip_of};
use super::standing::{Offence, Offender, Standing};

/// At most so many peers that nobody expects have come by themselves.
pub(super) const STRANGERS: usize = 128;
/// At most so many connections are being opened by others at one time.
const KNOCKING: usize = 128;
/// A connection that is younger may be the other half of a handshake that both began.
const YOUNG: Duration = Duration::from_secs(5);

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its address is banned.
    BannedAddress,
    /// It is banned.
    Banned,
    /// There are as many connections from its address as there may be.
    FullAddress,
    /// There are as many connections as there may be.
    Full,
    /// It is connected already.
    Second,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BannedAddress => "the address is banned",
            Self::Banned => "the peer is banned",
            Self::FullAddress => "too many connections from this address",
            Self::Full => "too many connections",
            Self::Second => "the peer is connected already",
        })
    }
}

impl std::error::Error for Refused {}

/// A connection.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) peer: PeerId,
    pub(super) address: Multiaddr,
    pub(super) direction: Direction,
    /// When it was opened, since the start.
    pub(super) since: Duration,
}

impl Open {
    fn comes_from(&self, home: IpAddr) -> bool {
        self.direction == Direction::Inbound && ip_of(&self.address).map(household) == Some(home)
    }
}

/// The rules, without a network. Times are since the start.
#[derive(Debug)]
pub(super) struct Doors {
    per_address: usize,
    knocking: BTreeMap<ConnectionId, IpAddr>,
    open: BTreeMap<ConnectionId, Open>,
    /// Who has a place although there is none: validators of the set, and whom the operator named.
    expected: std::collections::BTreeSet<PeerId>,
    pub(super) standing: Standing,
    closing: VecDeque<(PeerId, CloseConnection)>,
}

impl Doors {
    pub(super) fn new(per_address: usize) -> Self {
        Self {
            per_address,
            knocking: BTreeMap::new(),
            open: BTreeMap::new(),
            expected: std::collections::BTreeSet::new(),
            standing: Standing::default(),
            closing: VecDeque::new(),
        }
    }

    pub(super) fn expect(&mut self, expected: std::collections::BTreeSet<PeerId>) {
        self.expected = expected;
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Open> {
        self.open.values()
    }

    pub(super) fn of(&self, peer: &PeerId) -> Option<&Open> {
        self.open.values().find(|open| open.peer == *peer)
    }

    /// Somebody begins to connect.
    fn knock(&mut self, id: ConnectionId, from: Option<IpAddr>, now: Duration) -> Result<(), Refused> {
        let home = household(from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        if self.standing.is_address_banned(home, now) {
            return Err(Refused::BannedAddress);
        }
        if self.knocking.len() >= KNOCKING {
            return Err(Refused::Full);
        }
        let here = self.open.values().filter(|open| open.comes_from(home)).count();
        if here + self.knocking.values().filter(|other| **other == home).count() >= self.per_address {
            return Err(Refused::FullAddress);
        }
        self.knocking.insert(id, home);
        Ok(())
    }

    /// A peer has shown its id.
    fn enter(&mut self, id: ConnectionId, peer: PeerId, direction: Direction, now: Duration) -> Result<(), Refused> {
        self.knocking.remove(&id);
        if self.standing.is_banned(&peer, now) {
            return Err(Refused::Banned);
        }
        if let Some((first, open)) = self.open.iter().find(|(_, open)| open.peer == peer) {
            if direction == Direction::Inbound && now.saturating_sub(open.since) >= YOUNG {
                self.closing.push_back((peer, CloseConnection::One(*first)));
            }
            return Err(Refused::Second);
        }
        let strangers =
            || self.open.values().filter(|open| open.direction == Direction::Inbound && !self.expected.contains(&open.peer)).count();
        if direction == Direction::Inbound && !self.expected.contains(&peer) && strangers() >= STRANGERS {
            return Err(Refused::Full);
        }
        Ok(())
    }

    fn opened(&mut self, id: ConnectionId, open: Open) {
        self.open.insert(id, open);
    }

    fn gone(&mut self, id: ConnectionId) {
        self.knocking.remove(&id);
        self.open.remove(&id);
    }

    /// Takes note of an offence of a connected peer, and closes the connections of who is banned for it.
    pub(super) fn offend(&mut self, peer: PeerId, offence: Offence, named: bool, spared: &[IpAddr], now: Duration) -> Vec<Who> {
        let address = self.of(&peer).and_then(|open| ip_of(&open.address)).filter(|ip| !ip.is_loopback());
        let address = address.filter(|ip| !spared.iter().any(|other| household(*other) == household(*ip)));
        let banned = self.standing.offend(Offender { peer, address, named }, offence, now);
        for who in &banned {
            let leaving: Vec<PeerId> = match who {
                Who::Peer(peer) => vec![*peer],
                Who::Address(home) => self.open.values().filter(|open| open.comes_from(*home)).map(|open| open.peer).collect(),
            };
            self.closing.extend(leaving.into_iter().map(|peer| (peer, CloseConnection::All)));
        }
        banned
    }
}

/// The rules at the doors of a swarm.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) doors: Doors,
    began: Instant,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(super) fn new(per_address: usize) -> Self {
        Self { doors: Doors::new(per_address), began: Instant::now(), waker: None }
    }

    /// How long ago the node started.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// See [`Doors::offend`].
    pub(super) fn offend(&mut self, peer: PeerId, offence: Offence, named: bool, spared: &[IpAddr]) -> Vec<Who> {
        let banned = self.doors.offend(peer, offence, named, spared, self.now());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        banned
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(&mut self, id: ConnectionId, _: &Multiaddr, from: &Multiaddr) -> Result<(), ConnectionDenied> {
        self.doors.knock(id, ip_of(from), self.now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.doors.enter(id, peer, Direction::Inbound, self.now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.doors.enter(id, peer, Direction::Outbound, self.now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
                let address = endpoint.get_remote_address().clone();
                self.doors.opened(connection_id, Open { peer: peer_id, address, direction, since: self.now() });
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => self.doors.gone(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.doors.closing.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
