//! A validator whose key is in another process: a network with one, and a node of CometBFT.

mod world;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesis::{KeyFile, KeyKind};
use serde_json::Value;
use tempfile::TempDir;
use types::SigningKey;
use world::{PATIENCE, World, ZYNK, until};

/// The validator whose key is elsewhere.
const REMOTE: usize = 3;

/// What `tools/cometbft` answers where CometBFT can neither be found nor built.
const UNAVAILABLE: i32 = 69;

fn zynk(arguments: &[&str]) -> Output {
    Command::new(ZYNK).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn done(arguments: &[&str]) -> Value {
    let output = zynk(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A signer as a process. Dropped, it is killed.
struct Signer {
    home: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Signer {
    fn start(home: &Path) -> Self {
        let log = home.with_extension("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let mut command = Command::new(ZYNK);
        command.args(["signer", "--home", text(home), "--attached"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        let child = command.env("ZYNK_LOG", "info").spawn().expect("it starts");
        Self { home: home.to_owned(), log, child }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn again(&mut self) {
        self.kill();
        *self = Self::start(&self.home.clone());
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Moves a validator's key out of its node's home into a signer's.
fn move_key(home: &node::config::Home, signer: &Path, moved: &Path, chain: &str) {
    let node_key = KeyFile::load(&home.node_key(), KeyKind::Node).expect("a key").public();
    let port = free_port();
    let connect = format!("tcp://{node_key}@127.0.0.1:{port}");
    let key = home.validator_key();
    let made =
        done(&["signer", "init", "--home", text(signer), "--chain", chain, "--connect", &connect, "--key", text(&key), "--after", "0"]);
    let peer = genesis::peer_id_text(&node_key);
    done(&["signer", "prove-peer", "--home", text(signer), "--peer", &peer, "--out", text(&home.validator_proof())]);
    // Out of the node's reach; this test looks for its address.
    fs::rename(&key, moved).expect("moved");
    let mut config = fs::read_to_string(home.config()).expect("a configuration");
    config += &format!("\n[signer]\nlisten = \"tcp://127.0.0.1:{port}\"\nkey = {}\n", made["key"]);
    fs::write(home.config(), config).expect("written");
}

#[test]
fn a_validator_signs_with_a_key_elsewhere_through_every_kill() {
    let outside = TempDir::new().expect("a folder");
    let home = outside.path().join("signer");
    let mut signer = None;
    let mut world = World::start_with(|network| {
        let moved = network.home_folder(REMOTE).join("../../moved.key");
        move_key(&network.home(REMOTE), &home, &moved, "zynk-test");
        signer = Some(Signer::start(&home));
        (network, PathBuf::from(ZYNK))
    });
    let mut signer = signer.expect("it was started");
    let first = world.wait_for_signature(REMOTE, 0, 0);

    // The signer dies in the middle: it comes back, and nothing was lost but time.
    signer.again();
    let second = world.wait_for_signature(REMOTE, 0, world.height(0).max(first));

    // Node and signer die in the middle, by turns and together.
    for round in 0..3 {
        world.kill(REMOTE);
        if round > 0 {
            signer.kill();
        }
        world.revive(REMOTE, &[]);
        if round > 0 {
            signer = Signer::start(&home);
        }
        world.wait_for_signature(REMOTE, 0, world.height(0));
    }

    // What it starts anew with is handed on: its node key is encrypted, and the file with the passphrase is gone by then.
    world.stop(REMOTE);
    let (node_key, passphrase) = (world.running.network().home(REMOTE).node_key(), outside.path().join("passphrase"));
    fs::write(&passphrase, "correct horse").expect("written");
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).expect("set");
    done(&["keys", "encrypt", text(&node_key), "--passphrase-file", text(&passphrase)]);
    world.revive(REMOTE, &[("ZYNK_PASSPHRASE_FILE", text(&passphrase))]);
    world.wait_for_signature(REMOTE, 0, world.height(0));
    fs::remove_file(&passphrase).expect("there");

    // Away for long: the node follows and says so, the others go on, and it signs when the signer is back.
    signer.kill();
    let before = world.log(REMOTE).len();
    until("it says that it does not sign", PATIENCE, || {
        world.log(REMOTE)[before..].contains("the remote signer is not connected").then_some(())
    });
    let tip = world.height(0);
    world.wait_for(REMOTE, tip + 2);
    signer = Signer::start(&home);
    let last = world.wait_for_signature(REMOTE, 0, world.height(0));
    assert!(last > second);
    for place in 0..4 {
        assert!(!world.log(place).contains("evidence against a validator"), "validator {place} saw a second signature");
    }
    assert!(!signer.said().contains("did not sign"), "{}", signer.said());
    world.assert_agreed(last);
}

#[test]
fn a_signers_home_is_for_one_process_one_chain_and_one_place() {
    let outside = TempDir::new().expect("a folder");
    let home = outside.path().join("signer");
    let port = free_port();
    let connect = format!("tcp://127.0.0.1:{port}");
    let shown = done(&["signer", "init", "--home", text(&home), "--chain", "alone-1", "--connect", &connect, "--after", "41"]);
    assert_eq!(done(&["signer", "show", "--home", text(&home)]), shown);
    assert!(!zynk(&["signer", "init", "--home", text(&home), "--chain", "alone-1", "--connect", &connect]).status.success());
    // A key from elsewhere comes with what it may have signed there.
    let (elsewhere, key) = (outside.path().join("elsewhere"), home.join("validator.key"));
    let moved = zynk(&["signer", "init", "--home", text(&elsewhere), "--chain", "alone-1", "--connect", &connect, "--key", text(&key)]);
    assert!(!moved.status.success() && String::from_utf8_lossy(&moved.stderr).contains("--after") && !elsewhere.exists());
    // A second process on the same home is refused while the first one runs.
    let running = Signer::start(&home);
    until("the first one runs", PATIENCE, || running.said().contains("not connected").then_some(()));
    let second = zynk(&["signer", "--home", text(&home)]);
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && words.contains("another process"), "{words}");
    drop(running);
    // A copy of the home, and one without its guard, do not sign.
    let copy = outside.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    for file in ["signer.toml", "validator.key", "signer.key", "signing-guard"] {
        fs::copy(home.join(file), copy.join(file)).expect("copied");
    }
    for (what, expected) in [("copied", "was copied or restored"), ("lost", "is gone")] {
        let refused = zynk(&["signer", "--home", text(&copy)]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(expected), "{what}: {words}");
        let _ = fs::remove_file(copy.join("signing-guard"));
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn a_node_of_cometbft_signs_with_it() {
    let tool = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/cometbft")).output().expect("a shell script runs");
    if tool.status.code() == Some(UNAVAILABLE) {
        eprintln!("SKIPPED, nothing was tested: {}", String::from_utf8_lossy(&tool.stderr).trim());
        return;
    }
    let cometbft = String::from_utf8(tool.stdout).expect("UTF-8").lines().last().expect("a path").to_owned();
    let folder = TempDir::new().expect("a folder");
    let home = folder.path().join("comet");
    let made = Command::new(&cometbft).args(["init", "--home", text(&home)]).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let json = |name: &str| -> Value { serde_json::from_slice(&fs::read(home.join("config").join(name)).expect("there")).expect("JSON") };
    let secret = json("priv_validator_key.json")["priv_key"]["value"].as_str().map(|text| STANDARD.decode(text).expect("base64"));
    let seed: [u8; 32] = secret.expect("a key")[..32].try_into().expect("a seed and its public half");
    let key = folder.path().join("validator.key");
    KeyFile::of(KeyKind::Validator, SigningKey::from_seed(&seed)).create(&key).expect("written");
    let chain = json("genesis.json")["chain_id"].as_str().expect("a name").to_owned();
    // Its own copy is gone: only the signer can sign.
    fs::remove_file(home.join("config/priv_validator_key.json")).expect("there");
    fs::remove_file(home.join("data/priv_validator_state.json")).expect("there");
    let (rpc, p2p, laddr) = (free_port(), free_port(), free_port());
    let connect = format!("tcp://127.0.0.1:{laddr}");
    let signer_home = folder.path().join("signer");
    done(&["signer", "init", "--home", text(&signer_home), "--chain", &chain, "--connect", &connect, "--key", text(&key), "--after", "0"]);
    let mut signer = Signer::start(&signer_home);
    let log = fs::File::create(folder.path().join("comet.log")).expect("a log");
    let node = Command::new(&cometbft)
        .args(["start", "--home", text(&home), "--proxy_app", "kvstore", "--consensus.create_empty_blocks=true"])
        .args(["--priv_validator_laddr", &connect, "--rpc.laddr", &format!("tcp://127.0.0.1:{rpc}")])
        .args(["--p2p.laddr", &format!("tcp://127.0.0.1:{p2p}")])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    let height = || -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", rpc)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
        body["result"]["sync_info"]["latest_block_height"].as_str()?.parse().ok()
    };
    let _node = Killed(node);
    let before = until("blocks", PATIENCE, || height().filter(|height| *height >= 3));
    signer.again();
    until("blocks after the signer came back", PATIENCE, || height().filter(|height| *height >= before + 3));
    assert!(!signer.said().contains("did not sign"), "{}", signer.said());
}
