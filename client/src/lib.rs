//! What a person's device does: it holds the keys, encrypts, checks whom it writes to, and keeps what was
//! said, with the proofs.
//!
//! A message is stored, then encrypted for each device that the chain proves, then committed with the
//! ratchets' next steps, then sent, until the relay says that it is on disk. What comes is decrypted,
//! compared with what the relay said about it, committed, and only then acknowledged.
//!
//! What this crate refuses to do: it sends to no key that the chain does not prove, believes nothing of a
//! relay or a node that can be proven, writes nothing to disk that is not encrypted, and puts no
//! identifier, id or text into a log. libsignal is used here and nowhere else in the workspace.
//!
//! Start with [`Client`]; then follow a message: [`sealing`](Client::send), [`envelope`], [`signal`],
//! [`contact`]. `docs/spec/envelope.md` is the page of the formats.

mod account;
mod api;
pub mod client;
mod connection;
pub mod contact;
mod device;
pub mod envelope;
pub mod error;
pub mod event;
pub mod history;
pub mod kit;
mod people;
mod proving;
mod receiving;
mod rotating;
mod sealing;
pub mod signal;
mod stocking;
pub mod store;

pub use account::{Recovered, Registered};
pub use client::{Client, Settings};
pub use connection::Connection;
pub use device::LinkCode;
pub use error::Error;
pub use event::Event;
pub use history::Message;
pub use kit::RecoveryKit;
pub use people::{Contact, Verified};
pub use store::Passphrase;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod flow;
