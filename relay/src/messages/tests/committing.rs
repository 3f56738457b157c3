//! The committer: groups, order, overload, failure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use futures::future::join_all;
use mailbox::frame::Kind;
use mailbox::{Address, Refusal};
use rpc::relay::LeafProof;
use types::{Hash, Millis};

use super::fixture::{ALICE, BOB, BOBS_TABLET, NOW, address, devices, id, message, open, receipt};
use crate::messages::store::{Answer, Error, LogState, Page, Place, Reach, Sealed, Store, Write};
use crate::messages::{Bell, Messages, Rocks, Rung};

fn clock() -> Millis {
    NOW
}

/// A store that waits at a gate before each group, counts groups, and may fail.
pub(crate) struct Gated {
    rocks: Rocks,
    open: Mutex<bool>,
    changed: Condvar,
    groups: AtomicUsize,
    broken: Mutex<bool>,
}

impl Gated {
    pub(crate) fn new(rocks: Rocks) -> Arc<Self> {
        Arc::new(Self { rocks, open: Mutex::new(true), changed: Condvar::new(), groups: AtomicUsize::new(0), broken: Mutex::new(false) })
    }

    pub(crate) fn set(&self, open: bool) {
        *self.open.lock().expect("no test panics here") = open;
        self.changed.notify_all();
    }
}

impl Store for Gated {
    fn commit(&self, group: &[Write]) -> Result<Vec<Answer>, Error> {
        let open = self.open.lock().expect("no test panics here");
        drop(self.changed.wait_while(open, |open| !*open).expect("no test panics here"));
        if *self.broken.lock().expect("no test panics here") {
            return Err(Error::Broken("no space left on device".to_owned()));
        }
        self.groups.fetch_add(1, Ordering::SeqCst);
        self.rocks.commit(group)
    }

    fn begin_log(&self, anchored: u64, at: Millis) -> Result<(), Error> {
        self.rocks.begin_log(anchored, at)
    }

    fn read(&self, of: &Address, after: u64, items: u32, bytes: u32, reach: Reach) -> Result<Option<Page>, Error> {
        // Nothing is in memory here, so that the other way is taken too.
        if reach == Reach::Memory { Ok(None) } else { self.rocks.read(of, after, items, bytes, reach) }
    }

    fn place(&self, leaf: &Hash) -> Result<Option<Place>, Error> {
        self.rocks.place(leaf)
    }

    fn unsealed(&self, most: usize) -> Result<Vec<Hash>, Error> {
        self.rocks.unsealed(most)
    }

    fn log(&self) -> Result<LogState, Error> {
        self.rocks.log()
    }

    fn batch(&self, number: u64) -> Result<Option<Sealed>, Error> {
        self.rocks.batch(number)
    }

    fn leaves(&self, number: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.rocks.leaves(number)
    }
}

fn gated(home: &tempfile::TempDir) -> (Arc<Gated>, Messages) {
    let gated = Gated::new(Rocks::open(home.path()).expect("it opens"));
    (gated.clone(), Messages::over(gated, clock))
}

async fn send(messages: &Messages, number: u64, to: &[Address]) -> Result<mailbox::frame::AcceptedItem, Refusal> {
    let theirs = devices(to.iter().map(|to| to.device));
    messages.submit(ALICE, Kind::Message, message(number, to, 50), Some(&theirs), &devices([1])).await
}

