//! Judging received transactions beside the swarm: signatures take time, and the swarm must not wait.
//!
//! As many together as have come, and in the order in which they came, so that those of one author keep their
//! sequence. What finds the queue full is handed back.

use std::sync::Arc;

use bytes::Bytes;
use ledger::TxHash;
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use tokio::sync::mpsc::{self, Receiver, Sender};
use types::Hash;

use crate::app::App;
use crate::mempool::{NotTaken, Taken};

/// At most this many messages are judged together.
const AT_ONCE: usize = 256;

/// A message with a transaction.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) bytes: Bytes,
    /// Whether its stamp says that it was offered again just now.
    pub(super) offered_again: bool,
}

/// A message that was judged.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) acceptance: MessageAcceptance,
}

/// What became of a message with a transaction.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) checked: Checked,
    /// The transaction, if it is held: this node offers it when those before it have come.
    pub(super) held: Option<TxHash>,
}

/// The queue before the judge.
#[derive(Debug)]
pub(super) struct Judge {
    queue: Sender<Received>,
}

impl Judge {
    /// Judges until this or the receiver of the verdicts is dropped. At most `unjudged` messages and
    /// `unreported` verdicts wait.
    pub(super) fn start(app: Arc<App>, unjudged: usize, unreported: usize) -> (Self, Receiver<Judged>) {
        let (queue, received) = mpsc::channel(unjudged);
        let (verdicts, checked) = mpsc::channel(unreported);
        tokio::spawn(work(app, received, verdicts));
        (Self { queue }, checked)
    }

    /// Takes a message; where too many wait, the verdict is that it is ignored.
    pub(super) fn take(&self, message: Received) -> Result<(), Checked> {
        self.queue.try_send(message).map_err(|refused| {
            let Received { id, from, .. } = refused.into_inner();
            Checked { id, from, acceptance: MessageAcceptance::Ignore }
        })
    }
}

async fn work(app: Arc<App>, mut received: Receiver<Received>, verdicts: Sender<Judged>) {
    let mut batch = Vec::new();
    while received.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (names, transactions): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Received { id, from, bytes, offered_again }| ((id, from), (bytes, offered_again))).unzip();
        let app = Arc::clone(&app);
        let judged = tokio::task::spawn_blocking(move || judge(&app, transactions)).await;
        // A message that makes the judge panic must not make this node deaf to all others.
        let mut judged = judged.unwrap_or_default().into_iter();
        for (id, from) in names {
            let (acceptance, held) = judged.next().unwrap_or((MessageAcceptance::Ignore, None));
            if verdicts.send(Judged { checked: Checked { id, from, acceptance }, held }).await.is_err() {
                return;
            }
        }
    }
}

/// What becomes of each of these transaction messages, and its transaction if that is held. Signatures are checked on
/// every core, and then one is taken after the other.
///
/// One that is held behind a gap is not passed on: nobody may ever have to pay for it. This node offers it
/// when the gap has closed.
///
/// One that waits here already is passed on if it was offered again just now: behind this node may
/// be one that lacks it, and to that one this node's own offer would be a copy of the same message.
pub(super) fn judge(app: &App, messages: Vec<(Bytes, bool)>) -> Vec<(MessageAcceptance, Option<TxHash>)> {
    let (transactions, offered_again): (Vec<Bytes>, Vec<bool>) = messages.into_iter().unzip();
    let taken = app.submit_all(&transactions);
    let judged = transactions.iter().zip(offered_again).zip(taken);
    judged.map(|((bytes, offered_again), taken)| verdict(app, Hash::sha256(&[bytes]), offered_again, taken)).collect()
}

fn verdict(app: &App, hash: TxHash, offered_again: bool, taken: Result<Taken, NotTaken>) -> (MessageAcceptance, Option<TxHash>) {
    let acceptance = match taken {
        Ok(_) | Err(NotTaken::Waiting) if app.is_held(&hash) => return (MessageAcceptance::Ignore, Some(hash)),
        Ok(_) => MessageAcceptance::Accept,
        Err(NotTaken::Waiting) if offered_again => MessageAcceptance::Accept,
        Err(NotTaken::Refused(ledger::Refusal::Malformed(_) | ledger::Refusal::BadSignature { .. } | ledger::Refusal::TooLarge { .. })) => {
            MessageAcceptance::Reject
        }
        // Known already, too late or too many: nobody's fault.
        Err(_) => MessageAcceptance::Ignore,
    };
    (acceptance, None)
}
