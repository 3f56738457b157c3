//! Evidence that holds, and every way in which it does not.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;
use tendermint::block::{Id, Round, parts};
use tendermint::evidence::{ConflictingBlock, DuplicateVoteEvidence};
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{AppHash, Signature};
use tendermint_proto::v0_38::types as pb;

use super::*;
use crate::BadBlock;
use crate::chain::tests::{Step, address, at, chain, genesis, key, signed};
use crate::commit::{block_id, vote_bytes, vote_time};

/// A chain as a node knows it that has seen all of it.
#[derive(Default)]
pub(crate) struct Past {
    steps: Vec<Step>,
    committed: BTreeSet<Mark>,
}

impl Past {
    fn step(&self, height: Height) -> Option<&Step> {
        self.steps.iter().find(|step| step.block.header.height == height)
    }
}

impl History for Past {
    fn header(&self, height: Height) -> Option<Header> {
        self.step(height).map(|step| step.block.header.clone())
    }

    fn signed_header(&self, height: Height) -> Option<SignedHeader> {
        let commit = self.step(height.increment())?.block.last_commit.clone()?;
        SignedHeader::new(self.header(height)?, commit).ok()
    }

    fn validators(&self, height: Height) -> Option<ValidatorSet> {
        self.step(height).map(|step| step.before.validators.clone())
    }

    fn is_committed(&self, mark: &Mark) -> bool {
        self.committed.contains(mark)
    }
}

/// A chain of six blocks; validator 5 takes the place of 1 from height 4 on.
pub(crate) fn world() -> (Past, ChainState) {
    let (steps, state) = chain(6);
    (Past { steps, committed: BTreeSet::new() }, state)
}

fn id(byte: u8) -> Id {
    block_id(tendermint::Hash::Sha256([byte; 32]))
}

/// A validator's place in the set of the genesis.
fn place(seed: u8) -> ValidatorIndex {
    let set = genesis().validators;
    let place = set.as_slice().iter().position(|validator| validator.address() == address(seed)).unwrap_or_default();
    ValidatorIndex::try_from(u32::try_from(place).expect("few")).expect("an index")
}

fn sign(vote: &mut Vote, seed: u8) {
    let bytes = vote_bytes(&genesis().chain_id, vote.vote_type, vote.height, vote.round, vote.block_id);
    vote.signature = Signature::new(key(seed).sign(&bytes).0).expect("64 bytes");
}

/// A precommit by `seed` at height 2, for a block or for nil.
fn vote(seed: u8, block: Option<u8>) -> Vote {
    let mut vote = Vote {
        vote_type: Type::Precommit,
        height: 2u32.into(),
        round: Round::from(1u8),
        block_id: block.map(id),
        timestamp: Some(vote_time()),
        validator_address: address(seed),
        validator_index: place(seed),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    };
    sign(&mut vote, seed);
    vote
}

/// Evidence against `seed`, at height 2.
fn pair(seed: u8, one: Option<u8>, other: Option<u8>) -> DuplicateVoteEvidence {
    match votes::accuse(vote(seed, one), vote(seed, other), &genesis().validators, at(1_400)) {
        Some(Evidence::DuplicateVote(votes)) => *votes,
        _ => panic!("{seed} is a validator"),
    }
}

/// Evidence that `seed` voted for two blocks.
fn one_of(seed: u8) -> Evidence {
    pair(seed, Some(1), Some(2)).into()
}

/// Evidence of an attack: a block of height 5 with another application hash, signed by those who are
/// validators at height 4.
fn attack() -> LightClientAttackEvidence {
    let (past, _) = world();
    let step = past.step(5u32.into()).expect("a block");
    let mut block = step.block.clone();
    block.header.app_hash = AppHash::try_from(vec![66; 32]).expect("32 bytes");
    let commit = signed(&step.before, &block, &[2, 3, 4, 5]);
    let common = past.validators(4u32.into()).expect("a set").to_tendermint();
    LightClientAttackEvidence {
        conflicting_block: ConflictingBlock {
            signed_header: SignedHeader::new(block.header, commit).expect("one height"),
            validator_set: step.before.validators.to_tendermint(),
        },
        common_height: 4u32.into(),
        byzantine_validators: common.validators.clone(),
        total_voting_power: common.total_voting_power(),
        timestamp: at(4 * 700),
    }
}

