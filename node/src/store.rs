//! Blocks and state in RocksDB, one column family a kind (`docs/spec/files.md`).
//!
//! A read that fails stops the process: any answer in its place could fork this node off the chain.

pub mod frozen;
pub mod light;
pub mod opening;
pub mod undo;

use std::path::Path;
use std::sync::Arc;

use ::tree::NewPage;
use consensus::ChainState;
use consensus::evidence::{self, History, Mark};
use consensus::host::{Decided, HostError, Proposed};
use consensus::validators::ValidatorSet;
use ledger::{Changes, Note, View};
use prost::Message as _;
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options, WriteBatch, WriteOptions};
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Block, Commit, Header, Height};
use tendermint::evidence::Evidence;
use tendermint_proto::v0_38 as pb;
use types::{Blob, Decode as _, Encode as _, Hash};

use crate::tree;

mod state_alone;

/// The format of the database; another one is refused.
pub const FORMAT: u64 = 2;

/// The kinds of things stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The format, the genesis' hash, the chain's state, the tree's version.
    Meta,
    /// The newest value of every state key.
    State,
    /// The tree's pages, by version and path.
    Pages,
    /// The tree's records, key and value, by version and place.
    Records,
    /// What a version of the tree replaced, by version: what goes when the ones before it are pruned.
    Stale,
    /// Blocks and seen commits, by height.
    Blocks,
    /// What the application made of a block, by height.
    Outcomes,
    /// Validator sets, by height.
    Sets,
    /// The tree's version after a height.
    Versions,
    /// Heights, by block hash.
    Hashes,
    /// Height and place, by transaction hash.
    Transactions,
    /// Nodes of the log of all anchors, by level and index.
    LogNodes,
    /// Anchors with their place in the log, by log id and sequence.
    Anchors,
    /// Proposals that are not decided, by height and block hash and round.
    Proposals,
    /// The heights of headers that name other next validators than their own.
    Handoffs,
    /// Evidence that waits, and the heights of what stands in blocks, both by its mark.
    Evidence,
    /// What stays of blocks that are not kept whole, by height.
    Light,
    /// What the last blocks changed, by height: what it takes to undo them.
    Undo,
}

impl Column {
    const ALL: [Self; 18] = [
        Self::Meta,
        Self::State,
        Self::Pages,
        Self::Records,
        Self::Stale,
        Self::Blocks,
        Self::Outcomes,
        Self::Sets,
        Self::Versions,
        Self::Hashes,
        Self::Transactions,
        Self::LogNodes,
        Self::Anchors,
        Self::Proposals,
        Self::Handoffs,
        Self::Evidence,
        Self::Light,
        Self::Undo,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::State => "state",
            Self::Pages => "pages",
            Self::Records => "records",
            Self::Stale => "stale",
            Self::Blocks => "blocks",
            Self::Outcomes => "outcomes",
            Self::Sets => "sets",
            Self::Versions => "versions",
            Self::Hashes => "hashes",
            Self::Transactions => "transactions",
            Self::LogNodes => "log-nodes",
            Self::Anchors => "anchors",
            Self::Proposals => "proposals",
            Self::Handoffs => "handoffs",
            Self::Evidence => "evidence",
            Self::Light => "light",
            Self::Undo => "undo",
        }
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB refuses.
    #[error("the database {path} cannot be opened: {reason}")]
    Rocks {
        /// The folder.
        path: String,
        /// What RocksDB says.
        reason: String,
    },
    /// It has another format.
    #[error("the database has format {found}, this program needs {FORMAT}: use the program that wrote it")]
    Format {
        /// Its format.
        found: u64,
    },
    /// It belongs to another chain.
    #[error("the database belongs to the genesis {found}, not {expected}: use its genesis file, or another home")]
    Genesis {
        /// The genesis' hash that it was made with.
        found: Hash,
        /// The hash of the genesis given.
        expected: Hash,
    },
    /// It holds no chain yet.
    #[error("the database {path} holds no chain yet: has the node run?")]
    Empty {
        /// The folder.
        path: String,
    },
}

/// The database.
pub struct Store {
    db: DB,
    pages: tree::Cache,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.db.path()).finish()
    }
}

