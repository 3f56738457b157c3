//! Stories of false blocks: whose doing they are, and what is no evidence. The chain has validators 1
//! to 4 at every height; up to height 5 both histories are one.

use serde_json::json;
use tendermint::block::{CommitSig, Header};
use tendermint::evidence::LightClientAttackEvidence;
use tendermint::{Signature, Time, block};
use types::{Address, Hash};

use super::{BadAttack, Common, Kind, Ours, hash, verify};
use crate::testing::{Ballot, Chain, Manner, validators};
use crate::{Fork, LightBlock, Options, Validators};

const APP: Hash = Hash([7; 32]);
const COMMON: u64 = 5;
const FALSE: u64 = 9;
const TIP: u64 = 12;

fn chain() -> Chain {
    Chain::new("zynk-test-1")
}

fn ours() -> Validators {
    validators(&[1, 2, 3, 4])
}

/// A block of these validators, its header bent before it is signed.
fn block(height: u64, set: &Validators, manner: Manner<'_>, bend: impl FnOnce(&mut Header)) -> LightBlock {
    let mut header = chain().header(height, APP, set, set);
    bend(&mut header);
    LightBlock { signed_header: chain().sign(header, set, manner), validators: set.clone(), next_validators: set.clone() }
}

fn honest(height: u64) -> LightBlock {
    block(height, &ours(), Manner::EMBEDDED, |_| ())
}

/// Another application hash: nobody who executed the chain could have signed it.
fn invented(header: &mut Header) {
    header.app_hash = vec![8; 32].try_into().expect("a hash");
}

/// Other transactions: whoever proposes chooses them.
fn chosen(header: &mut Header) {
    header.data_hash = Some(tendermint::Hash::Sha256([8; 32]));
}

fn lunatic(set: &Validators, ballots: &[Ballot]) -> LightBlock {
    block(FALSE, set, Manner { ballots, ..Manner::EMBEDDED }, invented)
}

/// The evidence that a light client makes of a false block and the chain's.
fn accuse(conflicting: &LightBlock, instead: &LightBlock) -> Option<LightClientAttackEvidence> {
    Fork { common: &honest(COMMON), conflicting, instead }.evidence()
}

/// What a node makes of it, whose chain is [`TIP`] high.
fn judge(evidence: &LightClientAttackEvidence, instead: &LightBlock) -> Result<Vec<Address>, BadAttack> {
    let common = honest(evidence.common_height.value());
    let (common, tip) = (Common { header: &common.signed_header.header, validators: &common.validators }, honest(TIP));
    let ahead = evidence.conflicting_block.signed_header.header.height > tip.signed_header.header.height;
    let ours = if ahead { Ours::Tip(&tip.signed_header.header) } else { Ours::Block(&instead.signed_header) };
    verify(evidence, chain().id(), &common, ours)
}

/// The addresses of validators by their seeds, in the order of the set.
fn addresses(seeds: &[u8]) -> Vec<Address> {
    validators(seeds).members().map(|member| member.public_key.address()).collect()
}

/// All but the validator at a place of the set.
fn but(missing: usize) -> Vec<Address> {
    let mut all = addresses(&[1, 2, 3, 4]);
    all.remove(missing);
    all
}

