//! The relay's HTTP interface: the paths of [`rpc::relay::path`], and who answers them.
//!
//! Every answer that is no success is a [`Problem`](rpc::relay::Problem) with a code of
//! [`Error`]. Bodies are bounded, JSON, and read strictly: [`extract`].

mod identity;
mod info;
mod prekeys;
mod proofs;
mod register;
mod session;

pub mod extract;
pub mod problem;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use rpc::relay::path;

use crate::{App, Error, socket};

pub use extract::Peer;

/// Where the relay says that it is well.
pub const HEALTH: &str = "/health";

/// Everything that the relay serves.
///
/// The address of who asks is taken from the extension [`Peer`], where whoever mounts this has put
/// one; else from axum's `ConnectInfo<SocketAddr>`.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(HEALTH, get(info::health))
        .route(path::KEYS, get(info::keys))
        .route(path::RELAY, get(info::relay))
        .route(path::REGISTER, post(register::register))
        .route(path::CHALLENGE, post(session::challenge))
        .route(path::SIGN_IN, post(session::sign_in))
        .route(path::REFRESH, post(session::refresh))
        .route(path::SIGN_OUT, post(session::sign_out))
        .route(path::SESSIONS, get(session::sessions))
        .route(path::OPERATE, post(identity::operate))
        .route(path::PREKEYS, get(prekeys::stock).put(prekeys::publish))
        .route(path::PREKEYS_OF, get(prekeys::bundles))
        .route(path::PROOFS, get(proofs::proof))
        .route(path::SESSION, socket::route())
        .fallback(async || Error::NoSuchPath)
        .method_not_allowed_fallback(async || Error::NoSuchMethod)
        .with_state(app)
}

/// What counts as one address: an IPv4 address, or the network (64 bits) of an IPv6 address.
#[must_use]
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
