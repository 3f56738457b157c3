//! The application as CometBFT drives it, and that it is the same application.

mod equivalence;
mod requests;
