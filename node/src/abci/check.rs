//! `CheckTx`: whether CometBFT's mempool may keep a transaction.
//!
//! CometBFT keeps what waits, in the order of arrival, and gives all of it anew after each block. Here is what
//! those transactions would change in the state, and nothing of themselves: so the second transaction of an author
//! finds the first one's sequence and balance. With each block it is forgotten, and what still waits makes it anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ledger::{Changes, State, View, block};
use tendermint::abci::request::{CheckTx, CheckTxKind};

use crate::app::App;
use crate::mempool::NotTaken;

/// At most this many entries are changed by what waits; ten times what CometBFT's mempool of 5,000 transfers changes.
const ENTRIES: usize = 100_000;

/// What the transactions that wait would change since the last block.
#[derive(Debug, Default)]
pub(super) struct Check(Mutex<Changes>);

/// The stored state and what waits over it.
struct Over<'a> {
    below: &'a dyn View,
    changes: &'a Changes,
}

impl View for Over<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.changes.get(key).map_or_else(|| self.below.get(key), Clone::clone)
    }
}

impl Check {
    /// Judges a transaction as if all that wait before it were included; its size in bytes. A signature is checked
    /// once, however often CometBFT asks.
    ///
    /// # Errors
    /// [`NotTaken::Refused`], also for one that leaves a gap in its author's sequence; [`NotTaken::Full`].
    pub(super) fn judge(&self, app: &App, request: &CheckTx) -> Result<usize, NotTaken> {
        let verified = app.verify_once(&request.tx.clone().into())?;
        let next = app.next();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What CometBFT has already is judged in any case.
        if request.kind == CheckTxKind::New && waiting.len() >= ENTRIES {
            return Err(NotTaken::Full);
        }
        let over = Over { below: app.store(), changes: &waiting };
        let mut state = State::new(&over);
        block::check(&mut state, next, &verified)?;
        let (changes, _) = state.finish();
        waiting.extend(changes);
        Ok(verified.size_bytes())
    }

    /// Forgets what waited: a block has changed the state below it.
    pub(super) fn begin_anew(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = BTreeMap::new();
    }
}
