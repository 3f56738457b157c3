//! What keeps a validator from signing twice, and what is told when a node's files are not its own.

#![allow(clippy::type_complexity, reason = "a table of stories")]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use consensus::guard::{Guard, Step};
use futures::StreamExt as _;
use genesis::{KeyFile, KeyKind};
use libp2p::{SwarmBuilder, gossipsub, noise, tcp, yamux};
use node::config::Config;
use tempfile::TempDir;
use types::Height;
use world::{World, ZYNK, until};

/// The validator whose files are tampered with.
const VICTIM: usize = 3;

/// Bytes of the first entry of a consensus log: after 12 of the file's header and 13 of its own.
const DAMAGED: std::ops::Range<usize> = 30..46;

#[test]
fn a_restored_validator_signs_nothing_that_it_may_have_signed() {
    let mut world = World::start();
    world.transfer(0).expect("included");
    let home = world.home(VICTIM);
    // The backup is made while the validator is down; then it signs on, which the backup forgets.
    world.stop(VICTIM);
    let backup = world.beside("backup");
    copy(&home, &backup);
    world.revive(VICTIM, &[]);
    let backed_up = world.height(0);
    let signed = world.wait_for_signature(VICTIM, 0, backed_up);
    world.stop(VICTIM);
    let stopped = world.height(0);

    fs::remove_dir_all(&home).expect("removed");
    copy(&backup, &home);
    let before = world.log(VICTIM).len();
    world.revive(VICTIM, &[]);
    let told = |world: &World| world.log(VICTIM)[before..].to_owned();
    until("it says that it does not sign", world::PATIENCE, || told(&world).contains("follows without signing until").then_some(()));
    world.wait_for(VICTIM, signed);
    let again = until("it signs again", world::PATIENCE, || told(&world).contains("signing again").then(|| world.height(0)));
    assert!(again >= stopped + 2, "signs again at {again}, the chain was at {stopped}");
    let first = world.wait_for_signature(VICTIM, 0, stopped + 1);
    assert!(first > stopped + 2, "signed height {first}, heard {stopped}");
    // Between the end of its first life and the moment it spoke again, it gave nothing.
    assert_eq!(world.signed(VICTIM, 0, stopped + 2..=first - 1), [0; 0]);
    for place in 0..4 {
        assert!(!world.log(place).contains("evidence against a validator"), "validator {place} saw a second signature");
    }
    world.assert_agreed(first);
}

#[test]
fn a_peer_that_tells_any_height_does_not_silence_a_restored_validator() {
    let mut world = World::start();
    world.stop(VICTIM);
    let (home, backup) = (world.home(VICTIM), world.beside("backup"));
    copy(&home, &backup);
    fs::remove_dir_all(&home).expect("removed");
    copy(&backup, &home);
    let _lies = world.runtime.spawn(tell(u64::MAX - 1, &world));
    let before = world.log(VICTIM).len();
    world.revive(VICTIM, &[]);
    let told = |words: &str| world.log(VICTIM)[before..].contains(words).then(Instant::now);
    let silent = until("it says that it does not sign", world::PATIENCE, || told("follows without signing until"));
    let again = until("it signs again", world::PATIENCE, || told("signing again"));
    // It heard the lie: by what the others tell it would have been some seconds.
    assert!(again - silent >= Duration::from_secs(60), "it waited for {:?}", again - silent);
    let tip = world.height(0);
    world.wait_for_signature(VICTIM, 0, tip);
}

/// Tells the validators' network of transactions a height, five times a second.
fn tell(height: u64, world: &World) -> impl Future<Output = ()> + use<> {
    let chain = world.running.network().load_genesis().expect("a genesis").chain().clone();
    let neighbour = Config::load(&world.running.network().home(0).config()).expect("a configuration").gossip.listen;
    let topic = gossipsub::IdentTopic::new(format!("/zynk/{chain}/heights/1"));
    async move {
        let config = gossipsub::ConfigBuilder::default()
            .validation_mode(gossipsub::ValidationMode::Anonymous)
            .message_id_fn(|message| gossipsub::MessageId::from(message.data.clone()))
            .build();
        let config = config.expect("a configuration");
        let gossip = gossipsub::Behaviour::<gossipsub::IdentityTransform>::new(gossipsub::MessageAuthenticity::Anonymous, config);
        let swarm = SwarmBuilder::with_new_identity().with_tokio();
        let swarm = swarm.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).expect("keys");
        let swarm = swarm.with_behaviour(|_| gossip.expect("a behaviour")).expect("a behaviour");
        let mut swarm = swarm.with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600))).build();
        swarm.behaviour_mut().subscribe(&topic).expect("a topic");
        swarm.dial(neighbour).expect("an address");
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        for time in 0u64.. {
            while tokio::select! { _ = swarm.select_next_some() => true, _ = tick.tick() => false } {}
            // Nobody may be there yet.
            let _ = swarm.behaviour_mut().publish(topic.clone(), [height.to_be_bytes(), time.to_be_bytes()].concat());
        }
    }
}

