//! What every store of messages must pass: stories of writes and what is read after each.

use audit::{Anchor, Batch, LogId, SignedAnchor};
use mailbox::frame::{AcceptedItem, Acknowledge, SeenEnvelope};
use mailbox::queue::{Ahead, MAX_BYTES, RETENTION_MS};
use mailbox::{Address, Refusal};
use types::{Hash, Millis, SigningKey};

use super::fixture::{ALICE, BOB, BOBS_TABLET, NOW, id};
use crate::messages::Rocks;
use crate::messages::store::{Answer, Entry, LogState, ON_THE_WAY, Place, Reach, Recall, Seal, Store, Write};

/// A store that can be closed and opened again.
struct Reopened {
    home: tempfile::TempDir,
    store: Option<Box<dyn Store>>,
}

impl Reopened {
    fn new() -> Self {
        let mut new = Self { home: tempfile::tempdir().expect("a folder"), store: None };
        new.again();
        new
    }

    /// Closes and opens.
    fn again(&mut self) {
        self.store = None;
        self.store = Some(Box::new(Rocks::open(self.home.path()).expect("it opens")));
    }

    fn commit(&self, group: &[Write]) -> Vec<Answer> {
        self.store().commit(group).expect("it is written")
    }

    fn one(&self, write: Write) -> Answer {
        self.commit(&[write]).remove(0)
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("it is open")
    }

    /// The numbers in a mailbox, with the last digits of the ids.
    fn numbers(&self, of: &Address) -> Vec<(u64, u8)> {
        let page = self.store().read(of, 0, 1_000, u32::MAX, Reach::Disk).expect("it is read").expect("wherever it is");
        assert!(!page.more);
        page.items.iter().map(|item| (item.sequence, item.message_id.as_bytes()[15])).collect()
    }
}

/// One message with a leaf, of so many bytes, for these mailboxes.
fn entry(number: u64, to: &[Address], bytes: usize) -> Entry {
    use types::Encode as _;
    let stored = mailbox::envelope::Stored {
        kind: mailbox::Kind::Message,
        message_id: id(number),
        conversation_id: Hash::ZERO,
        sender_id: ALICE.did,
        sender_device_id: ALICE.device,
        recipient_id: BOB.did,
        form: mailbox::frame::Form::Ratchet,
        encrypted_content: mailbox::Bytes(vec![7; bytes]),
        content_hash: None,
        timestamp: NOW,
        received_at: NOW,
        sealed_envelope: None,
    };
    let salt = leaf(number ^ 0xff);
    let seen = SeenEnvelope { ciphertext: leaf(number), received: NOW, size_class: audit::SizeClass::of(bytes as u64), salt };
    Entry {
        from: ALICE,
        message_id: id(number),
        fingerprint: leaf(number),
        received: Millis(NOW.0 + number),
        answer: AcceptedItem { message_id: id(number), envelope: Some(seen) },
        leaf: Some(leaf(number)),
        copies: to.iter().map(|to| (*to, stored.to_bytes())).collect(),
    }
}

fn submit(number: u64, to: &[Address]) -> Write {
    Write::Submit(Box::new(entry(number, to, 10)))
}

fn acknowledge(of: Address, upto: u64, also: &[u64]) -> Write {
    Write::Acknowledge { of, acknowledge: Acknowledge { upto, also: also.to_vec() } }
}

fn leaf(number: u64) -> Hash {
    Hash::sha256(&[&number.to_be_bytes()])
}

fn accepted(number: u64) -> Answer {
    Answer::Accepted(entry(number, &[], 10).answer)
}

/// What is left in a mailbox: numbers, and the last digits of ids.
type Left = &'static [(u64, u8)];

const DONE: Answer = Answer::Done { more: false };

/// The next batch of a store, of the leaves up to `end`.
fn seal(store: &dyn Store, end: u64) -> Seal {
    let state = store.log().expect("it is read");
    let leaves = store.unsealed(usize::try_from(end - state.sealed_leaves).expect("few")).expect("they are read");
    let mut padding = 1_000_000;
    let batch = Batch::seal(leaves, || {
        padding += 1;
        leaf(padding)
    });
    let batch = batch.expect("distinct leaves");
    let chain: types::ChainId = "zynk-test".parse().expect("a chain id");
    let anchor = Anchor {
        version: audit::anchor::VERSION,
        chain,
        log: LogId(leaf(5)),
        sequence: state.sealed + 1,
        previous: state.last,
        root: batch.root(),
        count: batch.count(),
        opened: NOW,
        closed: NOW,
    };
    Seal { anchor: SignedAnchor::sign(anchor, &SigningKey::from_seed(&[3; 32])), end, leaves: batch.leaves().collect() }
}

