//! A throw-away network of validators alone, with the load's accounts in its genesis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::devnet::{CometNetwork, CometRunning, Network, Part, Running, Settings};
use genesis::Builder;
use ledger::Params;
use rpc::Node;
use tendermint::Time;
use types::{Address, Amount, ChainId};

use crate::failure::Failure;

/// How long the first block may take.
const BEGINNING: Duration = Duration::from_secs(120);

/// The chain's name: one for all networks, so that one load serves all.
pub(super) const CHAIN: &str = "zynk-bench";

/// Which engine orders the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Malachite in the node's own process, with its mempool and gossip.
    Embedded,
    /// CometBFT beside the node, with its own mempool and gossip.
    Cometbft,
}

impl Engine {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cometbft => "cometbft",
        }
    }

    /// How transactions wait and spread there.
    pub(super) const fn mempool(self) -> &'static str {
        match self {
            Self::Embedded => "the node's: by fee, 10000 transactions; gossipsub",
            Self::Cometbft => "CometBFT's own (flood): as they came, 10000 transactions, each judged by CheckTx of the same application",
        }
    }
}

/// What CometBFT's mempool holds, as many as the node's own does; all else is as it comes.
const COMETBFT_MEMPOOL: &str = "\n[mempool]\nsize = 10000\ncache_size = 20000\n";

/// The programs that are measured.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) zynk: PathBuf,
    pub(super) cometbft: Option<PathBuf>,
}

/// The network. Dropped, its processes are killed.
#[derive(Debug)]
pub(super) enum Stage {
    Embedded(Running),
    Cometbft(CometRunning),
}

impl Stage {
    pub(super) async fn start(
        folder: &Path,
        programs: &Programs,
        (engine, validators): (Engine, u16),
        params: Params,
        accounts: impl Iterator<Item = (Address, Amount)>,
    ) -> Result<Self, Failure> {
        let settings = Settings { chain: chain(), validators, first_port: 0, services: false, params };
        match engine {
            Engine::Embedded => {
                let network = Network::create(folder, &settings, Time::now()).map_err(Failure::Run)?;
                let homes = (0..network.len()).map(|place| network.home(place).genesis());
                endow(&network.genesis(), homes, accounts)?;
                let mut running = network.start(&programs.zynk).map_err(Failure::Run)?;
                for place in 0..network.len() {
                    running.wait_for(place, 1, BEGINNING).await.map_err(Failure::Run)?;
                }
                Ok(Self::Embedded(running))
            }
            Engine::Cometbft => {
                let missing = || Failure::Bench("where is CometBFT? --cometbft \"$(tools/cometbft)\"".to_owned());
                let program = programs.cometbft.as_ref().ok_or_else(missing)?;
                let network = CometNetwork::create(folder, &settings, Time::now()).map_err(Failure::Run)?;
                let homes = (0..network.len()).map(|place| network.home(place).genesis());
                endow(&network.genesis(), homes, accounts)?;
                for place in 0..network.len() {
                    let path = network.comet_home(place).config();
                    let config = std::fs::read_to_string(&path).map_err(io(&path))?;
                    std::fs::write(&path, config + COMETBFT_MEMPOOL).map_err(io(&path))?;
                }
                let mut running = network.start(&programs.zynk, program).map_err(Failure::Run)?;
                for place in 0..network.len() {
                    running.wait_for(place, 1, BEGINNING).await.map_err(Failure::Run)?;
                }
                Ok(Self::Cometbft(running))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Embedded(running) => running.network().len(),
            Self::Cometbft(running) => running.network().len(),
        }
    }

    /// The processes of all validators.
    pub(super) fn processes(&mut self) -> Vec<u32> {
        let places = 0..self.len();
        match self {
            Self::Embedded(running) => places.filter_map(|place| running.validator(place).map(|validator| validator.child.id())).collect(),
            Self::Cometbft(running) => {
                places.flat_map(|place| [Part::Application, Part::CometBft].map(|part| running.id(place, part))).flatten().collect()
            }
        }
    }

    pub(super) fn urls(&self) -> Vec<String> {
        let url = |place| match self {
            Self::Embedded(running) => running.network().url(place),
            Self::Cometbft(running) => running.network().url(place),
        };
        (0..self.len()).map(url).collect()
    }

    pub(super) fn nodes(&self) -> Result<Vec<Node>, Failure> {
        self.urls().iter().map(|url| Ok(Node::new(url)?)).collect()
    }

    /// Where the validators keep their files.
    pub(super) fn homes(&self) -> Vec<PathBuf> {
        let home = |place| match self {
            Self::Embedded(running) => running.network().home_folder(place),
            Self::Cometbft(running) => running.network().home_folder(place),
        };
        (0..self.len()).map(home).collect()
    }

    /// What a validator said last that has ended by itself.
    pub(super) fn fallen(&mut self) -> Option<String> {
        let fallen = match self {
            Self::Embedded(running) => running.fallen().into_iter().next(),
            Self::Cometbft(running) => {
                let parts = (0..running.network().len()).flat_map(|place| [(place, Part::Application), (place, Part::CometBft)]);
                let mut fallen = None;
                for (place, part) in parts {
                    if fallen.is_none() && running.has_fallen(place, part).is_some() {
                        fallen = Some((place, running.last_words(place, part)));
                    }
                }
                fallen
            }
        };
        fallen.map(|(place, words)| format!("validator {place} has ended by itself; its last words:\n{words}"))
    }

    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        match self {
            Self::Embedded(running) => running.stop(),
            Self::Cometbft(running) => running.stop(),
        }
        .map_err(Failure::Run)
    }
}

pub(super) fn chain() -> ChainId {
    CHAIN.parse().expect("a chain id")
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Io { path: path.clone(), source }
}

/// Gives the load's authors their money, in every copy of the genesis.
fn endow(genesis: &Path, homes: impl Iterator<Item = PathBuf>, accounts: impl Iterator<Item = (Address, Amount)>) -> Result<(), Failure> {
    let mut builder = Builder::parse(&std::fs::read(genesis).map_err(io(genesis))?)?;
    for (address, balance) in accounts {
        builder = builder.account(address, balance)?;
    }
    let json = builder.build()?.to_json();
    for path in homes.chain([genesis.to_owned()]) {
        std::fs::write(&path, &json).map_err(io(&path))?;
    }
    Ok(())
}
