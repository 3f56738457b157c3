//! The whole door, with real sockets before it and, where a story wants it, behind it.

mod chain;
mod door;
mod queries;
mod resolver;
mod sockets;
pub(crate) mod tls;
mod world;
