//! State sync: a new node begins with a snapshot of other nodes instead of executing every block.
//!
//! The servers that the operator names are asked for two things. As light clients ask: for headers, which are verified from
//! the genesis or from a block that the operator vouches for, through one server with the others as witnesses. And for
//! chunks, from all that offer the same snapshot at once; each is checked before it is kept, and who sends another one is
//! named and asked no more. What was fetched survives the process. The database appears whole, by a rename, when all of it
//! was held against the verified headers ([`crate::snapshot::restore`]).

mod fetch;
mod room;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use genesis::Genesis;
use light::{Trust, Verified};
use rpc::{Chain, Node};
use tokio::time::{Instant, sleep};
use types::{Hash, Height};

use crate::config::Home;
use crate::snapshot::restore::{self, Basis};
use crate::snapshot::{MANIFEST, MAX_MANIFEST, Manifest, SnapshotError, chunk_name, sync_folder, write_synced};
use crate::state::Sync;
use room::{RESERVE, Room};
use server::{Offer, Servers};

/// How often the servers are asked anew where no snapshot could be had: the last one may have made place for another.
const ROUNDS: usize = 3;

/// Between two of these rounds.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the header after a snapshot is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why no state could be synced. [`SyncError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No server has a snapshot that holds.
    #[error("no snapshot could be had from any server:{}", list(.0))]
    Nothing(Vec<String>),
    /// The genesis is too old to begin with.
    #[error(
        "the genesis of this chain is older than the trusting period: name a block that you know from elsewhere in state.sync.trust_height and state.sync.trust_hash"
    )]
    TooOld,
    /// Servers show two histories that are both signed.
    #[error("the servers show two histories: {0}")]
    Attack(rpc::Error),
    /// This machine failed, not a server.
    #[error(transparent)]
    Ours(SnapshotError),
}

impl SyncError {
    /// The stable number of the error: `docs/spec/snapshot.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Nothing(_) => 9121,
            Self::TooOld => 9122,
            Self::Attack(_) => 9123,
            Self::Ours(error) => error.code(),
        }
    }
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

/// Whether a node of this home is to sync its state: it has no database yet.
#[must_use]
pub fn is_due(home: &Home) -> bool {
    !home.database().exists()
}

/// Removes what was fetched, once there is a database: a crash may have come between.
pub fn clear(home: &Home) {
    if !is_due(home) && home.statesync().exists() {
        // It is of no use, and in nobody's way.
        let _ = fs::remove_dir_all(home.statesync());
    }
}

/// Makes the database of a new node out of a snapshot; the height of its state.
///
/// # Errors
/// [`SyncError`]. What was fetched stays for the next try.
pub async fn run(home: &Home, genesis: &Arc<Genesis>, plan: &Sync) -> Result<u64, SyncError> {
    let mut servers = Servers::new(&plan.servers).map_err(|reason| SyncError::Nothing(vec![reason]))?;
    let folder = home.statesync();
    fs::create_dir_all(&folder).map_err(|source| SyncError::Ours(SnapshotError::Io { path: folder.clone(), source }))?;
    // What a crash left half built takes room, and is built anew.
    let _ = fs::remove_dir_all(beside(home));
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(PAUSE).await;
        }
        for offer in ranked(servers.offers(genesis).await, &folder) {
            match take(home, genesis, plan, &mut servers, &offer, &folder).await {
                Ok(()) => {
                    // What is left of it would be taken up by nobody.
                    let _ = fs::remove_dir_all(&folder);
                    return Ok(offer.height);
                }
                Err(failed) => {
                    let reason = match failed {
                        Failed::Whole(error) => return Err(error),
                        Failed::Offer(reason) => reason,
                        Failed::False(error) => error.to_string(),
                    };
                    tracing::warn!(height = offer.height, manifest = %offer.manifest, %reason, "a snapshot is refused");
                    servers.note(format!("the snapshot of height {} by {}: {reason}", offer.height, servers.names(&offer.by)));
                }
            }
        }
    }
    Err(SyncError::Nothing(servers.into_notes()))
}

