//! `zynk devnet --engine cometbft`.

use std::time::Duration;

use devnet::{CometNetwork, CometRunning, Part, Settings};
use ledger::Params;
use serde_json::{Value, json};
use tendermint::Time;

use super::{Arguments, BEGINNING};
use crate::commands::node::until_told;
use crate::failure::Failure;
use crate::report::{Report, say};

pub(super) async fn run(arguments: Arguments, json: bool) -> Result<Report, Failure> {
    let home = arguments.home;
    let network = if CometNetwork::exists(&home) {
        CometNetwork::load(&home).map_err(Failure::Run)?
    } else {
        let params = Params { block_interval_ms: arguments.block_interval_ms, ..Params::default() };
        let Arguments { chain, validators, port, .. } = arguments;
        let settings = Settings { chain, validators, first_port: port, services: false, params };
        CometNetwork::create(&home, &settings, Time::now()).map_err(Failure::Run)?
    };
    let zynk = std::env::current_exe().map_err(Failure::Runtime)?;
    let mut running = network.start(&zynk, &arguments.cometbft).map_err(Failure::Run)?;
    tokio::select! {
        () = until_told(false) => {}
        served = serve(&mut running, json) => served?,
    }
    running.stop().map_err(Failure::Run)?;
    Ok(Report::new(format!("stopped; `zynk devnet --home {}` goes on where it was", home.display()), json!({"stopped": true})))
}

/// Says where everything is, then watches; returns when a process has ended by itself.
async fn serve(running: &mut CometRunning, json: bool) -> Result<(), Failure> {
    let height = running.wait_for(0, 1, BEGINNING).await.map_err(Failure::Run)?;
    let (text, value) = introduction(running.network(), height);
    say(json, &text, &value);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for place in 0..running.network().len() {
            for part in [Part::Application, Part::CometBft] {
                if running.has_fallen(place, part).is_some() {
                    let words = running.last_words(place, part);
                    return Err(Failure::Run(anyhow::anyhow!(
                        "{part:?} of validator{place} has ended by itself; its last words:\n{words}"
                    )));
                }
            }
        }
    }
}

fn introduction(network: &CometNetwork, height: u64) -> (String, Value) {
    let urls: Vec<String> = (0..network.len()).map(|place| network.url(place)).collect();
    let listed: Vec<String> = urls.iter().enumerate().map(|(place, url)| format!("  validator{place}  {url}/status")).collect();
    let (genesis, faucet) = (network.genesis(), network.faucet());
    let text = format!(
        "{} validators under CometBFT, height {height}, files in {}\n{}\n\nIn each terminal that you try something from:\n  \
         export ZYNK_NODE={} ZYNK_GENESIS={} ZYNK_SPONSOR_KEY={}\n\n\
         Then:\n  zynk stamp README.md && zynk verify README.md.zproof --file README.md\n  zynk light --count 3\nCtrl-C stops it.",
        network.len(),
        network.folder().display(),
        listed.join("\n"),
        urls[0],
        genesis.display(),
        faucet.display()
    );
    (text, json!({"height": height, "engine": "cometbft", "rpc": urls, "genesis": genesis, "faucet": faucet}))
}
