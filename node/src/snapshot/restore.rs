//! From a snapshot to a database, believing nothing but verified headers.
//!
//! The entries must have the root that the header after the snapshot carries; the anchors must be the log whose root is
//! among the entries; the headers must lead, hash by hash, to the verified one, and those of hand-offs, signature by
//! signature, from the genesis. The order in which validators propose is worked out anew from these, so it is nobody's word.

mod headers;

use std::path::Path;

use audit::log::{Frontier, HEAD_KEY, Head};
use genesis::Genesis;
use light::Validators;
use rocksdb::IteratorMode;
use tendermint::block::Header;
use tendermint::block::signed_header::SignedHeader;
use types::{Decode as _, Hash, Reader};

use super::record::Record;
use super::{Manifest, SnapshotError};
use crate::chain_at::chain_at;
use crate::store::light::{EARLIEST, HEADERS};
use crate::store::{Column, Store, anchor_key, at, log_key};
use crate::tree;
use headers::Headers;

/// The tree's versions are counted anew.
const VERSION: tree::Version = 0;

/// So many bytes go into one write.
const WRITE_BYTES: usize = 4 << 20;

/// What a light client has verified: all that is believed.
#[derive(Debug, Clone)]
pub struct Basis {
    /// The header of the snapshot's height, with its commit.
    pub last: SignedHeader,
    /// The header after it, which carries the application hash.
    pub next: Header,
    /// The validators of the height after that.
    pub after: Validators,
}

/// Makes the database at `path`, where there must be none, out of a snapshot whose chunks `chunk` reads.
///
/// # Errors
/// [`SnapshotError`]; what is at `path` is then of no use.
pub fn restore(
    manifest: &Manifest,
    mut chunk: impl FnMut(usize) -> Result<Vec<u8>, SnapshotError>,
    basis: &Basis,
    genesis: &Genesis,
    path: &Path,
) -> Result<(), SnapshotError> {
    check(manifest, basis, genesis)?;
    let store = Store::open(path, genesis.hash()).map_err(|error| SnapshotError::Database(error.to_string()))?;
    let mut restoring = Restoring {
        store: &store,
        root: root_of(&basis.next),
        last_key: None,
        anchors: Anchors::default(),
        headers: Headers::new(genesis, basis)?,
        stage: 0,
        left: [manifest.entries, manifest.anchors, manifest.headers],
    };
    for number in 0..manifest.chunks.len() {
        let bytes = chunk(number)?;
        manifest.check_chunk(number, &bytes)?;
        restoring.take(number, &bytes)?;
    }
    restoring.finish(genesis, basis)
}

/// Whether the manifest is for the state that the headers prove.
///
/// # Errors
/// [`SnapshotError::Foreign`], [`SnapshotError::AppHash`].
pub fn check(manifest: &Manifest, basis: &Basis, genesis: &Genesis) -> Result<(), SnapshotError> {
    manifest.check_chain(genesis)?;
    let (height, expected) = (basis.last.header.height.value(), root_of(&basis.next));
    if manifest.height != height {
        let (found, expected) = (manifest.height.to_string(), height.to_string());
        return Err(SnapshotError::Foreign { what: "height", found, expected });
    }
    if manifest.app_hash != expected {
        return Err(SnapshotError::AppHash { height, found: manifest.app_hash, expected });
    }
    Ok(())
}

fn root_of(header: &Header) -> Hash {
    header.app_hash.as_bytes().try_into().map(Hash).unwrap_or_default()
}

struct Restoring<'a> {
    store: &'a Store,
    /// What the entries' root must be.
    root: Hash,
    /// The key of the entry that came last.
    last_key: Option<Box<[u8]>>,
    anchors: Anchors,
    headers: Headers,
    /// The kind of record that came last.
    stage: u8,
    /// How many records of each kind may come yet: the disk was asked for room for so many.
    left: [u64; 3],
}