#[test]
fn whoever_made_the_block_is_named() {
    use Ballot::{Absent, Commit, Nil};
    let second = Manner { round: 1, ..Manner::EMBEDDED };
    let three = Manner { ballots: &[Commit, Absent], ..Manner::EMBEDDED };
    let cometbft = Manner { round: 0, ..Manner::COMETBFT };
    let check = |story: &str, conflicting: &LightBlock, instead: &LightBlock, kind: Kind, expected: Vec<Address>| {
        let common = honest(COMMON);
        let fork = Fork { common: &common, conflicting, instead };
        assert_eq!(fork.kind(), kind, "{story}");
        let evidence = fork.evidence().expect("there are blocks before");
        assert_eq!(judge(&evidence, instead), Ok(expected), "{story}");
        let at = if kind == Kind::Lunatic { COMMON } else { FALSE };
        assert_eq!(evidence.common_height.value(), at, "{story}");
    };
    let own = honest(FALSE);
    check("all invent", &lunatic(&ours(), &[]), &own, Kind::Lunatic, addresses(&[1, 2, 3, 4]));
    check("three of four invent", &lunatic(&ours(), &[Nil]), &own, Kind::Lunatic, but(0));
    let mixed = validators(&[1, 2, 21, 22]);
    check("two invent, with two nobody knows", &lunatic(&mixed, &[]), &own, Kind::Lunatic, addresses(&[1, 2]));
    for (story, bend) in [
        (
            "invented validators of the next height",
            (|header| header.next_validators_hash = tendermint::Hash::Sha256([8; 32])) as fn(&mut Header),
        ),
        ("an invented result", |header| header.last_results_hash = Some(tendermint::Hash::Sha256([8; 32]))),
        ("invented parameters", |header| header.consensus_hash = tendermint::Hash::Sha256([8; 32])),
    ] {
        check(story, &block(FALSE, &ours(), three, bend), &own, Kind::Lunatic, but(1));
    }
    check("all sign twice", &block(FALSE, &ours(), Manner::EMBEDDED, chosen), &own, Kind::Equivocation, addresses(&[1, 2, 3, 4]));
    check("three sign twice", &block(FALSE, &ours(), three, chosen), &own, Kind::Equivocation, but(1));
    let without_third = block(FALSE, &ours(), Manner { ballots: &[Commit, Commit, Absent], ..Manner::EMBEDDED }, |_| ());
    let two: Vec<_> = but(1).into_iter().filter(|address| *address != addresses(&[1, 2, 3, 4])[2]).collect();
    check("only who signed both", &block(FALSE, &ours(), three, chosen), &without_third, Kind::Equivocation, two);
    check("with timestamps, as CometBFT", &block(FALSE, &ours(), cometbft, chosen), &own, Kind::Equivocation, addresses(&[1, 2, 3, 4]));
    check("a later time", &block(FALSE, &ours(), three, |header| header.time = chain().time(10)), &own, Kind::Equivocation, but(1));
    check("another round", &block(FALSE, &ours(), second, chosen), &own, Kind::Amnesia, Vec::new());
    let ahead = block(20, &ours(), three, |header| header.time = chain().time(TIP));
    check("a block ahead of the chain that is not later", &ahead, &honest(TIP), Kind::Lunatic, but(1));
}

#[test]
fn a_third_of_the_common_validators_deceives_nobody() {
    let few = lunatic(&validators(&[1, 21, 22, 23]), &[]);
    let evidence = accuse(&few, &honest(FALSE)).expect("it is made");
    assert_eq!(judge(&evidence, &honest(FALSE)), Err(BadAttack::TooFewTrusted { signed: 10, total: 40 }));
    // And so no light client jumps to it.
    let trust = crate::Trust::checkpoint(&crate::Checkpoint {
        chain_id: chain().id().clone(),
        height: types::Height(COMMON),
        header_hash: honest(COMMON).hash(),
        time: chain().time(COMMON),
        next_validators: ours(),
    });
    let code = |block: &LightBlock| trust.clone().follow(block, chain().time(20), &Options::default()).map_err(|error| error.code());
    assert_eq!(code(&few).err(), Some(1011));
    assert!(code(&lunatic(&validators(&[1, 2, 21, 22]), &[])).is_ok(), "a half of them does deceive");
}

/// Bends good evidence of three of four and tells how it is refused.
struct Bent {
    evidence: LightClientAttackEvidence,
    instead: LightBlock,
}

impl Bent {
    fn lunatic() -> Self {
        Self::of(&lunatic(&ours(), &[Ballot::Nil]))
    }

    fn equivocation() -> Self {
        Self::of(&block(FALSE, &ours(), Manner { ballots: &[Ballot::Nil], ..Manner::EMBEDDED }, chosen))
    }

    fn of(conflicting: &LightBlock) -> Self {
        let evidence = accuse(conflicting, &honest(FALSE)).expect("it is made");
        assert!(judge(&evidence, &honest(FALSE)).is_ok(), "unbent it holds");
        Self { evidence, instead: honest(FALSE) }
    }

