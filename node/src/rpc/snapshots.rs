//! Snapshots over HTTP: what there is, their manifests, and their chunks (`docs/spec/snapshot.md`).
//!
//! Everything but the list never changes under its name, and says so, so that caches and proxies can hold it. No answer is
//! longer than a manifest or a chunk, so a transfer that broke off begins again at little cost.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use tokio::time::timeout;

use super::{Door, WORK};

/// What never changes may be kept for so long, in seconds: as long as a node keeps it, and longer.
const FOREVER: &str = "public, max-age=604800, immutable";

/// The routes; they take turns with the methods.
pub(super) fn routes() -> Router<Arc<Door>> {
    Router::new()
        .route("/snapshots", get(list))
        .route("/snapshots/{height}", get(manifest))
        .route("/snapshots/{height}/{chunk}", get(chunk))
}

async fn list(State(door): State<Arc<Door>>) -> Response {
    let snapshots = door.app.upkeep().map(|upkeep| upkeep.shelf().list()).unwrap_or_default();
    let genesis = door.app.genesis();
    let body = json!({"chain": genesis.chain(), "genesis": genesis.hash(), "snapshots": snapshots});
    (StatusCode::OK, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], body.to_string()).into_response()
}

async fn manifest(State(door): State<Arc<Door>>, Path(height): Path<u64>) -> Response {
    file(&door, "application/json", move |door| door.app.upkeep()?.shelf().manifest(height)).await
}

async fn chunk(State(door): State<Arc<Door>>, Path((height, number)): Path<(u64, usize)>) -> Response {
    file(&door, "application/octet-stream", move |door| door.app.upkeep()?.shelf().chunk(height, number)).await
}

/// Reads a file on a blocking thread, when it is its turn.
async fn file(door: &Arc<Door>, kind: &'static str, read: impl FnOnce(&Arc<Door>) -> Option<Vec<u8>> + Send + 'static) -> Response {
    match timeout(WORK, door.blocking(read)).await {
        Ok(Ok(Some(bytes))) => {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, HeaderValue::from_static(FOREVER))];
            (StatusCode::OK, headers, bytes).into_response()
        }
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, "there is no such snapshot here, or no longer\n").into_response(),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too much is being asked for: try again\n").into_response(),
    }
}
