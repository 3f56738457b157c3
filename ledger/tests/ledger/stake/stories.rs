//! What each act on stake does, when its time comes, and why each refusal is given.

use ledger::stake::{Candidacy, Edit, StakeParams, ValidatorStatus, delegation, registry, rewards, unbonding};
use ledger::state::key as at;
use ledger::{Body, Misbehavior, Offence, Params, State, pool};
use types::{Address, Amount, Encode as _, Height, Millis};

use super::{
    KEYS, OPERATORS, begin, begin_with, books, candidacy, create, delegate, params, peer, record, redelegate, told, undelegate, unjail,
    withdraw, worth,
};
use crate::world::{ALICE, BOB, FEE, PAUPER, SPONSOR, WEALTH, World, address, key};

const FIRST: u8 = KEYS[0];
const SECOND: u8 = KEYS[1];
const THIRD: u8 = KEYS[2];
const NEW: u8 = KEYS[3];
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn accuse(world: &mut World, seed: u8, height: u64) {
    let (validator, time) = (address(seed), Millis(0));
    world.accused.push(Misbehavior { kind: Offence::DuplicateVote, validator, height: Height(height), time });
}

/// A chain that mints nothing.
fn unrewarded() -> Params {
    Params { stake: StakeParams { annual_reward_bps: 0, ..params().stake }, ..params() }
}

fn edit(seed: u8, edit: Edit) -> Body {
    Body::EditValidator { validator: address(seed), edit: Box::new(edit) }
}

fn commission(seed: u8, commission_bps: u16) -> Body {
    edit(seed, Edit { commission_bps: Some(commission_bps), ..Edit::default() })
}

#[test]
fn an_idle_chain_stays_idle() {
    let mut world = begin_with(unrewarded(), [5_000, 3_000, 1_000]);
    // Epochs go by, somebody is absent: there is nothing to share and nothing that counts, so nothing is written.
    for _ in 0..50 {
        world.time.0 += 10_000;
        world.absent = vec![address(THIRD)];
        let outcome = world.play(&[]);
        assert!(outcome.changes.is_empty() && outcome.events.is_empty() && outcome.validator_updates.is_empty());
    }
    // With rewards an epoch's end is due once, and the blocks around it write nothing.
    let mut world = begin([5_000_000, 3_000_000, 1_000_000]);
    let written: Vec<bool> = (0..30).map(|_| !world.play(&[]).changes.is_empty()).collect();
    let due: Vec<_> = (0..30).filter(|block| written[*block]).collect();
    assert_eq!(due, [9, 19, 29], "blocks of half a second, epochs of five");
}

#[test]
fn rewards_go_by_power_and_to_shares() {
    let mut world = begin([6_000, 3_000, 1_000]);
    world.done(ALICE, delegate(FIRST, 2_000));
    world.done(BOB, delegate(SECOND, 3_000));
    // Powers 80, 60, 10 of 150; each operator takes a tenth.
    let before = world.census();
    world.time.0 += 5_000;
    world.play(&[]);
    let minted = world.census().supply - before.supply;
    let pot = 2 * FEE.0 + u64::try_from(minted).expect("few tokens");
    let shares = [pot * 80 / 150, pot * 60 / 150, pot * 10 / 150];
    let state = State::new(&world.entries);
    assert_eq!(pool::read(&state, pool::REWARDS).0, shares.iter().sum::<u64>());
    assert_eq!(world.fees(), pot - shares.iter().sum::<u64>(), "what does not divide waits for the next epoch");
    for (seed, amount) in KEYS.into_iter().zip(shares) {
        assert_eq!(record(&world, seed).earned.commission, Amount(amount / 10));
    }
    let (rest, alices) = (shares[0] - shares[0] / 10, world.balance(ALICE));
    world.done(ALICE, withdraw(FIRST));
    assert_eq!(world.balance(ALICE), alices - FEE.0 + rest * 2 / 8, "a quarter of the shares");
    world.done(ALICE, withdraw(FIRST));
    assert_eq!(world.balance(ALICE), alices - 2 * FEE.0 + rest * 2 / 8, "nothing is paid twice");
    let operators = world.balance(OPERATORS[0]);
    world.done(OPERATORS[0], withdraw(FIRST));
    assert_eq!(world.balance(OPERATORS[0]), operators - FEE.0 + rest * 6 / 8 + shares[0] / 10, "its own, and the commission");
    // Whoever comes later has no part in what was earned before.
    let late = world.balance(SPONSOR);
    world.done(SPONSOR, delegate(SECOND, 1_000));
    world.done(SPONSOR, withdraw(SECOND));
    assert_eq!(world.balance(SPONSOR), late - 2 * FEE.0 - 1_000);
    books::check(&world);
}