#[test]
fn two_votes_that_conflict_are_evidence() {
    let (past, state) = world();
    let hold = |story: &str, votes: DuplicateVoteEvidence| assert_eq!(verify(&votes.into(), &state, &past), Ok(()), "{story}");
    hold("two blocks", pair(3, Some(1), Some(2)));
    hold("in whatever order they came", pair(3, Some(2), Some(1)));
    hold("a block and nil", pair(3, Some(1), None));
    hold("by one that has left since", pair(1, Some(1), Some(2)));
    let mut prevotes = pair(3, Some(1), Some(2));
    for vote in [&mut prevotes.vote_a, &mut prevotes.vote_b] {
        vote.vote_type = Type::Prevote;
        sign(vote, 3);
    }
    hold("prevotes", prevotes);
    assert_eq!(votes::accuse(vote(99, None), vote(99, Some(1)), &genesis().validators, at(0)), None, "a stranger");
}

#[test]
fn two_votes_that_are_no_evidence() {
    let (past, state) = world();
    let check = |story: &str, bend: &dyn Fn(&mut DuplicateVoteEvidence), expected: BadEvidence| {
        let mut votes = pair(3, Some(1), Some(2));
        bend(&mut votes);
        assert_eq!(verify(&votes.into(), &state, &past), Err(expected), "{story}");
    };
    let resigned = |vote: &mut Vote, bend: &dyn Fn(&mut Vote)| {
        bend(vote);
        sign(vote, 3);
    };
    check("the same vote twice", &|votes| votes.vote_b = votes.vote_a.clone(), BadEvidence::Agreeing);
    check("unsorted", &|votes| std::mem::swap(&mut votes.vote_a, &mut votes.vote_b), BadEvidence::Unsorted);
    check("votes of two rounds", &|votes| resigned(&mut votes.vote_b, &|vote| vote.round = Round::from(2u8)), BadEvidence::Slot);
    check("votes of two heights", &|votes| resigned(&mut votes.vote_b, &|vote| vote.height = 3u32.into()), BadEvidence::Slot);
    check("a prevote and a precommit", &|votes| resigned(&mut votes.vote_b, &|vote| vote.vote_type = Type::Prevote), BadEvidence::Slot);
    check("votes of two validators", &|votes| votes.vote_b = vote(4, Some(2)), BadEvidence::Voters);
    let signature = BadEvidence::Signature;
    check("another's first signature", &|votes| sign(&mut votes.vote_a, 4), signature.clone());
    check("another's second signature", &|votes| sign(&mut votes.vote_b, 4), signature.clone());
    check("no signature", &|votes| votes.vote_b.signature = None, signature.clone());
    check("a signature for another block", &|votes| votes.vote_b.block_id = Some(id(7)), signature.clone());
    check(
        "a vote of another chain",
        &|votes| {
            let vote = &mut votes.vote_a;
            let bytes = vote_bytes(&"other".try_into().expect("a name"), vote.vote_type, vote.height, vote.round, vote.block_id);
            vote.signature = Signature::new(key(3).sign(&bytes).0).expect("64 bytes");
        },
        signature,
    );
    let stranger = |seed, height: u32| BadEvidence::Stranger { voter: address(seed), height: height.into() };
    let by = |votes: &mut DuplicateVoteEvidence, seed, height: u32| {
        for vote in [&mut votes.vote_a, &mut votes.vote_b] {
            (vote.validator_address, vote.height) = (address(seed), height.into());
            sign(vote, seed);
        }
        votes.timestamp = at(i64::from(height) * 700);
    };
    check("a stranger", &|votes| by(votes, 99, 2), stranger(99, 2));
    check("not a validator yet", &|votes| by(votes, 5, 2), stranger(5, 2));
    check("no validator any more", &|votes| by(votes, 1, 4), stranger(1, 4));
    check("another power", &|votes| votes.validator_power = 11u32.into(), BadEvidence::Power);
    check("another total power", &|votes| votes.total_voting_power = 10u32.into(), BadEvidence::Power);
    check("another time", &|votes| votes.timestamp = at(1_401), BadEvidence::Time { found: at(1_401), expected: at(1_400) });
    check("a height to come", &|votes| by(votes, 3, 7), BadEvidence::Unknown { height: 7u32.into() });
    let form = |field| BadEvidence::Vote { field };
    check("a time of its own", &|votes| votes.vote_a.timestamp = Some(at(0)), form("time"));
    check("no time", &|votes| votes.vote_b.timestamp = None, form("time"));
    check("another place in the set", &|votes| votes.vote_a.validator_index = place(4), form("validator index"));
    check("an extension", &|votes| votes.vote_a.extension = vec![1], form("extension"));
    check("an extension's signature", &|votes| votes.vote_b.extension_signature = votes.vote_b.signature.clone(), form("extension"));
    let half = |votes: &mut DuplicateVoteEvidence| {
        let part_set_header = parts::Header::new(0, tendermint::Hash::None).expect("no parts");
        resigned(&mut votes.vote_b, &|vote| vote.block_id = Some(Id { part_set_header, ..id(2) }));
    };
    check("half a block id", &half, form("block id"));
}

