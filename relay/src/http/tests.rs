//! The relay's doors: each way in, and what is refused there.

mod accounts;
mod chain;
mod door;
mod doors;
mod follower;
mod prekeys;
mod recovery;
mod sessions;

pub(crate) use chain::{Mood, TestChain};
pub(crate) use door::Door;
