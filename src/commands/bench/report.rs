//! What is printed: a table for people, the same as JSON for scripts.

use std::time::Duration;

use serde_json::{Value, json};

use super::Plan;
use super::figures::{Growth, Idle, Latency, Spread, Throughput, Verdict, Way, micros, ratio};
use super::latency::PACE;
use crate::report::Report;

/// What an idle connection may cost the relay, in bytes.
const GOAL_IDLE: u64 = 8 << 10;

/// In which time 95 of 100 messages are to be anchored.
const GOAL_ANCHORED: Duration = Duration::from_secs(2);

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) plan: Plan,
    /// Files that a process may have open here.
    pub(super) files: u64,
    pub(super) direct: Way,
    pub(super) gateway: Way,
    pub(super) verdict: Verdict,
}

/// What a row says of one way.
type Words = Box<dyn Fn(&Way) -> String>;

impl Measured {
    pub(super) fn report(&self) -> Report {
        let (text, json) = (self.text(), self.json());
        if self.verdict.holds() { Report::new(text, json) } else { Report::refuted(text, json) }
    }

    fn json(&self) -> Value {
        json!({
            "machine": {
                "processors": processors(), "open_files": self.files, "optimised": !cfg!(debug_assertions),
            },
            "load": {
                "pairs": self.plan.pairs, "window": self.plan.window, "seconds": self.plan.time.as_secs(),
                "pace": PACE, "content_bytes": super::pair::CONTENT,
            },
            "direct": self.direct.json(),
            "gateway": self.gateway.json(),
            "goals": {
                "anchored_p95_ms": GOAL_ANCHORED.as_millis(), "anchored": self.is_anchored_in_time(),
                "idle_bytes": GOAL_IDLE, "idle": self.is_idle_small(),
            },
            "history": self.verdict.json(),
        })
    }

    fn ways(&self) -> [&Way; 2] {
        [&self.direct, &self.gateway]
    }

    fn is_anchored_in_time(&self) -> bool {
        self.ways().into_iter().all(|way| way.anchored.proven.at(95) <= GOAL_ANCHORED)
    }

    /// `None` if it was not measured.
    fn is_idle_small(&self) -> Option<bool> {
        self.direct.idle.as_ref().map(|idle| idle.relay.each <= GOAL_IDLE)
    }

    fn text(&self) -> String {
        let built = if cfg!(debug_assertions) { "; NOT OPTIMISED: a debug build" } else { "" };
        let mut lines = vec![
            format!("this machine: {} processors, shared by the network and the load{built}", processors()),
            String::new(),
            row("", "direct", "through the gateway"),
        ];
        lines.extend(self.rows().into_iter().map(|(name, of)| row(&name, &of(&self.direct), &of(&self.gateway))));
        lines.push(String::new());
        lines.extend(self.fewer());
        let met = |met: bool| if met { "met" } else { "NOT MET" };
        lines.push(format!("goal: 95 of 100 messages are anchored in {}: {}", time(GOAL_ANCHORED), met(self.is_anchored_in_time())));
        let idle = self.is_idle_small().map_or("not measured", met);
        lines.push(format!("goal: an idle connection costs the relay at most {}: {idle}", kib(GOAL_IDLE)));
        let Verdict { messages, events, refused, violations } = &self.verdict;
        if self.verdict.holds() {
            lines.push(format!("history: {messages} messages, {events} events: nothing lost, repeated or out of order"));
        } else {
            lines.push(format!("history: IT DOES NOT HOLD: of {messages} messages {refused} were refused"));
            lines.extend(violations.iter().map(|violation| format!("  {violation}")));
        }
        lines.join("\n")
    }

    /// What is said of each way.
    fn rows(&self) -> Vec<(String, Words)> {
        let plan = self.plan;
        let both = |spread: &Spread, late: usize| format!("{} / {}", time(spread.at(50)), time(spread.at(late)));
        let latency = |of: fn(&Latency) -> &Spread| {
            move |way: &Way| {
                let unit = way.sync.at(50);
                let [middle, late] = [50, 99].map(|percent| of(&way.latency).at(percent));
                format!("{} / {} ({:.1}× / {:.1}×)", time(middle), time(late), ratio(middle, unit), ratio(late, unit))
            }
        };
        let cpu = |of: fn(&Throughput) -> Duration| move |way: &Way| format!("{:.1} µs", way.throughput.each(of(&way.throughput)));
        let idle = |of: fn(&Idle) -> String| move |way: &Way| way.idle.as_ref().map_or_else(|| "not measured".to_owned(), of);
        let row = |name: &str, of: Words| (name.to_owned(), of);
        vec![
            row("1 KiB and fdatasync meanwhile, p50 / p99", Box::new(move |way| both(&way.sync, 99))),
            row("send to receive, p50 / p99 (in fdatasyncs)", Box::new(latency(|latency| &latency.received))),
            row("send to accepted: durable", Box::new(latency(|latency| &latency.accepted))),
            row("send to anchor in a block, p50 / p95", Box::new(move |way| both(&way.anchored.in_block, 95))),
            row("send to anchored: proven", Box::new(move |way| both(&way.anchored.proven, 95))),
            row(
                &format!("closed loop, {} pairs × {}", plan.pairs, plan.window),
                Box::new(move |way| {
                    let each = way.throughput.per_second();
                    format!("{each:.0} messages/s ({:.1} in a fdatasync)", each * way.sync.at(50).as_secs_f64())
                }),
            ),
            row("  a message costs the relay", Box::new(cpu(|loads| loads.relay_cpu))),
            row("  a message costs the gateway", Box::new(cpu(|loads| loads.gateway_cpu))),
            row("  a message costs the load itself", Box::new(cpu(|loads| loads.own_cpu))),
            row("idle connections", Box::new(idle(|idle| format!("{}, opened in {}", idle.connections, time(idle.opened_in))))),
            row("  one costs the relay (a later one)", Box::new(idle(|idle| grown(idle.relay)))),
            row("  one costs the gateway", Box::new(idle(|idle| idle.gateway.map_or_else(|| "—".to_owned(), grown)))),
        ]
    }

    /// That there were fewer connections than asked for, and why.
    fn fewer(&self) -> Option<String> {
        let idle = self.gateway.idle.as_ref().filter(|idle| idle.connections < self.plan.connections)?;
        Some(format!(
            "fewer connections than {}: a process may have {} open files here, and the gateway has two for each ({})",
            self.plan.connections, self.files, idle.connections
        ))
    }
}

fn row(name: &str, direct: &str, gateway: &str) -> String {
    format!("{name:<44}{direct:<40}{gateway}").trim_end().to_owned()
}

fn grown(growth: Growth) -> String {
    format!("{} ({})", kib(growth.each), kib(growth.later))
}

pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A time with its unit: three digits or so.
pub(super) fn time(time: Duration) -> String {
    match micros(time) {
        micros @ ..1_000 => format!("{micros} µs"),
        micros @ ..100_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        micros @ ..10_000_000 => format!("{} ms", micros / 1_000),
        micros => format!("{} s", micros / 1_000_000),
    }
}

fn kib(bytes: u64) -> String {
    format!("{}.{} KiB", bytes / 1024, bytes % 1024 * 10 / 1024)
}
