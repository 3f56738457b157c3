//! `zynk node inspect`, `rollback` and `replay`: what a node keeps of its chain, looked at and mended while it stands still.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use genesis::Genesis;
use node::config::Home;
use node::replay::ReplayError;
use node::rollback::RollbackError;
use node::statesync::SyncError;
use node::store::OpenError;
use serde_json::json;

use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk node inspect --home node\n\n\
    It changes nothing, and works beside a running node too.")]
pub(crate) struct Inspect {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk node rollback --home node --yes\n\n\
    For a node whose state differs from that of the others. Stop it first, and put the right program in its place. The\n\
    last block and what came of it are forgotten; started again, the node fetches that block from the others and executes\n\
    it anew. What a validator has signed is never forgotten: it follows without signing until the chain is past it.")]
pub(crate) struct Rollback {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// Really undo it
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk node replay --home node\n\n\
    It begins with the genesis, or with a snapshot of this node where the first blocks are gone, and works in a folder\n\
    beside the database, which is empty before and gone after.")]
pub(crate) struct Replay {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
}

pub(crate) fn inspect(arguments: &Inspect) -> Result<Report, Failure> {
    let (home, genesis) = open(&arguments.home)?;
    let found = node::inspect::inspect(&home, &genesis).map_err(|error| state(error.code(), &error))?;
    let mut text = format!(
        "chain {} (genesis {}), database of format {}\nheight {} of {}, application hash {} (version {}, tree version {})\n\
         blocks from height {}, headers from height {}; the last {} can be undone\n{} validators",
        found.chain,
        found.genesis,
        found.format,
        found.height,
        found.time,
        found.app_hash,
        found.app_version,
        found.tree_version,
        found.earliest_block,
        found.earliest_header,
        found.undoable,
        found.validators
    );
    text += &found.signed.map_or_else(|| "; no signing guard".to_owned(), |height| format!("; the signing guard is at height {height}"));
    text += &found.wal.map_or_else(|| "; no consensus log".to_owned(), |bytes| format!("; the consensus log has {bytes} bytes"));
    if let Some(bytes) = found.syncing {
        text += &format!("\na sync of the state has fetched {bytes} bytes and is not done");
    }
    for (name, bytes) in &found.columns {
        text += &format!("\n  {name:<14}{bytes:>14} bytes");
    }
    for listed in &found.snapshots {
        text += &format!(
            "\nsnapshot of height {}: {} bytes in {} chunks, manifest {}",
            listed.height, listed.bytes, listed.chunks, listed.manifest
        );
    }
    let value = serde_json::to_value(&found).expect("findings serialise");
    Ok(Report::new(text, value))
}

pub(crate) fn rollback(arguments: &Rollback) -> Result<Report, Failure> {
    if !arguments.yes {
        return Err(Failure::Unconfirmed("forgetting the last block"));
    }
    let (home, genesis) = open(&arguments.home)?;
    let before = node::rollback::rollback(&home, &genesis).map_err(|error: RollbackError| state(error.code(), &error))?;
    let (height, app_hash) = (before.tip(), hex::encode(before.app_hash.as_bytes()));
    let text = format!("undone: the node is at height {height} again, with the application hash {app_hash}");
    Ok(Report::new(text, json!({"height": height.value(), "app_hash": app_hash})))
}

pub(crate) fn replay(arguments: &Replay) -> Result<Report, Failure> {
    let (home, genesis) = open(&arguments.home)?;
    let scratch = home.data().join("replay");
    let cleared = || if scratch.exists() { std::fs::remove_dir_all(&scratch) } else { Ok(()) };
    cleared().and_then(|()| std::fs::create_dir_all(&scratch)).map_err(Failure::io(&scratch))?;
    let replayed = node::replay::replay(&home, &Arc::new(genesis), &scratch, |_| {});
    cleared().map_err(Failure::io(&scratch))?;
    let replayed = replayed.map_err(|error: ReplayError| state(error.code(), &error))?;
    let from = if replayed.from == 0 { "the genesis".to_owned() } else { format!("the snapshot of height {}", replayed.from) };
    let text = format!("replayed from {from} to height {}: every hash is the chain's; application hash {}", replayed.to, replayed.app_hash);
    Ok(Report::new(text, json!({"from": replayed.from, "to": replayed.to, "app_hash": replayed.app_hash})))
}

/// Why a node's run failed, with the number of what it keeps where that was the reason.
pub(super) fn failed(error: anyhow::Error) -> Failure {
    let code = error.downcast_ref::<SyncError>().map(SyncError::code).or_else(|| error.downcast_ref::<OpenError>().map(OpenError::code));
    match code {
        Some(code) => state(code, &format!("{error:#}")),
        None => Failure::Run(error),
    }
}

fn state(code: u32, words: &dyn std::fmt::Display) -> Failure {
    Failure::State { code, words: words.to_string() }
}

fn open(folder: &Path) -> Result<(Home, Genesis), Failure> {
    let home = Home::new(folder);
    let path = home.genesis();
    let genesis = Genesis::load(&path).map_err(Failure::file(&path))?;
    Ok((home, genesis))
}
