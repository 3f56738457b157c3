//! Where a network on loopback keeps its files, and who owns what at its beginning.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use genesis::{KeyFile, KeyKind, peer};
use ledger::Params;
use node::config::{Config, Network as P2p, Rpc};
use rpc::relay::Registration;
use tendermint::Time;
use types::{Address, Amount, ChainId};

use crate::files::{Files, Keys, PORTS, loopback, moniker, ports};

/// Connections that a validator takes from the one address of this machine: 64 validators may come twice.
const PER_ADDRESS: usize = 128;

/// What the relay's account has at the beginning: it pays for people's identities, its log's bond and its anchors.
const RELAY_FUNDS: Amount = Amount(10_000 * Amount::ZYNK.0);

/// How often the relay anchors, in milliseconds: once in a block's time, so that a message is provable soon.
const ANCHOR_INTERVAL_MS: u64 = 500;

/// How a network is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain's name.
    pub chain: ChainId,
    /// How many validators, 1 to 64, each with the same stake.
    pub validators: u16,
    /// The first port; the validators use three each from there on, then relay and gateway one each. 0 looks for
    /// free ones.
    pub first_port: u16,
    /// Whether there is a relay, and a gateway before it.
    pub services: bool,
    /// The chain's parameters.
    pub params: Params,
}

/// A network on loopback, at rest: [`Files`], and what listens where.
#[derive(Debug, Clone)]
pub struct Network {
    files: Files,
    configs: Vec<Config>,
    services: Option<Services>,
}

/// Where the services listen.
#[derive(Debug, Clone, Copy)]
struct Services {
    relay: SocketAddr,
    gateway: SocketAddr,
}

impl Network {
    /// Makes the homes, keys and genesis of a network in `folder`, which must not hold one yet.
    ///
    /// # Errors
    /// When a file cannot be written, or the settings are not those of a chain.
    pub fn create(folder: &Path, settings: &Settings, now: Time) -> anyhow::Result<Self> {
        let (configs, services) = places(settings)?;
        let network = Self { files: Files::new(folder), configs, services };
        let (faucet, mut builder) = network.begin(settings, now)?;
        if network.services.is_some() {
            builder = builder.account(network.make_relay_account()?, RELAY_FUNDS)?;
        }
        for place in 0..network.len() {
            builder = builder.validator(network.make_validator(place, &faucet, &Keys::generate())?)?;
        }
        let genesis = builder.build()?;
        let json = genesis.to_json();
        let mut copies: Vec<PathBuf> = (0..network.len()).map(|place| network.home(place).genesis()).chain([network.genesis()]).collect();
        if let Some(services) = network.services {
            copies.extend(network.configure(services)?);
        }
        for path in copies {
            std::fs::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
        }
        network.connect()?;
        Ok(network)
    }

