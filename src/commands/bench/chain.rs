//! `zynk bench chain`: how many transactions validators put into blocks, how soon, and at which cost.
//!
//! The same load, signed before, goes into one network after the other. Each transaction is followed to its block,
//! and at the end held against the state: the bench fails if one was lost or came twice.

mod book;
mod checks;
mod door;
mod prepared;
mod reading;
mod report;
mod sender;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ledger::Params;
use ledger::account::Account;
use ledger::state::key;
use types::{Decode as _, Height};

use self::book::Book;
use self::checks::Ceiling;
use self::door::Door;
use self::prepared::Prepared;
use self::reading::{Reading, Used};
use self::report::{Measured, Run};
use self::sender::Sender;
use self::stage::{Engine, Programs, Stage};
use super::{crowd, machine};
use crate::failure::Failure;

/// For how many transactions a second the load is signed at most.
const MOST_PER_SECOND: usize = 30_000;

/// How many connections the load has, to all validators together.
const CONNECTIONS: usize = 100;

/// How often the next block is asked for: as fine is what is measured.
const GLANCE: Duration = Duration::from_millis(10);

/// How long the last transactions may take; what is in no block then is lost.
const DRAINING: Duration = Duration::from_secs(60);

/// The time between two transactions while a height alone is measured.
const TRICKLE: Duration = Duration::from_millis(250);

/// For how long signatures alone are checked.
const CHECKING: Duration = Duration::from_secs(2);

/// Questions about the state at once.
const ASKING: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk bench chain --quick\n  \
    zynk bench chain --validators 16,32 --seconds 10\n  \
    zynk bench chain --validators 4 --engine embedded,cometbft --cometbft $(tools/cometbft)\n\n\
    It starts networks of its own in the temporary folder (TMPDIR) and removes them; only an optimised build\n\
    (cargo build --release) gives figures that mean something. Exit status 0 only if every transaction that was\n\
    sent is in one block or was refused, and state and validators agree with that.")]
pub(crate) struct Arguments {
    /// How many validators; several, one network after the other [default: 1,4,7; quick: 4]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    validators: Vec<u16>,
    /// Which engines order the blocks
    #[arg(long, value_name = "ENGINE", value_delimiter = ',', value_enum, default_values_t = [Engine::Embedded])]
    engine: Vec<Engine>,
    /// For how many seconds each load is measured [default: 15; quick: 5]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=120))]
    seconds: Option<u16>,
    /// How many transactions a second are sent where their latency is measured [default: 300; quick: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    rate: Option<u16>,
    /// How many transactions are under way at saturation
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u16).range(1..=9_000))]
    window: u16,
    /// How many accounts send [default: 500; quick: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    authors: Option<u16>,
    /// The time between blocks, in milliseconds; 0 is as fast as possible
    #[arg(long, value_name = "MS", default_value_t = Params::default().block_interval_ms)]
    block_interval_ms: u32,
    /// The program whose nodes are measured: another build of zynk [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// CometBFT's program, for the engine of that name; tools/cometbft builds it and says where it is
    #[arg(long, value_name = "FILE")]
    cometbft: Option<PathBuf>,
    /// Small numbers: about a minute in all, for CI
    #[arg(long)]
    quick: bool,
}

/// What is done, in which measure.
#[derive(Debug, Clone)]
struct Plan {
    networks: Vec<(Engine, u16)>,
    time: Duration,
    warm_up: Duration,
    rate: u16,
    window: usize,
    authors: usize,
    params: Params,
    programs: Programs,
}

impl Plan {
    fn of(arguments: Arguments) -> Result<Self, Failure> {
        let quick = arguments.quick;
        let choose = |given: Option<u16>, small: u16, full: u16| given.unwrap_or(if quick { small } else { full });
        let validators = match arguments.validators {
            given if !given.is_empty() => given,
            _ if quick => vec![4],
            _ => vec![1, 4, 7],
        };
        let networks = validators.iter().flat_map(|validators| arguments.engine.iter().map(|engine| (*engine, *validators))).collect();
        Ok(Self {
            networks,
            time: Duration::from_secs(choose(arguments.seconds, 5, 15).into()),
            warm_up: Duration::from_secs(if quick { 1 } else { 3 }),
            rate: choose(arguments.rate, 100, 300),
            window: arguments.window.into(),
            authors: choose(arguments.authors, 100, 500).into(),
            params: Params { block_interval_ms: arguments.block_interval_ms, ..Params::default() },
            programs: Programs {
                zynk: arguments.binary.map_or_else(|| std::env::current_exe().map_err(Failure::Runtime), Ok)?,
                cometbft: arguments.cometbft,
            },
        })
    }

