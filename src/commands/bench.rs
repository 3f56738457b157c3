//! `zynk bench`: what a network does in which time and at which cost, measured against a throw-away one.
//!
//! The relay, the gateway and the chain are those that run anywhere, each a process of its own; people, devices and
//! sessions are real. Only the messages are not Signal's but random bytes: what is measured is what carries them.
//! Everything runs on one machine, the load as well. `docs/bench.md` says how to read the figures.

mod chain;
mod closed_loop;
mod crowd;
mod figures;
mod idle;
mod latency;
mod line;
mod machine;
mod network;
mod pair;
mod people;
mod report;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::figures::{Spread, Verdict, Way};
use self::network::{Door, Stage};
use self::pair::Pair;
use self::people::{DEVICES, People};
use self::report::Measured;
use super::node::until_told;
use crate::failure::Failure;
use crate::report::{Report, say};

/// Open files that are not connections of the measurement.
const OTHER_FILES: u64 = 1_024;

/// How often the disk is asked, before the latencies and after.
const SYNCS: usize = 250;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the relay: latency, throughput, memory, and whether any message was lost
    Relay(Arguments),
    /// Measure the chain: transactions a second, time to a block, cost, and whether any transaction was lost
    Chain(chain::Arguments),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk bench relay --quick\n\n\
    It starts a network of its own in the temporary folder (TMPDIR) and removes it; only an optimised build\n\
    (cargo build --release) gives figures that mean something. Exit status 0 only if no message was lost,\n\
    repeated or out of order.")]
pub(crate) struct Arguments {
    /// How many pairs talk in the closed loop [default: 200; quick: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pairs: Option<u16>,
    /// How many messages each pair keeps under way [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    window: Option<u16>,
    /// For how many seconds each load is measured [default: 10; quick: 5]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: Option<u16>,
    /// How many connections do nothing; 0 leaves that out [default: 10000; quick: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=30_000))]
    connections: Option<u16>,
    /// Small numbers: about a minute in all, for CI
    #[arg(long)]
    quick: bool,
}

/// What is done, in which measure.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pairs: usize,
    window: usize,
    time: Duration,
    warm_up: Duration,
    /// Messages whose anchoring is watched.
    anchored: usize,
    connections: usize,
    /// For how long connections do nothing.
    idle: Duration,
    syncs: usize,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let choose = |given: Option<u16>, quick: u16, full: u16| given.unwrap_or(if arguments.quick { quick } else { full });
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        Self {
            pairs: choose(arguments.pairs, 20, 200).into(),
            window: choose(arguments.window, 16, 16).into(),
            time: seconds(choose(arguments.seconds, 5, 10).into()),
            warm_up: millis(if arguments.quick { 500 } else { 2_000 }),
            anchored: if arguments.quick { 10 } else { 50 },
            connections: choose(arguments.connections, 500, 10_000).into(),
            // Longer than the time between two pings, which leave their trace in the memory.
            idle: seconds(if arguments.quick { 1 } else { 40 }),
            syncs: if arguments.quick { SYNCS / 5 } else { SYNCS },
        }
    }

    /// How many devices each person has: as many as it takes for that many connections.
    fn devices(&self) -> usize {
        self.connections.div_ceil(self.pairs * 2).clamp(1, DEVICES)
    }

    fn people(&self) -> usize {
        self.connections.div_ceil(self.devices()).max(self.pairs * 2)
    }
}

pub(crate) async fn run(command: Command, json: bool) -> Result<Report, Failure> {
    let folder = std::env::temp_dir().join(format!("zynk-bench-{}", std::process::id()));
    let measuring = async {
        match command {
            Command::Relay(arguments) => Box::pin(measure(Plan::of(&arguments), &folder, json)).await.map(|measured| measured.report()),
            Command::Chain(arguments) => Box::pin(chain::measure(arguments, &folder, json)).await.map(|measured| measured.report()),
        }
    };
    let report = tokio::select! {
        report = measuring => report,
        () = until_told(false) => Err(Failure::Bench("it was stopped".to_owned())),
    };
    // What is left of a throw-away network in the temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(&folder);
    report
}

/// Says how far it is; scripts are told the figures only.
fn tell(json: bool, text: &str) {
    if !json {
        say(false, text, &Value::Null);
    }
}

async fn measure(plan: Plan, folder: &Path, json: bool) -> Result<Measured, Failure> {
    let wanted = u64::try_from(plan.connections.max(2 * plan.pairs)).unwrap_or(u64::MAX);
    let files = machine::raise_files(2 * wanted + OTHER_FILES);
    tell(json, "a network is started: four validators, a relay, a gateway");
    let mut stage = Stage::start(folder).await?;
    let measured = Box::pin(play(plan, files, &mut stage, json)).await;
    match (measured, stage.fallen()) {
        (Err(failure), Some(words)) => Err(Failure::Bench(format!("{failure}; {words}"))),
        (Err(failure), None) => Err(failure),
        (Ok(measured), _) => stage.stop().map(|()| measured),
    }
}

