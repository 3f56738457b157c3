//! `zynk demo`: the whole story against a throw-away network, attacks included.
//!
//! What people do is done by this very binary, a process a command, as people would type it; what
//! an attacker does is done by [`attacks`], which no command offers.

mod attacks;
mod forgeries;
mod people;
mod proxy;
mod relay_crashes;
mod stage;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::devnet::{Network, Running, Settings};
use clap::Args;
use ledger::{Body, Params};
use rpc::{Chain, FeePayer};
use serde_json::{Value, json};
use tendermint::Time;
use types::{Amount, Text};

use self::stage::Stage;
use super::account_key;
use crate::failure::Failure;
use crate::report::Report;

/// A stamp's bundle in the demo is at most this large, in bytes.
const MAX_BUNDLE: u64 = 4 * 1024;
/// And this large as JSON.
const MAX_BUNDLE_JSON: u64 = 12 * 1024;
/// How many transfers the finality is measured with.
const TRANSFERS: usize = 9;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk demo --json story.json --keep\n\n\
    Exit status 0 only if every step held and every attack was caught.")]
pub(crate) struct Arguments {
    /// With --json: write the steps, times and sizes to this file, and go on telling the story in words
    #[arg(value_name = "FILE", requires = "json")]
    record: Option<PathBuf>,
    /// Leave the network's home where it is, for looking at
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(arguments: Arguments, json: bool) -> Result<Report, Failure> {
    let folder = std::env::temp_dir().join(format!("zynk-demo-{}", std::process::id()));
    let mut stage = Stage::new(&folder, json && arguments.record.is_none());
    let played = play(&mut stage, &folder).await;
    let record = stage.record(played.is_ok());
    if let Some(path) = &arguments.record {
        std::fs::write(path, format!("{record:#}\n")).map_err(Failure::io(path))?;
    }
    if arguments.keep {
        stage.tell(&format!("kept: {}", folder.display()));
    } else {
        // What is left of a throw-away network in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&folder);
    }
    played?;
    let seconds = stage.elapsed().as_secs_f64();
    Ok(Report::new(format!("all of it held, in {seconds:.1} s"), json!({"held": true, "seconds": seconds})))
}

async fn play(stage: &mut Stage, folder: &Path) -> Result<(), Failure> {
    let settings = Settings {
        chain: "zynk-demo".parse().expect("a chain id"),
        validators: 4,
        first_port: 0,
        services: true,
        params: Params::default(),
    };
    let network = Network::create(folder, &settings, Time::now()).map_err(Failure::Run)?;
    let mut running = network.start(&stage.binary()?).map_err(Failure::Run)?;
    let height = running.wait_for(0, 1, Duration::from_secs(60)).await.map_err(Failure::Run)?;
    stage.step(&format!("four validators, each a process of its own, agree: height {height}"), json!({"height": height}));
    running.start_services().await.map_err(Failure::Run)?;
    stage.step("a relay and a gateway stand before them", json!({"relay": network.relay_url(), "gateway": network.gateway_url()}));
    stage.connect(&network);

    let people = people::play(stage, &network)?;
    let before = identities(stage, &network).await?;
    stamp(stage, &network)?;
    finality(stage, &network).await?;
    crash(stage, &mut running).await?;
    offline(stage, &network)?;
    attacks::play(stage, &network, &before).await?;
    forgeries::play(stage, &network, &people).await?;
    relay_crashes::play(stage, &mut running, &people).await?;

    running.stop().map_err(Failure::Run)?;
    Ok(())
}

/// Dave and Erin get identities without a relay, Erin rotates her control key, Dave proves her current one.
async fn identities(stage: &mut Stage, network: &Network) -> Result<attacks::Before, Failure> {
    let faucet = network.faucet();
    let sponsor = ["--sponsor-key", path(&faucet)];
    for name in ["dave", "erin"] {
        let keys = stage.file(&format!("{name}.keys"));
        let made = stage.zynk(["did", "create", "--out", path(&keys)].iter().chain(&sponsor))?;
        stage.step(&format!("{name} has an identity without a relay, and no tokens: a sponsor paid: {}", text(&made["did"])), made);
    }
    let erin = stage.file("erin.keys");
    let before = attacks::Before::remember(stage, network, &erin).await?;
    let rotated = stage.zynk(["did", "rotate", path(&erin)].iter().chain(&sponsor))?;
    stage.step(&format!("erin rotates her control key: {}", text(&rotated["control"])), rotated.clone());
    let resolved = stage.zynk(["did", "resolve", before.did()].iter())?;
    stage.hold("the resolved document shows erin's new control key", resolved.to_string().contains(&multikey(&rotated["control"])?))?;
    stage.step("dave proves erin's current keys by light client, from the genesis only", resolved);
    Ok(before)
}

/// Dave gets tokens for a log's bond and stamps a folder.
fn stamp(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let key = stage.file("dave.key");
    let made = stage.zynk(["keys", "make", "--kind", "account", "--out", path(&key)].iter())?;
    let faucet = network.faucet();
    let moved = stage.zynk(["tx", "transfer", "--to", text(&made["address"]), "--amount", "20", "--key", path(&faucet)].iter())?;
    stage.step("dave gets 20 ZYNK: a log of anchors takes a bond", moved);

    let folder = stage.file("papers");
    let files: [(&str, Vec<u8>); 3] = [
        ("contract.txt", b"Alice sells Bob one bicycle for 250. Both sign by stamping.\n".to_vec()),
        ("genesis.json", std::fs::read(network.genesis()).map_err(Failure::io(&network.genesis()))?),
        ("photo.bin", (0..1 << 15).flat_map(|_| genesis::entropy::bytes::<32>()).collect()),
    ];
    std::fs::create_dir_all(&folder).map_err(Failure::io(&folder))?;
    for (name, bytes) in &files {
        std::fs::write(folder.join(name), bytes).map_err(Failure::io(&folder))?;
    }
    let stamped = stage.zynk(["stamp", path(&folder), "--key", path(&key)].iter())?;
    let bytes = size(&folder.join("contract.txt.zproof"))?;
    let again = folder.join("contract.json");
    stage.zynk(["stamp", path(&folder.join("contract.txt")), "--one", path(&again), "--text", "--key", path(&key)].iter())?;
    let json_bytes = size(&again)?;
    stage.hold("a bundle has at most 4 KiB", bytes <= MAX_BUNDLE)?;
    stage.hold("a bundle has at most 12 KiB as JSON", json_bytes <= MAX_BUNDLE_JSON)?;
    stage.step(
        &format!("dave stamps a folder of 3 files: a proof of {bytes} bytes each ({json_bytes} as JSON)"),
        json!({"stamp": stamped, "bundle_bytes": bytes, "bundle_json_bytes": json_bytes}),
    );
    Ok(())
}

/// How long a transfer takes from being signed to being final.
async fn finality(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let mut chain = stage.chain(network)?;
    let faucet = account_key(&network.faucet())?;
    let to = faucet.public().address();
    let mut times = Vec::new();
    for _ in 0..TRANSFERS {
        let terms = chain.terms(&to).await?;
        let transfer = terms.sign(&faucet, FeePayer::Author, Body::Transfer { to, amount: Amount(1), memo: Text::default() });
        let began = Instant::now();
        chain.broadcast(&transfer).await?;
        times.push(began.elapsed());
    }
    times.sort();
    let median = times[TRANSFERS / 2];
    stage.hold("finality p50 is under 1 s", median < Duration::from_secs(1))?;
    let worst = times[TRANSFERS - 1];
    stage.step(
        &format!("{TRANSFERS} transfers are final after {} ms in the median, {} ms at worst", median.as_millis(), worst.as_millis()),
        json!({"p50_ms": median.as_millis(), "max_ms": worst.as_millis()}),
    );
    Ok(())
}

/// One validator of four dies and comes back.
async fn crash(stage: &mut Stage, running: &mut Running) -> Result<(), Failure> {
    let last = running.network().len() - 1;
    running.kill(last).map_err(Failure::Run)?;
    let height = running.height(0).await.map_err(Failure::Run)?;
    transfer(stage, running.network()).await?;
    let reached = running.wait_for(0, height + 1, Duration::from_secs(20)).await.map_err(Failure::Run)?;
    stage.step(&format!("validator{last} is killed (SIGKILL); the chain goes on without it: height {reached}"), json!({"height": reached}));
    running.revive(last, &[]).map_err(Failure::Run)?;
    let caught_up = running.wait_for(last, reached, Duration::from_secs(30)).await.map_err(Failure::Run)?;
    stage.step(&format!("validator{last} comes back and catches up: height {caught_up}"), json!({"height": caught_up}));
    Ok(())
}

async fn transfer(stage: &Stage, network: &Network) -> Result<(), Failure> {
    let (mut chain, faucet): (Chain, _) = (stage.chain(network)?, account_key(&network.faucet())?);
    let body = Body::Transfer { to: faucet.public().address(), amount: Amount(1), memo: Text::default() };
    chain.submit(&faucet, FeePayer::Author, body).await?;
    Ok(())
}

/// A process in a network namespace with nothing in it verifies the stamps.
fn offline(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let (folder, genesis) = (stage.file("papers"), network.genesis());
    let mut verdicts = Vec::new();
    for name in ["contract.txt", "genesis.json", "photo.bin"] {
        let (file, proof) = (folder.join(name), folder.join(format!("{name}.zproof")));
        let verdict = stage.offline(&["verify", path(&proof), "--file", path(&file), "--genesis", path(&genesis)])?;
        verdicts.push(verdict);
    }
    stage.step("a process without any network verifies all 3 with nothing but proof and genesis", json!(verdicts));
    Ok(())
}

/// A control key as the document shows it.
fn multikey(hexadecimal: &Value) -> Result<String, Failure> {
    let key: types::PublicKey = text(hexadecimal).parse().map_err(|source| Failure::Argument { what: "control key", source })?;
    Ok(identity::Multikey::Ed25519(key).to_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the demo's own paths are UTF-8")
}

fn size(path: &Path) -> Result<u64, Failure> {
    Ok(std::fs::metadata(path).map_err(Failure::io(path))?.len())
}
