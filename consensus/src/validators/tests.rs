//! Turns come in proportion to power, whatever joins and leaves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::SigningKey;

use super::*;

fn key(seed: u8) -> PublicKey {
    PublicKey::from_raw_ed25519(&SigningKey::from_seed(&[seed; 32]).public().0).expect("32 bytes")
}

fn set(powers: &[(u8, u64)]) -> ValidatorSet {
    ValidatorSet::genesis(powers.iter().map(|(seed, power)| (key(*seed), *power))).expect("a set")
}

fn step(set: &ValidatorSet) -> ValidatorSet {
    set.next([]).expect("no change")
}

/// Who proposes at the next `count` heights, by name.
fn turns(set: &ValidatorSet, names: &[(u8, char)], count: usize) -> String {
    let name = |set: &ValidatorSet| {
        let chosen = set.proposer(0).key;
        names.iter().find(|(seed, _)| key(*seed) == chosen).expect("a name").1
    };
    std::iter::successors(Some(set.clone()), |set| Some(step(set))).take(count).map(|set| name(&set)).collect()
}

fn priorities(set: &ValidatorSet) -> BTreeMap<account::Id, i64> {
    set.as_slice().iter().map(|validator| (validator.address(), validator.priority)).collect()
}

/// Seeds of keys in the order of their addresses.
fn by_address(count: u8) -> Vec<u8> {
    let mut seeds: Vec<u8> = (1..=count).collect();
    seeds.sort_by_key(|seed| account::Id::from(key(*seed)));
    seeds
}

#[test]
fn the_published_sequence() {
    // CometBFT 0.38, `types/validator_set_test.go`, `TestProposerSelection1`: the addresses there are the words
    // "foo", "bar" and "baz", of which "bar" is the least, then "baz", then "foo".
    let published = "foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo foo baz foo bar foo foo baz \
                     foo bar foo foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo foo \
                     baz bar foo foo foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo foo \
                     bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo";
    let letter = |word: &str| match word {
        "foo" => 'f',
        "bar" => 'r',
        _ => 'z',
    };
    let expected: String = published.split_whitespace().map(letter).collect();
    let seeds = by_address(3);
    let (bar, baz, foo) = (seeds[0], seeds[1], seeds[2]);
    let set = set(&[(foo, 1000), (bar, 300), (baz, 330)]);
    assert_eq!(turns(&set, &[(foo, 'f'), (bar, 'r'), (baz, 'z')], expected.len()), expected);
}

#[test]
fn equal_powers_go_round() {
    let seeds = by_address(3);
    let names = [(seeds[0], 'a'), (seeds[1], 'b'), (seeds[2], 'c')];
    let alike = set(&[(seeds[2], 1), (seeds[0], 1), (seeds[1], 1)]);
    assert_eq!(turns(&alike, &names, 9), "abcabcabc", "the lower address goes first");
    let one = set(&[(seeds[0], 7)]);
    assert_eq!(turns(&one, &names, 3), "aaa");
}

#[test]
fn the_set_is_ordered_by_power_and_then_by_address() {
    let set = set(&[(1, 5), (2, 9), (3, 5), (4, 5), (5, 1)]);
    let order: Vec<_> = set.as_slice().iter().map(|validator| (std::cmp::Reverse(validator.power), validator.address())).collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(order, sorted);
    assert_eq!(set.total_power(), 25);
    // The hash in headers is the published crate's own, over the same order.
    let infos =
        set.as_slice().iter().map(|validator| validator::Info::new(validator.key, vote::Power::try_from(validator.power).expect("small")));
    assert_eq!(set.hash(), validator::Set::without_proposer(infos.collect()).hash());
}

#[test]
fn a_round_is_one_turn_more() {
    let set = set(&[(1, 10), (2, 3), (3, 4), (4, 1)]);
    let mut later = set.clone();
    for round in 0..40 {
        assert_eq!(set.proposer(round).key, later.proposer(0).key, "round {round}");
        later = step(&later);
    }
}

#[test]
fn a_newcomer_waits_and_leaving_gains_nothing() {
    let mut now = set(&[(1, 10), (2, 10), (3, 10)]);
    now = now.next([(key(4), 10)]).expect("it joins");
    assert_eq!(now.as_slice().len(), 4);
    let lowest = priorities(&now).into_iter().min_by_key(|(_, priority)| *priority).expect("a set");
    assert_eq!(lowest.0, account::Id::from(key(4)), "the newcomer is last in line");
    // For 1.125 times the total of 40, less what the centring gives, everybody else goes first.
    let first = (0..20).position(|round| now.proposer(round).key == key(4)).expect("its turn comes");
    assert!(first >= 3, "its turn came after {first}");
    // Who leaves and comes back waits like a newcomer, though it had the next turn.
    let next = now.proposer(1).key;
    let back = now.next([(next, 0)]).expect("it leaves").next([(next, 10)]).expect("it is back");
    assert_ne!(back.proposer(0).key, next);
    assert_ne!(back.proposer(1).key, next);
}

