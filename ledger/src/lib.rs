//! The replicated state machine: what a block's transactions do to the chain's state.
//!
//! Everything here is a function of values: the state is read through a [`View`], time and height
//! arrive with the block, and what changes is handed back as [`Changes`]. So replaying a chain
//! gives the same state on every machine. This room owns no disk, network, clock or dice, and
//! does not know which engine orders its transactions.
//!
//! Start with [`block::execute`], which takes a block and returns its outcome; then
//! [`transaction`], the bytes that people sign; then the modules, one kind of state each:
//! [`account`], [`pool`], [`anchors`], [`identities`], [`stake`], [`governance`].
//! `docs/spec/transactions.md` and `docs/spec/state.md` are the formats' pages.

pub mod account;
pub mod anchors;
pub mod block;
pub mod error;
pub mod genesis;
pub mod governance;
pub mod identities;
pub mod params;
pub mod pool;
pub mod stake;
pub mod state;
pub mod supply;
pub mod transaction;

pub use block::{Block, Misbehavior, Offence, Outcome};
pub use error::Refusal;
pub use genesis::{AppState, Engine};
pub use params::Params;
pub use state::{Changes, Note, State, View};
pub use transaction::{Body, Payer, SignedTransaction, Transaction, TxHash, Verified};
