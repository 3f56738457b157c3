//! The throw-away network that is measured, with limits that no load meets.

use std::path::Path;
use std::time::Duration;

use ::devnet::{Network, Running, Service, Settings};
use genesis::LogFile;
use ledger::Params;
use mailbox::limit::Rate;
use rpc::Node;
use tendermint::Time;

use super::latency::OnChain;
use crate::failure::Failure;

/// How long the first block may take.
const BEGINNING: Duration = Duration::from_secs(60);

/// A limit that nobody here meets. What one account may send is counted in microseconds, so that it is the most.
const MANY: u32 = 1_000_000;

/// The most connections at the gateway.
const CONNECTIONS: u32 = 65_536;

/// Which way people come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Straight to the relay.
    Direct,
    /// Through the gateway, as people do.
    Gateway,
}

/// The network. Dropped, its processes are killed.
#[derive(Debug)]
pub(super) struct Stage {
    running: Running,
}

impl Stage {
    /// Four validators, a relay and a gateway, with a chain as it is by default.
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let settings = Settings {
            chain: "zynk-bench".parse().expect("a chain id"),
            validators: 4,
            first_port: 0,
            services: true,
            params: Params::default(),
        };
        let network = Network::create(folder, &settings, Time::now()).map_err(Failure::Run)?;
        raise_limits(&network)?;
        let binary = std::env::current_exe().map_err(Failure::Runtime)?;
        let mut running = network.start(&binary).map_err(Failure::Run)?;
        running.wait_for(0, 1, BEGINNING).await.map_err(Failure::Run)?;
        running.start_services().await.map_err(Failure::Run)?;
        Ok(Self { running })
    }

    /// Starts relay and gateway anew, so that their memory holds nothing of what was before.
    pub(super) async fn restart_services(&mut self) -> Result<(), Failure> {
        for service in [Service::Gateway, Service::Relay] {
            self.running.kill_service(service).map_err(Failure::Run)?;
        }
        self.running.start_services().await.map_err(Failure::Run)
    }

    pub(super) fn url(&self, door: Door) -> String {
        let network = self.running.network();
        let url = match door {
            Door::Direct => network.relay_url(),
            Door::Gateway => network.gateway_url(),
        };
        url.expect("the network has services")
    }

    /// A node of the chain.
    pub(super) fn node(&self) -> String {
        self.running.network().url(0)
    }

    /// The relay's log, as a node shows it.
    pub(super) fn chain(&self) -> Result<OnChain, Failure> {
        let path = self.running.network().relay_home().log();
        let log = LogFile::load(&path).map_err(Failure::file(&path))?.log;
        Ok(OnChain { node: Node::new(&self.node())?, log })
    }

    /// Where the relay's databases are.
    pub(super) fn data(&self) -> std::path::PathBuf {
        self.running.network().relay_home().data()
    }

    pub(super) fn relay(&self) -> u32 {
        self.running.service_id(Service::Relay).expect("it was started")
    }

    pub(super) fn gateway(&self) -> u32 {
        self.running.service_id(Service::Gateway).expect("it was started")
    }

    /// What a service said last that has ended by itself: why the bench could not go on.
    pub(super) fn fallen(&mut self) -> Option<String> {
        let fallen = [Service::Relay, Service::Gateway].into_iter().find(|service| self.running.has_fallen(*service))?;
        Some(format!("the {} has ended by itself; its last words:\n{}", fallen.name(), self.running.last_words_of(fallen)))
    }

    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        self.running.stop().map_err(Failure::Run)
    }
}

/// Everybody comes from one address here and does as much as goes: the limits are not what is measured.
fn raise_limits(network: &Network) -> Result<(), Failure> {
    let path = network.relay_home().config();
    let mut relay = relay::Config::load(&path)?;
    relay.sponsor = relay::config::Sponsor { per_day: MANY, per_identity: MANY };
    relay.limits.registrations = MANY;
    relay.limits.sign_ins = MANY;
    relay.limits.messages = Rate { per_second: MANY, burst: MANY };
    // Nobody here takes one-time prekeys, so nobody is told that they run low.
    relay.limits.low_stock = 0;
    relay.save(&path)?;

    let path = network.gateway_home().settings();
    let mut gateway = gateway::Settings::load(&path)?;
    let limits = &mut gateway.limits;
    (limits.connections, limits.sockets) = (CONNECTIONS as usize, CONNECTIONS);
    (limits.connections_per_address, limits.sockets_per_address) = (CONNECTIONS, CONNECTIONS);
    (limits.burst, limits.per_second) = (MANY, MANY);
    gateway.save(&path)?;
    Ok(())
}
