//! Commits a block's changes, 1,000 entries of ten thousand to a million: what a node does between a block's outcome and
//! having it on disk. Beside it, in the same rounds and on the same disk: the published tree (`jmt`) laid into RocksDB as
//! plainly as it comes, a plain RocksDB write of the same entries, whose state nobody could prove, and an append and
//! fdatasync of as many bytes as the commit writes, and of 4 KiB.
//!
//! `STATE_COMMIT_COUNTS=10000,1000000` and `STATE_COMMIT_ROUNDS=200` choose. The databases are under the build's folder, on
//! a disk: in memory a sync would cost nothing.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt};
use ledger::Changes;
use node::store::{Column, Store};
use node::tree;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use sha2::Sha256;
use tempfile::TempDir;
use types::Hash;

/// How many entries a block changes.
const CHANGED: usize = 1_000;
/// How many entries are written at once while a state is filled.
const FILLED: u64 = 10_000;
/// Rounds before those that count.
const WARM: u64 = 20;

/// A key as long as an account's.
fn key(number: u64) -> Vec<u8> {
    format!("account/zynk1{number:038}").into_bytes()
}

/// A value as long as an account's.
fn value(number: u64, version: u64) -> Vec<u8> {
    [number.to_be_bytes(), version.to_be_bytes(), [0; 8]].concat()
}

/// 1,000 entries out of `count`, others in each version.
fn changes(count: u64, version: u64) -> Changes {
    let mut changes = Changes::new();
    for draw in 0u64.. {
        let hash = Hash::sha256(&[&version.to_be_bytes(), &draw.to_be_bytes()]).0;
        let number = hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % count;
        changes.insert(key(number), Some(value(number, version)));
        if changes.len() == CHANGED {
            break;
        }
    }
    changes
}

/// The authenticated state, as a node commits it.
struct Ours {
    store: Store,
    /// Working out the update, and putting it into a batch and that on the disk.
    parts: [Vec<Duration>; 2],
}

impl Ours {
    fn build(path: &Path, count: u64) -> (Self, Hash) {
        let store = Store::open(path, Hash::ZERO).expect("a new database");
        let root = tree::build(&store, 0, (0..count).map(|number| (key(number), value(number, 0)))).expect("a tree");
        for part in 0..count.div_ceil(FILLED) {
            let mut batch = store.batch();
            for number in part * FILLED..count.min((part + 1) * FILLED) {
                batch.put(Column::State, &key(number), &value(number, 0));
            }
            batch.write().expect("a durable write");
        }
        (Self { store, parts: Default::default() }, root)
    }

    fn commit(&mut self, version: u64, changes: &Changes) -> (Hash, u64) {
        let begun = Instant::now();
        let update = tree::update(&self.store, version, changes).expect("the stored tree is whole");
        self.parts[0].push(begun.elapsed());
        let mut batch = self.store.batch();
        for (key, value) in changes {
            batch.put(Column::State, key, value.as_deref().unwrap_or_default());
        }
        update.write(&mut batch).expect("pages encode");
        let bytes = batch.size() as u64;
        batch.write().expect("a durable write");
        self.parts[1].push(begun.elapsed() - self.parts[0].last().copied().unwrap_or_default());
        (update.root, bytes)
    }
}

/// The published tree over the same database, as this node had it first.
struct Published(DB);

const COLUMNS: [&str; 4] = ["state", "nodes", "values", "preimages"];

impl Published {
    fn fill(path: &Path, count: u64) -> (Self, u64) {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let mut published = Self(DB::open_cf(&options, path, COLUMNS).expect("a new database"));
        let mut version = 0;
        for part in 0..count.div_ceil(FILLED) {
            let numbers = part * FILLED..count.min((part + 1) * FILLED);
            published.commit(version, &numbers.map(|number| (key(number), Some(value(number, 0)))).collect());
            version += 1;
        }
        (published, version)
    }

    fn column(&self, name: &str) -> &ColumnFamily {
        self.0.cf_handle(name).expect("every column is opened")
    }

    fn commit(&mut self, version: u64, changes: &Changes) -> Hash {
        let values = changes.iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value.clone()));
        let (root, update) = Sha256Jmt::new(&*self).put_value_set(values, version).expect("the tree takes changes");
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            batch.put_cf(self.column("state"), key, value.as_deref().unwrap_or_default());
            batch.put_cf(self.column("preimages"), KeyHash::with::<Sha256>(key).0, key);
        }
        for (at, node) in update.node_batch.nodes() {
            batch.put_cf(self.column("nodes"), node_key(at), borsh::to_vec(node).expect("a node encodes"));
        }
        for ((version, hash), value) in update.node_batch.values() {
            batch.put_cf(self.column("values"), value_key(*hash, *version), borsh::to_vec(value).expect("a value encodes"));
        }
        write(&self.0, batch);
        Hash(root.0)
    }
}

fn node_key(at: &NodeKey) -> Vec<u8> {
    let mut key = at.version().to_be_bytes().to_vec();
    borsh::BorshSerialize::serialize(at.nibble_path(), &mut key).expect("a path encodes");
    key
}

