//! A network's validators as processes: started, watched, killed, stopped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rpc::Node;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::layout::Network;

/// How long a process may take to stop cleanly.
const STOPPING: Duration = Duration::from_secs(10);

/// How long a service may take to answer after its start: the relay waits for its log's registration.
const STARTING: Duration = Duration::from_secs(30);

/// How long an answer about its health may take.
const ANSWERING: Duration = Duration::from_secs(2);

/// A network that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    network: Network,
    binary: PathBuf,
    validators: Vec<Option<Validator>>,
    relay: Option<Child>,
    gateway: Option<Child>,
}

/// What runs beside the validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Keeps mailboxes and anchors them.
    Relay,
    /// The address for clients.
    Gateway,
}

impl Service {
    /// What it is called, as a command and in its log's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Gateway => "gateway",
        }
    }
}

/// One validator's process.
#[derive(Debug)]
pub struct Validator {
    /// The process; its standard input stays open as long as this lives, so that it ends with us.
    pub child: Child,
}

impl Network {
    /// Starts every validator with `binary`, which must be `zynk`.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(&self, binary: &Path) -> anyhow::Result<Running> {
        let mut running = Running { network: self.clone(), binary: binary.to_owned(), validators: Vec::new(), relay: None, gateway: None };
        for place in 0..self.len() {
            running.validators.push(None);
            running.revive(place, &[])?;
        }
        Ok(running)
    }
}

impl Running {
    /// The network at rest: its files and addresses.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// A validator's process, if it runs.
    #[must_use]
    pub fn validator(&mut self, place: usize) -> Option<&mut Validator> {
        self.validators[place].as_mut()
    }