#[test]
fn numbers_are_given_in_order_without_a_gap_and_survive() {
    let mut world = Reopened::new();
    let group = [submit(1, &[BOB, BOBS_TABLET]), submit(2, &[BOB]), submit(3, &[BOBS_TABLET])];
    assert_eq!(world.commit(&group), [accepted(1), accepted(2), accepted(3)]);
    for _ in 0..2 {
        assert_eq!(world.numbers(&BOB), [(1, 1), (2, 2)]);
        assert_eq!(world.numbers(&BOBS_TABLET), [(1, 1), (2, 3)]);
        assert_eq!(world.numbers(&ALICE), []);
        world.again();
    }
    assert_eq!(world.one(submit(4, &[BOB])), accepted(4));
    assert_eq!(world.numbers(&BOB), [(1, 1), (2, 2), (3, 4)]);
}

#[test]
fn an_id_is_stored_once() {
    let mut world = Reopened::new();
    let other = Write::Submit(Box::new(Entry { fingerprint: leaf(99), ..entry(1, &[BOB], 10) }));
    let somebody = Write::Submit(Box::new(Entry { from: BOBS_TABLET, leaf: Some(leaf(7)), ..entry(1, &[BOB], 10) }));
    let later = Write::Submit(Box::new(Entry { answer: AcceptedItem { message_id: id(1), envelope: None }, ..entry(1, &[BOB], 10) }));
    let recall = |from: Address, number: u64, fingerprint: u64| {
        let otherwise = Refusal::NoAccount { did: BOB.did };
        Write::Recall(Box::new(Recall { from, message_id: id(number), fingerprint: leaf(fingerprint), otherwise }))
    };
    let refused = Answer::Refused(Refusal::NoAccount { did: BOB.did });
    let stories = [
        ("before it was stored there is nothing to recall", recall(ALICE, 1, 1), refused.clone()),
        ("it is stored", submit(1, &[BOB]), accepted(1)),
        ("again, it has the same answer", submit(1, &[BOB]), accepted(1)),
        ("the first answer counts, with its salt", later, accepted(1)),
        ("another message under the same id is refused", other, Answer::Refused(Refusal::IdReused)),
        ("it is recalled", recall(ALICE, 1, 1), accepted(1)),
        ("another one under the same id is not", recall(ALICE, 1, 2), Answer::Refused(Refusal::IdReused)),
        ("somebody else's is not", recall(BOB, 1, 1), refused),
    ];
    // Once all in one group, then each in a group of its own, then again after a restart.
    let (names, group): (Vec<_>, Vec<_>) = stories.into_iter().map(|(name, write, answer)| ((name, answer), write)).unzip();
    for ((name, expected), found) in names.iter().zip(world.commit(&group)) {
        assert_eq!(found, *expected, "{name}");
    }
    for _ in 0..2 {
        for ((name, expected), write) in names.iter().zip(&group).skip(1) {
            assert_eq!(world.commit(std::slice::from_ref(write)).pop().as_ref(), Some(expected), "{name}");
        }
        assert_eq!(world.numbers(&BOB), [(1, 1)]);
        assert_eq!(world.store().log().expect("it is read").leaves, 1);
        world.again();
    }
    assert!(matches!(world.one(somebody), Answer::Accepted(_)), "an id is a sender's own");
    assert_eq!(world.numbers(&BOB), [(1, 1), (2, 1)]);
}

