//! State sync: a new node begins with a snapshot of other nodes instead of executing every block.
//!
//! The servers that the operator names are asked for two things. As light clients ask: for headers, which are verified from
//! the genesis or from a block that the operator vouches for, through one server with the others as witnesses. And for
//! chunks, from all that offer the same snapshot at once; each is checked before it is kept, and who sends another one is
//! named and asked no more. What was fetched survives the process. The database appears whole, by a rename, when all of it
//! was held against the verified headers ([`crate::snapshot::restore`]).

mod fetch;
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
                Err(Failed::Whole(error)) => return Err(error),
                Err(Failed::Offer(reason)) => {
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
    /// No other one will.
    Whole(SyncError),
}

impl From<SnapshotError> for Failed {
    fn from(error: SnapshotError) -> Self {
        if error.is_ours() { Self::Whole(SyncError::Ours(error)) } else { Self::Offer(error.to_string()) }
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
    let folder = folder.join(offer.manifest.to_string());
    let manifest = manifest(servers, offer, &folder).await?;
    if let Err(error) = restore::check(&manifest, &basis, genesis) {
        servers.drop_all(&offer.by, &error);
        return Err(error.into());
    }
    let manifest = Arc::new(manifest);
    tracing::info!(height = manifest.height, chunks = manifest.chunks.len(), bytes = manifest.bytes, servers = %servers.names(&offer.by), "fetching a snapshot");
    fetch::chunks(servers, offer, &manifest, &folder).await?;
    tracing::info!(height = manifest.height, "all chunks are here: building the state");
    let (home, genesis, of) = (home.clone(), Arc::clone(genesis), Arc::clone(&manifest));
    let chunks = folder.clone();
    let built = tokio::task::spawn_blocking(move || build(&home, &genesis, &of, &basis, &chunks)).await;
    let built = built.map_err(|error| SnapshotError::Database(error.to_string())).and_then(|built| built);
    if let Err(error) = &built
        && !error.is_ours()
    {
        // It was wrong as its manifest names it: all who offer it are.
        servers.drop_all(&offer.by, error);
        let _ = fs::remove_dir_all(&folder);
    }
    Ok(built?)
}

/// The manifest of an offer, from the disk or from one of those who offer it.
async fn manifest(servers: &mut Servers, offer: &Offer, folder: &Path) -> Result<Manifest, Failed> {
    let kept = folder.join(MANIFEST);
    let known = fs::read(&kept).ok().filter(|bytes| Hash::sha256(&[bytes]) == offer.manifest);
    if let Some(manifest) = known.and_then(|bytes| Manifest::parse(&bytes).ok()) {
        return Ok(manifest);
    }
    for place in offer.by.clone() {
        let asked = servers.get(place, &format!("snapshots/{}", offer.height), MAX_MANIFEST).await;
        let read = match asked {
            Ok(bytes) if Hash::sha256(&[&bytes]) != offer.manifest => Err("sent another manifest than it offers".to_owned()),
            Ok(bytes) => Manifest::parse(&bytes).map(|manifest| (manifest, bytes)).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match read {
            Ok((manifest, bytes)) => {
                fs::create_dir_all(folder).map_err(SnapshotError::io(folder))?;
                write_synced(&kept, &bytes)?;
                return Ok(manifest);
            }
            Err(reason) => servers.drop_one(place, &reason),
        }
    }
    Err(Failed::Offer("nobody sends its manifest".to_owned()))
}

/// Builds the database beside its place, and moves it there.
fn build(home: &Home, genesis: &Genesis, manifest: &Manifest, basis: &Basis, chunks: &Path) -> Result<(), SnapshotError> {
    let beside = beside(home);
    // What a crash left is built anew: the chunks are all here.
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(SnapshotError::io(&beside))?;
    }
    consensus::fault::point("statesync.build.before");
    let read = |number: usize| {
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
            Err(Doubt::Alone) => reasons.push(format!("no other server has the headers that {} shows", servers.url(place))),
        }
    }
    Err(Failed::Offer(format!("its headers could not be verified: {}", reasons.join("; "))))
}

/// Why a server's headers are not believed.
enum Doubt {
    Rpc(rpc::Error),
    TooOld,
    Alone,
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
    let others: Vec<String> = servers.alive().into_iter().filter(|other| *other != place).map(|other| servers.url(other)).collect();
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
    if testimony.agreed == 0 { Err(Doubt::Alone) } else { Ok(()) }
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
}