/// Why a snapshot is not taken.
enum Failed {
    /// Another one may do.
    Offer(String),
    /// It is not what its manifest says, or not the chain's: all who offer it lie.
    False(SnapshotError),
    /// No other one will.
    Whole(SyncError),
}

impl From<SnapshotError> for Failed {
    fn from(error: SnapshotError) -> Self {
        match error {
            // Who says that it is this large may lie: another one may be smaller.
            SnapshotError::Room { .. } => Self::Offer(error.to_string()),
            error if error.is_ours() => Self::Whole(SyncError::Ours(error)),
            error => Self::False(error),
        }
    }
}

/// First what more than one server offers: what a manifest says of its size nobody can check before all of it is here, and one
/// that lies must not fill the disk while others agree. Then what was begun, then the highest, then what most servers offer.
fn ranked(mut offers: Vec<Offer>, folder: &Path) -> Vec<Offer> {
    let begun = |offer: &Offer| folder.join(offer.manifest.to_string()).exists();
    offers.sort_by_key(|offer| std::cmp::Reverse((offer.by.len() > 1, begun(offer), offer.height, offer.by.len())));
    offers
}

async fn take(home: &Home, genesis: &Arc<Genesis>, plan: &Sync, servers: &mut Servers, offer: &Offer, folder: &Path) -> Result<(), Failed> {
    let basis = Box::pin(verify(genesis, plan, servers, offer)).await?;
    let begun = folder.join(offer.manifest.to_string());
    let taken = fetch_and_build(home, genesis, servers, offer, folder, basis).await;
    if let Err(Failed::False(error)) = &taken {
        servers.drop_all(&offer.by, error);
        let _ = fs::remove_dir_all(begun);
    }
    taken
}

async fn fetch_and_build(
    home: &Home,
    genesis: &Arc<Genesis>,
    servers: &mut Servers,
    offer: &Offer,
    folder: &Path,
    basis: Basis,
) -> Result<(), Failed> {
    let begun = folder.join(offer.manifest.to_string());
    let (manifest, bytes) = manifest(servers, offer, &begun).await?;
    restore::check(&manifest, &basis, genesis)?;
    let room = Room::of(folder, RESERVE);
    if !begun.exists() {
        // What was begun makes way only for what fits then.
        room.check(room::needed(&manifest, 0, manifest.chunks.len()).saturating_sub(room::taken(folder)))?;
    }
    begin(folder, offer.manifest, &bytes)?;
    let manifest = Arc::new(manifest);
    tracing::info!(height = manifest.height, chunks = manifest.chunks.len(), bytes = manifest.bytes, servers = %servers.names(&offer.by), "fetching a snapshot");
    fetch::chunks(servers, offer, &manifest, &begun, &room).await?;
    tracing::info!(height = manifest.height, "all chunks are here: building the state");
    let (home, genesis) = (home.clone(), Arc::clone(genesis));
    let built = tokio::task::spawn_blocking(move || build(&home, &genesis, &manifest, &basis, &begun, &room)).await;
    match built.map_err(|error| SnapshotError::Database(error.to_string())).and_then(|built| built) {
        // All of it is here and holds: nothing else is begun in its place, and it is built when there is room.
        Err(error @ SnapshotError::Room { .. }) => Err(Failed::Whole(SyncError::Ours(error))),
        built => Ok(built?),
    }
}

