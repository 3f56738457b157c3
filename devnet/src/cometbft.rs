//! A network under CometBFT on loopback: for each validator a `zynk node` and a CometBFT, each a process of its own.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! # let (folder, zynk, cometbft) = (std::path::Path::new("net"), std::path::Path::new("zynk"), std::path::Path::new("cometbft"));
//! # let params = ledger::Params::default();
//! # let settings = devnet::Settings { chain: "a-chain".parse()?, validators: 4, first_port: 0, services: false, params };
//! let network = devnet::CometNetwork::create(folder, &settings, tendermint::Time::now())?;
//! let mut running = network.start(zynk, cometbft)?; // dropped, it is killed
//! let url = network.url(0); // CometBFT's RPC: what clients, `rpc::Chain` and benches ask
//! # Ok(())
//! # }
//! ```
//!
//! [`CometNetwork::create`] writes homes like those that `zynk node init` makes, [`CometNetwork::start`] starts
//! everything; [`CometRunning::wait_for`] waits for a height. CometBFT's own settings are those of
//! `node::abci::home::config`; to bend one, write to [`CometNetwork::comet_home`]`(place).config()` before the start.
//! `tools/cometbft` prints where a CometBFT is.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use genesis::{Builder, Genesis, KeyFile, KeyKind, peer};
use ledger::Engine;
use ledger::genesis::GenesisValidator;
use node::abci::config::{Abci, Config};
use node::abci::home::{self, CometHome};
use node::config::Home;
use rpc::Node;
use tendermint::Time;
use types::Amount;

use crate::layout::{Settings, free_ports, operator};
use crate::process::{last_lines, stop};

/// Ports that one validator uses, in this order: CometBFT's network, CometBFT's RPC, the application.
const PORTS: u16 = 3;

/// A network under CometBFT, at rest.
#[derive(Debug, Clone)]
pub struct CometNetwork {
    folder: PathBuf,
    rpc: Vec<SocketAddr>,
}

/// A network under CometBFT that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct CometRunning {
    network: CometNetwork,
    zynk: PathBuf,
    cometbft: PathBuf,
    apps: Vec<Option<Child>>,
    engines: Vec<Option<Child>>,
}

/// The two processes of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `zynk node`.
    Application,
    /// `cometbft start`.
    CometBft,
}

impl Part {
    /// What its log is called.
    const fn name(self) -> &'static str {
        match self {
            Self::Application => "node",
            Self::CometBft => "cometbft",
        }
    }
}

/// Keys and ports of a validator that is being made.
struct Member {
    validator: KeyFile,
    node: KeyFile,
    settings: home::Settings,
}

