//! What each transaction does, and why each refusal is given.

use audit::{LogId, Status};
use identity::{Control, Draft, Operation};
use ledger::state::key as at;
use ledger::transaction::{MAX_BYTES, SignedTransaction};
use ledger::{Body, Note, Payer, Refusal, State, Transaction, anchors, block};
use types::{Amount, Encode as _, Hash, Height, PublicKey, Signature};

use crate::world::{
    ALICE, BOB, BOND, CONTROL, FEE, LOG, NEXT_CONTROL, NEXT_LOG, PAUPER, PHONE, SPONSOR, START, WEALTH, World, address, allow, anchored,
    app_state, chain, creation, key, params, transfer,
};

#[test]
fn a_transfer_moves_tokens() {
    let mut world = World::new();
    let outcome = world.play(&[world.signed(ALICE, transfer(BOB, 5))]);
    assert_eq!((world.balance(ALICE), world.balance(BOB)), (WEALTH.0 - FEE.0 - 5, WEALTH.0 + 5));
    assert_eq!((world.account(ALICE).sequence, world.account(BOB).sequence), (1, 0));
    assert_eq!(world.fees(), FEE.0);
    assert_eq!(outcome.results[0].events[0].kind, "transfer");
    world.done(ALICE, transfer(ALICE, 7));
    assert_eq!(world.balance(ALICE), WEALTH.0 - 2 * FEE.0 - 5, "to oneself");
    world.done(ALICE, transfer(PAUPER, 1));
    assert_eq!(world.balance(PAUPER), 1, "to an account that was never written");
    let rest = world.balance(ALICE) - FEE.0;
    world.done(ALICE, transfer(BOB, rest));
    assert_eq!(world.balance(ALICE), 0, "to the last token");
}

#[test]
fn one_block_of_many_transactions() {
    let mut world = World::new();
    let sequenced = |sequence, body| Transaction { sequence, ..world.transaction(ALICE, body) }.sign(&key(ALICE), None);
    let failing = WEALTH.0;
    let block = [
        sequenced(0, transfer(PAUPER, 100_000)),
        sequenced(1, transfer(BOB, failing)),
        world.signed(PAUPER, transfer(BOB, 1)),
        sequenced(2, transfer(BOB, 2)),
    ];
    let outcome = world.play(&block);
    let codes: Vec<_> = outcome.results.iter().map(|result| result.code.value()).collect();
    assert_eq!(codes, [0, 9, 0, 0], "what failed stops nobody");
    assert_eq!(world.balance(BOB), WEALTH.0 + 3);
    assert_eq!(world.account(ALICE).sequence, 3);
    assert_eq!(world.fees(), 4 * FEE.0);
    // Gas is the size: it does not depend on what ran.
    for (result, signed) in outcome.results.iter().zip(&block) {
        assert_eq!(usize::try_from(result.gas_used).ok(), Some(signed.to_bytes().len()));
    }
}

#[test]
fn a_sponsor_pays_by_signing_too() {
    let mut world = World::new();
    let transaction = Transaction { payer: Payer::Cosigner(key(SPONSOR).public()), ..world.transaction(PAUPER, allow(BOB, 1, 1)) };
    world.play(&[transaction.sign(&key(PAUPER), Some(&key(SPONSOR)))]);
    assert_eq!((world.balance(SPONSOR), world.balance(PAUPER)), (WEALTH.0 - FEE.0, 0));
    assert_eq!((world.account(SPONSOR).sequence, world.account(PAUPER).sequence), (0, 1));
}

