//! Carrying out what [`super::discovery`] decides: dialling, asking, answering, and closing the door to who does
//! wrong.

use libp2p::core::ConnectedPoint;
use libp2p::request_response::{InboundFailure, Message, OutboundFailure};
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, identify, ping, request_response};

use super::attempts::LASTS;
use super::discovery::Dial;
use super::exchange;
use super::peers::{Connected, Direction, Seen, Who, printable};
use super::place::ip_of;
use super::standing::{BANNED_AT, Offence};
use super::{Gossip, since_1970, validators};

impl Gossip {
    fn now_ms() -> u64 {
        u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
    }

    /// Once a second.
    pub(super) fn meet(&mut self) {
        let (now, now_ms) = (self.swarm.behaviour().doors.now(), Self::now_ms());
        let tip = self.app.tip();
        if self.validators_at != Some(tip) {
            self.validators_at = Some(tip);
            self.discovery.validate(validators::peers(&self.app));
        }
        self.discovery.tick(now, now_ms);
        self.swarm.behaviour_mut().doors.doors.expect(self.discovery.expected());
        self.look_at_scores();

        let doors = &self.swarm.behaviour().doors.doors;
        let open: Vec<_> = doors.open().cloned().collect();
        for open in open.iter().filter(|open| now.saturating_sub(open.since) >= LASTS) {
            self.discovery.lasted(&open.peer);
        }
        let dials = self.discovery.dials(&open, |peer| doors.standing.is_banned(peer, now), now);
        dials.into_iter().for_each(|dial| self.dial(dial));
        if let Some(peer) = self.discovery.asks(open.iter(), now) {
            self.ask(&peer);
        }
        self.show();
    }

