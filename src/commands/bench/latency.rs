//! At an easy pace: how long one message takes, to the recipient, to the disk, and to the chain.

use std::time::{Duration, Instant};

use audit::{LogId, LogRecord};
use ledger::state::key;
use reqwest::Method;
use rpc::Node;
use rpc::relay::{LeafProof, path};
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep, sleep_until, timeout};
use types::{Decode as _, Hash};

use super::crowd;
use super::figures::{Anchored, Latency, Spread, Verdict};
use super::pair::{Done, Pair, Talk};
use super::people::Api;
use crate::failure::Failure;

/// How many messages all pairs together send in a second.
pub(super) const PACE: u32 = 200;

/// The most pairs that talk.
pub(super) const PAIRS: usize = 20;

/// How long the last messages may take; what has not come by then shows as lost in the history.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two messages whose anchoring is watched: no multiple or part of a block's time or an anchor's,
/// so that they begin at every moment of both.
const APART: Duration = Duration::from_millis(137);

/// How often the relay is asked where a leaf stands: as fine is what is measured.
const GLANCE: Duration = Duration::from_millis(50);

/// How long anchoring may take.
const ANCHORING: Duration = Duration::from_secs(60);

/// Lets the pairs talk for `time`, [`PACE`] messages in a second.
pub(super) async fn measure(url: &str, pairs: Vec<Pair>, time: Duration, verdict: &mut Verdict) -> Result<(Vec<Pair>, Latency), Failure> {
    let count = u32::try_from(pairs.len().max(1)).unwrap_or(u32::MAX);
    let (step, every) = (Duration::from_secs(1) / PACE, Duration::from_secs(1) * count / PACE);
    let mut talking = JoinSet::new();
    for (place, talk) in (0..).zip(crowd::connect(url, pairs).await?) {
        talking.spawn(steady(talk, step * place, every, time));
    }
    let (talks, done): (Vec<Talk>, Vec<Vec<Done>>) = crowd::all(talking).await?.into_iter().unzip();
    let pairs = crowd::part(url, talks, verdict).await?;
    let spread = |of: fn(&Done) -> Duration| Spread::of(done.iter().flatten().map(of).collect());
    Ok((pairs, Latency { received: spread(|done| done.received), accepted: spread(|done| done.accepted) }))
}

/// One message after `every`, whether those before it have come or not.
async fn steady(mut talk: Talk, first: Duration, every: Duration, time: Duration) -> Result<(Talk, Vec<Done>), Failure> {
    let (mut done, began) = (Vec::new(), tokio::time::Instant::now());
    let (until, last) = (began + time, began + time + PATIENCE);
    let mut ticks = interval_at(began + first, every);
    loop {
        let sends = tokio::time::Instant::now() < until;
        if !sends && talk.in_flight() == 0 {
            return Ok((talk, done));
        }
        tokio::select! {
            _ = ticks.tick(), if sends => {
                talk.send().await?;
                talk.flush().await?;
            }
            heard = talk.hear() => {
                heard?;
                done.extend(talk.take_done());
            }
            () = sleep_until(last) => return Ok((talk, done)),
        }
    }
}

/// What the chain holds of the relay's log, by the word of a node.
#[derive(Debug, Clone)]
pub(super) struct OnChain {
    pub(super) node: Node,
    pub(super) log: LogId,
}

impl OnChain {
    /// Whether the anchor of a sequence is in a block.
    async fn has(&self, sequence: u64) -> Result<bool, Failure> {
        let (_, entry) = self.node.peek(&key::log(&self.log)).await?;
        let record = entry.map(|entry| LogRecord::from_bytes(&entry)).transpose();
        let record = record.map_err(|error| Failure::Bench(format!("the log's record does not decode: {error}")))?;
        Ok(record.is_some_and(|record| record.sequence >= sequence))
    }
}

/// Sends so many messages, and watches each until the chain is proven to have its anchor: the relay hands out the leaf's
/// path then.
pub(super) async fn anchored(
    (url, chain): (&str, &OnChain),
    pair: Pair,
    messages: usize,
    verdict: &mut Verdict,
) -> Result<(Pair, Anchored), Failure> {
    let api = Api::new(url)?;
    let token = pair.from.token.clone();
    let (mut talk, mut watching) = (pair.connect(url).await?, JoinSet::new());
    for _ in 0..messages {
        talk.send().await?;
        talk.flush().await?;
        while talk.in_flight() > 0 {
            timeout(PATIENCE, talk.hear()).await.map_err(|_| Failure::Bench("a message did not come in time".to_owned()))??;
        }
        for done in talk.take_done() {
            watching.spawn(watch(api.clone(), chain.clone(), token.clone(), done.leaf(), done.sent));
        }
        sleep(APART).await;
    }
    let (in_block, proven) = crowd::all(watching).await?.into_iter().unzip();
    Ok((talk.part(url, verdict).await?, Anchored { in_block: Spread::of(in_block), proven: Spread::of(proven) }))
}

/// How long after `sent` the leaf's anchor was seen in a block, and the leaf anchored.
async fn watch(api: Api, chain: OnChain, token: String, leaf: Hash, sent: Instant) -> Result<(Duration, Duration), Failure> {
    let path = path::PROOFS.replace("{leaf}", &leaf.to_string());
    let mut in_block = None;
    while sent.elapsed() < ANCHORING {
        match api.ask(Method::GET, &path, None, Some(&token)).await? {
            LeafProof::Anchored { .. } => return Ok((in_block.unwrap_or_else(|| sent.elapsed()), sent.elapsed())),
            LeafProof::Sealed { sequence } if in_block.is_none() && chain.has(sequence).await? => in_block = Some(sent.elapsed()),
            LeafProof::Sealed { .. } | LeafProof::Stored => {}
        }
        sleep(GLANCE).await;
    }
    Err(Failure::Bench(format!("a message is not anchored after {} s", ANCHORING.as_secs())))
}
