//! Fetching chunks, several at once, from all who offer them.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::Failed;
use super::room::{self, Room};
use super::server::{Offer, Servers, get};
use crate::snapshot::{MAX_CHUNK, Manifest, SnapshotError, chunk_name, sync_folder, write_synced};

/// So many chunks are on their way at once.
const AT_ONCE: usize = 8;

/// Fetches the chunks that are not in `folder` yet, if the disk has room for all that its manifest says. Each is checked before it
/// is kept.
///
/// # Errors
/// [`Failed::False`] where the chunks are not as long as the manifest says.
pub(super) async fn chunks(
    servers: &mut Servers,
    offer: &Offer,
    manifest: &Arc<Manifest>,
    folder: &Path,
    room: &Room,
) -> Result<(), Failed> {
    let length_here = |number: usize| {
        let kept = fs::read(folder.join(chunk_name(number)));
        kept.ok().filter(|bytes| manifest.check_chunk(number, bytes).is_ok()).map(|bytes| bytes.len() as u64)
    };
    let mut here = 0u64;
    let mut missing = VecDeque::new();
    for number in 0..manifest.chunks.len() {
        match length_here(number) {
            Some(length) => here += length,
            None => missing.push_back(number),
        }
    }
    room.check(room::needed(manifest, here, missing.len()))?;
    if missing.len() < manifest.chunks.len() {
        tracing::info!(here = manifest.chunks.len() - missing.len(), missing = missing.len(), "going on with a snapshot that was begun");
    }
    let mut tasks = JoinSet::new();
    let mut turn = 0;
    loop {
        let alive: Vec<usize> = offer.by.iter().copied().filter(|place| servers.is_alive(*place)).collect();
        while tasks.len() < AT_ONCE
            && !alive.is_empty()
            && let Some(number) = missing.pop_front()
        {
            let place = alive[turn % alive.len()];
            turn += 1;
            let (client, url) = (servers.client(), servers.url(place));
            let path = format!("snapshots/{}/{number}", offer.height);
            tasks.spawn(async move { (place, number, get(&client, &url, &path, MAX_CHUNK).await) });
        }
        let Some(done) = tasks.join_next().await else {
            if missing.is_empty() {
                break;
            }
            return Err(Failed::Offer("nobody is left who sends its chunks".to_owned()));
        };
        let (place, number, got) = done.map_err(|error| SnapshotError::Database(error.to_string()))?;
        match got {
            Ok(bytes) => match manifest.check_chunk(number, &bytes) {
                Ok(()) => {
                    here += bytes.len() as u64;
                    if here > manifest.bytes {
                        return Err(Failed::False(other_length(manifest)));
                    }
                    keep(folder, number, &bytes)?;
                }
                Err(error) => {
                    servers.drop_one(place, &error);
                    missing.push_front(number);
                }
            },
            Err(reason) => {
                servers.strike(place, &reason);
                missing.push_front(number);
            }
        }
    }
    if here != manifest.bytes {
        return Err(Failed::False(other_length(manifest)));
    }
    Ok(sync_folder(folder)?)
}

fn other_length(manifest: &Manifest) -> SnapshotError {
    SnapshotError::Manifest(format!("its chunks are not {} bytes together, as it says", manifest.bytes))
}

/// Keeps a chunk, so that a crash leaves it whole or not at all.
fn keep(folder: &Path, number: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
    let place = folder.join(chunk_name(number));
    let beside = place.with_extension("new");
    write_synced(&beside, bytes)?;
    fs::rename(&beside, &place).map_err(SnapshotError::io(&place))?;
    consensus::fault::point("statesync.chunk");
    Ok(())
}

#[cfg(test)]
mod tests;
