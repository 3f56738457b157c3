//! Judging received transactions beside the swarm: signatures take time, and the swarm must not wait.
//!
//! As many together as have come, and in the order in which they came, so that those of one author keep their
//! sequence. What finds the queue full is handed back. A message has one verdict for all its transactions: it goes on
//! only if all of them may.

use std::sync::Arc;

use ledger::{Refusal, TxHash};
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ahead::{self, Batch};
use crate::app::App;
use crate::app::transactions::{Examined, Origin};
use crate::mempool::{NotTaken, Taken};
use crate::tx::Tx;

/// At most this many messages are judged together.
const AT_ONCE: usize = 32;

/// A message with transactions.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) message: Message,
}

/// What is judged of it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) transactions: Vec<Tx>,
    pub(super) offer: Offer,
}

/// What the stamp of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    First,
    /// It was offered again just now.
    Again,
    /// No node whose clock is right would send it now, so others would not hear it as one offer with theirs.
    Stray,
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
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) verdict: Verdict,
}

/// The verdict on a message, and which of its transactions this node sees to.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) acceptance: MessageAcceptance,
    /// What of it is held: this node offers each when those before it have come.
    pub(super) held: Vec<TxHash>,
    /// What of it has become ready: if the message does not go on, this node offers it.
    pub(super) new: Vec<Tx>,
    /// Where it was offered again, and is ready: this node need not offer it so soon.
    pub(super) again: Option<TxHash>,
}

/// The queue before the judge.
#[derive(Debug)]
pub(super) struct Judge {
    queue: Sender<(Received, OwnedSemaphorePermit)>,
    /// For transactions that wait.
    room: Arc<Semaphore>,
}

impl Judge {
    /// Judges until this or the receiver of the verdicts is dropped. At most `unjudged` messages, with as many transactions,
    /// and `unreported` verdicts wait.
    pub(super) fn start(app: Arc<App>, unjudged: (usize, usize), unreported: usize) -> (Self, Receiver<Judged>) {
        let (messages, transactions) = unjudged;
        let (queue, received) = mpsc::channel(messages);
        let (verdicts, checked) = mpsc::channel(unreported);
        tokio::spawn(work(app, received, verdicts));
        (Self { queue, room: Arc::new(Semaphore::new(transactions)) }, checked)
    }

    /// Takes a message; where too many wait, the verdict is that it is ignored.
    pub(super) fn take(&self, received: Received) -> Result<(), Checked> {
        let ignored = |Received { id, from, .. }: Received| Checked { id, from, acceptance: MessageAcceptance::Ignore };
        let count = u32::try_from(received.message.transactions.len()).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(count) {
            Ok(place) => self.queue.try_send((received, place)).map_err(|refused| ignored(refused.into_inner().0)),
            Err(_) => Err(ignored(received)),
        }
    }
}

async fn work(app: Arc<App>, received: Receiver<(Received, OwnedSemaphorePermit)>, verdicts: Sender<Judged>) {
    let mut batches = ahead::check(Arc::clone(&app), received, AT_ONCE, |(received, _)| &received.message.transactions);
    while let Some(Batch { items, checked }) = batches.recv().await {
        let (names, messages): (Vec<_>, Vec<_>) =
            items.into_iter().map(|(Received { id, from, message }, _)| ((id, from), message)).unzip();
        let app = Arc::clone(&app);
        let judged = tokio::task::spawn_blocking(move || checked.map(|checked| judge(&app, messages, checked))).await;
        // A message that makes the judge panic must not make this node deaf to all others.
        let mut judged = judged.ok().flatten().unwrap_or_default().into_iter();
        for (id, from) in names {
            let verdict = judged.next().unwrap_or_default();
            if verdicts.send(Judged { id, from, verdict }).await.is_err() {
                return;
            }
        }
    }
}

impl Default for Verdict {
    /// Of a message that could not be judged.
    fn default() -> Self {
        Self { acceptance: MessageAcceptance::Ignore, held: Vec::new(), new: Vec::new(), again: None }
    }
}

/// What a transaction is to the mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Ready since now.
    New,
    /// Ready since before.
    Known,
    /// In a block: the message is late, and nobody's fault.
    Included,
    /// Behind a gap. Nobody may ever have to pay for it.
    Held,
    /// Its publisher is at fault, and so is who passes it on.
    Bad,
    /// Another one has its sequence, it is too late, or there are too many: nobody's fault.
    Useless,
}

/// What becomes of each of these messages, whose transactions were checked: one is taken after the other.
///
/// A message is passed on if each of its transactions is ready here or in a block, and half of them are ready since now: nobody pays for the
/// others a second time. If it was offered again just now, it may have been ready: behind this node may be one that lacks it, and to that one
/// this node's own offer would be a copy of the same message.
pub(super) fn judge(app: &App, messages: Vec<Message>, checked: Vec<Examined>) -> Vec<Verdict> {
    let mut taken = app.take_all(checked, Origin::Peer).into_iter();
    let verdict = |Message { transactions, offer }| {
        let found = transactions.into_iter().zip(taken.by_ref()).map(|(tx, taken)| (find(app, tx.hash(), taken), tx));
        verdict(found.collect(), offer)
    };
    messages.into_iter().map(verdict).collect()
}

fn find(app: &App, hash: &TxHash, taken: Result<Taken, NotTaken>) -> Found {
    match taken {
        Ok(_) | Err(NotTaken::Waiting) if app.is_held(hash) => Found::Held,
        Ok(_) => Found::New,
        Err(NotTaken::Waiting) => Found::Known,
        Err(NotTaken::Refused(Refusal::Malformed(_) | Refusal::BadSignature { .. } | Refusal::TooLarge { .. })) => Found::Bad,
        Err(NotTaken::Refused(Refusal::StaleSequence { .. })) if app.store().transaction(hash).is_some() => Found::Included,
        Err(_) => Found::Useless,
    }
}

fn verdict(transactions: Vec<(Found, Tx)>, offer: Offer) -> Verdict {
    let count = |wanted: Found| transactions.iter().filter(|(found, _)| *found == wanted).count();
    let (new, old) = (count(Found::New), count(Found::Known) + count(Found::Included));
    let mixed = count(Found::Held) + count(Found::Useless) > 0;
    let goes_on = match offer {
        Offer::First => new > 0 && new >= old,
        Offer::Again => count(Found::Included) == 0,
        Offer::Stray => false,
    };
    let acceptance = match count(Found::Bad) {
        0 if goes_on && !mixed => MessageAcceptance::Accept,
        0 => MessageAcceptance::Ignore,
        _ => MessageAcceptance::Reject,
    };
    let mut verdict = Verdict { acceptance, held: Vec::new(), new: Vec::new(), again: None };
    for (found, tx) in transactions {
        if offer == Offer::Again && matches!(found, Found::New | Found::Known) {
            verdict.again = Some(*tx.hash());
        }
        match found {
            Found::Held => verdict.held.push(*tx.hash()),
            Found::New => verdict.new.push(tx),
            _ => {}
        }
    }
    verdict
}
