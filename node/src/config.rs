//! A node's home: its files, and what its operator chooses in `node.toml`.
//!
//! What the whole chain must agree on is in the genesis, never here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::state;

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
    /// Where searches are answered from.
    #[serde(default)]
    pub index: crate::index::Config,
    /// What is kept of the chain, and where a new node begins.
    #[serde(default, skip_serializing_if = "state::Settings::is_default")]
    pub state: state::Settings,
    /// Where the validator's key is, if not in this home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<crate::signer::Config>,
}

/// One of the node's two libp2p networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The address to listen on, as a multiaddress: `/ip4/127.0.0.1/tcp/26656`, or `/ip4/127.0.0.1/udp/26656/quic-v1` for QUIC.
    pub listen: Multiaddr,
    /// Nodes to stay connected to.
    #[serde(default)]
    pub peers: Vec<Multiaddr>,
    /// Where others reach this node, IP addresses alone; without any, where it listens, or the address that its
    /// peers see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announce: Vec<Multiaddr>,
    /// Whether, for transactions, it finds other nodes and is found by them, and, for blocks, connects to the
    /// validators that are found.
    #[serde(default = "yes")]
    pub discover: bool,
    /// At most so many connections that others opened come from one IPv4 address or one /64 of IPv6.
    #[serde(default = "max_per_address")]
    pub max_per_address: usize,
}

const fn yes() -> bool {
    true
}

/// A household, an office or a small hoster.
const fn max_per_address() -> usize {
    8
}

impl Network {
    /// A network with these peers and the usual settings.
    #[must_use]
    pub const fn new(listen: Multiaddr, peers: Vec<Multiaddr>) -> Self {
        Self { listen, peers, announce: Vec::new(), discover: yes(), max_per_address: max_per_address() }
    }
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

    /// What proves the node's peer id to be the validator's, where its key is with a remote signer.
    #[must_use]
    pub fn validator_proof(&self) -> PathBuf {
        self.0.join("validator.proof")
    }

    /// The key of the node's peer id.
    #[must_use]
    pub fn node_key(&self) -> PathBuf {
        self.0.join("node.key")
    }

    /// The addresses of other nodes.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.data().join("addresses")
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

    /// The snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.data().join("snapshots")
    }

    /// The index, where it is a file.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.data().join("index.sqlite")
    }

    /// What was fetched of a snapshot by a sync of the state that is not done.
    #[must_use]
    pub fn statesync(&self) -> PathBuf {
        self.data().join("statesync")
    }

    /// The engine's log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.data().join("consensus.wal")
    }

    /// The engine's log while a validator follows because its signer is away.
    #[must_use]
    pub fn following(&self) -> PathBuf {
        self.data().join("following.wal")
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
moniker = "one"

[consensus]
listen = "/ip4/127.0.0.1/tcp/26656"
peers = ["/ip4/127.0.0.2/tcp/26656"]

[gossip]
listen = "/ip4/127.0.0.1/tcp/26660"

[rpc]
listen = "127.0.0.1:26657"
"#;

    fn load(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::TempDir::new()?;
        let path = Home::new(folder.path()).config();
        std::fs::write(&path, text)?;
        Config::load(&path)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = Home::new(folder.path()).config();
        let config = load(GOOD).expect("a configuration");
        config.save(&path).expect("a file");
        assert_eq!(Config::load(&path).expect("a configuration"), config);
        assert_eq!(config.gossip, Network::new("/ip4/127.0.0.1/tcp/26660".parse().expect("an address"), Vec::new()));
        assert_eq!((config.moniker.as_str(), config.consensus.peers.len(), config.rpc.listen.port()), ("one", 1, 26657));
    }

    #[test]
    fn what_the_program_does_not_know_is_refused_and_named() {
        let check = |story: &str, old: &str, new: &str, named: &str| {
            assert!(GOOD.contains(old), "{story}: the story bends the text");
            let error = load(&GOOD.replace(old, new)).map_or_else(|error| format!("{error:#}"), |_| String::new());
            assert!(error.contains("node.toml is not a node's configuration") && error.contains(named), "{story}: {error}");
        };
        check("an unknown field", "moniker", "colour = \"red\"\nmoniker", "colour");
        check("an unknown field of a section", "[rpc]", "[rpc]\nsecure = true", "secure");
        check("an unknown section", "[rpc]", "[archive]\n[rpc]", "archive");
        check("a section missing", "[gossip]\nlisten = \"/ip4/127.0.0.1/tcp/26660\"", "", "gossip");
        check("a field missing", "moniker = \"one\"", "", "moniker");
        check("no multiaddress", "/ip4/127.0.0.1/tcp/26660", "127.0.0.1:26660", "multiaddr");
        check("no multiaddress among the peers", "/ip4/127.0.0.2/tcp/26656", "/ip4/127.0.0.256/tcp/26656", "peers");
        check("no socket address", "127.0.0.1:26657", "localhost", "listen");
        check("no TOML", "[rpc]", "[rpc", "rpc");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nowhere/node.toml")).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(error, "cannot read /nowhere/node.toml");
    }
}
