//! What is done with many at once.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::figures::Verdict;
use super::pair::{Pair, Talk};
use crate::failure::Failure;

/// How many connect, or say goodbye, at once.
pub(super) const AT_ONCE: usize = 32;

/// All pairs connect.
pub(super) async fn connect(url: &str, pairs: Vec<Pair>) -> Result<Vec<Talk>, Failure> {
    stream::iter(pairs).map(|pair| pair.connect(url)).buffered(AT_ONCE).try_collect().await
}

/// All pairs hang up, and their histories are judged.
pub(super) async fn part(url: &str, talks: Vec<Talk>, verdict: &mut Verdict) -> Result<Vec<Pair>, Failure> {
    let parting = talks.into_iter().map(async |talk| {
        let mut own = Verdict::default();
        talk.part(url, &mut own).await.map(|pair| (pair, own))
    });
    let parted: Vec<(Pair, Verdict)> = stream::iter(parting).buffered(AT_ONCE).try_collect().await?;
    Ok(parted
        .into_iter()
        .map(|(pair, own)| {
            verdict.add(own);
            pair
        })
        .collect())
}

/// What all tasks return, in the order in which they end; the first failure ends the others.
pub(super) async fn all<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        results.push(ended.map_err(|error| Failure::Bench(error.to_string()))??);
    }
    Ok(results)
}

/// A task that ends when nobody needs it any more.
#[derive(Debug)]
pub(super) struct Guard(pub(super) tokio::task::JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
