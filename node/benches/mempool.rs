//! Transfers come into the mempool, 10,000 of them, and a block with 500 of 10,000 that wait is over:
//! of as many authors, and of ten who have 1,000 each.
//!
//! Signatures were checked before, and the state is a map in memory: what is measured is the mempool and
//! what it asks of the ledger.

use std::collections::BTreeMap;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use ledger::account::{self, Account};
use ledger::block::{self, Block};
use ledger::state::key;
use ledger::{Body, Changes, Params, Payer, State, Transaction, Verified};
use node::mempool::{Bounds, Mempool};
use types::{Address, Amount, ChainId, Encode as _, Height, Millis, SigningKey, Text};

/// How many transactions there are.
const WAITING: u64 = 10_000;
/// How many of them are in a block.
const INCLUDED: usize = 500;

/// A chain's state, and transactions that can be charged.
struct World {
    chain: ChainId,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    transactions: Vec<(Bytes, Verified)>,
}

impl World {
    fn new(authors: u64) -> Self {
        let chain: ChainId = "zynk-bench-1".parse().expect("a chain id");
        let mut world = Self { chain, state: BTreeMap::new(), transactions: Vec::new() };
        let mut state = State::new(&world.state);
        state.write(key::PARAMS.to_vec(), &Params::default());
        let keys: Vec<SigningKey> = (0..authors).map(signing_key).collect();
        for key in &keys {
            let account = Account { balance: Amount(1_000 * Amount::ZYNK.0), sequence: 0 };
            account::write(&mut state, &key.public().address(), &account);
        }
        state.settle();
        let changes = state.finish().0;
        apply(&mut world.state, &changes);
        let of_each = WAITING / authors;
        world.transactions = (0..of_each)
            .flat_map(|sequence| keys.iter().map(move |key| (key, sequence)))
            .map(|(key, sequence)| world.transfer(key, sequence))
            .collect();
        world
    }

    /// A transfer; what it pays differs from one to the next.
    fn transfer(&self, key: &SigningKey, sequence: u64) -> (Bytes, Verified) {
        let Address([more, ..]) = key.public().address();
        let memo = Text::try_from(String::new()).expect("a short text");
        let transaction = Transaction {
            chain: self.chain.clone(),
            author: key.public(),
            sequence,
            valid_until: Height(1_000),
            fee: Amount(10_000 + u64::from(more) + sequence % 7),
            payer: Payer::Author,
            body: Body::Transfer { to: signing_key(u64::MAX).public().address(), amount: Amount(1), memo },
        };
        let bytes = transaction.sign(key, None).to_bytes();
        let verified = block::verify(&bytes).expect("a transaction that is signed");
        (bytes.into(), verified)
    }

    const fn next(&self, height: u64) -> Block<'_> {
        Block::new(&self.chain, Height(height), Millis(0))
    }

    fn filled(&self) -> Mempool {
        let mut mempool = Mempool::new(Bounds::default());
        for (bytes, verified) in &self.transactions {
            mempool.take(&self.state, self.next(1), bytes.clone().into(), verified.clone()).expect("it can be charged");
        }
        mempool
    }

    /// What a block with the best of the waiting changes, and the state after it.
    fn block_of(&self, mempool: &Mempool) -> (Changes, BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut state = State::new(&self.state);
        let params = block::params(&state);
        for bytes in mempool.best(usize::MAX).iter().take(INCLUDED) {
            let verified = mempool.verified(&types::Hash::sha256(&[bytes])).expect("it waits");
            block::apply(&mut state, &params, self.next(1), verified).expect("it can be charged");
        }
        let changes = state.finish().0;
        let mut after = self.state.clone();
        apply(&mut after, &changes);
        (changes, after)
    }
}

fn signing_key(number: u64) -> SigningKey {
    SigningKey::from_seed(&types::Hash::sha256(&[&number.to_be_bytes()]).0)
}

fn apply(state: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: &Changes) {
    for (key, value) in changes {
        state.insert(key.clone(), value.clone().unwrap_or_default());
    }
}

fn mempool(criterion: &mut Criterion) {
    for authors in [10, WAITING] {
        let world = World::new(authors);
        let mut group = criterion.benchmark_group("mempool");
        group.sample_size(10);
        group.throughput(Throughput::Elements(WAITING));
        group.bench_function(BenchmarkId::new("10,000 arrivals, authors", authors), |bench| bench.iter(|| world.filled()));
        group.bench_function(BenchmarkId::new("after a block of 500, authors", authors), |bench| {
            let full = world.filled();
            let (changes, state) = world.block_of(&full);
            let after = |mut mempool: Mempool| {
                mempool.after_block(&state, world.next(2), &changes);
                assert_eq!(mempool.len() + INCLUDED, world.transactions.len());
                mempool
            };
            bench.iter_batched(|| full.clone(), after, BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("the best 500, authors", authors), |bench| {
            let full = world.filled();
            let room = full.best(usize::MAX).iter().take(INCLUDED).map(|bytes| bytes.len() + 8).sum();
            bench.iter(|| full.best(room));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    mempool(&mut criterion);
    criterion.final_summary();
}
