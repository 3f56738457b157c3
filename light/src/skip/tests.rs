//! Which blocks are fetched, and that skipping believes what believing every block would.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use types::{Hash, Height};

use super::{Skip, Step};
use crate::testing::{Ballot, Chain, Manner, validators};
use crate::{Error, LightBlock, Options, Trust, TrustThreshold};

const APP: Hash = Hash([7; 32]);

fn chain() -> Chain {
    Chain::new("zynk-test-1")
}

/// The block of a height, where `sets` says who validates.
fn block(height: u64, sets: &impl Fn(u64) -> Vec<u8>) -> LightBlock {
    let (validators, next_validators) = (validators(&sets(height)), validators(&sets(height + 1)));
    let signed_header = chain().block(height, APP, &validators, &next_validators);
    LightBlock { signed_header, validators, next_validators }
}

/// Goes to `target`; the heights fetched, in order, and what came of it.
fn go(trust: &mut Trust, target: u64, options: &Options, mut fetch: impl FnMut(u64) -> LightBlock) -> (Vec<u64>, Result<Hash, Error>) {
    let (mut skip, mut fetched) = (Skip::to(Height(target)), Vec::new());
    let now = chain().time(target + 1);
    loop {
        match skip.step(trust, now, options) {
            Ok(Step::Fetch(height)) => {
                fetched.push(height.0);
                skip.give(fetch(height.0)).expect("the height asked for");
            }
            Ok(Step::There(header)) => {
                assert_eq!((header.height(), trust.height()), (Height(target), Height(target)));
                assert_eq!(skip.fetched(), fetched.len());
                let blocks = skip.into_blocks();
                assert_eq!(blocks.last().map(LightBlock::hash), Some(header.hash()), "the way ends at the target");
                assert!(blocks.windows(2).all(|pair| pair[0].height() < pair[1].height()), "the way rises");
                return (fetched, Ok(header.hash()));
            }
            Err(error) => return (fetched, Err(error)),
        }
    }
}

#[test]
fn as_few_blocks_are_fetched_as_the_changes_allow() {
    type Sets = fn(u64) -> Vec<u8>;
    let still: Sets = |_| vec![1, 2, 3, 4];
    // One of four is exchanged every hundred heights.
    let slow: Sets = |height| {
        let first = u8::try_from(height / 100).expect("low") + 1;
        (first..first + 4).collect()
    };
    // One of four is exchanged at each height.
    let fast: Sets = |height| {
        let first = u8::try_from(height).expect("low") + 1;
        (first..first + 4).collect()
    };
    // All are exchanged at height 60.
    let sudden: Sets = |height| if height < 60 { vec![1, 2, 3, 4] } else { vec![5, 6, 7, 8] };
    let third = Options::default();
    let most = Options { trust_level: TrustThreshold::TWO_THIRDS, ..third };
    for (story, sets, options, target, expected) in [
        ("nothing changes: the target alone", still, third, 1_000, vec![1_000]),
        ("two of four have changed: the target alone", slow, third, 250, vec![250]),
        ("three have changed: one between", slow, third, 320, vec![320, 160]),
        ("six have changed, over a long time", slow, third, 600, vec![600, 300, 150, 450]),
        ("the same with a stricter level: two of four no longer do", slow, most, 250, vec![250, 125]),
        ("everybody at once: down to the change", sudden, third, 100, vec![100, 50, 75, 62, 56, 59]),
        ("one changes at each height", fast, third, 9, vec![9, 4, 2, 6]),
        ("the next block", fast, third, 1, vec![1]),
    ] {
        let mut trust = chain().genesis(&validators(&sets(1)));
        let (fetched, came) = go(&mut trust, target, &options, |height| block(height, &sets));
        assert_eq!(came.map(|_| fetched), Ok(expected), "{story}");
    }
}