    /// Starts a validator that does not run. `environment` is added to its own.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn revive(&mut self, place: usize, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let child = self.spawn("node", &self.network.home_folder(place), environment)?;
        self.validators[place] = Some(Validator { child });
        Ok(())
    }

    /// Starts relay and gateway, where the network has them, and waits until both answer. The chain must
    /// have begun: the relay registers its log at its first start.
    ///
    /// # Errors
    /// When a process cannot be started, or has ended.
    pub async fn start_services(&mut self) -> anyhow::Result<()> {
        if self.network.has_services() {
            for service in [Service::Relay, Service::Gateway] {
                self.start_service(service, &[])?;
                self.wait_for_service(service, STARTING).await?;
            }
        }
        Ok(())
    }

    /// Starts a service that does not run. `environment` is added to its own.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_service(&mut self, service: Service, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let child = self.spawn(service.name(), &self.folder(service), environment)?;
        *self.child(service) = Some(child);
        Ok(())
    }

    /// The id of a service's process, if it was started.
    #[must_use]
    pub fn service_id(&self, service: Service) -> Option<u32> {
        let child = match service {
            Service::Relay => &self.relay,
            Service::Gateway => &self.gateway,
        };
        child.as_ref().map(Child::id)
    }

    /// Kills a service as a power cut would: SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_service(&mut self, service: Service) -> anyhow::Result<()> {
        let mut child = self.child(service).take().with_context(|| format!("the {} does not run", service.name()))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Whether a service's process has ended by itself.
    pub fn has_fallen(&mut self, service: Service) -> bool {
        self.child(service).as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Waits until a service answers at `/health`.
    ///
    /// # Errors
    /// When it has not within `patience`, or its process has ended.
    pub async fn wait_for_service(&mut self, service: Service, patience: Duration) -> anyhow::Result<()> {
        let url = match service {
            Service::Relay => self.network.relay_url(),
            Service::Gateway => self.network.gateway_url(),
        };
        let address = url.context("the network has no services")?.trim_start_matches("http://").to_owned();
        let deadline = Instant::now() + patience;
        while !is_healthy(&address).await {
            let words = self.words(&self.folder(service), service.name());
            anyhow::ensure!(!self.has_fallen(service), "the {} has ended:\n{words}", service.name());
            anyhow::ensure!(Instant::now() < deadline, "the {} does not answer within {patience:?}:\n{words}", service.name());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn folder(&self, service: Service) -> PathBuf {
        match service {
            Service::Relay => self.network.relay_folder(),
            Service::Gateway => self.network.gateway_folder(),
        }
    }

    const fn child(&mut self, service: Service) -> &mut Option<Child> {
        match service {
            Service::Relay => &mut self.relay,
            Service::Gateway => &mut self.gateway,
        }
    }

    /// Starts `zynk COMMAND --home HOME`; it ends when our end of its standard input does.
    fn spawn(&self, command: &str, home: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Child> {
        let mut program = Command::new(&self.binary);
        program.args([command, "--attached", "--home"]).arg(home);
        program.env("ZYNK_LOG", std::env::var("ZYNK_LOG").unwrap_or_else(|_| "info,arc_malachitebft=warn".to_owned()));
        let child = spawn(program.envs(environment.iter().copied()), &log(home, command));
        child.with_context(|| format!("cannot start {}", self.binary.display()))
    }

    /// Kills a validator as a power cut would: SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        let mut validator = self.validators[place].take().context("the validator does not run")?;
        validator.child.kill()?;
        validator.child.wait()?;
        Ok(())
    }

    /// Stops everything cleanly, the services first: SIGTERM, and SIGKILL for what does not listen.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let (gateway, relay) = (self.gateway.take(), self.relay.take());
        stop(gateway.into_iter().collect())?;
        stop(relay.into_iter().collect())?;
        stop(self.validators.iter_mut().filter_map(Option::take).map(|validator| validator.child).collect())
    }

    /// The validators whose process has ended by itself, and the last lines of their logs.
    pub fn fallen(&mut self) -> Vec<(usize, String)> {
        let mut fallen = Vec::new();
        for place in 0..self.validators.len() {
            let ended = self.validators[place].as_mut().is_some_and(|validator| matches!(validator.child.try_wait(), Ok(Some(_))));
            if ended {
                self.validators[place] = None;
                fallen.push((place, self.last_words(place)));
            }
        }
        fallen
    }

    /// The last lines of a validator's log.
    #[must_use]
    pub fn last_words(&self, place: usize) -> String {
        self.words(&self.network.home_folder(place), "node")
    }

    /// The last lines of a service's log.
    #[must_use]
    pub fn last_words_of(&self, service: Service) -> String {
        self.words(&self.folder(service), service.name())
    }

    fn words(&self, home: &Path, command: &str) -> String {
        last_lines(&log(home, command))
    }

    /// The height of a validator's chain, as it says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn height(&self, place: usize) -> anyhow::Result<u64> {
        height_at(&self.network.url(place)).await
    }

    /// Waits until a validator's chain has reached `height`.
    ///
    /// # Errors
    /// When it has not within `patience`, or its process has ended.
    pub async fn wait_for(&mut self, place: usize, height: u64, patience: Duration) -> anyhow::Result<u64> {
        let url = self.network.url(place);
        let reached = reached(&url, height, patience, || match self.fallen().into_iter().find(|(fallen, _)| *fallen == place) {
            Some((fallen, words)) => anyhow::bail!("validator {fallen} has ended:\n{words}"),
            None => Ok(()),
        });
        reached
            .await?
            .with_context(|| format!("validator {place} has not reached height {height} in {patience:?}:\n{}", self.last_words(place)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let validators = self.validators.iter_mut().flatten().map(|validator| &mut validator.child);
        for child in validators.chain(&mut self.relay).chain(&mut self.gateway) {
            // One that is gone already cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where `zynk COMMAND` with this home writes its log.
fn log(home: &Path, command: &str) -> PathBuf {
    home.join(format!("{command}.log"))
}

/// The height of the chain at a URL, as it says.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn height_at(url: &str) -> anyhow::Result<u64> {
    Ok(Node::new(url)?.status().await?.sync_info.latest_block_height.value())
}

/// Waits until the chain at a URL has reached `height`; none when it has not within `patience`. `watch` looks after the
/// processes meanwhile.
///
/// # Errors
/// Those of `watch`.
pub(crate) async fn reached(
    url: &str,
    height: u64,
    patience: Duration,
    mut watch: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Option<u64>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Ok(reached) = height_at(url).await
            && reached >= height
        {
            return Ok(Some(reached));
        }
        watch()?;
        if Instant::now() > deadline {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts a process that ends when our end of its standard input does. What it says is added to `log`.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    Ok(command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// The last lines of a log.
pub(crate) fn last_lines(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

/// Stops processes cleanly, all at once.
pub(crate) fn stop(children: Vec<Child>) -> anyhow::Result<()> {
    for child in &children {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // One that is gone already needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let deadline = Instant::now() + STOPPING;
    for mut child in children {
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Whether something answers `GET /health` with 200.
async fn is_healthy(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(status == *b"HTTP/1.1 200")
    };
    matches!(tokio::time::timeout(ANSWERING, ask).await, Ok(Ok(true)))
}