impl Store {
    /// Opens the database at `path`, or makes it, for the chain of the genesis with this hash.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, genesis: Hash) -> Result<Self, OpenError> {
        opening::check_format(path)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(4);
        let mut column = Options::default();
        column.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let columns = Column::ALL.map(|kind| {
            let mut column = column.clone();
            if kind == Column::Pages {
                // Hashes: nothing to press out of them.
                column.set_compression_type(rocksdb::DBCompressionType::None);
            }
            ColumnFamilyDescriptor::new(kind.name(), column)
        });
        let db = DB::open_cf_descriptors(&options, path, columns)
            .map_err(|error| OpenError::Rocks { path: path.display().to_string(), reason: error.to_string() })?;
        let store = Self { db, pages: tree::Cache::default() };
        store.check_meta(genesis)?;
        Ok(store)
    }

    fn check_meta(&self, genesis: Hash) -> Result<(), OpenError> {
        let format = self.get(Column::Meta, b"format").map_or(FORMAT, |bytes| number(&bytes));
        if format != FORMAT {
            return Err(OpenError::Format { found: format });
        }
        match self.get(Column::Meta, b"genesis").map(|bytes| Hash::from_bytes(&bytes)) {
            Some(found) if found.as_ref() != Ok(&genesis) => {
                Err(OpenError::Genesis { found: found.unwrap_or_default(), expected: genesis })
            }
            _ => Ok(()),
        }
    }

    /// Reads a value.
    pub fn get(&self, column: Column, key: &[u8]) -> Option<Vec<u8>> {
        self.db.get_cf(self.handle(column), key).unwrap_or_else(|error| broken(&error))
    }

    /// The state tree's pages in memory.
    pub(crate) const fn pages(&self) -> &tree::Cache {
        &self.pages
    }

    /// Reads values in order.
    pub fn iterate<'a>(&'a self, column: Column, mode: IteratorMode<'_>) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + use<'a> {
        self.db.iterator_cf(self.handle(column), mode).map(|entry| entry.unwrap_or_else(|error| broken(&error)))
    }

    /// The chain's state, or `None` in a new database.
    #[must_use]
    pub fn chain_state(&self) -> Option<ChainState> {
        self.get(Column::Meta, b"chain").map(|bytes| serde_json::from_slice(&bytes).expect("the store holds what it wrote"))
    }

    /// The tree's newest version.
    #[must_use]
    pub fn tree_version(&self) -> u64 {
        self.get(Column::Meta, b"tree").map_or(0, |bytes| number(&bytes))
    }

    /// The tree's version after `height`; 0 after the genesis.
    #[must_use]
    pub fn tree_version_at(&self, height: u64) -> Option<u64> {
        self.get(Column::Versions, &height.to_be_bytes()).map(|bytes| number(&bytes))
    }

    /// The block at `height` and the best commit known for it: the canonical one out of the next
    /// block, or the one seen here.
    #[must_use]
    pub fn decided(&self, height: Height) -> Option<(Block, Commit)> {
        let (block, seen) = self.block(height)?;
        let canonical = self.block(height.increment()).and_then(|(next, _)| next.last_commit);
        Some((block, canonical.unwrap_or(seen)))
    }

    /// The block at `height` and the commit as seen here.
    #[must_use]
    pub fn block(&self, height: Height) -> Option<(Block, Commit)> {
        light::block(self, height)
    }

    /// The height of the block with this hash.
    #[must_use]
    pub fn height_of(&self, hash: &[u8]) -> Option<Height> {
        self.get(Column::Hashes, hash).and_then(|bytes| number(&bytes).try_into().ok())
    }

    /// What the application made of the block at `height`.
    #[must_use]
    pub fn outcome(&self, height: Height) -> Option<tendermint::abci::response::FinalizeBlock> {
        let bytes = self.get(Column::Outcomes, &at(height))?;
        let outcome = pb::abci::ResponseFinalizeBlock::decode(bytes.as_slice()).expect("the store holds what it wrote");
        Some(outcome.try_into().expect("the store holds what it wrote"))
    }

    /// The validator set of `height`; known up to two heights after the last block. Of a pruned height the priorities are
    /// those of the change before it.
    #[must_use]
    pub fn validators(&self, height: Height) -> Option<ValidatorSet> {
        let here = self.get(Column::Sets, &at(height)).map(|bytes| serde_json::from_slice(&bytes).expect("the store holds what it wrote"));
        here.or_else(|| self.pruned_validators(height))
    }

    /// Height and place of a transaction.
    #[must_use]
    pub fn transaction(&self, hash: &Hash) -> Option<(Height, u32)> {
        let bytes = self.get(Column::Transactions, &hash.0)?;
        let height = number(&bytes[..8]).try_into().ok()?;
        Some((height, u32::from_be_bytes(bytes[8..].try_into().ok()?)))
    }

    /// A node of the log of all anchors.
    #[must_use]
    pub fn log_node(&self, level: u8, index: u64) -> Option<Hash> {
        let bytes = self.get(Column::LogNodes, &log_key(level, index))?;
        Hash::from_bytes(&bytes).ok()
    }

    /// An anchor's bytes and its place in the log of all anchors.
    #[must_use]
    pub fn anchor(&self, log: &audit::LogId, sequence: u64) -> Option<(u64, Vec<u8>)> {
        let bytes = self.get(Column::Anchors, &anchor_key(log, sequence))?;
        Some((number(&bytes[..8]), bytes[8..].to_vec()))
    }

    /// The first `max` heights, ascending from `from`, of the headers that name other next validators
    /// than their own.
    #[must_use]
    pub fn handoffs(&self, from: u64, max: usize) -> Vec<u64> {
        let from = from.to_be_bytes();
        let heights = self.iterate(Column::Handoffs, IteratorMode::From(&from, rocksdb::Direction::Forward));
        heights.take(max).map(|(key, _)| number(&key)).collect()
    }

    /// The proposals kept for `height`.
    #[must_use]
    pub fn proposals(&self, height: Height) -> Vec<Proposed> {
        let prefix = at(height);
        let from = IteratorMode::From(&prefix, rocksdb::Direction::Forward);
        let here = self.iterate(Column::Proposals, from).take_while(|(key, _)| key.starts_with(&prefix));
        here.filter_map(|(_, value)| decode_proposed(height, &value)).collect()
    }

    /// The evidence that waits.
    #[must_use]
    pub fn pending_evidence(&self) -> Vec<Evidence> {
        let from = IteratorMode::From(&[PENDING], rocksdb::Direction::Forward);
        let here = self.iterate(Column::Evidence, from).take_while(|(key, _)| key.starts_with(&[PENDING]));
        here.filter_map(|(_, value)| evidence::bytes::decode(&value, usize::MAX).ok()).collect()
    }

    /// Keeps evidence until it stands in a block. Not synced: whoever told it tells it to others too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_evidence(&self, evidence: &Evidence) -> Result<(), HostError> {
        let (key, value) = (pending_key(&evidence::mark(evidence)), evidence::bytes::encode(evidence));
        self.db.put_cf(self.handle(Column::Evidence), key, value).map_err(|error| HostError(error.to_string()))
    }

    /// Drops evidence that waits.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn drop_evidence(&self, mark: &Mark) -> Result<(), HostError> {
        self.db.delete_cf(self.handle(Column::Evidence), pending_key(mark)).map_err(|error| HostError(error.to_string()))
    }

    /// Keeps a proposal. Not synced: it has to survive the process, not the machine, since the
    /// signing guard refuses a second, different proposal in any case.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, proposed: &Proposed) -> Result<(), HostError> {
        let mut key = at(proposed.height).to_vec();
        key.extend(proposed.hash);
        key.extend(proposed.round.to_be_bytes());
        let written = self.db.put_cf(self.handle(Column::Proposals), key, encode_proposed(proposed)?);
        written.map_err(|error| HostError(error.to_string()))
    }

    /// Writes the state of the genesis, before the first block.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, genesis: Hash, state: &ChainState, changes: &Changes, update: &tree::Update) -> anyhow::Result<()> {
        let mut batch = self.batch();
        batch.put(Column::Meta, b"format", &FORMAT.to_be_bytes());
        batch.put(Column::Meta, b"genesis", &genesis.0);
        batch.put_set(state.next_height(), &state.validators);
        batch.put_set(state.next_height().increment(), &state.next_validators);
        batch.put_state(0, state, changes, Some(update))?;
        Ok(batch.write()?)
    }

    /// Writes a block and all that came of it, in one synced write.
    ///
    /// # Errors
    /// When it is not durable.
    pub fn commit(&self, decided: &Decided, changes: &Changes, notes: &[Note], update: Option<&tree::Update>) -> anyhow::Result<()> {
        let height = decided.block.header.height;
        let mut batch = self.batch();
        batch.put(Column::Blocks, &at(height), &encode_block(&decided.block, &decided.seen_commit));
        batch.put(Column::Outcomes, &at(height), &pb::abci::ResponseFinalizeBlock::from(decided.outcome.clone()).encode_to_vec());
        batch.put(Column::Hashes, decided.block.header.hash().as_bytes(), &at(height));
        batch.put_set(decided.state.next_height().increment(), &decided.state.next_validators);
        if decided.block.header.validators_hash != decided.block.header.next_validators_hash {
            batch.put(Column::Handoffs, &at(height), &[]);
        }
        for (place, transaction) in (0u32..).zip(&decided.block.data) {
            let mut value = at(height).to_vec();
            value.extend(place.to_be_bytes());
            batch.put(Column::Transactions, &Hash::sha256(&[transaction]).0, &value);
        }
        for mark in decided.block.evidence.iter().map(evidence::mark) {
            batch.put(Column::Evidence, &committed_key(&mark), &at(height));
            batch.delete(Column::Evidence, &pending_key(&mark));
        }
        for note in notes {
            batch.put_note(note);
        }
        for proposed in self.proposals(height) {
            batch.drop_proposal(&proposed);
        }
        batch.put_touched(height, changes, notes);
        batch.put_state(height.value(), &decided.state, changes, update)?;
        Ok(batch.write()?)
    }

    /// Puts another block in a block's place, as no node does.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, block: &Block, seen: &Commit) {
        let mut batch = self.batch();
        batch.put(Column::Blocks, &at(block.header.height), &encode_block(block, seen));
        batch.write().expect("written");
    }

    /// Begins writes that become durable together.
    pub fn batch(&self) -> Batch<'_> {
        Batch { store: self, batch: WriteBatch::default(), pages: Vec::new(), forgetting: false }
    }

    fn landed(&self, pages: &[Arc<Vec<NewPage>>], forgetting: bool) {
        if forgetting {
            self.pages.clear();
        }
        pages.iter().for_each(|pages| self.pages.land(pages));
    }

    fn handle(&self, column: Column) -> &rocksdb::ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is opened")
    }
}

