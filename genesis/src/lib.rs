//! Where a chain and its people begin: the genesis file, and the files that hold secret keys.
//!
//! A [`Genesis`] is what everybody who verifies a chain starts from, so it is read as strictly as
//! anything from a stranger: whatever this code would not write itself is refused, and a file that
//! parses is one that a node can start. A [`KeyFile`] holds one key, a [`Keyring`] the keys of one
//! identity, a [`LogFile`] the key and the name of one log of anchors. An [`Application`] is what
//! somebody signs who wants to be among the first validators. Secrets are written with
//! mode 0600, never over another file unless that is the act asked for, and never printed; [`sealed`] encrypts any
//! of them under a passphrase.
//!
//! This crate touches the disk and draws entropy; it opens no socket and reads no clock.
//!
//! Start with [`genesis`], then [`keys`] and [`keyring`]. `docs/spec/genesis.md` is the page of
//! the formats and codes.

pub mod application;
pub mod entropy;
pub mod error;
pub mod file;
pub mod genesis;
pub mod keyring;
pub mod keys;
pub mod passphrase;
pub mod peer;
pub mod sealed;
mod strict;

pub use application::{Application, Terms};
pub use error::Error;
pub use genesis::{Builder, Genesis};
pub use keyring::{DeviceSecret, Keyring};
pub use keys::{KeyFile, KeyKind, LogFile};
pub use passphrase::Passphrase;
pub use peer::{peer_id_bytes, peer_id_text};