    #[track_caller]
    fn refused(mut self, story: &str, expected: u32, bend: impl FnOnce(&mut LightClientAttackEvidence)) {
        bend(&mut self.evidence);
        assert_eq!(judge(&self.evidence, &self.instead).map_err(|error| error.code()), Err(expected), "{story}");
    }
}

fn height(height: u64) -> block::Height {
    types::Height(height).try_into().expect("a height")
}

#[test]
fn what_evidence_says_must_be_so() {
    Bent::lunatic().refused("height 0 in common", 1019, |evidence| evidence.common_height = height(0));
    Bent::lunatic().refused("a common height above the block", 1019, |evidence| evidence.common_height = height(FALSE + 1));
    Bent::lunatic().refused("an invented block without one before it", 1023, |evidence| evidence.common_height = height(FALSE));
    Bent::equivocation().refused("a block signed twice, at an earlier height", 1023, |evidence| evidence.common_height = height(COMMON));
    Bent::lunatic().refused("another common height than the timestamp's", 1025, |evidence| evidence.common_height = height(COMMON - 1));
    Bent::lunatic().refused("another time", 1025, |evidence| evidence.timestamp = Time::unix_epoch());
    Bent::equivocation().refused("the time of the votes", 1025, |evidence| evidence.timestamp = crate::sealed::embedded_time());
    Bent::lunatic().refused("more power", 1026, |evidence| evidence.total_voting_power = 41u32.into());
    Bent::lunatic().refused("nobody accused", 1027, |evidence| evidence.byzantine_validators.clear());
    Bent::equivocation().refused("one of them not accused", 1027, |evidence| drop(evidence.byzantine_validators.pop()));
    Bent::lunatic().refused("another order", 1027, |evidence| evidence.byzantine_validators.swap(0, 1));
    Bent::lunatic().refused("somebody innocent accused, too", 1027, |evidence| {
        let innocent = ours().set().validators()[0].clone();
        evidence.byzantine_validators.insert(0, innocent);
    });
    Bent::equivocation().refused("somebody innocent accused instead", 1027, |evidence| {
        evidence.byzantine_validators[0] = ours().set().validators()[0].clone();
    });
    Bent::lunatic().refused("the key of somebody innocent under a guilty address", 1027, |evidence| {
        evidence.byzantine_validators[0].pub_key = ours().set().validators()[0].pub_key;
    });
    Bent::lunatic().refused("another power", 1027, |evidence| evidence.byzantine_validators[0].power = 11u32.into());
    let amnesia = block(FALSE, &ours(), Manner { round: 1, ..Manner::EMBEDDED }, chosen);
    Bent::of(&amnesia).refused("somebody accused of forgetting", 1027, |evidence| {
        evidence.byzantine_validators = ours().set().validators().clone();
    });
}

