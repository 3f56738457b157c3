//! Where a network keeps what every network has, whatever agrees on its blocks; who owns what at its beginning.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use genesis::{Builder, Genesis, KeyFile, KeyKind, peer};
use ledger::genesis::GenesisValidator;
use ledger::stake::delegation::MAX_DELEGATIONS;
use node::config::Home;
use tendermint::Time;
use types::{Address, Amount};

use crate::layout::Settings;

/// Ports that one validator uses.
pub(crate) const PORTS: usize = 3;

/// A network's folder and what is in it.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
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

    /// A validator's home folder; under CometBFT, CometBFT's home lies in it.
    #[must_use]
    pub fn home_folder(&self, place: usize) -> PathBuf {
        self.folder.join(format!("validator{place}"))
    }

    /// A validator's home.
    #[must_use]
    pub fn home(&self, place: usize) -> Home {
        Home::new(&self.home_folder(place))
    }

    /// Reads the genesis.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load_genesis(&self) -> anyhow::Result<Genesis> {
        Ok(Genesis::load(&self.genesis())?)
    }

    /// Makes the folder and the faucet's key; a genesis in which the faucet has its million.
    pub(crate) fn begin(&self, settings: &Settings, now: Time) -> anyhow::Result<(KeyFile, Builder)> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let faucet = KeyFile::generate(KeyKind::Account);
        faucet.create(&self.faucet())?;
        let builder = Builder::new(settings.chain.clone(), now, settings.params);
        let builder = builder.account(faucet.public().address(), Amount(1_000_000 * Amount::ZYNK.0))?;
        Ok((faucet, builder))
    }

    /// Makes a validator's home with its keys; what the genesis says of it.
    pub(crate) fn make_validator(&self, place: usize, faucet: &KeyFile, keys: &Keys) -> anyhow::Result<GenesisValidator> {
        let home = self.home(place);
        std::fs::create_dir_all(self.home_folder(place))?;
        keys.validator.create(&home.validator_key())?;
        keys.node.create(&home.node_key())?;
        Ok(GenesisValidator {
            operator: self.operator(place, faucet)?,
            consensus_key: keys.validator.public(),
            peer_id: peer::peer_id_blob(&keys.node.public()),
            moniker: moniker(place).as_str().try_into()?,
            stake: Amount(100 * Amount::ZYNK.0),
            commission_bps: 1_000,
        })
    }

    /// Who operates a validator: the faucet, as far as one account may; beyond that an account whose key lies in the
    /// validator's home.
    fn operator(&self, place: usize, faucet: &KeyFile) -> anyhow::Result<Address> {
        if place < MAX_DELEGATIONS {
            return Ok(faucet.public().address());
        }
        let key = KeyFile::generate(KeyKind::Account);
        key.create(&self.home_folder(place).join("operator.key"))?;
        Ok(key.public().address())
    }
}

/// A validator's keys.
pub(crate) struct Keys {
    pub(crate) validator: KeyFile,
    pub(crate) node: KeyFile,
}

impl Keys {
    pub(crate) fn generate() -> Self {
        Self { validator: KeyFile::generate(KeyKind::Validator), node: KeyFile::generate(KeyKind::Node) }
    }
}

/// What a validator is called.
pub(crate) fn moniker(place: usize) -> String {
    format!("validator{place}")
}

/// Ports for each validator, and `more` beyond them.
///
/// # Errors
/// When there are not as many, or the network would have no validator or too many.
pub(crate) fn ports(settings: &Settings, more: usize) -> anyhow::Result<(Vec<[u16; PORTS]>, Vec<u16>)> {
    anyhow::ensure!((1..=64).contains(&settings.validators), "a network on loopback has 1 to 64 validators");
    let validators = usize::from(settings.validators) * PORTS;
    let count = validators + more;
    let ports: Vec<u16> = match settings.first_port {
        0 => free_ports(count)?,
        first => (first..=u16::MAX).take(count).collect(),
    };
    anyhow::ensure!(ports.len() == count, "no {count} ports from {} on", settings.first_port);
    let (validators, more) = ports.split_at(validators);
    let (validators, _) = validators.as_chunks();
    Ok((validators.to_vec(), more.to_vec()))
}

/// On this machine alone.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports that are free now; all are held at once, so that none is given twice.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
    Ok(held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?)
}
