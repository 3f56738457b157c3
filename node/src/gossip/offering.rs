//! What this node offers of its own accord: what becomes ready here, and what has waited long.

use std::time::Duration;

use tokio::time::Instant;
use types::Hash;

use super::offers::First;
use super::{Gossip, WINDOW_S, message, since_1970, window};
use crate::tx::Tx;

/// What becomes ready so soon after an offer waits, so that it is offered together: each message costs every node on its way.
const GATHERING: Duration = Duration::from_millis(5);
/// As many go out at once, however soon.
const GATHERED: usize = 256;
/// At most this many transactions are offered again in one second.
const OFFERED_AGAIN: usize = 64;
/// At most this many bytes of them.
const OFFERED_AGAIN_BYTES: usize = 64 * 1024;

/// Transactions that became ready and are not offered yet.
#[derive(Debug)]
pub(super) struct Gathering {
    ready: Vec<Tx>,
    due: Instant,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { ready: Vec::new(), due: Instant::now() }
    }
}

impl Gathering {
    /// Whether more may be added before it is time.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() < GATHERED
    }

    /// Ends when something waits and it is time to offer it. That is a moment, not a while: nothing is lost where this is dropped.
    pub(super) async fn due(&self) {
        if self.ready.is_empty() {
            std::future::pending::<()>().await;
        }
        if self.has_room() {
            tokio::time::sleep_until(self.due).await;
        }
    }

    /// Adds one that became ready.
    pub(super) fn add(&mut self, tx: Tx) {
        self.ready.push(tx);
    }

    /// What is to be offered now; the next waits a moment.
    fn take(&mut self) -> Vec<Tx> {
        self.due = Instant::now() + GATHERING;
        std::mem::take(&mut self.ready)
    }
}

impl Gossip {
    /// Offers what became ready, in that order, unless it has been offered meanwhile.
    pub(super) fn offer_ready(&mut self) {
        // Whether one was held before stands in a verdict that may not be read yet.
        for _ in 0..self.verdicts.len() {
            let Ok(judged) = self.verdicts.try_recv() else { break };
            self.conclude(judged);
        }
        let mut new = Vec::new();
        for tx in self.gathering.take() {
            match self.offers.first(tx.hash()) {
                First::New => new.push(tx),
                First::Again => {
                    // Those before it may be what it was held for.
                    self.offer_first(&std::mem::take(&mut new));
                    self.offer(window(), &[tx]);
                }
                First::Never => {}
            }
        }
        self.offer_first(&new);
    }

    /// Offers transactions in as few messages as hold them.
    pub(super) fn offer_first(&mut self, transactions: &[Tx]) {
        message::divide(transactions).for_each(|together| self.offer(message::FIRST, together));
    }

    /// Offers transactions in one message. The stamp lets one that waits long be offered again: without it,
    /// peers would drop the message as known.
    pub(super) fn offer(&mut self, stamp: u64, transactions: &[Tx]) {
        let data = message::write(stamp, transactions);
        match self.swarm.behaviour_mut().gossip.publish(self.transactions.clone(), data) {
            Ok(_) => {
                let window = window();
                transactions.iter().for_each(|tx| self.offers.passes(*tx.hash(), window));
            }
            Err(error) => tracing::trace!(%error, "not offered yet"),
        }
    }

    /// Offers again what has rested, each in another second of the window than most other nodes: they hear
    /// this one's offer, and then need not make theirs.
    pub(super) fn offer_again(&mut self) {
        let (now, me) = (since_1970().as_secs(), self.swarm.local_peer_id().to_bytes());
        let (window, second) = (now / WINDOW_S, now % WINDOW_S);
        self.app.among_waiting(|waits| self.offers.forget(waits));
        let my_turn = |transaction: &Hash| {
            let [draw, ..] = Hash::sha256(&[&transaction.0, &me]).0;
            u64::from(draw) % WINDOW_S <= second
        };
        let due = |transaction: &Hash| self.offers.is_due(transaction, window) && my_turn(transaction);
        let mut room = OFFERED_AGAIN_BYTES;
        for tx in self.app.oldest_waiting(OFFERED_AGAIN, due) {
            let Some(left) = room.checked_sub(tx.bytes().len()) else { break };
            room = left;
            self.offer(window, &[tx]);
        }
    }
}