#[test]
fn stake_that_moves_as_an_epoch_ends_leaves_no_reward_behind() {
    let mut world = begin([6_000, 3_000, 1_000]);
    world.done(ALICE, delegate(THIRD, 9_000));
    world.time.0 += 5_000;
    let supply = world.census().supply;
    let moves = world.signed(ALICE, redelegate(THIRD, FIRST, 9_000));
    world.play(&[moves]);
    let pot = 2 * FEE.0 + u64::try_from(world.census().supply - supply).expect("few tokens");
    // Told were powers of 60, 30 and 100; now there are 150, 30 and 10.
    let commissions = KEYS[..3].iter().map(|seed| record(&world, *seed).earned.commission.0).collect::<Vec<_>>();
    assert_eq!(commissions, [pot * 60 / 100 / 10, pot * 30 / 100 / 10, pot * 10 / 100 / 10]);
    books::check(&world);
}

#[test]
fn a_chain_that_stood_still_mints_for_a_day() {
    let minted = |elapsed_ms: u64| {
        let mut world = begin([5_000_000, 3_000_000, 1_000_000]);
        let before = world.census().supply;
        world.time.0 += elapsed_ms - 500;
        world.play(&[]);
        world.census().supply - before
    };
    let supply = 6 * u128::from(WEALTH.0) + 9_000_000;
    assert_eq!(minted(DAY_MS), supply / 10 / 365);
    assert_eq!(minted(300 * DAY_MS), minted(DAY_MS));
    assert_eq!(minted(4_999), 0, "the epoch is not over");
    assert_eq!(minted(5_000), supply / 10 * 5_000 / u128::from(365 * DAY_MS));
}

#[test]
fn unbondings_complete_in_their_order() {
    let mut world = begin([5_000, 3_000, 1_000]);
    world.done(ALICE, delegate(FIRST, 900));
    world.done(BOB, delegate(SECOND, 900));
    world.done(ALICE, undelegate(FIRST, 300));
    let first = world.time.0 + 20_000;
    world.done(BOB, undelegate(SECOND, 400));
    let state = State::new(&world.entries);
    let waits: Vec<_> = unbonding::of(&state, &address(ALICE)).iter().map(|one| (one.amount, one.completes)).collect();
    assert_eq!(waits, [(Amount(300), Millis(first))]);
    assert_eq!((worth(&world, ALICE, FIRST), record(&world, FIRST).bonded), (600, Amount(5_600)));
    world.time.0 = first - 501;
    let balances = (world.balance(ALICE), world.balance(BOB));
    let events = world.play(&[]).events;
    assert!(events.iter().all(|event| event.kind != "complete_unbonding"), "a millisecond early");
    world.time.0 = first - 500;
    let events = world.play(&[]).events;
    assert_eq!(events.iter().filter(|event| event.kind == "complete_unbonding").count(), 1);
    assert_eq!((world.balance(ALICE), world.balance(BOB)), (balances.0 + 300, balances.1));
    world.play(&[]);
    assert_eq!(world.balance(BOB), balances.1 + 400);
    assert_eq!(pool::read(&State::new(&world.entries), pool::UNBONDING), Amount::ZERO);
    books::check(&world);
}

