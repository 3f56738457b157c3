//! Executing the kept blocks again, and comparing what comes of them with what the chain says: `zynk node replay`.
//!
//! It works on a database of its own, in a folder that is empty before and gone after, and does not touch the node's. It
//! begins with the genesis, or, where the first blocks are gone, with a snapshot of this node.

use std::path::Path;
use std::sync::Arc;

use consensus::host::Decided;
use consensus::{Application as _, Host as _, commit::block_id};
use genesis::Genesis;
use tendermint::block::{Block, Commit, Height};
use types::Hash;

use crate::App;
use crate::config::Home;
use crate::snapshot::restore::{Basis, restore};
use crate::snapshot::{Shelf, SnapshotError};
use crate::store::{OpenError, Store};

/// Why the replay did not come to its end. [`ReplayError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A database cannot be opened: while the node runs, for one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There are no blocks from the genesis on, and no snapshot to begin with.
    #[error("the blocks below height {earliest} are gone, and there is no snapshot of this node from which the later ones follow")]
    Gap {
        /// The first block that is here.
        earliest: u64,
    },
    /// The snapshot to begin with does not hold.
    #[error("the snapshot of height {height} does not hold: {source}")]
    Snapshot {
        /// Its height.
        height: u64,
        /// Why.
        source: SnapshotError,
    },
    /// A block makes another state than the chain has.
    #[error("block {height} makes the {what} {found}, the chain has {expected}")]
    Differs {
        /// Its height.
        height: u64,
        /// What differs.
        what: &'static str,
        /// What came of it here.
        found: String,
        /// What the next header says.
        expected: String,
    },
    /// A block does not follow from the one before it.
    #[error("block {height} does not follow: {reason}")]
    Block {
        /// Its height.
        height: u64,
        /// Why.
        reason: String,
    },
    /// The disk or the database failed.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl ReplayError {
    /// The stable number of the error: `docs/spec/files.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Open(error) => error.code(),
            Self::Gap { .. } => 9141,
            Self::Snapshot { source, .. } => source.code(),
            Self::Differs { .. } => 9142,
            Self::Block { .. } => 9143,
            Self::Broken(_) => 9144,
        }
    }
}

/// What a replay showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The height of the state that it began with; 0 is the genesis.
    pub from: u64,
    /// The last block that was executed.
    pub to: u64,
    /// The application hash after it.
    pub app_hash: Hash,
}

/// Executes the kept blocks of the node in `home` again, in the empty folder `scratch`; `progress` hears of each height.
///
/// # Errors
/// [`ReplayError`]: the first height that differs, for one.
pub fn replay(home: &Home, genesis: &Arc<Genesis>, scratch: &Path, mut progress: impl FnMut(u64)) -> Result<Replayed, ReplayError> {
    let store = Store::open_to_read(&home.database(), genesis.hash())?;
    let chain = store.chain_state().ok_or_else(|| OpenError::Empty { path: home.database().display().to_string() })?;
    let place = scratch.join("db");
    let from = begin(home, &store, genesis, &place)?;
    let app = App::open(Store::open(&place, genesis.hash())?, Arc::clone(genesis))?;
    let first = app.chain().next_height();
    let mut height = first;
    while height <= chain.tip() {
        let lacks = || ReplayError::Block { height: height.value(), reason: "it is not here".to_owned() };
        let (block, commit) = store.block(height).ok_or_else(lacks)?;
        execute(&app, &store, block, commit)?;
        progress(height.value());
        height = height.increment();
    }
    let app_hash = app.chain().app_hash.as_bytes().try_into().map(Hash).unwrap_or_default();
    let (found, expected) = (hex::encode(app_hash.0), hex::encode(chain.app_hash.as_bytes()));
    if found != expected {
        return Err(ReplayError::Differs { height: chain.tip().value(), what: "application hash", found, expected });
    }
    Ok(Replayed { from, to: chain.tip().value(), app_hash })
}

