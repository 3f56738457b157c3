//! `zynk node init`, `peer` and `show`: the home of a node, whom it knows, and what others need to know of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use genesis::{Genesis, KeyFile, KeyKind, Passphrase, peer_id_text};
use ledger::Engine;
use node::abci::config::engine_of;
use node::abci::home::CometHome;
use node::config::{Config, Home, Network, Rpc};
use serde_json::{Value, json};

use crate::commands::key_file;
use crate::failure::Failure;
use crate::report::Report;
use crate::unlock;

/// From a node's port for consensus to its port for clients.
const RPC: u16 = 1;

/// From a node's port for consensus to its port for transactions.
const GOSSIP: u16 = 2;

/// The port for consensus, as CometBFT has it.
const PORT: u16 = 26656;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk node init --home node --genesis genesis.json --moniker alpha --peer 12D3KooW…@203.0.113.7\n  \
    zynk node --home node\n\n\
    Without --genesis, put genesis.json into the home before the node starts. With --validator the home gets a key that\n\
    signs votes; it counts once `zynk validator create`, or the genesis, has made a validator of it.")]
pub(crate) struct Init {
    /// The node's home folder; what is there is left as it is
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    pub(super) home: PathBuf,
    /// What people call the node
    #[arg(long, value_name = "NAME")]
    pub(super) moniker: String,
    /// The chain's genesis, which is copied
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// What agrees on the chain's blocks, embedded or cometbft; with a genesis, what that says
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Make a key that signs votes, too
    #[arg(long)]
    pub(super) validator: bool,
    /// Encrypt the keys under a passphrase, which every start needs
    #[arg(long)]
    pub(super) encrypt: bool,
    /// The address to listen on for other nodes
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(super) listen: IpAddr,
    /// The port for consensus; the next is for clients on this machine, the one after it for transactions
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub(super) port: u16,
    /// A node to stay connected to, as `zynk node show` names it; may be given often
    #[arg(long = "peer", value_name = "PEER@HOST[:PORT]")]
    pub(super) peers: Vec<String>,
    /// Begin with a snapshot of this node, named by its RPC, in place of executing every block; give at least two, of
    /// different operators
    #[arg(long, value_name = "URL")]
    state_sync: Vec<String>,
    /// A height whose block you know from elsewhere: needed where the genesis is older than the trusting period
    #[arg(long, value_name = "HEIGHT", requires_all = ["trust_hash", "state_sync"])]
    trust_height: Option<u64>,
    /// The hash of that block's header
    #[arg(long, value_name = "HASH", requires = "trust_height")]
    trust_hash: Option<types::Hash>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk node peer --home node 12D3KooW…@203.0.113.7\n\n\
    A node that runs connects to it when it is started again.")]
pub(crate) struct Peer {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// A node to stay connected to, as `zynk node show` names it
    #[arg(value_name = "PEER@HOST[:PORT]", required = true)]
    peers: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk node show --home node --host 203.0.113.7")]
pub(crate) struct Show {
    /// The node's home folder
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// The name or address under which others reach this machine
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
}

pub(crate) fn init(arguments: &Init) -> Result<Report, Failure> {
    let home = Home::new(&arguments.home);
    let genesis = arguments.genesis.as_deref().map(|path| Genesis::load(path).map_err(Failure::file(path))).transpose()?;
    let named = genesis.as_ref().map(Genesis::engine);
    if let (Some(named), Some(asked)) = (named, arguments.engine)
        && named != asked
    {
        return Err(Failure::Run(anyhow::anyhow!("the genesis says that the chain is agreed on by {named}, not {asked}")));
    }
    if named.or(arguments.engine) == Some(Engine::CometBft) {
        return super::comet::init(arguments, genesis.as_ref());
    }
    let config = config(arguments).map_err(Failure::Run)?;
    if home.config().exists() {
        return Err(genesis::Error::Exists(home.config()).into());
    }
    std::fs::create_dir_all(&arguments.home).map_err(Failure::io(&arguments.home))?;
    let passphrase = arguments.encrypt.then(unlock::new_passphrase).transpose()?;
    make(&home.node_key(), KeyKind::Node, passphrase.as_ref())?;
    if arguments.validator {
        make(&home.validator_key(), KeyKind::Validator, passphrase.as_ref())?;
    }
    if let Some(genesis) = &genesis {
        genesis::file::replace_public(&home.genesis(), genesis.to_json().as_bytes())?;
    }
    // Last: a home with it is whole.
    config.save(&home.config()).map_err(Failure::Run)?;
    let (text, value) = describe(&home, &config, "HOST")?;
    Ok(Report::new(format!("made a home in {}\n{text}", arguments.home.display()), value))
}

pub(crate) fn peer(arguments: &Peer) -> Result<Report, Failure> {
    let path = Home::new(&arguments.home).config();
    if engine_of(&path).map_err(Failure::Run)? == Engine::CometBft {
        let file = CometHome::beside(&arguments.home).config();
        return Err(Failure::Run(anyhow::anyhow!("CometBFT knows its peers: name them in {}, persistent_peers", file.display())));
    }
    let mut config = Config::load(&path).map_err(Failure::Run)?;
    name(&mut config, &arguments.peers).and_then(|()| config.save(&path)).map_err(Failure::Run)?;
    let (moniker, peers) = (&config.moniker, &config.gossip.peers);
    Ok(Report::new(format!("{moniker} knows {} peers from its next start on", peers.len()), json!({"moniker": moniker, "peers": peers})))
}

pub(crate) fn show(arguments: &Show) -> Result<Report, Failure> {
    let home = Home::new(&arguments.home);
    if engine_of(&home.config()).map_err(Failure::Run)? == Engine::CometBft {
        return super::comet::show(&arguments.home, &arguments.host);
    }
    let config = Config::load(&home.config()).map_err(Failure::Run)?;
    let (text, value) = describe(&home, &config, &arguments.host)?;
    Ok(Report::new(text, value))
}

/// A key that is there already is kept: it may be known to others.
fn make(path: &Path, kind: KeyKind, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
    if path.exists() {
        return key_file(path, kind).map(drop);
    }
    let key = KeyFile::generate(kind);
    let key = match passphrase {
        Some(passphrase) => key.encrypted(passphrase)?,
        None => key,
    };
    key.create(path).map_err(Failure::file(path))
}

fn describe(home: &Home, config: &Config, host: &str) -> Result<(String, Value), Failure> {
    let public = |path: &Path, kind| KeyFile::public_of(path, kind).map_err(Failure::file(path));
    let node = public(&home.node_key(), KeyKind::Node)?;
    let validator = home.validator_key();
    let validator = if validator.exists() { Some(public(&validator, KeyKind::Validator)?) } else { None };
    let port = port_of(&config.consensus);
    let peer = format!("{}@{host}:{port}", peer_id_text(&node));
    let votes = validator.map_or_else(String::new, |key| format!("\nvotes are signed by {key} (validator {})", key.address()));
    let text = format!(
        "{} listens on {} and {}, for clients on {}\nothers name it --peer {peer}{votes}",
        config.moniker, config.consensus.listen, config.gossip.listen, config.rpc.listen
    );
    let value = json!({
        "moniker": config.moniker,
        "peer": peer,
        "node_key": node,
        "consensus_key": validator,
        "validator": validator.map(|key| key.address()),
        "rpc": config.rpc.listen,
    });
    Ok((text, value))
}

fn port_of(network: &Network) -> String {
    network.listen.to_string().split('/').nth(4).unwrap_or_default().to_owned()
}

fn config(arguments: &Init) -> anyhow::Result<Config> {
    let Init { listen, port, .. } = *arguments;
    anyhow::ensure!(port <= u16::MAX - GOSSIP, "the port must be at most {}", u16::MAX - GOSSIP);
    let on = |offset: u16| multiaddress(&listen.to_string(), port + offset);
    let network = |offset: u16| -> anyhow::Result<Network> { Ok(Network::new(on(offset).parse()?, Vec::new())) };
    let sync = (!arguments.state_sync.is_empty()).then(|| node::state::Sync {
        servers: arguments.state_sync.clone(),
        trust_height: arguments.trust_height.map(types::Height),
        trust_hash: arguments.trust_hash,
    });
    let mut config = Config {
        moniker: arguments.moniker.clone(),
        consensus: network(0)?,
        gossip: network(GOSSIP)?,
        rpc: Rpc { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port + RPC)) },
        index: node::index::Config::default(),
        state: node::state::Settings { sync, ..node::state::Settings::default() },
        signer: None,
    };
    config.state.check()?;
    name(&mut config, &arguments.peers)?;
    Ok(config)
}

