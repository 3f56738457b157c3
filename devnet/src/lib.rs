//! A whole network on loopback: real validators, a relay and a gateway, each a process of its own, for
//! people and tests.
//!
//! [`Network::create`] lays out a home for every validator and the chain's genesis;
//! [`Network::start`] starts one process each with the binary it is given. It owns no rule of the
//! chain and has no shortcut past one: what runs here is what runs anywhere. [`CometNetwork`] does the same for a
//! chain under CometBFT.

mod cometbft;
mod files;
mod layout;
mod process;

pub use cometbft::{CometNetwork, CometRunning, Part};
pub use files::Files;
pub use layout::{Network, Settings};
pub use process::{Running, Service, Validator};