impl History for Store {
    fn header(&self, height: Height) -> Option<Header> {
        self.header(height)
    }

    fn signed_header(&self, height: Height) -> Option<SignedHeader> {
        let block = light::light(self, height)?;
        SignedHeader::new(block.header, block.commit?).ok()
    }

    fn validators(&self, height: Height) -> Option<ValidatorSet> {
        self.validators(height)
    }

    fn is_committed(&self, mark: &Mark) -> bool {
        self.get(Column::Evidence, &committed_key(mark)).is_some()
    }
}

impl View for Store {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(Column::State, key)
    }
}

/// Writes that become durable together.
pub struct Batch<'a> {
    store: &'a Store,
    batch: WriteBatch,
    /// The tree's pages in it: once they are stored, they are kept in memory too.
    pages: Vec<Arc<Vec<NewPage>>>,
    /// Whether it takes back pages that may be in memory.
    forgetting: bool,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("writes", &self.batch.len()).finish()
    }
}

impl Batch<'_> {
    /// Writes a value.
    pub fn put(&mut self, column: Column, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.store.handle(column), key, value);
    }

    /// Deletes a value.
    pub(crate) fn delete(&mut self, column: Column, key: &[u8]) {
        self.batch.delete_cf(self.store.handle(column), key);
    }

    /// Keeps pages of the state tree in memory once the batch is written.
    pub(crate) fn remember(&mut self, pages: &Arc<Vec<NewPage>>) {
        self.pages.push(Arc::clone(pages));
    }

    /// Drops what is in memory of the state tree once the batch is written.
    pub(crate) const fn forget(&mut self) {
        self.forgetting = true;
    }

    pub(crate) fn put_set(&mut self, height: Height, set: &ValidatorSet) {
        let json = serde_json::to_vec(set).expect("a validator set serialises");
        self.put(Column::Sets, &at(height), &json);
    }

    /// Drops a proposal that was kept.
    pub(crate) fn drop_proposal(&mut self, proposed: &Proposed) {
        let mut key = at(proposed.height).to_vec();
        key.extend(proposed.hash);
        key.extend(proposed.round.to_be_bytes());
        self.delete(Column::Proposals, &key);
    }

    fn put_note(&mut self, note: &Note) {
        match note {
            Note::LogNode { level, index, hash } => self.put(Column::LogNodes, &log_key(*level, *index), &hash.0),
            Note::Anchored { index, anchor } => {
                let mut value = index.to_be_bytes().to_vec();
                anchor.encode(&mut value);
                self.put(Column::Anchors, &anchor_key(&anchor.anchor.log, anchor.anchor.sequence), &value);
            }
        }
    }

    fn put_state(&mut self, height: u64, state: &ChainState, changes: &Changes, update: Option<&tree::Update>) -> anyhow::Result<()> {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(Column::State, key, value),
                None => self.delete(Column::State, key),
            }
        }
        let version = match update {
            Some(update) => {
                update.write(self)?;
                self.put(Column::Meta, b"tree", &update.version.to_be_bytes());
                update.version
            }
            None => self.store.tree_version(),
        };
        self.put(Column::Versions, &height.to_be_bytes(), &version.to_be_bytes());
        self.put(Column::Meta, b"chain", &serde_json::to_vec(state)?);
        Ok(())
    }

    /// Notes what a database begins with whose state was not made by executing blocks.
    pub(crate) fn begin_at(&mut self, genesis: Hash, state: &ChainState) -> serde_json::Result<()> {
        self.put(Column::Meta, b"format", &FORMAT.to_be_bytes());
        self.put(Column::Meta, b"genesis", &genesis.0);
        self.put(Column::Meta, b"chain", &serde_json::to_vec(state)?);
        Ok(())
    }

    /// Writes all of it, synced.
    ///
    /// # Errors
    /// When it is not durable.
    pub fn write(self) -> Result<(), rocksdb::Error> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.store.db.write_opt(self.batch, &options)?;
        self.store.landed(&self.pages, self.forgetting);
        Ok(())
    }

    /// Writes all of it or nothing, and leaves it to a later write when it is durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_later(self) -> Result<(), rocksdb::Error> {
        self.store.db.write(self.batch)?;
        self.store.landed(&self.pages, self.forgetting);
        Ok(())
    }

    /// About how many bytes are to be written.
    pub fn size(&self) -> usize {
        self.batch.size_in_bytes()
    }
}

