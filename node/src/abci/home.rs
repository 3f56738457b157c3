//! CometBFT's own home beside ours: its configuration, our genesis as its genesis, and our keys as its keys.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genesis::file;
use ledger::Params;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use toml::Table;
use types::{PublicKey, SigningKey};

/// A home of CometBFT, as `cometbft start --home` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CometHome(PathBuf);

/// What the operator, or the devnet, decides about CometBFT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What people call the node.
    pub moniker: String,
    /// Where the application listens.
    pub abci: SocketAddr,
    /// Where CometBFT listens for other nodes.
    pub p2p: SocketAddr,
    /// Where CometBFT answers clients.
    pub rpc: SocketAddr,
    /// Nodes to stay connected to, as `id@host:port`.
    pub peers: Vec<String>,
}

impl CometHome {
    /// CometBFT's home beside the node whose home is `folder`.
    #[must_use]
    pub fn beside(folder: &Path) -> Self {
        Self(folder.join("cometbft"))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// `config.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config/config.toml")
    }

    /// The chain's genesis: a link to ours, so that there is one.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("config/genesis.json")
    }

    /// The key of the node's id.
    #[must_use]
    pub fn node_key(&self) -> PathBuf {
        self.0.join("config/node_key.json")
    }

    /// The key that signs votes.
    #[must_use]
    pub fn validator_key(&self) -> PathBuf {
        self.0.join("config/priv_validator_key.json")
    }

    /// What was signed last: CometBFT's own guard against signing twice.
    #[must_use]
    pub fn signed(&self) -> PathBuf {
        self.0.join("data/priv_validator_state.json")
    }

    /// Makes the home. The node's key becomes CometBFT's; the validator's only if there is one: without it
    /// CometBFT makes a key that is nobody's, and follows.
    ///
    /// # Errors
    /// When a key stands there already, or a file cannot be written.
    pub fn make(&self, settings: &Settings, params: &Params, node: &SigningKey, validator: Option<&SigningKey>) -> anyhow::Result<()> {
        for folder in ["config", "data"] {
            let folder = self.0.join(folder);
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        file::create_secret(&self.node_key(), text(&json!({"priv_key": private(node)})).as_bytes())?;
        if let Some(key) = validator {
            let address = hex::encode_upper(types::Hash::sha256(&[&key.public().0]).0.get(..20).unwrap_or_default());
            let value = json!({"address": address, "pub_key": public(&key.public()), "priv_key": private(key)});
            file::create_secret(&self.validator_key(), text(&value).as_bytes())?;
            let nothing = json!({"height": "0", "round": 0, "step": 0});
            file::create_secret(&self.signed(), text(&nothing).as_bytes())?;
        }
        let genesis = self.genesis();
        std::os::unix::fs::symlink("../../genesis.json", &genesis).with_context(|| format!("cannot make {}", genesis.display()))?;
        Ok(std::fs::write(self.config(), config(settings, params))?)
    }
}

/// The name of a node with this key in CometBFT's network: the first half of the key's SHA-256 and a bit, in
/// hexadecimal.
#[must_use]
pub fn node_id(key: &PublicKey) -> String {
    hex::encode(&Sha256::digest(key.0)[..20])
}

/// The lines of `config.toml` that are not CometBFT's defaults; all others stay as they are.
#[must_use]
pub fn config(settings: &Settings, params: &Params) -> String {
    let millis = |value: u32| format!("{}ms", Duration::from_millis(value.into()).as_millis());
    let quick = params.block_interval_ms == 0;
    let (abci, rpc, p2p) = (settings.abci, settings.rpc, settings.p2p);
    let entry = |entries: Vec<(&str, toml::Value)>| -> Table { entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() };
    let mut network = vec![("laddr", format!("tcp://{p2p}").into()), ("persistent_peers", settings.peers.join(",").into())];
    if p2p.ip().is_loopback() {
        // A network on one machine: all addresses are alike and none is public.
        network.push(("addr_book_strict", false.into()));
        network.push(("allow_duplicate_ip", true.into()));
    }
    let consensus = vec![
        ("timeout_propose", millis(params.propose_timeout_ms).into()),
        ("timeout_commit", millis(params.block_interval_ms).into()),
        ("skip_timeout_commit", quick.into()),
        // Blocks on demand: one when there is work, one after each change of the state, one a heartbeat.
        ("create_empty_blocks", false.into()),
        ("create_empty_blocks_interval", millis(params.heartbeat_ms).into()),
    ];
    let config = entry(vec![
        ("proxy_app", format!("tcp://{abci}").into()),
        ("moniker", settings.moniker.clone().into()),
        ("rpc", entry(vec![("laddr", format!("tcp://{rpc}").into())]).into()),
        ("p2p", entry(network).into()),
        ("consensus", entry(consensus).into()),
    ]);
    toml::to_string_pretty(&config).expect("a table of text, numbers and switches is TOML")
}

fn public(key: &PublicKey) -> Value {
    json!({"type": "tendermint/PubKeyEd25519", "value": BASE64.encode(key.0)})
}

/// Go's form of an ed25519 key: the seed, then the public half.
fn private(key: &SigningKey) -> Value {
    let both = [key.seed().as_slice(), &key.public().0].concat();
    json!({"type": "tendermint/PrivKeyEd25519", "value": BASE64.encode(both)})
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
