//! Talking to a node over its RPC, and believing it only as far as it proves what it says.
//!
//! The RPC is CometBFT 0.38's; [`query`] holds what our nodes serve beyond it, through
//! `abci_query`, and is shared by node and client. [`Node`] is a plain client of one node: it
//! bounds and parses, and believes everything. [`Chain`] stands on it and on [`light`]: what it
//! answers was proven by a header that it verified, whatever the node would like.
//!
//! Other nodes can be its [`witness`]es: a history that only one of them has is noticed, and told to the others.
//!
//! A [`queue`] keeps what is to reach the chain, through crashes and outages, and sends it once.
//!
//! What the node alone can know stays its word, and says so: that a transaction was taken into the
//! mempool, and that it was included. What the transaction did is proven by the state after it.
//!
//! Start with [`query`], then [`chain`]. `docs/spec/queries.md` is the page of the formats and codes.

pub mod chain;
pub mod error;
pub mod evidence;
mod http;
pub mod node;
mod path;
pub mod query;
pub mod queue;
pub mod relay;
pub mod sqlite;
pub mod submit;
pub mod witness;

pub use chain::{Chain, Included, Proven};
pub use error::Error;
pub use node::Node;
pub use queue::Queue;
pub use submit::FeePayer;
pub use witness::Testimony;

#[cfg(test)]
mod tests;