#[test]
fn many_unbondings_complete_a_bounded_number_at_a_time() {
    let slow = Params { stake: StakeParams { unbonding_ms: 60_000, ..params().stake }, ..params() };
    let mut world = begin_with(slow, [5_000, 3_000, 1_000]);
    let people = [ALICE, BOB, SPONSOR];
    for who in people {
        world.done(who, delegate(FIRST, 900));
        for _ in 0..unbonding::MAX_UNBONDINGS {
            world.done(who, undelegate(FIRST, 2));
        }
        assert_eq!(world.one(who, undelegate(FIRST, 2)), ("stake".to_owned(), 14), "one more than an account may wait for");
    }
    world.time.0 += 60_000;
    let complete = |world: &mut World| world.play(&[]).events.iter().filter(|event| event.kind == "complete_unbonding").count();
    assert_eq!([(); 3].map(|()| complete(&mut world)), [64, 32, 0]);
    books::check(&world);
}

#[test]
fn the_set_follows_the_stake() {
    let mut world = begin([5_000, 3_000, 1_000]);
    let set = |world: &World| told(world).into_iter().map(|(_, power)| power).collect::<Vec<_>>();
    assert_eq!(set(&world), [50, 30, 10]);
    // Less than a unit more changes nothing, a whole unit does.
    assert_eq!(world.play(&[world.signed(ALICE, delegate(THIRD, 99))]).validator_updates, []);
    let outcome = world.play(&[world.signed(ALICE, delegate(THIRD, 1))]);
    assert_eq!(outcome.validator_updates, [(key(THIRD).public(), 11)]);
    // A fourth takes the place of the third, which stays a validator and comes back when its stake does.
    let outcome = world.play(&[world.signed(ALICE, create(ALICE, NEW, 2_000))]);
    assert!(outcome.results[0].code.is_ok(), "{}", outcome.results[0].log);
    assert_eq!(outcome.validator_updates, [(key(NEW).public(), 20), (key(THIRD).public(), 0)]);
    let outcome = world.play(&[world.signed(BOB, delegate(THIRD, 1_000))]);
    assert_eq!(outcome.validator_updates, [(key(THIRD).public(), 21), (key(NEW).public(), 0)]);
    assert_eq!(record(&world, NEW).status, ValidatorStatus::Eligible);
    books::check(&world);
    // Two of the same power: the lower address is first.
    world.done(ALICE, delegate(NEW, 100));
    let mut last = [address(NEW), address(THIRD)];
    last.sort();
    assert_eq!(told(&world)[2], (last[0], 21));
}

#[test]
fn who_is_absent_too_often_is_jailed_until_it_asks() {
    let mut world = begin([5_000, 3_000, 1_000]);
    let miss = |world: &mut World| {
        world.absent = vec![address(THIRD)];
        let transaction = world.signed(ALICE, crate::world::transfer(BOB, 1));
        world.play(&[transaction])
    };
    // Ten blocks are a window, half of them may be missed: five in one and five in the next are not too many.
    (0..5).for_each(|_| world.done(ALICE, crate::world::transfer(BOB, 1)));
    assert!((0..10).all(|_| miss(&mut world).events.is_empty()));
    (0..5).for_each(|_| world.done(ALICE, crate::world::transfer(BOB, 1)));
    // Blocks without transactions count for nothing.
    for _ in 0..20 {
        world.absent = vec![address(THIRD)];
        world.play(&[]);
    }
    assert!((0..5).all(|_| miss(&mut world).validator_updates.is_empty()));
    let outcome = miss(&mut world);
    assert_eq!(outcome.events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["slash", "jail"]);
    assert_eq!(outcome.validator_updates, [(key(THIRD).public(), 0)]);
    let until = Millis(world.time.0 + 3_000);
    let jailed = record(&world, THIRD);
    assert_eq!((jailed.status, jailed.bonded), (ValidatorStatus::Jailed { until }, Amount(990)));
    assert_eq!(world.one(OPERATORS[2], unjail(THIRD)), ("stake".to_owned(), 19));
    assert_eq!(world.one(OPERATORS[1], unjail(THIRD)), ("stake".to_owned(), 2));
    world.time = Millis(until.0 - 500);
    world.done(OPERATORS[2], unjail(THIRD));
    assert_eq!(told(&world)[2], (address(THIRD), 9));
    assert_eq!(world.one(OPERATORS[2], unjail(THIRD)), ("stake".to_owned(), 18));
    books::check(&world);
}

