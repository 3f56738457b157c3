//! The chain under CometBFT: real CometBFT nodes, each with a `zynk node` as its application.
//!
//! `tools/cometbft` brings CometBFT. Where neither it nor Go is, these tests say so and are skipped.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devnet::{CometNetwork, CometRunning, Part, Settings};
use genesis::{KeyFile, KeyKind};
use ledger::{Body, Params};
use rpc::{Chain, FeePayer, Node};
use serde_json::Value;
use tempfile::TempDir;
use tendermint::Time;
use tendermint::block::CommitSig;
use tendermint_light_client::builder::LightClientBuilder;
use tendermint_light_client::light_client::Options;
use tendermint_light_client::store::memory::MemoryStore;
use tendermint_light_client::types::TrustThreshold;
use tendermint_rpc::{Client as _, HttpClient};
use tokio::runtime::Runtime;
use types::{Amount, Encode as _, Height, SigningKey, Text};

const ZYNK: &str = env!("CARGO_BIN_EXE_zynk");

/// What takes seconds on an idle machine may take this long on a busy one.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `tools/cometbft` answers where CometBFT can neither be found nor built.
const UNAVAILABLE: i32 = 69;

static TURN: Mutex<()> = Mutex::new(());

/// Four validators under CometBFT. Dropped, they are killed and their files gone.
struct World {
    running: CometRunning,
    runtime: Runtime,
    faucet: SigningKey,
    /// The height of the last transfer.
    written: u64,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn cometbft() -> Option<PathBuf> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/cometbft");
    let output = Command::new(tool).output().expect("a shell script runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        eprintln!("SKIPPED, nothing was tested: {}", said.trim());
        return None;
    }
    assert!(output.status.success(), "tools/cometbft: {said}");
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().expect("a path")))
}

impl World {
    /// Four validators that run and have a block, or `None` where there is no CometBFT.
    fn start() -> Option<Self> {
        let mut world = Self::start_with(|_| {})?;
        for place in 0..4 {
            world.wait_for(place, 1);
        }
        Some(world)
    }