/// A database that cannot be read leaves no way on but to stop.
fn broken(error: &rocksdb::Error) -> ! {
    tracing::error!(%error, "the database cannot be read: stopping. Check the disk; the node's blocks can be fetched again from its peers into a new home");
    std::process::exit(74);
}

fn encode_block(block: &Block, seen: &Commit) -> Vec<u8> {
    let mut bytes = evidence::bytes::block_to_proto(block).encode_length_delimited_to_vec();
    bytes.extend(pb::types::Commit::from(seen.clone()).encode_to_vec());
    bytes
}

/// A row of [`Column::Blocks`].
fn decode_block(mut bytes: &[u8]) -> (Block, Commit) {
    let block = pb::types::Block::decode_length_delimited(&mut bytes).expect("the store holds what it wrote");
    let commit = pb::types::Commit::decode(bytes).expect("the store holds what it wrote");
    let block = Block::try_from(block).expect("the store holds what it wrote");
    (block, commit.try_into().expect("the store holds what it wrote"))
}

pub(crate) fn at(height: Height) -> [u8; 8] {
    height.value().to_be_bytes()
}

/// What the keys of evidence that waits, and of evidence in blocks, begin with.
const PENDING: u8 = b'p';
const COMMITTED: u8 = b'c';

fn pending_key(mark: &Mark) -> Vec<u8> {
    [&[PENDING], mark.to_bytes().as_slice()].concat()
}