#[test]
fn the_last_validator_is_not_jailed_and_does_not_leave() {
    let mut world = begin([5_000, 3_000, 1_000]);
    world.done(OPERATORS[1], undelegate(SECOND, 3_000));
    world.done(OPERATORS[2], redelegate(THIRD, FIRST, 1_000));
    assert_eq!(told(&world), [(address(FIRST), 60)]);
    assert!(matches!(record(&world, SECOND).status, ValidatorStatus::Jailed { .. }), "its operator has left");
    for _ in 0..30 {
        world.absent = vec![address(FIRST)];
        let transaction = world.signed(ALICE, crate::world::transfer(BOB, 1));
        assert!(world.play(&[transaction]).validator_updates.is_empty());
    }
    assert_eq!(record(&world, FIRST).status, ValidatorStatus::Eligible);
    assert_eq!(world.one(OPERATORS[0], undelegate(FIRST, 5_000)), ("stake".to_owned(), 21));
    assert_eq!(world.one(OPERATORS[0], redelegate(FIRST, THIRD, 4_950)), ("stake".to_owned(), 2), "only its operator refounds a validator");
    // It signs twice: it loses its part, and goes on until somebody else is there.
    accuse(&mut world, FIRST, 2);
    assert!(world.play(&[]).validator_updates.is_empty());
    assert!(matches!(record(&world, FIRST).status, ValidatorStatus::Tombstoned { .. }));
    assert_eq!((record(&world, FIRST).bonded, told(&world)), (Amount(5_700), vec![(address(FIRST), 60)]));
    let outcome = world.play(&[world.signed(ALICE, create(ALICE, NEW, 500))]);
    assert_eq!(outcome.validator_updates, [(key(NEW).public(), 5), (key(FIRST).public(), 0)]);
    books::check(&world);
}

#[test]
fn who_signs_twice_is_out_for_good_and_so_is_what_stood_behind_it() {
    let mut world = begin_with(unrewarded(), [5_000, 3_000, 1_000]);
    let stand = |world: &mut World, who: u8| world.done(who, delegate(THIRD, 1_000));
    [ALICE, BOB, SPONSOR].into_iter().for_each(|who| stand(&mut world, who));
    // Alice leaves two heights before the offence, Bob one height before: he still stood behind it. The sponsor moves away.
    world.done(ALICE, undelegate(THIRD, 1_000));
    world.done(BOB, undelegate(THIRD, 1_000));
    let offence = world.height + 1;
    world.done(SPONSOR, redelegate(THIRD, FIRST, 1_000));
    assert_eq!(world.one(SPONSOR, redelegate(FIRST, SECOND, 1_000)), ("stake".to_owned(), 16), "it answers where it was");
    accuse(&mut world, THIRD, offence);
    accuse(&mut world, THIRD, offence);
    let outcome = world.play(&[]);
    assert_eq!(outcome.events.len(), 2, "one slash, one jail");
    assert_eq!(outcome.validator_updates, [(key(THIRD).public(), 0)]);
    assert_eq!(record(&world, THIRD).bonded, Amount(950));
    accuse(&mut world, THIRD, offence + 1);
    assert!(world.play(&[]).changes.is_empty(), "once in its life");
    // What was moved pays when it is touched next.
    let supply = world.census().supply;
    world.done(SPONSOR, withdraw(FIRST));
    assert_eq!((worth(&world, SPONSOR, FIRST), world.census().supply), (950, supply - 50));
    // Who leaves after the punishment has paid already.
    world.done(OPERATORS[2], undelegate(THIRD, 950));
    let balances = [ALICE, BOB, OPERATORS[2]].map(|who| world.balance(who));
    world.time.0 += 30_000;
    world.play(&[]);
    let back: Vec<_> = [ALICE, BOB, OPERATORS[2]].into_iter().zip(balances).map(|(who, before)| world.balance(who) - before).collect();
    assert_eq!(back, [1_000, 950, 950]);
    assert_eq!(world.one(OPERATORS[2], unjail(THIRD)), ("stake".to_owned(), 20));
    assert_eq!(world.one(ALICE, delegate(THIRD, 1_000)), ("stake".to_owned(), 20));
    assert_eq!(world.one(OPERATORS[2], create(OPERATORS[2], THIRD, 1_000)), ("stake".to_owned(), 3), "its key does not come back");
    books::check(&world);
}