impl CometNetwork {
    /// Makes the homes, keys and genesis of a network in `folder`, which must not hold one yet. Its faucet has a
    /// million ZYNK and operates the validators, as in [`crate::Network`].
    ///
    /// # Errors
    /// When a file cannot be written, or the settings are not those of such a chain: it has no services.
    pub fn create(folder: &Path, settings: &Settings, now: Time) -> anyhow::Result<Self> {
        anyhow::ensure!((1..=64).contains(&settings.validators), "a network on loopback has 1 to 64 validators");
        anyhow::ensure!(!settings.services, "a network under CometBFT is made without relay and gateway");
        let count = settings.validators * PORTS;
        let ports: Vec<u16> = match settings.first_port {
            0 => free_ports(count.into())?,
            first => (first..=u16::MAX).take(count.into()).collect(),
        };
        anyhow::ensure!(ports.len() == usize::from(count), "no {count} ports from {} on", settings.first_port);
        let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let member = |(place, ports): (usize, &[u16])| Member {
            validator: KeyFile::generate(KeyKind::Validator),
            node: KeyFile::generate(KeyKind::Node),
            settings: home::Settings {
                moniker: format!("validator{place}"),
                p2p: loopback(ports[0]),
                rpc: loopback(ports[1]),
                abci: loopback(ports[2]),
                peers: Vec::new(),
            },
        };
        let mut members: Vec<Member> = ports.chunks(PORTS.into()).enumerate().map(member).collect();
        let named: Vec<String> =
            members.iter().map(|member| format!("{}@{}", home::node_id(&member.node.public()), member.settings.p2p)).collect();
        for (place, member) in members.iter_mut().enumerate() {
            member.settings.peers = named.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, peer)| peer.clone()).collect();
        }

        let network = Self { folder: folder.to_owned(), rpc: members.iter().map(|member| member.settings.rpc).collect() };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let faucet = KeyFile::generate(KeyKind::Account);
        faucet.create(&network.faucet())?;
        let mut builder = Builder::new(settings.chain.clone(), now, settings.params).engine(Engine::CometBft);
        builder = builder.account(faucet.public().address(), Amount(1_000_000 * Amount::ZYNK.0))?;
        for (place, member) in members.iter().enumerate() {
            std::fs::create_dir_all(network.home_folder(place))?;
            builder = builder.validator(GenesisValidator {
                operator: operator(place, &faucet, &network.home_folder(place))?,
                consensus_key: member.validator.public(),
                peer_id: peer::peer_id_blob(&member.node.public()),
                moniker: member.settings.moniker.as_str().try_into()?,
                stake: Amount(100 * Amount::ZYNK.0),
                commission_bps: 1_000,
            })?;
        }
        let json = builder.build()?.to_json();
        for (place, member) in members.iter().enumerate() {
            let home = network.home(place);
            std::fs::create_dir_all(network.home_folder(place))?;
            member.validator.create(&home.validator_key())?;
            member.node.create(&home.node_key())?;
            std::fs::write(home.genesis(), &json)?;
            let Member { settings: listening, validator, node } = member;
            Config { moniker: listening.moniker.clone(), abci: Abci { listen: listening.abci } }.save(&home.config())?;
            network.comet_home(place).make(listening, &settings.params, node.key(), Some(validator.key()))?;
        }
        // Last: a folder with it is whole.
        std::fs::write(network.genesis(), &json)?;
        Ok(network)
    }

    /// Takes up a network that was made before.
    ///
    /// # Errors
    /// When a home cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut network = Self { folder: folder.to_owned(), rpc: Vec::new() };
        while network.comet_home(network.len()).config().exists() {
            let path = network.comet_home(network.len()).config();
            let config: toml::Table = std::fs::read_to_string(&path)?.parse()?;
            let address = config.get("rpc").and_then(|rpc| rpc.get("laddr")).and_then(toml::Value::as_str);
            let address = address
                .and_then(|address| address.strip_prefix("tcp://"))
                .with_context(|| format!("no [rpc] laddr in {}", path.display()))?;
            network.rpc.push(address.parse()?);
        }
        anyhow::ensure!(!network.is_empty(), "{} holds no network under CometBFT", folder.display());
        Ok(network)
    }

    /// Whether `folder` holds a network under CometBFT.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        folder.join("genesis.json").exists() && CometHome::beside(&folder.join("validator0")).config().exists()
    }

    /// How many validators.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rpc.len()
    }

    /// Whether there are none; never so.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rpc.is_empty()
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

    /// A validator's home folder; CometBFT's home lies in it.
    #[must_use]
    pub fn home_folder(&self, place: usize) -> PathBuf {
        self.folder.join(format!("validator{place}"))
    }

    /// A validator's home.
    #[must_use]
    pub fn home(&self, place: usize) -> Home {
        Home::new(&self.home_folder(place))
    }

    /// The home of a validator's CometBFT.
    #[must_use]
    pub fn comet_home(&self, place: usize) -> CometHome {
        CometHome::beside(&self.home_folder(place))
    }

    /// The URL of a validator's RPC, which is CometBFT's.
    #[must_use]
    pub fn url(&self, place: usize) -> String {
        format!("http://{}", self.rpc[place])
    }

    /// Reads the genesis.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load_genesis(&self) -> anyhow::Result<Genesis> {
        Ok(Genesis::load(&self.genesis())?)
    }

    /// Starts every validator: `zynk` is this project's program, `cometbft` CometBFT's.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(&self, zynk: &Path, cometbft: &Path) -> anyhow::Result<CometRunning> {
        let nothing = || (0..self.len()).map(|_| None).collect();
        let (zynk, cometbft) = (zynk.to_owned(), cometbft.to_owned());
        let mut running = CometRunning { network: self.clone(), zynk, cometbft, apps: nothing(), engines: nothing() };
        for place in 0..self.len() {
            // CometBFT waits for its application.
            running.revive(place, Part::Application, &[])?;
            running.revive(place, Part::CometBft, &[])?;
        }
        Ok(running)
    }
}

