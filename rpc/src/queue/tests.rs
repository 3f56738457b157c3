//! The rules as a table, every store by one suite, and whole runs with lost answers and crashes.

mod chain;
mod memory;
mod suite;

use std::sync::Arc;
use std::time::Duration;

use ledger::Body;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use types::{Amount, Hash, Height, SigningKey};

use self::chain::{Faults, TestChain};
use self::memory::Memory;
use super::job::{Stand, Step, is_final, next};
use super::{Added, Attempt, Lane, Outcome, Pace, Queue, Sqlite, Store};
use crate::FeePayer;
use crate::node::Found;

/// A body that no other job has.
fn body(number: u64) -> Body {
    Body::Transfer { to: SigningKey::from_seed(&[9; 32]).public().address(), amount: Amount(number + 1), memo: Default::default() }
}

fn name(number: u64) -> Hash {
    Hash::sha256(&[&number.to_be_bytes()])
}

fn lanes(count: u8) -> Vec<Lane> {
    (0..count).map(|number| Lane { author: SigningKey::from_seed(&[number; 32]), payer: None }).collect()
}

/// A queue that is a hundred times as quick.
fn queue(store: Arc<dyn Store>) -> Queue {
    let quick = Pace {
        first_look: Duration::from_millis(20),
        longest_look: Duration::from_millis(200),
        glance: Duration::from_millis(1),
        rest: Duration::from_millis(10),
        unseen_after: Duration::from_millis(300),
    };
    Queue { pace: quick, ..Queue::new(store) }
}

fn attempt(sequence: u64, valid_until: u64) -> Attempt {
    let terms = chain::terms(sequence, Height(valid_until));
    Attempt::new(terms.sign(&SigningKey::from_seed(&[1; 32]), FeePayer::Author, body(0)))
}

#[test]
fn what_to_do_next() {
    let stand = |sequence, height| Stand { sequence, height: Height(height) };
    let found = |number| Found { height: Height(7), number, codespace: "stake".to_owned(), log: "no".to_owned(), events: vec![] };
    let refused = Outcome::Refused { codespace: "stake".to_owned(), number: 3, log: "no".to_owned(), height: Some(Height(7)) };
    let table = [
        ("nothing was signed", None, None, stand(4, 10), Step::Sign { sequence: 4 }),
        ("its time is not over", Some(attempt(4, 100)), None, stand(4, 99), Step::Send),
        ("its time is over, unused", Some(attempt(4, 100)), None, stand(4, 100), Step::Sign { sequence: 4 }),
        ("long over, unused", Some(attempt(4, 100)), None, stand(4, 5_000), Step::Sign { sequence: 4 }),
        ("used, not shown", Some(attempt(4, 100)), None, stand(5, 50), Step::Used),
        ("used, over, not shown", Some(attempt(4, 100)), None, stand(5, 5_000), Step::Used),
        ("shown", Some(attempt(4, 100)), Some(found(0)), stand(4, 6), Step::Done(Outcome::Included { height: Height(7) })),
        ("shown as refused", Some(attempt(4, 100)), Some(found(3)), stand(5, 7), Step::Done(refused)),
    ];
    for (story, attempt, found, stand, step) in table {
        assert_eq!(next(attempt.as_ref(), found, stand), step, "{story}");
    }
}

#[test]
fn which_refusals_are_final() {
    let table = [
        ("mempool", 1, false),
        ("mempool", 2, false),
        ("ledger", 4, true),
        ("ledger", 5, false),
        ("ledger", 6, false),
        ("ledger", 7, false),
        ("ledger", 8, true),
        ("ledger", 9, true),
        ("identity", 5, true),
    ];
    for (codespace, number, verdict) in table {
        assert_eq!(is_final(codespace, number), verdict, "{codespace} {number}");
    }
}

#[tokio::test]
async fn memory_does_what_a_store_must() {
    suite::all(|| async { Arc::new(Memory::default()) as Arc<dyn Store> }).await;
}