/// Names peers on both networks, each once.
fn name(config: &mut Config, peers: &[String]) -> anyhow::Result<()> {
    for peer in peers {
        for (network, offset) in [(&mut config.consensus, 0), (&mut config.gossip, GOSSIP)] {
            let address = address(peer, offset, over_quic(network))?.parse()?;
            if !network.peers.contains(&address) {
                network.peers.push(address);
            }
        }
    }
    Ok(())
}

/// Whether a network's nodes are spoken to over QUIC: a node names others as it listens itself.
fn over_quic(network: &Network) -> bool {
    network.listen.to_string().contains("/quic-v1")
}

/// The address of a peer's port. The consensus network finds out for itself who answers there.
fn address(peer: &str, offset: u16, quic: bool) -> anyhow::Result<String> {
    let wanted = || format!("{peer}: a peer is PEER@HOST or PEER@HOST:PORT, as `zynk node show` prints it");
    let (id, place) = peer.split_once('@').with_context(wanted)?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().with_context(wanted)?),
        _ => (place, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.checked_add(offset).with_context(wanted)?;
    let address = if quic { multiaddress(host, port).replace("/tcp/", "/udp/") + "/quic-v1" } else { multiaddress(host, port) };
    Ok(if offset == GOSSIP { format!("{address}/p2p/{id}") } else { address })
}

