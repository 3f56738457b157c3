//! The embedded engine: Malachite over libp2p.
//!
//! The only module that names the engine's types. [`context`] spells our types in its terms,
//! [`signing`] signs and verifies behind the guard, [`codec`] is the wire format, [`parts`] takes
//! blocks apart and puts them together, [`translation`] turns its votes and certificates into ours, [`driver`] answers the engine, [`engine`] starts and
//! supervises it. `docs/spec/consensus-wire.md` is the format's page.

pub mod codec;
pub mod context;
pub mod driver;
pub mod engine;
pub mod parts;
mod persistent;
pub mod probe;
pub mod signing;
pub mod translation;

pub use engine::{Config, Engine, Stopped};
