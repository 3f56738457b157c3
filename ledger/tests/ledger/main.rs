//! The ledger from outside: blocks go in, states and results come out.

mod stories;
mod supply;
mod vectors;
mod world;
