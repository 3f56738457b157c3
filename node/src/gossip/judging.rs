//! Judging received transactions beside the swarm: signatures take time, and the swarm must not wait.
//!
//! As many together as have come, and in the order in which they came, so that those of one author keep their
//! sequence. What finds the queue full is handed back. A message has one verdict for all its transactions: it goes on
//! only if all of them may.

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
const AT_ONCE: usize = 32;

/// A message with transactions.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) transactions: Vec<Bytes>,
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

/// What became of a message with transactions.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) checked: Checked,
    /// What of it is held: this node offers each when those before it have come.
    pub(super) held: Vec<TxHash>,
    /// What of it is ready, while the message does not go on: this node offers each by itself.
    pub(super) left: Vec<(TxHash, Bytes)>,
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
        let (names, messages): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|Received { id, from, transactions, offered_again }| ((id, from), Message { transactions, offered_again }))
            .unzip();
        let app = Arc::clone(&app);
        let judged = tokio::task::spawn_blocking(move || judge(&app, messages)).await;
        // A message that makes the judge panic must not make this node deaf to all others.
        let mut judged = judged.unwrap_or_default().into_iter();
        for (id, from) in names {
            let Verdict { acceptance, held, left } = judged.next().unwrap_or_default();
            if verdicts.send(Judged { checked: Checked { id, from, acceptance }, held, left }).await.is_err() {
                return;
            }
        }
    }
}

/// What is judged of a message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) transactions: Vec<Bytes>,
    pub(super) offered_again: bool,
}

/// The verdict on a message, and which of its transactions this node sees to.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) acceptance: MessageAcceptance,
    pub(super) held: Vec<TxHash>,
    pub(super) left: Vec<(TxHash, Bytes)>,
}

impl Default for Verdict {
    /// Of a message that could not be judged.
    fn default() -> Self {
        Self { acceptance: MessageAcceptance::Ignore, held: Vec::new(), left: Vec::new() }
    }
}

/// What a transaction is to the mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Ready since now.
    New,
    /// Ready since before.
    Known,
    /// Behind a gap. Nobody may ever have to pay for it.
    Held,
    /// Its publisher is at fault, and so is who passes it on.
    Bad,
    /// Used, too late or too many: nobody's fault.
    Useless,
}

/// What becomes of each of these messages. Signatures are checked on every core, and then one transaction is taken
/// after the other.
///
/// A message is passed on if each of its transactions is ready here and one of them was not before. If it was offered again
/// just now, all may have been: behind this node may be one that lacks them, and to that one this node's own offer would be a copy
/// of the same message.
pub(super) fn judge(app: &App, messages: Vec<Message>) -> Vec<Verdict> {
    let all: Vec<Bytes> = messages.iter().flat_map(|message| message.transactions.iter().cloned()).collect();
    let mut taken = app.submit_all(&all).into_iter();
    let verdict = |Message { transactions, offered_again }| {
        let found = transactions.into_iter().zip(taken.by_ref()).map(|(bytes, taken)| {
            let hash = Hash::sha256(&[&bytes]);
            (find(app, &hash, taken), hash, bytes)
        });
        verdict(found.collect(), offered_again)
    };
    messages.into_iter().map(verdict).collect()
}

fn find(app: &App, hash: &TxHash, taken: Result<Taken, NotTaken>) -> Found {
    match taken {
        Ok(_) | Err(NotTaken::Waiting) if app.is_held(hash) => Found::Held,
        Ok(_) => Found::New,
        Err(NotTaken::Waiting) => Found::Known,
        Err(NotTaken::Refused(ledger::Refusal::Malformed(_) | ledger::Refusal::BadSignature { .. } | ledger::Refusal::TooLarge { .. })) => {
            Found::Bad
        }
        Err(_) => Found::Useless,
    }
}

fn verdict(transactions: Vec<(Found, TxHash, Bytes)>, offered_again: bool) -> Verdict {
    let has = |wanted: Found| transactions.iter().any(|(found, ..)| *found == wanted);
    let acceptance = if has(Found::Bad) {
        MessageAcceptance::Reject
    } else if has(Found::Held) || has(Found::Useless) || !(offered_again || has(Found::New)) {
        MessageAcceptance::Ignore
    } else {
        MessageAcceptance::Accept
    };
    let goes_on = matches!(acceptance, MessageAcceptance::Accept);
    let (mut held, mut left) = (Vec::new(), Vec::new());
    for (found, hash, bytes) in transactions {
        match found {
            Found::Held => held.push(hash),
            Found::New if !goes_on => left.push((hash, bytes)),
            _ => {}
        }
    }
    Verdict { acceptance, held, left }
}
