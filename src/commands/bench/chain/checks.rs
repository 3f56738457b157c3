//! Signature checks alone: what no chain can be faster than, since each node checks each signature.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::figures::{ratio, rounded};
use super::super::machine;
use super::prepared::{Check, Prepared};

/// Of how many transactions the signatures are checked, again and again.
const TRANSACTIONS: usize = 4_096;

/// How fast signatures are checked here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ceiling {
    /// Checks a second, on all cores.
    pub(super) checks: f64,
    /// Signatures that a transaction of the load has on average.
    pub(super) each: f64,
    /// Processor time of one check, which depends least on what else the machine does.
    pub(super) cost: Duration,
}

impl Ceiling {
    /// Checks the load's own signatures on every core for this time, by the strict rule, and nothing else.
    ///
    /// # Errors
    /// When the system does not say what this process has used.
    pub(super) fn measure(prepared: &Prepared, time: Duration) -> std::io::Result<Self> {
        let (checks, transactions) = prepared.checks(TRANSACTIONS);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (began, before) = (Instant::now(), machine::cpu(std::process::id())?);
        let done: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| check(&checks, time))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a check does not panic")).sum()
        });
        let used = machine::cpu(std::process::id())?.saturating_sub(before);
        let cost = used / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
        Ok(Self { checks: per_second(done, began.elapsed()), each: fraction(checks.len(), transactions), cost })
    }

    /// How many times the processor time of its own signature checks a transaction costs each of so many validators, if
    /// it costs them this together.
    pub(super) fn times(&self, each: Duration, validators: u16) -> f64 {
        ratio(each, self.cost) / self.each / f64::from(validators)
    }

    /// Transactions a second, where each of so many validators on this machine checks each.
    pub(super) fn transactions(&self, validators: u16) -> f64 {
        self.checks / self.each / f64::from(validators)
    }

    pub(super) fn json(&self) -> Value {
        let cost = rounded(self.cost.as_secs_f64() * 1e6);
        json!({"checks_per_second": rounded(self.checks), "signatures_per_transaction": rounded(self.each), "cpu_us_per_check": cost})
    }
}

fn check(checks: &[Check], time: Duration) -> usize {
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < time {
        for (key, message, signature) in checks.iter().cycle().skip(done % checks.len()).take(64) {
            assert!(key.verify(message, signature), "the load is signed rightly");
            done += 1;
        }
    }
    done
}

/// How many in a second.
pub(super) fn per_second(count: usize, time: Duration) -> f64 {
    ratio(Duration::from_secs(count as u64), time)
}

/// A part of a whole; 0 of nothing.
pub(super) fn fraction(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { ratio(Duration::from_secs(part as u64), Duration::from_secs(whole as u64)) }
}