/// The manifest of an offer and its bytes, from the disk or from one of those who offer it.
async fn manifest(servers: &mut Servers, offer: &Offer, begun: &Path) -> Result<(Manifest, Vec<u8>), Failed> {
    let known = fs::read(begun.join(MANIFEST)).ok().filter(|bytes| Hash::sha256(&[bytes]) == offer.manifest);
    if let Some((manifest, bytes)) = known.and_then(|bytes| Some((Manifest::parse(&bytes).ok()?, bytes))) {
        return Ok((manifest, bytes));
    }
    for place in offer.by.clone() {
        let asked = servers.get(place, &format!("snapshots/{}", offer.height), MAX_MANIFEST).await;
        let read = match asked {
            Ok(bytes) if Hash::sha256(&[&bytes]) != offer.manifest => Err("sent another manifest than it offers".to_owned()),
            Ok(bytes) => Manifest::parse(&bytes).map(|manifest| (manifest, bytes)).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match read {
            Ok(read) => return Ok(read),
            Err(reason) => servers.drop_one(place, &reason),
        }
    }
    Err(Failed::Offer("nobody sends its manifest".to_owned()))
}

/// Begins with a snapshot, or goes on with it. What was fetched of any other is removed: there is one at a time on the disk.
fn begin(folder: &Path, name: Hash, manifest: &[u8]) -> Result<(), SnapshotError> {
    let begun = folder.join(name.to_string());
    let all = fs::read_dir(folder).map_err(SnapshotError::io(folder))?;
    for other in all.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir() && *path != begun) {
        fs::remove_dir_all(&other).map_err(SnapshotError::io(&other))?;
    }
    fs::create_dir_all(&begun).map_err(SnapshotError::io(&begun))?;
    write_synced(&begun.join(MANIFEST), manifest)
}

/// Builds the database beside its place, and moves it there.
fn build(home: &Home, genesis: &Genesis, manifest: &Manifest, basis: &Basis, chunks: &Path, room: &Room) -> Result<(), SnapshotError> {
    let beside = beside(home);
    // What a crash left is built anew: the chunks are all here.
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(SnapshotError::io(&beside))?;
    }
    consensus::fault::point("statesync.build.before");
    let read = |number: usize| {
        // The database takes about what was worked out, and others write to the same disk.
        room.check(0)?;
        let path = chunks.join(chunk_name(number));
        fs::read(&path).map_err(|source| SnapshotError::Io { path, source })
    };
    let built = restore::restore(manifest, read, basis, genesis, &beside);
    if built.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    built?;
    consensus::fault::point("statesync.publish.before");
    let place = home.database();
    fs::rename(&beside, &place).map_err(SnapshotError::io(&place))?;
    sync_folder(&home.data())?;
    consensus::fault::point("statesync.publish.after");
    Ok(())
}

fn beside(home: &Home) -> PathBuf {
    home.data().join("db.building")
}

/// Verifies the headers of an offer's height and the one after it, through one of those who offer it, with all others as
/// witnesses. Who does not offer it may not be there yet, and is not waited for.
async fn verify(genesis: &Genesis, plan: &Sync, servers: &mut Servers, offer: &Offer) -> Result<Basis, Failed> {
    let mut reasons = Vec::new();
    for place in offer.by.clone() {
        if !servers.is_alive(place) {
            continue;
        }
        match headers(genesis, plan, servers, place, Height(offer.height)).await {
            Ok(basis) => return Ok(basis),
            Err(Doubt::TooOld) => return Err(Failed::Whole(SyncError::TooOld)),
            Err(Doubt::Rpc(error @ rpc::Error::Attack { .. })) => return Err(Failed::Whole(SyncError::Attack(error))),
            // Its headers do not hold: it is asked for nothing more.
            Err(Doubt::Rpc(error @ (rpc::Error::Unproven(_) | rpc::Error::Mismatch { .. }))) => {
                servers.drop_one(place, &error);
                reasons.push(error.to_string());
            }
            Err(Doubt::Rpc(error)) => {
                // It has the state, but not the header after it: one that offers heights that never come must not go on for ever.
                servers.strike(place, &error.to_string());
                reasons.push(format!("{}: {error}", servers.url(place)));
            }
            Err(Doubt::Alone(doubts)) => reasons.push(format!(
                "none of the other servers confirms the headers that {} shows, and one alone is not believed: name another, of somebody else, in state.sync.servers ({doubts})",
                servers.url(place)
            )),
        }
    }
    Err(Failed::Offer(format!("its headers could not be verified: {}", reasons.join("; "))))
}

/// Why a server's headers are not believed.
enum Doubt {
    Rpc(rpc::Error),
    TooOld,
    /// Nobody else has its headers; what each of the others did, in words.
    Alone(String),
}

impl From<rpc::Error> for Doubt {
    fn from(error: rpc::Error) -> Self {
        Self::Rpc(error)
    }
}

