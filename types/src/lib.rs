//! The alphabet every Zynk format is spelled in: hashes, keys, addresses, heights, times and a
//! bounded canonical encoding.
//!
//! Blocks, headers, votes and commits are not here: they are the `tendermint` crate's types.
//! This crate knows no rule of the product, touches no disk, socket, clock or dice.
//!
//! Start with [`mod@codec`], the one way in which bytes are written and read; then [`hash`] and
//! [`key`]. `docs/spec/encoding.md` is the format's page.

pub mod chain;
pub mod codec;
mod guarded;
pub mod hash;
pub mod key;

pub use chain::{Amount, ChainId, Height, Millis};
pub use codec::{Blob, Decode, DecodeError, Encode, List, Reader, Text};
pub use guarded::{Panicked, guarded};
pub use hash::{Domain, Hash};
pub use key::{Address, PublicKey, Signature, SigningKey};
