//! Down a chain of linked headers.

use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{self, Commit, parts};
use types::{Hash, Height};

use super::Descent;
use crate::testing::{Ballot, Chain, Manner, validators};
use crate::{Trust, Validators, Verified};

/// Who validates: others from height 4 on, so that nothing but the hashes leads down.
fn set(height: u64) -> Validators {
    if height < 4 { validators(&[1, 2, 3, 4]) } else { validators(&[5, 6, 7, 8]) }
}

/// Six blocks, each naming the one before it; the third signed by whom `ballots` says.
fn linked(ballots: &[Ballot]) -> Vec<SignedHeader> {
    let chain = Chain::new("zynk-test-1");
    let mut blocks: Vec<SignedHeader> = Vec::new();
    for height in 1..=6 {
        let mut header = chain.header(height, Hash([7; 32]), &set(height), &set(height + 1));
        header.last_block_id = blocks.last().map(|last| {
            let hash = last.header.hash();
            block::Id { hash, part_set_header: parts::Header::new(1, hash).expect("a part set") }
        });
        let ballots = if height == 3 { ballots } else { &[] };
        blocks.push(chain.sign(header, &set(height), Manner { ballots, ..Manner::EMBEDDED }));
    }
    blocks
}

fn checkpoint(block: &SignedHeader) -> Trust {
    let (height, next) = (Height::from(block.header.height), set(block.header.height.value() + 1));
    let block = crate::LightBlock { signed_header: block.clone(), validators: set(height.0), next_validators: next };
    Trust::vouched(height, block.hash(), &block).expect("its validators signed it")
}

/// Goes down to height 3 from a checkpoint at 6, and tells the code.
fn descend(shown: &[SignedHeader], last: &SignedHeader, validators: &Validators) -> u32 {
    let mut way = Descent::from(&checkpoint(&linked(&[])[5])).expect("a checkpoint has a header");
    for block in shown {
        assert_eq!(way.height(), Height::from(block.header.height));
        if let Err(error) = way.step(&block.header) {
            return error.code();
        }
    }
    way.land(last, validators).map_or_else(|error| error.code(), |header| u32::from(header.signed_header() != last))
}

#[test]
fn hashes_lead_down_and_nothing_else_does() {
    let own = linked(&[]);
    let down = [own[5].clone(), own[4].clone(), own[3].clone()];
    assert_eq!(descend(&down, &own[2], &set(3)), 0, "three links and a commit");

    let mut bent = down.clone();
    bent[1].header.app_hash = vec![8; 32].try_into().expect("a hash");
    assert_eq!(descend(&bent, &own[2], &set(3)), 1028, "another header on the way");
    assert_eq!(descend(&down[..1], &own[3], &set(4)), 1007, "a height left out");
    let other = Chain::new("zynk-test-1").block(3, Hash([9; 32]), &set(3), &set(4));
    assert_eq!(descend(&down, &other, &set(3)), 1028, "another header at the end, well signed");
    let few = linked(&[Ballot::Absent, Ballot::Absent]);
    assert_eq!(descend(&down, &few[2], &set(3)), 1004, "the right header, under a commit of half of them");
    assert_eq!(descend(&down, &own[2], &set(4)), 1002, "by validators whom it does not name");

    assert_eq!(Descent::from(&Chain::new("zynk-test-1").genesis(&set(1))), None, "below a genesis is nothing");
    let mut way = Descent::from(&checkpoint(&own[0])).expect("a header");
    assert_eq!(way.step(&own[0].header).map_err(|error| error.code()), Err(1014), "before the first block is none");
}

#[test]
fn somebody_vouches_for_one_block() {
    let own = linked(&[]);
    let block = |signed: &SignedHeader| {
        let height = signed.header.height.value();
        crate::LightBlock { signed_header: signed.clone(), validators: set(height), next_validators: set(height + 1) }
    };
    let (good, few) = (block(&own[2]), block(&linked(&[Ballot::Absent; 2])[2]));
    let code = |height, hash, block| Trust::vouched(Height(height), hash, &block).map_or_else(|error| error.code(), |_| 0);
    assert_eq!(code(3, good.hash(), good.clone()), 0);
    assert_eq!(code(4, good.hash(), good.clone()), 1007, "another height");
    assert_eq!(code(3, Hash([1; 32]), good.clone()), 1012, "another hash");
    assert_eq!(code(3, few.hash(), few), 1004, "the right hash, and half of the votes");
    let wrong = crate::LightBlock { validators: set(4), ..good.clone() };
    assert_eq!(code(3, good.hash(), wrong), 1002, "other validators");
    let wrong = crate::LightBlock { next_validators: set(3), ..good.clone() };
    assert_eq!(code(3, good.hash(), wrong), 1006, "other next validators");
}

#[test]
fn a_header_has_more_commits_than_one() {
    let (own, chain) = (linked(&[]), Chain::new("zynk-test-1"));
    let header = checkpoint(&own[2]).accept(&chain.sign(own[3].header.clone(), &set(4), Manner::EMBEDDED));
    assert_eq!(header.as_ref().map(Verified::signed_header), Ok(&own[3]));
    let header = header.expect("signed by those whom block 3 hands over to");
    let code = |manner, bend: &dyn Fn(&mut Commit)| {
        let mut commit = chain.sign(own[3].header.clone(), &set(4), manner).commit;
        bend(&mut commit);
        header.is_committed_by(&commit, &set(4)).map_or_else(|error| error.code(), |()| 0)
    };
    let absent = Manner { ballots: &[Ballot::Absent], ..Manner::EMBEDDED };
    let few = Manner { ballots: &[Ballot::Absent; 2], ..Manner::EMBEDDED };
    assert_eq!(code(absent, &|_| {}), 0, "three of four, seen elsewhere");
    assert_eq!(code(few, &|_| {}), 1004, "half of them");
    assert_eq!(code(absent, &|commit| commit.round = 1u16.into()), 1005, "a round that nobody signed");
    assert_eq!(code(absent, &|commit| commit.block_id = own[2].commit.block_id), 1003, "another block");
    assert_eq!(code(absent, &|commit| commit.height = own[2].header.height), 1007, "another height");
}
