use proptest::prelude::*;
use types::Millis;

use super::{
    Input, MAX_AHEAD, MAX_SUBMISSIONS, MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES, Output, Session, close, join, narrow, problem,
};
use crate::fixture::{NOW, address, delivery, id, submission};
use crate::frame::{
    Accepted, AcceptedItem, Acknowledge, ClientFrame, Empty, Kind, MAX_CONTENT, MAX_ITEMS, Open, Opened, PrekeysLow, Problem, Received,
    Refusal, Refused, ServerFrame, SlowDown,
};
use crate::wire;

fn step(session: &mut Session, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    session.step(input, &mut out);
    out
}

/// Feeds each input and compares what it causes.
fn check(story: &str, session: &mut Session, steps: Vec<(Input, Vec<Output>)>) {
    for (number, (input, expected)) in steps.into_iter().enumerate() {
        assert_eq!(step(session, input), expected, "{story}: step {number}");
    }
}

fn open(acknowledged: u64) -> Input {
    Input::Frame(ClientFrame::Open(Open { token: "token".to_owned(), acknowledged }))
}

fn acknowledge(upto: u64, also: &[u64]) -> Acknowledge {
    Acknowledge { upto, also: also.to_vec() }
}

fn acknowledged(upto: u64, also: &[u64]) -> Input {
    Input::Frame(ClientFrame::Acknowledge(acknowledge(upto, also)))
}

fn read(after: u64, items: usize, bytes: usize) -> Output {
    Output::Read { after, items: narrow(items), bytes: narrow(bytes) }
}

/// A read of an empty flight.
fn read_all(after: u64) -> Output {
    read(after, MAX_ITEMS, MAX_UNACKNOWLEDGED_BYTES)
}

/// The store's answer: empty contents with these numbers.
fn found(numbers: impl IntoIterator<Item = u64>, more: bool) -> Input {
    Input::Read { items: numbers.into_iter().map(|number| delivery(number, 0)).collect(), more }
}

fn received(numbers: impl IntoIterator<Item = u64>) -> Output {
    Output::Send(ServerFrame::Received(Received { items: numbers.into_iter().map(|number| delivery(number, 0)).collect() }))
}

fn empty() -> Output {
    Output::Send(ServerFrame::Empty(Empty {}))
}

fn item(number: u64) -> AcceptedItem {
    AcceptedItem { message_id: id(number), envelope: None }
}

fn accepted(numbers: impl IntoIterator<Item = u64>) -> Output {
    Output::Send(ServerFrame::Accepted(Accepted { items: numbers.into_iter().map(item).collect() }))
}

fn closed(code: u32, message: &str, close: u16, reason: &'static str) -> Vec<Output> {
    let problem = Problem { code, message: message.to_owned() };
    vec![Output::Send(ServerFrame::Error(problem)), Output::Close { code: close, reason }]
}

/// A session that stands, with its first read under way.
fn standing(acknowledged: u64) -> Session {
    let mut session = Session::new(NOW);
    let token = "token".to_owned();
    let opened = Opened { address: address(1, 1), time: NOW, acknowledged, max_unacknowledged: 256, max_frame: 1 << 20 };
    check(
        "opening",
        &mut session,
        vec![
            (open(acknowledged), vec![Output::Authenticate { token, acknowledged }]),
            (
                Input::Authenticated { address: address(1, 1), acknowledged },
                vec![Output::Send(ServerFrame::Opened(opened)), read_all(acknowledged)],
            ),
        ],
    );
    session
}

#[test]
fn a_mailbox_is_given_in_order_and_its_end_is_said_once() {
    let steps = vec![
        (found([1, 2], true), vec![received([1, 2]), read(2, 64, MAX_UNACKNOWLEDGED_BYTES)]),
        (found([3], false), vec![received([3]), empty()]),
        (Input::Available, vec![read_all(3)]),
        (Input::Available, vec![]),
        (found([4], false), vec![received([4]), read_all(4)]),
        (found([], false), vec![]),
        (acknowledged(4, &[]), vec![Output::Acknowledge(acknowledge(4, &[]))]),
    ];
    check("what comes during a read causes another", &mut standing(0), steps);
    check("an empty mailbox", &mut standing(7), vec![(found([], false), vec![empty()])]);
}

