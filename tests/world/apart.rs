//! Validators on machines of their own, as far as their network and disks can tell: each in a network
//! namespace, joined by bridges that can be cut.
//!
//! All of it lies in private namespaces of this test's process and is gone with it; nothing of the
//! machine's own network is touched. It needs `unshare` and `ip`, and where it does not run as root a
//! kernel that lets users make namespaces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use devnet::Network;
use node::config::Config;

use super::ZYNK;

/// Tells the process inside that it is there.
const INSIDE: &str = "ZYNK_TEST_INSIDE";

/// The two sides of a partition; without one, everybody is on the first.
const SIDES: [&str; 2] = ["side0", "side1"];

/// Runs the body of the test of this name in private namespaces, by starting this program again.
pub(crate) fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "--"])
        .arg(program)
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{test}: {status}");
}

/// Brings up the loopback of the private namespace, for validators that share it.
pub(crate) fn loopback() {
    run("ip", "link set lo up");
}

/// Puts each validator of a network at rest on a machine of its own. What comes back is the network as
/// its files have it then, and the program that starts a validator on its machine.
///
/// A machine has two links: one to the other validators, which [`part`] cuts, and one to the test.
pub(crate) fn set_apart(network: &Network) -> (Network, PathBuf) {
    // `ip netns` keeps names here.
    run("mount", "-t tmpfs none /run");
    loopback();
    for side in SIDES {
        run("ip", &format!("link add {side} type bridge"));
        run("ip", &format!("link set {side} up"));
    }
    for place in 0..network.len() {
        let machine = format!("machine{place}");
        run("ip", &format!("netns add {machine}"));
        run("ip", &format!("-n {machine} link set lo up"));
        run("ip", &format!("link add peer{place} type veth peer name peers netns {machine}"));
        run("ip", &format!("link set peer{place} master {} up", SIDES[0]));
        run("ip", &format!("-n {machine} addr add {}/24 dev peers", among_peers(place)));
        run("ip", &format!("-n {machine} link set peers up"));
        run("ip", &format!("link add test{place} type veth peer name test netns {machine}"));
        run("ip", &format!("addr add 10.2.{place}.1/30 dev test{place}"));
        run("ip", &format!("link set test{place} up"));
        run("ip", &format!("-n {machine} addr add {}/30 dev test", before_test(place)));
        run("ip", &format!("-n {machine} link set test up"));
        move_to(place, network);
    }
    let program = network.folder().join("on-its-machine");
    // The last argument is the home, whose name ends with the validator's place.
    let script = format!("#!/bin/sh\nfor home; do :; done\nexec ip netns exec \"machine${{home#\"${{home%?}}\"}}\" '{ZYNK}' \"$@\"\n");
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    (Network::load(network.folder()).expect("the same network"), program)
}

/// Cuts the network in two: the validators named, and the others.
pub(crate) fn part(others: &[usize]) {
    for place in others {
        run("ip", &format!("link set peer{place} master {}", SIDES[1]));
    }
}

/// Joins what [`part`] cut.
pub(crate) fn heal(others: &[usize]) {
    for place in others {
        run("ip", &format!("link set peer{place} master {}", SIDES[0]));
    }
}

/// Gives a folder a disk of its own, of `mebibytes`.
pub(crate) fn small_disk(folder: &Path, mebibytes: usize) {
    fs::create_dir_all(folder).expect("made");
    run("mount", &format!("-t tmpfs -o size={mebibytes}m none {}", folder.display()));
}

fn among_peers(place: usize) -> String {
    format!("10.1.0.{}", place + 1)
}

fn before_test(place: usize) -> String {
    format!("10.2.{place}.2")
}

/// Writes the addresses of machines where those of loopback stood.
fn move_to(place: usize, network: &Network) {
    let path = network.home(place).config();
    let mut config = Config::load(&path).expect("a configuration");
    let home = |port: &str| (0..network.len()).find(|other| ports(network, *other).contains(&port.to_owned()));
    for part in [&mut config.consensus, &mut config.gossip] {
        for address in std::iter::once(&mut part.listen).chain(&mut part.peers) {
            let text = address.to_string();
            let port = text.split('/').nth(4).expect("a port");
            let owner = home(port).expect("somebody's port");
            *address = text.replace("127.0.0.1", &among_peers(owner)).parse().expect("an address");
        }
    }
    config.rpc.listen.set_ip(before_test(place).parse().expect("an address"));
    config.save(&path).expect("written");
}

/// The ports on which a validator listens for others.
fn ports(network: &Network, place: usize) -> Vec<String> {
    let config = Config::load(&network.home(place).config()).expect("a configuration");
    [config.consensus.listen, config.gossip.listen].map(|listen| listen.to_string().split('/').nth(4).expect("a port").to_owned()).to_vec()
}

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments}: {status}");
}
