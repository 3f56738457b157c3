//! A validator dies before and after each durable write, comes back, and is whole.

#![allow(clippy::print_stdout, reason = "a long run says how far it is")]
#![cfg_attr(not(debug_assertions), allow(dead_code, unused_imports, reason = "release builds have no crash points"))]

mod world;

use std::time::{Duration, Instant};

use consensus::fault::POINTS;
use consensus::guard::{Guard, Step};
use genesis::{KeyFile, KeyKind};
use world::{World, until};

/// The validator that dies.
const VICTIM: usize = 3;

/// Between two transfers, so that the one that came back gets level with the others.
const BREATH: Duration = Duration::from_millis(300);

/// Enough records for the guard's file to pass 64 KiB, above which it is rewritten.
const RECORDS: u32 = 1_300;

#[test]
#[cfg(debug_assertions)]
fn a_crash_at_any_durable_write_is_survived() {
    let mut world = World::start();
    for point in POINTS {
        let began = Instant::now();
        world.stop(VICTIM);
        if point.starts_with("guard.compact") {
            grow_guard(&world);
        }
        // Rewriting is rare; everything else comes up again and again, so not only the first counts.
        let hits = if point.starts_with("guard.compact") { 1 } else { 3 };
        world.revive(VICTIM, &[("ZYNK_FAULT", &format!("{point}:{hits}"))]);
        until(&format!("{point} is reached"), world::PATIENCE, || {
            world.transfer(0).unwrap_or_else(|error| panic!("{point}: the other three go on: {error}"));
            // A validator that is told of a block only once it is decided has no part in deciding it.
            std::thread::sleep(BREATH);
            world.running.fallen().into_iter().find(|(fallen, _)| *fallen == VICTIM)
        });
        let log = world.log(VICTIM);
        assert!(log.contains(&format!("crash point {point} reached {hits} times")), "{point} was never hit:\n{}", world.last_words());
        let missed = world.transfer(0).expect("the other three go on").height.0;
        world.revive(VICTIM, &[]);
        let caught_up = world.wait_for(VICTIM, missed);
        let signed = world.wait_for_signature(VICTIM, 0, caught_up);
        let after = world.transfer(VICTIM).expect("through the one that came back").height.0;
        for height in [missed, signed, after] {
            world.assert_agreed(height);
        }
        println!("{point}: back at {caught_up}, signs at {signed}, {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// Fills the guard's file with records of a height that the chain has left behind when the
/// validator comes back: its next signature is for a higher one and rewrites the file.
#[cfg(debug_assertions)]
fn grow_guard(world: &World) {
    let home = world.running.network().home(VICTIM);
    let key = KeyFile::load(&home.validator_key(), KeyKind::Validator).expect("a key");
    let (mut guard, _) = Guard::open(&home.guard(), key.public()).expect("a guard");
    let height = guard.height();
    for round in 0..RECORDS {
        guard.permit(height, 1_000 + round, Step::Prevote, &round.to_be_bytes()).expect("permitted");
    }
    assert!(std::fs::metadata(home.guard()).expect("a file").len() > 64 * 1024);
    // The chain must leave that height before the validator is back.
    until("the chain leaves a height", world::PATIENCE, || (world.height(0) > height.0).then_some(()));
}

/// Kills whoever's turn it is, without warning and at any moment, over and over.
#[test]
#[ignore = "the long run: make soak"]
fn killed_again_and_again_the_chain_goes_on() {
    let kills: usize = std::env::var("ZYNK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut world = World::start();
    let mut dice = u64::from(std::process::id());
    println!("seed {dice}");
    for kill in 0..kills {
        // Numerical Recipes' generator: moments and victims need to be spread, not unknown.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (victim, other) = ((dice >> 60) as usize % 4, ((dice >> 60) as usize + 1) % 4);
        std::thread::sleep(Duration::from_millis((dice >> 33) % 1_000));
        world.kill(victim);
        let missed =
            world.transfer(other).unwrap_or_else(|error| panic!("kill {kill} of {victim}: {error}\n{}", world.last_words())).height.0;
        world.revive(victim, &[]);
        let caught_up = world.wait_for(victim, missed);
        world.wait_for_signature(victim, other, caught_up);
        world.assert_agreed(missed);
    }
    println!("{kills} kills, height {}", world.height(0));
}
