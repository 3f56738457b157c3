//! Agreeing on one block at a height.
//!
//! [`Application`] is what an engine drives, in the shape of ABCI 2.0; [`Host`] adds what an engine
//! that runs inside the node needs: a place for blocks and pending transactions. The rules that do
//! not depend on an engine are plain functions of values: [`chain`] builds and checks blocks,
//! [`validators`] takes turns in proposing, [`commit`] turns signatures into Tendermint's commit,
//! [`evidence`] says whether a validator has broken the rules.
//! [`guard`] keeps a validator from signing twice, [`privval`] its key in another process. [`malachite`] is the embedded engine, [`abci`] the door for CometBFT.
//!
//! This room decides nothing about what transactions mean, and stores nothing but the guard's file
//! and the engine's log.
//!
//! Start with [`chain::ChainState`], then [`malachite::driver`], the loop that answers the engine.

pub mod abci;
pub mod application;
pub mod chain;
pub mod commit;
pub mod evidence;
pub mod fault;
pub mod guard;
pub mod host;
pub mod malachite;
pub mod pace;
pub mod privval;
pub mod validators;

pub use application::Application;
pub use chain::{BadBlock, ChainState};
pub use evidence::{BadEvidence, History};
pub use guard::Guard;
pub use host::{Decided, Host};
pub use pace::Pace;
pub use validators::{Validator, ValidatorSet};
