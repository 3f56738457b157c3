//! Undoing the last block, on a node that stands still: `zynk node rollback`.
//!
//! For a node that made another state of a block than the others did, by a fault of its program or its machine: with the
//! fault mended it fetches the block again and executes it anew. What was agreed on is not touched: the same block is decided
//! at this height, whatever a node forgets. So the signing guard stays as it is, and the validator follows without signing until
//! the chain is past what it has signed. Source: CometBFT 0.38, `state/rollback.go`; its `--hard` is what is done here, since
//! block and state are one write.

use std::fs;

use anyhow::Context as _;
use consensus::validators::ValidatorSet;
use consensus::{ChainState, evidence};
use genesis::Genesis;
use ledger::Changes;
use ledger::state::key;
use tendermint::block::Height;
use types::Hash;

use crate::chain_at::{Sets, chain_at};
use crate::config::Home;
use crate::store::undo::{Touched, UNDOABLE};
use crate::store::{Column, OpenError, Store, at, committed_key};
use crate::tree;

/// Why a block is not undone. [`RollbackError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The database cannot be opened: while the node runs, for one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no block that could be undone.
    #[error("there is no block to undo: the chain is at height {0}, the first that is here")]
    Nothing(u64),
    /// It was committed too long ago, or by a synced state.
    #[error("what block {height} changed is not kept: only the last {UNDOABLE} blocks that this node executed can be undone")]
    NotKept {
        /// Its height.
        height: u64,
    },
    /// Nobody else has the block.
    #[error("this chain has one validator: nobody could hand block {0} to this node again")]
    Alone(u64),
    /// The state before it is not what its header says.
    #[error(
        "the state before block {height} has not the root {expected} that its header carries: this database is of no more use, start with an empty one"
    )]
    Root {
        /// The block's height.
        height: u64,
        /// What its header carries.
        expected: Hash,
    },
    /// The database is not whole, or cannot be written.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl RollbackError {
    /// The stable number of the error: `docs/spec/files.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Open(error) => error.code(),
            Self::Nothing(_) => 9131,
            Self::NotKept { .. } => 9132,
            Self::Alone(_) => 9133,
            Self::Root { .. } => 9134,
            Self::Broken(_) => 9135,
        }
    }
}

/// Undoes the last block of the node in `home`; the chain after it.
///
/// # Errors
/// [`RollbackError`]; then nothing is changed.
pub fn rollback(home: &Home, genesis: &Genesis) -> Result<ChainState, RollbackError> {
    let store = Store::open(&home.database(), genesis.hash())?;
    let chain = store.chain_state().ok_or(RollbackError::Nothing(0))?;
    let (before, touched) = before(&store, genesis, &chain)?;
    // Its log is of the height above; without it the validator follows until the guard lets it sign.
    let wal = home.wal();
    if wal.exists() {
        let aside = wal.with_extension("wal.undone");
        fs::rename(&wal, &aside).with_context(|| format!("cannot move {} away", wal.display()))?;
    }
    consensus::fault::point("rollback.before");
    undo(&store, &chain, &before, &touched)?;
    consensus::fault::point("rollback.after");
    Ok(before)
}

/// The chain before the last block, and what that block touched.
fn before(store: &Store, genesis: &Genesis, chain: &ChainState) -> Result<(ChainState, Touched), RollbackError> {
    let tip = chain.tip();
    let height = tip.value();
    if height <= chain.initial_height.value() {
        return Err(RollbackError::Nothing(height));
    }
    let touched = store.touched(tip).ok_or(RollbackError::NotKept { height })?;
    let sets: Vec<&ValidatorSet> = chain.last_validators.iter().chain([&chain.validators]).collect();
    if sets.iter().all(|set| set.as_slice().len() == 1) {
        return Err(RollbackError::Alone(height));
    }
    let last = Height::try_from(height - 1).map_err(anyhow::Error::from)?;
    let lacks = || anyhow::anyhow!("the database lacks what goes with height {height}");
    let (header, next) = (store.header(last).ok_or_else(lacks)?, store.header(tip).ok_or_else(lacks)?);
    let set = |height: Height| store.validators(height).ok_or_else(lacks);
    let sets = Sets { last: set(last)?, next: set(tip)?, after: set(tip.increment())? };
    Ok((chain_at(genesis, &header, &next, sets)?, touched))
}

/// Makes the tree's version before the newest one again, with its entries, and takes out what came with the block.
fn undo(store: &Store, chain: &ChainState, before: &ChainState, touched: &Touched) -> Result<(), RollbackError> {
    let (tip, height) = (chain.tip(), chain.tip().value());
    let kept = store.tree_version_at(height - 1).ok_or(RollbackError::NotKept { height })?;
    let mut changes = Changes::new();
    for key in touched.keys.iter() {
        changes.insert(key.to_vec(), tree::get(store, kept, key)?);
    }
    check_root(store, kept, height, before)?;
    let mut batch = store.batch();
    let newest = store.tree_version();
    if newest > kept {
        tree::forget(store, &mut batch, newest);
        batch.put(Column::Meta, b"tree", &kept.to_be_bytes());
    }
    for (key, value) in &changes {
        match value {
            Some(value) => batch.put(Column::State, key, value),
            None => batch.delete(Column::State, key),
        }
    }
    let (block, _) = store.block(tip).ok_or(RollbackError::NotKept { height })?;
    for column in [Column::Blocks, Column::Outcomes, Column::Versions, Column::Handoffs, Column::Undo] {
        batch.delete(column, &at(tip));
    }
    batch.delete(Column::Sets, &at(tip.increment().increment()));
    batch.delete(Column::Hashes, block.header.hash().as_bytes());
    for transaction in &block.data {
        batch.delete(Column::Transactions, &Hash::sha256(&[transaction]).0);
    }
    for mark in block.evidence.iter().map(evidence::mark) {
        batch.delete(Column::Evidence, &committed_key(&mark));
    }
    // Nodes of the log of all anchors stay: nothing reads beyond its size, and who appends again writes them anew.
    for anchor in touched.anchors.iter() {
        batch.delete(Column::Anchors, anchor);
    }
    for proposed in store.proposals(tip.increment()) {
        batch.drop_proposal(&proposed);
    }
    batch.put(Column::Meta, b"chain", &serde_json::to_vec(before).map_err(anyhow::Error::from)?);
    batch.write().map_err(|error| RollbackError::Broken(error.into()))
}

/// Whether the tree's version before the block is the state that the block's header carries.
fn check_root(store: &Store, version: tree::Version, height: u64, before: &ChainState) -> Result<(), RollbackError> {
    let expected = before.app_hash.as_bytes().try_into().map(Hash).unwrap_or_default();
    let (_, proof) = tree::prove(store, version, key::PARAMS)?;
    let proof = light::StateProof::from_ics23(key::PARAMS, &proof).map_err(anyhow::Error::from)?;
    if proof.leads_from(key::PARAMS, &expected).map_err(anyhow::Error::from)? {
        Ok(())
    } else {
        Err(RollbackError::Root { height, expected })
    }
}

#[cfg(test)]
mod tests;
