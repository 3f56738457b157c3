//! `zynk light`: follow a chain without trusting the node, or answer for it.

pub(crate) mod proxy;
pub(crate) mod source;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use genesis::file;
use light::{Checkpoint, Verified};
use rpc::Chain;
use serde_json::{Value, json};
use types::Height;

use super::{proof_json, proven};
use crate::failure::Failure;
use crate::report::{Report, say};
use source::{Opened, Source};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer like a node's RPC, only what was verified
    Proxy(proxy::Arguments),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    zynk light --genesis genesis.json --once\n  \
    zynk light --genesis genesis.json --checkpoint-out today.json --once\n  \
    zynk light --checkpoint today.json\n  \
    zynk light --checkpoint today.json --witness http://192.0.2.7:26657\n  \
    zynk light --genesis genesis.json --store light.kept\n  \
    zynk light proxy --store light.kept --listen 127.0.0.1:8888\n\n\
    Each line is a header that more than two thirds of the validators signed, beginning with those of the genesis or\n\
    the checkpoint. It follows until Ctrl-C. A witness that has another header, signed as well, ends it: that is an attack.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Stop after the newest header
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// Stop after so many headers
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Write the last verified header as a checkpoint to begin with another time
    #[arg(long, value_name = "FILE")]
    checkpoint_out: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub(crate) async fn run(arguments: Arguments, json: bool) -> Result<Report, Failure> {
    if let Some(Command::Proxy(arguments)) = &arguments.command {
        return proxy::run(arguments, json).await;
    }
    let Opened { mut chain, mut store, .. } = arguments.source.open().await?;
    let mut keep = |chain: &Chain| store.as_mut().map_or(Ok(()), |store| store.save(chain.kept()));
    let mut header = chain.latest().await?;
    keep(&chain)?;
    let mut left = if arguments.once { 1 } else { arguments.count.unwrap_or(u64::MAX) };
    loop {
        left = left.saturating_sub(1);
        if left == 0 {
            break;
        }
        say(json, &line(&chain, &header), &value(&chain, &header));
        header = tokio::select! {
            next = next(&mut chain, header.height()) => next?,
            _ = tokio::signal::ctrl_c() => break,
        };
        keep(&chain)?;
    }
    let mut text = line(&chain, &header);
    if let Some(path) = &arguments.checkpoint_out {
        write(&chain, &header, path)?;
        text += &format!("\nwrote a checkpoint of height {} to {}", header.height(), path.display());
    }
    Ok(Report::new(text, value(&chain, &header)))
}

/// Waits for the next header, however long that takes.
async fn next(chain: &mut Chain, from: Height) -> Result<Verified, Failure> {
    loop {
        match chain.follow(from).await {
            Err(rpc::Error::Timeout { .. }) => {}
            followed => return Ok(followed?),
        }
    }
}

fn line(chain: &Chain, header: &Verified) -> String {
    let validators = chain.trust().validators().members().len();
    format!("verified header {} {} of {validators} validators; {}", header.height(), header.hash(), proven(chain, header))
}

fn value(chain: &Chain, header: &Verified) -> Value {
    let mut value = proof_json(chain, header);
    value["chain"] = json!(header.chain());
    value["validators"] = json!(chain.trust().validators().members().len());
    value["app_hash"] = json!(hex::encode(header.header().app_hash.as_bytes()));
    value
}

fn write(chain: &Chain, header: &Verified, path: &Path) -> Result<(), Failure> {
    let checkpoint = Checkpoint::at(header, chain.trust().validators())?;
    let mut text = serde_json::to_string_pretty(&checkpoint).expect("a checkpoint has no map and no float, so it serialises");
    text.push('\n');
    Ok(file::replace_public(path, text.as_bytes())?)
}
