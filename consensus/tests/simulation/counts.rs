//! What happened in runs.

use std::fmt;
use std::ops::AddAssign;

/// How often what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: u64,
    pub(crate) heights: u64,
    pub(crate) later_rounds: u64,
    pub(crate) highest_round: u64,
    pub(crate) carried: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) partitions: u64,
    pub(crate) crashes: u64,
    pub(crate) lost_entries: u64,
    pub(crate) replayed: u64,
    pub(crate) refusals: u64,
    pub(crate) equivocations: u64,
    pub(crate) evidence: u64,
    pub(crate) accused: u64,
    pub(crate) moves: u64,
    /// The longest time after a storm until all had decided enough heights.
    pub(crate) recovery_ms: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.heights += other.heights;
        self.later_rounds += other.later_rounds;
        self.highest_round = self.highest_round.max(other.highest_round);
        self.carried += other.carried;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.partitions += other.partitions;
        self.crashes += other.crashes;
        self.lost_entries += other.lost_entries;
        self.replayed += other.replayed;
        self.refusals += other.refusals;
        self.equivocations += other.equivocations;
        self.evidence += other.evidence;
        self.accused += other.accused;
        self.moves += other.moves;
        self.recovery_ms = self.recovery_ms.max(other.recovery_ms);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, heights, later_rounds, highest_round, carried, lost, doubled, .. } = self;
        writeln!(f, "{runs} runs, {heights} heights; {later_rounds} rounds above 0 begun by a node, the highest {highest_round}")?;
        writeln!(f, "messages: {carried} carried, {lost} lost, {doubled} doubled; {} partitions", self.partitions)?;
        let Self { crashes, lost_entries, replayed, refusals, .. } = self;
        writeln!(f, "{crashes} crashes: {lost_entries} log entries lost, {replayed} replayed; {refusals} signatures refused by a guard")?;
        let Self { equivocations, evidence, accused, moves, recovery_ms, .. } = self;
        writeln!(
            f,
            "{equivocations} times one validator said two things; {evidence} times a node's engine had evidence of it, {accused} times a block"
        )?;
        write!(f, "{moves} changes of power seen by a node; at most {recovery_ms} ms from a storm's end to progress")
    }
}
