//! `zynk node`: run a validator or full node, and make its home.

mod comet;
mod home;
mod reindex;
mod state;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Service;
use crate::failure::Failure;
use crate::report::Report;
use crate::unlock;

/// What a node that starts itself anew tells its next life: how often it was unheard.
const RENEWALS: &str = "ZYNK_NODE_RENEWALS";

pub(crate) type Arguments = Service<Run, Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the home of a node
    Init(home::Init),
    /// Make the index for searches anew from the blocks that the node has
    Reindex(reindex::Reindex),
    /// Name nodes to stay connected to
    Peer(home::Peer),
    /// Show what others need to know of a node
    Show(home::Show),
    /// Show what a node's home holds, without starting it
    Inspect(state::Inspect),
    /// Undo the last block of a node that stands still
    Rollback(state::Rollback),
    /// Execute the kept blocks again and compare what comes of them
    Replay(state::Replay),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk node init --home node --genesis genesis.json --moniker alpha --peer 12D3KooW…@203.0.113.7\n  \
    zynk node --home node\n\n\
    The home holds node.toml, genesis.json, node.key and, for a validator, validator.key. Ctrl-C stops it cleanly;\n\
    started again it goes on where it was.")]
pub(crate) struct Run {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER", required = true)]
    home: Option<PathBuf>,
    /// Sign although the signing guard was copied or restored: only when no signature was given after the copy was made
    #[arg(long)]
    accept_restored_guard: bool,
    /// Stop when standard input ends: for programs that start nodes
    #[arg(long, hide = true)]
    attached: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    let Run { home, accept_restored_guard, attached } = match &arguments.command {
        Some(Command::Init(arguments)) => return home::init(arguments),
        Some(Command::Reindex(arguments)) => return reindex::reindex(arguments).await,
        Some(Command::Peer(arguments)) => return home::peer(arguments),
        Some(Command::Show(arguments)) => return home::show(arguments),
        Some(Command::Inspect(arguments)) => return state::inspect(arguments),
        Some(Command::Rollback(arguments)) => return state::rollback(arguments),
        Some(Command::Replay(arguments)) => return state::replay(arguments),
        None => arguments.run,
    };
    let home = home.expect("it is required where no other command is given");
    let stopped = told(attached);
    let renewals = std::env::var(RENEWALS).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let options = node::Options { accept_restored_guard, renewals };
    match Box::pin(node::run(&home, options, stopped)).await.map_err(state::failed)? {
        node::Ended::Stopped => Ok(Report::new("the node has stopped", json!({"stopped": true}))),
        node::Ended::Outdated(outdated) => Err(Failure::Outdated(outdated)),
        node::Ended::Again => begin_again(renewals),
        node::Ended::Unheard => begin_again(renewals.saturating_add(1)),
    }
}

/// The same command in the same process, from the beginning: it returns only when it fails.
fn begin_again(renewals: u32) -> Result<Report, Failure> {
    // Where the program's file was replaced meanwhile, its name is nothing's; the program itself still runs from what it was.
    let program = std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut again = process::Command::new(program);
    again.args(std::env::args_os().skip(1)).env(RENEWALS, renewals.to_string());
    let _pipe = unlock::bequeath(&mut again).map_err(Failure::Runtime)?;
    Err(Failure::Runtime(again.exec()))
}

/// Turns true once [`until_told`] is done: what a service that runs until then is given.
pub(crate) fn told(attached: bool) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        until_told(attached).await;
        // A service that has ended by itself hears it no more.
        let _ = stop.send(true);
    });
    stopped
}

/// Waits for SIGINT, SIGTERM or, for an attached process, the end of standard input.
pub(crate) async fn until_told(attached: bool) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    let input_ends = async {
        let mut byte = [0; 1];
        while attached && tokio::io::stdin().read(&mut byte).await.is_ok_and(|count| count > 0) {}
        if !attached {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = input_ends => {}
    }
}
