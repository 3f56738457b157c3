//! What is printed: a column for each network, the same as JSON for scripts.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::figures::{Spread, ratio, rounded};
use super::super::report::{processors, time};
use super::book::{Seen, Verdict};
use super::checks::{Ceiling, fraction, per_second};
use super::stage::Engine;
use super::{Phase, Plan};
use crate::report::Report;

/// How much slower than signature checks alone a chain may be.
const GOAL_CEILING: f64 = 0.5;

/// How many times CometBFT's throughput the embedded engine is to have, at no worse latency.
const GOAL_COMETBFT: f64 = 2.0;

/// What a node counts of signatures that it has checked, in `/metrics`.
const SIGNATURES: &str = "zynk_signature_checks_total";
const VOTES: &str = "zynk_consensus_checks_total";
const EXECUTED: &str = "zynk_executed_transactions_total";

/// Everything that was measured.
#[derive(Debug)]
pub(in super::super) struct Measured {
    pub(super) plan: Plan,
    pub(super) ceiling: Ceiling,
    /// An append of 1 KiB with fdatasync in the folder of the networks, before them.
    pub(super) sync: Spread,
    pub(super) runs: Vec<Run>,
}

/// One network.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) validators: u16,
    /// Next to nothing.
    pub(super) light: Phase,
    /// At a rate.
    pub(super) steady: Phase,
    /// As many as go.
    pub(super) full: Phase,
    pub(super) at_rate: Spread,
    pub(super) at_saturation: Spread,
    /// Whether the load came to its end before the measurement did.
    pub(super) ran_out: bool,
    /// Bytes of all validators' files at the end.
    pub(super) disk: u64,
    pub(super) verdict: Verdict,
}

type Words = Box<dyn Fn(&Run) -> String>;

impl Measured {
    pub(in super::super) fn report(&self) -> Report {
        let (text, json) = (self.text(), self.json());
        if self.runs.iter().all(|run| run.verdict.holds()) { Report::new(text, json) } else { Report::refuted(text, json) }
    }

