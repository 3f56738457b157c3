//! The stage: steps told and timed, and commands run as people would run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ::devnet::Network;
use rpc::Chain;
use serde_json::{Value, json};

use super::people::PASSPHRASE;
use crate::failure::Failure;
use crate::report::say;

/// Where the story is played.
pub(super) struct Stage {
    folder: PathBuf,
    json: bool,
    began: Instant,
    last: Instant,
    steps: Vec<Value>,
    node: String,
    gateway: String,
    genesis: PathBuf,
}

impl Stage {
    pub(super) fn new(folder: &Path, json: bool) -> Self {
        let now = Instant::now();
        Self {
            folder: folder.to_owned(),
            json,
            began: now,
            last: now,
            steps: Vec::new(),
            node: String::new(),
            gateway: String::new(),
            genesis: PathBuf::new(),
        }
    }

    /// From here on commands talk to this network.
    pub(super) fn connect(&mut self, network: &Network) {
        (self.node, self.genesis) = (network.url(0), network.genesis());
        self.gateway = network.gateway_url().unwrap_or_default();
    }

    /// A file of the story.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Tells that a step is done, with the time it took.
    pub(super) fn step(&mut self, what: &str, details: Value) {
        let (now, took) = (Instant::now(), self.last.elapsed());
        self.last = now;
        let value = json!({"step": what, "ms": took.as_millis(), "details": details});
        say(self.json, &format!("{:7.2} s  {what}", took.as_secs_f64()), &value);
        self.steps.push(value);
    }

    /// Says something that is no step.
    pub(super) fn tell(&self, what: &str) {
        say(self.json, what, &json!({"note": what}));
    }

    /// The story ends here unless `holds`.
    pub(super) fn hold(&self, what: &str, holds: bool) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(Failure::Demo(what.to_owned())) }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// All that was told, for a file.
    pub(super) fn record(&self, held: bool) -> Value {
        json!({"held": held, "seconds": self.elapsed().as_secs_f64(), "steps": self.steps})
    }

    pub(super) fn binary(&self) -> Result<PathBuf, Failure> {
        std::env::current_exe().map_err(Failure::Runtime)
    }

    /// A light client of the network, from its genesis.
    pub(super) fn chain(&self, network: &Network) -> Result<Chain, Failure> {
        let genesis = network.load_genesis().map_err(Failure::Run)?;
        Ok(Chain::connect(&network.url(0), genesis.trust())?)
    }

    /// Runs a command that must succeed; gives what it says to scripts.
    pub(super) fn zynk<'a>(&self, arguments: impl Iterator<Item = &'a &'a str>) -> Result<Value, Failure> {
        let arguments: Vec<&str> = arguments.copied().collect();
        let output = self.command(&self.binary()?).args(&arguments).output().map_err(Failure::Runtime)?;
        succeeded(&arguments, &output)
    }

    /// Runs a command that must fail; gives its words.
    pub(super) fn refused(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let output = self.command(&self.binary()?).args(arguments).output().map_err(Failure::Runtime)?;
        if output.status.success() {
            return Err(Failure::Demo(format!("`zynk {}` succeeded", arguments.join(" "))));
        }
        Ok(said(&output))
    }

    /// Runs a command that must succeed in a network namespace with nothing in it.
    pub(super) fn offline(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut command = self.command(Path::new("unshare"));
        // A new user namespace lets people who are not root make the network namespace.
        command.args(["--map-root-user", "--net", "--"]).arg(self.binary()?).arg("--json").args(arguments);
        let output = command.output().map_err(|error| Failure::Demo(format!("unshare (of util-linux) does not run: {error}")))?;
        succeeded(arguments, &output)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
            command.env_remove(name);
        }
        if !program.ends_with("unshare") {
            command.arg("--json").env("ZYNK_NODE", &self.node).env("ZYNK_GENESIS", &self.genesis);
            command.env("ZYNK_GATEWAY", &self.gateway).env("ZYNK_PASSPHRASE", PASSPHRASE);
        }
        command
    }
}

fn succeeded(arguments: &[&str], output: &Output) -> Result<Value, Failure> {
    if output.status.success() {
        return Ok(said(output));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Demo(format!("`zynk {}` failed: {}", arguments.join(" "), words.trim())))
}

/// The last line that a command said.
fn said(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stdout);
    words.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}
