//! Transactions whose signatures were checked, until blocks have passed over them.

use std::collections::{HashMap, VecDeque};

use ledger::{TxHash, Verified};

/// At most this many are remembered: three times what CometBFT's mempool holds unless told otherwise.
const COUNT: usize = 16_384;
/// Of at most this many bytes together.
const BYTES: usize = 32 << 20;

/// Verified transactions by their hash; the oldest go first.
#[derive(Debug, Default)]
pub struct Checked {
    known: HashMap<TxHash, Verified>,
    order: VecDeque<TxHash>,
    bytes: usize,
}

impl Checked {
    /// The transaction with this hash, if it was checked and is remembered.
    #[must_use]
    pub fn get(&self, hash: &TxHash) -> Option<&Verified> {
        self.known.get(hash)
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Remembers one. Its hash is that of the bytes that were checked.
    pub fn remember(&mut self, hash: TxHash, verified: Verified) {
        let size = verified.size_bytes();
        if self.known.insert(hash, verified).is_some() {
            return;
        }
        self.order.push_back(hash);
        self.bytes += size;
        while self.known.len() > COUNT || self.bytes > BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.known.remove(&oldest).map_or(0, |gone| gone.size_bytes());
        }
    }
}