#[test]
fn moved_stake_answers_while_it_waits() {
    let back = |both: bool| {
        let mut world = begin_with(unrewarded(), [5_000, 3_000, 1_000]);
        world.done(SPONSOR, delegate(THIRD, 1_000));
        world.done(SPONSOR, redelegate(THIRD, FIRST, 1_000));
        let offence = world.height;
        world.done(SPONSOR, delegate(FIRST, 500));
        // The 500 that answer for nobody leave first, and 700 of the others with them.
        world.done(SPONSOR, undelegate(FIRST, 1_200));
        accuse(&mut world, THIRD, offence);
        if both {
            accuse(&mut world, FIRST, offence);
        }
        world.play(&[]);
        world.done(SPONSOR, withdraw(FIRST));
        let (stays, balance) = (worth(&world, SPONSOR, FIRST), world.balance(SPONSOR));
        world.time.0 += 20_000;
        world.play(&[]);
        books::check(&world);
        (stays, world.balance(SPONSOR) - balance)
    };
    assert_eq!(back(false), (285, 1_200 - 35));
    assert_eq!(back(true), (270, 1_200 - 35 - 59), "for both, the one after the other, rounded down");
}

#[test]
fn stake_that_has_answered_long_enough_is_free() {
    let mut world = begin_with(unrewarded(), [5_000, 3_000, 1_000]);
    world.done(SPONSOR, delegate(THIRD, 1_000));
    world.done(SPONSOR, redelegate(THIRD, FIRST, 1_000));
    let (offence, left) = (world.height, world.time.0);
    // Punished a millisecond after the stake had answered for an unbonding period.
    world.time.0 = left + 20_001 - 500;
    accuse(&mut world, THIRD, offence);
    world.play(&[]);
    world.done(SPONSOR, withdraw(FIRST));
    assert_eq!(worth(&world, SPONSOR, FIRST), 1_000);
}

#[test]
fn what_condemned_shares_earned_goes_back() {
    let mut world = begin([5_000, 3_000, 1_000]);
    world.done(SPONSOR, delegate(THIRD, 1_000));
    world.done(SPONSOR, redelegate(THIRD, FIRST, 1_000));
    let offence = world.height;
    world.time.0 += 5_000;
    world.play(&[]);
    accuse(&mut world, THIRD, offence);
    world.play(&[]);
    let state = State::new(&world.entries);
    let held = delegation::read(&state, &address(SPONSOR), &address(FIRST)).expect("a delegation");
    let earned = record(&world, FIRST).earned;
    let [all, kept] = [1_000, 950].map(|shares| rewards::owed(&earned, &held, shares).0);
    assert!(all > kept + 100, "there is something to give back: {all}, {kept}");
    let (fees, balance) = (world.fees(), world.balance(SPONSOR));
    world.done(SPONSOR, withdraw(FIRST));
    assert_eq!(world.balance(SPONSOR), balance - FEE.0 + kept);
    assert_eq!(world.fees(), fees + FEE.0 + all - kept);
    assert_eq!(record(&world, FIRST).earned.unclaimed.0, earned.unclaimed.0 - all);
    books::check(&world);
}

