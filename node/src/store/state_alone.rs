//! Writing what a block made of the state where the block itself is kept elsewhere: by CometBFT.

use consensus::ChainState;
use ledger::{Changes, Note};

use super::{Column, Store, at};
use crate::tree;

impl Store {
    /// Writes what a block made of the state, in one synced write. The engine has the block, its transactions, its
    /// results and the validator sets; here is what proofs and the next block need.
    ///
    /// # Errors
    /// When it is not durable.
    pub(crate) fn commit_state(
        &self,
        before: &ChainState,
        after: &ChainState,
        (changes, notes): (&Changes, &[Note]),
        update: Option<&tree::Update>,
    ) -> anyhow::Result<()> {
        let mut batch = self.batch();
        // The block's header names both sets: a light client needs this height to hand over.
        if before.validators.hash() != before.next_validators.hash() {
            batch.put(Column::Handoffs, &at(after.tip()), &[]);
        }
        for note in notes {
            batch.put_note(note);
        }
        batch.put_state(after.tip().value(), after, changes, update)?;
        Ok(batch.write()?)
    }
}
