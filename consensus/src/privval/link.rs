//! One connection between a node and its signer: messages with their length before them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ed25519_consensus::{SigningKey as IdentityKey, VerificationKey};
use prost::Message as _;
use tendermint_p2p::secret_connection::{PublicKey as Identity, SecretConnection, Version};
use tendermint_proto::v0_38::privval::Message;
use tendermint_proto::v0_38::privval::message::Sum;
use types::{PublicKey, SigningKey};

/// No message is longer, in bytes: CometBFT's bound.
const MAX_MESSAGE: usize = 10 << 10;

/// What one read takes: a whole frame of a SecretConnection, since `tendermint-p2p` cannot hand out a part of one.
const FRAME: usize = 1024;

/// How long a stranger may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// A connection over which messages go.
pub struct Link {
    io: Io,
    read: Vec<u8>,
}

enum Io {
    Tcp(Box<SecretConnection<TcpStream>>),
    Unix(UnixStream),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Agrees on keys over TCP. Returns who the other side has shown to be. Later, an answer that takes longer than
    /// `patience` ends the connection.
    ///
    /// # Errors
    /// When the other side does not hold to the protocol, or takes too long.
    pub fn tcp(stream: TcpStream, me: &SigningKey, patience: Duration) -> io::Result<(Self, PublicKey)> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANDSHAKE))?;
        stream.set_write_timeout(Some(HANDSHAKE))?;
        let later = stream.try_clone()?;
        let me = IdentityKey::from(*me.seed());
        // The library panics where a frame of the handshake is longer than it should be. Only the stranger's thread may end.
        let shaking = std::thread::Builder::new().name("signer-handshake".to_owned());
        let (done, waiting) = mpsc::channel::<()>();
        let shaking = shaking.spawn(move || {
            let _done = done;
            SecretConnection::new(stream, me, Version::V0_34)
        })?;
        // The timeouts are of single reads, and many bytes can come one by one.
        if waiting.recv_timeout(HANDSHAKE) == Err(RecvTimeoutError::Timeout) {
            later.shutdown(Shutdown::Both)?;
        }
        let shaken = shaking.join();
        let connection = shaken.map_err(|_| broken("the handshake broke off"))?.map_err(|error| broken(&error.to_string()))?;
        let Identity::Ed25519(peer) = connection.remote_pubkey();
        later.set_read_timeout(Some(patience))?;
        Ok((Self { io: Io::Tcp(Box::new(connection)), read: Vec::new() }, PublicKey(VerificationKey::to_bytes(&peer))))
    }

    /// Takes a unix socket as it is.
    ///
    /// # Errors
    /// When the system does not know timeouts.
    pub fn unix(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(HANDSHAKE))?;
        Ok(Self { io: Io::Unix(stream), read: Vec::new() })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is gone; it cannot be used again.
    pub fn send(&mut self, sum: Sum) -> io::Result<()> {
        let bytes = Message { sum: Some(sum) }.encode_length_delimited_to_vec();
        match &mut self.io {
            Io::Tcp(connection) => connection.write_all(&bytes),
            Io::Unix(stream) => stream.write_all(&bytes),
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// When none comes, or one that is too long or none; the connection cannot be used again.
    pub fn receive(&mut self) -> io::Result<Sum> {
        loop {
            if let Some(message) = take(&mut self.read)? {
                return message.sum.ok_or_else(|| broken("a message of an unknown kind"));
            }
            let mut frame = [0; FRAME];
            let count = match &mut self.io {
                Io::Tcp(connection) => connection.read(&mut frame)?,
                Io::Unix(stream) => stream.read(&mut frame)?,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read.extend(&frame[..count]);
        }
    }
}

/// Takes the first whole message off what was read, if it is there; the bytes that it took with it.
fn take(read: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let mut rest = read.as_slice();
    let length = match prost::decode_length_delimiter(&mut rest) {
        Ok(length) if length > MAX_MESSAGE => return Err(broken("a message above the bound")),
        Ok(length) => length,
        Err(_) if read.len() < 10 => return Ok(None),
        Err(error) => return Err(broken(&error.to_string())),
    };
    let Some(bytes) = rest.get(..length) else {
        return Ok(None);
    };
    let message = Message::decode(bytes).map_err(|error| broken(&error.to_string()))?;
    let taken = read.len() - rest.len() + length;
    read.drain(..taken);
    Ok(Some(message))
}

/// Reads what the other side of a connection sends, up to its first message that is none: for fuzzing.
#[cfg(fuzzing)]
pub(super) fn messages(bytes: &[u8]) -> Vec<Sum> {
    let mut read = bytes.to_vec();
    std::iter::from_fn(|| take(&mut read).ok().flatten()?.sum).collect()
}

fn broken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
