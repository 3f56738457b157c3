//! The outbox against a chain that fails in every way that a chain can fail.

pub(crate) mod double;

use std::sync::Arc;
use std::time::Duration;

use audit::record::Status;
use audit::{LogRecord, verify_path};
use genesis::LogFile;
use mailbox::frame::Kind;
use proptest::prelude::*;
use rpc::relay::LeafProof;
use tokio::sync::watch;
use types::{Hash, Height, Millis, PublicKey, SigningKey};

use self::double::{Double, Fault, log_file};
use super::{Error, LogChain, Next, Outbox, judge};
use crate::messages::Messages;
use crate::messages::store::{LogState, ON_THE_WAY, Store};
use crate::messages::tests::fixture::{self, ALICE, BOB, NOW, devices, message};

const EVERY: Duration = Duration::from_millis(5);

/// When an anchor counts as lost here.
const LOST: Duration = Duration::from_millis(40);

fn clock() -> Millis {
    NOW
}

/// Sends a message; its leaf.
async fn send(messages: &Messages, number: u64) -> Hash {
    let sent = message(number, &[BOB], 20);
    let commitment = sent.content_hash.expect("a message has one");
    let stored = messages.submit(ALICE, Kind::Message, sent, Some(&devices([1])), &devices([1])).await.expect("it is stored");
    let seen = stored.envelope.expect("a message has one");
    let envelope = audit::Envelope { ciphertext: seen.ciphertext, received: seen.received, size_class: seen.size_class };
    audit::leaf::leaf(&commitment, &envelope.seal(&seen.salt.0))
}

/// Waits until a leaf is anchored, and verifies its path.
async fn anchored(messages: &Messages, leaf: Hash) -> u64 {
    for _ in 0..5_000 {
        if let Some(LeafProof::Anchored { anchor, index, path }) = messages.proof(leaf).await.expect("it is read") {
            verify_path(&leaf, index, anchor.anchor.count, &path, &anchor.anchor.root).expect("the path leads to the root");
            return anchor.anchor.sequence;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{leaf} is not anchored");
}

struct World {
    home: tempfile::TempDir,
    messages: Messages,
    chain: Double,
    stop: watch::Sender<bool>,
    outbox: Option<tokio::task::JoinHandle<Result<(), Error>>>,
}

impl World {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self::with(Double::new(faults))
    }

    fn with(chain: Double) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let messages = open(&home);
        Self { home, messages, chain, stop: watch::Sender::new(false), outbox: None }
    }

    fn start(&mut self) {
        self.stop = watch::Sender::new(false);
        let mut outbox = Outbox::new(self.messages.clone(), self.chain.clone(), log_file());
        outbox.patience = LOST;
        self.outbox = Some(tokio::spawn(outbox.run(EVERY, self.stop.subscribe())));
    }

    async fn ended(&mut self) -> Result<(), Error> {
        self.outbox.take().expect("it was started").await.expect("no panic")
    }

    /// Ends everything wherever it is, and opens the database again.
    async fn crash(self) -> Self {
        if let Some(outbox) = self.outbox {
            outbox.abort();
            let _ = outbox.await;
        }
        self.messages.stop().await;
        let Self { home, messages, chain, stop, .. } = self;
        drop(messages);
        let messages = open(&home);
        Self { home, messages, chain, stop, outbox: None }
    }

    fn state(&self) -> LogState {
        futures::executor::block_on(self.messages.blocking(Store::log)).expect("it is read")
    }
}