/// Makes the database to begin with; the height of its state.
fn begin(home: &Home, store: &Store, genesis: &Genesis, place: &Path) -> Result<u64, ReplayError> {
    let initial = Height::try_from(genesis.as_tendermint().initial_height).map_err(anyhow::Error::from)?;
    let earliest = store.earliest(initial);
    if earliest == initial {
        return Ok(0);
    }
    let gap = || ReplayError::Gap { earliest: earliest.value() };
    let shelf = Shelf::open_to_read(&home.snapshots());
    let usable = shelf.list().into_iter().filter(|listed| listed.height + 1 >= earliest.value());
    let mut bases = usable.filter_map(|listed| Some((listed.height, basis(store, listed.height)?)));
    let (height, basis) = bases.next().ok_or_else(gap)?;
    let bad = |source| ReplayError::Snapshot { height, source };
    let bytes = shelf.manifest(height).ok_or_else(gap)?;
    let manifest = crate::snapshot::Manifest::parse(&bytes).map_err(bad)?;
    let chunk = |number: usize| {
        let lost = || SnapshotError::Manifest(format!("chunk {number} is gone"));
        shelf.chunk(height, number).ok_or_else(lost)
    };
    restore(&manifest, chunk, &basis, genesis, place).map_err(bad)?;
    Ok(height)
}

/// What this node's own database says of a snapshot's height.
fn basis(store: &Store, height: u64) -> Option<Basis> {
    let last = Height::try_from(height).ok()?;
    let next = store.header(last.increment())?;
    let signed = tendermint::block::signed_header::SignedHeader::new(store.header(last)?, store.commit_of(last)?).ok()?;
    let after = store.validators(last.increment().increment())?;
    Some(Basis { last: signed, next, after: light::Validators::try_from(&after.to_tendermint()).ok()? })
}

/// Executes one block and compares its header with what came before it.
fn execute(app: &App, store: &Store, block: Block, seen_commit: Commit) -> Result<(), ReplayError> {
    let chain = app.chain();
    let (height, hash) = (block.header.height, block.header.hash());
    let differs = |what, found: String, expected: String| {
        // What a header carries came of the block before it.
        Err(ReplayError::Differs { height: height.value() - 1, what, found, expected })
    };
    if chain.app_hash != block.header.app_hash {
        return differs("application hash", hex::encode(chain.app_hash.as_bytes()), hex::encode(block.header.app_hash.as_bytes()));
    }
    if Some(chain.last_results_hash) != block.header.last_results_hash {
        let expected = block.header.last_results_hash.map(|hash| hash.to_string()).unwrap_or_default();
        return differs("hash of results", chain.last_results_hash.to_string(), expected);
    }
    // Held against the node's own history: the scratch database may begin with a snapshot.
    let refused = |reason: String| ReplayError::Block { height: height.value(), reason };
    chain.check(&block, &Unmarked(store)).map_err(|error| refused(error.to_string()))?;
    let outcome = app.finalize_block(chain.to_finalize(&block));
    let state = chain.after(&block, &outcome).map_err(|error| refused(error.to_string()))?;
    let decided = Decided { block, id: block_id(hash), seen_commit, outcome, state };
    app.commit_block(decided).map_err(|error| ReplayError::Broken(error.into()))
}

/// The node's blocks, without the marks of evidence: those are of the whole chain, and of later blocks too.
struct Unmarked<'a>(&'a Store);

impl consensus::evidence::History for Unmarked<'_> {
    fn header(&self, height: Height) -> Option<tendermint::block::Header> {
        self.0.header(height)
    }

    fn signed_header(&self, height: Height) -> Option<tendermint::block::signed_header::SignedHeader> {
        consensus::evidence::History::signed_header(self.0, height)
    }

    fn validators(&self, height: Height) -> Option<consensus::ValidatorSet> {
        self.0.validators(height)
    }

    fn is_committed(&self, _mark: &consensus::evidence::Mark) -> bool {
        false
    }
}
