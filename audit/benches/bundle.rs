//! Verifies a bundle of one item as an auditor does: a batch of 2^16, a log of 2^20 anchors, a state
//! of 10^6 entries, four validators; and the same after four changes of validators. The bound is
//! 1 ms without a change.

use std::hint::black_box;

use audit::bundle::{self, Bundle, Item};
use audit::log::{HEAD_KEY, Head};
use audit::{Batch, Body, LogId, SignedAnchor, testing};
use criterion::Criterion;
use light::testing::{Chain, State, key, validators};
use light::{Options, Sealed, StateProof};
use types::{Address, Encode, Hash};

fn hash(label: &[u8], number: u64) -> Hash {
    Hash::sha256(&[label, &number.to_be_bytes()])
}

fn item() -> (Batch, Item) {
    let body = Body::File { content: hash(b"file", 1), size: 1000, name: None };
    testing::stamped(body, (1..1 << 16).map(|number| hash(b"leaf", number)))
}

fn anchor(chain: &Chain, batch: &Batch) -> SignedAnchor {
    let log = LogId::derive(chain.id(), &Address([1; 20]), 1);
    SignedAnchor::sign(testing::anchor(chain.id(), log, batch), &key(200))
}

fn state(head: &Head) -> (Hash, StateProof) {
    let mut state = State::default();
    state.insert(HEAD_KEY.as_bytes(), &head.to_bytes());
    (0..1_000_000u64).for_each(|number| state.insert(&number.to_be_bytes(), b"another entry"));
    (state.root(), state.prove(HEAD_KEY.as_bytes()))
}

fn bench(criterion: &mut Criterion) {
    let chain = Chain::new("zynk-bench-1");
    let (batch, item) = item();
    let anchor = anchor(&chain, &batch);
    let (head, log) = testing::log(&anchor, 700_000, 1 << 20);
    let (root, head) = state(&head);
    let sets = [[1, 2, 3, 4], [5, 2, 3, 4], [5, 6, 3, 4], [5, 6, 7, 4], [5, 6, 7, 8]].map(|seeds| validators(&seeds));
    let mut group = criterion.benchmark_group("verify a bundle");
    for changes in [0, 4] {
        let last = &sets[changes];
        let handoffs: Vec<_> = sets.windows(2).take(changes).zip(10..).map(|(pair, at)| chain.handoff(at, &pair[0], &pair[1])).collect();
        let bundle = Bundle {
            version: bundle::VERSION,
            chain: chain.id().clone(),
            items: vec![item.clone()].try_into().expect("one item"),
            anchor: anchor.clone(),
            log: log.clone(),
            head: head.clone(),
            sealed: Sealed::of(&chain.block(50, root, last, last)).expect("it seals"),
            handoffs: handoffs.try_into().expect("few hand-offs"),
        };
        let (trust, now, options) = (chain.genesis(&sets[0]), chain.time(60), Options::default());
        let bytes = bundle.to_bytes();
        let name = format!("{changes} changes of validators, {} bytes, {} as JSON", bytes.len(), bundle.to_json().len());
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let bundle = Bundle::from_bytes(black_box(&bytes)).expect("it decodes");
                bundle::verify(&bundle, &trust, now, &options).expect("it is whole")
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