fn open(home: &tempfile::TempDir) -> Messages {
    Messages::over(Arc::new(fixture::open(home.path())), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_are_anchored_in_batches_that_follow_each_other() {
    let mut world = World::new([]);
    let mut leaves = Vec::new();
    for number in 0..3 {
        leaves.push(send(&world.messages, number).await);
    }
    world.start();
    let sequences = [anchored(&world.messages, leaves[0]).await, anchored(&world.messages, leaves[2]).await];
    assert_eq!(sequences, [1, 1], "one batch for what waited");
    let later = send(&world.messages, 3).await;
    let sequence = anchored(&world.messages, later).await;
    assert!(sequence > 1);
    // The cadence goes on though nothing comes in.
    while (world.chain.anchors().len() as u64) < sequence + 3 {
        tokio::time::sleep(EVERY).await;
    }
    world.stop.send_replace(true);
    world.ended().await.expect("it was told to stop");
    let anchors = world.chain.anchors();
    for (anchor, number) in anchors.iter().zip(1..) {
        assert_eq!(anchor.anchor.sequence, number);
    }
    assert_eq!((anchors[0].anchor.count, anchors[anchors.len() - 1].anchor.count), (4, 1), "padded");
    assert_eq!(world.state().waiting(), 0);
    assert_eq!(world.chain.sent_differently(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_anchors_are_on_their_way_while_blocks_take_their_time() {
    let mut world = World::with(Double::slow([]));
    world.start();
    for number in 0..12 {
        let leaf = send(&world.messages, number).await;
        let sequence = anchored(&world.messages, leaf).await;
        let state = world.state();
        assert!(sequence <= state.anchored && state.on_the_way() <= ON_THE_WAY, "{state:?}");
    }
    assert_eq!(world.chain.waited() as u64, ON_THE_WAY, "as many as may be: sealing does not wait for blocks");
    assert_eq!((world.chain.sent_differently(), world.chain.refused()), (0, Vec::new()));
    // All of them are on their way when it dies, and are gone on with.
    world = world.crash().await;
    let before = world.state();
    assert!(before.on_the_way() > 1, "{before:?}");
    world.start();
    let leaf = send(&world.messages, 99).await;
    assert!(anchored(&world.messages, leaf).await > before.sealed);
    assert_eq!((world.chain.sent_differently(), world.chain.refused()), (0, Vec::new()));
    let anchors = world.chain.anchors();
    assert!(anchors.iter().map(|anchor| anchor.anchor.sequence).eq(1..=anchors.len() as u64), "each once, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_lost_answers_and_refusals_change_nothing_but_the_time() {
    use Fault::{Dropped, LostAnswer, NoAnswer, Refused, Unreachable};
    let stories: [(&str, &[Fault]); 8] = [
        ("the chain is away when the relay starts", &[NoAnswer, NoAnswer]),
        ("it does not take the anchor", &[Fault::None, Unreachable, Fault::None, Unreachable]),
        ("it takes the anchor and the answer is lost", &[Fault::None, LostAnswer]),
        ("and then it does not say what it has", &[Fault::None, LostAnswer, NoAnswer, NoAnswer]),
        ("the account's sequence was used by another transaction", &[Fault::None, Refused, Fault::None, Refused]),
        ("an old state is shown after the anchor was taken", &[Fault::None, Fault::None, Fault::Old, Fault::None]),
        ("a node takes the anchor and loses it", &[Fault::None, Dropped]),
        ("and the one after it", &[Fault::None, Dropped, Fault::None, Dropped, Dropped]),
    ];
    for ((story, faults), chain) in stories.iter().flat_map(|story| [(story, Double::new as fn(_) -> _), (story, Double::slow)]) {
        let mut world = World::with(chain(faults.to_vec()));
        let leaf = send(&world.messages, 1).await;
        world.start();
        anchored(&world.messages, leaf).await;
        let second = send(&world.messages, 2).await;
        anchored(&world.messages, second).await;
        assert_eq!(world.chain.sent_differently(), 0, "{story}");
        assert_eq!(world.chain.refused(), Vec::<String>::new(), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_for_good_ends_the_anchoring() {
    let ends = async |world: &mut World, story: &str| {
        world.start();
        world.ended().await.expect_err(story)
    };
    let mut world = World::new([]);
    world.chain.change(|record| record.status = Status::Retired { at: Height(3) });
    assert!(matches!(ends(&mut world, "the log was retired").await, Error::Ended(Status::Retired { .. })));
    let mut world = World::new([]);
    world.chain.change(|record| record.key = SigningKey::from_seed(&[99; 32]).public());
    assert!(matches!(ends(&mut world, "the key was changed").await, Error::Key { .. }));
    let mut world = World::new([]);
    world.chain.unregister();
    assert!(matches!(ends(&mut world, "there is no such log").await, Error::NotRegistered(_)));

    // A disk that was restored from a copy of before.
    let mut world = World::new([]);
    let leaf = send(&world.messages, 1).await;
    world.start();
    anchored(&world.messages, leaf).await;
    let mut restored = World { chain: world.chain.clone(), ..World::new([]) };
    world.stop.send_replace(true);
    world.ended().await.expect("it was told to stop");
    let error = ends(&mut restored, "the chain has more than the database").await;
    assert!(matches!(error, Error::Behind { store: 0, .. }), "{error}");
    assert_eq!(world.chain.sent_differently(), 0, "nothing was signed");
}

#[test]
fn every_state_is_judged() {
    let key = log_file().key().public();
    let hash = |number: u64| if number == 0 { Hash::ZERO } else { Hash::sha256(&[&number.to_be_bytes()]) };
    let state = |sealed: u64, anchored: u64| LogState { sealed, anchored, last: hash(sealed), ..LogState::default() };
    let record = |sequence: u64, last: u64| LogRecord { sequence, last: hash(last), ..Double::new([]).registered() };
    let retired = |sequence: u64| LogRecord { status: Status::Retired { at: Height(9) }, ..record(sequence, sequence) };
    type Judged = Result<Next, u32>;
    let stories: [(&str, LogState, LogRecord, Judged); 17] = [
        ("nothing yet", state(0, 0), record(0, 0), Ok(Next::Seal)),
        ("the first is on its way", state(1, 0), record(0, 0), Ok(Next::Send)),
        ("it has arrived", state(1, 0), record(1, 1), Ok(Next::Complete(1))),
        ("and was completed", state(1, 1), record(1, 1), Ok(Next::Seal)),
        ("the next is on its way", state(2, 1), record(1, 1), Ok(Next::Send)),
        ("four are on their way", state(5, 1), record(1, 1), Ok(Next::Send)),
        ("two of them have arrived", state(5, 1), record(3, 3), Ok(Next::Complete(3))),
        ("all of them have arrived", state(5, 1), record(5, 5), Ok(Next::Complete(5))),
        ("the chain is shown as it was", state(2, 2), record(1, 1), Ok(Next::Wait)),
        ("the chain is shown as it was, with two on their way", state(4, 2), record(1, 1), Ok(Next::Wait)),
        ("the chain has more", state(1, 1), record(2, 2), Err(7154)),
        ("the chain has more than is on its way", state(5, 2), record(6, 6), Err(7154)),
        ("the chain has another", state(1, 0), record(1, 7), Err(7155)),
        ("the chain has another among those on their way", state(5, 1), record(3, 7), Err(7155)),
        ("the chain has another for the last completed one", state(5, 1), record(1, 7), Err(7155)),
        ("retired", state(2, 1), retired(1), Err(7152)),
        ("retired after one of those on their way", state(4, 1), retired(2), Ok(Next::Complete(2))),
    ];
    for (story, state, record, judged) in stories {
        let ours = (state.anchored..=state.sealed).contains(&record.sequence).then(|| hash(record.sequence));
        assert_eq!(judge(&state, ours, &record, &key).map_err(|error| error.code()), judged, "{story}");
    }
    let unknown = judge(&state(5, 1), None, &record(3, 3), &key).map_err(|error| error.code());
    assert_eq!(unknown, Err(7155), "nothing is taken for ours that is not known to be");
    let other: PublicKey = SigningKey::from_seed(&[1; 32]).public();
    assert_eq!(judge(&state(0, 0), Some(Hash::ZERO), &record(0, 0), &other).map_err(|error| error.code()), Err(7153));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the chain does and wherever the relay is interrupted: one anchor for each sequence,
    /// every leaf in exactly one of them.
    #[test]
    fn one_anchor_for_each_sequence(
        faults in proptest::collection::vec(proptest::sample::select(Fault::ALL.to_vec()), 0..9),
        slow in proptest::bool::ANY,
        lives in proptest::collection::vec(0u64..25, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let mut world = World::with(if slow { Double::slow(faults) } else { Double::new(faults) });
            let mut leaves = Vec::new();
            for (number, life) in (0..).zip(lives) {
                leaves.push(send(&world.messages, number).await);
                world.start();
                tokio::time::sleep(Duration::from_millis(life)).await;
                world = world.crash().await;
            }
            world.start();
            for leaf in &leaves {
                anchored(&world.messages, *leaf).await;
            }
            assert_eq!(world.chain.sent_differently(), 0, "two anchors were signed for one sequence");
            assert_eq!(world.chain.refused(), Vec::<String>::new());
            assert_eq!(world.state().sealed_leaves, leaves.len() as u64);
        });
    }
}

#[test]
fn a_log_file_is_for_one_log() {
    let file: LogFile = log_file();
    let chain = Double::new([]);
    assert_eq!(chain.registered().log, file.log);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let record = runtime.block_on(chain.clone().record()).expect("it answers").expect("it is registered");
    assert_eq!(record.key, file.key().public());
}

/// Whoever runs a relay may spawn its anchoring.
#[test]
fn anchoring_can_be_spawned() {
    fn spawnable<F: Future<Output = Result<(), Error>> + Send + 'static>(_: impl Fn(Messages, rpc::Chain) -> F) {}
    spawnable(|messages, chain| {
        super::run(messages, chain, log_file(), SigningKey::from_seed(&[1; 32]), EVERY, watch::Sender::new(false).subscribe())
    });
}
