//! From nothing to a validator, as an operator types it: several people begin a chain, somebody joins it, stakes, is
//! in the set, votes, and leaves. Every step is a command.

#![allow(clippy::print_stdout, reason = "a long story says how far it is")]

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use types::{Address, Height};

/// What takes seconds on an idle machine may take this long on a busy one.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ports of a node: for consensus, for clients, for transactions.
const PORTS: u16 = 3;

/// Where ports are looked for: below those that the system gives to whoever asks for any.
const FIRST_PORT: u16 = 21_000;

/// A node that runs; dropped, it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with everybody's homes and keys, each in a folder of their own.
struct Village {
    folder: TempDir,
    node: String,
}

impl Village {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `zynk LINE --json` in the folder.
    fn ask(&self, line: &str) -> Result<Value, String> {
        let mut command = zynk(self.folder.path());
        let output = command.args(line.split_whitespace()).arg("--json").env("ZYNK_NODE", &self.node).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{line}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_str(&said).map_err(|error| format!("{line}: {error}: {said}"))
    }

    fn done(&self, line: &str) -> Value {
        self.ask(line).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a command until what it says is as wanted.
    fn until(&self, line: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.ask(line);
            match said {
                Ok(value) if wanted(&value) => return value,
                said => assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {line}: {said:?}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How many of these blocks have the validator's signature in their commit.
    fn signed(&self, validator: &str, blocks: Range<u64>) -> usize {
        let validator: Address = validator.parse().expect("an address");
        let node = rpc::Node::new(&self.node).expect("a URL");
        let signed = async |height: u64| {
            let commit = node.commit(Some(Height(height))).await.expect("a commit").commit;
            commit.signatures.iter().any(|entry| entry.is_commit() && entry.validator_address() == Some(validator.into()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        blocks.filter(|height| runtime.block_on(signed(*height))).count()
    }

    fn start(&self, name: &str) -> Running {
        let log = fs::File::create(self.at(name).join("node.log")).expect("a log");
        let mut command = zynk(self.folder.path());
        command.args(["node", "--attached", "--home", name]).env("ZYNK_LOG", "info,arc_malachitebft=warn");
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a handle")).stderr(log).spawn();
        Running(child.expect("it starts"))
    }
}

/// `zynk` without what the environment says of files and nodes.
fn zynk(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zynk"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// The first ports of so many nodes, each with its ports in a row, that are free now.
fn free_ports(nodes: usize) -> Vec<u16> {
    let begin = FIRST_PORT + u16::try_from(std::process::id() % 400).expect("below 400") * 10;
    let free = |first: &u16| (*first..first + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (begin..).step_by(PORTS.into()).filter(free).take(nodes).collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

#[test]
fn people_begin_a_chain_and_somebody_joins_it() {
    let ports = free_ports(4);
    let founders = ["alpha", "beta", "gamma"];
    let village = Village { folder: TempDir::new().expect("a folder"), node: format!("http://127.0.0.1:{}", ports[0] + 1) };

    // Each makes a home and an account; the account's address is all that is told.
    let mut accounts = Vec::new();
    for (name, port) in founders.iter().zip(&ports) {
        village.done(&format!("node init --home {name} --moniker {name} --validator --listen 127.0.0.1 --port {port}"));
        accounts.push(text(&village.done(&format!("keys make --kind account --out {name}.key")), "address"));
    }
    let joiner = text(&village.done("keys make --kind account --out delta.key"), "address");
    let balances: String = accounts.iter().chain([&joiner]).map(|address| format!(" --account {address}=1000")).collect();
    village.done(&format!("genesis make --chain village-1 --block-interval-ms 100 --heartbeat-ms 1000 --out genesis.json{balances}"));
    for name in founders {
        let stake = format!("genesis apply genesis.json --home {name} --key {name}.key --stake 100 --commission-bps 500 --out {name}.json");
        assert_eq!(text(&village.done(&stake), "moniker"), name);
    }
    // An application that was altered on its way is not taken.
    let altered = fs::read_to_string(village.at("beta.json")).expect("an application").replace("\"100000000\"", "\"900000000\"");
    fs::write(village.at("altered.json"), altered).expect("written");
    assert!(village.ask("genesis accept genesis.json altered.json").is_err_and(|error| error.contains("4105")), "it was taken");
    let accepted = village.done("genesis accept genesis.json alpha.json beta.json gamma.json");
    assert_eq!(accepted["hash"], village.done("genesis verify genesis.json")["hash"]);

    // Each names the others and starts.
    let peers: Vec<String> = founders.iter().map(|name| text(&village.done(&format!("node show --home {name}")), "peer")).collect();
    let mut nodes = Vec::new();
    for (place, name) in founders.iter().enumerate() {
        let others: String = peers.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, peer)| format!(" {peer}")).collect();
        assert_eq!(village.done(&format!("node peer --home {name}{others}"))["peers"].as_array().map(Vec::len), Some(2));
        fs::copy(village.at("genesis.json"), village.at(name).join("genesis.json")).expect("copied");
        nodes.push(village.start(name));
    }
    let trust = "--genesis genesis.json";
    let set = village.until(&format!("validator list {trust}"), |said| said["in_set"] == 3);
    assert!(set["validators"].as_array().is_some_and(|all| all.iter().all(|one| one["power"] == 100)), "{set}");
    println!("three begin a chain");

    // A fourth joins as a full node, and then with a stake. It names one of the others, and none of them names it.
    let init = format!(
        "node init --home delta --moniker delta --validator --genesis genesis.json --listen 127.0.0.1 --port {} --peer {}",
        ports[3], peers[0]
    );
    village.done(&init);
    nodes.push(village.start("delta"));
    let of_delta = format!("light {trust} --once --node http://127.0.0.1:{}", ports[3] + 1);
    village.until(&of_delta, |said| said["header_height"].as_u64() > Some(2));
    let created = village.done(&format!("validator create --home delta --stake 100 --commission-bps 100 --key delta.key {trust}"));
    let (delta, height) = (text(&created, "validator"), created["height"].as_u64().expect("a height"));
    let shown = village.until(&format!("validator show {delta} {trust}"), |said| said["power"] == 100);
    assert_eq!((text(&shown, "moniker"), text(&shown, "operator")), ("delta".to_owned(), joiner.clone()));
    // It counts from the second block after its transaction on. Its signature is not needed, and yet in time: else it would be jailed.
    let some = height + 3..height + 9;
    village.until(&format!("light {trust} --once"), |said| said["header_height"].as_u64() > Some(some.end) && said["validators"] == 4);
    let (signed, of) = (village.signed(&delta, some.clone()), some.count());
    assert!(2 * signed > of, "it signed {signed} of {of}");
    println!("a fourth has joined, and signed {signed} of {of}");

    // With two fifths of the power it is needed.
    village.done(&format!("stake delegate {delta} --amount 100 --key delta.key {trust}"));
    let more = village.until(&format!("validator show {delta} {trust}"), |said| said["power"] == 200);
    let height = more["proof"]["height"].as_u64().expect("a height");
    village.until(&format!("light {trust} --once"), |said| said["header_height"].as_u64() > Some(height + 3));

    // Somebody stakes with it, moves a part, and takes a part back.
    let alpha = text(&village.done("node show --home alpha"), "validator");
    village.done(&format!("stake delegate {delta} --amount 50 --key alpha.key {trust}"));
    village.done(&format!("stake redelegate {delta} --to {alpha} --amount 20 --key alpha.key {trust}"));
    village.done(&format!("stake undelegate {delta} --amount 10 --key alpha.key {trust}"));
    let shown = village.done(&format!("stake show --key alpha.key {trust}"));
    assert_eq!(shown["unbonding"].as_array().map(Vec::len), Some(1), "{shown}");
    let at_delta = shown["delegations"].as_array().and_then(|all| all.iter().find(|one| one["validator"] == delta.as_str()));
    assert_eq!(at_delta.map(|one| &one["amount"]), Some(&Value::from("20000000")), "{shown}");
    village.until(&format!("validator show {delta} {trust}"), |said| said["power"] == 220);

    // A question to everybody.
    let asked = village.done(&format!("gov submit text --title Meet? --deposit 100 --key delta.key {trust}"));
    let proposal = asked["proposal"].as_u64().expect("a number");
    village.done(&format!("gov vote {proposal} yes --key delta.key {trust}"));
    assert_eq!(text(&village.done(&format!("gov show {proposal} {trust}")), "stage"), "voting");
    assert_eq!(village.done(&format!("gov list {trust}"))["open"].as_array().map(Vec::len), Some(1));

    // It leaves again, and the chain goes on without it.
    village.done(&format!("stake undelegate {delta} --amount 200 --key delta.key {trust}"));
    village.until(&format!("validator list {trust}"), |said| said["in_set"] == 3);
    let left = village.done(&format!("tx transfer --to {joiner} --amount 1 --key alpha.key {trust}"))["height"].as_u64().expect("a height");
    drop(nodes.pop());
    village.until(&format!("light {trust} --once"), |said| said["header_height"].as_u64() > Some(left + 3) && said["validators"] == 3);
    village.done(&format!("tx transfer --to {joiner} --amount 1 --key alpha.key {trust}"));
    println!("it has left");
}
