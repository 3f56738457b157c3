//! Signatures of what comes in, checked ahead of the mempool.
//!
//! Transactions enter the mempool one after the other, in the order in which they came. Their signatures take most of the time and
//! need no order: so while one batch enters, those of the next are checked, on every core.

use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver};

use crate::app::App;
use crate::app::transactions::Examined;
use crate::tx::Tx;

/// What came together.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    /// All their transactions. None if checking failed.
    pub(crate) checked: Option<Vec<Examined>>,
}

/// Has the transactions of what comes in checked, at most `at_once` items together, until either end is dropped. They leave in
/// their order.
pub(crate) fn check<T: Send + 'static>(
    app: Arc<App>,
    mut queue: Receiver<T>,
    at_once: usize,
    transactions: fn(&T) -> &[Tx],
) -> Receiver<Batch<T>> {
    let (done, batches) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut items = Vec::new();
        while queue.recv_many(&mut items, at_once).await > 0 {
            let all: Vec<Tx> = items.iter().flat_map(transactions).cloned().collect();
            let app = Arc::clone(&app);
            let checked = tokio::task::spawn_blocking(move || {
                let verified = app.verify_all(&all);
                all.into_iter().zip(verified).collect()
            });
            // What makes this panic must not make the node deaf to all others.
            let checked = checked.await.ok();
            if done.send(Batch { items: std::mem::take(&mut items), checked }).await.is_err() {
                return;
            }
        }
    });
    batches
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn all_leave_in_the_order_in_which_they_came_with_what_was_found() {
        let bench = Bench::new();
        let (queue, received) = mpsc::channel(64);
        let mut batches = check(Arc::clone(&bench.app), received, 3, |tx| std::slice::from_ref(tx));
        let all: Vec<Tx> =
            (0..10).map(|number| if number == 4 { Bytes::from_static(b"noise") } else { bench.transfer(number) }.into()).collect();
        for tx in &all {
            queue.send(tx.clone()).await.expect("it is listened to");
        }
        drop(queue);
        let (mut left, mut refused) = (Vec::new(), Vec::new());
        while let Some(Batch { items, checked }) = tokio::time::timeout(Duration::from_secs(60), batches.recv()).await.expect("it ends") {
            assert!(items.len() <= 3, "no more together");
            let checked = checked.expect("nothing panics");
            assert_eq!(checked.iter().map(|(tx, _)| tx).collect::<Vec<_>>(), items.iter().collect::<Vec<_>>());
            refused.extend(checked.iter().enumerate().filter(|(_, (_, verified))| verified.is_err()).map(|(place, _)| left.len() + place));
            left.extend(items);
        }
        assert_eq!((left, refused), (all, vec![4]));
        assert_eq!(bench.app.waiting(), 0, "checked, and not taken");
    }
}