#[test]
fn who_leaves_still_counts_in_what_a_newcomer_waits() {
    // By hand, after CometBFT's `updateWithChangeSet`. Three of power 10 have the priorities -20, 10
    // and 10 after the first turn. The last leaves as another comes: the total with both is 40, so the newcomer
    // begins at -45, not at the -33 of a total of 30. Centred by -19 that is -1, 29 and -26; a turn
    // adds 10 to each and takes 30 from the second.
    let seeds = by_address(4);
    let three = set(&[(seeds[0], 10), (seeds[1], 10), (seeds[2], 10)]);
    let after = three.next([(key(seeds[2]), 0), (key(seeds[3]), 10)]).expect("one leaves, one comes");
    let expected = [(seeds[0], 9), (seeds[1], 9), (seeds[3], -16)].map(|(seed, priority)| (account::Id::from(key(seed)), priority));
    assert_eq!(priorities(&after), BTreeMap::from(expected));
}

#[test]
fn changes_take_hold() {
    let set = set(&[(1, 10), (2, 10), (3, 10)]);
    let after = set.next([(key(1), 0), (key(2), 25), (key(9), 1)]).expect("a change");
    let powers: Vec<_> = after.as_slice().iter().map(|validator| (validator.key, validator.power)).collect();
    assert_eq!(powers, [(key(2), 25), (key(3), 10), (key(9), 1)]);
    assert_eq!(after.by_address(key(1).into()), None);
    assert_ne!(after.hash(), set.hash());
    assert_eq!(step(&set).hash(), set.hash(), "turns do not show in the hash");
}

#[test]
fn what_cannot_be() {
    let set = set(&[(1, 10), (2, 10)]);
    let check = |story: &str, changes: &[(u8, u64)], expected| {
        assert_eq!(set.next(changes.iter().map(|(seed, power)| (key(*seed), *power))).err(), expected, "{story}");
    };
    check("nothing", &[], None);
    check("a stranger leaves", &[(3, 0)], Some(BadUpdate::Unknown));
    check("one twice", &[(1, 5), (1, 6)], Some(BadUpdate::Twice));
    check("one leaves twice", &[(1, 0), (1, 0)], Some(BadUpdate::Twice));
    check("all leave", &[(1, 0), (2, 0)], Some(BadUpdate::Empty));
    check("all leave, but somebody comes", &[(1, 0), (2, 0), (3, 1)], None);
    check("the bound", &[(1, (1 << 60) - 10)], None);
    check("above the bound", &[(1, (1 << 60) - 9)], Some(BadUpdate::TooPowerful));
    check("far above the bound", &[(1, u64::MAX), (2, u64::MAX)], Some(BadUpdate::TooPowerful));
    assert_eq!(ValidatorSet::genesis([]).err(), Some(BadUpdate::Empty), "no set at all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn turns_come_in_proportion_to_power(powers in prop::collection::vec(1u64..1000, 1..8)) {
        let total: u64 = powers.iter().sum();
        let named: Vec<_> = (1..).zip(powers.iter().copied()).collect();
        let mut now = set(&named);
        let mut taken = BTreeMap::<account::Id, i64>::new();
        let start = now.clone();
        // A whole cycle gives everybody as many turns as they have power, give or take one.
        for _ in 0..total.min(600) {
            *taken.entry(now.proposer(0).address()).or_default() += 1;
            now = step(&now);
        }
        for validator in start.as_slice() {
            let turns = i128::from(taken.get(&validator.address()).copied().unwrap_or(0));
            let fair = i128::from(validator.power) * i128::from(total.min(600));
            let off = (turns * i128::from(total) - fair).abs();
            prop_assert!(off <= 2 * i128::from(total), "{} of power {} took {turns} turns", validator.address(), validator.power);
        }
    }

    #[test]
    fn priorities_stay_centred_and_within_the_window(
        powers in prop::collection::vec(1u64..(1 << 56), 1..8),
        changes in prop::collection::vec((1u8..12, 0u64..(1 << 56)), 0..30),
    ) {
        let named: Vec<_> = (1..).zip(powers).collect();
        let mut now = set(&named);
        for (seed, power) in changes {
            now = match now.next([(key(seed), power)]) {
                Ok(next) => next,
                Err(BadUpdate::Unknown | BadUpdate::Empty) => step(&now),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let (total, count) = (i128::from(now.total_power()), now.as_slice().len() as i128);
            let all: Vec<i128> = now.as_slice().iter().map(|validator| validator.priority.into()).collect();
            prop_assert!(all.iter().sum::<i128>().abs() < count, "not centred: {all:?}");
            let spread = all.iter().max().expect("a set") - all.iter().min().expect("a set");
            // The turn after the rescaling moves the highest down by at most the total.
            prop_assert!(spread <= 3 * total, "a spread of {spread} with a power of {total}");
            prop_assert!(now.by_address(now.proposer(0).address()).is_some());
        }
    }
}
