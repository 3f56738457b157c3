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

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use ledger::Engine;
use node::abci::config::{Abci, Config};
use node::abci::home::{self, CometHome};
use tendermint::Time;

use crate::files::{Files, Keys, PORTS, loopback, moniker, ports};
use crate::layout::Settings;
use crate::process::{height_at, last_lines, reached, spawn, stop};

/// A network under CometBFT, at rest: [`Files`], and where CometBFT is asked.
#[derive(Debug, Clone)]
pub struct CometNetwork {
    files: Files,
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
    keys: Keys,
    settings: home::Settings,
}

impl CometNetwork {
    /// Makes the homes, keys and genesis of a network in `folder`, which must not hold one yet. Its faucet has a
    /// million ZYNK and operates the validators, as in [`crate::Network`].
    ///
    /// # Errors
    /// When a file cannot be written, or the settings are not those of such a chain: it has no services.
    pub fn create(folder: &Path, settings: &Settings, now: Time) -> anyhow::Result<Self> {
        anyhow::ensure!(!settings.services, "a network under CometBFT is made without relay and gateway");
        let (ports, _) = ports(settings, 0)?;
        let member = |(place, [p2p, rpc, abci]): (usize, [u16; PORTS])| Member {
            keys: Keys::generate(),
            settings: home::Settings {
                moniker: moniker(place),
                p2p: loopback(p2p),
                rpc: loopback(rpc),
                abci: loopback(abci),
                peers: Vec::new(),
            },
        };
        let mut members: Vec<Member> = ports.into_iter().enumerate().map(member).collect();
        let named: Vec<String> =
            members.iter().map(|member| format!("{}@{}", home::node_id(&member.keys.node.public()), member.settings.p2p)).collect();
        for (place, member) in members.iter_mut().enumerate() {
            member.settings.peers = named.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, peer)| peer.clone()).collect();
        }

        let network = Self { files: Files::new(folder), rpc: members.iter().map(|member| member.settings.rpc).collect() };
        let (faucet, builder) = network.begin(settings, now)?;
        let mut builder = builder.engine(Engine::CometBft);
        for (place, member) in members.iter().enumerate() {
            builder = builder.validator(network.make_validator(place, &faucet, &member.keys)?)?;
        }
        let json = builder.build()?.to_json();
        for (place, member) in members.iter().enumerate() {
            let home = network.home(place);
            std::fs::write(home.genesis(), &json)?;
            let Member { settings: listening, keys } = member;
            Config { moniker: listening.moniker.clone(), abci: Abci { listen: listening.abci } }.save(&home.config())?;
            network.comet_home(place).make(listening, &settings.params, keys.node.key(), Some(keys.validator.key()))?;
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
        let mut network = Self { files: Files::new(folder), rpc: Vec::new() };
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
        let files = Files::new(folder);
        files.genesis().exists() && CometHome::beside(&files.home_folder(0)).config().exists()
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

impl Deref for CometNetwork {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
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
        let child = spawn(command.envs(environment.iter().copied()), &self.log(place, part));
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
        last_lines(&self.log(place, part))
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
        height_at(&self.network.url(place)).await
    }

    /// Waits until a validator's chain has reached `height`.
    ///
    /// # Errors
    /// When it has not within `patience`, or one of its processes has ended.
    pub async fn wait_for(&mut self, place: usize, height: u64, patience: Duration) -> anyhow::Result<u64> {
        let url = self.network.url(place);
        let reached = reached(&url, height, patience, || {
            for part in [Part::Application, Part::CometBft] {
                let fallen = self.has_fallen(place, part);
                anyhow::ensure!(fallen.is_none(), "the {} of validator {place} has ended:\n{}", part.name(), self.last_words(place, part));
            }
            Ok(())
        });
        reached.await?.with_context(|| {
            let words = [Part::Application, Part::CometBft].map(|part| self.last_words(place, part)).join("\n");
            format!("validator {place} has not reached height {height} in {patience:?}:\n{words}")
        })
    }

    fn log(&self, place: usize, part: Part) -> PathBuf {
        self.network.home_folder(place).join(format!("{}.log", part.name()))
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
