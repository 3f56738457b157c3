//! Proposals, deposits, votes, and what passes.

use ledger::genesis::GenesisValidator;
use ledger::governance::{
    self, Change, Choice, Draft, Error, GovernanceParams, Kind, Plan, Proposal, ProposalId, Stage, Tally, Verdict, parameters, proposal,
    tally, upgrade, votes,
};
use ledger::params::BadParam;
use ledger::stake::StakeParams;
use ledger::{AppState, Body, Misbehavior, Offence, Outcome, Params, Refusal, State, block};
use serde_json::{Value, json};
use types::{Address, Amount, Decode as _, DecodeError, Encode as _, Height, Millis, Text};

use crate::world::{ALICE, BOB, PAUPER, SPONSOR, WEALTH, World, address, app_state, key, params};

/// The operators of three validators, and the seeds of their consensus keys; they have 40, 35 and
/// 25 ZYNK of their own at stake.
pub(crate) const OPERATORS: [u8; 3] = [41, 42, 43];
pub(crate) const VALIDATORS: [u8; 3] = [51, 52, 53];

/// What a proposal here needs, and how long it waits and is voted on.
pub(crate) const DEPOSIT: u64 = 40_000_000;
pub(crate) const SPAN_MS: u64 = 10_000;

pub(crate) fn world() -> World {
    let governance =
        GovernanceParams { min_deposit: Amount(DEPOSIT), deposit_ms: SPAN_MS, voting_ms: SPAN_MS, ..GovernanceParams::default() };
    let stake = StakeParams { annual_reward_bps: 0, ..StakeParams::default() };
    let validator = |place: usize| GenesisValidator {
        operator: address(OPERATORS[place]),
        consensus_key: key(VALIDATORS[place]).public(),
        peer_id: vec![VALIDATORS[place]; 38].try_into().expect("38 bytes"),
        moniker: "one of three".try_into().expect("a short name"),
        stake: Amount([40_000_000, 35_000_000, 25_000_000][place]),
        commission_bps: 500,
    };
    let accounts = [ALICE, BOB, SPONSOR, 41, 42, 43].map(|seed| (address(seed), WEALTH));
    World::of(&AppState {
        engine: ledger::Engine::Embedded,
        params: Params { stake, governance, ..params() },
        accounts: accounts.into(),
        validators: (0..3).map(validator).collect(),
    })
}

pub(crate) fn draft(kind: Kind, deposit: u64) -> Body {
    let title = Text::try_from("the title").expect("a short title");
    Body::SubmitProposal(Box::new(Draft { kind, title, summary: "why".try_into().expect("a short summary"), deposit: Amount(deposit) }))
}

pub(crate) fn vote(proposal: ProposalId, choice: Choice) -> Body {
    Body::Vote { proposal, choice }
}

fn change(name: &str, value: u64) -> Change {
    Change { name: name.try_into().expect("a short name"), value }
}

fn changes(changes: &[(&str, u64)]) -> Kind {
    let changes: Vec<_> = changes.iter().map(|(name, value)| change(name, *value)).collect();
    Kind::Parameters(changes.try_into().expect("few changes"))
}

fn plan(name: &str, app_version: u64, height: u64) -> Kind {
    Kind::Upgrade(Plan { name: name.try_into().expect("a short name"), app_version, height: Height(height) })
}

fn delegate(validator: u8, amount: u64) -> Body {
    Body::Delegate { validator: address(validator), amount: Amount(amount) }
}

fn read(world: &World, id: ProposalId) -> Proposal {
    governance::read(&State::new(&world.entries), id).expect("a proposal")
}

fn verdict(world: &World, id: ProposalId) -> Verdict {
    match read(world, id).stage {
        Stage::Closed { verdict, .. } => verdict,
        stage => panic!("the proposal is {stage:?}"),
    }
}

fn count(world: &World, id: ProposalId) -> Tally {
    let state = State::new(&world.entries);
    tally::count(&state, &block::params(&state), id)
}

