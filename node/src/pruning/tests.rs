use std::sync::Arc;

use consensus::Host as _;
use consensus::evidence::History as _;
use tempfile::TempDir;
use tendermint::abci::request;

use super::*;
use crate::app::App;
use crate::snapshot::Shelf;
use crate::snapshot::restore::restore;
use crate::snapshot::tests::{basis, shelve};
use crate::testing::{eventful, follow, genesis};

fn height(height: u64) -> Height {
    Height::try_from(height).expect("a height")
}

/// Prunes until there is nothing more to do.
fn prune(app: &App, keep: u64) -> usize {
    let mut steps = 0;
    while step(app.store(), &app.chain(), keep).expect("written") {
        steps += 1;
    }
    steps
}

#[test]
fn old_blocks_go_and_what_must_outlive_them_stays() {
    let bench = eventful(60);
    let (app, store) = (&bench.app, bench.app.store());
    let transaction = |at: u64| Hash::sha256(&[&store.block(height(at)).expect("a block").0.data[0]]);
    let (early, headers): (Hash, Vec<_>) = (transaction(1), (1..=60).map(|at| store.header(height(at))).collect());
    let commits: Vec<_> = (1..60).map(|at| store.signed_header(height(at))).collect();
    let sets: Vec<_> = (1..=62).map(|at| store.validators(height(at)).map(|set| set.hash())).collect();
    let (first, handoffs) = (store.block(height(1)).expect("a block").0, store.handoffs(0, 10));
    assert!(store.transaction(&early).is_some() && handoffs.len() == 2);
    let evidence = bench.two_votes(2, height(3));

    assert!(prune(app, 20) >= 2, "in bounded steps");
    assert_eq!(app.earliest().value(), 41);
    assert!((1..41).all(|at| store.block(height(at)).is_none() && store.outcome(height(at)).is_none()));
    assert!((41..=60).all(|at| store.block(height(at)).is_some() && store.outcome(height(at)).is_some()));
    assert!(store.transaction(&early).is_none() && store.height_of(first.header.hash().as_bytes()).is_none());
    // Light clients walk hand-offs from the genesis, and evidence is held against every height of three weeks.
    assert_eq!((1..=60).map(|at| store.header(height(at))).collect::<Vec<_>>(), headers);
    assert_eq!((1..60).map(|at| store.signed_header(height(at))).collect::<Vec<_>>(), commits);
    assert_eq!((1..=62).map(|at| store.validators(height(at)).map(|set| set.hash())).collect::<Vec<_>>(), sets);
    assert_eq!(store.handoffs(0, 10), handoffs);
    assert!(store.validators(height(63)).is_none(), "nobody knows yet");
    bench.app.take_evidence(evidence).expect("it counts, although its block is gone");
    // The state of pruned heights is gone; that before the first kept block is what its header proves.
    assert!(store.tree_version_at(39).is_none() && store.tree_version_at(40).is_some());
    let query = |at: u64| {
        let request = request::Query { path: rpc::query::STATE.to_owned(), data: "params".into(), height: height(at), prove: true };
        crate::query::answer(app, &request).code.value()
    };
    assert_eq!((query(39), query(40)), (rpc::query::Refusal::PrunedHeight.code(), 0));

    assert_eq!(prune(app, 20), 0, "done is done");
    assert!(prune(app, 1) > 0);
    assert_eq!(app.earliest().value(), 51, "never fewer than the last {MIN_KEPT}");
    bench.make(2);
    assert!(prune(app, 0) > 0);
    assert_eq!(app.earliest().value(), 53);
}

#[test]
fn a_pruned_node_makes_the_same_snapshot_and_a_synced_one_prunes() {
    let (whole, pruned) = (eventful(40), eventful(40));
    prune(&pruned.app, 10);
    let folder = TempDir::new().expect("a folder");
    let shelf = |name: &str| Shelf::open(folder.path().join(name), 2).expect("a shelf");
    let manifest = shelve(&whole, &shelf("whole"));
    assert_eq!(shelve(&pruned, &shelf("pruned")), manifest);

    whole.make(25);
    let (place, shelf) = (folder.path().join("db"), shelf("pruned"));
    let chunk = |number: usize| Ok(shelf.chunk(40, number).expect("a chunk"));
    restore(&manifest, chunk, &basis(&whole.app, 40), &genesis(), &place).expect("it holds");
    let app = App::open(Store::open(&place, genesis().hash()).expect("a database"), Arc::new(genesis())).expect("a chain");
    assert_eq!(prune(&app, 10), 0, "nothing is here yet");
    (41..=65).for_each(|at| follow(&app, &whole.app, height(at)));
    assert_eq!(app.earliest().value(), 41);
    assert!(prune(&app, 10) > 0);
    assert_eq!(app.earliest().value(), 56);
    assert_eq!((1..=65).filter(|at| app.store().header(height(*at)) == whole.app.store().header(height(*at))).count(), 65);
    assert_eq!(app.chain(), whole.app.chain());
}

#[test]
fn headers_go_when_evidence_has_expired() {
    let bench = eventful(30);
    prune(&bench.app, 10);
    let store = bench.app.store();
    // As if three weeks and their blocks had passed since the tenth block.
    let mut later = bench.app.chain();
    let tenth = store.header(height(10)).expect("a header").time;
    later.params.evidence.max_age_num_blocks = 20 - 1;
    later.last_time = tenth
        .checked_add(later.params.evidence.max_age_duration.0)
        .and_then(|time| time.checked_add(std::time::Duration::from_nanos(1)))
        .expect("a time");
    while step(store, &later, 10).expect("written") {}
    let handoffs = store.handoffs(0, 10);
    let kept: Vec<u64> = (1..=30).filter(|at| store.header(height(*at)).is_some()).collect();
    let expected: Vec<u64> = (1..=30).filter(|at| *at >= 10 || handoffs.contains(at)).collect();
    assert_eq!(kept, expected, "from the last that has expired on, and hand-offs");
}