    fn dial(&mut self, Dial { peer, addresses }: Dial) {
        let dial = match peer {
            Some(peer) => DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::DisconnectedAndNotDialing).build(),
            None => match addresses.into_iter().next() {
                Some(address) => DialOpts::unknown_peer_id().address(address).build(),
                None => return,
            },
        };
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%error, "could not dial a peer");
        }
    }

    fn ask(&mut self, peer: &PeerId) {
        let now = self.swarm.behaviour().doors.now();
        if let Some(question) = self.discovery.question(*peer, now, Self::now_ms()) {
            self.swarm.behaviour_mut().exchange.send_request(peer, question);
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        tracing::debug!(%peer, address = %endpoint.get_remote_address(), "peer connected");
        let dialled = endpoint.is_dialer().then(|| endpoint.get_remote_address());
        self.discovery.connected(peer, dialled);
        if dialled.is_some() {
            self.ask(&peer);
        }
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        tracing::debug!(%peer, "peer disconnected");
        self.agents.remove(peer);
    }

    pub(super) fn not_there(&mut self, peer: Option<PeerId>, error: &DialError) {
        tracing::debug!(?peer, %error, "could not connect to a peer");
        // That it is connected already is no failure.
        if let Some(peer) = peer
            && matches!(error, DialError::Transport(_) | DialError::WrongPeerId { .. })
        {
            self.discovery.not_there(&peer);
        }
    }

    pub(super) fn exchanged(&mut self, event: exchange::Event) {
        let now = self.swarm.behaviour().doors.now();
        match event {
            request_response::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                match self.discovery.answer(peer, &request, now, Self::now_ms()) {
                    Ok(Some(answer)) => {
                        // Whoever has gone meanwhile needs none.
                        let _ = self.swarm.behaviour_mut().exchange.send_response(channel, answer);
                    }
                    Ok(None) => {}
                    Err(offence) => self.offend(peer, offence),
                }
            }
            request_response::Event::Message { peer, message: Message::Response { response, .. }, .. } => {
                match self.discovery.hear(&response, Self::now_ms()) {
                    Ok(0) => {}
                    Ok(news) => tracing::debug!(%peer, news, known = self.discovery.book.len(), "heard of nodes"),
                    Err(offence) => self.offend(peer, offence),
                }
            }
            request_response::Event::InboundFailure { peer, error: InboundFailure::Io(error), .. }
            | request_response::Event::OutboundFailure { peer, error: OutboundFailure::Io(error), .. }
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                self.offend(peer, Offence::Oversize);
            }
            _ => {}
        }
    }

    pub(super) fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocol_version != self.protocol_version {
            return self.offend(peer, Offence::WrongChain);
        }
        let Some(open) = self.swarm.behaviour().doors.doors.of(&peer) else { return };
        // Of a connection that the peer opened, it sees the address that it dialled: whoever it is, it may have made that up.
        if open.direction == Direction::Outbound
            && let (Some(seen), Some(from)) = (ip_of(&info.observed_addr), ip_of(&open.address))
        {
            let from = (!self.discovery.is_named(&peer)).then_some(from);
            self.discovery.own.is_seen(seen, from);
        }
        self.agents.insert(peer, printable(&info.agent_version));
    }

    /// A connection on which nothing comes back is dead.
    pub(super) fn pinged(&mut self, event: &ping::Event) {
        if let Err(error) = &event.result
            && !matches!(error, ping::Failure::Unsupported)
        {
            tracing::debug!(peer = %event.peer, %error, "a connection is dead");
            self.swarm.close_connection(event.connection);
        }
    }

    /// Bans whom gossipsub has left out for its invalid messages.
    fn look_at_scores(&mut self) {
        let bad: Vec<PeerId> = {
            let behaviour = self.swarm.behaviour();
            let now = behaviour.doors.now();
            let score = |peer: &PeerId| behaviour.gossip.peer_score(peer).unwrap_or(0.0) + behaviour.doors.doors.standing.score(peer, now);
            behaviour.doors.doors.open().map(|open| open.peer).filter(|peer| score(peer) <= BANNED_AT).collect()
        };
        bad.into_iter().for_each(|peer| self.offend(peer, Offence::Invalid));
    }

    pub(super) fn offend(&mut self, peer: PeerId, offence: Offence) {
        let (named, spared) = (self.discovery.is_named(&peer), self.discovery.named_addresses());
        let banned = self.swarm.behaviour_mut().doors.offend(peer, offence, named, &spared);
        tracing::debug!(%peer, offence = offence.words(), "a peer does wrong");
        for who in banned {
            match who {
                Who::Peer(peer) if named => {
                    tracing::warn!(%peer, reason = offence.words(), "a peer that the operator named is banned for a minute")
                }
                Who::Peer(peer) => tracing::info!(%peer, reason = offence.words(), "a peer is banned"),
                Who::Address(address) => tracing::info!(%address, reason = offence.words(), "an address is banned"),
            }
            if let Who::Peer(peer) = who {
                self.discovery.banned(&peer);
            }
        }
    }

    /// Shows the rest of the node how it is.
    fn show(&self) {
        let behaviour = self.swarm.behaviour();
        let (doors, now) = (&behaviour.doors.doors, behaviour.doors.now());
        let connected = doors.open().map(|open| Connected {
            id: open.peer,
            address: open.address.clone(),
            direction: open.direction,
            agent: self.agents.get(&open.peer).cloned().unwrap_or_default(),
            score: doors.standing.score(&open.peer, now) + behaviour.gossip.peer_score(&open.peer).unwrap_or(0.0).min(0.0),
            age: now.saturating_sub(open.since),
            named: self.discovery.is_named(&open.peer),
            validator: self.discovery.is_validator(&open.peer),
        });
        let mut connected: Vec<Connected> = connected.collect();
        connected.sort_by_key(|peer| peer.id);
        let listening = self.swarm.listeners().cloned().collect();
        self.app.peers().show(Seen { listening, connected, banned: doors.standing.banned(now), known: self.discovery.book.len() });
    }
}

#[cfg(test)]
mod tests;
