//! A network under test: real processes on loopback, one network at a time in a test binary.

#![allow(dead_code, reason = "each test binary compiles this and uses a part of it")]

pub(crate) mod apart;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devnet::{Network, Running, Settings};
use genesis::{KeyFile, KeyKind};
use ledger::{Body, Params};
use rpc::{Chain, FeePayer, Included, Node};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tendermint::Time;
use tendermint::block::CommitSig;
use tokio::runtime::Runtime;
use types::{Amount, Height, SigningKey, Text};

/// What a network does in seconds on an idle machine may take this long on a busy one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
pub(crate) const ZYNK: &str = env!("CARGO_BIN_EXE_zynk");

static TURN: Mutex<()> = Mutex::new(());

/// A network of four and somebody with money. Dropped, its processes are killed and its files gone.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) runtime: Runtime,
    faucet: SigningKey,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A chain quick enough for tests.
pub(crate) fn quick() -> Params {
    Params { block_interval_ms: 100, heartbeat_ms: 1_000, propose_timeout_ms: 500, bond_hold_blocks: 50, ..Params::default() }
}

/// Four validators at rest.
pub(crate) fn create(folder: &Path) -> Network {
    let settings =
        Settings { chain: "zynk-test".parse().expect("a chain id"), validators: 4, first_port: 0, services: false, params: quick() };
    Network::create(folder, &settings, Time::now()).expect("a network")
}

/// Asks until the answer is some.
pub(crate) fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl World {
    /// Four validators that run and have a block.
    pub(crate) fn start() -> Self {
        Self::start_with(|network| (network, PathBuf::from(ZYNK)))
    }

    /// As [`World::start`], of the network that `prepare` makes of four validators at rest, and with its program.
    pub(crate) fn start_with(prepare: impl FnOnce(Network) -> (Network, PathBuf)) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().expect("a folder");
        let (network, program) = prepare(create(&folder.path().join("network")));
        let running = network.start(&program).expect("it starts");
        let faucet = KeyFile::load(&network.faucet(), KeyKind::Account).expect("a key").key().clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut world = Self { running, runtime, faucet, folder, _turn: turn };
        for place in 0..4 {
            world.wait_for(place, 1);
        }
        world
    }

    /// A place for files outside the network.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn home(&self, place: usize) -> PathBuf {
        self.running.network().home_folder(place)
    }

    pub(crate) fn url(&self, place: usize) -> String {
        self.running.network().url(place)
    }

    pub(crate) fn node(&self, place: usize) -> Node {
        Node::new(&self.url(place)).expect("a URL")
    }

    pub(crate) fn height(&self, place: usize) -> u64 {
        self.runtime.block_on(self.running.height(place)).expect("it answers")
    }

    pub(crate) fn wait_for(&mut self, place: usize, height: u64) -> u64 {
        self.runtime.block_on(self.running.wait_for(place, height, PATIENCE)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// One transfer through a validator, final when this returns.
    pub(crate) fn transfer(&self, place: usize) -> Result<Included, rpc::Error> {
        let trust = self.running.network().load_genesis().expect("a genesis").trust();
        let mut chain = Chain::connect(&self.url(place), trust).expect("a URL");
        let body = Body::Transfer { to: self.faucet.public().address(), amount: Amount(1), memo: Text::default() };
        self.runtime.block_on(chain.submit(&self.faucet, FeePayer::Author, body))
    }

    /// Everything that a validator has said.
    pub(crate) fn log(&self, place: usize) -> String {
        std::fs::read_to_string(self.home(place).join("node.log")).unwrap_or_default()
    }

    pub(crate) fn revive(&mut self, place: usize, environment: &[(&str, &str)]) {
        self.running.revive(place, environment).expect("it starts");
    }

    pub(crate) fn kill(&mut self, place: usize) {
        self.running.kill(place).expect("it ran");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self, place: usize) {
        let child = &mut self.running.validator(place).expect("it runs").child;
        let pid = Pid::from_raw(child.id().try_into().expect("a process id")).expect("not 0");
        kill_process(pid, Signal::TERM).expect("it is there");
        let status = until("a clean stop after SIGTERM", Duration::from_secs(20), || child.try_wait().expect("our child"));
        assert!(status.success(), "validator {place} stopped with {status}");
        self.running.fallen();
    }

    /// Waits until a validator's process has ended by itself; gives its last words.
    pub(crate) fn wait_for_fall(&mut self, place: usize) -> String {
        until("the end of a process", PATIENCE, || self.running.fallen().into_iter().find(|(fallen, _)| *fallen == place)).1
    }

    /// Asserts that all four have the same block and the same state hash at a height.
    pub(crate) fn assert_agreed(&mut self, height: u64) {
        let seen: Vec<_> = (0..4)
            .map(|place| {
                self.wait_for(place, height);
                let node = self.node(place);
                let header = self.runtime.block_on(node.commit(Some(Height(height)))).expect("a commit").header;
                (header.hash(), header.app_hash)
            })
            .collect();
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "height {height}: {seen:?}");
    }

    /// How long ago, by this machine's clock, a block was made by its own time, in milliseconds.
    pub(crate) fn age_ms(&self, place: usize, height: u64) -> i128 {
        let header = self.runtime.block_on(self.node(place).commit(Some(Height(height)))).expect("a commit").header;
        (Time::now().unix_timestamp_nanos() - header.time.unix_timestamp_nanos()) / 1_000_000
    }

    /// The heights in a range whose commit holds the signature of a validator, as another saw it.
    pub(crate) fn signed(&self, place: usize, as_seen_by: usize, heights: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let (here, moved) = (self.running.network().home(place).validator_key(), self.beside("moved.key"));
        let key = KeyFile::load(if here.exists() { &here } else { &moved }, KeyKind::Validator).expect("a key");
        let address = tendermint::account::Id::from(key.public().address());
        let node = self.node(as_seen_by);
        let signs = |height: &u64| {
            let commit = self.runtime.block_on(node.commit(Some(Height(*height)))).expect("a commit").commit;
            let by = |entry: &CommitSig| matches!(entry, CommitSig::BlockIdFlagCommit { validator_address, .. } if *validator_address == address);
            commit.signatures.iter().any(by)
        };
        heights.filter(signs).collect()
    }

    /// Waits until a commit above `height` holds the signature of a validator; gives its height.
    pub(crate) fn wait_for_signature(&self, place: usize, as_seen_by: usize, height: u64) -> u64 {
        let mut from = height + 1;
        until("a signature in a commit", PATIENCE, || {
            let tip = self.height(as_seen_by);
            let found = if from <= tip { self.signed(place, as_seen_by, from..=tip) } else { Vec::new() };
            // The commit of the tip may still gain signatures.
            from = from.max(tip);
            found.first().copied()
        })
    }

    /// The last lines of every log, for a test that fails.
    pub(crate) fn last_words(&self) -> String {
        (0..4).map(|place| format!("validator {place}:\n{}\n", self.running.last_words(place))).collect()
    }
}

impl Drop for World {
    #[allow(clippy::print_stderr, reason = "its logs go with it, and a test that fails has nothing else to show")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
