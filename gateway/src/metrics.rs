//! Counters, for Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::target::Class;

/// The upper bounds of the durations' buckets, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The media type of the answer.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    upstream: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

/// All counters. Labels are of closed sets, so their number is bounded.
pub(crate) struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    refused: Family<Refused, Counter>,
    failed: Family<Failed, Counter>,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) sockets: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) requests: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("zynk_gateway");
        let answered = Family::default();
        let durations: Family<Route, Histogram, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (refused, failed, bytes) = (Family::default(), Family::default(), Family::<Direction, Counter>::default());
        let (sockets, connections, requests) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Requests answered, by class of route and status", answered.clone());
        registry.register("request_seconds", "From a request's headers to the answer's", durations.clone());
        registry.register("refusals", "Requests that the gateway itself refused, by code", refused.clone());
        registry.register("upstream_errors", "Upstreams that did not answer", failed.clone());
        registry.register("bytes", "Bytes of bodies and of WebSocket messages that passed", bytes.clone());
        registry.register("websockets", "WebSockets that are open", sockets.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register("requests_in_flight", "Requests whose answer has not ended", requests.clone());
        let direction = |direction| bytes.get_or_create(&Direction { direction }).clone();
        let (bytes_in, bytes_out) = (direction("in"), direction("out"));
        Self { registry, answered, durations, refused, failed, bytes_in, bytes_out, sockets, connections, requests }
    }

    pub(crate) fn answered(&self, class: Class, status: u16, took: Duration) {
        let route = class.name();
        self.answered.get_or_create(&Answered { route, status }).inc();
        self.durations.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, code: u32) {
        self.refused.get_or_create(&Refused { code }).inc();
    }

    pub(crate) fn failed(&self, upstream: &'static str, kind: &'static str) {
        self.failed.get_or_create(&Failed { upstream, kind }).inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
