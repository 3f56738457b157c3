//! `GET /metrics`: what this node has done so far, in Prometheus' text format, for those who watch and for `zynk bench
//! chain`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::Door;

/// The text format's own name.
const FORMAT: &str = "text/plain; version=0.0.4";

pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let app = &door.app;
    let lines = [
        ("zynk_height", "gauge", "The height of the last block.", app.tip()),
        ("zynk_waiting_transactions", "gauge", "Transactions that can be in the next block.", app.waiting() as u64),
        ("zynk_executed_transactions_total", "counter", "Executions of transactions, for proposing, judging and deciding.", app.executed()),
        ("zynk_signature_checks_total", "counter", "Signatures checked, of transactions and in their bodies.", types::key::checks()),
        ("zynk_consensus_checks_total", "counter", "Signatures of validators checked.", consensus::commit::checks()),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    ([(CONTENT_TYPE, FORMAT)], text).into_response()
}
