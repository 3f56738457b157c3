//! The home of a node under CometBFT: ours, and CometBFT's own in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use genesis::{Genesis, KeyFile, KeyKind};
use ledger::Params;
use node::abci::config::{Abci, Config};
use node::abci::home::{CometHome, Settings, node_id};
use node::config::Home;
use serde_json::{Value, json};

use super::home::Init;
use crate::failure::Failure;
use crate::report::Report;

/// From CometBFT's port for nodes to its port for clients.
const RPC: u16 = 1;
/// And to the application's.
const ABCI: u16 = 2;

/// Makes both homes. `genesis` may come later.
pub(super) fn init(arguments: &Init, genesis: Option<&Genesis>) -> Result<Report, Failure> {
    let home = Home::new(&arguments.home);
    if home.config().exists() {
        return Err(genesis::Error::Exists(home.config()).into());
    }
    let settings = settings(arguments).map_err(Failure::Run)?;
    std::fs::create_dir_all(&arguments.home).map_err(Failure::io(&arguments.home))?;
    let node = key(&home.node_key(), KeyKind::Node)?;
    let validator = if arguments.validator { Some(key(&home.validator_key(), KeyKind::Validator)?) } else { None };
    if let Some(genesis) = genesis {
        genesis::file::replace_public(&home.genesis(), genesis.to_json().as_bytes())?;
    }
    let params = genesis.map_or_else(Params::default, |genesis| genesis.app_state().params);
    let comet = CometHome::beside(&arguments.home);
    comet.make(&settings, &params, node.key(), validator.as_ref().map(KeyFile::key)).map_err(Failure::Run)?;
    let config = Config { moniker: settings.moniker.clone(), abci: Abci { listen: settings.abci } };
    // Last: a home with it is whole.
    config.save(&home.config()).map_err(Failure::Run)?;
    let (text, value) = describe(&arguments.home, "HOST")?;
    let lines = node::abci::home::config(&settings, &params);
    let text = format!(
        "made a home in {} for a node under CometBFT\n{text}\n\nwhat {} says beside CometBFT's defaults, for another home of CometBFT:\n{lines}\n\
        start both:\n  zynk node --home {}\n  cometbft start --home {}",
        arguments.home.display(),
        comet.config().display(),
        arguments.home.display(),
        comet.folder().display(),
    );
    Ok(Report::new(text, value))
}

/// What others need to know of it.
pub(super) fn show(home: &Path, host: &str) -> Result<Report, Failure> {
    let (text, value) = describe(home, host)?;
    Ok(Report::new(text, value))
}

fn describe(folder: &Path, host: &str) -> Result<(String, Value), Failure> {
    let (home, comet) = (Home::new(folder), CometHome::beside(folder));
    let config = Config::load(&home.config()).map_err(Failure::Run)?;
    let public = |path: &Path, kind| KeyFile::public_of(path, kind).map_err(Failure::file(path));
    let node = public(&home.node_key(), KeyKind::Node)?;
    let validator = home.validator_key();
    let validator = if validator.exists() { Some(public(&validator, KeyKind::Validator)?) } else { None };
    let written = std::fs::read_to_string(comet.config()).map_err(Failure::io(&comet.config()))?;
    let written: toml::Table = written.parse().map_err(|error: toml::de::Error| Failure::Run(error.into()))?;
    let address =
        |section: &str| written.get(section).and_then(|section| section.get("laddr")).and_then(toml::Value::as_str).unwrap_or_default();
    let port = address("p2p").rsplit(':').next().unwrap_or_default();
    let peer = format!("{}@{host}:{port}", node_id(&node));
    let votes = validator.map_or_else(String::new, |key| format!("\nvotes are signed by {key} (validator {})", key.address()));
    let (moniker, abci, rpc) = (&config.moniker, config.abci.listen, address("rpc"));
    let text = format!("{moniker} answers CometBFT on {abci}; CometBFT answers clients on {rpc}\nothers name it --peer {peer}{votes}");
    let value = json!({
        "moniker": moniker,
        "engine": "cometbft",
        "peer": peer,
        "node_key": node,
        "consensus_key": validator,
        "validator": validator.map(|key| key.address()),
        "rpc": rpc,
        "abci": abci,
        "cometbft": comet.folder(),
    });
    Ok((text, value))
}

fn settings(arguments: &Init) -> anyhow::Result<Settings> {
    let Init { listen, port, ref moniker, ref peers, encrypt, .. } = *arguments;
    anyhow::ensure!(
        !encrypt,
        "CometBFT has its keys in files without a passphrase: leave --encrypt out, or have a remote signer hold the key"
    );
    anyhow::ensure!(port <= u16::MAX - ABCI, "the port must be at most {}", u16::MAX - ABCI);
    let peers: Vec<String> = peers.iter().map(|peer| checked(peer, port)).collect::<anyhow::Result<_>>()?;
    let loopback = |offset: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port + offset));
    Ok(Settings { moniker: moniker.clone(), abci: loopback(ABCI), p2p: SocketAddr::new(listen, port), rpc: loopback(RPC), peers })
}

/// A peer as CometBFT names it, with its port.
fn checked(peer: &str, port: u16) -> anyhow::Result<String> {
    let wanted = || format!("{peer}: a peer of CometBFT is ID@HOST or ID@HOST:PORT with an id of 40 hexadecimal digits");
    let (id, place) = peer.split_once('@').with_context(wanted)?;
    anyhow::ensure!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !place.is_empty(), wanted());
    Ok(if place.contains(':') { peer.to_owned() } else { format!("{peer}:{port}") })
}

/// A key that is there already is kept: it may be known to others.
fn key(path: &Path, kind: KeyKind) -> Result<KeyFile, Failure> {
    if !path.exists() {
        KeyFile::generate(kind).create(path).map_err(Failure::file(path))?;
    }
    crate::commands::key_file(path, kind)
}
