//! `unconfirmed_txs`, `num_unconfirmed_txs` and `check_tx`: what waits in the mempool, and what would.

use serde_json::{Value, json};

use super::error::Fault;
use super::methods::{base64, check_json, per_page};
use super::params::Params;
use crate::app::App;
use crate::tx::Tx;

/// The ready transactions that came first, as many as asked for.
pub(super) fn unconfirmed(app: &App, params: &Params) -> Result<Value, Fault> {
    let limit = per_page(params.number("limit")?);
    let shown: Vec<Value> = app.oldest_waiting(limit, |_| true).iter().map(|tx| base64(tx.bytes())).collect();
    let (count, bytes) = app.waiting_size();
    Ok(json!({"n_txs": shown.len().to_string(), "total": count.to_string(), "total_bytes": bytes.to_string(), "txs": shown}))
}

/// How many are ready, and their bytes.
pub(super) fn count(app: &App) -> Value {
    let (count, bytes) = app.waiting_size();
    json!({"n_txs": count.to_string(), "total": count.to_string(), "total_bytes": bytes.to_string(), "txs": null})
}

/// What the mempool would say to a transaction. It does not take it.
pub(super) fn check(app: &App, tx: Tx) -> Result<Value, Fault> {
    check_json(app.would_take(tx))
}
