//! Signatures of transactions, checked once for each.

use ledger::{Refusal, TxHash, Verified, block};
use rayon::prelude::*;

use super::{App, lock};
use crate::checked::Found;
use crate::tx::Tx;

/// So many unknown transactions and more have their signatures checked on every core.
const PARALLEL_FROM: usize = 4;

impl App {
    /// A transaction, its signatures checked: once, as long as it is remembered.
    ///
    /// # Errors
    /// As [`block::verify`].
    pub(crate) fn verify_once(&self, tx: &Tx) -> Result<Verified, Refusal> {
        self.verify_all(std::slice::from_ref(tx)).remove(0)
    }

    /// Reads and verifies transactions; those that waited here, or came before, were verified then, and those that are being
    /// verified are waited for.
    pub(crate) fn verify_all(&self, transactions: &[Tx]) -> Vec<Result<Verified, Refusal>> {
        let hashes: Vec<TxHash> = transactions.iter().map(|tx| *tx.hash()).collect();
        let waiting = {
            let mempool = lock(&self.mempool);
            hashes.iter().map(|hash| mempool.verified(hash).cloned()).collect()
        };
        let (found, claim) = self.checked.claim(&hashes, waiting);
        let ours: Vec<bool> = found.iter().map(|found| matches!(found, Found::Ours)).collect();
        let verify = |(tx, found): (&Tx, Found)| match found {
            Found::Known(verified) => Some(Ok(verified)),
            Found::Ours => Some(self.verify(tx)),
            Found::Theirs => None,
        };
        let verified: Vec<Option<Result<Verified, Refusal>>> = if ours.iter().filter(|ours| **ours).count() < PARALLEL_FROM {
            transactions.iter().zip(found).map(verify).collect()
        } else {
            transactions.par_iter().zip(found).with_min_len(PARALLEL_FROM / 2).map(verify).collect()
        };
        // Each may come again: in a block, or behind its block, from a peer.
        let checked = hashes.iter().zip(&verified).zip(ours).filter(|(_, ours)| *ours);
        claim.settle(checked.filter_map(|((hash, verified), _)| Some((*hash, verified.as_ref()?.as_ref().ok()?.clone()))));
        let theirs = |tx: &Tx| self.checked.wait(tx.hash()).map_or_else(|| self.verify(tx), Ok);
        verified.into_iter().zip(transactions).map(|(verified, tx)| verified.unwrap_or_else(|| theirs(tx))).collect()
    }

    fn verify(&self, tx: &Tx) -> Result<Verified, Refusal> {
        let verified = block::verify(tx.bytes())?;
        block::check_ahead(&self.store, &verified);
        Ok(verified)
    }

    /// How many transactions are remembered as checked.
    #[cfg(test)]
    pub(crate) fn remembered_checks(&self) -> usize {
        self.checked.len()
    }
}
