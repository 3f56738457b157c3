//! As much as goes: every pair keeps so many messages under way, and sends the next when one has been accepted and
//! received.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::figures::{Throughput, Verdict};
use super::network::Stage;
use super::pair::{Pair, Talk};
use super::{crowd, machine};
use crate::failure::Failure;

/// How long a pair may hear nothing; what has not come by then shows as lost in the history.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most messages of all pairs: their histories are kept until they are judged, some 700 bytes each.
const MAX_MESSAGES: u64 = 4_000_000;

/// What the pairs and their observer share.
#[derive(Debug, Default)]
struct Shared {
    done: AtomicU64,
    stop: AtomicBool,
}

/// Lets the pairs talk with `window` messages under way each, and counts for `time` after `warm_up`.
pub(super) async fn measure(
    (stage, url): (&Stage, &str),
    pairs: Vec<Pair>,
    window: usize,
    (warm_up, time): (Duration, Duration),
    verdict: &mut Verdict,
) -> Result<(Vec<Pair>, Throughput), Failure> {
    let (shared, mut talking) = (Arc::new(Shared::default()), JoinSet::new());
    let most = MAX_MESSAGES / u64::try_from(pairs.len().max(1)).unwrap_or(u64::MAX);
    for talk in crowd::connect(url, pairs).await? {
        talking.spawn(keep_full(talk, window, most, shared.clone()));
    }
    sleep(warm_up).await;
    let before = Reading::take(stage, &shared)?;
    sleep(time).await;
    let after = Reading::take(stage, &shared)?;
    shared.stop.store(true, Ordering::Relaxed);
    let talks = crowd::all(talking).await?;
    if talks.iter().any(|talk| talk.messages() >= most) {
        return Err(Failure::Bench(format!("more than {MAX_MESSAGES} messages: measure for fewer --seconds")));
    }
    let pairs = crowd::part(url, talks, verdict).await?;
    Ok((pairs, after.since(&before)))
}

async fn keep_full(mut talk: Talk, window: usize, most: u64, shared: Arc<Shared>) -> Result<Talk, Failure> {
    loop {
        if shared.stop.load(Ordering::Relaxed) || talk.messages() >= most {
            if talk.in_flight() == 0 {
                return Ok(talk);
            }
        } else {
            while talk.in_flight() < window {
                talk.send().await?;
            }
            talk.flush().await?;
        }
        match timeout(PATIENCE, talk.hear()).await {
            Ok(heard) => heard?,
            Err(_) => return Ok(talk),
        }
        let done = talk.take_done().count() as u64;
        shared.done.fetch_add(done, Ordering::Relaxed);
    }
}

/// What stands at one moment.
struct Reading {
    at: Instant,
    done: u64,
    relay: Duration,
    gateway: Duration,
    own: Duration,
}

impl Reading {
    fn take(stage: &Stage, shared: &Shared) -> Result<Self, Failure> {
        let cpu = |process| machine::cpu(process).map_err(Failure::Runtime);
        Ok(Self {
            at: Instant::now(),
            done: shared.done.load(Ordering::Relaxed),
            relay: cpu(stage.relay())?,
            gateway: cpu(stage.gateway())?,
            own: cpu(std::process::id())?,
        })
    }

    fn since(&self, before: &Self) -> Throughput {
        Throughput {
            messages: self.done - before.done,
            time: self.at - before.at,
            relay_cpu: self.relay.saturating_sub(before.relay),
            gateway_cpu: self.gateway.saturating_sub(before.gateway),
            own_cpu: self.own.saturating_sub(before.own),
        }
    }
}
