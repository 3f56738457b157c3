//! A network's validators as processes: started, watched, killed, stopped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rpc::Node;
use rustix::process::{Pid, Signal, kill_process};

use crate::layout::Network;

/// How long a process may take to stop cleanly.
const STOPPING: Duration = Duration::from_secs(10);

/// A network that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    network: Network,
    binary: PathBuf,
    validators: Vec<Option<Validator>>,
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
        let mut running = Running { network: self.clone(), binary: binary.to_owned(), validators: Vec::new() };
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
        let home = self.network.home_folder(place);
        let log = OpenOptions::new().create(true).append(true).open(home.join("node.log"))?;
        let child = Command::new(&self.binary)
            .args(["node", "--attached", "--home"])
            .arg(&home)
            .envs(environment.iter().copied())
            .env("ZYNK_LOG", std::env::var("ZYNK_LOG").unwrap_or_else(|_| "info,arc_malachitebft=warn".to_owned()))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.validators[place] = Some(Validator { child });
        Ok(())
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

    /// Stops every validator cleanly: SIGTERM, and SIGKILL for one that does not listen.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for validator in self.validators.iter().flatten() {
            if let Some(pid) = i32::try_from(validator.child.id()).ok().and_then(Pid::from_raw) {
                // One that is gone already needs no signal.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOPPING;
        for mut validator in self.validators.iter_mut().filter_map(Option::take) {
            while validator.child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    validator.child.kill()?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
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
        let log = std::fs::read_to_string(self.network.home_folder(place).join("node.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }

    /// The height of a validator's chain, as it says.
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
    /// When it has not within `patience`, or its process has ended.
    pub async fn wait_for(&mut self, place: usize, height: u64, patience: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(reached) = self.height(place).await
                && reached >= height
            {
                return Ok(reached);
            }
            if let Some((fallen, words)) = self.fallen().into_iter().find(|(fallen, _)| *fallen == place) {
                anyhow::bail!("validator {fallen} has ended:\n{words}");
            }
            if Instant::now() > deadline {
                anyhow::bail!("validator {place} has not reached height {height} in {patience:?}:\n{}", self.last_words(place));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for validator in self.validators.iter_mut().flatten() {
            // One that is gone already cannot be killed.
            let _ = validator.child.kill();
            let _ = validator.child.wait();
        }
    }
}
