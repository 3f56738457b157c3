//! What was measured, as numbers.

use std::time::Duration;

use mailbox::history::Violation;
use serde_json::{Value, json};

/// The most violations that are kept.
const MAX_VIOLATIONS: usize = 20;

/// Times, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread(Vec<Duration>);

impl FromIterator<Self> for Spread {
    /// All of them as one.
    fn from_iter<T: IntoIterator<Item = Self>>(spreads: T) -> Self {
        Self::of(spreads.into_iter().flat_map(|spread| spread.0).collect())
    }
}

impl Spread {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that `percent` of a hundred did not exceed (nearest rank); 0 of none.
    pub(super) fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The percentiles in microseconds, each with its multiple of `unit`, which is the machine's own time.
    pub(super) fn json(&self, percents: [usize; 2], unit: Option<Duration>) -> Value {
        let mut value = json!({"samples": self.len()});
        for percent in percents {
            let time = self.at(percent);
            value[format!("p{percent}_us")] = micros(time).into();
            if let Some(unit) = unit {
                value[format!("p{percent}_fdatasyncs")] = rounded(ratio(time, unit)).into();
            }
        }
        value
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How many times `unit` a time is.
pub(super) fn ratio(time: Duration, unit: Duration) -> f64 {
    time.as_secs_f64() / unit.as_secs_f64().max(1e-9)
}

/// To two digits after the point.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Messages at an easy pace.
#[derive(Debug)]
pub(super) struct Latency {
    /// From before the sender writes the frame to when the recipient has read the item.
    pub(super) received: Spread,
    /// From before the sender writes the frame to when it has read `message.accepted`.
    pub(super) accepted: Spread,
}

/// Messages whose way onto the chain was watched.
#[derive(Debug)]
pub(super) struct Anchored {
    /// From before the sender writes the frame to when a node says that the anchor is in a block.
    pub(super) in_block: Spread,
    /// To when the relay hands out the leaf's path: the next block has proven the anchor to it.
    pub(super) proven: Spread,
}

/// As many messages as go.
#[derive(Debug)]
pub(super) struct Throughput {
    /// How many were accepted and received.
    pub(super) messages: u64,
    /// In which time.
    pub(super) time: Duration,
    /// What the relay's processor time grew by.
    pub(super) relay_cpu: Duration,
    /// The gateway's; idle where it is not in the way.
    pub(super) gateway_cpu: Duration,
    /// This process's: the load is not free, and it has the same processors.
    pub(super) own_cpu: Duration,
}

impl Throughput {
    pub(super) fn per_second(&self) -> f64 {
        ratio(Duration::from_secs(self.messages), self.time)
    }

    /// Microseconds of `cpu` for each message.
    pub(super) fn each(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(self.messages.max(1)).unwrap_or(u32::MAX))
    }
}

/// Connections that do nothing.
#[derive(Debug)]
pub(super) struct Idle {
    /// How many there were.
    pub(super) connections: usize,
    /// How many of them were opened before the first look at the memory: what they bring along counts for none.
    pub(super) first: usize,
    /// What the relay's memory grew by.
    pub(super) relay: Growth,
    /// What the gateway's memory grew by, where it is in the way.
    pub(super) gateway: Option<Growth>,
    /// In which time all were opened.
    pub(super) opened_in: Duration,
    /// For how long they were held.
    pub(super) held: Duration,
    /// The relay's processor time meanwhile.
    pub(super) relay_cpu: Duration,
}

/// How memory grew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// For each connection, in bytes.
    pub(super) each: u64,
    /// For each of the second half alone, in bytes: without what the first ones made the process set up.
    pub(super) later: u64,
    /// All of the process, at the end, in bytes.
    pub(super) resident: u64,
}

impl Growth {
    fn json(self) -> Value {
        json!({"bytes_per_connection": self.each, "bytes_per_later_connection": self.later, "resident_bytes": self.resident})
    }
}

/// One way to the relay.
#[derive(Debug)]
pub(super) struct Way {
    /// An append of 1 KiB with fdatasync beside the relay's databases, just before and after the latencies.
    pub(super) sync: Spread,
    pub(super) latency: Latency,
    pub(super) anchored: Anchored,
    pub(super) throughput: Throughput,
    pub(super) idle: Option<Idle>,
}

impl Way {
    pub(super) fn json(&self) -> Value {
        let (loads, sync) = (&self.throughput, self.sync.at(50));
        let idle = self.idle.as_ref().map(|idle| {
            json!({
                "connections": idle.connections, "counted": idle.connections - idle.first,
                "relay": idle.relay.json(), "gateway": idle.gateway.map(Growth::json),
                "opened_in_ms": idle.opened_in.as_millis(), "held_ms": idle.held.as_millis(),
                "relay_cpu_percent": rounded(ratio(idle.relay_cpu, idle.held) * 100.0),
            })
        });
        json!({
            "fdatasync": self.sync.json([50, 99], None),
            "send_to_receive": self.latency.received.json([50, 99], Some(sync)),
            "send_to_accepted": self.latency.accepted.json([50, 99], Some(sync)),
            "send_to_block": self.anchored.in_block.json([50, 95], None),
            "send_to_anchored": self.anchored.proven.json([50, 95], None),
            "closed_loop": {
                "messages": loads.messages,
                "seconds": rounded(loads.time.as_secs_f64()),
                "messages_per_second": rounded(loads.per_second()),
                "messages_per_fdatasync": rounded(loads.per_second() * sync.as_secs_f64()),
                "relay_cpu_us_per_message": rounded(loads.each(loads.relay_cpu)),
                "gateway_cpu_us_per_message": rounded(loads.each(loads.gateway_cpu)),
                "load_cpu_us_per_message": rounded(loads.each(loads.own_cpu)),
                "relay_processors": rounded(ratio(loads.relay_cpu, loads.time)),
            },
            "idle": idle,
        })
    }
}

/// What the devices' histories show.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Messages that were sent.
    pub(super) messages: u64,
    /// Events that were judged.
    pub(super) events: u64,
    /// Messages that the relay refused.
    pub(super) refused: u64,
    /// Broken promises; the first of them.
    pub(super) violations: Vec<Violation>,
}

impl Verdict {
    pub(super) const fn holds(&self) -> bool {
        self.violations.is_empty() && self.refused == 0 && self.messages > 0
    }

    /// Adds what other devices' histories show.
    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.events += other.events;
        self.refused += other.refused;
        self.violations.extend(other.violations);
        self.violations.truncate(MAX_VIOLATIONS);
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "held": self.holds(), "messages": self.messages, "events": self.events, "refused": self.refused,
            "violations": self.violations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let check = |count: u64, percent: usize, expected: u64| {
            let spread = Spread::of((1..=count).rev().map(Duration::from_millis).collect());
            assert_eq!(spread.at(percent), Duration::from_millis(expected), "p{percent} of {count}");
        };
        check(0, 50, 0);
        check(1, 50, 1);
        check(1, 99, 1);
        check(2, 50, 1);
        check(100, 50, 50);
        check(100, 99, 99);
        check(1_000, 99, 990);
    }
}
