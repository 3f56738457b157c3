//! The node's shell: what stands between the ledger's rules and the world.
//!
//! [`store`] keeps blocks and state in RocksDB, one synced write a block. [`tree`] authenticates
//! the state. [`mempool`] holds what waits, and [`evidence`] what
//! waits to be held against validators. [`app`] joins them to the ledger and is what an engine
//! drives. [`gossip`] spreads transactions over a libp2p swarm of its own. [`rpc`] answers in
//! CometBFT's format. No rule about what a transaction means is here: those are the ledger's.
//!
//! Start with [`run()`], then [`app::App`].

pub mod abci;
mod ahead;
pub mod app;
pub mod chain_at;
pub mod checked;
pub mod config;
pub mod evidence;
pub mod gossip;
pub mod index;
pub mod inspect;
pub mod live;
pub mod mempool;
pub mod pruning;
pub mod query;
pub mod replay;
pub mod rollback;
pub mod rpc;
pub mod run;
pub mod signer;
pub mod snapshot;
pub mod state;
pub mod statesync;
pub mod store;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod tx;
pub mod unheard;
pub mod upgrade;

pub use app::App;
pub use config::Config;
pub use run::{Ended, Options, run};