async fn headers(genesis: &Genesis, plan: &Sync, servers: &Servers, place: usize, height: Height) -> Result<Basis, Doubt> {
    let url = servers.url(place);
    let node = Node::new(&url)?;
    let trust = match (plan.trust_height, plan.trust_hash) {
        (Some(trusted), Some(hash)) => Trust::vouched(trusted, hash, &node.light_block(trusted).await?).map_err(rpc::Error::from)?,
        _ => genesis.trust(),
    };
    // Also those that are asked for nothing more: a witness is not believed, it only has the same headers or others. Where one of two
    // servers lies about its snapshots, the other's headers can so be confirmed.
    let others: Vec<String> = (0..servers.count()).filter(|other| *other != place).map(|other| servers.url(other)).collect();
    let mut chain = Chain::connect(&url, trust)?.watched_by(&others)?;
    wait(&node, height.next()).await?;
    let last = chain.header(height).await?;
    agreed(&chain)?;
    let next: Verified = chain.header(height.next()).await?;
    agreed(&chain)?;
    let after = node.validators(height.next().next()).await?;
    if next.header().next_validators_hash != tendermint::Hash::Sha256(after.hash().0) {
        return Err(rpc::Error::Mismatch { query: "validators", fault: "not those that the header names" }.into());
    }
    Ok(Basis { last: last.signed_header().clone(), next: next.header().clone(), after })
}

fn agreed(chain: &Chain) -> Result<(), Doubt> {
    if chain.is_beyond_period() {
        return Err(Doubt::TooOld);
    }
    let testimony = chain.testimony();
    if testimony.agreed > 0 {
        return Ok(());
    }
    let doubts = testimony.doubts.iter().map(|doubt| format!("{}: {}", doubt.witness, doubt.reason));
    Err(Doubt::Alone(doubts.collect::<Vec<_>>().join("; ")))
}

/// Waits until a node has a block of this height: it comes at the latest with the next heartbeat.
async fn wait(node: &Node, height: Height) -> Result<(), rpc::Error> {
    let until = Instant::now() + PATIENCE;
    while node.status().await?.sync_info.latest_block_height.value() < height.0 {
        if Instant::now() > until {
            return Err(rpc::Error::Timeout { what: "the header after the snapshot", after: PATIENCE });
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The offers of several servers as one for each manifest.
fn group(offers: impl IntoIterator<Item = (usize, u64, Hash, usize)>) -> Vec<Offer> {
    let mut grouped: BTreeMap<(u64, Hash), Offer> = BTreeMap::new();
    for (place, height, manifest, chunks) in offers {
        let offer = grouped.entry((height, manifest)).or_insert_with(|| Offer { height, manifest, chunks, by: Vec::new() });
        offer.by.push(place);
    }
    grouped.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_offer_comes_first_then_what_was_begun_then_the_highest() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let offer = |name: u8, height: u64, by: usize| Offer { height, manifest: Hash([name; 32]), chunks: 1, by: (0..by).collect() };
        let order = |offers: &[Offer]| ranked(offers.to_vec(), folder.path()).iter().map(|offer| offer.manifest.0[0]).collect::<Vec<_>>();
        let offers = [offer(1, 90, 1), offer(2, 20, 2), offer(3, 30, 2), offer(4, 30, 3), offer(5, 95, 1)];
        assert_eq!(order(&offers), [4, 3, 2, 5, 1]);
        for begun in [1, 2] {
            fs::create_dir(folder.path().join(Hash([begun; 32]).to_string())).expect("made");
        }
        assert_eq!(order(&offers), [2, 4, 3, 1, 5], "one alone does not come before several for having been begun");
    }

    #[test]
    fn one_snapshot_at_a_time_is_on_the_disk() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let here = || {
            let mut names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
            names.sort();
            names
        };
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        begin(folder.path(), one, b"{}").expect("begun");
        let chunk = folder.path().join(one.to_string()).join(chunk_name(0));
        fs::write(&chunk, b"a chunk").expect("written");
        begin(folder.path(), one, b"{}").expect("gone on with");
        assert!(chunk.exists(), "what is here of it stays");
        begin(folder.path(), other, b"{}").expect("begun");
        assert_eq!(here(), [other.to_string().as_str()], "what was fetched of another is gone");
    }
}
