//! The relay's rules: frames, envelopes, ordering, acknowledgement, retention.
//!
//! A device opens a session and sends a [`Submission`]: one ciphertext for each device that is to
//! read it. The relay gives every recipient device's copy the next number of that device's mailbox,
//! stores all of them with the message's leaf in one write, acknowledges, and delivers; a copy is
//! deleted once its device has acknowledged it.
//!
//! What this crate refuses to do: it opens no socket, writes no disk, reads no clock and draws no
//! entropy, and it cannot read a message: content is bytes to it.
//!
//! Start with [`frame`], then [`wire`] and [`session`], which is one device's connection;
//! [`intake`] and [`queue`] are what the store of messages asks. [`history`] judges what clients
//! recorded. `docs/spec/mailbox.md` is the format's page.

mod bytes;
pub mod envelope;
pub mod frame;
pub mod history;
pub mod intake;
pub mod limit;
pub mod queue;
pub mod session;
pub mod wire;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod vectors;

pub use bytes::Bytes;
pub use frame::{Address, ClientFrame, Kind, Refusal, ServerFrame, Submission};
pub use queue::Queue;
pub use session::Session;
pub use wire::Encoding;