#[test]
fn an_allowance_is_spent_and_ends() {
    let mut world = World::new();
    let sponsored = |world: &World| {
        let transaction = Transaction { payer: Payer::Allowance(address(SPONSOR)), ..world.transaction(PAUPER, allow(BOB, 1, 1)) };
        transaction.sign(&key(PAUPER), None)
    };
    let refused = |world: &World, found: u64| {
        let refusal = world.try_play(&[sponsored(world).to_bytes()]).expect_err("not allowed");
        assert_eq!(refusal, (0, Refusal::NotAllowed { found: Amount(found), needed: FEE }));
    };
    refused(&world, 0);
    world.done(SPONSOR, allow(PAUPER, 2 * FEE.0 + 7, 6));
    let before = world.balance(SPONSOR);
    world.play(&[sponsored(&world)]);
    world.play(&[sponsored(&world)]);
    assert_eq!(world.balance(SPONSOR), before - 2 * FEE.0);
    assert_eq!(world.allowance(SPONSOR, PAUPER).expect("a rest").remaining, Amount(7));
    refused(&world, 7);
    world.done(SPONSOR, allow(PAUPER, FEE.0, 6));
    world.play(&[sponsored(&world)]);
    assert_eq!(world.allowance(SPONSOR, PAUPER), None, "what is used up is gone from the state");
    // The last height counts, the one after it does not.
    world.done(SPONSOR, allow(PAUPER, 9 * FEE.0, 8));
    assert_eq!(world.height, 6);
    world.idle(1);
    world.play(&[sponsored(&world)]);
    assert_eq!(world.height, 8);
    refused(&world, 0);
    world.done(SPONSOR, allow(PAUPER, 9 * FEE.0, 99));
    world.done(SPONSOR, allow(PAUPER, 0, 99));
    assert_eq!(world.allowance(SPONSOR, PAUPER), None, "taken back");
    refused(&world, 0);
    // An allowance is no money: the sponsor's balance must cover the fee.
    let all = world.balance(SPONSOR) - 2 * FEE.0;
    world.done(SPONSOR, allow(PAUPER, 9 * FEE.0, 99));
    world.done(SPONSOR, transfer(BOB, all - 1));
    let refusal = world.try_play(&[sponsored(&world).to_bytes()]).expect_err("no money");
    assert_eq!(refusal.1, Refusal::InsufficientFunds { whose: "payer", found: Amount(1), needed: FEE });
}

#[test]
fn an_identity_is_carried() {
    let mut world = World::new();
    let create = creation(chain(), CONTROL);
    let did = create.did;
    // Who carries it does not matter.
    let outcome = world.play(&[world.signed(BOB, Body::Identity(Box::new(create.clone())))]);
    assert_eq!(outcome.results[0].events[0].kind, "identity");
    let entry = world.identity(&did).expect("an entry");
    assert_eq!((entry.sequence, entry.devices.len()), (0, 1));
    let identity = |code| ("identity".to_owned(), code);
    assert_eq!(world.one(ALICE, Body::Identity(Box::new(create))), identity(5), "created twice");
    let other = "zynk-test-2".parse().expect("a chain id");
    assert_eq!(world.one(ALICE, Body::Identity(Box::new(creation(other, CONTROL)))), identity(7), "another chain's");
    let leave = Draft::new(&chain(), &did, &entry, Operation::RemoveDevice { device: 1 }, Height(200));
    let forged = leave.clone().sign_as_device(1, &key(CONTROL)).finish().expect("one signature");
    assert_eq!(world.one(ALICE, Body::Identity(Box::new(forged))), identity(26), "a signature by another key");
    let leave = leave.sign_as_device(1, &key(PHONE)).finish().expect("one signature");
    world.done(ALICE, Body::Identity(Box::new(leave.clone())));
    assert_eq!(world.one(ALICE, Body::Identity(Box::new(leave))), identity(10), "a replay");
    let entry = world.identity(&did).expect("an entry");
    let end = Operation::Deactivate { control: Control::single(key(NEXT_CONTROL).public()) };
    let end = Draft::new(&chain(), &did, &entry, end, Height(200)).sign(0, &key(NEXT_CONTROL)).finish().expect("one signature");
    world.done(ALICE, Body::Identity(Box::new(end)));
    assert!(matches!(world.identity(&did).expect("an entry").status, identity::Status::Deactivated { .. }));
}

