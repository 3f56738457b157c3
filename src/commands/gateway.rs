//! `zynk gateway`: run the edge before a relay and a node.

use std::path::PathBuf;

use ::gateway::{Home, Settings, Upstream};
use ::genesis::Genesis;
use clap::Args;
use serde_json::json;

use super::node::told;
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Example, with homes that `zynk devnet` made:\n  \
    zynk gateway --home .zynk/devnet/gateway\n\n\
    The home holds gateway.toml, which names relay and node by URL, and genesis.json. With --relay-home the relay of that\n\
    home runs in this process, and what is for it takes no second hop. Ctrl-C stops it cleanly.")]
pub(crate) struct Arguments {
    /// The gateway's home folder
    #[arg(long, env = "ZYNK_GATEWAY_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// Run the relay of this home too, instead of the one that gateway.toml names
    #[arg(long, value_name = "FOLDER")]
    relay_home: Option<PathBuf>,
    /// Stop when standard input ends: for programs that start gateways
    #[arg(long, hide = true)]
    attached: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    let stopped = told(arguments.attached);
    let home = Home::new(&arguments.home);
    let settings = Settings::load(&home.settings())?;
    let genesis = Genesis::load(&home.genesis()).map_err(Failure::file(&home.genesis()))?;
    let node = Upstream::Remote(settings.node.clone().ok_or(Failure::NoUpstream("node"))?);
    match arguments.relay_home {
        None => {
            let relay = Upstream::Remote(settings.relay.clone().ok_or(Failure::NoUpstream("relay"))?);
            ::gateway::run(settings, relay, node, genesis.trust(), stopped).await?;
        }
        Some(folder) => {
            let relay = relay::Relay::open(&relay::Home::new(&folder), stopped.clone()).await?;
            let router = Upstream::InProcess(relay.router());
            // Each ends when told; whichever ends before takes the other along.
            tokio::try_join!(async { relay.work().await.map_err(Failure::from) }, async {
                ::gateway::run(settings, router, node, genesis.trust(), stopped).await.map_err(Failure::from)
            },)?;
        }
    }
    Ok(Report::new("the gateway has stopped", json!({"stopped": true})))
}
