//! The relay's shell: accounts, intake, delivery and anchoring around the mailbox's rules.
//!
//! A person's devices sign in with keys that the chain proves ([`auth`]), leave prekeys for others,
//! and send and receive over a WebSocket. What is taken in is durable before anybody hears of it
//! ([`messages`]), and its leaf goes into the next anchor. For new identities, and for
//! operations on those that have an account, the relay pays.
//!
//! What this crate refuses to do: it holds no key that opens a message, believes no node about an
//! identity without proof, keeps no name and no phone number, and writes nothing about a person
//! into its log. It decides little: what a frame may be and which copies a message has are the
//! crate mailbox's rules, which operation holds is the crate identity's.
//!
//! Start with [`mod@run`], then [`http`] for requests and [`socket`] for messages; [`accounts`] and
//! [`messages`] are the two stores. `docs/spec/relay.md` is the interface's page.

pub mod accounts;
pub mod anchoring;
pub mod app;
pub mod auth;
pub mod chain;
pub mod config;
pub mod error;
pub mod fault;
pub mod http;
pub mod invitation;
pub mod messages;
pub mod new_log;
pub mod reclaim;
pub mod run;
pub mod socket;

pub use app::App;
pub use config::{Config, Home};
pub use error::Error;
pub use invitation::invite;
pub use new_log::{Renewed, new_log};
pub use reclaim::{Bond, Reclaimed, reclaim};
pub use run::{Relay, run};
