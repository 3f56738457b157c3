//! Messages from device to device.

use std::time::Duration;

use mailbox::frame::{Kind, Refused, SlowDown};
use mailbox::limit::Rate;
use mailbox::wire::Encoding;
use mailbox::{ClientFrame, Refusal, ServerFrame, Submission};

use super::device::{World, names};
use crate::messages::tests::committing::Gated;
use crate::messages::tests::fixture::{ALICE, BOB, devices, id, message};
use crate::messages::{Messages, RETRY_AFTER_MS, Rocks, now};

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_whichever_encoding_each_speaks() {
    let world = World::new().await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut number, mut stored) = (0, 0);
    for ours in BOTH {
        for theirs in BOTH {
            let (mut from, _) = world.open(&alice, ours, 0).await;
            // The first while Bob is offline, the second while he is connected.
            let ServerFrame::Accepted(accepted) = from.send(bob.message(number)).await else { panic!("it is not accepted") };
            let seen = accepted.items[0].envelope.clone().expect("a message has one");
            let (mut to, opened) = world.open(&bob, theirs, stored).await;
            assert_eq!(opened.acknowledged, stored);
            let first = to.received(1).await.remove(0);
            assert_eq!((first.sequence, first.message_id, first.sender_id), (stored + 1, id(number), alice.person.did()));
            assert_eq!((first.kind, first.received_at), (Kind::Message, seen.received));
            assert!(to.is_empty().await);
            from.send(bob.message(number + 1)).await;
            assert_eq!(names(&to.received(1).await), [(stored + 2, id(number + 1))]);
            to.acknowledge(stored + 2).await;
            // His receipt comes back, and is a mailbox's item like any other.
            let receipt = Submission { content_hash: None, ..alice.message(1_000 + number) };
            to.say(&ClientFrame::Delivered(receipt)).await;
            to.accepted(1).await;
            let told = from.received(1).await.remove(0);
            assert_eq!((told.kind, told.sealed_envelope), (Kind::Delivered, None));
            from.acknowledge(told.sequence).await;
            (number, stored) = (number + 2, stored + 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_the_last_one_ended() {
    let world = World::new().await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    for number in 0..6 {
        from.send(bob.message(number)).await;
    }
    let expected = |range: std::ops::Range<u64>| range.map(|number| (number + 1, id(number))).collect::<Vec<_>>();
    let (mut first, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert_eq!(names(&first.received(6).await), expected(0..6));
    first.acknowledge(2).await;
    drop(first);
    // What was not acknowledged comes again; what the device says it has does not.
    let (mut second, opened) = world.open(&bob, Encoding::Json, 4).await;
    assert_eq!(opened.acknowledged, 4);
    assert_eq!(names(&second.received(2).await), expected(4..6));
    assert!(second.is_empty().await);
    second.acknowledge(6).await;
    drop(second);
    // An acknowledgement has no answer: the next session shows that it arrived.
    let (mut third, _) = world.open(&bob, Encoding::Json, 6).await;
    assert!(third.is_empty().await);
    // A device that has more than this relay ever gave does not go on as if nothing were.
    let mut ahead = world.connect(Encoding::Json).await;
    ahead.say(&ClientFrame::Open(mailbox::frame::Open { token: bob.token.clone(), acknowledged: 7 })).await;
    assert_eq!(ahead.closed().await, (2301, Some(4401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_again_is_answered_again_and_delivered_once() {
    let world = World::new().await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Json, 0).await;
    let first = from.send(bob.message(1)).await;
    assert_eq!(from.send(bob.message(1)).await, first);
    drop(from);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    assert_eq!(from.send(bob.message(1)).await, first, "in another session, in another encoding");
    let other = Submission { message_id: id(1), ..bob.message(2) };
    let refused = ServerFrame::Refused(Refused { message_id: id(1), refusal: Refusal::IdReused });
    assert_eq!(from.send(other).await, refused);
    let (mut to, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert_eq!(names(&to.received(1).await), [(1, id(1))]);
    assert!(to.is_empty().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_exactly_the_devices_is_refused_and_not_stored() {
    let world = World::new().await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Json, 0).await;
    let nobody = crate::accounts::tests::Person::new().did();
    let with = |bend: &dyn Fn(&mut Submission)| {
        let mut submission = bob.message(5);
        bend(&mut submission);
        submission
    };
    let did = bob.person.did();
    let others = |missing: &[u16], extra: &[u16], stale: &[u16]| Refusal::Devices {
        did,
        missing: missing.to_vec(),
        extra: extra.to_vec(),
        stale: stale.to_vec(),
    };
    let stories = [
        ("for no device", with(&|it| it.contents.clear()), others(&[1], &[], &[])),
        ("for another device", with(&|it| it.contents[0].device_id = 2), others(&[1], &[2], &[])),
        ("for the device as it was", with(&|it| it.contents[0].registration_id = 6), others(&[], &[], &[1])),
        ("for nobody here", with(&|it| it.recipient_id = nobody), Refusal::NoAccount { did: nobody }),
    ];
    for (story, submission, refusal) in stories {
        assert_eq!(from.send(submission).await, ServerFrame::Refused(Refused { message_id: id(5), refusal }), "{story}");
    }
    let (mut to, _) = world.open(&bob, Encoding::Json, 0).await;
    assert!(to.is_empty().await, "nothing was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_arrive_in_order_in_few_frames() {
    let world = World::with(|config| config.limits.messages = Rate { per_second: 10_000, burst: 10_000 }).await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    let (mut to, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert!(to.is_empty().await);
    let sending = tokio::spawn(async move {
        // More than may be unanswered: the relay leaves the rest in the socket meanwhile.
        for number in 0..600 {
            from.say(&ClientFrame::Send(bob.message(number))).await;
        }
        from.accepted(600).await
    });
    let mut received = Vec::new();
    while received.len() < 600 {
        // Beyond 256 without acknowledgement the relay waits, so each frame is acknowledged.
        let items = to.received(1).await;
        to.acknowledge(items.last().expect("one at least").sequence).await;
        received.extend(items);
    }
    assert_eq!(names(&received), (0..600).map(|number| (number + 1, id(number))).collect::<Vec<_>>());
    let accepted = sending.await.expect("no panic");
    assert_eq!(accepted.iter().map(|item| item.message_id).collect::<Vec<_>>(), (0..600).map(id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_acknowledge_is_not_given_more() {
    let world = World::with(|config| config.limits.messages = Rate { per_second: 10_000, burst: 10_000 }).await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    for number in 0..300 {
        from.send(bob.message(number)).await;
    }
    let (mut to, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert_eq!(to.received(256).await.len(), 256);
    assert!(tokio::time::timeout(Duration::from_millis(300), to.listen()).await.is_err(), "nothing more for now");
    to.acknowledge(256).await;
    assert_eq!(to.received(44).await.first().map(|item| item.sequence), Some(257));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_when_to_go_on() {
    let world = World::with(|config| config.limits.messages = Rate { per_second: 1, burst: 2 }).await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Json, 0).await;
    for number in 0..2 {
        assert!(matches!(from.send(bob.message(number)).await, ServerFrame::Accepted(_)));
    }
    let refusal = Refusal::TooMany { retry_after_ms: 1_000 };
    assert_eq!(from.send(bob.message(2)).await, ServerFrame::Refused(Refused { message_id: id(2), refusal }));
    world.door.pass(1_000);
    assert!(matches!(from.send(bob.message(2)).await, ServerFrame::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_has_too_much_to_do_says_so_and_takes_what_was_sent() {
    let home = tempfile::tempdir().expect("a folder");
    let gate = Gated::new(Rocks::open(home.path()).expect("it opens"));
    let messages = Messages::over(gate.clone(), now);
    let (world, _stop) = World::new().await.over(messages.clone()).await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    assert!(from.is_empty().await);
    // The disk stands still, and others fill the inlet.
    gate.set(false);
    let others = devices([1]);
    let prepare = |number| messages.prepare(ALICE, Kind::Message, &message(number, &[BOB], 10), Some(&others), &others);
    assert!((0..20_000).any(|number| messages.offer(prepare(number)).is_err()), "the inlet is bounded");
    let slow = ServerFrame::SlowDown(SlowDown { retry_after_ms: RETRY_AFTER_MS });
    assert_eq!(from.send(bob.message(1)).await, slow);
    // Nothing more is read from here until there is room: what is sent meanwhile waits in the socket.
    for number in 2..10 {
        from.say(&ClientFrame::Send(bob.message(number))).await;
    }
    assert!(tokio::time::timeout(Duration::from_millis(200), from.listen()).await.is_err());
    gate.set(true);
    let accepted = from.accepted(9).await;
    assert_eq!(accepted.iter().map(|item| item.message_id).collect::<Vec<_>>(), (1..10).map(id).collect::<Vec<_>>());
    let (mut to, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert_eq!(names(&to.received(9).await), (1..10).map(|number| (number, id(number))).collect::<Vec<_>>());
}