#[test]
fn what_a_device_has_is_deleted() {
    let mut world = Reopened::new();
    world.commit(&(1..=6).map(|number| submit(number, &[BOB])).collect::<Vec<_>>());
    let resumed = |acknowledged| Answer::Resumed { acknowledged };
    let resume = |claimed| Write::Resume { of: BOB, claimed };
    let stories: [(&str, Write, Answer, Left); 8] = [
        ("a prefix", acknowledge(BOB, 2, &[]), resumed(2), &[(3, 3), (4, 4), (5, 5), (6, 6)]),
        ("again", acknowledge(BOB, 2, &[]), resumed(2), &[(3, 3), (4, 4), (5, 5), (6, 6)]),
        ("one by one", acknowledge(BOB, 2, &[4, 6]), resumed(2), &[(3, 3), (5, 5)]),
        ("a gap closes", acknowledge(BOB, 3, &[]), resumed(4), &[(5, 5)]),
        ("a session goes on below", resume(1), resumed(4), &[(5, 5)]),
        ("a session goes on above", resume(5), resumed(6), &[]),
        ("a device that knows more than there was", resume(7), Answer::Ahead(Ahead { claimed: 7, last: 6 }), &[]),
        ("numbers that were never given", acknowledge(BOB, 90, &[95]), resumed(6), &[]),
    ];
    for (name, write, answer, left) in stories {
        assert_eq!(world.one(write), answer, "{name}");
        assert_eq!(world.numbers(&BOB), left, "{name}");
        world.again();
        assert_eq!(world.numbers(&BOB), left, "{name}, after a restart");
    }
    assert_eq!(world.one(submit(7, &[BOB])), accepted(7));
    assert_eq!(world.numbers(&BOB), [(7, 7)], "no number is given twice");
    let group = [submit(8, &[BOB]), acknowledge(BOB, 8, &[]), submit(9, &[BOB])];
    assert_eq!(world.commit(&group), [accepted(8), resumed(8), accepted(9)]);
    assert_eq!(world.numbers(&BOB), [(9, 9)], "in one group");
}

#[test]
fn pages_end_where_they_are_told() {
    let world = Reopened::new();
    world.commit(&(1..=5).map(|number| Write::Submit(Box::new(entry(number, &[BOB], 100)))).collect::<Vec<_>>());
    let stories: [(u64, u32, u32, &[u64], bool); 7] = [
        (0, 9, 9_000, &[1, 2, 3, 4, 5], false),
        (0, 2, 9_000, &[1, 2], true),
        (3, 2, 9_000, &[4, 5], false),
        (5, 2, 9_000, &[], false),
        (0, 9, 200, &[1, 2], true),
        (0, 9, 299, &[1, 2], true),
        (4, 9, 0, &[5], false),
    ];
    for (after, items, bytes, numbers, more) in stories {
        for reach in [Reach::Memory, Reach::Disk] {
            let page = world.store().read(&BOB, after, items, bytes, reach).expect("it is read").expect("it is in memory");
            assert_eq!(page.items.iter().map(|item| item.sequence).collect::<Vec<_>>(), numbers, "after {after}: {items}, {bytes}");
            assert_eq!(page.more, more, "after {after}: {items}, {bytes}");
        }
    }
}

#[test]
fn a_message_that_does_not_fit_one_mailbox_is_in_none() {
    let world = Reopened::new();
    let large = |number: u64, to: &[Address]| Write::Submit(Box::new(entry(number, to, 96 << 10)));
    let full = MAX_BYTES / entry(1, &[BOB], 96 << 10).copies[0].1.len() as u64;
    for number in 0..full {
        assert!(matches!(world.one(large(number, &[BOB])), Answer::Accepted(_)), "number {number}");
    }
    let refused = Answer::Refused(Refusal::Full { did: BOB.did });
    let leaves = world.store().log().expect("it is read").leaves;
    assert_eq!(world.one(large(1_000, &[BOBS_TABLET, BOB])), refused);
    assert_eq!(world.numbers(&BOBS_TABLET), []);
    assert_eq!(world.store().log().expect("it is read").leaves, leaves, "and it has no leaf");
    world.one(acknowledge(BOB, 1, &[]));
    assert!(matches!(world.one(large(1_000, &[BOBS_TABLET, BOB])), Answer::Accepted(_)), "under the same id, once there is room");
}