    fn json(&self) -> Value {
        json!({
            "machine": {"processors": processors(), "optimised": !cfg!(debug_assertions), "fdatasync": self.sync.json([50, 99], None)},
            "load": {
                "authors": self.plan.authors, "window": self.plan.window, "seconds": self.plan.time.as_secs(), "rate": self.plan.rate,
                "block_interval_ms": self.plan.params.block_interval_ms,
            },
            "signature_checks_alone": self.ceiling.json(),
            "against_cometbft": self.pairs().into_iter().map(|(own, other)| own.ratios(other)).collect::<Vec<_>>(),
            "networks": self.runs.iter().map(|run| run.json(&self.ceiling)).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let built = if cfg!(debug_assertions) { "; NOT OPTIMISED: a debug build" } else { "" };
        let checks = self.ceiling.checks;
        let mut lines = vec![
            format!("this machine: {} processors, shared by the network and the load{built}", processors()),
            format!("1 KiB and fdatasync, p50 / p99: {} / {}", time(self.sync.at(50)), time(self.sync.at(99))),
            format!(
                "signature checks alone, on every processor: {checks:.0}/s, {:.1} µs each; a transaction has {:.2}",
                self.ceiling.cost.as_secs_f64() * 1e6,
                self.ceiling.each
            ),
            String::new(),
            row("", self.runs.iter().map(|run| format!("{} × {}", run.validators, run.engine.name()))),
        ];
        lines.extend(self.rows().into_iter().map(|(name, words)| row(&name, self.runs.iter().map(&words))));
        lines.push(String::new());
        let mempools: std::collections::BTreeMap<_, _> = self.runs.iter().map(|run| (run.engine.name(), run.engine.mempool())).collect();
        lines.extend(mempools.into_iter().map(|(name, mempool)| format!("mempool of {name}: {mempool}")));
        for run in &self.runs {
            let reached = run.of_ceiling(&self.ceiling);
            let met = if reached >= GOAL_CEILING { "met" } else { "NOT MET" };
            lines.push(format!(
                "goal: {} × {} reach half of what signature checks alone allow here ({:.0}/s): {:.2}, {met}",
                run.validators,
                run.engine.name(),
                self.ceiling.transactions(run.validators),
                reached
            ));
            if run.ran_out {
                lines.push(format!("  the load ran out: more than {} a second were possible", super::MOST_PER_SECOND));
            }
        }
        lines.extend(self.pairs().into_iter().map(|(own, other)| own.against(other)));
        lines.extend(self.runs.iter().flat_map(Run::history));
        lines.join("\n")
    }

    /// The networks of one size under both engines.
    fn pairs(&self) -> Vec<(&Run, &Run)> {
        let own = self.runs.iter().filter(|run| run.engine == Engine::Embedded);
        let other = |own: &Run| self.runs.iter().find(|run| run.engine == Engine::Cometbft && run.validators == own.validators);
        own.filter_map(|own| Some((own, other(own)?))).collect()
    }

    fn rows(&self) -> Vec<(String, Words)> {
        let spread = |of: fn(&Run) -> &Spread| move |run: &Run| [50, 95, 99].map(|percent| time(of(run).at(percent))).join(" / ");
        let row = |name: &str, words: Words| (name.to_owned(), words);
        let ceiling = self.ceiling;
        let counted = |name: &'static str| {
            move |run: &Run| {
                let each = run.full.used.counted.get(name).map(|count| run.full.each(*count) / f64::from(run.validators));
                each.map_or_else(|| "not counted".to_owned(), |each| format!("{each:.2}"))
            }
        };
        vec![
            row("transactions/s at saturation", Box::new(|run| format!("{:.0}", run.full.rate(|seen| seen.transactions)))),
            row("  of them anchors", Box::new(|run| format!("{:.0}", run.full.rate(|seen| seen.anchors)))),
            row("  to block, p50 / p95 / p99", Box::new(spread(|run| &run.at_saturation))),
            row("  block interval; transactions in one", Box::new(|run| run.full.cadence())),
            row("  processor time for one, all validators", Box::new(|run| each_of(run.full.used.cpu, run.full.transactions()))),
            row(
                "    in checks of its signatures, a validator",
                Box::new(move |run| format!("{:.1}×", ceiling.times(run.full.cpu_each(), run.validators))),
            ),
            row("  the load's own for one", Box::new(|run| each_of(run.full.used.own, run.full.transactions()))),
            row("  loopback bytes for one, load included", Box::new(|run| format!("{:.0}", run.full.each(run.full.used.loopback)))),
            row(
                "  bytes written to disk for one, a validator",
                Box::new(|run| format!("{:.0}", run.full.each(run.full.used.written) / f64::from(run.validators))),
            ),
            row("  signature checks for one, a validator", Box::new(counted(SIGNATURES))),
            row("  executions of one, a validator", Box::new(counted(EXECUTED))),
            row(&format!("to block at {}/s, p50 / p95 / p99", self.plan.rate), Box::new(spread(|run| &run.at_rate))),
            row("  processors used, all validators", Box::new(|run| format!("{:.2}", ratio(run.steady.used.cpu, run.steady.used.time)))),
            row("a height with next to nothing: interval", Box::new(|run| run.light.cadence())),
            row("  processor time, all validators", Box::new(|run| each_of(run.light.used.cpu, run.light.blocks.len()))),
            row(
                "  processor time, one validator",
                Box::new(|run| each_of(run.light.used.cpu / u32::from(run.validators), run.light.blocks.len())),
            ),
            row("  loopback bytes", Box::new(|run| format!("{:.0}", fraction_of(run.light.used.loopback, run.light.blocks.len())))),
            row("  votes and proposals checked, a validator", Box::new(|run| run.votes())),
            row("files at the end, a validator", Box::new(|run| format!("{} MiB", (run.disk / u64::from(run.validators)) >> 20))),
        ]
    }
}

impl Run {
    /// Which part of what signature checks alone allow was reached.
    fn of_ceiling(&self, ceiling: &Ceiling) -> f64 {
        self.full.rate(|seen| seen.transactions) / ceiling.transactions(self.validators)
    }

    /// How many times the other's throughput this is, and how many times its latencies at the rate, p50, p95 and p99.
    fn times(&self, other: &Self) -> (f64, [f64; 3]) {
        let throughput = self.full.rate(|seen| seen.transactions) / other.full.rate(|seen| seen.transactions).max(1e-9);
        (throughput, [50, 95, 99].map(|percent| ratio(self.at_rate.at(percent), other.at_rate.at(percent))))
    }

    fn ratios(&self, other: &Self) -> Value {
        let (throughput, latencies) = self.times(other);
        let (goal, met) = (GOAL_COMETBFT, self.is_better(other));
        json!({"validators": self.validators, "throughput": rounded(throughput), "latency_p50_p95_p99": latencies.map(rounded), "goal": goal, "met": met})
    }

    fn is_better(&self, other: &Self) -> bool {
        let (throughput, latencies) = self.times(other);
        throughput >= GOAL_COMETBFT && latencies.iter().all(|latency| *latency <= 1.0)
    }

