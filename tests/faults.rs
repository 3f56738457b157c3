//! What machines and networks do to validators: partitions, full disks, wrong clocks. Real processes in
//! namespaces of their own. After each, everybody has the same state, nobody signed twice, and the chain goes on.

#![allow(clippy::print_stdout, reason = "a long run says how far it is")]

mod world;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use world::{PATIENCE, World, ZYNK, apart, until};

/// The validator to which it happens.
const VICTIM: usize = 3;

/// How long the network stays cut: some rounds of the engine.
const CUT: Duration = Duration::from_secs(10);

/// Long enough that nodes have given their connections up.
const LONG_CUT: Duration = Duration::from_secs(30);

/// How many MiB a small disk has.
const SMALL_DISK: usize = 48;

#[test]
#[ignore = "needs namespaces: make soak"]
fn cut_in_halves_the_chain_waits_and_goes_on_when_healed() {
    apart::inside("cut_in_halves_the_chain_waits_and_goes_on_when_healed", || {
        let mut world = World::start_with(|network| apart::set_apart(&network));
        for others in [[2, 3], [1, 3]] {
            apart::part(&others);
            // What was under way may still end; then neither half has a quorum.
            std::thread::sleep(Duration::from_secs(2));
            let before = heights(&world);
            std::thread::sleep(CUT);
            assert_eq!(heights(&world), before, "a half went on alone");
            apart::heal(&others);
            goes_on(&mut world, "two and two");
        }
    });
}

#[test]
#[ignore = "needs namespaces: make soak"]
fn cut_off_one_validator_catches_up_when_healed() {
    apart::inside("cut_off_one_validator_catches_up_when_healed", || {
        let mut world = World::start_with(|network| apart::set_apart(&network));
        for lonely in [VICTIM, 0] {
            let through = (lonely + 1) % 4;
            apart::part(&[lonely]);
            let (began, before) = (Instant::now(), world.height(lonely));
            while began.elapsed() < CUT {
                world.transfer(through).expect("three of four go on");
            }
            assert!(world.height(lonely) <= before + 1, "a validator alone went on");
            assert!(world.height(through) > before + 2, "three of four stood still");
            apart::heal(&[lonely]);
            goes_on(&mut world, "one and three");
        }
    });
}

#[test]
#[ignore = "needs namespaces: make soak"]
fn cut_off_a_node_that_does_not_sign_spreads_transactions_when_healed() {
    apart::inside("cut_off_a_node_that_does_not_sign_spreads_transactions_when_healed", || {
        let mut world = World::start_with(|network| apart::set_apart(&network));
        // It has no key any more, so it never starts anew by itself.
        world.stop(VICTIM);
        fs::rename(world.running.network().home(VICTIM).validator_key(), world.beside("moved.key")).expect("moved");
        world.revive(VICTIM, &[]);
        let through = || until("a transfer through the follower", PATIENCE, || world.transfer(VICTIM).ok()).height.0;
        through();
        for cut in [CUT, LONG_CUT] {
            apart::part(&[VICTIM]);
            std::thread::sleep(cut);
            apart::heal(&[VICTIM]);
            let began = Instant::now();
            let height = through();
            println!("cut off for {cut:?}: its transfer is in block {height} after {:.1} s", began.elapsed().as_secs_f64());
        }
    });
}

#[test]
#[ignore = "needs namespaces: make soak"]
fn a_full_disk_stops_a_validator_with_the_reason() {
    apart::inside("a_full_disk_stops_a_validator_with_the_reason", || {
        let mut world = World::start_with(|network| {
            apart::small_disk(&network.home(VICTIM).data(), SMALL_DISK);
            apart::loopback();
            (network, PathBuf::from(ZYNK))
        });
        let filler = world.running.network().home(VICTIM).data().join("filler");
        until("the end of a validator without room", PATIENCE, || {
            // What the database had reserved and gives back is filled, too.
            fill(&filler);
            world.transfer(0).expect("three of four go on");
            world.running.fallen().into_iter().find(|(fallen, _)| *fallen == VICTIM)
        });
        let words = world.log(VICTIM);
        assert!(words.contains("No space left on device"), "{words}");
        // Without room it does not come back either, and says so again.
        world.revive(VICTIM, &[]);
        let words = world.wait_for_fall(VICTIM);
        assert!(words.contains("No space left on device"), "{words}");
        fs::remove_file(&filler).expect("removed");
        world.revive(VICTIM, &[]);
        goes_on(&mut world, "a full disk");
    });
}

#[test]
#[ignore = "needs namespaces: make soak"]
fn a_wrong_clock_hurts_nobody_else() {
    apart::inside("a_wrong_clock_hurts_nobody_else", || {
        let library = faketime();
        let mut world = World::start_with(|network| {
            apart::loopback();
            (network, PathBuf::from(ZYNK))
        });
        for offset in ["+30s", "-30s"] {
            world.stop(VICTIM);
            world.revive(VICTIM, &[("LD_PRELOAD", &library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
            let began = world.height(0);
            world.wait_for(VICTIM, began);
            let mut last = began;
            for _ in 0..8 {
                last = world.transfer(0).expect("three of four go on").height.0;
            }
            for height in began..=last {
                let age = world.age_ms(0, height);
                assert!(age > -consensus::chain::MAX_AHEAD_MS, "block {height} says a time that is {} ms ahead", -age);
            }
            world.assert_agreed(last);
            world.stop(VICTIM);
            world.revive(VICTIM, &[]);
            goes_on(&mut world, offset);
        }
    });
}

/// Where Debian's libfaketime is: `tools/install faults`.
fn faketime() -> String {
    let folders = fs::read_dir("/usr/lib").expect("a folder").filter_map(Result::ok);
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("libfaketime is installed").display().to_string()
}

fn heights(world: &World) -> Vec<u64> {
    (0..4).map(|place| world.height(place)).collect()
}

/// Waits until everybody follows and the victim signs again, and asserts that they agree and nobody signed twice.
fn goes_on(world: &mut World, after: &str) {
    let began = Instant::now();
    let height = until("the chain goes on", PATIENCE, || world.transfer(0).ok()).height.0;
    world.assert_agreed(height);
    for place in 0..4 {
        let signed = world.wait_for_signature(place, (place + 1) % 4, height);
        world.assert_agreed(signed);
    }
    for place in 0..4 {
        assert!(!world.log(place).contains("two different messages"), "validator {place} saw a second signature");
    }
    println!("{after}: height {}, everybody signs again after {:.1} s", world.height(0), began.elapsed().as_secs_f64());
}

/// Writes until there is no room.
fn fill(path: &std::path::Path) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("opened");
    let full = (0..).find_map(|_| file.write_all(&[0; 4096]).and_then(|()| file.flush()).err()).expect("no disk is endless");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}
