//! A relay and its devices under one seed: lost connections, crashes of both sides before and after
//! each durable write, messages sent again. The rules under test are the crate's own (sessions, intake,
//! queues, frames in both encodings); the store is a model whose disk survives. What the devices
//! recorded goes to the history checker, which must find nothing; and with a bug planted it must find it.

mod device;
mod dice;
mod relay;
mod world;

use mailbox::history::{Violation, check};

use relay::Bug;
use world::{Faults, World};

const STEPS: u64 = 2_500;

/// Runs `STEPS` of mixed work, lets everything come to rest, and returns the world.
fn run(seed: u64, faults: Faults, bug: Option<Bug>) -> World {
    let mut world = World::new(seed, faults, bug);
    for _ in 0..STEPS {
        world.step();
    }
    world.rest();
    world
}

#[test]
fn histories_with_every_fault_keep_the_promise() {
    let (mut messages, mut crashes, mut repeats) = (0, 0, 0);
    for seed in 0..40 {
        let world = run(seed, Faults::Often, None);
        assert_eq!(check(&world.events), [], "seed {seed}");
        world.assert_all_arrived(seed);
        messages += world.written;
        crashes += world.crashes;
        repeats += world.repeats();
    }
    // What the seeds must have met, or they show nothing.
    assert!(messages > 1_500, "{messages} messages");
    assert!(crashes > 200, "{crashes} crashes");
    assert!(repeats > 500, "{repeats} repeated deliveries of what was not acknowledged");
}

#[test]
fn a_quiet_history_keeps_the_promise_without_a_repeat() {
    for seed in 0..10 {
        let world = run(seed, Faults::Never, None);
        assert_eq!(check(&world.events), [], "seed {seed}");
        world.assert_all_arrived(seed);
        assert_eq!(world.repeats(), 0, "seed {seed}");
    }
}

#[test]
fn the_relay_may_crash_at_any_single_point() {
    for step in 1..=400 {
        let world = run_briefly(Faults::RelayAt(step));
        assert_eq!(check(&world.events), [], "crash at step {step}");
        world.assert_all_arrived(step);
    }
}

/// As [`run`], shorter: one crash is due early.
fn run_briefly(faults: Faults) -> World {
    let mut world = World::new(7, faults, None);
    for _ in 0..450 {
        world.step();
    }
    world.rest();
    world
}

/// The bug shows as `expected`, in more than one seed.
fn finds(bug: Bug, expected: fn(&Violation) -> bool) {
    let shows = |seed: &u64| check(&run(*seed, Faults::Often, Some(bug)).events).iter().any(expected);
    let seeds = (0..60).filter(shows).take(3).count();
    assert_eq!(seeds, 3, "{bug:?} was found in {seeds} of 60 seeds");
}

#[test]
fn a_relay_that_delivers_before_it_commits_is_found() {
    finds(Bug::DeliverBeforeCommit, |violation| matches!(violation, Violation::NumberReused { .. }));
}

#[test]
fn a_relay_that_accepts_before_it_stores_is_found() {
    finds(Bug::AcceptBeforeStore, |violation| matches!(violation, Violation::Lost { .. }));
}

#[test]
fn a_relay_that_gives_a_number_again_is_found() {
    finds(Bug::NumbersNotStored, |violation| matches!(violation, Violation::NumberReused { .. }));
}

#[test]
fn a_relay_that_forgets_ids_is_found() {
    finds(Bug::IdsNotStored, |violation| matches!(violation, Violation::Duplicate { .. }));
}

#[test]
fn a_relay_that_deletes_what_it_has_sent_is_found() {
    finds(Bug::DeleteOnDelivery, |violation| matches!(violation, Violation::Lost { .. } | Violation::Gap { .. }));
}

#[test]
fn a_relay_that_leaves_an_item_out_is_found() {
    finds(Bug::SkipOnRead, |violation| matches!(violation, Violation::Gap { .. }));
}

#[test]
fn a_relay_that_turns_a_group_round_is_found() {
    finds(Bug::GroupReversed, |violation| matches!(violation, Violation::Disordered { .. }));
}

#[test]
fn a_relay_that_forgets_acknowledgements_is_found() {
    finds(Bug::AcknowledgementsForgotten, |violation| matches!(violation, Violation::Repeated { .. }));
}
