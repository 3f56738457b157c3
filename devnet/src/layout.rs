//! Where a network on loopback keeps its files, and who owns what at its beginning.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use genesis::{Builder, Genesis, KeyFile, KeyKind, peer};
use ledger::Params;
use ledger::genesis::GenesisValidator;
use node::config::{Config, Home, Network as P2p, Rpc};
use tendermint::Time;
use types::{Amount, ChainId};

/// Ports that one validator uses: consensus, RPC, gossip; CometBFT's own numbers for the first.
const PORTS: u16 = 3;

/// How a network is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain's name.
    pub chain: ChainId,
    /// How many validators, 1 to 64, each with the same stake.
    pub validators: u16,
    /// The first port; the validators use three each from there on. 0 looks for free ones.
    pub first_port: u16,
    /// The chain's parameters.
    pub params: Params,
}

/// A network on loopback, at rest.
#[derive(Debug, Clone)]
pub struct Network {
    folder: PathBuf,
    configs: Vec<Config>,
}

impl Network {
    /// Makes the homes, keys and genesis of a network in `folder`, which must not hold one yet.
    ///
    /// # Errors
    /// When a file cannot be written, or the settings are not those of a chain.
    pub fn create(folder: &Path, settings: &Settings, now: Time) -> anyhow::Result<Self> {
        anyhow::ensure!((1..=64).contains(&settings.validators), "a network on loopback has 1 to 64 validators");
        let network = Self { folder: folder.to_owned(), configs: configs(settings)? };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let faucet = KeyFile::generate(KeyKind::Account);
        faucet.create(&network.faucet())?;
        let mut builder = Builder::new(settings.chain.clone(), now, settings.params);
        builder = builder.account(faucet.public().address(), Amount(1_000_000 * Amount::ZYNK.0))?;
        for place in 0..network.len() {
            builder = builder.validator(network.make_validator(place, &faucet)?)?;
        }
        let genesis = builder.build()?;
        let json = genesis.to_json();
        for path in (0..network.len()).map(|place| network.home(place).genesis()).chain([network.genesis()]) {
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
        let mut network = Self { folder: folder.to_owned(), configs: Vec::new() };
        while network.home(network.len()).config().exists() {
            let config = Config::load(&network.home(network.len()).config())?;
            network.configs.push(config);
        }
        anyhow::ensure!(!network.configs.is_empty(), "{} holds no network", folder.display());
        Ok(network)
    }

    /// Whether `folder` holds a network.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        folder.join("genesis.json").exists()
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

    /// Where everything is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The chain's genesis file.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.folder.join("genesis.json")
    }

    /// The key file of an account with a million ZYNK.
    #[must_use]
    pub fn faucet(&self) -> PathBuf {
        self.folder.join("faucet.key")
    }

    /// A validator's home folder.
    #[must_use]
    pub fn home_folder(&self, place: usize) -> PathBuf {
        self.folder.join(format!("validator{place}"))
    }

    /// A validator's home.
    #[must_use]
    pub fn home(&self, place: usize) -> Home {
        Home::new(&self.home_folder(place))
    }

    /// The URL of a validator's RPC.
    #[must_use]
    pub fn url(&self, place: usize) -> String {
        format!("http://{}", self.configs[place].rpc.listen)
    }

    /// Reads the genesis.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load_genesis(&self) -> anyhow::Result<Genesis> {
        Ok(Genesis::load(&self.genesis())?)
    }

    fn make_validator(&self, place: usize, faucet: &KeyFile) -> anyhow::Result<GenesisValidator> {
        let home = self.home(place);
        std::fs::create_dir_all(self.home_folder(place))?;
        let (validator, node) = (KeyFile::generate(KeyKind::Validator), KeyFile::generate(KeyKind::Node));
        validator.create(&home.validator_key())?;
        node.create(&home.node_key())?;
        Ok(GenesisValidator {
            operator: faucet.public().address(),
            consensus_key: validator.public(),
            peer_id: peer::peer_id_blob(&node.public()),
            moniker: self.configs[place].moniker.as_str().try_into()?,
            stake: Amount(100 * Amount::ZYNK.0),
            commission_bps: 1_000,
        })
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

fn configs(settings: &Settings) -> anyhow::Result<Vec<Config>> {
    let count = settings.validators * PORTS;
    let ports: Vec<u16> = match settings.first_port {
        0 => free_ports(count.into())?,
        first => (first..=u16::MAX).take(count.into()).collect(),
    };
    anyhow::ensure!(ports.len() == usize::from(count), "no {count} ports from {} on", settings.first_port);
    let p2p = |port: u16| Ok::<_, anyhow::Error>(P2p { listen: format!("/ip4/127.0.0.1/tcp/{port}").parse()?, peers: Vec::new() });
    let config = |(place, ports): (usize, &[u16])| {
        Ok(Config {
            moniker: format!("validator{place}"),
            consensus: p2p(ports[0])?,
            rpc: Rpc { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[1])) },
            gossip: p2p(ports[2])?,
        })
    };
    ports.chunks(PORTS.into()).enumerate().map(config).collect()
}

/// Ports that are free now; all are held at once, so that none is given twice.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
    Ok(held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?)
}
