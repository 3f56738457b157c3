//! Evidence on its way from node to node: judged before it is passed on, and offered again while it
//! waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use consensus::Host as _;
use consensus::evidence::{BadEvidence, bytes};
use libp2p::PeerId;
use libp2p::gossipsub::{IdentTopic, MessageAcceptance, MessageId};
use tokio::sync::mpsc::{self, Receiver, Sender};
use types::{ChainId, Hash};

use super::judging::Checked;
use crate::app::App;
use crate::evidence::{NotTaken, Taken};

/// The topic's name.
pub(super) const TOPIC: &str = "evidence/1";
/// A message carries this many bytes at most: an attack signed by 128 validators, and its stamp.
pub(super) const MAX_MESSAGE: usize = MAX_EVIDENCE + 8;
const MAX_EVIDENCE: usize = 64 * 1024;
/// At most this many received pieces wait to be judged, 4 MiB of them; what comes while so many wait
/// is dropped: its holders offer it again.
const UNJUDGED: usize = 64;
/// At most this many pieces are remembered of a window. What waits is fewer; strangers can send more.
const REMEMBERED: usize = 1024;

/// What of a message is judged.
#[derive(Debug)]
struct Received {
    id: MessageId,
    from: PeerId,
    bytes: Vec<u8>,
    offered_again: bool,
}

/// The evidence that this node offers and receives.
#[derive(Debug)]
pub(super) struct Accusations {
    app: Arc<App>,
    topic: IdentTopic,
    queue: Sender<Received>,
    verdicts: Receiver<Checked>,
    /// What came in or went out in this window.
    window: u64,
    passed: BTreeSet<Hash>,
}

impl Accusations {
    pub(super) fn start(app: Arc<App>, chain: &ChainId) -> Self {
        let (queue, received) = mpsc::channel(UNJUDGED);
        let (judged, verdicts) = mpsc::channel(UNJUDGED);
        tokio::spawn(work(Arc::clone(&app), received, judged));
        Self { app, topic: super::topic(chain, TOPIC), queue, verdicts, window: 0, passed: BTreeSet::new() }
    }

    pub(super) const fn topic(&self) -> &IdentTopic {
        &self.topic
    }

    /// The next verdict about a message.
    pub(super) async fn judged(&mut self) -> Option<Checked> {
        self.verdicts.recv().await
    }

    /// Takes a message to be judged.
    ///
    /// # Errors
    /// The verdict, where there is one at once.
    pub(super) fn take(&mut self, id: MessageId, from: PeerId, data: &[u8], window: u64) -> Result<(), Checked> {
        let Some((stamp, bytes)) = data.split_first_chunk() else {
            return Err(Checked { id, from, acceptance: MessageAcceptance::Reject });
        };
        let offered_again = u64::from_be_bytes(*stamp).abs_diff(window) <= 1;
        self.queue.try_send(Received { id, from, bytes: bytes.to_vec(), offered_again }).map_err(|refused| {
            let Received { id, from, .. } = refused.into_inner();
            Checked { id, from, acceptance: MessageAcceptance::Ignore }
        })?;
        // Under another stamp it is no offer that all hear: it must not keep this node from making its own.
        if offered_again {
            self.turn(window);
            self.pass(Hash::sha256(&[bytes]));
        }
        Ok(())
    }

    /// Offers what waits, once in a window.
    pub(super) fn offer(&mut self, gossip: &mut super::Topics, window: u64) {
        self.turn(window);
        for evidence in self.app.pending_evidence(usize::MAX) {
            let bytes = bytes::encode(&evidence);
            let hash = Hash::sha256(&[&bytes]);
            if self.passed.contains(&hash) {
                continue;
            }
            let data = [window.to_be_bytes().as_slice(), &bytes].concat();
            match gossip.publish(self.topic.clone(), data) {
                Ok(_) => self.pass(hash),
                Err(error) => tracing::trace!(%error, "evidence not offered yet"),
            }
        }
    }

    fn pass(&mut self, evidence: Hash) {
        if self.passed.len() < REMEMBERED {
            self.passed.insert(evidence);
        }
    }

    fn turn(&mut self, window: u64) {
        if window != self.window {
            self.window = window;
            self.passed.clear();
        }
    }
}

async fn work(app: Arc<App>, mut received: Receiver<Received>, verdicts: Sender<Checked>) {
    while let Some(Received { id, from, bytes, offered_again }) = received.recv().await {
        let app = Arc::clone(&app);
        let judged = tokio::task::spawn_blocking(move || judge(&app, &bytes, offered_again)).await;
        // A message that makes the judge panic must not make this node deaf to all others.
        let acceptance = judged.unwrap_or(MessageAcceptance::Ignore);
        if verdicts.send(Checked { id, from, acceptance }).await.is_err() {
            return;
        }
    }
}

/// What becomes of a message with evidence: who sends some that cannot hold is at fault; what this node
/// cannot judge yet, or has no use for, is nobody's fault.
pub(super) fn judge(app: &App, bytes: &[u8], offered_again: bool) -> MessageAcceptance {
    let taken = bytes::decode(bytes, MAX_EVIDENCE).map_err(NotTaken::from).and_then(|evidence| app.take_evidence(evidence));
    match taken {
        Ok(Taken::New) => MessageAcceptance::Accept,
        Ok(Taken::Waiting) if offered_again => MessageAcceptance::Accept,
        Ok(Taken::Waiting | Taken::Held | Taken::Committed) => MessageAcceptance::Ignore,
        Err(NotTaken::Full) => MessageAcceptance::Ignore,
        Err(NotTaken::Refused(refusal)) => match refusal {
            // Seen from another height of the chain, the same evidence may hold.
            BadEvidence::Unknown { .. } | BadEvidence::Expired { .. } | BadEvidence::Attack(_) => MessageAcceptance::Ignore,
            _ => MessageAcceptance::Reject,
        },
    }
}

#[cfg(test)]
mod tests;