    fn against(&self, other: &Self) -> String {
        let (throughput, [half, most, nearly]) = self.times(other);
        let met = if self.is_better(other) { "met" } else { "NOT MET" };
        format!(
            "goal: {} validators, {GOAL_COMETBFT}× CometBFT's throughput at no worse latency: {throughput:.2}×, its latencies {half:.2}× / {most:.2}× / {nearly:.2}×: {met}",
            self.validators
        )
    }

    fn votes(&self) -> String {
        let votes =
            self.light.used.counted.get(VOTES).map(|votes| fraction_of(*votes, self.light.blocks.len()) / f64::from(self.validators));
        votes.map_or_else(|| "not counted".to_owned(), |votes| format!("{votes:.1}"))
    }

    fn history(&self) -> Vec<String> {
        let Verdict { sent, committed, refused, again, refusals, wrong } = &self.verdict;
        let name = format!("{} × {}", self.validators, self.engine.name());
        let held = if self.verdict.holds() { "each in one block or refused" } else { "IT DOES NOT HOLD" };
        let lost = self.verdict.lost();
        let mut lines = vec![format!(
            "history of {name}: {sent} sent, {committed} in blocks, {refused} refused, {lost} lost, {again} times no room: {held}"
        )];
        lines.extend(wrong.iter().map(|words| format!("  {words}")));
        lines.extend(refusals.iter().map(|(words, count)| format!("  refused {count} times: {words}")));
        lines
    }

    fn json(&self, ceiling: &Ceiling) -> Value {
        let latency = |spread: &Spread| {
            let mut json = spread.json([50, 95], None);
            json["p99_us"] = super::super::figures::micros(spread.at(99)).into();
            json
        };
        let phase = |phase: &Phase| {
            let transactions = phase.transactions();
            json!({
                "transactions": transactions, "blocks": phase.blocks.len(),
                "transactions_per_second": rounded(phase.rate(|seen| seen.transactions)),
                "anchors_per_second": rounded(phase.rate(|seen| seen.anchors)),
                "block_interval_ms": rounded(phase.interval().as_secs_f64() * 1e3),
                "seconds": rounded(phase.used.time.as_secs_f64()),
                "validators_cpu_seconds": rounded(phase.used.cpu.as_secs_f64()), "load_cpu_seconds": rounded(phase.used.own.as_secs_f64()),
                "loopback_bytes": phase.used.loopback, "written_bytes": phase.used.written, "counted": phase.used.counted,
            })
        };
        json!({
            "engine": self.engine.name(), "mempool": self.engine.mempool(), "validators": self.validators,
            "light": phase(&self.light), "steady": phase(&self.steady), "saturated": phase(&self.full),
            "to_block": latency(&self.at_rate), "to_block_saturated": latency(&self.at_saturation),
            "of_signature_checks_alone": rounded(self.of_ceiling(ceiling)),
            "load_ran_out": self.ran_out, "disk_bytes": self.disk, "history": self.verdict.json(),
        })
    }
}

impl Phase {
    fn cpu_each(&self) -> Duration {
        self.used.cpu / u32::try_from(self.transactions().max(1)).unwrap_or(u32::MAX)
    }

    fn transactions(&self) -> usize {
        self.blocks.iter().map(|seen| seen.transactions).sum()
    }

    /// From the first block that was seen to the last.
    fn span(&self) -> Duration {
        let (first, last) = (self.blocks.first(), self.blocks.last());
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.at.saturating_sub(first.at))
    }

    /// How many a second: of the blocks after the first, in the time since that.
    fn rate(&self, of: fn(&Seen) -> usize) -> f64 {
        if self.blocks.len() < 2 { 0.0 } else { per_second(self.blocks.iter().skip(1).map(of).sum(), self.span()) }
    }

    fn interval(&self) -> Duration {
        let steps = u32::try_from(self.blocks.len().saturating_sub(1).max(1)).unwrap_or(u32::MAX);
        self.span() / steps
    }

    fn cadence(&self) -> String {
        format!("{}; {:.0}", time(self.interval()), fraction(self.transactions(), self.blocks.len()))
    }

    fn each(&self, bytes: u64) -> f64 {
        fraction_of(bytes, self.transactions())
    }
}

fn fraction_of(part: u64, whole: usize) -> f64 {
    fraction(usize::try_from(part).unwrap_or(usize::MAX), whole)
}

fn each_of(cpu: Duration, count: usize) -> String {
    let micros = cpu.as_secs_f64() * 1e6 / ratio(Duration::from_secs(count.max(1) as u64), Duration::from_secs(1));
    if micros < 10_000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1e3) }
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:<30}")).collect();
    format!("{name:<46}{cells}").trim_end().to_owned()
}