#[test]
fn what_nobody_fetched_goes_after_its_time() {
    let mut world = Reopened::new();
    // Stored at NOW + 1 … NOW + 5.
    world.commit(&(1..=5).map(|number| submit(number, &[BOB, BOBS_TABLET])).collect::<Vec<_>>());
    world.one(acknowledge(BOBS_TABLET, 5, &[]));
    let expire = |offset: u64, most: usize| Write::Expire { before: Millis(NOW.0 + offset), most };
    assert_eq!(RETENTION_MS, 30 * 24 * 3_600_000);
    let stories: [(&str, Write, bool, Left); 5] = [
        ("it is not time", expire(1, 9), false, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]),
        ("a bounded sweep leaves some", expire(4, 2), true, &[(3, 3), (4, 4), (5, 5)]),
        ("the next goes on", expire(4, 2), false, &[(4, 4), (5, 5)]),
        ("there is nothing more to do", expire(4, 2), false, &[(4, 4), (5, 5)]),
        ("exactly as many as allowed", expire(6, 2), false, &[]),
    ];
    for (name, write, more, left) in stories {
        assert_eq!(world.one(write), Answer::Done { more }, "{name}");
        assert_eq!(world.numbers(&BOB), left, "{name}");
        world.again();
    }
    assert_eq!(world.one(submit(1, &[BOB])), accepted(1), "the id is forgotten too");
    assert_eq!(world.numbers(&BOB), [(6, 1)], "and the numbers go on");
}

#[test]
fn batches_follow_each_other_and_no_leaf_is_in_two() {
    let mut world = Reopened::new();
    world.commit(&(1..=3).map(|number| submit(number, &[BOB])).collect::<Vec<_>>());
    let stands = |world: &Reopened, number: u64| world.store().place(&leaf(number)).expect("it is read");
    assert_eq!([1, 2, 3, 4].map(|number| stands(&world, number)), [Some(Place::Stored), Some(Place::Stored), Some(Place::Stored), None]);
    let first = seal(world.store(), 2);
    let second = seal(world.store(), 3);
    assert_eq!(world.one(Write::Seal(Box::new(first.clone()))), DONE);
    assert_eq!(world.one(Write::Seal(Box::new(second))), Answer::OutOfOrder, "a second one for the same sequence");
    let third = seal(world.store(), 3);
    world.again();
    let log = world.store().log().expect("it is read");
    assert_eq!((log.sealed, log.anchored, log.sealed_leaves, log.leaves, log.on_the_way()), (1, 0, 2, 3, 1));
    assert_eq!([1, 2, 3].map(|number| stands(&world, number)), [Some(Place::Batch(1)), Some(Place::Batch(1)), Some(Place::Stored)]);
    let batch = world.store().batch(1).expect("it is read").expect("it is there");
    assert_eq!((batch.anchor, batch.first, batch.end, batch.anchored), (first.anchor, 0, 2, None), "the same bytes after a restart");
    assert_eq!(world.store().leaves(1).expect("they are read"), Some(first.leaves));
    assert_eq!(world.one(Write::Complete { sequence: 2, at: NOW }), Answer::OutOfOrder);
    for _ in 0..2 {
        assert_eq!(world.one(Write::Complete { sequence: 1, at: NOW }), DONE, "twice is once");
    }
    assert_eq!(world.store().batch(1).expect("it is read").and_then(|batch| batch.anchored), Some(NOW));
    assert_eq!(world.one(Write::Seal(Box::new(Seal { end: 4, ..third.clone() }))), Answer::OutOfOrder, "more leaves than there are");
    assert_eq!(world.one(Write::Seal(Box::new(third))), DONE);
    assert_eq!(world.one(Write::Complete { sequence: 2, at: Millis(NOW.0 + 1) }), DONE);
    assert_eq!(stands(&world, 3), Some(Place::Batch(2)));
    assert_eq!(world.store().unsealed(9).expect("they are read"), []);
    let idle = seal(world.store(), 3);
    assert_eq!(idle.leaves.len(), 1, "padding");
    assert_eq!(world.one(Write::Seal(Box::new(idle))), DONE);
    assert!(world.store().batch(3).expect("it is read").is_some());
    assert_eq!(world.one(Write::Complete { sequence: 3, at: NOW }), DONE);
    assert_eq!(world.store().batch(3).expect("it is read"), None, "of an idle second nothing is kept but that it was");
    assert_eq!(world.store().log().expect("it is read").anchored, 3);
    let forget = |before: u64| Write::Forget { before: Millis(NOW.0 + before), most: 1 };
    assert_eq!(world.one(forget(2)), Answer::Done { more: true });
    assert_eq!([1, 3].map(|number| stands(&world, number)), [None, Some(Place::Batch(2))]);
    world.again();
    assert_eq!(world.one(forget(1)), DONE);
    assert_eq!(stands(&world, 3), Some(Place::Batch(2)), "it is not time");
    assert_eq!(world.one(forget(2)), DONE);
    assert_eq!(stands(&world, 3), None);
    assert_eq!(world.store().leaves(2).expect("they are read"), None);
}