#[test]
fn evidence_expires_by_both_ages_and_counts_once() {
    let (mut past, mut state) = world();
    let evidence = one_of(3);
    let params = |state: &mut ChainState, blocks, seconds| {
        state.params.evidence.max_age_num_blocks = blocks;
        state.params.evidence.max_age_duration.0 = Duration::from_millis(seconds);
    };
    // It is of height 2 and 1.4 s, the chain of height 6 and 4.2 s.
    for (story, blocks, millis, expected) in [
        ("young", 4, 2_800, Ok(())),
        ("too many blocks, but not too long", 3, 2_800, Ok(())),
        ("too long, but not too many blocks", 4, 2_799, Ok(())),
        ("both", 3, 2_799, Err(BadEvidence::Expired { height: 2u32.into() })),
    ] {
        params(&mut state, blocks, millis);
        assert_eq!(verify(&evidence, &state, &past), expected, "{story}");
    }
    params(&mut state, 4, 2_800);
    past.committed.insert(mark(&evidence));
    assert_eq!(verify(&evidence, &state, &past), Err(BadEvidence::Committed));
    let more = Evidence::from(pair(3, Some(1), None));
    assert_eq!(verify(&more, &state, &past), Err(BadEvidence::Committed), "two other votes of the same validator");
    assert_eq!(verify(&pair(4, Some(1), None).into(), &state, &past), Ok(()), "another validator");
}

#[test]
fn an_attack_on_light_clients_is_evidence() {
    let (mut past, state) = world();
    let evidence = Evidence::from(attack());
    assert_eq!(verify(&evidence, &state, &past), Ok(()));
    let told = misbehavior(&List::new([evidence.clone()]));
    assert_eq!(told.len(), 4, "each of those that signed");
    assert!(told.iter().all(|told| (told.kind, told.height) == (MisbehaviorKind::LightClientAttack, 4u32.into())));
    let check = |story: &str, bend: &dyn Fn(&mut LightClientAttackEvidence), expected: &str| {
        let mut attack = attack();
        bend(&mut attack);
        let found = verify(&attack.into(), &state, &past).expect_err(story);
        assert!(found.to_string().contains(expected), "{story}: {found}");
    };
    check("another total power", &|attack| attack.total_voting_power = 1u32.into(), "shows no attack");
    check("somebody left out", &|attack| drop(attack.byzantine_validators.pop()), "shows no attack");
    check(
        "the chain's own block",
        &|attack| {
            attack.conflicting_block.signed_header = past.signed_header(5u32.into()).expect("a block");
        },
        "shows no attack",
    );
    check("another time", &|attack| attack.timestamp = at(1), "the evidence has the time");
    check("a common height to come", &|attack| attack.common_height = 9u32.into(), "no block here");
    // The last block's commit is settled by the next one.
    let mut before = past.steps[5].before.clone();
    assert_eq!((before.tip(), verify(&evidence, &before, &past)), (5u32.into(), Err(BadEvidence::Early)));
    // What anybody could have made up is not waited for.
    let step = past.step(5u32.into()).expect("a block");
    let few = signed(&step.before, &step.block, &[2]);
    let mut forged = attack();
    forged.conflicting_block.signed_header.commit.signatures.clone_from(&step.commit.signatures);
    assert!(matches!(verify(&forged.into(), &before, &past), Err(BadEvidence::Attack(_))), "votes for another block");
    let mut forged = attack();
    forged.conflicting_block.signed_header.commit.signatures = few.signatures;
    assert!(matches!(verify(&forged.into(), &before, &past), Err(BadEvidence::Attack(_))), "no quorum");
    before = past.steps[4].before.clone();
    assert!(matches!(verify(&evidence, &before, &past), Err(BadEvidence::Attack(_))), "it may still become the chain's");
    past.committed.insert(mark(&evidence));
    assert_eq!(verify(&evidence, &state, &past), Err(BadEvidence::Committed));
}

