//! The edge: one address for clients, which routes to relay and node, resolves identities and
//! serves proofs.
//!
//! A [`Gateway`] stands before one relay and one node, each an [`Upstream`]: a router of the same
//! process, which is called without a second hop, or a server at an address. What comes in is bounded and counted
//! first (`edge`), then handed on (`upstream` for HTTP, `socket` for WebSockets) or answered
//! from the chain, proven by `rpc::Chain` (`resolver`, `queries`).
//!
//! What this crate refuses to do: it keeps nothing but counters, caches nothing that a person sent,
//! decides nothing about messages, and holds no key but that of its certificate. It believes a node only as far as `light` does. Its
//! logs hold no path, no query, no address. TLS ends here (`tls`), or before it, at a proxy of the operator's.
//!
//! Start with [`gateway`], then `edge`. `docs/spec/gateway.md` is the page of routes and codes.

mod admission;
mod body;
mod edge;
pub mod error;
pub mod gateway;
mod headers;
mod health;
mod listener;
mod metrics;
mod prover;
mod queries;
mod resolver;
pub mod settings;
mod socket;
mod target;
mod tls;
mod tokens;
mod upstream;

pub use error::Error;
pub use gateway::{Gateway, run};
pub use headers::CLIENT;
pub use settings::{Home, Limits, Network, Settings, Tls};
pub use upstream::Upstream;

/// Reads a stranger's `Authorization` header, or after an odd first byte the answer with a relay's keys, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub fn read(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    if kind & 1 == 1 {
        return tokens::read_set(bytes);
    }
    let mut headers = axum::http::HeaderMap::new();
    if let Ok(value) = axum::http::HeaderValue::from_bytes(bytes) {
        headers.insert(axum::http::header::AUTHORIZATION, value);
    }
    if let Ok(Some(token)) = tokens::of(&headers) {
        tokens::read(token);
    }
}

#[cfg(test)]
mod tests;