#[test]
fn a_validator_is_edited_and_its_commission_moves_slowly() {
    let mut world = begin([5_000, 3_000, 1_000]);
    world.time.0 += DAY_MS;
    let stake = |code| ("stake".to_owned(), code);
    assert_eq!(world.one(OPERATORS[0], commission(FIRST, 1_101)), stake(9));
    assert_eq!(world.one(OPERATORS[0], commission(FIRST, 10_001)), stake(8));
    world.done(OPERATORS[0], commission(FIRST, 1_100));
    assert_eq!(world.one(OPERATORS[0], commission(FIRST, 1_000)), stake(10), "once a day, down too");
    world.time.0 += DAY_MS - 1_500;
    assert_eq!(world.one(OPERATORS[0], commission(FIRST, 1_000)), stake(10), "half a second early");
    world.done(OPERATORS[0], commission(FIRST, 1_000));
    let peer_id = |seed| edit(FIRST, Edit { peer_id: Some(peer(seed)), ..Edit::default() });
    assert_eq!(world.one(OPERATORS[0], peer_id(SECOND)), stake(4));
    world.done(OPERATORS[0], peer_id(99));
    world.done(ALICE, Body::CreateValidator(Box::new(candidacy_with(FIRST))));
    let moniker = Edit { moniker: Some("renamed".try_into().expect("a short name")), ..Edit::default() };
    assert_eq!(world.one(OPERATORS[1], edit(FIRST, moniker.clone())), stake(2));
    world.done(OPERATORS[0], edit(FIRST, moniker));
    assert_eq!(&*record(&world, FIRST).moniker, "renamed");
    books::check(&world);
}

/// Alice's new validator, with the peer id of another key.
fn candidacy_with(peer_of: u8) -> Candidacy {
    let mine = Candidacy { peer_id: peer(peer_of), ..candidacy(ALICE, NEW, 500) };
    mine.prove(&crate::world::chain(), &address(ALICE), &key(NEW))
}

/// What the state refuses, by its code. The fee is paid, and nothing else has happened.
#[test]
fn what_is_refused() {
    let check = |story: &str, author: u8, body: Body, code: u32| {
        let mut world = begin([5_000, 3_000, 1_000]);
        world.done(ALICE, delegate(FIRST, 1_000));
        let refused = world.check(&world.signed(author, body.clone())).expect_err(story);
        assert_eq!((refused.codespace(), refused.code()), ("stake", code), "{story}, in the mempool: {refused}");
        let before = world.entries.clone();
        assert_eq!(world.one(author, body), ("stake".to_owned(), code), "{story}");
        let changed = |key: &&Vec<u8>| before.get(*key) != world.entries.get(*key);
        let mut expected = vec![at::account(&address(author)), at::FEES.to_vec(), at::COUNTED.to_vec()];
        expected.sort();
        assert_eq!(world.entries.keys().filter(changed).cloned().collect::<Vec<_>>(), expected, "{story}");
    };
    let bent = |bend: &dyn Fn(&mut Candidacy)| {
        let mut candidacy = candidacy(BOB, NEW, 500);
        bend(&mut candidacy);
        Body::CreateValidator(Box::new(candidacy))
    };
    let proven = |bend: &dyn Fn(&mut Candidacy)| {
        let mut candidacy = candidacy(BOB, NEW, 500);
        bend(&mut candidacy);
        Body::CreateValidator(Box::new(candidacy.prove(&crate::world::chain(), &address(BOB), &key(NEW))))
    };
    check("another's proof", ALICE, create(BOB, NEW, 500), 6);
    check("a proof for another peer id", BOB, bent(&|candidacy| candidacy.peer_id = peer(99)), 6);
    check(
        "a proof for another chain",
        BOB,
        {
            let other = "zynk-test-2".parse().expect("a chain id");
            Body::CreateValidator(Box::new(candidacy(BOB, NEW, 500).prove(&other, &address(BOB), &key(NEW))))
        },
        6,
    );
    check("a key of small order", BOB, bent(&|candidacy| candidacy.consensus_key = types::PublicKey([0; 32])), 6);
    check("a key that is taken", BOB, create(BOB, FIRST, 500), 3);
    check("a peer id that is taken", BOB, proven(&|candidacy| candidacy.peer_id = peer(FIRST)), 4);
    check("a peer id of nothing", BOB, proven(&|candidacy| candidacy.peer_id = vec![1; 38].try_into().expect("38 bytes")), 5);
    check("more than all for a commission", BOB, proven(&|candidacy| candidacy.commission_bps = 10_001), 8);
    check("too little of one's own", BOB, proven(&|candidacy| candidacy.stake = Amount(99)), 7);
    check("nobody is edited", BOB, edit(NEW, Edit::default()), 1);
    check("another's is edited", BOB, edit(FIRST, Edit::default()), 2);
    check("a peer id becomes none", OPERATORS[0], edit(FIRST, Edit { peer_id: Some(types::Blob::default()), ..Edit::default() }), 5);
    check("to nobody", BOB, delegate(NEW, 100), 1);
    check("from nobody", BOB, undelegate(NEW, 100), 1);
    check("what one does not have", BOB, undelegate(FIRST, 1), 12);
    check("more than one has", ALICE, undelegate(FIRST, 1_001), 12);
    check("all there may be", ALICE, undelegate(FIRST, u64::MAX), 12);
    check("to itself", ALICE, redelegate(FIRST, FIRST, 1), 17);
    check("moved to nobody", ALICE, redelegate(FIRST, NEW, 1), 1);
    check("more than one has moves", ALICE, redelegate(FIRST, SECOND, 1_001), 12);
    check("a stranger's rewards", BOB, withdraw(FIRST), 12);
    check("rewards of nobody", BOB, withdraw(NEW), 1);
    check("who is not jailed", OPERATORS[0], unjail(FIRST), 18);
    check("another's is let back", BOB, unjail(FIRST), 2);
    check("nobody is let back", BOB, unjail(NEW), 1);
    let mut world = begin([5_000, 3_000, 1_000]);
    let ledger = |code| ("ledger".to_owned(), code);
    assert_eq!(world.one(ALICE, delegate(FIRST, 0)), ledger(11), "nothing");
    assert_eq!(world.one(ALICE, undelegate(FIRST, 0)), ledger(11));
    assert_eq!(world.one(ALICE, redelegate(FIRST, SECOND, 0)), ledger(11));
    assert_eq!(world.one(ALICE, delegate(FIRST, WEALTH.0)), ledger(9), "more than one has");
    assert_eq!(world.one(ALICE, delegate(FIRST, u64::MAX)), ("stake".to_owned(), 22), "more shares than there may be");
    assert_eq!(world.account(PAUPER).sequence, 0);
}