async fn play(plan: Plan, files: u64, stage: &mut Stage, json: bool) -> Result<Measured, Failure> {
    let (count, devices) = (plan.people(), plan.devices());
    tell(json, &format!("{count} people with {devices} devices each register; each is a transaction"));
    let people = People::register(&stage.url(Door::Direct), &stage.node(), count, devices).await?;
    people.publish(2 * plan.pairs).await?;

    let mut verdict = Verdict::default();
    let mut pairs = meet(&people, plan.pairs).await?;
    let mut loads = Vec::new();
    for door in [Door::Direct, Door::Gateway] {
        tell(json, &format!("messages go {}", way(door)));
        // Access tokens are good for ten minutes.
        pairs = renew(&people, pairs).await?;
        let url = stage.url(door);
        let rest = pairs.split_off(pairs.len().min(latency::PAIRS));
        let before = syncs(stage, plan).await?;
        let latency;
        (pairs, latency) = latency::measure(&url, pairs, plan.time, &mut verdict).await?;
        let sync = [before, syncs(stage, plan).await?].into_iter().collect();
        let (pair, anchored) = latency::anchored((&url, &stage.chain()?), pairs.remove(0), plan.anchored, &mut verdict).await?;
        pairs.extend([pair].into_iter().chain(rest));
        let throughput;
        (pairs, throughput) = closed_loop::measure((stage, &url), pairs, plan.window, (plan.warm_up, plan.time), &mut verdict).await?;
        loads.push((sync, latency, anchored, throughput));
    }

    let mut idle = [None, None];
    if plan.connections > 0 {
        for (idle, door) in idle.iter_mut().zip([Door::Direct, Door::Gateway]) {
            let connections = plan.connections.min(bearable(files, door));
            tell(json, &format!("{connections} devices connect {} and do nothing", way(door)));
            let mut guests = people.sign_in(count, devices).await?;
            guests.truncate(connections);
            stage.restart_services().await?;
            *idle = Some(idle::measure(stage, door, guests, plan.idle).await?);
        }
    }
    let mut ways =
        loads.into_iter().zip(idle).map(|((sync, latency, anchored, throughput), idle)| Way { sync, latency, anchored, throughput, idle });
    let (Some(direct), Some(gateway)) = (ways.next(), ways.next()) else { unreachable!("there are two doors") };
    Ok(Measured { plan, files, direct, gateway, verdict })
}

/// The machine's own time for a write, at this moment: disks have their moods.
async fn syncs(stage: &Stage, plan: Plan) -> Result<Spread, Failure> {
    let data = stage.data();
    let measured = tokio::task::spawn_blocking(move || machine::syncs(&data, plan.syncs)).await;
    measured.map_err(|error| Failure::Bench(error.to_string()))?.map_err(Failure::Runtime)
}

const fn way(door: Door) -> &'static str {
    match door {
        Door::Direct => "straight to the relay",
        Door::Gateway => "through the gateway",
    }
}

/// How many connections fit into the files that a process may have open: the gateway has two for each.
fn bearable(files: u64, door: Door) -> usize {
    let each = if door == Door::Gateway { 2 } else { 1 };
    usize::try_from(files.saturating_sub(OTHER_FILES) / each).unwrap_or(usize::MAX)
}

/// Makes pairs of the first people.
async fn meet(people: &People, pairs: usize) -> Result<Vec<Pair>, Failure> {
    let mut guests = people.sign_in(2 * pairs, 1).await?.into_iter();
    Ok(std::iter::from_fn(|| Some(Pair::new(guests.next()?, guests.next()?))).collect())
}

/// The same pairs, signed in anew.
async fn renew(people: &People, pairs: Vec<Pair>) -> Result<Vec<Pair>, Failure> {
    let guests = people.sign_in(2 * pairs.len(), 1).await?;
    let renewed = pairs.into_iter().map(|pair| {
        let find = |guest: &people::Guest| guests.iter().find(|other| other.address == guest.address).unwrap_or(guest).clone();
        let (from, to) = (find(&pair.from), find(&pair.to));
        pair.renewed(from, to)
    });
    Ok(renewed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_people_for_pairs_and_connections() {
        let check = |pairs: usize, connections: usize, people: usize, devices: usize| {
            let arguments = Arguments { pairs: None, window: None, seconds: None, connections: None, quick: true };
            let plan = Plan { pairs, connections, ..Plan::of(&arguments) };
            assert_eq!((plan.people(), plan.devices()), (people, devices), "{pairs} pairs, {connections} connections");
            assert!(people * devices >= connections);
        };
        check(200, 10_000, 625, 16);
        check(20, 500, 40, 13);
        check(4, 50, 8, 7);
        check(4, 0, 8, 1);
        check(1, 1, 2, 1);
    }

    #[test]
    fn the_gateway_bears_half_as_many() {
        assert_eq!([Door::Direct, Door::Gateway].map(|door| bearable(21_024, door)), [20_000, 10_000]);
        assert_eq!(bearable(10, Door::Direct), 0);
    }
}