impl Restoring<'_> {
    fn take(&mut self, number: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        let bad = |reason: String| SnapshotError::Record { number, reason };
        let mut reader = Reader::new(bytes);
        let mut batch = self.store.batch();
        while reader.remaining() > 0 {
            let read = types::guarded(|| Record::read(&mut reader)).map_err(|panicked| bad(panicked.to_string()))?;
            let record = read.map_err(|error| bad(format!("cannot be read: {error}")))?;
            let stage = match &record {
                Record::Entry { .. } => 0,
                Record::Anchor { .. } => 1,
                Record::Block(_) => 2,
            };
            if stage < self.stage {
                return Err(bad("stands behind those of a later kind".to_owned()));
            }
            if stage > self.stage {
                std::mem::replace(&mut batch, self.store.batch()).write_later().map_err(database)?;
                self.reach(stage)?;
            }
            let left = &mut self.left[usize::from(stage)];
            *left = left.checked_sub(1).ok_or_else(|| bad("is one more than the manifest says".to_owned()))?;
            match record {
                Record::Entry { key, value } => {
                    if self.last_key.as_deref().is_some_and(|last| last >= &*key) {
                        return Err(bad("is not in the order of keys".to_owned()));
                    }
                    batch.put(Column::State, &key, &value);
                    self.last_key = Some((*key).into());
                }
                Record::Anchor { index, anchor } => {
                    let key = anchor_key(&anchor.anchor.log, anchor.anchor.sequence);
                    if self.anchors.last.as_ref().is_some_and(|last| *last >= key) {
                        return Err(bad("is not in the order of logs and sequences".to_owned()));
                    }
                    let bytes = types::Encode::to_bytes(&anchor);
                    batch.put(Column::LogNodes, &log_key(0, index), &audit::log::entry_hash(&bytes).0);
                    batch.put(Column::Anchors, &key, &[index.to_be_bytes().as_slice(), &bytes].concat());
                    self.anchors.last = Some(key);
                    self.anchors.count += 1;
                }
                Record::Block(block) => self.headers.take(block, &mut batch)?,
            }
        }
        batch.write_later().map_err(database)
    }

    /// Ends the kinds of records before `stage`.
    fn reach(&mut self, stage: u8) -> Result<(), SnapshotError> {
        if self.stage == 0 && stage > 0 {
            let entries = self.store.iterate(Column::State, IteratorMode::Start);
            let entries = entries.map(|(key, value)| (key.into_vec(), value.into_vec()));
            let found = tree::build(self.store, VERSION, entries).map_err(database)?;
            if found != self.root {
                return Err(SnapshotError::Root { found, expected: self.root });
            }
        }
        self.stage = self.stage.max(stage);
        Ok(())
    }

    fn finish(mut self, genesis: &Genesis, basis: &Basis) -> Result<(), SnapshotError> {
        self.reach(2)?;
        self.anchors.check(self.store)?;
        let (start, sets) = self.headers.finish(basis)?;
        let chain = chain_at(genesis, &basis.last.header, &basis.next, sets).map_err(|error| self.headers.bad(&error))?;
        self.headers.check_age(&chain, start)?;
        let height = chain.tip();
        let mut batch = self.store.batch();
        batch.put_set(height, chain.last_validators.as_ref().unwrap_or(&chain.validators));
        batch.put_set(height.increment(), &chain.validators);
        batch.put_set(height.increment().increment(), &chain.next_validators);
        batch.put_noted(EARLIEST, height.value() + 1);
        batch.put_noted(HEADERS, start);
        batch.put(Column::Versions, &at(height), &VERSION.to_be_bytes());
        batch.put(Column::Meta, b"tree", &VERSION.to_be_bytes());
        batch.begin_at(genesis.hash(), &chain).map_err(database)?;
        batch.write().map_err(database)
    }
}

/// The anchors that were taken.
#[derive(Default)]
struct Anchors {
    last: Option<Vec<u8>>,
    count: u64,
}

impl Anchors {
    /// Holds them against the log's head in the state, and builds what proofs are read from.
    fn check(&self, store: &Store) -> Result<(), SnapshotError> {
        let bad = |reason: &str| SnapshotError::Anchors(reason.to_owned());
        let head = store.get(Column::State, HEAD_KEY.as_bytes()).and_then(|bytes| Head::from_bytes(&bytes).ok());
        let head = head.ok_or_else(|| bad("the state has no head of it"))?;
        if head.size != self.count {
            return Err(SnapshotError::Anchors(format!("it has {}, these are {}", head.size, self.count)));
        }
        let mut frontier = Frontier::default();
        let mut batch = store.batch();
        for index in 0..head.size {
            let entry = store.log_node(0, index).ok_or_else(|| bad("a place in it is empty, and another taken twice"))?;
            frontier.append(entry, |level, index, hash| {
                if level > 0 {
                    batch.put(Column::LogNodes, &log_key(level, index), &hash.0);
                }
            });
            if batch.size() > WRITE_BYTES {
                std::mem::replace(&mut batch, store.batch()).write_later().map_err(database)?;
            }
        }
        batch.write_later().map_err(database)?;
        if frontier.head() == head { Ok(()) } else { Err(bad("they have another root")) }
    }
}

fn database(error: impl std::fmt::Display) -> SnapshotError {
    SnapshotError::Database(error.to_string())
}
