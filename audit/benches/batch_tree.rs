//! Builds the tree of a batch, ours beside `rs_merkle`'s, over the same leaves to the same root.
//!
//! `rebuild` works in the memory of the tree before; `build` takes the leaves over and pays for
//! new memory above them, as `rs_merkle` pays for all of its own.

use std::hint::black_box;

use audit::domains::NODE;
use audit::tree::Tree;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use rs_merkle::{Hasher, MerkleTree};
use types::Hash;

#[derive(Clone)]
struct Keyed;

impl Hasher for Keyed {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> Self::Hash {
        NODE.hash(&[data]).0
    }

    fn concat_and_hash(left: &Self::Hash, right: Option<&Self::Hash>) -> Self::Hash {
        right.map_or(*left, |right| NODE.pair(&Hash(*left), &Hash(*right)).0)
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| Hash(*blake3::hash(&number.to_le_bytes()).as_bytes())).collect()
}

fn batch_tree(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch tree");
    group.sample_size(10);
    for power in [16, 20] {
        let leaves = leaves(1 << power);
        let plain: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
        let mut tree = Tree::build(leaves.clone());
        assert_eq!(Some(tree.root().0), MerkleTree::<Keyed>::from_leaves(&plain).root(), "both must build the same tree");

        group.throughput(Throughput::Elements(1 << power));
        group.bench_with_input(BenchmarkId::new("ours, rebuild", power), &leaves, |bench, leaves| {
            bench.iter(|| {
                tree.rebuild(black_box(leaves));
                tree.root()
            });
        });
        group.bench_with_input(BenchmarkId::new("ours, build", power), &leaves, |bench, leaves| {
            bench.iter_batched(|| leaves.clone(), |leaves| Tree::build(leaves).root(), BatchSize::PerIteration);
        });
        group.bench_with_input(BenchmarkId::new("rs_merkle", power), &plain, |bench, plain| {
            bench.iter(|| MerkleTree::<Keyed>::from_leaves(black_box(plain)).root());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    batch_tree(&mut criterion);
    criterion.final_summary();
}
