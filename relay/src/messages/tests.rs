//! Stories of messages. `suite` is for every store; the others need the disk.

pub(crate) mod committing;
mod crashes;
pub(crate) mod fixture;
mod format;
mod power;
mod suite;
