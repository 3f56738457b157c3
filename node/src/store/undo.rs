//! What it takes to undo the last blocks: which entries each of them touched.
//!
//! The values before are not kept here: the tree still has them. So a commit writes the names of what it changed, and
//! reads nothing for it.

use ledger::{Changes, Note};
use tendermint::block::Height;
use types::{Blob, Decode as _, Encode as _, List};

use super::{Batch, Column, Store, anchor_key, at};

/// For so many blocks it is kept.
pub const UNDOABLE: u64 = 4;

/// The longest key of an entry or a row, and the most of them in a block, which has at most some MiB of transactions.
const MAX_KEY: usize = 1 << 10;
const MAX_KEYS: usize = 1 << 22;

/// What a block touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The keys of the state.
    pub keys: List<Blob<MAX_KEY>, MAX_KEYS>,
    /// The keys of its anchors' rows.
    pub anchors: List<Blob<MAX_KEY>, MAX_KEYS>,
}
types::codec!(Touched { keys, anchors });

impl Store {
    /// What the block at `height` touched, if it is one of the last.
    #[must_use]
    pub fn touched(&self, height: Height) -> Option<Touched> {
        let bytes = self.get(Column::Undo, &at(height))?;
        Some(Touched::from_bytes(&bytes).expect("the store holds what it wrote"))
    }
}

impl Batch<'_> {
    /// Notes what a block touches, and forgets what an old one did.
    pub(super) fn put_touched(&mut self, height: Height, changes: &Changes, notes: &[Note]) {
        let anchor = |note: &Note| match note {
            Note::Anchored { anchor, .. } => anchor_key(&anchor.anchor.log, anchor.anchor.sequence).try_into().ok(),
            Note::LogNode { .. } => None,
        };
        let keys: Option<Vec<_>> = changes.keys().map(|key| key.clone().try_into().ok()).collect();
        let anchors: Vec<_> = notes.iter().filter_map(anchor).collect();
        // What does not fit cannot be undone, which is told then.
        if let Some((keys, anchors)) = keys.and_then(|keys| keys.try_into().ok()).zip(anchors.try_into().ok()) {
            self.put(Column::Undo, &at(height), &Touched { keys, anchors }.to_bytes());
        }
        if let Some(old) = height.value().checked_sub(UNDOABLE) {
            self.delete(Column::Undo, &old.to_be_bytes());
        }
    }
}