pub(crate) fn committed_key(mark: &Mark) -> Vec<u8> {
    [&[COMMITTED], mark.to_bytes().as_slice()].concat()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("the store holds what it wrote"))
}

pub(crate) fn log_key(level: u8, index: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn anchor_key(log: &audit::LogId, sequence: u64) -> Vec<u8> {
    let mut key = log.to_bytes();
    key.extend(sequence.to_be_bytes());
    key
}

/// A proposal as it is stored; its height is in the key.
struct Kept {
    round: u32,
    valid_round: Option<u32>,
    proposer: [u8; 20],
    hash: [u8; 32],
    valid: bool,
    body: Blob<{ 8 << 20 }>,
}
types::codec!(Kept { round, valid_round, proposer, hash, valid, body });

fn encode_proposed(proposed: &Proposed) -> Result<Vec<u8>, HostError> {
    let body = proposed.body.to_vec().try_into().map_err(|error: types::DecodeError| HostError(error.to_string()))?;
    let Proposed { round, valid_round, proposer, hash, valid, .. } = *proposed;
    Ok(types::Encode::to_bytes(&Kept { round, valid_round, proposer, hash, valid, body }))
}

fn decode_proposed(height: Height, bytes: &[u8]) -> Option<Proposed> {
    let Kept { round, valid_round, proposer, hash, valid, body } = Kept::from_bytes(bytes).ok()?;
    Some(Proposed { height, round, valid_round, proposer, hash, valid, body: body.to_vec().into() })
}