#[test]
fn a_log_has_a_life() {
    let mut world = World::new();
    let log = world.register(ALICE);
    assert_eq!(world.balance(ALICE), WEALTH.0 - FEE.0 - BOND.0);
    assert_eq!(world.census().bonds, u128::from(BOND.0));
    // Anchors are carried by anybody.
    let first = anchored(world.next_anchor(&log, 1), LOG);
    let outcome = world.play(&[world.signed(BOB, first.clone())]);
    let places: Vec<_> =
        outcome.notes.iter().filter_map(|note| if let Note::Anchored { index, .. } = note { Some(*index) } else { None }).collect();
    assert_eq!(places, [0]);
    let head = anchors::head(&State::new(&world.entries));
    assert_eq!(head.size, 1);
    // Again is done already: it costs, and changes nothing else.
    let outcome = world.play(&[world.signed(BOB, first)]);
    assert!(outcome.results[0].code.is_ok() && outcome.notes.is_empty());
    assert_eq!(anchors::head(&State::new(&world.entries)), head);
    world.done(ALICE, Body::RotateLogKey { log, key: key(NEXT_LOG).public() });
    let second = world.next_anchor(&log, 2);
    assert_eq!(world.one(BOB, anchored(second.clone(), LOG)), ("audit".to_owned(), 3207), "signed by the former key");
    world.done(BOB, anchored(second, NEXT_LOG));
    assert_eq!(anchors::head(&State::new(&world.entries)).size, 2);
    world.done(ALICE, Body::RetireLog { log });
    let retired = world.height;
    assert_eq!(world.log(&log).status, Status::Retired { at: Height(retired) });
    let third = world.next_anchor(&log, 3);
    assert_eq!(world.one(BOB, anchored(third, NEXT_LOG)), ("audit".to_owned(), 3212), "retired");
    assert_eq!(world.one(ALICE, Body::RetireLog { log }), ("ledger".to_owned(), 15), "the bond is held");
    world.idle(2);
    assert_eq!(world.height + 1, retired + u64::from(params().bond_hold_blocks));
    let before = world.balance(ALICE);
    world.done(ALICE, Body::RetireLog { log });
    assert_eq!((world.balance(ALICE), world.log(&log).bond), (before - FEE.0 + BOND.0, Amount::ZERO));
    world.done(ALICE, Body::RetireLog { log });
    assert_eq!(world.balance(ALICE), before - 2 * FEE.0 + BOND.0, "a bond returns once");
}

#[test]
fn two_logs_share_one_log_of_anchors() {
    let mut world = World::new();
    let (first, second) = (world.register(ALICE), world.register(ALICE));
    assert_ne!(first, second);
    let mut sizes = Vec::new();
    for (log, root) in [(first, 1), (second, 2), (second, 3), (first, 4), (second, 5)] {
        world.done(BOB, anchored(world.next_anchor(&log, root), LOG));
        sizes.push(anchors::head(&State::new(&world.entries)).size);
    }
    assert_eq!(sizes, [1, 2, 3, 4, 5]);
    // Two anchors of one log in one block, in order.
    let one = world.next_anchor(&first, 6);
    let two = audit::Anchor { sequence: one.sequence + 1, previous: one.hash(), root: Hash([7; 32]), ..one.clone() };
    let block = [world.signed(ALICE, anchored(one, LOG)), world.signed(BOB, anchored(two, LOG))];
    let outcome = world.play(&block);
    assert!(outcome.results.iter().all(|result| result.code.is_ok()));
    let nodes = outcome.notes.iter().filter(|note| matches!(note, Note::LogNode { .. })).count();
    assert_eq!((nodes, anchors::head(&State::new(&world.entries)).size), (3, 7), "two leaves and the node over the first");
}

