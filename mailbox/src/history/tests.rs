use types::Hash;

use super::{Event, Violation, check};
use crate::fixture::{address, id};
use crate::frame::Address;

fn alice() -> Address {
    address(1, 1)
}

fn bob() -> Address {
    address(2, 1)
}

fn conversation() -> Hash {
    Hash([9; 32])
}

fn opened(by: Address, acknowledged: u64) -> Event {
    Event::Opened { by, acknowledged }
}

/// Alice sends to Bob.
fn sent(message: u64) -> Event {
    Event::Sent { by: alice(), message: id(message), conversation: conversation(), to: vec![bob()] }
}

fn accepted(message: u64) -> Event {
    Event::Accepted { by: alice(), message: id(message) }
}

fn refused(message: u64) -> Event {
    Event::Refused { by: alice(), message: id(message) }
}

/// Bob is given Alice's.
fn received(sequence: u64, message: u64) -> Event {
    Event::Received { by: bob(), sequence, message: id(message), conversation: conversation(), from: alice() }
}

fn acknowledged(upto: u64, also: &[u64]) -> Event {
    Event::Acknowledged { by: bob(), upto, also: also.to_vec() }
}

fn drained() -> Event {
    Event::Drained { by: bob() }
}

fn expired(upto: u64) -> Event {
    Event::Expired { of: bob(), upto }
}

/// `events` after three accepted messages and before nothing.
fn story(what: &str, events: Vec<Event>, expected: Vec<Violation>) {
    let mut all = vec![opened(alice(), 0)];
    for message in 1..=3 {
        all.extend([sent(message), accepted(message)]);
    }
    all.extend(events);
    assert_eq!(check(&all), expected, "{what}");
    let text = serde_json::to_string(&all).expect("events are JSON");
    assert_eq!(serde_json::from_str::<Vec<Event>>(&text).expect("and back"), all, "{what}");
}

fn repeated(sequence: u64) -> Violation {
    Violation::Repeated { by: bob(), sequence }
}

#[test]
fn what_keeps_the_promise_is_found_to() {
    let all = || vec![opened(bob(), 0), received(1, 1), received(2, 2), received(3, 3), drained()];
    story("all in order", all(), vec![]);
    let mut again = vec![opened(bob(), 0), received(1, 1), received(2, 2)];
    again.extend(all());
    story("again in another session, if nothing was acknowledged", again, vec![]);
    let events = vec![opened(bob(), 0), received(1, 1), acknowledged(1, &[]), opened(bob(), 1), received(2, 2), received(3, 3), drained()];
    story("goes on", events, vec![]);
    let events = vec![
        opened(bob(), 0),
        received(1, 1),
        received(2, 2),
        acknowledged(0, &[2]),
        opened(bob(), 0),
        received(1, 1),
        received(3, 3),
        drained(),
    ];
    story("a gap where one was acknowledged by itself", events, vec![]);
    let events = vec![
        opened(bob(), 0),
        received(1, 1),
        received(2, 2),
        acknowledged(0, &[2]),
        opened(bob(), 0),
        received(1, 1),
        received(2, 2),
        received(3, 3),
        drained(),
    ];
    story("an acknowledgement that was lost on its way", events, vec![]);
    story("nothing is said of a session that does not end", vec![opened(bob(), 0), received(1, 1)], vec![]);
    story("expired, and the rest", vec![expired(2), opened(bob(), 0), received(3, 3), drained()], vec![]);
    let events = vec![opened(bob(), 0), received(1, 1), expired(2), opened(bob(), 1), received(3, 3), drained()];
    story("one of two expired ones had come", events, vec![]);
    story(
        "accepted after the session began: not yet due",
        vec![opened(bob(), 0), sent(4), accepted(4), received(1, 1), received(2, 2), received(3, 3), drained()],
        vec![],
    );
}

#[test]
fn what_is_lost_is_found() {
    let lost = |message| Violation::Lost { by: bob(), message: id(message) };
    story("the end", vec![opened(bob(), 0), received(1, 1), received(2, 2), drained()], vec![lost(3)]);
    story("everything", vec![opened(bob(), 0), drained()], vec![lost(1), lost(2), lost(3)]);
    story("told once", vec![opened(bob(), 0), received(1, 1), received(2, 2), drained(), opened(bob(), 2), drained()], vec![lost(3)]);
    story("more than has expired", vec![expired(1), opened(bob(), 0), received(2, 2), drained()], vec![lost(1), lost(3)]);
    let events = vec![expired(1), opened(bob(), 1), drained()];
    story("which of them expired is not known: all are named", events, vec![lost(1), lost(2), lost(3)]);
}

