//! What a node's home holds, read without starting it and without changing it: `zynk node inspect`.
//!
//! It reads beside a running node too; what it then says of the database is of a moment ago.

use std::fs;

use consensus::guard::Guard;
use genesis::Genesis;
use serde::Serialize;
use tendermint::block::Height;
use types::Hash;

use crate::config::Home;
use crate::snapshot::Listed;
use crate::store::light::{EARLIEST, HEADERS, noted};
use crate::store::{OpenError, Store};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The chain.
    pub chain: String,
    /// The genesis' hash.
    pub genesis: Hash,
    /// The database's format.
    pub format: u64,
    /// The last block's height; 0 before the first.
    pub height: u64,
    /// The lowest height whose block is kept whole.
    pub earliest_block: u64,
    /// The height from which on every header is kept.
    pub earliest_header: u64,
    /// The hash of the last block; none before the first.
    pub block: Option<String>,
    /// The time of the last block.
    pub time: String,
    /// The application hash after it.
    pub app_hash: String,
    /// The application's version.
    pub app_version: u64,
    /// How many validators the next height has.
    pub validators: usize,
    /// The tree's newest version.
    pub tree_version: u64,
    /// How many blocks can be undone.
    pub undoable: u64,
    /// What the columns take on disk, in bytes, by name.
    pub columns: Vec<(&'static str, u64)>,
    /// The snapshots.
    pub snapshots: Vec<Listed>,
    /// The height that the signing guard has come to; none without one.
    pub signed: Option<u64>,
    /// How long the engine's log is, in bytes; none without one.
    pub wal: Option<u64>,
    /// How much of a snapshot was fetched by a sync of the state that is not done, in bytes.
    pub syncing: Option<u64>,
}

/// Reads the home.
///
/// # Errors
/// [`OpenError`] for a database that cannot be read; a guard or snapshot that cannot is left out.
pub fn inspect(home: &Home, genesis: &Genesis) -> Result<Findings, OpenError> {
    let store = Store::open_to_read(&home.database(), genesis.hash())?;
    let chain = store.chain_state().ok_or_else(|| OpenError::Empty { path: home.database().display().to_string() })?;
    let tip = chain.tip().value();
    let initial = chain.initial_height.value();
    let undoable = (0..=tip).rev().map_while(|height| store.touched(Height::try_from(height).ok()?)).count();
    let earliest = noted(&store, EARLIEST);
    Ok(Findings {
        chain: chain.chain_id.to_string(),
        genesis: genesis.hash(),
        format: store.format(),
        height: tip,
        earliest_block: earliest.unwrap_or(initial),
        earliest_header: noted(&store, HEADERS).unwrap_or(initial),
        block: chain.last_block.map(|(_, id)| id.hash.to_string()),
        time: chain.last_time.to_string(),
        app_hash: hex::encode(chain.app_hash.as_bytes()),
        app_version: chain.app_version,
        validators: chain.validators.as_slice().len(),
        tree_version: store.tree_version(),
        undoable: undoable as u64,
        columns: store.sizes(),
        snapshots: snapshots(home),
        signed: Guard::signed_height(&home.guard()).map(|height| height.0),
        wal: fs::metadata(home.wal()).ok().map(|metadata| metadata.len()),
        syncing: syncing(home),
    })
}

fn snapshots(home: &Home) -> Vec<Listed> {
    let folders = fs::read_dir(home.snapshots()).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<Listed> = folders.filter_map(|folder| crate::snapshot::listed_in(&folder.path())).collect();
    found.sort_by_key(|listed| listed.height);
    found
}

fn syncing(home: &Home) -> Option<u64> {
    let begun = fs::read_dir(home.statesync()).ok()?.filter_map(Result::ok);
    let files = begun.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().filter_map(Result::ok));
    Some(files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum())
}