#[test]
fn an_account_is_bounded() {
    let mut world = begin([5_000, 3_000, 1_000]);
    for _ in 0..4 {
        world.done(ALICE, delegate(FIRST, 100));
        world.done(ALICE, redelegate(FIRST, SECOND, 100));
    }
    world.done(ALICE, delegate(FIRST, 100));
    assert_eq!(world.one(ALICE, redelegate(FIRST, SECOND, 100)), ("stake".to_owned(), 15));
    world.time.0 += 20_000;
    world.done(ALICE, redelegate(FIRST, SECOND, 100));
    let seeds: Vec<u8> = (50..66).collect();
    for seed in &seeds {
        world.done(BOB, create(BOB, *seed, 100));
    }
    assert_eq!(world.one(BOB, delegate(FIRST, 100)), ("stake".to_owned(), 13), "one more than 16");
    assert_eq!(told(&world).len(), 3);
    books::check(&world);
}

#[test]
fn a_full_list_makes_room_for_more_stake() {
    let [least, other] = [KEYS[3], KEYS[4]];
    let listed = |world: &World, seed: u8| registry::all(&State::new(&world.entries)).any(|found| found == address(seed));
    // The list is full of who nobody knows, but for the set and one more, if that has stake.
    let crowded = |stake: u64| {
        let mut world = begin([5_000, 3_000, 1_000]);
        if stake > 0 {
            world.done(ALICE, create(ALICE, least, stake));
        }
        let known: Vec<_> = registry::all(&State::new(&world.entries)).collect();
        let unknown = (0..registry::MAX_VALIDATORS).map(|_| Address([0xff; 20]));
        let all: Vec<_> = known.into_iter().chain(unknown).take(registry::MAX_VALIDATORS).collect();
        for (number, page) in (0..).zip(all.chunks(registry::PAGE)) {
            world.entries.insert(at::page(number), registry::Page::try_from(page.to_vec()).expect("a full page").to_bytes());
        }
        world
    };
    let full = ("stake".to_owned(), 11);
    // In the set: nobody takes its place. Outside: whoever has more stake does, and it may come back the same way.
    assert_eq!(crowded(0).one(BOB, create(BOB, other, 9_000)), full);
    let mut world = crowded(500);
    assert_eq!(world.one(BOB, create(BOB, other, 500)), full);
    world.done(BOB, create(BOB, other, 501));
    let displaced = ValidatorStatus::Jailed { until: world.time };
    assert_eq!((record(&world, least).status, listed(&world, least), listed(&world, other)), (displaced, false, true));
    assert_eq!(world.one(ALICE, unjail(least)), full);
    // Without a place its stake comes and leaves as ever, and with more stake it has one again.
    world.done(ALICE, delegate(least, 100));
    world.done(ALICE, undelegate(least, 90));
    world.done(ALICE, unjail(least));
    assert_eq!((record(&world, least).status, listed(&world, least), listed(&world, other)), (ValidatorStatus::Eligible, true, false));
    // Who is jailed makes room for anybody: a validator that its operator has left is no bar, whatever others have there.
    let mut world = crowded(900);
    world.done(SPONSOR, delegate(least, 900));
    world.done(ALICE, undelegate(least, 900));
    assert!(listed(&world, least), "as long as nobody needs its place");
    world.done(BOB, create(BOB, other, 100));
    assert!(!listed(&world, least) && listed(&world, other));
    world.done(SPONSOR, undelegate(least, 900));
    assert_eq!(record(&world, least).bonded, Amount::ZERO);
}