#[tokio::test]
async fn sqlite_does_what_a_store_must() {
    let folder = TempDir::new().expect("a folder");
    let mut number = 0;
    suite::all(|| {
        number += 1;
        let path = folder.path().join(format!("{number}.db"));
        async move { Arc::new(Sqlite::open(&path).await.expect("a new database")) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test]
async fn sqlite_finds_again_what_it_had() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("submissions.db");
    let first = Sqlite::open(&path).await.expect("a new database");
    assert_eq!(first.add(&name(1), &body(1), 10).await, Ok(Added::New));
    let job = first.claim(3).await.expect("reads").expect("a job");
    first.keep(&job.name, &attempt(4, 100)).await.expect("writes");
    first.close().await;
    let second = Sqlite::open(&path).await.expect("the same database");
    assert_eq!(second.claim(0).await, Ok(None), "lane 3 has begun it");
    let again = second.claim(3).await.expect("reads").expect("the same job");
    assert_eq!((again.body, again.attempt), (body(1), Some(attempt(4, 100))));
}

#[tokio::test]
async fn sqlite_of_another_version_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("submissions.db");
    let store = Sqlite::open(&path).await.expect("a new database");
    sqlx::raw_sql("PRAGMA user_version = 7").execute(store.pool()).await.expect("writes");
    store.close().await;
    let refused = Sqlite::open(&path).await.expect_err("of another version");
    assert_eq!(refused.to_string(), "the submissions cannot be stored: its tables are of version 7, and this program's of 1");
}

#[tokio::test]
async fn whoever_waits_is_told_and_one_name_is_one_transaction() {
    let (chain, queue) = (TestChain::default(), queue(Arc::new(Memory::default())));
    let running = tokio::spawn({
        let (queue, chain) = (queue.clone(), chain.clone());
        async move { queue.run(chain, lanes(2)).await }
    });
    let blocks = tokio::spawn(chain.clone().make_blocks());
    for _ in 0..3 {
        queue.submit(&name(1), &body(1)).await.expect("stores");
    }
    let outcome = queue.wait(&name(1), Duration::from_secs(60)).await.expect("reads");
    assert!(matches!(outcome, Some(Outcome::Included { .. })), "{outcome:?}");
    assert_eq!(queue.submit(&name(1), &body(1)).await, Ok(Added::Known));
    assert_eq!(chain.included(&body(1)), 1);
    running.abort();
    blocks.abort();
}

#[tokio::test]
async fn what_the_mempool_refuses_is_told_and_can_be_handed_in_again() {
    let (chain, queue) = (TestChain::default(), queue(Arc::new(Memory::default())));
    chain.refuse(Some(("ledger", 9)));
    let running = tokio::spawn({
        let (queue, chain) = (queue.clone(), chain.clone());
        async move { queue.run(chain, lanes(1)).await }
    });
    let blocks = tokio::spawn(chain.clone().make_blocks());
    queue.submit(&name(1), &body(1)).await.expect("stores");
    let outcome = queue.wait(&name(1), Duration::from_secs(60)).await.expect("reads");
    assert!(matches!(outcome, Some(Outcome::Refused { number: 9, height: None, .. })), "{outcome:?}");
    chain.refuse(None);
    assert_eq!(queue.submit(&name(1), &body(1)).await, Ok(Added::New));
    let outcome = queue.wait(&name(1), Duration::from_secs(60)).await.expect("reads");
    assert!(matches!(outcome, Some(Outcome::Included { .. })), "{outcome:?}");
    running.abort();
    blocks.abort();
}

/// Answers are lost, mempools forget, nodes are away, the process dies at any await: in the end each job is in one block, once.
#[tokio::test]
async fn whatever_happens_each_job_is_included_once() {
    for seed in 0..20 {
        let mut dice = StdRng::seed_from_u64(seed);
        let (chain, store) = (TestChain::with(Faults::often(seed)), Arc::new(Memory::default()));
        let blocks = tokio::spawn(chain.clone().make_blocks());
        let mut handed_in = 0;
        for _life in 0..8 {
            let queue = queue(store.clone());
            let running = tokio::spawn({
                let (queue, chain) = (queue.clone(), chain.clone());
                async move { queue.run(chain, lanes(3)).await }
            });
            for _ in 0..dice.random_range(0..4) {
                queue.submit(&name(handed_in), &body(handed_in)).await.expect("stores");
                handed_in += 1;
            }
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..150))).await;
            running.abort();
            let _ = running.await;
        }
        chain.be_well();
        let queue = queue(store);
        let running = tokio::spawn({
            let (queue, chain) = (queue.clone(), chain.clone());
            async move { queue.run(chain, lanes(3)).await }
        });
        for job in 0..handed_in {
            let outcome = queue.wait(&name(job), Duration::from_secs(60)).await.expect("reads");
            assert!(matches!(outcome, Some(Outcome::Included { .. })), "seed {seed}, job {job}: {outcome:?}");
            assert_eq!(chain.included(&body(job)), 1, "seed {seed}, job {job}");
        }
        running.abort();
        blocks.abort();
    }
}

/// A node that hides transactions cannot have them sent twice.
#[tokio::test]
async fn a_node_that_hides_transactions_ends_the_job_without_a_second_one() {
    let (chain, queue) = (TestChain::with(Faults::hiding()), queue(Arc::new(Memory::default())));
    let running = tokio::spawn({
        let (queue, chain) = (queue.clone(), chain.clone());
        async move { queue.run(chain, lanes(1)).await }
    });
    let blocks = tokio::spawn(chain.clone().make_blocks());
    queue.submit(&name(1), &body(1)).await.expect("stores");
    assert_eq!(queue.wait(&name(1), Duration::from_secs(60)).await, Ok(Some(Outcome::Unseen)));
    assert_eq!(chain.included(&body(1)), 1);
    running.abort();
    blocks.abort();
}

#[test]
fn outcomes_are_read_as_they_were_written() {
    use types::{Decode as _, Encode as _};
    let refused = |log: &str| Outcome::Refused { codespace: "ledger".to_owned(), number: 9, log: log.to_owned(), height: Some(Height(4)) };
    for outcome in [Outcome::Included { height: Height(300) }, refused("too little"), Outcome::Unseen] {
        assert_eq!(Outcome::from_bytes(&outcome.to_bytes()), Ok(outcome));
    }
    assert_eq!(Outcome::from_bytes(&refused(&"ä".repeat(1_000)).to_bytes()), Ok(refused(&"ä".repeat(512))));
}
