//! `/health`: whether the gateway can do its work.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::edge::Gate;

/// The upstreams are asked at most this often, whoever asks.
const FRESH: Duration = Duration::from_secs(1);

/// How long an upstream's answer may be, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What was last seen of the upstreams.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Option<Seen>>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    relay: bool,
    node: bool,
}

/// 200 when relay and node answer, else 503.
pub(crate) async fn answer(gate: &Gate) -> Response {
    let Seen { relay, node, .. } = look(gate).await;
    let whole = relay && node;
    let word = |answers: bool| if answers { "answers" } else { "does not answer" };
    let status = if whole { "ok" } else { "degraded" };
    let body = json!({"status": status, "relay": word(relay), "node": word(node), "version": env!("CARGO_PKG_VERSION")});
    (if whole { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

async fn look(gate: &Gate) -> Seen {
    // Whoever comes while the upstreams are asked waits for the same answer.
    let mut last = gate.watch.0.lock().await;
    if let Some(seen) = last.filter(|seen| seen.at.elapsed() < FRESH) {
        return seen;
    }
    let (relay, node) = tokio::join!(gate.relay.get(rpc::relay::path::RELAY, MAX_ANSWER), gate.node.get("/health", MAX_ANSWER));
    let seen = Seen { at: Instant::now(), relay: relay.is_ok(), node: node.is_ok() };
    *last = Some(seen);
    seen
}