#[tokio::test]
async fn what_waits_while_the_disk_works_is_one_group() {
    let home = tempfile::tempdir().expect("a folder");
    let (gate, messages) = gated(&home);
    gate.set(false);
    let bell = Arc::new(Bell::default());
    let _watch = messages.watch(BOB, bell.clone());
    let theirs = devices([1, 2]);
    let all: Vec<_> = (0..500)
        .map(|number| messages.prepare(ALICE, Kind::Message, &message(number, &[BOB, BOBS_TABLET], 50), Some(&theirs), &devices([1])))
        .collect();
    let mut pending: Vec<_> = all.into_iter().map(|prepared| messages.offer(prepared).expect("there is room")).collect();
    assert!(futures::poll!(Box::pin(bell.heard())).is_pending(), "nobody is woken before the write is durable");
    gate.set(true);
    let answers = join_all(pending.iter_mut().map(super::super::Pending::answer)).await;
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(answer.expect("it is stored").message_id, id(number));
    }
    // The first alone, or with what was there already; then everything else.
    assert!(gate.groups.load(Ordering::SeqCst) <= 2, "{} groups", gate.groups.load(Ordering::SeqCst));
    assert_eq!(bell.heard().await, Rung::AVAILABLE);
    for of in [BOB, BOBS_TABLET] {
        let page = messages.read(of, 0, 1_000, u32::MAX).await.expect("it is read");
        let numbers: Vec<_> = page.items.iter().map(|item| (item.sequence, item.message_id)).collect();
        assert_eq!(numbers, (0..500).map(|number| (number + 1, id(number))).collect::<Vec<_>>(), "in the order in which they came");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_senders_at_once_leave_no_gap_and_a_repeat_is_stored_once() {
    let home = tempfile::tempdir().expect("a folder");
    let messages = Messages::open(home.path()).expect("it opens");
    let sender = |person: u8| {
        let messages = messages.clone();
        tokio::spawn(async move {
            let (from, theirs) = (address(person, 1), devices([1]));
            for number in 0..50 {
                let one = || messages.submit(from, Kind::Message, message(number, &[BOB], 50), Some(&theirs), &theirs);
                // The same twice at once, as after a connection that was lost.
                let (first, second) = tokio::join!(one(), one());
                assert_eq!(first.expect("it is stored"), second.expect("it is stored"), "one salt, one answer");
            }
        })
    };
    for done in join_all((10..26).map(sender)).await {
        done.expect("no sender panics");
    }
    let check = |items: Vec<mailbox::frame::Delivery>| {
        assert_eq!(items.iter().map(|item| item.sequence).collect::<Vec<_>>(), (1..=800).collect::<Vec<_>>());
        for person in 10..26 {
            let of = items.iter().filter(|item| item.sender_id == address(person, 1).did).map(|item| item.message_id);
            assert_eq!(of.collect::<Vec<_>>(), (0..50).map(id).collect::<Vec<_>>(), "in the order of each sender");
        }
    };
    check(messages.read(BOB, 0, 1_000, u32::MAX).await.expect("it is read").items);
    messages.stop().await;
    assert_eq!(send(&messages, 1, &[BOB]).await, Err(Refusal::Unavailable), "nothing is taken after the stop");
    drop(messages);
    let messages = Messages::over(Arc::new(open(home.path())), clock);
    check(messages.read(BOB, 0, 1_000, u32::MAX).await.expect("it is read").items);
}

#[tokio::test]
async fn a_full_inlet_says_so_and_loses_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let (gate, messages) = gated(&home);
    gate.set(false);
    let theirs = devices([1]);
    let prepare = |number| messages.prepare(ALICE, Kind::Message, &message(number, &[BOB], 1_000), Some(&theirs), &devices([1]));
    let (mut pending, mut refused) = (Vec::new(), None);
    for number in 0..20_000 {
        match messages.offer(prepare(number)) {
            Ok(one) => pending.push(one),
            Err(back) => {
                refused = Some(back);
                break;
            }
        }
    }
    let (back, taken) = (refused.expect("the inlet is bounded"), pending.len() as u64);
    assert!((4_096..=2 * 4_096 + 1).contains(&taken), "{taken} were taken");
    assert_eq!(send(&messages, 50_000, &[BOB]).await, Err(Refusal::TooMany { retry_after_ms: super::super::RETRY_AFTER_MS }));
    let waiting = tokio::spawn({
        let messages = messages.clone();
        async move { messages.hand_over(back).await.answer().await }
    });
    gate.set(true);
    for answer in join_all(pending.iter_mut().map(super::super::Pending::answer)).await {
        answer.expect("what was taken is stored");
    }
    waiting.await.expect("no panic").expect("what waited is stored");
    let page = messages.read(BOB, taken, 10, u32::MAX).await.expect("it is read");
    assert_eq!(page.items.iter().map(|item| (item.sequence, item.message_id)).collect::<Vec<_>>(), [(taken + 1, id(taken))]);
}