#[test]
fn a_damaged_consensus_log_stops_the_node_with_what_to_do() {
    let mut world = World::start();
    let wal = world.running.network().home(VICTIM).wal();
    // With two of four gone a height is begun and never ends: what was voted stays in the log,
    // which names its height after four bytes of version.
    world.kill(1);
    world.kill(2);
    std::thread::sleep(Duration::from_secs(1));
    until("votes of an unfinished height in the consensus log", world::PATIENCE, || {
        let bytes = fs::read(&wal).expect("a log");
        let height = u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?);
        (height == world.height(VICTIM) + 1 && bytes.len() > DAMAGED.end).then_some(())
    });
    world.kill(VICTIM);
    let mut bytes = fs::read(&wal).expect("a log");
    for byte in &mut bytes[DAMAGED] {
        *byte ^= 0xff;
    }
    fs::write(&wal, &bytes).expect("written");
    let before = world.log(VICTIM).len();
    world.revive(VICTIM, &[]);
    world.wait_for_fall(VICTIM);
    // What the engine's other parts say while they end may come after it.
    let words = world.log(VICTIM)[before..].to_owned();
    assert!(words.contains("consensus log") && words.contains("damaged") && words.contains("Move the file away"), "{words}");

    // What it says to do helps.
    fs::rename(&wal, wal.with_extension("damaged")).expect("moved");
    let height = world.height(0);
    for place in [1, 2, VICTIM] {
        world.revive(place, &[]);
    }
    world.wait_for(VICTIM, height + 1);
    let signed = world.wait_for_signature(VICTIM, 0, height);
    world.assert_agreed(signed);
}

#[test]
fn a_refused_signature_stops_the_node_with_the_reason() {
    let mut world = World::start();
    world.stop(VICTIM);
    let home = world.running.network().home(VICTIM);
    // As if it had signed far above the chain.
    let key = KeyFile::load(&home.validator_key(), KeyKind::Validator).expect("a key").key().public();
    let (mut guard, _) = Guard::open(&home.guard(), key).expect("its guard");
    guard.permit(Height(1_000_000), 0, Step::Precommit, b"a vote").expect("above what it signed");
    drop(guard);
    world.revive(VICTIM, &[]);
    let words = world.wait_for_fall(VICTIM);
    let last = words.lines().find(|line| line.starts_with("error ")).unwrap_or_default();
    assert!(last.contains("refused to sign at height") && last.contains("height 1000000 round 0 was signed before"), "{words}");
}

#[test]
fn a_home_that_is_not_right_is_refused_with_a_reason() {
    let folder = TempDir::new().expect("a folder");
    let network = world::create(&folder.path().join("network"));
    let home = network.home(0);
    let good = |path: &Path| fs::read(path).expect("a file");
    let (config, key, genesis) = (good(&home.config()), good(&home.validator_key()), good(&home.genesis()));

    // A database of this chain, made by a node that waits for the others.
    assert_eq!(refused(&network.home_folder(0), Some(&home.database().join("CURRENT"))), None, "a good home");
    let other = world::create(&folder.path().join("other"));
    fs::copy(other.genesis(), home.genesis()).expect("copied");
    let words = refused(&network.home_folder(0), None).expect("another chain's genesis");
    assert!(words.contains("genesis") && words.contains("database"), "{words}");
    fs::write(home.genesis(), &genesis).expect("written");

    let text = String::from_utf8(config.clone()).expect("TOML is text");
    let unknown = format!("surprise = 1\n{text}").into_bytes();
    let cases: Vec<(&str, std::path::PathBuf, Option<Vec<u8>>, &[&str])> = vec![
        ("an unknown field", home.config(), Some(unknown), &["node.toml", "surprise"]),
        ("no configuration", home.config(), None, &["node.toml"]),
        ("a configuration that is no TOML", home.config(), Some(b"\x00\xff{".to_vec()), &["node.toml"]),
        ("no node key", home.node_key(), None, &["node.key"]),
        ("garbage for a key", home.validator_key(), Some(b"garbage".to_vec()), &["validator.key"]),
        ("invalid UTF-8 for a key", home.validator_key(), Some(vec![0xff; 40]), &["validator.key"]),
        ("a key of another kind", home.validator_key(), Some(good(&home.node_key())), &["validator.key", "validator"]),
        ("no genesis", home.genesis(), None, &["genesis.json"]),
        ("a genesis that is no JSON", home.genesis(), Some(b"{".to_vec()), &["genesis.json"]),
        ("a genesis with an unknown field", home.genesis(), Some(extended(&genesis)), &["genesis.json", "surprise"]),
        ("garbage for the guard", home.guard(), Some(vec![7; 200]), &["signing guard", "damaged"]),
    ];
    for (what, path, bytes, expected) in cases {
        let aside = path.with_extension("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        }
        let words = refused(&network.home_folder(0), None).unwrap_or_else(|| panic!("{what}: it runs"));
        assert!(expected.iter().all(|word| words.contains(word)), "{what}: {words}");
        assert!(!words.contains("panicked"), "{what}: {words}");
        if was_there {
            fs::rename(&aside, &path).expect("restored");
        }
    }
    assert_eq!((good(&home.config()), good(&home.validator_key()), good(&home.genesis())), (config, key, genesis), "nothing was changed");
}

/// Runs a node until `made` is there (and its guard), or it ends by itself with an error: its words.
fn refused(home: &Path, made: Option<&Path>) -> Option<String> {
    let mut child = Command::new(ZYNK)
        .args(["node", "--attached", "--home"])
        .arg(home)
        .env("ZYNK_LOG", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(if made.is_some() { 20 } else { 10 });
    let guard = home.join("data/signing-guard");
    while child.try_wait().expect("our child").is_none() {
        if Instant::now() > deadline || made.is_some_and(|made| made.exists() && guard.exists()) {
            // Killed, its output ends with nothing that counts.
            child.kill().expect("it runs");
            child.wait().expect("our child");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it has ended");
    assert!(!output.status.success(), "it ended without an error");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The genesis with a field that nobody knows.
fn extended(genesis: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(genesis.to_vec()).expect("JSON is text");
    text.replacen('{', "{\"surprise\":1,", 1).into_bytes()
}

/// As `cp -r`: the same bytes in other inodes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} was not copied", from.display());
}