/// Whole ZYNK behind yes, no, no with veto and abstain.
fn counted(world: &World, id: ProposalId) -> [u64; 4] {
    let mut votes = count(world, id).votes;
    votes::CHOICES.map(|choice| *votes.behind(choice) / 1_000_000)
}

/// Plays an empty block at a time so far after the last one.
fn later(world: &mut World, span_ms: u64) -> Outcome {
    world.time.0 += span_ms - 500;
    world.play(&[])
}

/// A proposal that is voted on from the next block on.
fn open(world: &mut World, kind: Kind) -> ProposalId {
    world.done(ALICE, draft(kind, DEPOSIT));
    governance::docket::Docket::read(&State::new(&world.entries)).submitted
}

/// A proposal for which all operators vote, to its end.
fn pass(world: &mut World, kind: Kind) -> ProposalId {
    let id = open(world, kind);
    OPERATORS.into_iter().for_each(|operator| world.done(operator, vote(id, Choice::Yes)));
    later(world, SPAN_MS);
    id
}

#[test]
fn what_is_refused_has_a_code() {
    let mut world = world();
    let voted = open(&mut world, Kind::Text);
    world.done(BOB, draft(Kind::Text, DEPOSIT / 4));
    let waiting = voted + 1;
    let short = Amount(DEPOSIT / 4 - 1);
    let untitled = Body::SubmitProposal(Box::new(Draft {
        kind: Kind::Text,
        title: Text::default(),
        summary: Text::default(),
        deposit: Amount(DEPOSIT),
    }));
    let named = |name: &str| name.to_owned();
    let too_low = |found, needed| Error::DepositTooLow { found, needed };
    let bad = |name, rule| Error::BadParameter(BadParam { name, rule });
    let next = world.height + 1;
    let refused = [
        ("a proposal without a title", untitled, Error::Empty("title")),
        ("a first deposit below a quarter", draft(Kind::Text, short.0), too_low(short, Amount(DEPOSIT / 4))),
        ("a deposit on no proposal", Body::Deposit { proposal: 0, amount: Amount(DEPOSIT) }, Error::UnknownProposal(0)),
        ("a deposit on one to come", Body::Deposit { proposal: 3, amount: Amount(DEPOSIT) }, Error::UnknownProposal(3)),
        ("a deposit that is not needed", Body::Deposit { proposal: voted, amount: Amount(DEPOSIT) }, Error::NotDepositing(voted)),
        (
            "a deposit below a 32nd part",
            Body::Deposit { proposal: waiting, amount: Amount(DEPOSIT / 32 - 1) },
            too_low(Amount(DEPOSIT / 32 - 1), Amount(DEPOSIT / 32)),
        ),
        ("a vote on no proposal", vote(99, Choice::Yes), Error::UnknownProposal(99)),
        ("a vote on what waits for its deposit", vote(waiting, Choice::Yes), Error::NotVoting(waiting)),
        ("a change of nothing", draft(changes(&[]), DEPOSIT), Error::NoChange),
        (
            "a parameter twice",
            draft(changes(&[("base_fee", 1), ("byte_fee", 1), ("base_fee", 2)]), DEPOSIT),
            Error::NamedTwice(named("base_fee")),
        ),
        (
            "a parameter that is none",
            draft(changes(&[("governance.quorum", 1)]), DEPOSIT),
            Error::UnknownParameter(named("governance.quorum")),
        ),
        ("the power unit", draft(changes(&[("power_unit", 1)]), DEPOSIT), Error::FixedParameter(named("power_unit"))),
        (
            "the time of unbonding",
            draft(changes(&[("stake.unbonding_ms", 1)]), DEPOSIT),
            Error::FixedParameter(named("stake.unbonding_ms")),
        ),
        (
            "a value that does not fit",
            draft(changes(&[("governance.quorum_bps", 65_536)]), DEPOSIT),
            Error::TooLarge { name: named("governance.quorum_bps"), value: 65_536 },
        ),
        (
            "a value out of its range",
            draft(changes(&[("byte_fee", 1), ("governance.voting_ms", 999)]), DEPOSIT),
            bad("governance.voting_ms", "must be from one second to 90 days"),
        ),
        (
            "fees that nobody could pay, not even for a vote",
            draft(changes(&[("byte_fee", 1_001)]), DEPOSIT),
            bad("byte_fee", "must be at most 1,000 micro-zynk"),
        ),
        (
            "signatures that a third of the power could withhold",
            draft(changes(&[("stake.min_signed_bps", 6_601)]), DEPOSIT),
            bad("stake.min_signed_bps", "must be at most 6,600"),
        ),
        ("an upgrade without a name", draft(plan("", 2, next + 100), DEPOSIT), Error::Empty("plan's name")),
        (
            "an upgrade that is too near",
            draft(plan("two", 2, next + upgrade::MIN_AHEAD - 1), DEPOSIT),
            Error::TooNear { found: Height(next + upgrade::MIN_AHEAD - 1), earliest: Height(next + upgrade::MIN_AHEAD) },
        ),
        ("an upgrade to the present version", draft(plan("one", 1, next + 100), DEPOSIT), Error::NotAbove { found: 1, present: 1 }),
    ];
    for (story, body, expected) in refused {
        let signed = world.signed(BOB, body.clone());
        assert_eq!(world.check(&signed), Err(Refusal::Governance(expected.clone())), "{story}");
        // In a block it costs its fee and does nothing.
        let mut charged = world.clone();
        assert_eq!(charged.one(BOB, body), ("governance".to_owned(), expected.code()), "{story}");
        let untouched = |entries: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>| {
            let mut entries = entries.clone();
            entries.retain(|key, _| !key.starts_with(b"account/") && key != b"pool/fees" && key != b"validators/counted");
            entries
        };
        assert!(untouched(&charged.entries) == untouched(&world.entries), "{story}: it changed something");
    }
    let pauper = world.transaction(PAUPER, draft(Kind::Text, DEPOSIT));
    let paid = ledger::Transaction { payer: ledger::Payer::Cosigner(key(BOB).public()), ..pauper }.sign(&key(PAUPER), Some(&key(BOB)));
    let short = Refusal::InsufficientFunds { whose: "author", found: Amount::ZERO, needed: Amount(DEPOSIT) };
    assert_eq!(world.check(&paid), Err(short), "a deposit that the proposer does not have");
}

