//! `zynk node reindex`: the index, made anew from the blocks that the node has.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk node reindex --home node\n\n\
    The node must not be running. What the index was made of before is removed. It takes the blocks that the node still has: from the\n\
    earliest after pruning or state sync.")]
pub(crate) struct Reindex {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
}

pub(super) async fn reindex(arguments: &Reindex) -> Result<Report, Failure> {
    Ok(match node::index::reindex(&arguments.home).await.map_err(Failure::Run)? {
        Some(node::index::Rebuilt { from, to }) => {
            Report::new(format!("the index has the blocks from {from} to {to}"), json!({"from": from, "to": to}))
        }
        None => Report::new("the chain has no block yet, and the index nothing", json!({"from": null, "to": null})),
    })
}