#[test]
fn what_is_under_way_is_bounded_in_items() {
    let mut session = standing(0);
    for first in [1, 65, 129] {
        let next = first + 63;
        check("the mailbox has more", &mut session, vec![(found(first..=next, true), vec![received(first..=next), read_all(next)])]);
    }
    let steps = vec![
        (found(193..=256, true), vec![received(193..=256)]),
        (Input::Available, vec![]),
        (acknowledged(0, &[7]), vec![Output::Acknowledge(acknowledge(0, &[7])), read(256, 1, MAX_UNACKNOWLEDGED_BYTES)]),
        (found([257], true), vec![received([257])]),
        (acknowledged(0, &[7]), vec![Output::Acknowledge(acknowledge(0, &[7]))]),
        (acknowledged(100, &[]), vec![Output::Acknowledge(acknowledge(100, &[])), read_all(257)]),
    ];
    check("256 are under way", &mut session, steps);
}

#[test]
fn what_is_under_way_is_bounded_in_bytes() {
    let mut session = standing(0);
    let large = |numbers: &[u64]| numbers.iter().map(|number| delivery(*number, MAX_CONTENT)).collect::<Vec<_>>();
    let given = |numbers: &[u64]| Output::Send(ServerFrame::Received(Received { items: large(numbers) }));
    let steps = vec![
        (Input::Read { items: large(&[1]), more: true }, vec![given(&[1]), read(1, 64, MAX_UNACKNOWLEDGED_BYTES - MAX_CONTENT)]),
        (Input::Read { items: large(&[2]), more: true }, vec![given(&[2])]),
        (acknowledged(1, &[]), vec![Output::Acknowledge(acknowledge(1, &[])), read(2, 64, MAX_UNACKNOWLEDGED_BYTES - MAX_CONTENT)]),
    ];
    check("room for the largest content is waited for", &mut session, steps);
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let steps = vec![
        (acknowledged(2, &[4, 6]), vec![Output::Acknowledge(acknowledge(2, &[4, 6]))]),
        (found(1..=5, true), vec![received([3, 5]), read_all(5)]),
        (found(3..=8, false), vec![received([7, 8]), empty()]),
    ];
    check("while the store was reading, or before its deletion was done", &mut standing(0), steps);
    let steps = vec![(acknowledged(9, &[]), vec![Output::Acknowledge(acknowledge(9, &[]))]), (found([], true), vec![read_all(9)])];
    check("a prefix that this session never gave", &mut standing(0), steps);
    let steps = vec![(found([2, 1, 1, 2, 3], false), vec![received([2, 3]), empty()]), (found([9], false), vec![])];
    check("whatever the store answers, numbers ascend; and an answer that was not asked for is none", &mut standing(0), steps);
}

#[test]
fn numbers_acknowledged_ahead_are_bounded() {
    let mut session = standing(0);
    let ahead: Vec<u64> = (2..2 + MAX_AHEAD as u64).collect();
    for also in ahead.chunks(256) {
        check("ahead", &mut session, vec![(acknowledged(0, also), vec![Output::Acknowledge(acknowledge(0, also))])]);
    }
    let steps =
        vec![(acknowledged(0, &[9_999]), closed(problem::TOO_MUCH, "more at once than the protocol allows", close::TOO_MUCH, "too much"))];
    check("one more", &mut session, steps);
}

#[test]
fn submissions_are_passed_on_and_answered() {
    let submit = |kind| vec![Output::Submit { kind, submission: submission() }];
    let refused = Refused { message_id: id(2), refusal: Refusal::IdReused };
    let steps = vec![
        (Input::Frame(ClientFrame::Send(submission())), submit(Kind::Message)),
        (Input::Frame(ClientFrame::Delivered(submission())), submit(Kind::Delivered)),
        (Input::Frame(ClientFrame::Read(submission())), submit(Kind::Read)),
        (Input::Accepted(item(1)), vec![accepted([1])]),
        (Input::Refused(refused.clone()), vec![Output::Send(ServerFrame::Refused(refused))]),
        (
            Input::PrekeysLow(PrekeysLow { one_time: 1, one_time_kyber: 2 }),
            vec![Output::Send(ServerFrame::PrekeysLow(PrekeysLow { one_time: 1, one_time_kyber: 2 }))],
        ),
    ];
    check("each kind", &mut standing(0), steps);
}