#[test]
fn a_block_carries_evidence() {
    let (past, state) = world();
    let commit = past.steps[5].commit.clone();
    let block = |list: Vec<Evidence>| state.build_with(List::new(list), address(2), at(9_000), vec![vec![1]], Some(commit.clone()));
    let one = || one_of(3);
    let good = block(vec![one(), pair(4, Some(1), None).into()]);
    assert_eq!(state.check(&good, &past), Ok(()));
    let bytes = crate::chain::encode(&good);
    assert_eq!(crate::chain::decode(&bytes, bytes.len()), Ok(good.clone()));
    let told = misbehavior(&good.evidence);
    let told: Vec<_> =
        told.iter().map(|told| (told.kind, told.validator.address, told.validator.power.value(), told.height, told.time)).collect();
    let expected = |seed| {
        let address = address(seed).as_bytes().try_into().expect("20 bytes");
        (MisbehaviorKind::DuplicateVote, address, 10, 2u32.into(), at(1_400))
    };
    assert_eq!(told, [expected(3), expected(4)]);
    let check = |story: &str, list: Vec<Evidence>, expected: BadEvidence| {
        assert_eq!(state.check(&block(list), &past), Err(BadBlock::Evidence(expected)), "{story}");
    };
    check("the same twice", vec![one(), one()], BadEvidence::Twice);
    check("one validator twice", vec![one(), pair(3, Some(1), None).into()], BadEvidence::Twice);
    let many = [3, 4, 2].map(one_of).to_vec();
    let found = bytes::list_size(&List::new(many.clone()));
    check("more than a block takes", many, BadEvidence::TooLarge { found, bound: 1024 });
    let mut forged = pair(3, Some(1), Some(2));
    sign(&mut forged.vote_a, 4);
    check("one that does not hold", vec![one_of(4), forged.into()], BadEvidence::Signature);
    let mut swapped = good.clone();
    swapped.evidence = List::new([one()]);
    let rest = "hashes of content, parameters or results";
    assert_eq!(state.check(&swapped, &past), Err(BadBlock::Header { field: rest }), "other evidence than the header names");
}

#[test]
fn marks_have_their_bytes() {
    assert_eq!(mark(&one_of(3)), mark(&pair(3, Some(1), None).into()));
    assert_eq!(mark(&one_of(3)).to_bytes(), [&[0], address(3).as_bytes()].concat());
    assert_ne!(mark(&one_of(3)), mark(&one_of(4)));
    let name = light::attack::hash(&attack());
    assert_eq!(mark(&attack().into()).to_bytes(), [&[1], name.0.as_slice()].concat());
}

#[test]
fn the_bytes_are_those_of_cometbft() {
    // Its rules, spelt by hand: a vote for nil has an empty block id, the validator's power is its own,
    // and a conflicting block's set has no total power.
    let mut votes = pair(3, None, Some(1));
    votes.total_voting_power = 41u32.into();
    let Some(pb::evidence::Sum::DuplicateVoteEvidence(raw)) = bytes::to_proto(&votes.clone().into()).sum else { panic!("two votes") };
    assert_eq!((raw.total_voting_power, raw.validator_power), (41, 10));
    let nil = raw.vote_a.clone().expect("a vote").encode_to_vec();
    assert!(nil.windows(4).any(|window| window == [0x22, 2, 0x12, 0]), "{}", hex::encode(nil));
    let Some(pb::evidence::Sum::LightClientAttackEvidence(raw)) = bytes::to_proto(&attack().into()).sum else { panic!("an attack") };
    assert_eq!(raw.conflicting_block.and_then(|block| block.validator_set).map(|set| set.total_voting_power), Some(0));
    // The header's hash is over the messages, not over what wraps them.
    let inner = bytes::encode(&one_of(3));
    assert_eq!(inner[0], 0x0a);
    let length = usize::from(inner[1] & 0x7f) | usize::from(inner[2]) << 7;
    let leaf = Hash::sha256(&[&[0], &inner[inner.len() - length..]]);
    assert_eq!(bytes::list_hash(&List::new([one_of(3)])), tendermint::Hash::Sha256(leaf.0));
    assert_eq!(bytes::name(&one_of(3)), Hash::sha256(&[&inner[inner.len() - length..]]));
    assert_eq!(bytes::list_hash(&List::default()), crate::chain::data_hash(&[]), "the empty tree's");
}