#[test]
fn codes_are_distinct() {
    let all = [
        Error::UnknownProposal(1),
        Error::TooManyOpen { bound: 16 },
        Error::Empty("title"),
        Error::DepositTooLow { found: Amount(1), needed: Amount(2) },
        Error::NotDepositing(1),
        Error::NotVoting(1),
        Error::NoChange,
        Error::NamedTwice(String::new()),
        Error::UnknownParameter(String::new()),
        Error::FixedParameter(String::new()),
        Error::TooLarge { name: String::new(), value: 1 },
        Error::BadParameter(BadParam { name: "base_fee", rule: "" }),
        Error::TooNear { found: Height(1), earliest: Height(2) },
        Error::NotAbove { found: 1, present: 1 },
    ];
    let codes: Vec<_> = all.iter().map(Error::code).collect();
    assert_eq!(codes, (1..=14).collect::<Vec<_>>());
}

#[test]
fn a_deposit_begins_the_voting_and_goes_back() {
    let mut world = world();
    world.done(ALICE, draft(Kind::Text, DEPOSIT / 4));
    world.done(BOB, Body::Deposit { proposal: 1, amount: Amount(DEPOSIT / 4) });
    assert_eq!(world.census().pools, u128::from(world.fees() + DEPOSIT / 2));
    assert!(matches!(read(&world, 1).stage, Stage::Depositing { .. }));
    world.done(ALICE, Body::Deposit { proposal: 1, amount: Amount(DEPOSIT) });
    let until = Millis(world.time.0 + SPAN_MS);
    assert_eq!((read(&world, 1).stage, read(&world, 1).deposits.len()), (Stage::Voting { until }, 2));
    OPERATORS.into_iter().for_each(|operator| world.done(operator, vote(1, Choice::No)));
    // The last block in which votes count changes nothing by itself.
    world.time = Millis(until.0 - 501);
    assert!(world.play(&[]).changes.is_empty());
    let (alice, bob) = (world.balance(ALICE), world.balance(BOB));
    let ended = later(&mut world, 500);
    assert_eq!((world.balance(ALICE), world.balance(BOB)), (alice + DEPOSIT / 4 + DEPOSIT, bob + DEPOSIT / 4));
    assert_eq!(world.census().pools, u128::from(world.fees()));
    assert_eq!(ended.events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["inactive_proposal"]);
    assert_eq!((verdict(&world, 1), read(&world, 1).deposits.len()), (Verdict::Rejected, 0));
    world.idle(3);
}