/// A transaction that must not be in a block: the refusal, and that the state stays.
#[test]
fn what_no_block_may_have() {
    let check = |story: &str, make: &dyn Fn(&World) -> Vec<u8>, expected: Refusal| {
        let mut world = World::new();
        world.done(ALICE, transfer(BOB, 1));
        let fine = world.signed(BOB, transfer(SPONSOR, 1));
        let bytes = make(&world);
        assert_eq!(world.try_play(&[fine.to_bytes(), bytes.clone()]).expect_err(story), (1, expected.clone()), "{story}");
        let parsed = SignedTransaction::parse(&bytes).map_or_else(Err, |signed| world.check(&signed));
        assert_eq!(parsed, Err(expected), "{story}, in the mempool");
    };
    let signed = |make: fn(&mut Transaction)| {
        move |world: &World| {
            let mut transaction = world.transaction(ALICE, transfer(BOB, 1));
            make(&mut transaction);
            transaction.sign(&key(ALICE), None).to_bytes()
        }
    };
    let tag = |what, found| Refusal::Malformed(types::DecodeError::Tag { what, found });
    check("nothing", &|_| Vec::new(), Refusal::Malformed(types::DecodeError::Truncated { missing: 1 }));
    check("another version", &|_| vec![2], tag("transaction version", 2));
    check("a byte left over", &|world| [world.signed(ALICE, transfer(BOB, 1)).to_bytes(), vec![0]].concat(), {
        Refusal::Malformed(types::DecodeError::Trailing { left: 1 })
    });
    check("too large", &|_| vec![1; MAX_BYTES + 1], Refusal::TooLarge { found: MAX_BYTES + 1, bound: MAX_BYTES });
    let other = Refusal::WrongChain { found: "zynk-test-2".to_owned(), expected: "zynk-test-1".to_owned() };
    check("another chain", &signed(|transaction| transaction.chain = "zynk-test-2".parse().expect("a chain id")), other);
    let author = Refusal::BadSignature { whose: "author" };
    check("signed by another", &|world| world.transaction(ALICE, transfer(BOB, 1)).sign(&key(BOB), None).to_bytes(), author.clone());
    check(
        "changed after signing",
        &|world| {
            let mut signed = world.signed(ALICE, transfer(BOB, 1));
            signed.transaction.fee = Amount(FEE.0 + 1);
            signed.to_bytes()
        },
        author.clone(),
    );
    check(
        "a key of small order",
        &|world| {
            let mut signed = world.signed(ALICE, transfer(BOB, 1));
            (signed.transaction.author, signed.signature) = (PublicKey([0; 32]), Signature([0; 64]));
            signed.to_bytes()
        },
        author,
    );
    let payer = Refusal::BadSignature { whose: "payer" };
    let cosigned = |payer_key: Option<u8>| {
        move |world: &World| {
            let sponsor = Payer::Cosigner(key(SPONSOR).public());
            let transaction = Transaction { payer: sponsor, ..world.transaction(ALICE, transfer(BOB, 1)) };
            transaction.sign(&key(ALICE), payer_key.map(key).as_ref()).to_bytes()
        }
    };
    check("a payer who has not signed", &cosigned(None), payer.clone());
    check("a payer for whom another has signed", &cosigned(Some(BOB)), payer.clone());
    check(
        "a payer nobody asked for",
        &|world| world.transaction(ALICE, transfer(BOB, 1)).sign(&key(ALICE), Some(&key(BOB))).to_bytes(),
        payer,
    );
    check("a replay", &signed(|transaction| transaction.sequence = 0), Refusal::StaleSequence { found: 0, expected: 1 });
    check("a gap", &signed(|transaction| transaction.sequence = 2), Refusal::FutureSequence { found: 2, expected: 1 });
    let late = Refusal::Expired { valid_until: Height(1), height: Height(2) };
    check("too late", &signed(|transaction| transaction.valid_until = Height(1)), late);
    let size = World::new().signed(ALICE, transfer(BOB, 1)).to_bytes().len() - 1;
    let (found, needed) = (Amount(1_000), params().minimum_fee(size));
    check("too low a fee", &signed(|transaction| transaction.fee = Amount(1_000)), Refusal::FeeTooLow { found, needed });
    let (found, needed) = (Amount(WEALTH.0 - FEE.0 - 1), WEALTH);
    check(
        "too little for the fee",
        &signed(|transaction| transaction.fee = WEALTH),
        Refusal::InsufficientFunds { whose: "author", found, needed },
    );
    let nobody = |transaction: &mut Transaction| transaction.payer = Payer::Allowance(key(SPONSOR).public().address());
    check("an allowance that was not given", &signed(nobody), Refusal::NotAllowed { found: Amount::ZERO, needed: FEE });
    check(
        "a payer who owns nothing",
        &|world| {
            let transaction = Transaction { payer: Payer::Cosigner(key(PAUPER).public()), ..world.transaction(ALICE, transfer(BOB, 1)) };
            transaction.sign(&key(ALICE), Some(&key(PAUPER))).to_bytes()
        },
        Refusal::InsufficientFunds { whose: "payer", found: Amount::ZERO, needed: FEE },
    );
}