    /// Four validators that were started, after `bend` had its way with their files.
    fn start_with(bend: impl FnOnce(&CometNetwork)) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cometbft = cometbft()?;
        let folder = TempDir::new().expect("a folder");
        let params = Params { block_interval_ms: 100, heartbeat_ms: 1_000, propose_timeout_ms: 500, ..Params::default() };
        let settings = Settings { chain: "zynk-comet".parse().expect("a chain id"), validators: 4, first_port: 0, services: false, params };
        let network = CometNetwork::create(&folder.path().join("network"), &settings, Time::now()).expect("a network");
        bend(&network);
        let running = network.start(Path::new(ZYNK), &cometbft).expect("it starts");
        let faucet = KeyFile::load(&network.faucet(), KeyKind::Account).expect("a key").key().clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Some(Self { running, runtime, faucet, written: 0, folder, _turn: turn })
    }

    fn wait_for(&mut self, place: usize, height: u64) -> u64 {
        self.runtime.block_on(self.running.wait_for(place, height, PATIENCE)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn url(&self, place: usize) -> String {
        self.running.network().url(place)
    }

    fn node(&self, place: usize) -> Node {
        Node::new(&self.url(place)).expect("a URL")
    }

    fn chain(&self, place: usize) -> Chain {
        let trust = self.running.network().load_genesis().expect("a genesis").trust();
        Chain::connect(&self.url(place), trust).expect("a URL")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One transfer through a validator, final when this returns; its height.
    fn transfer(&mut self, place: usize) -> u64 {
        // The header after the last one proves the sequence that comes now.
        self.wait_for(place, self.written + 1);
        let mut chain = self.chain(place);
        let included = self.runtime.block_on(chain.submit(&self.faucet, FeePayer::Author, self.body()));
        self.written = included.expect("included").height.0;
        self.written
    }

    fn body(&self) -> Body {
        Body::Transfer { to: self.faucet.public().address(), amount: Amount(1), memo: Text::default() }
    }

    fn kill(&mut self, place: usize, part: Part) {
        self.running.kill(place, part).expect("it ran");
    }

    fn revive(&mut self, place: usize, part: Part) {
        self.running.revive(place, part, &[]).expect("it starts");
    }

    /// Waits until a part has ended by itself; whether it said that all was well.
    fn wait_for_fall(&mut self, place: usize, part: Part) -> bool {
        until("the end of a process", || self.running.has_fallen(place, part)).success()
    }

    /// Runs a command as people would type it, which must succeed; what it says to scripts.
    fn zynk(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(Path::new(ZYNK));
        let output = command.args(["--json"]).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "zynk {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        said(&output)
    }

    /// The same in a network namespace with nothing in it.
    fn offline(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(Path::new("unshare"));
        let output = command.args(["--map-root-user", "--net", "--", ZYNK, "--json"]).args(arguments).output().expect("unshare runs");
        assert!(output.status.success(), "zynk {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        said(&output)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
            command.env_remove(name);
        }
        command.env("ZYNK_NODE", self.url(0)).env("ZYNK_GENESIS", self.running.network().genesis());
        command
    }

    /// Asserts that all four have the same block, with the same state's hash, at a height.
    fn assert_agreed(&mut self, height: u64) {
        let seen: Vec<_> = (0..4)
            .map(|place| {
                self.wait_for(place, height);
                let header = self.runtime.block_on(self.node(place).commit(Some(Height(height)))).expect("a commit").header;
                (header.hash(), header.app_hash)
            })
            .collect();
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "height {height}: {seen:?}");
    }
}

fn said(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stdout);
    words.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON")
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("text, not {value}"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn the_chain_part_of_the_story_holds() {
    let Some(mut world) = World::start() else { return };
    let (faucet, genesis) = (world.running.network().faucet(), world.running.network().genesis());
    let (faucet, genesis) = (path(&faucet), path(&genesis));

    // Stake moves first, so that all proofs after it carry a hand-off of validators.
    let validator = text(&world.zynk(&["node", "show", "--home", path(&world.running.network().home_folder(1))])["validator"]).to_owned();
    world.zynk(&["stake", "delegate", &validator, "--amount", "50", "--key", faucet]);
    let powers = || {
        let chain = world.node(0);
        let set = world.runtime.block_on(async {
            let tip = chain.status().await.expect("status").sync_info.latest_block_height;
            chain.validators(tip.into()).await.expect("validators")
        });
        let mut powers: Vec<u64> = set.members().map(|member| member.power).collect();
        powers.dedup();
        (powers.len() == 2).then_some(powers)
    };
    let powers = until("CometBFT gives the validator the power that was delegated", powers);
    assert!(powers[0] > powers[1], "{powers:?}");

    // An identity, and its rotation, proven by the light client.
    let keys = world.file("erin.keys");
    let made = world.zynk(&["did", "create", "--out", path(&keys), "--sponsor-key", faucet]);
    let rotated = world.zynk(&["did", "rotate", path(&keys), "--sponsor-key", faucet]);
    let resolved = world.zynk(&["did", "resolve", text(&made["did"])]);
    let control: types::PublicKey = text(&rotated["control"]).parse().expect("a key");
    assert!(resolved.to_string().contains(&identity::Multikey::Ed25519(control).to_string()), "{resolved}");

    // A stamp, whose proof holds without any network.
    let key = world.file("dave.key");
    let account = world.zynk(&["keys", "make", "--kind", "account", "--out", path(&key)]);
    world.zynk(&["tx", "transfer", "--to", text(&account["address"]), "--amount", "20", "--key", faucet]);
    let paper = world.file("contract.txt");
    std::fs::write(&paper, "Alice sells Bob one bicycle for 250.\n").expect("written");
    world.zynk(&["stamp", path(&paper), "--key", path(&key)]);
    let proof = world.file("contract.txt.zproof");
    world.offline(&["verify", path(&proof), "--file", path(&paper), "--genesis", genesis]);

    // Several of one author in a row, none of which waits for the one before; and one of them twice.
    let mut chain = world.chain(0);
    let author = world.faucet.public().address();
    let terms = world.runtime.block_on(chain.terms(&author)).expect("terms");
    let row: Vec<_> = (0..20)
        .map(|further| {
            let terms = rpc::submit::Terms { sequence: terms.sequence + further, ..terms.clone() };
            terms.sign(&world.faucet, FeePayer::Author, world.body())
        })
        .collect();
    let node = world.node(0);
    for transaction in &row {
        world.runtime.block_on(node.send(transaction.to_bytes())).expect("taken");
    }
    let again = world.runtime.block_on(node.send(row[0].to_bytes()));
    assert!(again.is_err(), "the same transaction again: {again:?}");
    let gap = rpc::submit::Terms { sequence: terms.sequence + 30, ..terms }.sign(&world.faucet, FeePayer::Author, world.body());
    let gap = world.runtime.block_on(node.send(gap.to_bytes())).expect_err("a gap");
    assert!(gap.to_string().contains("leaves a gap"), "{gap}");
    let last = row.iter().map(|transaction| {
        let hash = transaction.hash();
        until("a transfer in a block", || world.runtime.block_on(node.find(hash)).expect("an answer").filter(|found| found.number == 0))
    });
    let last = last.map(|found| found.height.0).max().expect("twenty");
    world.assert_agreed(last);
    world.running.stop().expect("a clean stop");
}

#[test]
fn killed_processes_catch_up() {
    let Some(mut world) = World::start() else { return };
    world.transfer(0);

    // The application of one is killed: its CometBFT ends, the others go on.
    world.kill(3, Part::Application);
    world.wait_for_fall(3, Part::CometBft);
    let without_one = world.transfer(0);
    world.revive(3, Part::Application);
    world.revive(3, Part::CometBft);
    world.assert_agreed(without_one);

    // CometBFT of another is killed: its application waits for the next.
    world.kill(2, Part::CometBft);
    let without_other = world.transfer(1);
    assert!(world.running.has_fallen(2, Part::Application).is_none(), "the application waits");
    world.revive(2, Part::CometBft);
    world.assert_agreed(without_other);

    // Both of one, in the middle of its work, again and again.
    for _ in 0..3 {
        world.kill(1, Part::Application);
        world.wait_for_fall(1, Part::CometBft);
        let height = world.transfer(0);
        world.revive(1, Part::Application);
        world.revive(1, Part::CometBft);
        world.wait_for(1, height);
    }
    let height = world.transfer(1);
    world.assert_agreed(height);

    // What was absent stands in the commits; whoever follows from the genesis believes all of it.
    let commits = (2..height).map(|height| world.runtime.block_on(world.node(0).commit(Some(Height(height)))).expect("a commit").commit);
    let votes: Vec<CommitSig> = commits.flat_map(|commit| commit.signatures).collect();
    assert!(votes.iter().any(CommitSig::is_absent), "somebody was absent");
    let mut chain = world.chain(2);
    let entry = world.runtime.block_on(chain.entry(ledger::state::key::PARAMS)).expect("proven");
    assert!(entry.value.is_some());
}

#[test]
fn light_clients_follow() {
    let Some(mut world) = World::start() else { return };
    for place in 0..3 {
        world.transfer(place);
    }
    world.wait_for(0, 6);

    // Ours, with witnesses.
    let trust = world.running.network().load_genesis().expect("a genesis").trust();
    let witnesses: Vec<String> = (1..4).map(|place| world.url(place)).collect();
    let mut arguments = vec!["light", "--once"];
    arguments.extend(witnesses.iter().flat_map(|url| ["--witness", url.as_str()]));
    let told = world.zynk(&arguments);
    assert!(
        told["height"].as_u64().or_else(|| told["height"].as_str().and_then(|text| text.parse().ok())).expect("a height") >= 5,
        "{told}"
    );
    for height in 1..6 {
        let signed = world.runtime.block_on(world.node(1).commit(Some(Height(height)))).expect("a commit");
        let header = trust.accept(&signed).expect("a header of the genesis validators");
        // The compact form carries CometBFT's part sets and times, and gives back the same.
        let sealed = header.sealed().expect("it has a compact form");
        assert!(sealed.commit.votes.iter().any(|vote| matches!(vote, light::sealed::SealedVote::Commit(cast) if cast.timestamp.is_some())));
        let validators = world.running.network().load_genesis().expect("a genesis").validator_set().clone();
        assert_eq!(sealed.open(&validators).expect("it opens"), signed);
    }

    // The published one.
    let first = world.runtime.block_on(world.node(1).commit(Some(Height(1)))).expect("a commit").header;
    let options = Options {
        trust_threshold: TrustThreshold::TWO_THIRDS,
        trusting_period: Duration::from_secs(3600),
        clock_drift: Duration::from_secs(10),
    };
    let client = HttpClient::new(world.url(0).as_str()).expect("a URL");
    let id = world.runtime.block_on(client.status()).expect("status").node_info.id;
    let builder = LightClientBuilder::prod(id, client, Box::new(MemoryStore::new()), options, Some(Duration::from_secs(10)));
    let mut instance = builder.trust_primary_at(first.height, first.hash()).expect("trusted").build();
    let tip = instance.light_client.verify_to_highest(&mut instance.state).expect("verified to the tip");
    assert!(tip.height().value() >= 6, "only to {}", tip.height());
}

#[test]
fn another_genesis_ends_the_application_in_clear_words() {
    let bend = |network: &CometNetwork| {
        let theirs = network.comet_home(0).genesis();
        let text = std::fs::read_to_string(&theirs).expect("a genesis").replace("\"1000000000000\"", "\"2000000000000\"");
        std::fs::remove_file(&theirs).expect("a link");
        std::fs::write(&theirs, text).expect("written");
    };
    let Some(mut world) = World::start_with(bend) else { return };
    assert!(!world.wait_for_fall(0, Part::Application));
    let words = world.running.last_words(0, Part::Application);
    assert!(words.contains("CometBFT's genesis is not this node's: another app_state"), "{words}");
    // The other three are enough.
    world.wait_for(1, 2);
}

#[test]
fn a_home_of_one_engine_is_not_run_as_the_other() {
    let folder = TempDir::new().expect("a folder");
    let settings = Settings {
        chain: "zynk-comet".parse().expect("a chain id"),
        validators: 1,
        first_port: 0,
        services: false,
        params: Params::default(),
    };
    let under_comet = CometNetwork::create(&folder.path().join("comet"), &settings, Time::now()).expect("a network");
    let embedded = devnet::Network::create(&folder.path().join("embedded"), &settings, Time::now()).expect("a network");
    let run = |home: &Path| {
        let output = Command::new(ZYNK).args(["node", "--home"]).arg(home).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let exchange = |home: &Path, genesis: &Path| std::fs::copy(genesis, home.join("genesis.json")).expect("copied");
    exchange(&under_comet.home_folder(0), &embedded.genesis());
    exchange(&embedded.home_folder(0), &under_comet.genesis());
    let words = run(&under_comet.home_folder(0));
    assert!(words.contains("is for CometBFT, and the genesis says that the chain is agreed on by the embedded engine"), "{words}");
    let words = run(&embedded.home_folder(0));
    assert!(words.contains("is for the embedded engine, and the genesis says that the chain is agreed on by CometBFT"), "{words}");
}