#[tokio::test]
async fn a_write_that_fails_is_the_last() {
    let home = tempfile::tempdir().expect("a folder");
    let (gate, messages) = gated(&home);
    send(&messages, 1, &[BOB]).await.expect("it is stored");
    *gate.broken.lock().expect("no test panics here") = true;
    assert_eq!(send(&messages, 2, &[BOB]).await, Err(Refusal::Unavailable));
    *gate.broken.lock().expect("no test panics here") = false;
    messages.ended().await;
    assert_eq!(send(&messages, 3, &[BOB]).await, Err(Refusal::Unavailable), "what the disk holds is not known any more");
    assert_eq!(messages.read(BOB, 0, 9, u32::MAX).await.expect("it is read").items.len(), 1, "reading goes on");
}

#[tokio::test]
async fn a_lost_answer_is_given_again_though_the_devices_have_changed() {
    let home = tempfile::tempdir().expect("a folder");
    let messages = Messages::open(home.path()).expect("it opens");
    let first = send(&messages, 1, &[BOB]).await.expect("it is stored");
    let submit = |number, theirs| {
        let messages = messages.clone();
        async move { messages.submit(ALICE, Kind::Message, message(number, &[BOB], 50), Some(&theirs), &devices([1])).await }
    };
    assert_eq!(submit(1, devices([1, 2])).await, Ok(first.clone()), "Bob has a second device by now");
    assert_eq!(submit(1, devices([2])).await, Ok(first), "and has lost the first");
    let refused = submit(2, devices([1, 2])).await.expect_err("a new message must be for both");
    assert!(matches!(refused, Refusal::Devices { ref missing, .. } if *missing == [2]), "{refused:?}");
    let nobody = messages.submit(ALICE, Kind::Message, message(3, &[BOB], 50), None, &devices([1])).await;
    assert_eq!(nobody, Err(Refusal::NoAccount { did: BOB.did }));
}

#[tokio::test]
async fn messages_become_leaves_and_receipts_do_not() {
    let home = tempfile::tempdir().expect("a folder");
    let messages = Messages::open(home.path()).expect("it opens");
    let envelope = send(&messages, 1, &[BOB]).await.expect("it is stored").envelope.expect("a message has one");
    let (kind, receipt) = receipt(2, &[BOB]);
    let told = messages.submit(ALICE, kind, receipt, Some(&devices([1])), &devices([1])).await.expect("it is stored");
    assert_eq!(told.envelope, None);
    let page = messages.read(BOB, 0, 9, u32::MAX).await.expect("it is read");
    let [delivery, receipt] = page.items.as_slice() else { panic!("two items") };
    assert_eq!((receipt.sealed_envelope, receipt.content_hash), (None, None));
    let (sent, seen) = (message(1, &[BOB], 50), envelope);
    assert_eq!(seen.ciphertext, sent.ciphertext_hash());
    let sealed = audit::Envelope { ciphertext: seen.ciphertext, received: seen.received, size_class: seen.size_class }.seal(&seen.salt.0);
    assert_eq!(delivery.sealed_envelope, Some(sealed), "sender and recipient know one leaf");
    let leaf = audit::leaf::leaf(&sent.content_hash.expect("a message has one"), &sealed);
    assert_eq!(messages.proof(leaf).await.expect("it is read"), Some(LeafProof::Stored));
    assert_eq!(messages.proof(Hash::ZERO).await.expect("it is read"), None);
}

#[tokio::test]
async fn the_sweep_goes_on_until_it_is_told_to_stop() {
    let home = tempfile::tempdir().expect("a folder");
    let (gate, messages) = gated(&home);
    let stop = tokio::sync::watch::Sender::new(false);
    let sweeping = tokio::spawn(messages.clone().keep_swept(stop.subscribe()));
    while gate.groups.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    sweeping.await.expect("it ends");
    send(&messages, 1, &[BOB]).await.expect("and nothing else does");
}
