//! `zynk relay`: run a relay, or invite somebody to one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::node::told;
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example, with a home that `zynk devnet` made:\n  \
    zynk relay --home .zynk/devnet/relay\n\n\
    The home holds relay.toml, genesis.json and account.key, whose account pays for the log's bond, for anchors and for\n\
    people's identities. Ctrl-C stops it cleanly; started again it goes on where it was.")]
pub(crate) struct Arguments {
    /// The relay's home folder
    #[arg(long, env = "ZYNK_RELAY_HOME", value_name = "FOLDER", global = true)]
    home: Option<PathBuf>,
    /// Stop when standard input ends: for programs that start relays
    #[arg(long, hide = true)]
    attached: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw an invitation: whoever has it can register once
    Invite,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    let home = relay::Home::new(&arguments.home.ok_or(Failure::NoHome("ZYNK_RELAY_HOME"))?);
    if let Some(Command::Invite) = arguments.command {
        let invitation = relay::invite(&home).await?;
        return Ok(Report::new(invitation.clone(), json!({"invitation": invitation})));
    }
    let stopped = told(arguments.attached);
    Box::pin(relay::run(home, stopped)).await?;
    Ok(Report::new("the relay has stopped", json!({"stopped": true})))
}
