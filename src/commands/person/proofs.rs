//! `zynk proof`, `export`: what a person takes along.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use types::Encode as _;
use uuid::Uuid;

use super::{Device, with};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk proof 0192… --out message.zproof --folder alice\n  \
    zynk verify message.zproof --genesis genesis.json\n\n\
    Whoever has the file can verify it without a network, and sees what was committed to, but not the text: give the text\n\
    along, and its BLAKE3 hash is the content's.")]
pub(crate) struct Proof {
    /// The message
    #[arg(value_name = "MESSAGE")]
    id: Uuid,
    /// Where the proof goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// As JSON
    #[arg(long)]
    text: bool,
    /// How long to wait until the message is anchored, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk export --out mine.json --folder alice\n\n\
    Contacts, messages with what opens their commitments, and finished proofs; no secret key. The file is not encrypted.")]
pub(crate) struct Export {
    /// Where it goes, mode 0600
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: Device,
}

pub(crate) async fn proof(arguments: Proof) -> Result<Report, Failure> {
    if arguments.out.exists() {
        return Err(Failure::ProofExists(arguments.out));
    }
    let patience = Duration::from_secs(arguments.wait);
    let bundle = with(arguments.device.open().await?, async |client| Ok(client.proof(&arguments.id, patience).await?)).await?;
    let bytes = if arguments.text { bundle.to_json().into_bytes() } else { bundle.to_bytes() };
    ::genesis::file::replace_public(&arguments.out, &bytes).map_err(Failure::file(&arguments.out))?;
    let (anchor, time) = (&bundle.anchor.anchor, bundle.sealed.header.time);
    Ok(Report::new(
        format!("the message existed by {time}; the proof is {} ({} bytes)", arguments.out.display(), bytes.len()),
        json!({"proof": arguments.out, "bytes": bytes.len(), "log": anchor.log, "sequence": anchor.sequence, "time": time}),
    ))
}

pub(crate) async fn export(arguments: Export) -> Result<Report, Failure> {
    let value = with(arguments.device.open().await?, async |client| Ok(client.export().await?)).await?;
    ::genesis::file::create_secret(&arguments.out, format!("{value:#}\n").as_bytes()).map_err(Failure::file(&arguments.out))?;
    let messages = value["messages"].as_array().map_or(0, Vec::len);
    Ok(Report::new(format!("{messages} messages are in {}", arguments.out.display()), json!({"file": arguments.out, "messages": messages})))
}
