//! The ledger from outside: blocks go in, states and results come out.

mod governance;
mod governance_model;
mod stake;
mod stories;
mod supply;
mod vectors;
mod world;