#[test]
fn what_does_not_hold_ends_the_way() {
    let sets = |height: u64| if height < 60 { vec![1, 2, 3, 4] } else { vec![5, 6, 7, 8] };
    let options = Options { trusting_period: Duration::from_secs(100), ..Options::default() };
    let way = |target: u64, bend: &dyn Fn(&mut LightBlock)| {
        let mut trust = chain().genesis(&validators(&[1, 2, 3, 4]));
        let (fetched, came) = go(&mut trust, target, &options, |height| {
            let mut block = block(height, &sets);
            bend(&mut block);
            block
        });
        (came.map_or_else(|error| error.code(), |_| 0), fetched.len())
    };
    assert_eq!(way(90, &|_| {}).0, 0, "the honest way");
    assert_eq!(way(99, &|_| {}).0, 1009, "trust is older than the period");
    let invented = |block: &mut LightBlock| {
        if block.height() >= Height(60) {
            let set = validators(&[9, 10, 11, 12]);
            block.signed_header = chain().block(block.height().0, APP, &set, &set);
            (block.validators, block.next_validators) = (set.clone(), set);
        }
    };
    assert_eq!(way(90, &invented).0, 1015, "invented validators right after the change");
    let few = |block: &mut LightBlock| {
        let header = block.signed_header.header.clone();
        let ballots = [Ballot::Absent, Ballot::Absent];
        block.signed_header = chain().sign(header, &block.validators, Manner { ballots: &ballots, ..Manner::EMBEDDED });
    };
    assert_eq!(way(50, &few), (1004, 1), "half of them is more than a third, and not two thirds");

    let mut skip = Skip::to(Height(9));
    assert_eq!(skip.give(block(8, &sets)).map_err(|error| error.code()), Err(1007), "another height than asked for");
    skip.give(block(9, &sets)).expect("the height asked for");
    assert_eq!(skip.give(block(9, &sets)).map_err(|error| error.code()), Err(1007), "none was asked for");
}

/// Validators over 40 heights: at each, a number of the set's five places given to new ones.
fn histories() -> impl Strategy<Value = BTreeMap<u64, Vec<u8>>> {
    prop::collection::vec(prop_oneof![6 => Just(0usize), 3 => Just(1), 2 => Just(2), 1 => Just(5)], 40).prop_map(|changes| {
        let (mut set, mut newest) = (vec![1u8, 2, 3, 4, 5], 5u8);
        let mut sets = BTreeMap::new();
        for (height, count) in (1u64..).zip(changes) {
            sets.insert(height, set.clone());
            for place in 0..count {
                newest = newest.checked_add(1).unwrap_or(1);
                let place = (usize::try_from(height).expect("low") + place) % set.len();
                if !set.contains(&newest) {
                    set[place] = newest;
                }
            }
        }
        sets.insert(41, set);
        sets
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Block by block and by skipping, the same headers are believed, whoever changes; and where the target is signed by
    /// others than the chain's validators, neither way believes it.
    #[test]
    fn skipping_believes_what_every_block_would(sets in histories(), target in 2u64..=40, level in 0..3usize) {
        let level = [TrustThreshold::ONE_THIRD, TrustThreshold::new(1, 2).expect("a level"), TrustThreshold::TWO_THIRDS][level];
        let options = Options { trust_level: level, ..Options::default() };
        let sets = |height: u64| sets[&height].clone();
        let now = chain().time(target + 1);
        let genesis = chain().genesis(&validators(&sets(1)));

        let mut every = genesis.clone();
        for height in 1..=target {
            every.follow(&block(height, &sets), now, &options).expect("each block is believed after the one before");
        }
        let mut skipping = genesis.clone();
        let (fetched, came) = go(&mut skipping, target, &options, |height| block(height, &sets));
        prop_assert_eq!(came.ok(), every.header_hash());
        prop_assert_eq!(&skipping, &every);
        let mut once = fetched.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), fetched.len(), "no block is fetched twice");
        prop_assert!(fetched.len() <= 2 * usize::try_from(target).expect("low"));

        let strangers = |height: u64| if height == target { vec![201, 202, 203, 204] } else { sets(height) };
        let forged = |height: u64| {
            let mut block = block(height, &strangers);
            if height + 1 == target {
                block = self::block(height, &sets);
            }
            block
        };
        prop_assert!(go(&mut genesis.clone(), target, &options, forged).1.is_err(), "strangers sign the target");
        let mut every = genesis.clone();
        for height in 1..target {
            every.follow(&block(height, &sets), now, &options).expect("the blocks before hold");
        }
        prop_assert!(every.follow(&forged(target), now, &options).is_err());
    }
}