#[test]
fn a_device_that_sends_too_much_is_not_read() {
    let mut session = standing(0);
    for _ in 0..MAX_SUBMISSIONS {
        assert!(session.listens());
        step(&mut session, Input::Frame(ClientFrame::Send(submission())));
    }
    assert!(!session.listens());
    step(&mut session, Input::Accepted(item(1)));
    assert!(session.listens(), "an answer makes room");
    let slow = |retry_after_ms| Output::Send(ServerFrame::SlowDown(SlowDown { retry_after_ms }));
    check(
        "said once",
        &mut session,
        vec![(Input::Overloaded { retry_after_ms: 9 }, vec![slow(9)]), (Input::Overloaded { retry_after_ms: 8 }, vec![])],
    );
    assert!(!session.listens());
    check(
        "it still hears answers and messages",
        &mut session,
        vec![(Input::Accepted(item(2)), vec![accepted([2])]), (found([1], false), vec![received([1]), empty()])],
    );
    check(
        "until the relay goes on",
        &mut session,
        vec![(Input::Relieved, vec![]), (Input::Overloaded { retry_after_ms: 7 }, vec![slow(7)])],
    );
    step(&mut session, Input::Relieved);
    step(&mut session, Input::Frame(ClientFrame::Send(submission())));
    step(&mut session, Input::Frame(ClientFrame::Send(submission())));
    let expected = closed(problem::TOO_MUCH, "more at once than the protocol allows", close::TOO_MUCH, "too much");
    check("a shell that reads all the same", &mut session, vec![(Input::Frame(ClientFrame::Send(submission())), expected)]);
}

/// What closes a session, and that it does nothing more.
fn ends(story: &str, mut session: Session, input: Input, expected: Vec<Output>) {
    check(story, &mut session, vec![(input, expected)]);
    assert!(session.is_closed() && !session.listens(), "{story}");
    for input in [open(0), Input::Available, Input::Replaced, Input::Tick(Millis(u64::MAX)), Input::Accepted(item(1)), found([1], true)] {
        check(story, &mut session, vec![(input, vec![])]);
    }
}

#[test]
fn every_end_has_its_code() {
    let silent = || Session::new(NOW);
    let opening = || {
        let mut session = silent();
        step(&mut session, open(0));
        assert!(!session.listens(), "what follows waits for the answer");
        session
    };
    let late = Input::Tick(Millis(NOW.0 + 10_000));
    let timed_out = || closed(problem::TIMED_OUT, "no session was opened in time", close::TIMED_OUT, "timed out");
    ends("nothing came", silent(), late.clone(), timed_out());
    ends("the token is judged for too long", opening(), late.clone(), timed_out());
    check("in time", &mut silent(), vec![(Input::Tick(Millis(NOW.0 + 9_999)), vec![])]);
    check("a clock that goes back", &mut silent(), vec![(Input::Tick(Millis(0)), vec![])]);
    check("a session that stands has no end", &mut standing(0), vec![(late, vec![])]);
    let not_open = || closed(problem::NOT_OPEN, "the first frame opens the session", close::MALFORMED, "not open");
    ends("a message first", silent(), Input::Frame(ClientFrame::Send(submission())), not_open());
    ends("an acknowledgement first", silent(), acknowledged(1, &[]), not_open());
    ends(
        "opened twice",
        standing(0),
        open(0),
        closed(problem::OPEN_TWICE, "the session is open already", close::MALFORMED, "open already"),
    );
    let too_much = closed(problem::TOO_MUCH, "more at once than the protocol allows", close::TOO_MUCH, "too much");
    ends("a shell that reads during the judgement", opening(), acknowledged(1, &[]), too_much);
    let replaced = || closed(problem::REPLACED, "the device opened another session", close::REPLACED, "replaced");
    ends("replaced", standing(0), Input::Replaced, replaced());
    ends("replaced while opening", opening(), Input::Replaced, replaced());
    let refused = Problem { code: 7_001, message: "expired".to_owned() };
    let expected = || closed(7_001, "expired", close::NOT_AUTHENTICATED, "not authenticated");
    ends("a token that is not believed", opening(), Input::NotAuthenticated(refused.clone()), expected());
    ends("a token that is revoked later", standing(0), Input::NotAuthenticated(refused), expected());
    for session in [silent(), opening(), standing(0)] {
        let expected = closed(2103, "no frame of this protocol", close::MALFORMED, "malformed");
        ends("malformed", session, Input::Malformed(wire::Error::Shape), expected);
    }
}

