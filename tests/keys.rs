//! Encrypted key files from outside: the commands, a node that starts with them, and what happens where nobody is to ask.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// What a command said and how it ended.
struct Said {
    status: i32,
    out: String,
    err: String,
}

/// Runs `zynk` in a folder, with nobody at a terminal and nothing in the environment but `with`.
fn zynk(folder: &Path, with: &[(&str, &str)], line: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zynk"));
    for name in ["ZYNK_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "ZYNK_HOME", "ZYNK_KEY"] {
        command.env_remove(name);
    }
    let began = Instant::now();
    let output = command.envs(with.iter().copied()).current_dir(folder).args(line.split_whitespace()).stdin(Stdio::null()).output();
    let output = output.expect("it runs");
    assert!(began.elapsed() < Duration::from_secs(60), "{line}: nobody is waited for");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    Said { status: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

fn done(folder: &Path, with: &[(&str, &str)], line: &str) -> Value {
    let said = zynk(folder, with, &format!("{line} --json"));
    assert_eq!(said.status, 0, "{line}: {}", said.err);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

fn refused(folder: &Path, with: &[(&str, &str)], line: &str, code: u32) -> String {
    let said = zynk(folder, with, line);
    assert_eq!(said.status, 1, "{line}: {}", said.out);
    assert!(said.err.starts_with(&format!("error {code}: ")), "{line}: {}", said.err);
    said.err
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    secret(&folder.path().join("pass"), "correct horse\n");
    secret(&folder.path().join("other"), "battery staple\nnot this line\n");
    folder
}

#[test]
fn a_key_goes_through_its_life_encrypted() {
    let folder = folder();
    let at = folder.path();
    let made = done(at, &[], "keys make --kind account --out me.key --encrypt --passphrase-file pass");
    assert_eq!(made["encrypted"], true);
    let shown = done(at, &[], "keys show me.key");
    assert_eq!((&shown["address"], &shown["encrypted"]), (&made["address"], &made["encrypted"]), "its public side needs no passphrase");
    assert_eq!(fs::metadata(at.join("me.key")).expect("there").permissions().mode() & 0o777, 0o600);
    done(at, &[], "keys passphrase me.key --passphrase-file pass --new-passphrase-file other");
    refused(at, &[], "keys decrypt me.key --passphrase-file pass", 4208);
    // The environment and systemd's credential say it, too.
    done(at, &[("ZYNK_PASSPHRASE_FILE", "other")], "keys decrypt me.key");
    assert_eq!(done(at, &[], "keys show me.key")["encrypted"], false);
    let text = fs::read_to_string(at.join("me.key")).expect("text");
    fs::create_dir(at.join("credentials")).expect("a folder");
    fs::write(at.join("credentials/zynk-passphrase"), "correct horse").expect("written");
    let credentials = at.join("credentials");
    let systemd = [("CREDENTIALS_DIRECTORY", credentials.to_str().expect("a path"))];
    done(at, &systemd, "keys encrypt me.key");
    done(at, &systemd, "keys decrypt me.key");
    assert_eq!(fs::read_to_string(at.join("me.key")).expect("text"), text, "the same file again");
    assert!(!at.join("me.key.new").exists());
}

#[test]
fn what_cannot_be_done_is_said_at_once() {
    let folder = folder();
    let at = folder.path();
    done(at, &[], "keys make --kind validator --out open.key");
    done(at, &[], "keys make --kind validator --out shut.key --encrypt --passphrase-file pass");
    let before = fs::read(at.join("shut.key")).expect("there");
    let alone = refused(at, &[], "keys decrypt shut.key", 4207);
    assert!(alone.contains("there is no terminal") && alone.contains("hint: ") && alone.contains("--passphrase-file"), "{alone}");
    refused(at, &[], "keys encrypt open.key", 6017);
    refused(at, &[], "keys encrypt shut.key --passphrase-file pass", 4211);
    refused(at, &[], "keys decrypt open.key --passphrase-file pass", 4211);
    refused(at, &[], "keys decrypt shut.key --passphrase-file other", 4208);
    refused(at, &[], "keys decrypt shut.key --passphrase-file nowhere", 4001);
    refused(at, &[], "keys make --kind node --out new.key --encrypt", 6017);
    assert!(!at.join("new.key").exists());
    fs::set_permissions(at.join("pass"), fs::Permissions::from_mode(0o644)).expect("set");
    refused(at, &[], "keys decrypt shut.key --passphrase-file pass", 4203);
    fs::set_permissions(at.join("pass"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::set_permissions(at.join("shut.key"), fs::Permissions::from_mode(0o640)).expect("set");
    refused(at, &[], "keys decrypt shut.key --passphrase-file pass", 4203);
    assert_eq!(fs::read(at.join("shut.key")).expect("there"), before, "nothing was changed");
    secret(&at.join("empty"), "\n");
    refused(at, &[], "keys encrypt open.key --passphrase-file empty", 4210);
    let help = zynk(at, &[], "keys encrypt --help").out;
    assert!(!help.contains("--passphrase <"), "none is taken from the arguments: {help}");
}

#[test]
fn a_node_needs_the_passphrase_of_its_keys() {
    let folder = folder();
    let at = folder.path();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let init = "node init --home node --moniker alpha --validator --encrypt --listen 127.0.0.1 --passphrase-file pass";
    let home = done(at, &[], &format!("{init} --port {port}"));
    assert_eq!(done(at, &[], "node show --home node")["consensus_key"], home["consensus_key"]);
    done(at, &[], "keys make --kind account --out me.key");
    let account = done(at, &[], "keys show me.key")["address"].as_str().expect("an address").to_owned();
    let time = tendermint::Time::now();
    done(at, &[], &format!("genesis make --chain alone-1 --time {time} --out genesis.json --account {account}=1000"));
    let apply = "genesis apply genesis.json --home node --key me.key --stake 100 --commission-bps 500 --out alpha.json";
    refused(at, &[], apply, 4207);
    done(at, &[], &format!("{apply} --passphrase-file pass"));
    done(at, &[], "genesis accept genesis.json alpha.json");
    fs::copy(at.join("genesis.json"), at.join("node/genesis.json")).expect("copied");
    let alone = zynk(at, &[], "node --home node");
    assert!(alone.status == 1 && alone.err.contains("is encrypted") && alone.err.contains("hint: "), "{}", alone.err);
    let wrong = zynk(at, &[], "node --home node --passphrase-file other");
    assert!(wrong.status == 1 && wrong.err.contains("does not open"), "{}", wrong.err);
    // With it, it makes blocks; told to stop by the end of its input, it stops.
    let mut node = Command::new(env!("CARGO_BIN_EXE_zynk"))
        .args(["node", "--home", "node", "--attached", "--passphrase-file", "pass"])
        .current_dir(at)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    let light = format!("light --once --genesis genesis.json --node http://127.0.0.1:{}", port + 1);
    while zynk(at, &[], &light).status != 0 {
        assert!(Instant::now() < deadline && node.try_wait().expect("a process").is_none(), "it makes no block");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(node.stdin.take());
    assert!(node.wait().expect("it ends").success());
}
