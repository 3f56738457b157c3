//! What a connection costs that does nothing: memory of the relay, and of the gateway where it is in the way.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::crowd::AT_ONCE;
use super::figures::{Growth, Idle};
use super::line::Line;
use super::machine;
use super::network::{Door, Stage};
use super::people::Guest;
use crate::failure::Failure;

/// What the first ones make the process set up counts for none: one in so many is opened before the first look.
const FIRST: usize = 20;

/// How long the memory may take to come to rest.
const RESTING: Duration = Duration::from_secs(2);

/// Opens a session for each guest and holds all of them for `time`, with services that have just been started.
pub(super) async fn measure(stage: &Stage, door: Door, guests: Vec<Guest>, time: Duration) -> Result<Idle, Failure> {
    let url = stage.url(door);
    let (connections, first) = (guests.len(), (guests.len() / FIRST).max(1));
    let half = first + (connections - first) / 2;
    let mut held = JoinSet::new();
    let began = Instant::now();
    open(&url, &guests[..first], &mut held).await?;
    let before = Memory::of(stage)?;
    open(&url, &guests[first..half], &mut held).await?;
    sleep(RESTING).await;
    let middle = Memory::of(stage)?;
    open(&url, &guests[half..], &mut held).await?;
    let opened_in = began.elapsed().saturating_sub(RESTING);
    sleep(RESTING).await;
    let (cpu, since) = (machine::cpu(stage.relay()).map_err(Failure::Runtime)?, Instant::now());
    sleep(time).await;
    // What the first pings left behind is in it.
    let after = Memory::of(stage)?;
    let relay_cpu = machine::cpu(stage.relay()).map_err(Failure::Runtime)?.saturating_sub(cpu);
    if let Some(ended) = held.try_join_next() {
        let why = ended.map_or_else(|error| error.to_string(), |failure| failure.to_string());
        return Err(Failure::Bench(format!("a connection that does nothing has ended: {why}")));
    }
    let growth = |of: fn(&Memory) -> u64| Growth {
        each: share(of(&after).saturating_sub(of(&before)), connections - first),
        later: share(of(&after).saturating_sub(of(&middle)), connections - half),
        resident: of(&after),
    };
    Ok(Idle {
        connections,
        first,
        relay: growth(|memory| memory.relay),
        gateway: (door == Door::Gateway).then(|| growth(|memory| memory.gateway)),
        opened_in,
        held: since.elapsed(),
        relay_cpu,
    })
}

/// Opens sessions; each is kept by a task that reads, so that pings are answered.
async fn open(url: &str, guests: &[Guest], held: &mut JoinSet<Failure>) -> Result<(), Failure> {
    let mut opening = stream::iter(guests).map(|guest| Line::open(url, guest, 0)).buffer_unordered(AT_ONCE);
    while let Some(mut line) = opening.try_next().await? {
        held.spawn(async move {
            loop {
                if let Err(failure) = line.hear().await {
                    return failure;
                }
            }
        });
    }
    Ok(())
}

fn share(bytes: u64, connections: usize) -> u64 {
    bytes / u64::try_from(connections.max(1)).unwrap_or(u64::MAX)
}

struct Memory {
    relay: u64,
    gateway: u64,
}

impl Memory {
    fn of(stage: &Stage) -> Result<Self, Failure> {
        let resident = |process| machine::resident(process).map_err(Failure::Runtime);
        Ok(Self { relay: resident(stage.relay())?, gateway: resident(stage.gateway())? })
    }
}
