//! From a leaf to its path.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use audit::Batch;
use rpc::relay::LeafProof;
use types::Hash;

use super::store::{Error, Place, Store};

/// How many batches' trees are kept: of the largest each takes 4 MiB. Whoever asks, asks for the newest.
const KEPT: usize = 4;

/// The trees of the batches that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<VecDeque<(u64, Arc<Batch>)>>);

impl Trees {
    /// Where `leaf` stands. May wait for the disk, and may hash a whole batch.
    pub(crate) fn proof(&self, store: &dyn Store, leaf: &Hash) -> Result<Option<LeafProof>, Error> {
        let number = match store.place(leaf)? {
            None => return Ok(None),
            Some(Place::Stored) => return Ok(Some(LeafProof::Stored)),
            Some(Place::Batch(number)) => number,
        };
        let Some(sealed) = store.batch(number)? else { return Ok(None) };
        if sealed.anchored.is_none() {
            return Ok(Some(LeafProof::Sealed { sequence: sealed.anchor.anchor.sequence }));
        }
        let Some(batch) = self.batch(store, number)? else { return Ok(None) };
        let found = batch.index_of(leaf).and_then(|index| Some((index, batch.path(index)?)));
        let (index, path) = found.ok_or(Error::Corrupt { what: "a batch without its leaf" })?;
        Ok(Some(LeafProof::Anchored { anchor: Box::new(sealed.anchor), index, path }))
    }

    fn batch(&self, store: &dyn Store, number: u64) -> Result<Option<Arc<Batch>>, Error> {
        let kept = |trees: &VecDeque<(u64, Arc<Batch>)>| trees.iter().find(|(of, _)| *of == number).map(|(_, batch)| batch.clone());
        if let Some(batch) = kept(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(batch));
        }
        let Some(leaves) = store.leaves(number)? else { return Ok(None) };
        let batch = Arc::new(Batch::reopen(leaves).map_err(|_| Error::Corrupt { what: "the leaves of a batch" })?);
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trees.truncate(KEPT - 1);
        trees.push_front((number, batch.clone()));
        Ok(Some(batch))
    }
}