#[test]
fn a_full_list_of_depositors_is_a_complete_deposit() {
    let mut world = world();
    world.done(ALICE, draft(Kind::Text, DEPOSIT / 4));
    for depositor in 100..125 {
        // All within the time that there is for it.
        world.time.0 -= 1_000;
        world.done(ALICE, crate::world::transfer(depositor, DEPOSIT));
        world.done(depositor, Body::Deposit { proposal: 1, amount: Amount(DEPOSIT / 32) });
        if read(&world, 1).deposited() >= Amount(DEPOSIT) {
            assert_eq!(depositor, 123, "a quarter and 24 of 32 parts");
            break;
        }
    }
    assert!(matches!(read(&world, 1).stage, Stage::Voting { .. }));
    assert!(read(&world, 1).deposits.len() <= proposal::MAX_DEPOSITORS);
}

#[test]
fn a_deposit_that_does_not_come_is_burned() {
    let mut world = world();
    let supply = world.census().supply;
    world.done(ALICE, draft(Kind::Text, DEPOSIT / 4));
    later(&mut world, SPAN_MS - 500);
    assert!(matches!(read(&world, 1).stage, Stage::Depositing { .. }));
    // A deposit in the first block at the end comes too late.
    assert_eq!(world.one(BOB, Body::Deposit { proposal: 1, amount: Amount(DEPOSIT) }).1, Error::NotDepositing(1).code());
    assert_eq!(read(&world, 1).stage, Stage::Expired);
    assert_eq!(world.census().supply, supply - u128::from(DEPOSIT / 4));
    assert_eq!(world.one(BOB, vote(1, Choice::Yes)).1, Error::NotVoting(1).code());
}

#[test]
fn so_many_proposals_are_open_and_no_more() {
    let mut world = world();
    for _ in 0..16 {
        world.time.0 -= 500;
        world.done(ALICE, draft(Kind::Text, DEPOSIT / 4));
    }
    let (code, mut other) = (Error::TooManyOpen { bound: 16 }.code(), world.clone());
    assert_eq!(other.one(ALICE, draft(Kind::Text, DEPOSIT - 1)).1, code);
    // Whoever brings the whole deposit takes the place of the oldest with the least, which has its own back, until all places are paid for.
    other.done(ALICE, Body::Deposit { proposal: 1, amount: Amount(DEPOSIT / 4) });
    let (before, pools) = (other.balance(ALICE), other.census().pools);
    let taken = other.signed(BOB, draft(Kind::Text, DEPOSIT));
    let told = other.play(&[taken]).results.remove(0).events;
    assert_eq!((told[0].kind.as_str(), told[1].kind.as_str()), ("inactive_proposal", "submit_proposal"));
    assert!(matches!(read(&other, 2).stage, Stage::Expired) && read(&other, 2).deposits.is_empty());
    assert!(matches!(read(&other, 17).stage, Stage::Voting { .. }));
    assert_eq!(other.balance(ALICE), before + DEPOSIT / 4);
    assert_eq!(other.census().pools, pools + u128::from(DEPOSIT - DEPOSIT / 4 + crate::world::FEE.0));
    for _ in 0..15 {
        other.time.0 -= 500;
        other.done(BOB, draft(Kind::Text, DEPOSIT));
    }
    assert_eq!(other.one(BOB, draft(Kind::Text, DEPOSIT)).1, code);
    later(&mut world, SPAN_MS);
    assert_eq!(open(&mut world, Kind::Text), 17);
}

