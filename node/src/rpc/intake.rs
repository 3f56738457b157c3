//! Transactions that clients hand in, on their way into the mempool.
//!
//! As many are judged together as have come, by whichever connections.

use std::sync::Arc;

use ledger::Refusal;
use ledger::transaction::MAX_BYTES;
use tokio::sync::{mpsc, oneshot};

use super::error::Fault;
use crate::ahead::{self, Batch};
use crate::app::App;
use crate::app::transactions::Origin;
use crate::mempool::NotTaken;
use crate::tx::Tx;

/// At most this many are judged together.
const AT_ONCE: usize = 256;

/// At most this many wait to be judged, 8 MiB of them; whoever has more waits.
const WAITING: usize = 1024;

/// One that was handed in, and who waits for what becomes of it.
type HandedIn = (Tx, oneshot::Sender<Result<(), NotTaken>>);

/// Where transactions are handed in.
#[derive(Debug)]
pub(super) struct Intake {
    queue: mpsc::Sender<HandedIn>,
}

impl Intake {
    /// Judges until this is dropped.
    pub(super) fn start(app: Arc<App>) -> Self {
        let (queue, handed_in) = mpsc::channel(WAITING);
        tokio::spawn(judge(app, handed_in));
        Self { queue }
    }

    /// Hands one in, and waits for what becomes of it.
    pub(super) async fn submit(&self, transaction: Tx) -> Result<Result<(), NotTaken>, Fault> {
        if let Err(refusal) = check_size(&transaction) {
            return Ok(Err(refusal));
        }
        let (answer, taken) = oneshot::channel();
        self.queue.send((transaction, answer)).await.map_err(|_| Fault::Busy("the node stops"))?;
        taken.await.map_err(|_| Fault::Internal("the node stops, or failed: the transaction may have been taken".to_owned()))
    }

    /// Hands one in of which nobody wants to know what becomes of it.
    pub(super) fn leave(&self, transaction: Tx) -> Result<(), Fault> {
        if check_size(&transaction).is_err() {
            return Ok(());
        }
        let (answer, _) = oneshot::channel();
        self.queue.try_send((transaction, answer)).map_err(|_| Fault::Busy("too much is being worked on: try again"))
    }
}

/// Of what waits each is as long as a transaction may be.
fn check_size(transaction: &Tx) -> Result<(), NotTaken> {
    let (found, bound) = (transaction.bytes().len(), MAX_BYTES);
    if found > bound { Err(Refusal::TooLarge { found, bound }.into()) } else { Ok(()) }
}

async fn judge(app: Arc<App>, handed_in: mpsc::Receiver<HandedIn>) {
    let mut batches = ahead::check(Arc::clone(&app), handed_in, AT_ONCE, |(tx, _)| std::slice::from_ref(tx));
    while let Some(Batch { items, checked }) = batches.recv().await {
        // Whoever is not told finds that nobody will tell.
        let Some(checked) = checked else { continue };
        let app = Arc::clone(&app);
        let taken = tokio::task::spawn_blocking(move || app.take_all(checked, Origin::Client)).await;
        for (taken, (_, answer)) in taken.unwrap_or_default().into_iter().zip(items) {
            if let Err(Err(refusal)) = answer.send(taken.map(drop)) {
                tracing::debug!(%refusal, "refused a transaction that nobody waits for");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn each_is_told_of_its_own_whoever_comes_with_it() {
        let bench = Bench::new();
        let intake = Intake::start(Arc::clone(&bench.app));
        let mut forged = bench.transfer(2).to_vec();
        *forged.iter_mut().nth_back(1).expect("a signature") ^= 1;
        let handed_in = [bench.transfer(0), bench.transfer(1), forged.into(), bench.transfer(0), vec![7; 9000].into(), bench.transfer(2)];
        let told = join_all(handed_in.map(|bytes| intake.submit(bytes.into()))).await;
        let codes: Vec<Option<u32>> =
            told.into_iter().map(|told| told.expect("the node runs").err().map(|refusal| refusal.code())).collect();
        let (forged, long) = (Refusal::BadSignature { whose: "author" }.code(), Refusal::TooLarge { found: 9000, bound: 8192 }.code());
        assert_eq!(codes, [None, None, Some(forged), Some(NotTaken::Waiting.code()), Some(long), None]);
        assert_eq!(bench.app.waiting(), 3, "in their order");
    }

    #[tokio::test]
    async fn what_finds_no_room_is_handed_back() {
        let bench = Bench::new();
        let intake = Intake::start(Arc::clone(&bench.app));
        // The judge does not run while this test does not wait.
        for number in 0..WAITING as u64 {
            intake.leave(bench.transfer(number % 8).into()).expect("room");
        }
        assert!(matches!(intake.leave(bench.transfer(0).into()), Err(Fault::Busy(_))));
        assert!(intake.submit(bench.transfer(8).into()).await.expect("it waits for its turn").is_ok());
        assert_eq!(bench.app.waiting(), 9);
    }
}