    /// How many transactions each author needs.
    fn each(&self) -> usize {
        let seconds = |time: Duration| usize::try_from(time.as_secs()).unwrap_or(usize::MAX);
        let most = seconds(self.warm_up + self.time) * MOST_PER_SECOND + seconds(self.time) * (usize::from(self.rate) + 8);
        // The mempool takes so many of one author; some more than one, since the first registers a log.
        most.div_ceil(self.authors).max(2)
    }
}

pub(super) async fn measure(arguments: Arguments, folder: &Path, json: bool) -> Result<Measured, Failure> {
    let plan = Plan::of(arguments)?;
    std::fs::create_dir_all(folder).map_err(Failure::Runtime)?;
    super::tell(json, &format!("{} transactions of {} authors are signed", plan.each() * plan.authors, plan.authors));
    let (signing, (authors, each)) = (plan.params, (plan.authors, plan.each()));
    let prepared = blocking(move || Prepared::sign(&stage::chain(), &signing, authors, each)).await?;
    let prepared = Arc::new(prepared);
    let (all, probe) = (Arc::clone(&prepared), folder.to_owned());
    let ceiling = blocking(move || Ceiling::measure(&all, CHECKING)).await?.map_err(Failure::Runtime)?;
    let sync = blocking(move || machine::syncs(&probe, super::SYNCS)).await?.map_err(Failure::Runtime)?;
    let mut runs = Vec::new();
    for (engine, validators) in plan.networks.clone() {
        super::tell(json, &format!("a network of {validators} begins, its engine {}", engine.name()));
        let home = folder.join(format!("{}-{validators}", engine.name()));
        let accounts = prepared::accounts(&prepared);
        let mut stage = Stage::start(&home, &plan.programs, (engine, validators), plan.params, accounts).await?;
        let run = Box::pin(play(&plan, (engine, validators), &mut stage, &prepared, json)).await;
        match (run, stage.fallen()) {
            (Err(failure), Some(words)) => return Err(Failure::Bench(format!("{failure}; {words}"))),
            (run, _) => runs.push(run?),
        }
        stage.stop()?;
        // Two networks' files need not be there at once.
        let _ = std::fs::remove_dir_all(&home);
    }
    Ok(Measured { plan, ceiling, sync, runs })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Bench(error.to_string()))
}

/// Everything that is measured of one network.
async fn play(
    plan: &Plan,
    (engine, validators): (Engine, u16),
    stage: &mut Stage,
    prepared: &Arc<Prepared>,
    json: bool,
) -> Result<Run, Failure> {
    let book = Arc::new(Book::new(Arc::clone(prepared), plan.window));
    let urls = stage.urls();
    let following = crowd::Guard(tokio::spawn(follow(Door::new(&urls[0])?, Arc::clone(&book))));
    let connections = CONNECTIONS.min(plan.authors);
    let mut senders = Vec::new();
    for connection in 0..connections {
        let lanes = (connection..plan.authors).step_by(connections).collect();
        senders.push(Sender::new(Door::new(&urls[connection % urls.len()])?, Arc::clone(&book), lanes));
    }

    super::tell(json, "heights with next to nothing in them");
    let first = senders.remove(0);
    let before = Reading::take(stage, &book).await?;
    senders.insert(0, first.steady(Duration::ZERO, TRICKLE, plan.time).await);
    let light = Phase::end(stage, &book, before).await?;

    super::tell(json, &format!("{} transactions a second", plan.rate));
    let before = Reading::take(stage, &book).await?;
    let count = u32::try_from(connections).unwrap_or(u32::MAX);
    let (step, every) = (Duration::from_secs(1) / u32::from(plan.rate), Duration::from_secs(1) * count / u32::from(plan.rate));
    let mut sending = tokio::task::JoinSet::new();
    for (place, sender) in (0..).zip(senders) {
        let time = plan.time;
        sending.spawn(async move { Ok(sender.steady(step * place, every, time).await) });
    }
    let senders = crowd::all(sending).await?;
    let steady = Phase::end(stage, &book, before).await?;
    settle(&book).await;

    super::tell(json, "as many as go");
    let stop = Arc::new(AtomicBool::new(false));
    let mut sending = tokio::task::JoinSet::new();
    for sender in senders {
        let stop = Arc::clone(&stop);
        sending.spawn(async move { Ok(sender.flood(stop).await) });
    }
    tokio::time::sleep(plan.warm_up).await;
    let before = Reading::take(stage, &book).await?;
    tokio::time::sleep(plan.time).await;
    let full = Phase::end(stage, &book, before).await?;
    stop.store(true, Ordering::Relaxed);
    let senders = crowd::all(sending).await?;
    let ran_out = senders.iter().any(Sender::is_done);
    settle(&book).await;
    judge(stage, &book).await?;
    drop(following);
    let disk = reading::size(&stage.homes());
    let latencies = |phase: &Phase| book.latencies(phase.from, phase.until).0;
    let (at_rate, at_saturation) = (latencies(&steady), latencies(&full));
    Ok(Run { engine, validators, light, steady, full, at_rate, at_saturation, ran_out, disk, verdict: book.verdict() })
}