#[test]
fn verdicts_have_edges() {
    let params = GovernanceParams { quorum_bps: 4_000, threshold_bps: 5_000, veto_bps: 3_334, ..GovernanceParams::default() };
    let check = |story: &str, [yes, no, no_with_veto, abstain]: [u64; 4], expected: Verdict| {
        let tally = Tally { votes: votes::Count { yes, no, no_with_veto, abstain }, stake: Amount(100_000) };
        assert_eq!(tally.verdict(&params), expected, "{story}");
    };
    check("nobody votes", [0, 0, 0, 0], Verdict::QuorumMissed);
    check("a unit below the quorum", [39_999, 0, 0, 0], Verdict::QuorumMissed);
    check("the quorum", [40_000, 0, 0, 0], Verdict::Passed);
    check("the quorum by abstentions", [1, 0, 0, 39_999], Verdict::Passed);
    check("all abstain", [0, 0, 0, 40_000], Verdict::Rejected);
    check("a tie", [30_000, 30_000, 0, 0], Verdict::Rejected);
    check("one more than a tie", [30_001, 30_000, 0, 0], Verdict::Passed);
    check("one more than a tie of opinions", [10_001, 10_000, 0, 60_000], Verdict::Passed);
    check("vetoes are opinions too", [30_000, 10_000, 20_000, 0], Verdict::Rejected);
    check("vetoes at their part", [66_660, 0, 33_340, 0], Verdict::Passed);
    check("vetoes above their part", [66_659, 0, 33_341, 0], Verdict::Vetoed);
    check("vetoes are a part of all votes", [10_000, 0, 20_000, 40_000], Verdict::Rejected);
    check("vetoes below the quorum", [0, 0, 39_999, 0], Verdict::QuorumMissed);
    let all = ledger::genesis::MAX_SUPPLY;
    let tally = Tally { votes: votes::Count { yes: all, ..votes::Count::default() }, stake: Amount(all) };
    assert_eq!(tally.verdict(&params), Verdict::Passed, "all tokens there may be");
}

#[test]
fn a_veto_and_a_missed_quorum_burn_the_deposit() {
    for (choices, expected) in [
        (vec![(OPERATORS[0], Choice::NoWithVeto), (OPERATORS[1], Choice::Yes)], Verdict::Vetoed),
        (vec![(OPERATORS[2], Choice::Yes)], Verdict::QuorumMissed),
    ] {
        let mut world = world();
        let supply = world.census().supply;
        let id = open(&mut world, changes(&[("byte_fee", 11)]));
        choices.into_iter().for_each(|(operator, choice)| world.done(operator, vote(id, choice)));
        later(&mut world, SPAN_MS);
        assert_eq!(verdict(&world, id), expected);
        assert_eq!(world.census().supply, supply - u128::from(DEPOSIT), "{expected:?}");
        assert_eq!(block::params(&State::new(&world.entries)).byte_fee, Amount(10), "{expected:?}");
    }
}

