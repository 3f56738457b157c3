//! `zynk devnet`: a network on loopback that stays until Ctrl-C.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use devnet::{Network, Running, Settings};
use ledger::Params;
use serde_json::json;
use tendermint::Time;
use types::ChainId;

use super::node::until_told;
use crate::failure::Failure;
use crate::report::{Report, say};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk devnet\n\n\
    Started again on the same home, the network goes on where it was.")]
pub(crate) struct Arguments {
    /// Where the network keeps its files
    #[arg(long, value_name = "FOLDER", default_value = ".zynk/devnet")]
    home: PathBuf,
    /// How many validators a new network has
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    validators: u16,
    /// The first port of a new network: consensus, RPC and gossip of each validator follow
    #[arg(long, value_name = "PORT", default_value_t = 26656)]
    port: u16,
    /// The name of a new network's chain
    #[arg(long, value_name = "ID", default_value = "zynk-devnet")]
    chain: ChainId,
    /// A new network's time between blocks when there is work, in milliseconds; 0 is as fast as possible
    #[arg(long, value_name = "MS", default_value_t = Params::default().block_interval_ms)]
    block_interval_ms: u32,
}

pub(crate) async fn run(arguments: Arguments, json: bool) -> Result<Report, Failure> {
    let home = &arguments.home;
    let network = if Network::exists(home) {
        Network::load(home).map_err(Failure::Run)?
    } else {
        let params = Params { block_interval_ms: arguments.block_interval_ms, ..Params::default() };
        let settings = Settings { chain: arguments.chain, validators: arguments.validators, first_port: arguments.port, params };
        Network::create(home, &settings, Time::now()).map_err(Failure::Run)?
    };
    let binary = std::env::current_exe().map_err(Failure::Runtime)?;
    let mut running = network.start(&binary).map_err(Failure::Run)?;
    let told = until_told(false);
    tokio::pin!(told);
    tokio::select! {
        () = &mut told => {}
        served = serve(&mut running, json) => served?,
    }
    running.stop().map_err(Failure::Run)?;
    Ok(Report::new(format!("stopped; `zynk devnet --home {}` goes on where it was", home.display()), json!({"stopped": true})))
}

/// Says where everything is, then watches; returns when a validator has ended by itself.
async fn serve(running: &mut Running, json: bool) -> Result<(), Failure> {
    let height = running.wait_for(0, 1, Duration::from_secs(60)).await.map_err(Failure::Run)?;
    let (text, value) = introduction(running.network(), height);
    say(json, &text, &value);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some((place, words)) = running.fallen().into_iter().next() {
            return Err(Failure::Run(anyhow::anyhow!("validator{place} has ended by itself; its last words:\n{words}")));
        }
    }
}

fn introduction(network: &Network, height: u64) -> (String, serde_json::Value) {
    let urls: Vec<String> = (0..network.len()).map(|place| network.url(place)).collect();
    let listed: Vec<String> = urls.iter().enumerate().map(|(place, url)| format!("  validator{place}  {url}/status")).collect();
    let (genesis, faucet) = (network.genesis(), network.faucet());
    let text = format!(
        "{} validators, height {height}, files in {}\n{}\n\nTry, from another terminal:\n  \
         alias zynk={}\n  \
         export ZYNK_NODE={} ZYNK_GENESIS={} ZYNK_SPONSOR_KEY={}\n  \
         zynk did create --out alice.keys\n  \
         zynk stamp README.md && zynk verify README.md.zproof --file README.md\n  \
         zynk light --count 3\nCtrl-C stops it.",
        network.len(),
        network.folder().display(),
        listed.join("\n"),
        std::env::current_exe().unwrap_or_else(|_| "zynk".into()).display(),
        urls[0],
        genesis.display(),
        faucet.display(),
    );
    (text, json!({"height": height, "rpc": urls, "genesis": genesis, "faucet": faucet}))
}
