//! Signatures of transactions, checked once for each.

use bytes::Bytes;
use ledger::{Refusal, TxHash, Verified, block};
use rayon::prelude::*;
use types::Hash;

use super::{App, lock};

/// So many unknown transactions and more have their signatures checked on every core.
const PARALLEL_FROM: usize = 4;

impl App {
    /// The transaction of these bytes, its signatures checked: once, as long as it is remembered.
    ///
    /// # Errors
    /// As [`block::verify`].
    pub(crate) fn verify_once(&self, bytes: &[u8]) -> Result<Verified, Refusal> {
        let hash = Hash::sha256(&[bytes]);
        if let Some(known) = lock(&self.checked).get(&hash) {
            return Ok(known.clone());
        }
        let verified = block::verify(bytes)?;
        lock(&self.checked).remember(hash, verified.clone());
        Ok(verified)
    }

    /// Reads and verifies transactions; those that waited here, or came before, were verified then.
    pub(super) fn verify_all(&self, transactions: &[Bytes]) -> Vec<Result<Verified, Refusal>> {
        let hashes: Vec<TxHash> = transactions.iter().map(|bytes| Hash::sha256(&[bytes])).collect();
        let known: Vec<Option<Verified>> = {
            let (mempool, checked) = (lock(&self.mempool), lock(&self.checked));
            hashes.iter().map(|hash| mempool.verified(hash).or_else(|| checked.get(hash)).cloned()).collect()
        };
        let verify = |(bytes, known): (&Bytes, &Option<Verified>)| known.clone().map_or_else(|| block::verify(bytes), Ok);
        let unknown = known.iter().filter(|known| known.is_none()).count();
        let verified: Vec<Result<Verified, Refusal>> = if unknown < PARALLEL_FROM {
            transactions.iter().zip(&known).map(verify).collect()
        } else {
            transactions.par_iter().zip(&known).with_min_len(PARALLEL_FROM / 2).map(verify).collect()
        };
        if unknown > 0 {
            // It may come again: in a block, or behind its block, from a peer.
            let mut checked = lock(&self.checked);
            let new = hashes.into_iter().zip(&verified).zip(&known).filter(|(_, known)| known.is_none());
            for (hash, verified) in new.filter_map(|((hash, verified), _)| Some((hash, verified.as_ref().ok()?))) {
                checked.remember(hash, verified.clone());
            }
        }
        verified
    }

    /// How many transactions are remembered as checked.
    #[cfg(test)]
    pub(crate) fn remembered_checks(&self) -> usize {
        lock(&self.checked).len()
    }
}
