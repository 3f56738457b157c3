//! Verifies a bundle of one item as an auditor does: a batch of 2^16, a log of 2^20 anchors, a state
//! of 10^6 entries, four validators; and the same after four changes of validators. The bound is
//! 1 ms without a change.

use std::collections::HashMap;
use std::hint::black_box;

use audit::anchor::{self, Anchor};
use audit::bundle::{self, Bundle, Item, LogProof};
use audit::log::{Frontier, HEAD_KEY, Head, entry_hash, inclusion};
use audit::{Batch, Body, CommitmentPart, EnvelopePart, LeafOpening, LogId, Opening, SignedAnchor};
use criterion::Criterion;
use light::testing::{Chain, State, key, validators};
use light::{Options, Sealed, StateProof};
use types::{Address, Encode, Hash, Millis};

fn hash(label: &[u8], number: u64) -> Hash {
    Hash::sha256(&[label, &number.to_be_bytes()])
}

fn item() -> (Item, Batch) {
    let body = Body::File { content: hash(b"file", 1), size: 1000, name: None };
    let opening = Opening { salt: [5; 32], body };
    let opening = LeafOpening { commitment: CommitmentPart::Opened(opening), envelope: EnvelopePart::Hidden(hash(b"envelope", 1)) };
    let mut leaves: Vec<_> = (1..1 << 16).map(|number| hash(b"leaf", number)).collect();
    leaves.push(opening.leaf());
    let batch = Batch::seal(leaves, || unreachable!("a power of two needs no padding")).expect("the leaves differ");
    let index = batch.index_of(&opening.leaf()).expect("it is in the batch");
    let path = batch.path(index).expect("so it has a path").try_into().expect("a short path");
    (Item { opening, index, path }, batch)
}

fn anchor(chain: &Chain, batch: &Batch) -> SignedAnchor {
    let log = LogId::derive(chain.id(), &Address([1; 20]), 1);
    let anchor = Anchor {
        version: anchor::VERSION,
        chain: chain.id().clone(),
        log,
        sequence: 1,
        previous: Hash::ZERO,
        root: batch.root(),
        count: batch.count(),
        opened: Millis(1),
        closed: Millis(2),
    };
    SignedAnchor::sign(anchor, &key(200))
}

fn log(anchor: &SignedAnchor) -> (Head, LogProof) {
    let (size, index) = (1 << 20, 700_000);
    let (mut frontier, mut nodes) = (Frontier::default(), HashMap::new());
    for number in 0..size {
        let entry = if number == index { entry_hash(&anchor.to_bytes()) } else { hash(b"anchor", number) };
        frontier.append(entry, |level, index, node| {
            nodes.insert((level, index), node);
        });
    }
    let path = inclusion(index, size, |level, index| nodes.get(&(level, index)).copied()).expect("every node is known");
    (frontier.head(), LogProof { index, path: path.try_into().expect("a short path") })
}

fn state(head: &Head) -> (Hash, StateProof) {
    let mut state = State::default();
    state.insert(HEAD_KEY.as_bytes(), &head.to_bytes());
    (0..1_000_000u64).for_each(|number| state.insert(&number.to_be_bytes(), b"another entry"));
    (state.root(), state.prove(HEAD_KEY.as_bytes()))
}

fn bench(criterion: &mut Criterion) {
    let chain = Chain::new("zynk-bench-1");
    let (item, batch) = item();
    let anchor = anchor(&chain, &batch);
    let (head, log) = log(&anchor);
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
