//! What the database holds, under which keys, and with how much memory.

use mailbox::Address;
use mailbox::frame::{AcceptedItem, SeenEnvelope};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, Options};
use types::{Hash, List, Millis};
use uuid::Uuid;

use super::super::store::{Error, LogState};

/// What is kept in memory of what was read, for all columns together.
const CACHE_BYTES: usize = 32 << 20;

/// What is kept in memory of what was written, for all columns together.
const WRITE_BUFFERS_BYTES: usize = 64 << 20;

/// What is kept in memory of what was written, for one column.
const WRITE_BUFFER_BYTES: usize = 16 << 20;

/// Above so many bytes of log, columns that are rarely written are flushed to free it.
const MAX_WAL_BYTES: u64 = 256 << 20;

/// The columns. Numbers in keys and values are 8 bytes, most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Address, number → a stored message.
    Mailbox,
    /// Address → the mailbox's queue.
    Heads,
    /// Sender's address, message id → [`Known`].
    Ids,
    /// Time of storing, sender's address, message id → nothing: the order in which messages are let go.
    Ages,
    /// Number → a leaf that is in no batch.
    Leaves,
    /// Leaf → its number.
    LeafIndex,
    /// A batch's number → the sealed batch.
    Batches,
    /// A batch's number → all its leaves, 32 bytes each.
    BatchLeaves,
    /// Number of a batch's first leaf → the batch's number.
    Ranges,
    /// `format`, `leaves` (how many there were), `before` (how many batches stand under former logs), `log` ([`Log`]),
    /// `swept` (the last key of the ages that was let go), `forgotten` (the number of the last batch that was let go).
    Meta,
}

impl Column {
    pub(super) const ALL: [Self; 10] = [
        Self::Mailbox,
        Self::Heads,
        Self::Ids,
        Self::Ages,
        Self::Leaves,
        Self::LeafIndex,
        Self::Batches,
        Self::BatchLeaves,
        Self::Ranges,
        Self::Meta,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Heads => "heads",
            Self::Ids => "dedup",
            Self::Ages => "ages",
            Self::Leaves => "leaves",
            Self::LeafIndex => "leaf_index",
            Self::Batches => "batches",
            Self::BatchLeaves => "batch_leaves",
            Self::Ranges => "ranges",
            Self::Meta => "meta",
        }
    }
}

/// How the database is opened. Ciphertext and hashes do not compress, so nothing is compressed.
pub(super) fn options() -> (Options, Vec<ColumnFamilyDescriptor>) {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    // Old files are deleted in the background, not by the one who commits.
    options.set_avoid_unnecessary_blocking_io(true);
    // Only whether the log was synced is counted, which tests ask for.
    #[cfg(test)]
    options.enable_statistics();
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let column = |kind: Column| {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // Most ids and leaves that are looked up are not there.
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        ColumnFamilyDescriptor::new(kind.name(), options)
    };
    (options, Column::ALL.map(column).into())
}

/// What is remembered of a message by its id.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Which message it was.
    pub(super) fingerprint: Hash,
    /// What its sender was told.
    pub(super) seen: Option<Seen>,
    /// Where its copies went.
    pub(super) copies: List<Copy, { mailbox::frame::MAX_CONTENTS }>,
}
types::codec!(Known { fingerprint, seen, copies });

/// One copy of a message.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) to: Address,
    pub(super) sequence: u64,
}
types::codec!(Copy { to, sequence });

/// [`SeenEnvelope`] as bytes.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    ciphertext: Hash,
    received: Millis,
    size_class: audit::SizeClass,
    salt: Hash,
}
types::codec!(Seen { ciphertext, received, size_class, salt });

impl From<&SeenEnvelope> for Seen {
    fn from(envelope: &SeenEnvelope) -> Self {
        let SeenEnvelope { ciphertext, received, size_class, salt } = *envelope;
        Self { ciphertext, received, size_class, salt }
    }
}

impl Known {
    /// What the sender was told, again.
    pub(super) fn answer(&self, message_id: Uuid) -> AcceptedItem {
        let envelope = self.seen.as_ref().map(|seen| {
            let Seen { ciphertext, received, size_class, salt } = *seen;
            SeenEnvelope { ciphertext, received, size_class, salt }
        });
        AcceptedItem { message_id, envelope }
    }
}

/// [`LogState`] as bytes; how many leaves there are is written more often, how many batches are under former logs
/// hardly ever: they stand alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    sealed: u64,
    anchored: u64,
    last: Hash,
    closed: Millis,
    sealed_leaves: u64,
}
types::codec!(Log { sealed, anchored, last, closed, sealed_leaves });

impl From<&LogState> for Log {
    fn from(state: &LogState) -> Self {
        let LogState { before: _, sealed, anchored, last, closed, sealed_leaves, leaves: _ } = *state;
        Self { sealed, anchored, last, closed, sealed_leaves }
    }
}

impl From<Log> for LogState {
    fn from(log: Log) -> Self {
        let Log { sealed, anchored, last, closed, sealed_leaves } = log;
        Self { sealed, anchored, last, closed, sealed_leaves, ..Self::default() }
    }
}

pub(super) fn address_key(of: &Address) -> [u8; 34] {
    let mut key = [0; 34];
    key[..32].copy_from_slice(&of.did.0);
    key[32..].copy_from_slice(&of.device.to_be_bytes());
    key
}

pub(super) fn delivery_key(of: &Address, sequence: u64) -> [u8; 42] {
    let mut key = [0; 42];
    key[..34].copy_from_slice(&address_key(of));
    key[34..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The number in a key of [`Column::Mailbox`].
pub(super) fn sequence_of(key: &[u8]) -> Result<u64, Error> {
    number(key.get(34..).unwrap_or_default())
}

pub(super) fn id_key(from: &Address, message_id: &Uuid) -> [u8; 50] {
    let mut key = [0; 50];
    key[..34].copy_from_slice(&address_key(from));
    key[34..].copy_from_slice(message_id.as_bytes());
    key
}

pub(super) fn age_key(received: Millis, id: &[u8; 50]) -> [u8; 58] {
    let mut key = [0; 58];
    key[..8].copy_from_slice(&received.0.to_be_bytes());
    key[8..].copy_from_slice(id);
    key
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, Error> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| Error::Corrupt { what: "a number" })?))
}
