//! Stamped files, anchors and a log of anchors, for tests: of this crate, and of others through the
//! feature `testing`. The chain and the state around them are `light::testing`'s.
//!
//! It panics where a test's table is wrong.

use std::collections::HashMap;

use types::{ChainId, Hash, Millis};

use crate::anchor::{self, Anchor, LogId, SignedAnchor};
use crate::batch::Batch;
use crate::bundle::{Item, LogProof};
use crate::commitment::{Body, Opening};
use crate::leaf::{CommitmentPart, EnvelopePart, LeafOpening};
use crate::log::{Frontier, Head, entry_hash, inclusion};

/// The leaf of a file or message, shown but for its envelope.
#[must_use]
pub const fn opening(body: Body) -> LeafOpening {
    LeafOpening { commitment: CommitmentPart::Opened(Opening { salt: [6; 32], body }), envelope: EnvelopePart::Hidden(Hash([7; 32])) }
}

/// A batch of one leaf that is shown and others that are not, and the item of the first.
///
/// # Panics
/// When a leaf is there twice.
#[must_use]
pub fn stamped(body: Body, others: impl IntoIterator<Item = Hash>) -> (Batch, Item) {
    let opening = opening(body);
    let leaves = others.into_iter().chain([opening.leaf()]).collect();
    let mut padding = (0..u64::MAX).map(|number| Hash::sha256(&[b"padding", &number.to_be_bytes()]));
    let batch = Batch::seal(leaves, || padding.next().expect("a batch is small")).expect("the leaves differ");
    let item = item(&batch, &opening);
    (batch, item)
}

/// The item that shows this leaf of a batch.
///
/// # Panics
/// When it is not in the batch.
#[must_use]
pub fn item(batch: &Batch, opening: &LeafOpening) -> Item {
    let index = batch.index_of(&opening.leaf()).expect("it is in the batch");
    let path = batch.path(index).expect("so it has a path").try_into().expect("a short path");
    Item { opening: opening.clone(), index, path }
}

/// The first anchor of a log, to be bent and signed.
#[must_use]
pub fn anchor(chain: &ChainId, log: LogId, batch: &Batch) -> Anchor {
    Anchor {
        version: anchor::VERSION,
        chain: chain.clone(),
        log,
        sequence: 1,
        previous: Hash::ZERO,
        root: batch.root(),
        count: batch.count(),
        opened: Millis(1),
        closed: Millis(2),
    }
}

/// A log of `size` anchors with this one at `index`; its head and the anchor's place.
///
/// # Panics
/// When the index is not below the size.
#[must_use]
pub fn log(anchor: &SignedAnchor, index: u64, size: u64) -> (Head, LogProof) {
    let (mut frontier, mut nodes) = (Frontier::default(), HashMap::new());
    for number in 0..size {
        let entry = if number == index { anchor.entry_hash() } else { entry_hash(&number.to_be_bytes()) };
        frontier.append(entry, |level, index, node| {
            nodes.insert((level, index), node);
        });
    }
    let path = inclusion(index, size, |level, index| nodes.get(&(level, index)).copied()).expect("every node is known");
    (frontier.head(), LogProof { index, path: path.try_into().expect("a short path") })
}