#[test]
fn nothing_happens_before_the_session_stands() {
    for input in [Input::Available, Input::Relieved, found([1], true), Input::Accepted(item(1)), Input::Overloaded { retry_after_ms: 1 }] {
        check("silent", &mut Session::new(NOW), vec![(input, vec![])]);
    }
    check("not asked", &mut Session::new(NOW), vec![(Input::Authenticated { address: address(1, 1), acknowledged: 0 }, vec![])]);
    check("asked once", &mut standing(0), vec![(Input::Authenticated { address: address(2, 1), acknowledged: 0 }, vec![])]);
}

#[test]
fn answers_that_stand_together_are_joined() {
    let check = |story: &str, mut outputs: Vec<Output>, expected: Vec<Output>| {
        join(&mut outputs);
        assert_eq!(outputs, expected, "{story}");
    };
    check("nothing", vec![], vec![]);
    check("three", vec![accepted([1]), accepted([2]), accepted([3])], vec![accepted([1, 2, 3])]);
    check("with something between", vec![accepted([1]), empty(), accepted([2])], vec![accepted([1]), empty(), accepted([2])]);
    check(
        "more than a frame takes",
        (1..=130).map(|number| accepted([number])).collect(),
        vec![accepted(1..=64), accepted(65..=128), accepted(129..=130)],
    );
}

proptest! {
    /// Whatever happens: the bounds hold, one read is under way at most, numbers ascend, and what was
    /// acknowledged does not come.
    #[test]
    fn bounds_hold_whatever_happens(acts in prop::collection::vec((0u8..5, 0u64..300, 0usize..MAX_CONTENT, any::<bool>()), 0..200)) {
        let mut session = standing(0);
        let (mut asked, mut given, mut gone, mut last) = (Some((0u64, 64usize, MAX_UNACKNOWLEDGED_BYTES)), std::collections::BTreeMap::new(), 0u64, 0u64);
        let mut selected = std::collections::BTreeSet::new();
        for (act, number, size, more) in acts {
            let input = match act {
                0 => Input::Available,
                1 => acknowledged(number.min(last), &[]),
                2 => acknowledged(gone, &[number + gone + 1]),
                _ => match asked {
                    Some((after, items, bytes)) => {
                        // The store: numbers above `after`, whatever was deleted among them.
                        let size = size.min(bytes / items.max(1)).max(1);
                        Input::Read { items: (1..=items as u64).map(|step| delivery(after + step, size)).collect(), more }
                    }
                    None => Input::Relieved,
                },
            };
            if let Input::Frame(ClientFrame::Acknowledge(acknowledge)) = &input {
                gone = gone.max(acknowledge.upto);
                selected.extend(acknowledge.also.iter().copied());
                given.retain(|number, _| *number > gone && !selected.contains(number));
            }
            if matches!(input, Input::Read { .. }) {
                asked = None;
            }
            let outputs = step(&mut session, input);
            if session.is_closed() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Send(ServerFrame::Received(frame)) => {
                        for item in frame.items {
                            prop_assert!(item.sequence > last && item.sequence > gone && !selected.contains(&item.sequence));
                            last = item.sequence;
                            given.insert(item.sequence, item.encrypted_content.0.len());
                        }
                    }
                    Output::Read { after, items, bytes } => {
                        prop_assert!(asked.is_none(), "one read at a time");
                        prop_assert!(after >= last && items >= 1 && items as usize <= MAX_ITEMS && bytes as usize >= MAX_CONTENT);
                        asked = Some((after, items as usize, bytes as usize));
                    }
                    _ => {}
                }
            }
            prop_assert!(given.len() <= MAX_UNACKNOWLEDGED);
            prop_assert!(given.values().sum::<usize>() <= MAX_UNACKNOWLEDGED_BYTES);
        }
    }
}
