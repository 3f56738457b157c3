//! What is kept, what goes, and what is not believed when it is read again.

use std::time::Duration;

use serde_json::json;
use types::{Hash, Height};

use super::{BadKept, KEEP, Kept};
use crate::testing::{Chain, Manner, validators};
use crate::{Checkpoint, LightBlock, Options, Trust};

fn chain() -> Chain {
    Chain::new("zynk-test-1")
}

/// A block of either engine; the validators change at height 6.
fn block(height: u64) -> LightBlock {
    let set = |height| if height < 6 { validators(&[1, 2, 3, 4]) } else { validators(&[5, 6, 7]) };
    let (validators, next_validators) = (set(height), set(height + 1));
    let header = chain().header(height, Hash([7; 32]), &validators, &next_validators);
    let manner = if height.is_multiple_of(2) { Manner::EMBEDDED } else { Manner::COMETBFT };
    LightBlock { signed_header: chain().sign(header, &validators, manner), validators, next_validators }
}

fn kept(heights: &[u64], bound: usize) -> Kept {
    let mut kept = Kept::new(chain().genesis(&validators(&[1, 2, 3, 4])), bound);
    heights.iter().for_each(|height| kept.keep(&block(*height)));
    kept
}

fn heights(kept: &Kept) -> Vec<u64> {
    kept.blocks().iter().map(|block| block.height().0).collect()
}

#[test]
fn the_first_and_the_latest_stay() {
    for (story, given, bound, stay) in [
        ("room for all", vec![1, 5, 9], 3, vec![1, 5, 9]),
        ("in any order", vec![9, 1, 5], 3, vec![1, 5, 9]),
        ("the oldest but the first goes", vec![2, 3, 4, 5, 6], 3, vec![2, 5, 6]),
        ("at least two stay", vec![1, 2, 3], 0, vec![1, 3]),
        ("one height stands once", vec![4, 4], 5, vec![4]),
    ] {
        assert_eq!(heights(&kept(&given, bound)), stay, "{story}");
    }
}

#[test]
fn trust_is_found_on_either_side() {
    let kept = kept(&[2, 5, 9], KEEP);
    let below = |height| kept.below(Height(height)).height().0;
    let above = |height| kept.above(Height(height)).map(|trust| trust.height().0);
    assert_eq!([below(1), below(2), below(5), below(6), below(99)], [0, 0, 2, 5, 9]);
    assert_eq!([above(1), above(5), above(6), above(10)], [Some(2), Some(5), Some(9), None]);
    assert_eq!((kept.latest().height(), kept.latest().validators()), (Height(9), &validators(&[5, 6, 7])));
    assert_eq!(kept.below(Height(6)).validators(), &validators(&[5, 6, 7]), "those that the block hands over to");
    assert_eq!(kept.header(Height(5)).map(|header| header.hash()), Some(block(5).hash()));
    assert_eq!(kept.header(Height(6)), None);
}

#[test]
fn old_trust_is_not_taken_up_again() {
    let kept = kept(&[2, 5], KEEP);
    let options = Options { trusting_period: Duration::from_secs(100), ..Options::default() };
    let code = |now| kept.check_age(chain().time(now), &options).map_err(|error| error.code());
    assert_eq!((code(0), code(104), code(105)), (Ok(()), Ok(()), Err(1009)), "by the latest block's time");
}

#[test]
fn what_is_kept_has_these_bytes_and_comes_back() {
    let from_genesis = kept(&[2, 5, 9], KEEP);
    let verified = chain().genesis(&validators(&[1, 2, 3, 4])).accept(&block(3).signed_header).expect("they signed");
    let checkpoint = Checkpoint::at(&verified, &validators(&[1, 2, 3, 4])).expect("the next set");
    let mut from_checkpoint = Kept::new(Trust::checkpoint(&checkpoint), KEEP);
    [2, 3, 4].iter().for_each(|height| from_checkpoint.keep(&block(*height)));
    assert_eq!(heights(&from_checkpoint), [4], "nothing from before the checkpoint");
    let bytes = [&from_genesis, &from_checkpoint].map(|kept| kept.to_bytes().expect("they seal"));
    support::frozen("light_kept", &json!({"from_genesis": hex::encode(&bytes[0]), "from_checkpoint": hex::encode(&bytes[1])}));
    for (kept, bytes) in [(&from_genesis, &bytes[0]), (&from_checkpoint, &bytes[1])] {
        assert_eq!(Kept::from_bytes(bytes, KEEP).as_ref(), Ok(kept));
    }
    assert_eq!(Kept::from_bytes(&bytes[0], 2).map(|kept| heights(&kept)), Ok(vec![2, 9]), "a smaller bound");
}

#[test]
fn a_damaged_file_is_recognised() {
    let bytes = kept(&[2, 5], KEEP).to_bytes().expect("they seal");
    let code = |bytes: &[u8]| Kept::from_bytes(bytes, KEEP).map_or_else(|error| error.code(), |_| 0);
    for place in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[place] ^= 1;
        assert_eq!(code(&bent), BadKept::Damaged.code(), "byte {place}");
        assert_eq!(code(&bytes[..place]), BadKept::Damaged.code(), "cut at {place}");
    }
    let sealed = |bend: &dyn Fn(&mut Vec<u8>)| {
        let mut content = bytes[..bytes.len() - 32].to_vec();
        bend(&mut content);
        let sum = Hash::sha256(&[&content]);
        code(&[content.as_slice(), &sum.0].concat())
    };
    assert_eq!(sealed(&|_| {}), 0);
    assert_eq!(sealed(&|content| content[0] = 2), 1030, "another version");
    assert_eq!(sealed(&|content| content.push(0)), 1030, "something behind it");
    assert_eq!(sealed(&|content| content[3] ^= 1), 1031, "blocks of another chain");
    let twice = kept(&[5], KEEP);
    let blocks = Kept { blocks: vec![twice.blocks[0].clone(), twice.blocks[0].clone()], ..twice };
    assert_eq!(code(&blocks.to_bytes().expect("they seal")), 1031, "a height twice");
    let mut other = kept(&[5], KEEP);
    other.blocks[0].next_validators = validators(&[9]);
    assert_eq!(code(&other.to_bytes().expect("they seal")), 1031, "next validators that the header does not name");
}