#[test]
fn an_operator_that_takes_too_much_out_is_jailed_and_may_come_back() {
    let mut world = begin([5_000, 3_000, 1_000]);
    world.done(ALICE, delegate(THIRD, 500));
    let outcome = world.play(&[world.signed(OPERATORS[2], undelegate(THIRD, 950))]);
    assert_eq!(outcome.validator_updates, [(key(THIRD).public(), 0)]);
    assert_eq!(world.one(OPERATORS[2], unjail(THIRD)), ("stake".to_owned(), 7));
    world.done(OPERATORS[2], delegate(THIRD, 50));
    world.done(OPERATORS[2], unjail(THIRD));
    assert_eq!(told(&world)[2], (address(THIRD), 6));
    // All leave: it is off the list, and its operator can begin again with the same key.
    world.done(ALICE, undelegate(THIRD, 500));
    world.done(OPERATORS[2], undelegate(THIRD, 100));
    assert_eq!((record(&world, THIRD).shares, record(&world, THIRD).bonded), (0, Amount::ZERO));
    books::check(&world);
    assert_eq!(world.one(ALICE, delegate(THIRD, 500)), ("stake".to_owned(), 2));
    assert_eq!(world.one(OPERATORS[2], delegate(THIRD, 99)), ("stake".to_owned(), 7));
    world.done(OPERATORS[2], delegate(THIRD, 700));
    world.done(OPERATORS[2], unjail(THIRD));
    assert_eq!(told(&world)[2], (address(THIRD), 7));
    books::check(&world);
}

#[test]
fn codes_of_stake_are_distinct() {
    use ledger::stake::Error;
    let (some, until) = (Amount(1), Millis(0));
    let all = [
        Error::UnknownValidator(address(ALICE)),
        Error::NotOperator,
        Error::KeyTaken(address(ALICE)),
        Error::PeerTaken,
        Error::BadPeer,
        Error::BadProof,
        Error::SelfStakeTooLow { found: some, needed: some },
        Error::BadCommission(1),
        Error::CommissionStep { found: 1, bound: 1 },
        Error::CommissionHeld { until },
        Error::TooManyValidators { bound: 1 },
        Error::StakeTooLow { found: some, needed: some },
        Error::TooManyDelegations { bound: 1 },
        Error::TooManyUnbondings { bound: 1 },
        Error::TooManyRedelegations { bound: 1 },
        Error::StillAnswers { until },
        Error::SameValidator,
        Error::NotJailed,
        Error::StillJailed { until },
        Error::Tombstoned,
        Error::LastValidator,
        Error::NoShare,
    ];
    let codes: Vec<u32> = all.iter().map(Error::code).collect();
    assert_eq!(codes, (1..=22).collect::<Vec<_>>());
}
