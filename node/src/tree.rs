//! The authenticated state: a Jellyfish Merkle tree with SHA-256, whose proofs are ICS-23.
//!
//! All that the rest of the node knows of the tree is [`update`], [`get`] and [`prove`]; another
//! tree can take its place behind them. Its versions count the blocks that changed the state, not
//! the heights: a block that changes nothing costs nothing here.

use borsh::{BorshDeserialize as _, BorshSerialize as _};
use jmt::storage::{HasPreimage, LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{KeyHash, OwnedValue, RootHash, Sha256Jmt, Version};
use ledger::Changes;
use prost_ics23::Message as _;
use rocksdb::{Direction, IteratorMode};
use sha2::Sha256;
use types::Hash;

use crate::store::{Batch, Column, Store};

/// The next version of the tree, not written yet.
#[derive(Debug)]
pub struct Update {
    /// Its number.
    pub version: Version,
    /// Its root: the application hash.
    pub root: Hash,
    preimages: Vec<Vec<u8>>,
    batch: TreeUpdateBatch,
}

/// Works out what `changes` make of the tree's version before `version`.
///
/// # Errors
/// When the stored tree is not whole.
pub fn update(store: &Store, version: Version, changes: &Changes) -> anyhow::Result<Update> {
    let values = changes.iter().map(|(key, value)| (key_hash(key), value.clone()));
    let (RootHash(root), batch) = Sha256Jmt::new(store).put_value_set(values, version)?;
    let preimages = changes.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()).collect();
    Ok(Update { version, root: Hash(root), preimages, batch })
}

impl Update {
    /// Adds the new nodes, values and preimages to a batch.
    ///
    /// # Errors
    /// When a node cannot be encoded.
    pub fn write(&self, batch: &mut Batch<'_>) -> anyhow::Result<()> {
        for (at, node) in self.batch.node_batch.nodes() {
            batch.put(Column::Nodes, &node_key(at)?, &borsh::to_vec(node)?);
        }
        for ((version, hash), value) in self.batch.node_batch.values() {
            batch.put(Column::Values, &value_key(*hash, *version), &borsh::to_vec(value)?);
        }
        for key in &self.preimages {
            batch.put(Column::Preimages, &key_hash(key).0, key);
        }
        Ok(())
    }
}

/// The value of `key` in `version` and its ICS-23 proof, of presence or of absence, as protobuf.
///
/// # Errors
/// When the stored tree is not whole.
pub fn prove(store: &Store, version: Version, key: &[u8]) -> anyhow::Result<(Option<OwnedValue>, Vec<u8>)> {
    let (value, proof) = Sha256Jmt::new(store).get_with_ics23_proof(key.to_vec(), version)?;
    Ok((value, proof.encode_to_vec()))
}

/// The value of `key` in `version`, without a proof.
///
/// # Errors
/// When the stored tree is not whole.
pub fn get(store: &Store, version: Version, key: &[u8]) -> anyhow::Result<Option<OwnedValue>> {
    Sha256Jmt::new(store).get(key_hash(key), version)
}

fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash::with::<Sha256>(key)
}

fn node_key(at: &NodeKey) -> anyhow::Result<Vec<u8>> {
    let mut key = at.version().to_be_bytes().to_vec();
    at.nibble_path().serialize(&mut key)?;
    Ok(key)
}

fn value_key(hash: KeyHash, version: Version) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&hash.0);
    key[32..].copy_from_slice(&version.to_be_bytes());
    key
}

impl TreeReader for Store {
    fn get_node_option(&self, at: &NodeKey) -> anyhow::Result<Option<Node>> {
        let stored = self.get(Column::Nodes, &node_key(at)?);
        stored.map(|bytes| Ok(Node::try_from_slice(&bytes)?)).transpose()
    }

    fn get_value_option(&self, max_version: Version, hash: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        let newest = value_key(hash, max_version);
        let found = self.iterate(Column::Values, IteratorMode::From(&newest, Direction::Reverse)).next();
        match found {
            Some((key, value)) if key.starts_with(&hash.0) => Ok(Option::try_from_slice(&value)?),
            _ => Ok(None),
        }
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        // Only asked while a tree is being restored from a snapshot, which this store does not do.
        anyhow::bail!("the tree is not being restored")
    }
}

impl HasPreimage for Store {
    fn preimage(&self, hash: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.get(Column::Preimages, &hash.0))
    }
}

#[cfg(test)]
mod tests;