#[test]
fn some_batches_are_on_their_way_and_no_more() {
    let mut world = Reopened::new();
    world.commit(&(1..=5).map(|number| submit(number, &[BOB])).collect::<Vec<_>>());
    // The second is of padding only.
    for end in [1, 1, 2, 3] {
        assert_eq!(world.one(Write::Seal(Box::new(seal(world.store(), end)))), DONE);
    }
    assert_eq!(world.one(Write::Seal(Box::new(seal(world.store(), 4)))), Answer::OutOfOrder, "a fifth");
    world.again();
    let anchored = |world: &Reopened| {
        let batch = |number| world.store().batch(number).expect("it is read").map(|batch| batch.anchored.is_some());
        (world.store().log().expect("it is read").anchored, [1, 2, 3, 4].map(batch))
    };
    assert_eq!(anchored(&world), (0, [Some(false); 4]));
    assert_eq!(world.one(Write::Complete { sequence: 5, at: NOW }), Answer::OutOfOrder, "one that is not sealed");
    assert_eq!(world.one(Write::Complete { sequence: 3, at: NOW }), DONE);
    assert_eq!(anchored(&world), (3, [Some(true), None, Some(true), Some(false)]), "all up to it");
    assert_eq!(world.one(Write::Complete { sequence: 2, at: NOW }), Answer::OutOfOrder, "an older one");
    for end in [4, 4, 5] {
        assert_eq!(world.one(Write::Seal(Box::new(seal(world.store(), end)))), DONE);
    }
    assert_eq!(world.store().log().expect("it is read").on_the_way(), ON_THE_WAY);
}

#[test]
fn another_log_begins_with_what_was_not_anchored() {
    let mut world = Reopened::new();
    world.commit(&(1..=6).map(|number| submit(number, &[BOB])).collect::<Vec<_>>());
    for end in [2, 3, 3, 5] {
        assert_eq!(world.one(Write::Seal(Box::new(seal(world.store(), end)))), DONE);
    }
    assert_eq!(world.one(Write::Complete { sequence: 1, at: NOW }), DONE);
    let stands = |world: &Reopened| [1, 2, 3, 4, 5, 6].map(|number| world.store().place(&leaf(number)).expect("it is read").expect("kept"));
    let (kept, later) = (Millis(NOW.0 + 1), Millis(NOW.0 + 2));
    for refused in [0, 5] {
        assert!(world.store().begin_log(refused, kept).is_err(), "{refused}: below what was completed, above what was sealed");
    }
    use Place::{Batch, Stored};
    // The chain has the second as well; again it is the same.
    for anchored in [2, 0] {
        world.store().begin_log(anchored, kept).expect("it is written");
        world.again();
        let log = world.store().log().expect("it is read");
        assert_eq!(log, LogState { before: 2, sealed_leaves: 3, leaves: 6, ..LogState::default() });
        assert_eq!(stands(&world), [Batch(1), Batch(1), Batch(2), Stored, Stored, Stored]);
        assert_eq!(world.store().unsealed(9).expect("they are read"), [leaf(4), leaf(5), leaf(6)], "in their order, without padding");
        assert_eq!([3, 4].map(|number| world.store().batch(number).expect("it is read")), [None, None]);
    }
    let second = world.store().batch(2).expect("it is read").expect("it is kept");
    assert_eq!((second.anchor.anchor.sequence, second.anchored), (2, Some(kept)), "under the log that it was anchored in");
    let next = seal(world.store(), 5);
    assert_eq!((next.anchor.anchor.sequence, next.anchor.anchor.previous), (1, Hash::ZERO), "the new log begins at 1");
    assert_eq!(world.one(Write::Seal(Box::new(next.clone()))), DONE);
    assert_eq!(world.one(Write::Complete { sequence: 1, at: later }), DONE);
    world.again();
    assert_eq!(stands(&world), [Batch(1), Batch(1), Batch(2), Batch(3), Batch(3), Stored]);
    let third = world.store().batch(3).expect("it is read").expect("it is kept");
    assert_eq!((third.anchor, third.first, third.end, third.anchored), (next.anchor, 3, 5, Some(later)));
    assert_eq!(world.one(Write::Forget { before: Millis(NOW.0 + 3), most: 9 }), DONE);
    assert_eq!([2, 4, 6].map(|number| world.store().place(&leaf(number)).expect("it is read")), [None, None, Some(Stored)]);
}
