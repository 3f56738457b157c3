//! Pruning: blocks older than the kept window go, in small steps beside the committing of new ones.
//!
//! What must outlive its block stays without its transactions ([`crate::store::light`]): the headers, evidence and commits
//! of every height young enough for evidence, and those of every hand-off, which light clients and bundles walk from the
//! genesis. Validator sets stay where they change. The newest state, the log of all anchors and its index are not of a height
//! and stay whole; what only older versions of the state's tree have goes.

use consensus::ChainState;
use consensus::evidence::has_expired;
use tendermint::block::Height;
use types::Hash;

use crate::store::light::{EARLIEST, HEADERS, header, light, noted};
use crate::store::{Column, Store, at};
use crate::tree;

/// The fewest blocks that are kept: evidence, undoing and peers that are a little behind need the last ones.
pub const MIN_KEPT: u64 = 10;

/// At most this many heights go in one write.
const STEP: u64 = 32;

/// Drops what is below the newest `keep` blocks, as far as one step goes; whether there is more to drop.
///
/// # Errors
/// When it cannot be written. Nothing is half dropped: a step is one write.
pub fn step(store: &Store, chain: &ChainState, keep: u64) -> anyhow::Result<bool> {
    let initial = chain.initial_height.value();
    let first = store.earliest(chain.initial_height).value();
    let end = (chain.tip().value() + 1).saturating_sub(keep.max(MIN_KEPT)).min(first + STEP);
    if first < end {
        strip(store, initial, first..end)?;
    }
    let swept = sweep(store, chain)?;
    // Versions of the tree that no kept height has.
    let oldest = store.tree_version_at(store.earliest(chain.initial_height).value() - 1);
    let more = oldest.map_or(Ok(false), |oldest| tree::prune(store, oldest))?;
    Ok(first < end || swept || more)
}

/// Takes the blocks of these heights out, and leaves what stays of them.
fn strip(store: &Store, initial: u64, heights: std::ops::Range<u64>) -> Result<(), rocksdb::Error> {
    let mut batch = store.batch();
    for height in heights.clone().filter_map(|height| Height::try_from(height).ok()) {
        let key = at(height);
        if let Some((block, _)) = store.block(height) {
            if let Some(stays) = light(store, height) {
                batch.put_light(&stays);
            }
            batch.delete(Column::Hashes, block.header.hash().as_bytes());
            for transaction in &block.data {
                let hash = Hash::sha256(&[transaction]);
                if store.transaction(&hash).is_some_and(|(of, _)| of == height) {
                    batch.delete(Column::Transactions, &hash.0);
                }
            }
        }
        batch.delete(Column::Blocks, &key);
        batch.delete(Column::Outcomes, &key);
        let changed = height.value() == initial || store.get(Column::Handoffs, &(height.value() - 1).to_be_bytes()).is_some();
        if !changed {
            batch.delete(Column::Sets, &key);
        }
    }
    // The state after the height before the first kept block is the oldest that one of the kept headers proves.
    let oldest = heights.end - 1;
    for height in heights.start.saturating_sub(1)..oldest {
        batch.delete(Column::Versions, &height.to_be_bytes());
    }
    batch.put_noted(EARLIEST, heights.end);
    consensus::fault::point("prune.before");
    batch.write_later()?;
    consensus::fault::point("prune.after");
    Ok(())
}

/// Drops the headers for which evidence has expired, except those of hand-offs; whether there is more to drop.
fn sweep(store: &Store, chain: &ChainState) -> Result<bool, rocksdb::Error> {
    let first = noted(store, HEADERS).unwrap_or(chain.initial_height.value());
    let earliest = store.earliest(chain.initial_height).value();
    let expired = |height: u64| {
        let height = Height::try_from(height).ok();
        height.and_then(|height| header(store, height)).is_some_and(|header| has_expired(chain, header.height, header.time))
    };
    let mut batch = store.batch();
    let mut next = first;
    // One that has expired stays: it shows that nothing younger is missing.
    while next + 1 < earliest && next < first + STEP && expired(next + 1) {
        if store.get(Column::Handoffs, &next.to_be_bytes()).is_none() {
            batch.delete(Column::Light, &next.to_be_bytes());
        }
        next += 1;
    }
    if next == first {
        return Ok(false);
    }
    batch.put_noted(HEADERS, next);
    batch.write_later()?;
    Ok(true)
}

#[cfg(test)]
mod tests;
