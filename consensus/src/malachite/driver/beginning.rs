//! When a height begins, and how long its steps last.

use std::time::{Duration, Instant};

use malachite::app::engine::host::{HeightParams, Next};
use malachite::app::types::core::LinearTimeouts;
use malachite::{NetworkRequest, Reply};
use tokio::sync::mpsc::Sender;

use super::Driver;
use crate::host::Host;
use crate::malachite::context::{Height, Validators, Zynk};
use crate::pace::Waiting;

/// How long the first height waits for peers after a start.
const PEER_WAIT: Duration = Duration::from_secs(5);

impl<H: Host> Driver<H> {
    /// Waits for peers before the first height: votes sent before anybody listens are lost, and
    /// the first round with them.
    pub(super) fn ready(&self, reply: Reply<(Height, HeightParams<Zynk>)>) {
        let (height, params) = (Height::from(self.state.next_height()), self.params());
        let alone = self.state.validators.as_slice().len() == 1;
        let requests = self.channels.net_requests.clone();
        let needed = self.state.validators.as_slice().len() * 2 / 3;
        tokio::spawn(async move {
            if !alone {
                wait_for_peers(&requests, needed).await;
            }
            let _ = reply.send((height, params));
        });
    }

    /// Lets the engine begin the next height.
    pub(super) fn begin(&mut self) {
        if let Some(reply) = self.waiting.take() {
            let _ = reply.send(Next::Start(self.state.next_height().into(), self.params()));
        }
    }

    /// How long the next height waits yet; none if it is to begin now.
    pub(super) fn delay(&self) -> Option<Duration> {
        let next = self.state.next_height().value();
        let waiting = Waiting {
            unproven_change: self.unproven_change,
            work: !self.host.is_idle(),
            others_began: self.proposed.iter().any(|proposed| proposed.height.value() == next),
            behind: self.was_synced() && self.host.peers_tip() >= next,
            idle_for: self.committed_at.elapsed(),
        };
        waiting.delay(&self.host.pace())
    }

    /// Whether the last block was decided without this node.
    fn was_synced(&self) -> bool {
        let last = self.state.last_block.map(|(_, id)| id.hash);
        last.is_some() && self.synced.map(|synced| tendermint::Hash::Sha256(synced.0.0)) == last
    }

    pub(super) fn params(&self) -> HeightParams<Zynk> {
        let pace = self.host.pace();
        let step = pace.propose_timeout / 2;
        let timeouts = LinearTimeouts {
            propose: pace.propose_timeout,
            propose_delta: step,
            prevote: step,
            prevote_delta: step,
            precommit: step,
            precommit_delta: step,
            rebroadcast: pace.propose_timeout,
            ..LinearTimeouts::default()
        };
        let target = (!pace.interval.is_zero()).then_some(pace.interval);
        HeightParams::new(Validators::from(&self.state.validators), timeouts, target)
    }
}

async fn wait_for_peers(requests: &Sender<NetworkRequest>, needed: usize) {
    let deadline = Instant::now() + PEER_WAIT;
    while Instant::now() < deadline {
        let peers = NetworkRequest::dump_state(requests).await.ok().flatten().map_or(0, |dump| dump.peers.len());
        if peers >= needed {
            // Connected is not yet subscribed; gossipsub exchanges topics within a heartbeat.
            tokio::time::sleep(Duration::from_millis(150)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