#[test]
fn a_vote_weighs_what_is_bonded_when_it_is_counted() {
    let mut world = world();
    world.done(BOB, delegate(VALIDATORS[0], 10_000_000));
    let id = open(&mut world, Kind::Text);
    let check = |story: &str, world: &World, expected: [u64; 4]| assert_eq!(counted(world, id), expected, "{story}");
    check("nobody has voted", &world, [0, 0, 0, 0]);
    world.done(OPERATORS[0], vote(id, Choice::Yes));
    check("an operator speaks for who is silent", &world, [50, 0, 0, 0]);
    world.done(BOB, vote(id, Choice::No));
    check("until they speak themselves", &world, [40, 10, 0, 0]);
    world.done(SPONSOR, vote(id, Choice::Abstain));
    check("who has no stake may vote", &world, [40, 10, 0, 0]);
    world.done(SPONSOR, delegate(VALIDATORS[1], 5_000_000));
    check("and stake that comes later counts", &world, [40, 10, 0, 5]);
    world.done(OPERATORS[1], vote(id, Choice::NoWithVeto));
    check("without the operator's voice over it", &world, [40, 10, 35, 5]);
    world.done(BOB, vote(id, Choice::Yes));
    check("a vote is changed", &world, [50, 0, 35, 5]);
    world.done(BOB, Body::Redelegate { from: address(VALIDATORS[0]), to: address(VALIDATORS[2]), amount: Amount(4_000_000) });
    check("stake that moves keeps its voice", &world, [50, 0, 35, 5]);
    world.done(BOB, Body::Undelegate { validator: address(VALIDATORS[0]), amount: Amount(6_000_000) });
    check("stake that leaves loses it", &world, [44, 0, 35, 5]);
    let misbehavior =
        |validator: u8| Misbehavior { kind: Offence::DuplicateVote, validator: address(validator), height: Height(1), time: world.time };
    world.accused = vec![misbehavior(VALIDATORS[1])];
    later(&mut world, 500);
    check("who is out of the set has none", &world, [44, 0, 0, 0]);
    assert_eq!(count(&world, id).stake, Amount(69_000_000));
    later(&mut world, SPAN_MS);
    assert_eq!(verdict(&world, id), Verdict::Passed);
}

#[test]
fn parameters_change_with_the_next_block() {
    let mut world = world();
    let id = open(&mut world, changes(&[("base_fee", 30_000), ("stake.max_validators", 2)]));
    OPERATORS.into_iter().for_each(|operator| world.done(operator, vote(id, Choice::Yes)));
    world.time.0 += SPAN_MS;
    // In the block of the end the former fee is still enough.
    let signed = world.signed(ALICE, crate::world::transfer(BOB, 1));
    let outcome = world.play(&[signed]);
    assert_eq!(verdict(&world, id), Verdict::Passed);
    assert_eq!(outcome.validator_updates, [(key(VALIDATORS[2]).public(), 0)], "the set has room for two");
    let signed = world.signed(ALICE, crate::world::transfer(BOB, 1));
    assert!(matches!(world.check(&signed), Err(Refusal::FeeTooLow { .. })));
    assert_eq!(block::params(&State::new(&world.entries)).governance, world_params().governance, "what was not named stays");
}

fn world_params() -> Params {
    block::params(&State::new(&world().entries))
}

#[test]
fn proposals_that_end_together_are_carried_out_in_their_order() {
    let mut world = world();
    let ids = [changes(&[("byte_fee", 20), ("log_bond", 5)]), changes(&[("byte_fee", 30)])].map(|kind| {
        world.time.0 -= 500;
        open(&mut world, kind)
    });
    for operator in OPERATORS {
        ids.into_iter().for_each(|id| world.done(operator, vote(id, Choice::Yes)));
    }
    later(&mut world, SPAN_MS);
    let params = block::params(&State::new(&world.entries));
    assert_eq!((params.byte_fee, params.log_bond), (Amount(30), Amount(5)));
}