#[test]
fn bytes_are_read_in_one_form() {
    for evidence in [one_of(3), pair(3, None, Some(1)).into(), Evidence::from(attack())] {
        let bytes = bytes::encode(&evidence);
        assert_eq!(bytes::decode(&bytes, bytes.len()).as_ref(), Ok(&evidence));
        let bound = bytes.len() - 1;
        assert_eq!(bytes::decode(&bytes, bound), Err(BadEvidence::TooLarge { found: bytes.len(), bound }));
        let malformed = |story: &str, bytes: &[u8]| {
            assert!(matches!(bytes::decode(bytes, 1 << 20), Err(BadEvidence::Malformed(_))), "{story}");
        };
        malformed("nothing", &[]);
        malformed("cut", &bytes[..bytes.len() - 1]);
        malformed("trailing zero", &[bytes.as_slice(), &[0]].concat());
        malformed("an unknown field", &[bytes.as_slice(), &[0x78, 1]].concat());
        assert_ne!(pb::Evidence::from(evidence).encode_to_vec(), bytes, "the published types would write something else");
    }
}

#[test]
fn every_reason_has_its_number() {
    let height = 1u32.into();
    let reasons = [
        BadEvidence::Malformed(String::new()),
        BadEvidence::TooLarge { found: 2, bound: 1 },
        BadEvidence::Unknown { height },
        BadEvidence::Expired { height },
        BadEvidence::Time { found: at(0), expected: at(1) },
        BadEvidence::Slot,
        BadEvidence::Voters,
        BadEvidence::Agreeing,
        BadEvidence::Unsorted,
        BadEvidence::Vote { field: "time" },
        BadEvidence::Stranger { voter: address(1), height },
        BadEvidence::Power,
        BadEvidence::Signature,
        BadEvidence::Committed,
        BadEvidence::Twice,
        BadEvidence::Early,
    ];
    let codes: Vec<u32> = reasons.iter().map(BadEvidence::code).collect();
    assert_eq!(codes, (1..=16).collect::<Vec<u32>>());
}

#[test]
fn frozen() {
    let row = |evidence: Evidence| {
        let (bytes, name, mark) = (bytes::encode(&evidence), bytes::name(&evidence), mark(&evidence).to_bytes());
        let list = bytes::list_hash(&List::new([evidence]));
        json!({"bytes": hex::encode(bytes), "name": name.to_string(), "mark": hex::encode(mark), "list hash": list.to_string()})
    };
    let rows = json!({
        "two blocks": row(one_of(3)),
        "nil and a block": row(pair(3, None, Some(1)).into()),
        "an attack": row(attack().into()),
    });
    support::frozen("evidence-bytes", &rows);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(evidence) = bytes::decode(&bytes, 1 << 20) {
            prop_assert_eq!(bytes::encode(&evidence), bytes);
        }
    }

    #[test]
    fn bent_evidence_never_holds(at in any::<prop::sample::Index>(), to in any::<u8>(), which in 0..2u8) {
        let (past, state) = world();
        let good = if which == 0 { one_of(3) } else { attack().into() };
        let mut bytes = bytes::encode(&good);
        let at = at.index(bytes.len());
        let changed = bytes[at] != to;
        bytes[at] = to;
        if let Ok(evidence) = bytes::decode(&bytes, 1 << 20) {
            let holds = verify(&evidence, &state, &past).is_ok();
            // Priorities to propose are nobody's signature's, and change neither name nor offenders.
            let same = mark(&evidence) == mark(&good) && which == 1;
            prop_assert!(!changed && holds || changed && (!holds || same));
        }
    }
}
