//! CometBFT as the engine: an ABCI 2.0 server before an [`Application`].
//!
//! CometBFT 0.38 opens four connections (consensus, mempool, query, snapshots), each of which
//! `tendermint-abci` serves from a thread of its own. That server knows no way to refuse a request or to end: a
//! panic ends one connection's thread and nothing else, and the process would go on with whatever stood half
//! done. So every call goes through an [`Ending`]: whatever cannot be answered truly is told to the node, which
//! stops, and the thread that found it never answers.
//!
//! The protocol has no authentication: whoever reaches the port is the engine. The server therefore listens
//! on loopback only, and a machine whose other users are not trusted must not run it.

mod connection;
mod ending;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tendermint_abci::ServerBuilder;

use self::connection::Connection;
pub use self::ending::{Ended, Ending};
use crate::Application;

/// The codespace of [`MALFORMED`].
pub const CODESPACE: &str = "abci";

/// The code of an answer to a `CheckTx` or `Query` whose fields are none of ABCI's.
pub const MALFORMED: u32 = 1;

/// What one connection reads at a time, in bytes; a request may be longer.
const READ_BYTES: usize = 256 << 10;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can be reached from outside.
    #[error("the application must listen on loopback, not on {0}: whoever reaches it can act as the engine")]
    NotLoopback(SocketAddr),
    /// The system refuses.
    #[error("cannot listen on {address}: {reason}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: String,
    },
}

/// A server that has its port and does not answer yet.
pub struct Server<A: Application> {
    inner: tendermint_abci::Server<Connection<A>>,
    ending: Ending,
}

impl<A: Application> std::fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.inner.local_addr()).finish_non_exhaustive()
    }
}

impl<A: Application> Server<A> {
    /// Takes a port on loopback for `app`; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: SocketAddr, app: Arc<A>, ending: Ending) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        let connection = Connection::new(app, ending.clone());
        let bound = ServerBuilder::new(READ_BYTES).bind(address, connection);
        let inner = bound.map_err(|error| BindError::Io { address, reason: error.detail().to_string() })?;
        Ok(Self { inner, ending })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.inner.local_addr()
    }

    /// Answers from now on, until the process ends: the server has no other end.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self) -> io::Result<()> {
        let Self { inner, ending } = self;
        let listen = move || match inner.listen() {
            Ok(()) => ending.tell("the ABCI server has ended".to_owned()),
            Err(error) => ending.tell(format!("the ABCI server cannot take connections: {}", error.detail())),
        };
        std::thread::Builder::new().name("abci".to_owned()).spawn(listen).map(drop)
    }
}

#[cfg(test)]
mod tests;
