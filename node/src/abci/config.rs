//! `node.toml` of a node under CometBFT. What CometBFT does stands in CometBFT's own `config.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use ledger::Engine;
use serde::{Deserialize, Serialize};

/// Where CometBFT looks for its application unless it is told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 26658);

/// `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What people call this node.
    pub moniker: String,
    /// Where CometBFT asks.
    pub abci: Abci,
}

/// The ABCI server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abci {
    /// The address to listen on, which must be on loopback.
    pub listen: SocketAddr,
}

impl Config {
    /// Reads `node.toml`.
    ///
    /// # Errors
    /// When it cannot be read, or says something else than a node under CometBFT is told.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| {
            format!("{} is not the configuration of a node under CometBFT, which has a moniker and, in [abci], listen", path.display())
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, toml::to_string_pretty(self)?)?)
    }
}

/// The engine that the home of this `node.toml` is made for: only under CometBFT has it a section `[abci]`.
///
/// # Errors
/// When it cannot be read, or is no TOML.
pub fn engine_of(path: &Path) -> anyhow::Result<Engine> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("{} is not a node's configuration", path.display()))?;
    Ok(if table.contains_key("abci") { Engine::CometBft } else { Engine::Embedded })
}

/// Refuses a home that is made for another engine than the genesis names.
///
/// # Errors
/// When it is, and as [`engine_of`].
pub fn agree(path: &Path, genesis: Engine) -> anyhow::Result<()> {
    let home = engine_of(path)?;
    anyhow::ensure!(
        home == genesis,
        "{} is for {home}, and the genesis says that the chain is agreed on by {genesis}: make a home with `zynk node init --genesis`",
        path.display()
    );
    Ok(())
}

/// What people call the node of this `node.toml`, whatever its engine.
///
/// # Errors
/// When it cannot be read, or does not say it.
pub fn moniker(path: &Path) -> anyhow::Result<String> {
    match engine_of(path)? {
        Engine::CometBft => Ok(Config::load(path)?.moniker),
        Engine::Embedded => Ok(crate::Config::load(path)?.moniker),
    }
}