#[test]
fn every_parameter_can_be_changed_or_is_said_to_be_fixed() {
    fn names(prefix: &str, value: &Value, found: &mut Vec<(String, u64)>) {
        for (name, value) in value.as_object().expect("parameters are an object") {
            match value {
                Value::Object(_) => names(&format!("{name}."), value, found),
                Value::String(text) => found.push((format!("{prefix}{name}"), text.parse().expect("an amount"))),
                value => found.push((format!("{prefix}{name}"), value.as_u64().expect("a number"))),
            }
        }
    }
    let params = Params::default();
    let mut found = Vec::new();
    names("", &serde_json::to_value(params).expect("parameters are JSON"), &mut found);
    assert!(found.len() >= 25, "{found:?}");
    for (name, value) in found {
        // The next number is within each range, and shows that it is the named parameter that changes.
        let value = if value == 5_000 { 5_001 } else { value + 1 };
        let changed = parameters::changed(&params, &[change(&name, value)]);
        if parameters::FIXED.contains(&name.as_str()) {
            assert_eq!(changed, Err(Error::FixedParameter(name)));
            continue;
        }
        let mut after = Vec::new();
        names("", &serde_json::to_value(changed.expect("a value in its range")).expect("JSON"), &mut after);
        let mut before = Vec::new();
        names("", &serde_json::to_value(params).expect("JSON"), &mut before);
        let differing: Vec<_> = after.into_iter().filter(|entry| !before.contains(entry)).collect();
        assert_eq!(differing, [(name, value)]);
    }
}

#[test]
fn an_upgrade_changes_the_version_of_the_header_at_its_height() {
    let mut world = world();
    let version = |world: &World| upgrade::version(&State::new(&world.entries));
    pass(&mut world, plan("farther", 2, 40));
    pass(&mut world, Kind::Text);
    assert_eq!(upgrade::planned(&State::new(&world.entries)).map(|plan| plan.height), Some(Height(40)), "another kind cancels nothing");
    pass(&mut world, plan("nearer", 2, 30));
    assert!(world.height < 28);
    while world.height < 28 {
        let outcome = world.play(&[]);
        assert!(outcome.app_version.is_none() && outcome.changes.is_empty());
    }
    assert_eq!(version(&world), upgrade::FIRST_VERSION);
    let outcome = world.play(&[]);
    assert_eq!((world.height, outcome.app_version), (29, Some(2)));
    assert_eq!(version(&world), 2);
    let reached = upgrade::reached(&State::new(&world.entries)).expect("it was reached");
    assert_eq!((&*reached.name, reached.height), ("nearer", Height(30)));
    assert_eq!(upgrade::planned(&State::new(&world.entries)), None, "the farther one was replaced");
    while world.height < 45 {
        assert_eq!(world.play(&[]).app_version, None);
    }
    let again = draft(plan("two again", 2, 100), DEPOSIT);
    assert_eq!(world.one(ALICE, again).1, Error::NotAbove { found: 2, present: 2 }.code());
    let ahead = world.height + 30;
    pass(&mut world, plan("four", 4, ahead));
}

#[test]
fn an_upgrade_that_passes_too_late_fails() {
    let mut world = world();
    // Far enough when it is submitted, and four blocks too near when the vote ends.
    let near = world.height + 1 + upgrade::MIN_AHEAD;
    let late = pass(&mut world, plan("late", 2, near));
    assert_eq!(verdict(&world, late), Verdict::Failed);
    assert_eq!(upgrade::planned(&State::new(&world.entries)), None);
    let alice = world.balance(ALICE);
    assert!(alice > WEALTH.0 - DEPOSIT, "the deposit went back");
    // One block to submit it, three to vote; the fifth ends the vote.
    let just = world.height + 5 + upgrade::MIN_AHEAD;
    let in_time = pass(&mut world, plan("in time", 2, just));
    assert_eq!(verdict(&world, in_time), Verdict::Passed, "the very last block that may plan it");
}