#[test]
fn the_least_fee_and_the_last_height_are_enough() {
    let mut world = World::new();
    let mut transaction = Transaction { valid_until: Height(1), ..world.transaction(ALICE, transfer(BOB, 1)) };
    for _ in 0..3 {
        transaction.fee = params().minimum_fee(transaction.clone().sign(&key(ALICE), None).to_bytes().len());
    }
    let enough = transaction.clone().sign(&key(ALICE), None);
    transaction.fee = Amount(transaction.fee.0 - 1);
    let short = transaction.sign(&key(ALICE), None);
    assert!(matches!(world.check(&short), Err(Refusal::FeeTooLow { .. })));
    assert_eq!(world.check(&enough), Ok(()));
    assert!(world.play(&[enough]).results[0].code.is_ok());
}

/// A body that is refused costs its fee and its number, and does nothing else.
#[test]
fn what_fails_in_a_block() {
    let check = |story: &str, author: u8, make: &dyn Fn(&World, LogId) -> Body, (codespace, code): (&str, u32)| {
        let mut world = World::new();
        let log = world.register(ALICE);
        world.done(BOB, anchored(world.next_anchor(&log, 1), LOG));
        world.done(BOB, anchored(world.next_anchor(&log, 2), LOG));
        let body = make(&world, log);
        let refusal = world.check(&world.signed(author, body.clone())).expect_err(story);
        assert_eq!((refusal.codespace(), refusal.code()), (codespace, code), "{story}, in the mempool");
        let (before, account) = (world.clone(), world.account(author));
        assert_eq!(world.one(author, body), (codespace.to_owned(), code), "{story}");
        assert_eq!(world.account(author).sequence, account.sequence + 1, "{story}");
        assert_eq!(world.account(author).balance.0, account.balance.0 - FEE.0, "{story}");
        assert_eq!(world.fees(), before.fees() + FEE.0, "{story}");
        let changed: Vec<_> =
            world.entries.iter().filter(|(key, value)| before.entries.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect();
        // The last is the block's: it counts for who signs.
        let mut expected = vec![at::account(&address(author)), at::FEES.to_vec(), at::COUNTED.to_vec()];
        expected.sort();
        assert_eq!(changed, expected, "{story}");
        assert_eq!(world.entries.len(), before.entries.len(), "{story}");
    };
    let weak = PublicKey([0; 32]);
    let unknown = LogId(Hash([9; 32]));
    check("more than there is", ALICE, &|_, _| transfer(BOB, WEALTH.0), ("ledger", 9));
    check("nothing moved", ALICE, &|_, _| transfer(BOB, 0), ("ledger", 11));
    check("a bond too low", BOB, &|_, _| Body::RegisterLog { key: key(LOG).public(), bond: Amount(BOND.0 - 1) }, ("ledger", 12));
    check("a bond above the balance", BOB, &|_, _| Body::RegisterLog { key: key(LOG).public(), bond: WEALTH }, ("ledger", 9));
    check("a weak log key", BOB, &|_, _| Body::RegisterLog { key: weak, bond: BOND }, ("audit", 3214));
    check("an unknown log gets a key", BOB, &|_, _| Body::RotateLogKey { log: unknown, key: key(NEXT_LOG).public() }, ("ledger", 13));
    check("an unknown log retires", BOB, &|_, _| Body::RetireLog { log: unknown }, ("ledger", 13));
    check(
        "an unknown log anchors",
        BOB,
        &|world, log| anchored(audit::Anchor { log: unknown, ..world.next_anchor(&log, 3) }, LOG),
        ("ledger", 13),
    );
    check("another's log gets a key", BOB, &|_, log| Body::RotateLogKey { log, key: key(NEXT_LOG).public() }, ("ledger", 14));
    check("another's log retires", BOB, &|_, log| Body::RetireLog { log }, ("ledger", 14));
    check("a log gets its own key", ALICE, &|_, log| Body::RotateLogKey { log, key: key(LOG).public() }, ("audit", 3214));
    check("a log gets a weak key", ALICE, &|_, log| Body::RotateLogKey { log, key: weak }, ("audit", 3214));
    let other = "zynk-test-2".parse().expect("a chain id");
    check(
        "an anchor for another chain",
        BOB,
        &|world, log| anchored(audit::Anchor { chain: Clone::clone(&other), ..world.next_anchor(&log, 3) }, LOG),
        ("audit", 3205),
    );
    check("an anchor signed by another", BOB, &|world, log| anchored(world.next_anchor(&log, 3), NEXT_LOG), ("audit", 3207));
    let at = |sequence: u64, root: u8| {
        move |world: &World, log: LogId| {
            let previous = if sequence == 1 { Hash::ZERO } else { world.log(&log).last };
            anchored(audit::Anchor { sequence, previous, ..world.next_anchor(&log, root) }, LOG)
        }
    };
    check("a second anchor for the last sequence", BOB, &at(2, 9), ("audit", 3208));
    check("an anchor of the past", BOB, &at(1, 1), ("audit", 3209));
    check("an anchor of the future", BOB, &at(4, 4), ("audit", 3210));
    check(
        "an anchor on another one",
        BOB,
        &|world, log| anchored(audit::Anchor { previous: Hash([9; 32]), ..world.next_anchor(&log, 3) }, LOG),
        ("audit", 3211),
    );
    check("an operation nobody signed", BOB, &|_, _| Body::Identity(Box::new(creation(chain(), PHONE))), ("identity", 26));
}

#[test]
fn codes_are_distinct() {
    let codes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let some = Amount(1);
    let all = [
        Refusal::Malformed(types::DecodeError::Utf8),
        Refusal::TooLarge { found: 1, bound: 0 },
        Refusal::WrongChain { found: String::new(), expected: String::new() },
        Refusal::BadSignature { whose: "author" },
        Refusal::StaleSequence { found: 0, expected: 1 },
        Refusal::FutureSequence { found: 1, expected: 0 },
        Refusal::Expired { valid_until: Height(0), height: Height(1) },
        Refusal::FeeTooLow { found: some, needed: some },
        Refusal::InsufficientFunds { whose: "author", found: some, needed: some },
        Refusal::NotAllowed { found: some, needed: some },
        Refusal::BadAmount,
        Refusal::BondTooLow { found: some, needed: some },
        Refusal::UnknownLog(LogId(Hash::ZERO)),
        Refusal::NotOwner,
        Refusal::BondHeld { until: Height(0) },
    ];
    assert_eq!(all.each_ref().map(Refusal::code), codes);
    assert!(all.iter().all(|refusal| refusal.codespace() == "ledger"));
}

#[test]
fn the_mempool_sees_what_waits_before() {
    let world = World::new();
    let chain = chain();
    let block = ledger::Block::new(&chain, Height(1), types::Millis(0));
    let mut state = State::new(&world.entries);
    let mut check = |sequence: u64, amount: u64| {
        let transaction = Transaction { sequence, ..world.transaction(ALICE, transfer(BOB, amount)) };
        let verified = transaction.sign(&key(ALICE), None).verify().expect("signed");
        block::check(&mut state, block, &verified).map_err(|refusal| refusal.code())
    };
    assert_eq!(check(1, 1), Err(6), "a gap");
    assert_eq!(check(0, WEALTH.0 - 3 * FEE.0), Ok(()));
    assert_eq!(check(0, 1), Err(5), "the number is taken");
    assert_eq!(check(1, 2 * FEE.0), Err(9), "the rest is too little");
    assert_eq!(check(1, FEE.0), Ok(()), "a refusal took nothing");
}

#[test]
fn a_genesis_is_refused() {
    use ledger::genesis::{BadGenesis, MAX_SUPPLY};
    let check = |story: &str, bend: &dyn Fn(&mut ledger::AppState), expected: Option<BadGenesis>| {
        let mut state = app_state();
        bend(&mut state);
        assert_eq!(state.build(START).err(), expected, "{story}");
    };
    assert_eq!(Ok(MAX_SUPPLY), u64::try_from(i64::MAX / 8), "CometBFT's bound on all power");
    let first = || "first".to_owned();
    check("as it is", &|_| (), None);
    check("nobody validates", &|state| state.validators.clear(), Some(BadGenesis::ValidatorCount(0)));
    check("one key twice", &|state| state.validators.push(state.validators[0].clone()), Some(BadGenesis::SharedKey(key(10).public())));
    let another = |state: &mut ledger::AppState, seed: u8, peer: u8| {
        let mut validator = state.validators[0].clone();
        (validator.consensus_key, validator.peer_id) = (key(seed).public(), vec![peer; 38].try_into().expect("38 bytes"));
        state.validators.push(validator);
    };
    check("one peer id twice", &|state| another(state, 11, 1), Some(BadGenesis::SharedPeer(first())));
    check("as many of one operator as may be", &|state| (11..26).for_each(|seed| another(state, seed, seed)), None);
    check("one more", &|state| (11..27).for_each(|seed| another(state, seed, seed)), Some(BadGenesis::Operator(first())));
    check("more than sign blocks", &|state| (11..75).for_each(|seed| another(state, seed, seed)), Some(BadGenesis::ValidatorCount(65)));
    check("a weak key", &|state| state.validators[0].consensus_key = PublicKey([0; 32]), Some(BadGenesis::WeakKey(first())));
    check("too little stake", &|state| state.validators[0].stake = Amount(999_999), Some(BadGenesis::SelfStake(first())));
    check("a stake without power", &|state| state.params.power_unit = Amount(5_000_001), Some(BadGenesis::NoPower(first())));
    check("too high a commission", &|state| state.validators[0].commission_bps = 10_001, Some(BadGenesis::Commission(first())));
    let room = MAX_SUPPLY - 5_000_000 - 2 * WEALTH.0;
    check("all the tokens there may be", &|state| *state.accounts.entry(address(ALICE)).or_default() = Amount(room), None);
    check("a token more", &|state| *state.accounts.entry(address(ALICE)).or_default() = Amount(room + 1), Some(BadGenesis::Supply));
    check("no unit of power", &|state| state.params.power_unit = Amount::ZERO, {
        Some(BadGenesis::Param(ledger::params::BadParam { name: "power_unit", rule: "must be above zero" }))
    });
}
