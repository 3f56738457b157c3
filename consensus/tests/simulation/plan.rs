//! What one run is made of, all of it drawn from the run's seed.

use crate::dice::Dice;

/// What a validator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What it should; it may crash, and come back with what was durable.
    Honest,
    /// Signs two different messages for a slot and shows one to each half of the others.
    Equivocating,
    /// Hears everything and says nothing.
    Silent,
}

/// A mistake that a run makes on purpose, to show that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// One half of the power is a quorum.
    HalfQuorum,
    /// A validator prevotes for whatever block is proposed, also where it is locked on another.
    ForgottenLock,
    /// A transaction is charged again though its sequence was used.
    ReusedSequence,
    /// New validators take part one height early.
    EarlyUpdates,
    /// After a crash a validator reads neither its log nor its guard.
    LostMemory,
    /// The guard writes a vote down before what led to it is durable in the log.
    LateLog,
    /// One node's state holds something that the others' does not.
    OwnState,
    /// Votes are never said a second time, and nobody hands over decided blocks.
    SaidOnce,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) bug: Option<Bug>,
    /// Role and voting power of every node at the start; the spare one of power 0 may join later.
    pub(crate) nodes: Vec<(Role, u64)>,
    /// How many of a hundred messages are lost while the storm lasts.
    pub(crate) loss: u64,
    /// How many of a hundred messages arrive twice.
    pub(crate) duplicates: u64,
    /// The longest that a message takes while the storm lasts, in milliseconds.
    pub(crate) delay: u64,
    /// How long the storm lasts, in milliseconds.
    pub(crate) storm: u64,
    /// When partitions begin and how long each lasts, in milliseconds.
    pub(crate) partitions: Vec<(u64, u64)>,
    /// When which node crashes and how long it is down, in milliseconds.
    pub(crate) crashes: Vec<(u64, usize, u64)>,
    /// How far each node's clock is off, in milliseconds.
    pub(crate) skews: Vec<i64>,
}

impl Plan {
    /// The run of a seed. Faulty validators always have less than a third of the power.
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut dice = Dice::new(seed);
        let mut nodes = cast(&mut dice);
        let validators = nodes.len();
        if dice.chance(50) {
            nodes.push((Role::Honest, 0));
        }
        // In rough weather the network parts all the time, and much of what is said is lost.
        let rough = dice.chance(20);
        let storm = dice.between(10_000, 30_000);
        let parts = if rough { 12 } else { dice.below(6) };
        let partitions = (0..parts).map(|_| (dice.below(storm), dice.between(500, 6_000))).collect();
        let count = match bug {
            // What is planted there contradicts what the log replays: without crashes the rest of it shows too.
            Some(Bug::ForgottenLock) => 0,
            // It shows only in crashes at the very moment of signing.
            Some(Bug::LateLog) => 40,
            _ => dice.below(10),
        };
        let crashes = (0..count).map(|_| (dice.below(storm), dice.place(validators), dice.between(100, 4_000))).collect();
        let skews = nodes.iter().map(|_| i64::try_from(dice.below(4_001)).expect("small") - 2_000).collect();
        Self {
            seed,
            bug,
            loss: if rough { 30 } else { [0, 1, 5, 20][dice.place(4)] },
            duplicates: [0, 5, 20][dice.place(3)],
            delay: [20, 60, 200, 1_000][dice.place(4)],
            storm,
            partitions,
            crashes,
            skews,
            nodes,
        }
    }
}

/// Four, five or seven validators, with one or two faulty ones among them or none.
fn cast(dice: &mut Dice) -> Vec<(Role, u64)> {
    let count = [4, 4, 4, 5, 7][dice.place(5)];
    let faulty: &[Role] = match dice.below(6) {
        0 => &[],
        1 => &[Role::Silent],
        2 | 3 => &[Role::Equivocating],
        _ => &[Role::Equivocating, Role::Silent],
    };
    let mut nodes: Vec<_> = (0..count).map(|_| (Role::Honest, 10)).collect();
    for role in faulty {
        let place = dice.place(count);
        nodes[place].0 = *role;
    }
    if dice.chance(50) {
        for (_, power) in &mut nodes {
            *power = dice.between(8, 14);
        }
    }
    // Two among four or five would have too much: their power is cut until all have less than a third.
    while 3 * power(&nodes, |role| role != Role::Honest) >= power(&nodes, |_| true) {
        for (_, power) in nodes.iter_mut().filter(|(role, _)| *role != Role::Honest) {
            *power -= 1;
        }
    }
    nodes
}

fn power(nodes: &[(Role, u64)], whose: impl Fn(Role) -> bool) -> u64 {
    nodes.iter().filter(|(role, _)| whose(*role)).map(|(_, power)| power).sum()
}
