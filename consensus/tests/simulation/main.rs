//! Deterministic simulation of consensus and ledger: whole networks in one thread, out of one seed.
//!
//! The engine's core, this chain's blocks, validators, guard and ledger are the real ones; network, clock, disk and
//! faults are simulated. `docs/simulation.md` says what is simulated, what is checked, and how to replay a seed.

mod app;
mod counts;
mod dice;
mod load;
mod log;
mod network;
mod node;
mod past;
mod plan;
mod store;
mod verify;
mod witness;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use counts::Counts;
use plan::{Bug, Plan};
use world::{Failure, run};

/// Runs all seeds on all cores; what happened in them, or the failed run of the lowest seed that was reached.
fn simulate(seeds: Range<u64>, bug: Option<Bug>) -> Result<Counts, Failure> {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Counts::default(), None::<Failure>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let failed = total.lock().expect("no run panics").1.is_some();
            if seed >= seeds.end || failed {
                return;
            }
            let outcome = survive(&Plan::new(seed, bug), false);
            let mut total = total.lock().expect("no run panics");
            match outcome {
                Ok(counts) => total.0 += counts,
                Err(failure) if total.1.as_ref().is_none_or(|first| failure.seed < first.seed) => total.1 = Some(failure),
                Err(_) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let (counts, failure) = total.into_inner().expect("no run panics");
    failure.map_or(Ok(counts), Err)
}

/// A run; one that panics has failed.
fn survive(plan: &Plan, trace: bool) -> Result<Counts, Failure> {
    std::panic::catch_unwind(|| run(plan.clone(), trace)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let what = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(Failure { seed: plan.seed, at: 0, what: format!("panic: {}", what.unwrap_or_default()), trace: Vec::new() })
    })
}

/// Runs seeds as they are, and shows a failed one with its last events.
#[allow(clippy::print_stdout, reason = "whoever runs many seeds reads what happened")]
fn explore(seeds: Range<u64>) {
    match simulate(seeds, None) {
        Ok(counts) => println!("{counts}"),
        Err(failure) => {
            let plan = Plan::new(failure.seed, None);
            let again = survive(&plan, true).expect_err("a seed fails as it failed before");
            assert_eq!((again.at, &again.what), (failure.at, &failure.what), "a seed fails as it failed before");
            panic!(
                "{plan:#?}\n{}\nseed {} failed after {} ms: {}\nreplay it: make simulate SEED={}",
                again.trace.join("\n"),
                failure.seed,
                failure.at,
                failure.what,
                failure.seed
            );
        }
    }
}

/// A number out of the environment; none if it is not set or empty.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

#[test]
fn sixty_networks_agree_and_recover() {
    explore(0..60);
}

/// `make simulate`.
#[test]
#[ignore = "minutes long"]
fn many_networks_agree_and_recover() {
    match setting("ZYNK_SEED") {
        Some(seed) => explore(seed..seed + 1),
        None => explore(0..setting("ZYNK_SEEDS").unwrap_or(1_000)),
    }
}

#[test]
fn a_run_is_the_same_every_time() {
    let plan = Plan::new(7, None);
    let one = run(plan.clone(), false).expect("a sound run");
    assert_eq!(one, run(plan, true).expect("a sound run"), "with its events shown or not");
}

#[test]
fn what_is_planted_is_found() {
    // The mistake, within how many seeds it is found, and what is said of it.
    let planted: [(Bug, u64, &[&str]); 8] = [
        (Bug::HalfQuorum, 5, &["which is no quorum"]),
        (Bug::ForgottenLock, 15, &["is locked on another block"]),
        (Bug::ReusedSequence, 5, &["took effect twice"]),
        (Bug::EarlyUpdates, 15, &["has not the validators that are due", "has not the next validators that are due"]),
        (Bug::LostMemory, 15, &[" signed ", "is locked on another block"]),
        (Bug::LateLog, 60, &["STALL", "is locked on another block"]),
        (Bug::OwnState, 5, &["the application's hash differs"]),
        (Bug::SaidOnce, 5, &["STALL"]),
    ];
    for (bug, within, said) in planted {
        let failure = simulate(0..within, Some(bug)).expect_err(&format!("{bug:?} was not found within {within} seeds"));
        assert!(said.iter().any(|said| failure.what.contains(said)), "{bug:?}: seed {}: {}", failure.seed, failure.what);
    }
}