#[test]
fn the_block_must_be_one_that_deceives() {
    let header =
        |evidence: &mut LightClientAttackEvidence, bend: fn(&mut Header)| bend(&mut evidence.conflicting_block.signed_header.header);
    let signatures = |evidence: &mut LightClientAttackEvidence, bend: fn(&mut Vec<CommitSig>)| {
        bend(&mut evidence.conflicting_block.signed_header.commit.signatures);
    };
    Bent::lunatic()
        .refused("another chain", 1001, |evidence| header(evidence, |header| header.chain_id = "zynk-test-2".parse().expect("a name")));
    Bent::lunatic().refused("another header than was signed", 1003, |evidence| header(evidence, chosen));
    Bent::lunatic().refused("validators that the header does not name", 1002, |evidence| {
        evidence.conflicting_block.validator_set = validators(&[1, 2, 3, 5]).set().clone();
    });
    Bent::lunatic().refused("a set out of order", 1013, |evidence| evidence.conflicting_block.validator_set.validators.swap(0, 1));
    Bent::lunatic().refused("no set", 1013, |evidence| evidence.conflicting_block.validator_set.validators.clear());
    Bent::lunatic()
        .refused("two heights in one", 1007, |evidence| evidence.conflicting_block.signed_header.commit.height = height(FALSE + 1));
    Bent::lunatic()
        .refused("another round than was voted in", 1005, |evidence| evidence.conflicting_block.signed_header.commit.round = 1u16.into());
    Bent::lunatic().refused("a vote missing", 1005, |evidence| signatures(evidence, |votes| drop(votes.pop())));
    Bent::lunatic().refused("votes in another order", 1005, |evidence| signatures(evidence, |votes| votes.swap(1, 2)));
    Bent::lunatic().refused("a vote twice", 1005, |evidence| signatures(evidence, |votes| votes[2] = votes[1].clone()));
    Bent::lunatic().refused("too few votes", 1004, |evidence| signatures(evidence, |votes| votes[1] = CommitSig::BlockIdFlagAbsent));
    Bent::equivocation().refused("a forged vote", 1005, |evidence| {
        signatures(evidence, |votes| {
            let CommitSig::BlockIdFlagCommit { signature, .. } = &mut votes[3] else { panic!("a vote for the block") };
            *signature = Some(Signature::try_from([7u8; 64].as_slice()).expect("64 bytes"));
        });
    });
    Bent::equivocation().refused("a vote for none passed off as one for the block", 1005, |evidence| {
        signatures(evidence, |votes| {
            let CommitSig::BlockIdFlagNil { validator_address, timestamp, signature } = votes[0].clone() else {
                panic!("no vote for none")
            };
            votes[0] = CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature };
        });
    });
}

#[test]
fn blocks_of_other_heights_judge_nothing() {
    let (evidence, common, own) = (Bent::lunatic().evidence, honest(COMMON), honest(FALSE));
    let code = |common: &LightBlock, validators: &Validators, ours: Ours<'_>| {
        let common = Common { header: &common.signed_header.header, validators };
        verify(&evidence, chain().id(), &common, ours).map_or_else(|error| error.code(), |_| 0)
    };
    let block = Ours::Block(&own.signed_header);
    assert_eq!(code(&common, &ours(), block), 0);
    assert_eq!(code(&honest(COMMON + 1), &ours(), block), 1020, "another common height");
    assert_eq!(code(&common, &validators(&[1, 2, 3]), block), 1020, "other validators than the common block's");
    assert_eq!(code(&common, &ours(), Ours::Block(&honest(FALSE + 1).signed_header)), 1020, "another height of ours");
    assert_eq!(code(&common, &ours(), Ours::Tip(&own.signed_header.header)), 1020, "a tip that is not below");
    let tip = honest(FALSE - 1);
    assert_eq!(code(&common, &ours(), Ours::Tip(&tip.signed_header.header)), 1022, "a block that is still to come");
}

#[test]
fn the_chains_own_block_accuses_nobody() {
    let evidence = Bent::lunatic().evidence;
    let own = lunatic(&ours(), &[]);
    assert_eq!(judge(&evidence, &own), Err(BadAttack::NoConflict { height: types::Height(FALSE), hash: own.hash() }));
    let round = block(FALSE, &ours(), Manner { round: 3, ..Manner::EMBEDDED }, |_| ());
    let evidence = accuse(&round, &honest(FALSE)).expect("it is made");
    assert_eq!(judge(&evidence, &honest(FALSE)).map_err(|error| error.code()), Err(1021), "another commit for the same block");
}

#[test]
fn forks_are_found_where_the_histories_part() {
    let history = |parts: u64, tip: u64| -> Vec<LightBlock> {
        let at = |height: u64| if height < parts { honest(height) } else { block(height, &ours(), Manner::EMBEDDED, invented) };
        [COMMON, 7, 9, 11].into_iter().filter(|height| *height <= tip).chain((tip < 11).then_some(tip)).map(at).collect()
    };
    let find = |accused: &[LightBlock], other: &[LightBlock]| {
        Fork::find(accused, other).map(|fork| [fork.common, fork.conflicting, fork.instead].map(|block| block.height().0))
    };
    let own = history(u64::MAX, 11);
    assert_eq!(find(&own, &own), None, "one history");
    assert_eq!(find(&history(7, 11), &own), Some([COMMON, 7, 7]));
    assert_eq!(find(&history(8, 11), &own), Some([7, 9, 9]));
    assert_eq!(find(&own, &history(11, 11)), Some([9, 11, 11]), "either may be accused");
    assert_eq!(find(&history(COMMON, 11), &own), None, "nothing in common");
    assert_eq!(find(&[], &own), None, "nothing shown");
    assert_eq!(find(&own, &history(u64::MAX, 10)), None, "the other is only behind");
    assert_eq!(find(&own, &history(u64::MAX, 4)), None, "the other is behind what is common");
    let mut ahead = history(u64::MAX, 9);
    ahead.truncate(3);
    ahead.push(block(11, &ours(), Manner::EMBEDDED, |header| header.time = chain().time(10)));
    assert_eq!(find(&ahead, &history(u64::MAX, 10)), Some([9, 11, 10]), "ahead, and not later");
}

