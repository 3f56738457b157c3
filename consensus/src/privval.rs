//! Keeping a validator's key in another process, or on another machine.
//!
//! The protocol is CometBFT's for remote signers (`privval`): the node listens, the signer dials; over TCP within a
//! SecretConnection, over a unix socket plainly; requests are answered one at a time. So the signers of that world serve
//! a validator here, and [`signer`] serves a node of CometBFT. [`remote`] is the node's side. What either says is in
//! `docs/spec/privval.md`.
//!
//! The node's own guard stays in front, and the signer has one of its own: the node does not ask for a second signature, and
//! the signer does not give one.

pub mod link;
pub mod remote;
pub mod signer;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use types::PublicKey;

pub use remote::{NotSigned, Remote};
pub use signer::Signer;

/// Reads what a node and a signer send each other, each as the other side does, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub fn read(bytes: &[u8]) {
    for message in link::messages(bytes) {
        signer::consider(message.clone());
        remote::consider(message);
    }
}

/// Where a node listens for its signer, and a signer finds its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and port, and who must answer there: the first 20 bytes of SHA-256 of its key, as CometBFT names nodes.
    Tcp {
        /// Who must answer; not said by who listens.
        peer: Option<[u8; 20]>,
        /// Host and port.
        address: String,
    },
    /// A socket in the file system: who may open it is for the file system to say.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: neither tcp://[ID@]HOST:PORT nor unix://PATH");
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (peer, address) = match rest.split_once('@') {
            Some((id, address)) => {
                let mut peer = [0; 20];
                match id.parse::<PublicKey>() {
                    Ok(key) => peer = key.address().0,
                    Err(_) => hex(id, &mut peer).ok_or_else(wrong)?,
                }
                (Some(peer), address)
            }
            None => (None, rest),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self::Tcp { peer, address: address.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { peer: None, address } => write!(f, "tcp://{address}"),
            Self::Tcp { peer: Some(peer), address } => {
                f.write_str("tcp://")?;
                peer.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, "@{address}")
            }
        }
    }
}

fn hex(text: &str, bytes: &mut [u8; 20]) -> Option<()> {
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
