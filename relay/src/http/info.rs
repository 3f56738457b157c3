//! What anybody may know of the relay.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rpc::relay::Relay;
use serde_json::{Value, json};

use crate::{App, Error};

pub(super) async fn relay(State(app): State<Arc<App>>) -> Json<Relay> {
    Json(Relay { time: app.now(), ..app.relay.clone() })
}

pub(super) async fn keys(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.auth.key_set())
}

/// Well is who can store.
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, Error> {
    app.accounts.followed().await?;
    Ok(Json(json!({"status": "ok"})))
}