fn value_key(hash: KeyHash, version: u64) -> Vec<u8> {
    [hash.0.as_slice(), &version.to_be_bytes()].concat()
}

impl TreeReader for Published {
    fn get_node_option(&self, at: &NodeKey) -> anyhow::Result<Option<Node>> {
        let stored = self.0.get_cf(self.column("nodes"), node_key(at))?;
        stored.map(|bytes| Ok(borsh::from_slice(&bytes)?)).transpose()
    }

    fn get_value_option(&self, max_version: u64, hash: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        let newest = value_key(hash, max_version);
        let mut found = self.0.iterator_cf(self.column("values"), IteratorMode::From(&newest, Direction::Reverse));
        match found.next().transpose()? {
            Some((key, value)) if key.starts_with(&hash.0) => Ok(borsh::from_slice(&value)?),
            _ => Ok(None),
        }
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("the tree is not being restored")
    }
}

/// The same entries and nothing else.
struct Plain(DB);

impl Plain {
    fn fill(path: &Path, count: u64) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let plain = Self(DB::open(&options, path).expect("a new database"));
        for part in 0..count.div_ceil(FILLED) {
            let numbers = part * FILLED..count.min((part + 1) * FILLED);
            plain.commit(&numbers.map(|number| (key(number), Some(value(number, 0)))).collect());
        }
        plain
    }

    fn commit(&self, changes: &Changes) {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            batch.put(key, value.as_deref().unwrap_or_default());
        }
        write(&self.0, batch);
    }
}

fn write(db: &DB, batch: WriteBatch) {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).expect("a durable write");
}

fn append(file: &mut File, bytes: u64) {
    file.write_all(&vec![0x5a; usize::try_from(bytes).expect("some MiB")]).expect("an append");
    file.sync_data().expect("a sync");
}

fn timed<T>(times: &mut Vec<Duration>, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    times.push(begun.elapsed());
    done
}

fn show(name: &str, times: &mut [Duration], ours: Option<Duration>) -> Duration {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let ratio = ours.map(|ours| format!("{:9.2}x", ms(at(50)) / ms(ours))).unwrap_or_default();
    println!("  {name:<44} p50 {:8.2} ms   p99 {:8.2} ms {ratio}", ms(at(50)), ms(at(99)));
    at(50)
}

fn disk(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("a folder");
    files.map(|file| file.expect("a file").metadata().expect("its size").len()).sum()
}

fn measure(count: u64, rounds: u64) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let begun = Instant::now();
    let (mut ours, root) = Ours::build(&at("ours"), count);
    let built = begun.elapsed();
    let (mut published, first) = Published::fill(&at("published"), count);
    let plain = Plain::fill(&at("plain"), count);
    let mut file = File::create(at("appended")).expect("a file");
    println!("{count} entries, built in {:.1} s, root {root}; {rounds} commits of {CHANGED} changes", built.as_secs_f64());
    let [mut whole, mut theirs, mut written, mut synced, mut small]: [Vec<Duration>; 5] = Default::default();
    let mut bytes = 0;
    let before = disk(&at("ours"));
    for round in 1..=WARM + rounds {
        if round == WARM + 1 {
            for times in [&mut whole, &mut theirs, &mut written, &mut synced, &mut small] {
                times.clear();
            }
            ours.parts = Default::default();
        }
        let changes = changes(count, round);
        let (root, size) = timed(&mut whole, || ours.commit(round, &changes));
        let other = timed(&mut theirs, || published.commit(first + round - 1, &changes));
        assert_eq!(root, other, "both trees have the same root");
        timed(&mut written, || plain.commit(&changes));
        timed(&mut synced, || append(&mut file, size));
        timed(&mut small, || append(&mut file, 4096));
        bytes = size;
    }
    println!("  the machine's load at the end: {} (1 is this bench alone)", load());
    let p50 = show("ours: tree and synced write", &mut whole, None);
    let [update, write] = &mut ours.parts;
    show("  of it the tree's update", update, None);
    show("  of it the batch and the synced write", write, None);
    show("jmt 0.12 over RocksDB", &mut theirs, Some(p50));
    show("RocksDB alone, the entries, nothing proven", &mut written, Some(p50));
    show(&format!("append of {} KiB and fdatasync", bytes >> 10), &mut synced, Some(p50));
    show("append of 4 KiB and fdatasync", &mut small, Some(p50));
    let grown = disk(&at("ours")).saturating_sub(before);
    println!("  a commit's batch: {} KiB, {} bytes an update; {grown} bytes more on disk now", bytes >> 10, bytes / CHANGED as u64);
}

/// Of other work on the machine no bench can know what it costs; it can say that there was some.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |line| line.split(' ').take(1).collect())
}

fn main() {
    let set = |name| std::env::var(name).ok();
    let counts = set("STATE_COMMIT_COUNTS").unwrap_or_else(|| "10000,100000,1000000".to_owned());
    let rounds = set("STATE_COMMIT_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    // `cargo test --benches` wants to know that it runs, not how fast.
    let testing = !std::env::args().any(|argument| argument == "--bench");
    if testing {
        return measure(2_000, 5);
    }
    counts.split(',').filter_map(|count| count.trim().parse().ok()).for_each(|count| measure(count, rounds));
}
