//! `zynk devnet`: a network on loopback that stays until Ctrl-C.

mod comet;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use devnet::{CometNetwork, Network, Running, Service, Settings};
use ledger::{Engine, Params};
use serde_json::json;
use tendermint::Time;
use types::ChainId;

use super::node::until_told;
use crate::failure::Failure;
use crate::report::{Report, say};

/// How long the first block may take.
const BEGINNING: Duration = Duration::from_secs(60);

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
    /// A new network of validators alone, without relay and gateway
    #[arg(long)]
    chain_only: bool,
    /// What agrees on a new network's blocks: embedded, or cometbft, which has no relay and gateway here
    #[arg(long, value_name = "ENGINE", default_value = "embedded")]
    engine: Engine,
    /// CometBFT's program, for a network under it; `tools/cometbft` of the sources builds one and prints where it is
    #[arg(long, env = "ZYNK_COMETBFT", value_name = "PROGRAM", default_value = "cometbft")]
    cometbft: PathBuf,
}

pub(crate) async fn run(arguments: Arguments, json: bool) -> Result<Report, Failure> {
    let home = &arguments.home;
    if CometNetwork::exists(home) || (arguments.engine == Engine::CometBft && !Network::exists(home)) {
        return comet::run(arguments, json).await;
    }
    let network = if Network::exists(home) {
        Network::load(home).map_err(Failure::Run)?
    } else {
        let params = Params { block_interval_ms: arguments.block_interval_ms, ..Params::default() };
        let settings = Settings {
            chain: arguments.chain,
            validators: arguments.validators,
            first_port: arguments.port,
            services: !arguments.chain_only,
            params,
        };
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
    let height = begin(running).await?;
    running.start_services().await.map_err(Failure::Run)?;
    let (text, value) = introduction(running.network(), height);
    say(json, &text, &value);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        watch(running)?;
        for service in [Service::Relay, Service::Gateway] {
            if running.has_fallen(service) {
                let (name, words) = (service.name(), running.last_words_of(service));
                return Err(Failure::Run(anyhow::anyhow!("the {name} has ended by itself; its last words:\n{words}")));
            }
        }
    }
}

/// Waits for the first block.
async fn begin(running: &mut Running) -> Result<u64, Failure> {
    let began = Instant::now();
    loop {
        watch(running)?;
        match running.height(0).await {
            Ok(height) if height > 0 => return Ok(height),
            _ if began.elapsed() > BEGINNING => {
                let words = running.last_words(0);
                return Err(Failure::Run(anyhow::anyhow!("no block within {BEGINNING:?}; the last words of validator0:\n{words}")));
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Fails when a validator has ended by itself.
fn watch(running: &mut Running) -> Result<(), Failure> {
    let fallen = running.fallen().into_iter().next();
    fallen.map_or(Ok(()), |(place, words)| {
        Err(Failure::Run(anyhow::anyhow!("validator{place} has ended by itself; its last words:\n{words}")))
    })
}

fn introduction(network: &Network, height: u64) -> (String, serde_json::Value) {
    let urls: Vec<String> = (0..network.len()).map(|place| network.url(place)).collect();
    let mut listed: Vec<String> = urls.iter().enumerate().map(|(place, url)| format!("  validator{place}  {url}/status")).collect();
    let (genesis, faucet, gateway) = (network.genesis(), network.faucet(), network.gateway_url());
    let services = [("relay     ", network.relay_url()), ("gateway   ", gateway.clone())];
    listed.extend(services.into_iter().filter_map(|(name, url)| Some(format!("  {name}  {}", url?))));
    let binary = std::env::current_exe().unwrap_or_else(|_| "zynk".into());
    let mut text =
        format!("{} validators, height {height}, files in {}\n{}\n", network.len(), network.folder().display(), listed.join("\n"));
    text.push_str(&format!(
        "\nIn each terminal that you try something from:\n  alias zynk={}\n  export ZYNK_NODE={} ZYNK_GENESIS={} ZYNK_SPONSOR_KEY={}",
        binary.display(),
        urls[0],
        genesis.display(),
        faucet.display()
    ));
    if let Some(gateway) = &gateway {
        text.push_str(&format!(
            " ZYNK_GATEWAY={gateway}\n\nTwo people, a terminal each; the relay pays for their identities:\n  \
             export ZYNK_CLIENT=alice              # in the other: bob\n  \
             zynk register                         # shows did:zynk:…, give it to the other\n  \
             zynk listen                           # in bob's\n  \
             zynk send did:zynk:… 'hello bob'      # in alice's"
        ));
    }
    text.push_str("\n\nThe chain alone:\n  zynk stamp README.md && zynk verify README.md.zproof --file README.md\n  zynk light --count 3\nCtrl-C stops it.");
    (text, json!({"height": height, "rpc": urls, "gateway": gateway, "genesis": genesis, "faucet": faucet}))
}