#[test]
fn gaps_and_repeats_are_found() {
    let gap = |after, sequence| Violation::Gap { by: bob(), after, sequence };
    story("a number is left out", vec![opened(bob(), 0), received(1, 1), received(3, 2), received(4, 3), drained()], vec![gap(1, 3)]);
    story("the first is left out", vec![opened(bob(), 0), received(2, 1), received(3, 2), received(4, 3)], vec![gap(0, 2)]);
    let events = vec![opened(bob(), 0), received(1, 1), received(2, 2), opened(bob(), 0), received(2, 2)];
    story("one that came and was not acknowledged is left out", events, vec![gap(0, 2)]);
    let disordered = |message| Violation::Disordered { by: bob(), message: id(message) };
    let events = vec![opened(bob(), 0), received(1, 1), received(2, 3), received(4, 2)];
    story("and out of order", events, vec![gap(2, 4), disordered(3)]);
    story("in one session", vec![opened(bob(), 0), received(1, 1), received(1, 1)], vec![repeated(1)]);
    story("backwards", vec![opened(bob(), 0), received(1, 1), received(2, 2), received(1, 1)], vec![repeated(1)]);
    story(
        "after it was acknowledged",
        vec![opened(bob(), 0), received(1, 1), acknowledged(1, &[]), opened(bob(), 1), received(1, 1)],
        vec![repeated(1)],
    );
    story("by a device that forgot", vec![opened(bob(), 1), opened(bob(), 0), received(1, 1)], vec![repeated(1)]);
    let events = vec![opened(bob(), 0), acknowledged(0, &[2]), received(1, 1), received(2, 2)];
    story("acknowledged by itself in this session", events, vec![repeated(2)]);
}

#[test]
fn numbers_and_messages_that_stand_twice_are_found() {
    let reused = Violation::NumberReused { by: bob(), sequence: 1 };
    let events = vec![opened(bob(), 0), received(1, 1), opened(bob(), 0), received(1, 2)];
    story("one number, two messages", events, vec![reused]);
    let events = vec![opened(bob(), 0), received(1, 1), received(2, 1)];
    story("one message, two numbers", events, vec![Violation::Duplicate { by: bob(), message: id(1) }]);
    let unknown = |by, message| Violation::Unknown { by, message: id(message) };
    story("nobody sent it", vec![opened(bob(), 0), received(1, 9)], vec![unknown(bob(), 9)]);
    let mut other = received(1, 1);
    if let Event::Received { conversation, .. } = &mut other {
        *conversation = Hash::ZERO;
    }
    story("in another conversation", vec![opened(bob(), 0), other], vec![unknown(bob(), 1)]);
    story("an answer to nothing", vec![accepted(9), refused(8)], vec![unknown(alice(), 9), unknown(alice(), 8)]);
}

/// The events alone, and whether Bob's order is explained.
fn order(what: &str, events: Vec<Event>, wrong: &[u64]) {
    let expected: Vec<Violation> = wrong.iter().map(|message| Violation::Disordered { by: bob(), message: id(*message) }).collect();
    assert_eq!(check(&events), expected, "{what}");
}

#[test]
fn order_is_judged_by_what_the_sender_did() {
    let bobs = |order: &[u64]| -> Vec<Event> {
        let items = (1u64..).zip(order).map(|(sequence, message)| received(sequence, *message));
        [opened(bob(), 0)].into_iter().chain(items).collect()
    };
    let with = |mut events: Vec<Event>, order: &[u64]| {
        events.insert(0, opened(alice(), 0));
        events.extend(bobs(order));
        events
    };
    order("as sent", with(vec![sent(1), sent(2), sent(3)], &[1, 2, 3]), &[]);
    order("turned round", with(vec![sent(1), sent(2), sent(3)], &[2, 1, 3]), &[2]);
    order("the last one first", with(vec![sent(1), sent(2), sent(3)], &[3, 1, 2]), &[3]);
    order("accepted before", with(vec![sent(1), accepted(1), opened(alice(), 0), sent(2)], &[2, 1]), &[2]);
    order("in another session, not answered", with(vec![sent(1), opened(alice(), 0), sent(2)], &[2, 1]), &[]);
    let again = || vec![sent(1), sent(2), opened(alice(), 0), sent(1), sent(2)];
    order("all sent again", with(again(), &[1, 2]), &[]);
    order("the first was perhaps refused unheard", with(again(), &[2, 1]), &[]);
    order("turned round in the last session", with(vec![sent(1), opened(alice(), 0), sent(1), sent(2)], &[2, 1]), &[2]);
    order("refused, and sent again behind", with(vec![sent(1), sent(2), refused(1), accepted(2), sent(1)], &[2, 1]), &[]);
    let later = vec![sent(1), sent(2), refused(1), accepted(2), opened(alice(), 0), sent(1)];
    order("refused, and sent again in another session", with(later, &[2, 1]), &[]);
    let later = vec![sent(1), sent(2), refused(1), accepted(2), opened(alice(), 0), sent(1)];
    order("what was accepted meanwhile stands before it", with(later, &[1, 2]), &[]);
    order("one of them never came", with(vec![sent(1), sent(2), sent(3)], &[1, 3]), &[]);
    let elsewhere = Event::Sent { by: alice(), message: id(2), conversation: Hash::ZERO, to: vec![bob()] };
    let received = Event::Received { by: bob(), sequence: 1, message: id(2), conversation: Hash::ZERO, from: alice() };
    let events = vec![opened(alice(), 0), sent(1), elsewhere, opened(bob(), 0), received, self::received(2, 1)];
    order("conversations do not wait for each other", events, &[]);
}

#[test]
fn what_is_reported_is_bounded() {
    let mut events = vec![opened(bob(), 0)];
    events.extend((1..=2_000).map(|number| received(number, number)));
    assert_eq!(check(&events).len(), super::MAX_VIOLATIONS);
    let far = vec![
        opened(bob(), 0),
        received(u64::MAX, 1),
        acknowledged(u64::MAX, &[u64::MAX]),
        expired(u64::MAX),
        received(u64::MAX, 1),
        drained(),
    ];
    assert!(!check(&far).is_empty(), "numbers at their end do not overflow");
}