/// What one load took.
#[derive(Debug)]
struct Phase {
    from: Duration,
    until: Duration,
    used: Used,
    blocks: Vec<book::Seen>,
}

impl Phase {
    async fn end(stage: &mut Stage, book: &Book, before: Reading) -> Result<Self, Failure> {
        let after = Reading::take(stage, book).await?;
        let (from, until) = (before.at, after.at);
        Ok(Self { from, until, used: after.since(&before), blocks: book.blocks(from, until) })
    }
}

/// Reads block after block.
async fn follow(door: Door, book: Arc<Book>) {
    let mut height = 1;
    loop {
        match door.block(height).await {
            Some(names) => {
                book.block(height, &names);
                height += 1;
            }
            None => tokio::time::sleep(GLANCE).await,
        }
    }
}

/// Waits until everything that was sent is in a block, or too long.
async fn settle(book: &Book) {
    let until = tokio::time::Instant::now() + DRAINING;
    while tokio::time::Instant::now() < until {
        let (sent, committed, refused) = book.account();
        if committed + refused >= sent {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Holds the state against the blocks, and the validators against each other.
async fn judge(stage: &Stage, book: &Book) -> Result<(), Failure> {
    let nodes = stage.nodes()?;
    let (first, last) = (&nodes[0], &nodes[nodes.len() - 1]);
    // The next header proves what the last block did.
    let filled = book.blocks(Duration::ZERO, Duration::MAX).iter().rfind(|seen| seen.transactions > 0).map_or(0, |seen| seen.height);
    let until = tokio::time::Instant::now() + DRAINING;
    for node in &nodes {
        while node.status().await?.sync_info.latest_block_height.value() <= filled {
            if tokio::time::Instant::now() > until {
                return Err(Failure::Bench(format!("{} has not come to height {}", node.url(), filled + 1)));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
    let proven = first.commit(Some(Height(filled + 1))).await?.header().app_hash.clone();
    for node in &nodes {
        if node.commit(Some(Height(filled + 1))).await?.header().app_hash != proven {
            book.is_wrong(format!("{} has another state after height {filled}", node.url()));
        }
    }
    let lanes = 0..book.prepared.lanes.len();
    stream::iter(lanes).map(|lane| hold(last, book, lane)).buffer_unordered(ASKING).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Holds one author's account, and what its transactions did, against the blocks.
async fn hold(node: &rpc::Node, book: &Book, place: usize) -> Result<(), Failure> {
    let (lane, committed) = (&book.prepared.lanes[place], book.committed_of(place) as u64);
    let account = async |address| {
        let (_, entry) = node.peek(&key::account(&address)).await?;
        let account = entry.map(|entry| Account::from_bytes(&entry)).transpose();
        account.map(Option::unwrap_or_default).map_err(|error| Failure::Bench(format!("an account does not decode: {error}")))
    };
    let sequence = account(lane.author).await?.sequence;
    if sequence != committed {
        book.is_wrong(format!("{} has {committed} transactions in blocks, and the sequence {sequence}", lane.author));
    }
    let done = match lane.log {
        None => account(lane.sink).await?.balance.0,
        Some(log) => {
            let (_, entry) = node.peek(&key::log(&log)).await?;
            let record = entry.map(|entry| audit::LogRecord::from_bytes(&entry)).transpose();
            // Its registration was the first.
            record.ok().flatten().map_or(0, |record| record.sequence + 1)
        }
    };
    if done != committed {
        book.is_wrong(format!("{} has {committed} transactions in blocks, of which {done} did something", lane.author));
    }
    Ok(())
}
