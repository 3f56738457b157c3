//! Writing a snapshot, while blocks go on.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use consensus::ChainState;
use consensus::evidence::has_expired;
use genesis::Genesis;
use tendermint::block::Height;
use types::Hash;

use super::record::Record;
use super::{
    CHUNK, FORMAT, MANIFEST, MAX_BYTES, MAX_CHUNK, MAX_CHUNKS, Manifest, Shelf, SnapshotError, chunk_name, sync_folder, write_synced,
};
use crate::store::frozen::{Frozen, Rows as _};
use crate::store::light::{HEADERS, header, light, noted};
use crate::store::{Column, at};

/// What a snapshot is made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The database as it was after `height`.
    pub view: &'a Frozen<'a>,
    /// The chain's genesis.
    pub genesis: &'a Genesis,
    /// The snapshot's height.
    pub height: u64,
}

impl Source<'_> {
    /// Writes the snapshot onto the shelf. `None` when it was told to stop.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], [`SnapshotError::Database`]. What was written is then removed.
    pub fn write(&self, shelf: &Shelf, stop: &AtomicBool) -> Result<Option<Manifest>, SnapshotError> {
        let folder = shelf.partial(self.height);
        let written = self.write_into(&folder, stop);
        match &written {
            Ok(Some(manifest)) => {
                consensus::fault::point("snapshot.publish.before");
                shelf.publish(&folder, manifest)?;
                consensus::fault::point("snapshot.publish.after");
            }
            // The next start removes what cannot be removed now.
            Ok(None) | Err(_) => drop(fs::remove_dir_all(&folder)),
        }
        written
    }

    fn write_into(&self, folder: &Path, stop: &AtomicBool) -> Result<Option<Manifest>, SnapshotError> {
        let Self { view, genesis, height } = *self;
        let database = |reason: &str| SnapshotError::Database(reason.to_owned());
        let chain: ChainState = view
            .row(Column::Meta, b"chain")
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| database("it has no chain"))?;
        if chain.tip().value() != height {
            return Err(database("it was frozen too late"));
        }
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(SnapshotError::io(folder))?;
        let mut chunks = Chunks { folder, open: Vec::with_capacity(CHUNK), hashes: Vec::new(), bytes: 0 };
        let mut counts = [0u64; 3];
        let entries = view.all(Column::State).map(|(key, value)| Record::entry(&key, &value));
        let anchors = view.all(Column::Anchors).map(|(_, value)| Record::anchor(&value));
        let blocks = blocks(view, &chain).map(|height| Record::block(view, &chain, height));
        for (count, record) in
            entries.map(|record| (0, record)).chain(anchors.map(|record| (1, record))).chain(blocks.map(|record| (2, record)))
        {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let record = record.map_err(|error| SnapshotError::Database(error.to_string()))?;
            counts[count] += 1;
            chunks.add(&record)?;
        }
        chunks.close()?;
        let manifest = Manifest {
            format: FORMAT,
            chain: genesis.chain().clone(),
            genesis: genesis.hash(),
            height,
            app_hash: chain.app_hash.as_bytes().try_into().map(Hash).map_err(|_| database("its application hash is none"))?,
            entries: counts[0],
            anchors: counts[1],
            headers: counts[2],
            bytes: chunks.bytes,
            chunks: chunks.hashes,
        };
        if manifest.chunks.len() > MAX_CHUNKS || manifest.bytes > MAX_BYTES {
            return Err(database("its state is too large for a snapshot"));
        }
        write_synced(&folder.join(MANIFEST), &manifest.to_bytes())?;
        sync_folder(folder)?;
        Ok(Some(manifest))
    }
}

/// The heights whose headers go into a snapshot: the hand-offs from the beginning, and all from the last on for which evidence has expired.
fn blocks(view: &Frozen<'_>, chain: &ChainState) -> impl Iterator<Item = Height> + use<> {
    let initial = chain.initial_height.value();
    // Where headers were swept or the state was synced, they begin later.
    let known = noted(view, HEADERS).unwrap_or(initial);
    let expired = |height: u64| {
        let header = Height::try_from(height).ok().and_then(|height| header(view, height));
        header.is_some_and(|header| has_expired(chain, header.height, header.time))
    };
    // Times rise with heights: what has expired is a beginning of all heights.
    let (mut low, mut high) = (known, chain.tip().value());
    while low < high {
        let middle = low.midpoint(high);
        if expired(middle) { low = middle + 1 } else { high = middle }
    }
    let start = low.saturating_sub(1).max(known);
    let handoffs: Vec<u64> = view.all(Column::Handoffs).filter_map(|(key, _)| Some(u64::from_be_bytes((*key).try_into().ok()?))).collect();
    let before = handoffs.into_iter().take_while(move |height| *height < start);
    before.chain(start..=chain.tip().value()).filter_map(|height| Height::try_from(height).ok())
}

/// The chunks being written.
struct Chunks<'a> {
    folder: &'a Path,
    open: Vec<u8>,
    hashes: Vec<Hash>,
    bytes: u64,
}

impl Chunks<'_> {
    fn add(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        if record.len() > MAX_CHUNK {
            return Err(SnapshotError::Database("it has an entry that is too long for a snapshot".to_owned()));
        }
        if !self.open.is_empty() && self.open.len() + record.len() > CHUNK {
            self.close()?;
        }
        self.open.extend_from_slice(record);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SnapshotError> {
        write_synced(&self.folder.join(chunk_name(self.hashes.len())), &self.open)?;
        consensus::fault::point("snapshot.chunk");
        self.hashes.push(Hash::sha256(&[&self.open]));
        self.bytes += self.open.len() as u64;
        self.open.clear();
        Ok(())
    }
}

impl Record {
    /// The block at `height` without its transactions; the last one without its commit, which is not settled yet.
    fn block(view: &Frozen<'_>, chain: &ChainState, height: Height) -> anyhow::Result<Vec<u8>> {
        let mut block = light(view, height).ok_or_else(|| anyhow::anyhow!("it has no header of height {height}"))?;
        if height == chain.tip() {
            block.commit = None;
        }
        if block.is_handoff() {
            let set = view.row(Column::Sets, &at(height.increment())).ok_or_else(|| anyhow::anyhow!("it lacks a set of validators"))?;
            let set: consensus::ValidatorSet = serde_json::from_slice(&set)?;
            block.next = Some(::light::Validators::try_from(&set.to_tendermint())?);
        }
        Ok(Self::Block(block).to_bytes()?)
    }
}
