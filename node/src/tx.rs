//! A transaction as it travels.

use bytes::Bytes;
use ledger::TxHash;
use types::Hash;

/// A transaction's bytes and their name, worked out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    hash: TxHash,
    bytes: Bytes,
}

impl Tx {
    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn hash(&self) -> &TxHash {
        &self.hash
    }

    /// The signed transaction, or what somebody says is one.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Tx {
    fn from(bytes: Bytes) -> Self {
        Self { hash: Hash::sha256(&[&bytes]), bytes }
    }
}