#[test]
fn formats_are_those_frozen_and_bounded() {
    let mut world = world();
    let longest = |letter: &str, length| letter.repeat(length);
    let many: Vec<_> = (0..proposal::MAX_CHANGES).map(|_| change(&longest("n", 64), u64::MAX)).collect();
    let largest = Proposal {
        proposer: address(ALICE),
        kind: Kind::Parameters(many.try_into().expect("within the bound")),
        title: longest("t", 128).try_into().expect("within the bound"),
        summary: longest("s", 1024).try_into().expect("within the bound"),
        submitted: Millis(u64::MAX),
        needed: Amount(u64::MAX),
        deposits: (0..32u8)
            .map(|seed| governance::Deposit { depositor: address(seed), amount: Amount(ledger::genesis::MAX_SUPPLY / 32) })
            .collect::<Vec<_>>()
            .try_into()
            .expect("within the bound"),
        stage: Stage::Closed { verdict: Verdict::Failed, tally: Tally::default() },
    };
    assert!(largest.to_bytes().len() <= 4096, "{} bytes", largest.to_bytes().len());
    let kinds = [
        ("text", Kind::Text),
        ("parameters", changes(&[("base_fee", 2_000), ("governance.voting_ms", 86_400_000)])),
        ("upgrade", plan("two", 2, 300)),
    ];
    let mut bodies = serde_json::Map::new();
    for (name, kind) in kinds {
        let body = draft(kind.clone(), DEPOSIT);
        assert_eq!(Body::from_bytes(&body.to_bytes()), Ok(body.clone()));
        bodies.insert(format!("submit {name}"), json!(hex::encode(body.to_bytes())));
    }
    let deposit = Body::Deposit { proposal: 300, amount: Amount(5_000_000) };
    bodies.insert("deposit".to_owned(), json!(hex::encode(deposit.to_bytes())));
    for choice in votes::CHOICES {
        let body = vote(300, choice);
        assert_eq!(Body::from_bytes(&body.to_bytes()), Ok(body.clone()));
        bodies.insert(format!("vote {}", choice.name()), json!(hex::encode(body.to_bytes())));
    }
    for (what, body) in [("vote", [17, 1, 4].as_slice()), ("proposal", &[15, 3])] {
        let refused = DecodeError::Tag { what, found: *body.last().expect("a tag") };
        assert_eq!(Body::from_bytes(body), Err(refused));
    }
    // One of each in the state: expired, closed, voted on, waiting, planned, reached.
    world.done(ALICE, draft(Kind::Text, DEPOSIT / 4));
    later(&mut world, SPAN_MS);
    pass(&mut world, plan("two", 2, 18));
    while world.height < 18 {
        world.play(&[]);
    }
    pass(&mut world, plan("three", 3, 60));
    let id = open(&mut world, Kind::Text);
    world.done(OPERATORS[0], vote(id, Choice::NoWithVeto));
    world.done(ALICE, draft(changes(&[("base_fee", 2_000)]), DEPOSIT / 4));
    let ours = [b"proposal".as_slice(), b"votes/", b"ballots/", b"upgrade/", b"pool/deposits"];
    let entries = world.entries.iter().filter(|(key, _)| ours.iter().any(|prefix| key.starts_with(prefix)));
    let state: serde_json::Map<_, _> =
        entries.map(|(key, value)| (String::from_utf8(key.clone()).expect("keys are text"), json!(hex::encode(value)))).collect();
    let governance = hex::encode(app_state().params.governance.to_bytes());
    support::frozen("governance", &json!({ "bodies": bodies, "state": state, "parameters": governance }));
}

/// An account's address is nobody's proposal: keys of different kinds never meet.
#[test]
fn keys_do_not_meet() {
    let someone: Address = address(ALICE);
    let keys = [
        ledger::state::key::OPEN_PROPOSALS.to_vec(),
        ledger::state::key::proposal(1),
        ledger::state::key::votes(&someone),
        ledger::state::key::ballots(&someone),
        ledger::state::key::UPGRADE_PLANNED.to_vec(),
        ledger::state::key::UPGRADE_REACHED.to_vec(),
        ledger::state::key::DEPOSITS.to_vec(),
    ];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}