fn multiaddress(host: &str, port: u16) -> String {
    let kind = match host.parse() {
        Ok(IpAddr::V4(_)) => "ip4",
        Ok(IpAddr::V6(_)) => "ip6",
        Err(_) => "dns",
    };
    format!("/{kind}/{host}/tcp/{port}")
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_peer_is_named_once_for_both_networks() {
        let cases = [
            ("12D3@203.0.113.7", Some(("/ip4/203.0.113.7/tcp/26656", "/ip4/203.0.113.7/tcp/26658/p2p/12D3"))),
            ("12D3@203.0.113.7:4000", Some(("/ip4/203.0.113.7/tcp/4000", "/ip4/203.0.113.7/tcp/4002/p2p/12D3"))),
            ("12D3@node.example:4000", Some(("/dns/node.example/tcp/4000", "/dns/node.example/tcp/4002/p2p/12D3"))),
            ("12D3@2001:db8::7", Some(("/ip6/2001:db8::7/tcp/26656", "/ip6/2001:db8::7/tcp/26658/p2p/12D3"))),
            ("12D3@[2001:db8::7]:4000", Some(("/ip6/2001:db8::7/tcp/4000", "/ip6/2001:db8::7/tcp/4002/p2p/12D3"))),
            ("203.0.113.7", None),
            ("12D3@203.0.113.7:port", None),
            ("12D3@203.0.113.7:65535", None),
        ];
        for (text, expected) in cases {
            let both = address(text, 0, false).and_then(|consensus| Ok((consensus, address(text, 2, false)?)));
            assert_eq!(both.ok(), expected.map(|(consensus, gossip)| (consensus.to_owned(), gossip.to_owned())), "{text}");
        }
        let quic = address("12D3@203.0.113.7", 2, true).expect("a peer");
        assert_eq!(quic, "/ip4/203.0.113.7/udp/26658/quic-v1/p2p/12D3");
    }
}
