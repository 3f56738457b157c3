//! A node's home: its files, and what its operator chooses in `node.toml`.
//!
//! What the whole chain must agree on is in the genesis, never here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

/// `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What people call this node.
    pub moniker: String,
    /// The validators' network.
    pub consensus: Network,
    /// The network on which transactions spread.
    pub gossip: Network,
    /// Where clients ask.
    pub rpc: Rpc,
}

/// One of the node's two libp2p networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The address to listen on, as a multiaddress: `/ip4/127.0.0.1/tcp/26656`.
    pub listen: Multiaddr,
    /// Nodes to stay connected to.
    #[serde(default)]
    pub peers: Vec<Multiaddr>,
}

/// The RPC server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rpc {
    /// The address to listen on.
    pub listen: SocketAddr,
}

/// Where a node keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The operator's choices.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// The chain's genesis.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.json")
    }

    /// The key that signs votes; a node without it only follows.
    #[must_use]
    pub fn validator_key(&self) -> PathBuf {
        self.0.join("validator.key")
    }

    /// The key of the node's peer id.
    #[must_use]
    pub fn node_key(&self) -> PathBuf {
        self.0.join("node.key")
    }

    /// What the node writes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data().join("db")
    }

    /// The engine's log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.data().join("consensus.wal")
    }

    /// The signing guard.
    #[must_use]
    pub fn guard(&self) -> PathBuf {
        self.data().join("signing-guard")
    }
}

impl Config {
    /// Reads `node.toml`.
    ///
    /// # Errors
    /// When it cannot be read, or says something that this program does not know.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a node's configuration", path.display()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, toml::to_string_pretty(self)?)?)
    }
}
