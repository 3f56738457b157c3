//! Devices' WebSockets: what [`mailbox::session::Session`] says is carried out here.
//!
//! A connection that is idle costs a socket, a buffer of 1 KiB and a few hundred bytes: it has no
//! queue, no timer and no channel of its own. It waits at a bell ([`Bell`](crate::messages::Bell)),
//! which the committer rings when the mailbox has something new, and one shared beat when the time
//! has come to look at the clock or the session has ended (`socket/beat.rs`).
//!
//! Bounds: [`MAX_CONNECTIONS`]; a frame [`MAX_FRAME`]; per connection the
//! session's own, and [`READ_BYTES`] a frame of messages.

mod beat;
mod connection;
mod limits;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use mailbox::Encoding;
use mailbox::frame::MAX_FRAME;
use mailbox::wire::{SUBPROTOCOL_CBOR, SUBPROTOCOL_JSON};

use crate::{App, Error};
use beat::Connections;
use connection::Connection;
use limits::Limits;

/// The most connections at once.
pub const MAX_CONNECTIONS: usize = 65_536;

/// After so many bytes of content a frame of messages is sent: what is written once stays in the
/// connection's buffer, so that large frames would make idle connections large.
pub const READ_BYTES: u32 = 32 << 10;

/// What a WebSocket reads at once, in bytes. The library's own 128 KiB would be most of a connection.
const READ_BUFFER: usize = 1 << 10;

/// What all connections share.
#[derive(Debug)]
struct Shared {
    connections: Arc<Connections>,
    limits: Limits,
}

/// Where devices connect.
pub fn route() -> MethodRouter<Arc<App>> {
    let shared = Arc::new(Shared { connections: Arc::new(Connections::new(MAX_CONNECTIONS)), limits: Limits::default() });
    get(async move |State(app): State<Arc<App>>, upgrade: WebSocketUpgrade| serve(app, &shared, upgrade))
}

fn serve(app: Arc<App>, shared: &Arc<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols([SUBPROTOCOL_CBOR, SUBPROTOCOL_JSON]);
    let chosen = upgrade.selected_protocol().and_then(|name| name.to_str().ok()).and_then(Encoding::of_subprotocol);
    let Some(encoding) = chosen else {
        let what = format!("the subprotocol is {SUBPROTOCOL_JSON} or {SUBPROTOCOL_CBOR}");
        return Error::Malformed { what }.into_response();
    };
    let Some(seat) = shared.connections.enter() else {
        return Error::Busy { retry_after_ms: 5_000 }.into_response();
    };
    beat::keep(&shared.connections, &app);
    let shared = shared.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        // Boxed once it is needed: what waits for the upgrade stays small.
        .on_upgrade(move |socket| Box::pin(async move { Connection::new(app, shared, socket, encoding, seat).run().await }))
}

#[cfg(test)]
mod tests;