    /// Takes up a network that was made before.
    ///
    /// # Errors
    /// When a home cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut network = Self { files: Files::new(folder), configs: Vec::new(), services: None };
        while network.home(network.len()).config().exists() {
            let config = Config::load(&network.home(network.len()).config())?;
            network.configs.push(config);
        }
        anyhow::ensure!(!network.configs.is_empty(), "{} holds no network", folder.display());
        if network.relay_home().config().exists() {
            let relay = relay::Config::load(&network.relay_home().config())?.listen;
            let gateway = gateway::Settings::load(&network.gateway_home().settings())?.listen;
            network.services = Some(Services { relay, gateway });
        }
        Ok(network)
    }

    /// Whether `folder` holds a network.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        Files::new(folder).genesis().exists()
    }

    /// How many validators.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.configs.len()
    }

    /// Whether there are none; never so.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// The URL of a validator's RPC.
    #[must_use]
    pub fn url(&self, place: usize) -> String {
        format!("http://{}", self.configs[place].rpc.listen)
    }

    /// Whether there are a relay and a gateway.
    #[must_use]
    pub const fn has_services(&self) -> bool {
        self.services.is_some()
    }

    /// The relay's home folder.
    #[must_use]
    pub fn relay_folder(&self) -> PathBuf {
        self.folder().join("relay")
    }

    /// The gateway's home folder.
    #[must_use]
    pub fn gateway_folder(&self) -> PathBuf {
        self.folder().join("gateway")
    }

    /// The relay's home.
    #[must_use]
    pub fn relay_home(&self) -> relay::Home {
        relay::Home::new(&self.relay_folder())
    }

    /// The gateway's home.
    #[must_use]
    pub fn gateway_home(&self) -> gateway::Home {
        gateway::Home::new(&self.gateway_folder())
    }

    /// The relay's URL, if there is one.
    #[must_use]
    pub fn relay_url(&self) -> Option<String> {
        self.services.map(|services| format!("http://{}", services.relay))
    }

    /// The gateway's URL, if there is one: the address for clients.
    #[must_use]
    pub fn gateway_url(&self) -> Option<String> {
        self.services.map(|services| format!("http://{}", services.gateway))
    }

    /// Makes the relay's account; its address.
    fn make_relay_account(&self) -> anyhow::Result<Address> {
        std::fs::create_dir_all(self.relay_folder())?;
        let account = KeyFile::generate(KeyKind::Account);
        account.create(&self.relay_home().account_key())?;
        Ok(account.public().address())
    }

    /// Writes what relay and gateway are told; where their copies of the genesis belong.
    fn configure(&self, services: Services) -> anyhow::Result<[PathBuf; 2]> {
        std::fs::create_dir_all(self.gateway_folder())?;
        let node = self.url(0);
        // Everybody who tries it out comes from one address.
        let limits = relay::config::Limits { registrations: 1_000, trusted_proxies: vec![services.gateway.ip()], ..Default::default() };
        let relay = relay::Config {
            listen: services.relay,
            node: node.clone(),
            registration: Registration::Open,
            anchor_interval_ms: ANCHOR_INTERVAL_MS,
            sponsor: relay::config::Sponsor::default(),
            limits,
        };
        relay.save(&self.relay_home().config())?;
        let gateway = gateway::Settings {
            relay: Some(format!("http://{}", services.relay)),
            node: Some(node),
            ..gateway::Settings::new(services.gateway)
        };
        gateway.save(&self.gateway_home().settings())?;
        Ok([self.relay_home().genesis(), self.gateway_home().genesis()])
    }

    /// Tells every validator of the others.
    fn connect(&self) -> anyhow::Result<()> {
        let ids: Vec<String> = (0..self.len())
            .map(|place| Ok(peer::peer_id_text(&KeyFile::load(&self.home(place).node_key(), KeyKind::Node)?.public())))
            .collect::<anyhow::Result<_>>()?;
        for (place, config) in self.configs.iter().enumerate() {
            let mut config = config.clone();
            for (other, neighbour) in self.configs.iter().enumerate().filter(|(other, _)| *other != place) {
                config.consensus.peers.push(neighbour.consensus.listen.clone());
                config.gossip.peers.push(format!("{}/p2p/{}", neighbour.gossip.listen, ids[other]).parse()?);
            }
            config.save(&self.home(place).config())?;
        }
        Ok(())
    }
}

impl Deref for Network {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
    }
}

/// What listens where.
fn places(settings: &Settings) -> anyhow::Result<(Vec<Config>, Option<Services>)> {
    let (validators, services) = ports(settings, if settings.services { 2 } else { 0 })?;
    // Everybody comes from one address.
    let p2p = |port: u16| {
        let listen = format!("/ip4/127.0.0.1/tcp/{port}").parse()?;
        Ok::<_, anyhow::Error>(P2p { max_per_address: PER_ADDRESS, ..P2p::new(listen, Vec::new()) })
    };
    let config = |(place, [consensus, rpc, gossip]): (usize, [u16; PORTS])| {
        Ok(Config {
            moniker: moniker(place),
            consensus: p2p(consensus)?,
            rpc: Rpc { listen: loopback(rpc) },
            index: node::index::Config::default(),
            state: node::state::Settings::default(),
            signer: None,
            gossip: p2p(gossip)?,
        })
    };
    let configs = validators.into_iter().enumerate().map(config).collect::<anyhow::Result<_>>()?;
    let services = match services[..] {
        [relay, gateway] => Some(Services { relay: loopback(relay), gateway: loopback(gateway) }),
        _ => None,
    };
    Ok((configs, services))
}