impl CometRunning {
    /// The network at rest: its files and addresses.
    #[must_use]
    pub const fn network(&self) -> &CometNetwork {
        &self.network
    }

    /// Starts a part of a validator that does not run. `environment` is added to its own.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn revive(&mut self, place: usize, part: Part, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let home = self.network.home_folder(place);
        let log = OpenOptions::new().create(true).append(true).open(home.join(format!("{}.log", part.name())))?;
        let mut command = match part {
            Part::Application => {
                let mut command = Command::new(&self.zynk);
                command.args(["node", "--attached", "--home"]).arg(&home);
                command.env("ZYNK_LOG", std::env::var("ZYNK_LOG").unwrap_or_else(|_| "info,tendermint_abci=warn".to_owned()));
                command
            }
            Part::CometBft => {
                let mut command = Command::new(&self.cometbft);
                command.args(["start", "--home"]).arg(self.network.comet_home(place).folder());
                command
            }
        };
        let child = command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start the {} of validator {place}", part.name()))?;
        *self.child(place, part) = Some(child);
        Ok(())
    }

    /// Kills a part of a validator as a power cut would: SIGKILL. CometBFT ends by itself when its application is
    /// gone; the application waits for another CometBFT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, place: usize, part: Part) -> anyhow::Result<()> {
        let mut child = self.child(place, part).take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The id of the process of a part, if it was started.
    #[must_use]
    pub fn id(&self, place: usize, part: Part) -> Option<u32> {
        let children = match part {
            Part::Application => &self.apps,
            Part::CometBft => &self.engines,
        };
        children[place].as_ref().map(Child::id)
    }

    /// Whether the process of a part has ended by itself; its exit status.
    pub fn has_fallen(&mut self, place: usize, part: Part) -> Option<std::process::ExitStatus> {
        self.child(place, part).as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// The last lines of a part's log.
    #[must_use]
    pub fn last_words(&self, place: usize, part: Part) -> String {
        last_lines(&self.network.home_folder(place).join(format!("{}.log", part.name())))
    }

    /// Stops everything cleanly, CometBFT first: SIGTERM, and SIGKILL for what does not listen.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        stop(self.engines.iter_mut().filter_map(Option::take).collect())?;
        stop(self.apps.iter_mut().filter_map(Option::take).collect())
    }

    /// The height of a validator's chain, as its CometBFT says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn height(&self, place: usize) -> anyhow::Result<u64> {
        let status = Node::new(&self.network.url(place))?.status().await?;
        Ok(status.sync_info.latest_block_height.value())
    }

    /// Waits until a validator's chain has reached `height`.
    ///
    /// # Errors
    /// When it has not within `patience`, or one of its processes has ended.
    pub async fn wait_for(&mut self, place: usize, height: u64, patience: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(reached) = self.height(place).await
                && reached >= height
            {
                return Ok(reached);
            }
            for part in [Part::Application, Part::CometBft] {
                let fallen = self.has_fallen(place, part);
                anyhow::ensure!(fallen.is_none(), "the {} of validator {place} has ended:\n{}", part.name(), self.last_words(place, part));
            }
            if Instant::now() > deadline {
                let words = [Part::Application, Part::CometBft].map(|part| self.last_words(place, part)).join("\n");
                anyhow::bail!("validator {place} has not reached height {height} in {patience:?}:\n{words}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn child(&mut self, place: usize, part: Part) -> &mut Option<Child> {
        match part {
            Part::Application => &mut self.apps[place],
            Part::CometBft => &mut self.engines[place],
        }
    }
}

impl Drop for CometRunning {
    fn drop(&mut self) {
        for child in self.engines.iter_mut().chain(&mut self.apps).flatten() {
            // One that is gone already cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
