//! Commits a block's changes, 1,000 entries of 100,000 or a million: the tree's update and one
//! synced write, beside a plain, synced RocksDB write of the same entries, whose state nobody could
//! prove.
//!
//! Both databases are under the build's folder, on a disk: in memory a sync would cost nothing.

use std::cell::LazyCell;
use std::ops::Range;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use ledger::Changes;
use node::store::{Column, Store};
use node::tree;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use tempfile::TempDir;
use types::Hash;

/// How many entries a block changes.
const CHANGED: usize = 1_000;
/// How many entries are written at once while the state is filled.
const FILLED: u64 = 10_000;

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
struct Proven {
    store: Store,
    version: u64,
}

impl Proven {
    fn open(path: &Path) -> Self {
        Self { store: Store::open(path, Hash::ZERO).expect("a new database"), version: 0 }
    }

    fn commit(&mut self, changes: &Changes) -> Hash {
        let update = tree::update(&self.store, self.version, changes).expect("the stored tree is whole");
        let mut batch = self.store.batch();
        for (key, value) in changes {
            batch.put(Column::State, key, value.as_deref().unwrap_or_default());
        }
        update.write(&mut batch).expect("nodes encode");
        batch.write().expect("a durable write");
        self.version += 1;
        update.root
    }
}

/// The same entries and nothing else.
struct Plain(DB);

impl Plain {
    fn open(path: &Path) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        Self(DB::open(&options, path).expect("a new database"))
    }

    fn commit(&self, changes: &Changes) {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            batch.put(key, value.as_deref().unwrap_or_default());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.0.write_opt(batch, &options).expect("a durable write");
    }
}

fn state_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state commit");
    group.sample_size(10);
    group.throughput(Throughput::Elements(CHANGED as u64));
    for count in [100_000, 1_000_000] {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let parts = || (0..count / FILLED).map(|part| part * FILLED..(part + 1) * FILLED);
        let first = |part: Range<u64>| part.map(|number| (key(number), Some(value(number, 0)))).collect();
        // Filled when first used: a bench that was not asked for costs nothing.
        let mut proven = LazyCell::new(|| {
            let mut proven = Proven::open(&folder.path().join("proven"));
            parts().for_each(|part| {
                proven.commit(&first(part));
            });
            proven
        });
        let plain = LazyCell::new(|| {
            let plain = Plain::open(&folder.path().join("plain"));
            parts().for_each(|part| plain.commit(&first(part)));
            plain
        });
        let (mut one, mut other) = (0, 0);
        let next = |version: &mut u64| {
            *version += 1;
            changes(count, *version)
        };
        group.bench_function(BenchmarkId::new("ours, tree and synced write", count), |bench| {
            LazyCell::force(&proven);
            bench.iter_batched(|| next(&mut one), |changes| proven.commit(&changes), BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("RocksDB, synced write", count), |bench| {
            LazyCell::force(&plain);
            bench.iter_batched(|| next(&mut other), |changes| plain.commit(&changes), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    state_commit(&mut criterion);
    criterion.final_summary();
}