#[test]
fn after_a_change_of_validators_the_new_ones_are_held_to_it() {
    let others = validators(&[5, 6, 7, 8]);
    let signed_header = chain().block(COMMON, APP, &ours(), &others);
    let last = LightBlock { signed_header, validators: ours(), next_validators: others.clone() };
    let first = block(COMMON + 1, &others, Manner::EMBEDDED, |_| ());
    let own = block(FALSE, &others, Manner::EMBEDDED, |_| ());
    let shown = [last.clone(), block(FALSE, &others, Manner::EMBEDDED, invented)];
    let other = [last.clone(), first.clone(), own.clone()];
    let fork = Fork::find(&shown, &other).expect("they part");
    assert_eq!((fork.common, fork.conflicting, fork.instead), (&first, &shown[1], &own));
    let verdict = |fork: Fork<'_>| {
        let evidence = fork.evidence().expect("there is a block before");
        let common = Common { header: &fork.common.signed_header.header, validators: &fork.common.validators };
        verify(&evidence, chain().id(), &common, Ours::Block(&own.signed_header))
    };
    assert_eq!(verdict(fork), Ok(addresses(&[5, 6, 7, 8])));
    let without = Fork::find(&shown, &other[..1]).map(|fork| fork.instead);
    assert_eq!(without, None, "one block is no other history");
    let blunt = Fork { common: &last, ..fork };
    assert_eq!(verdict(blunt), Err(BadAttack::TooFewTrusted { signed: 0, total: 40 }), "those before have signed nothing");
}

#[test]
fn at_height_1_only_what_was_signed_twice_is_evidence() {
    let own = [honest(1)];
    let twice = [block(1, &ours(), Manner::EMBEDDED, chosen)];
    let evidence = Fork::find(&twice, &own).and_then(|fork| fork.evidence()).expect("two blocks signed");
    assert_eq!(judge(&evidence, &own[0]), Ok(addresses(&[1, 2, 3, 4])));
    let invented = [block(1, &ours(), Manner::EMBEDDED, invented)];
    let fork = Fork::find(&invented, &own).expect("they part at the genesis");
    assert_eq!((fork.kind(), fork.evidence()), (Kind::Lunatic, None));
}

#[test]
fn vectors() {
    let three = Manner { ballots: &[Ballot::Absent], ..Manner::EMBEDDED };
    let cases = [
        ("lunatic", lunatic(&ours(), &[Ballot::Nil])),
        ("equivocation", block(FALSE, &ours(), three, chosen)),
        ("amnesia", block(FALSE, &ours(), Manner { round: 1, ..three }, chosen)),
    ];
    let row = |(name, conflicting): &(&str, LightBlock)| {
        let evidence = accuse(conflicting, &honest(FALSE)).expect("it is made");
        let guilty = judge(&evidence, &honest(FALSE)).expect("it holds");
        (name.to_string(), json!({ "evidence": evidence, "hash": hash(&evidence), "offenders": guilty }))
    };
    support::frozen("attack", &cases.iter().map(row).collect::<serde_json::Map<_, _>>().into());
    // The hash does not depend on who signed, so that an attack is one thing.
    let name = |ballots: &[Ballot]| hash(&accuse(&lunatic(&ours(), ballots), &honest(FALSE)).expect("it is made"));
    assert_eq!(name(&[]), name(&[Ballot::Absent]));
}
