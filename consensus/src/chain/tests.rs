//! Blocks that follow, seen by us and by the published light client, and blocks that do not.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tendermint::block::signed_header::SignedHeader;
use tendermint::vote::Type;
use tendermint::{PublicKey, Signature, validator};
use tendermint_light_client_verifier::types::{TrustThreshold, TrustedBlockState, UntrustedBlockState};
use tendermint_light_client_verifier::{ProdVerifier, Verdict, Verifier as _, options};
use types::SigningKey;

use super::*;
use crate::commit;
use crate::evidence::tests::Past;

pub(crate) const NAME: &str = "zynk-test-1";
const START: i64 = 1_790_000_000;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::from_raw_ed25519(&key(seed).public().0).expect("32 bytes")
}

pub(crate) fn address(seed: u8) -> account::Id {
    public(seed).into()
}

pub(crate) fn at(millis: i64) -> Time {
    Time::from_unix_timestamp(START, 0).expect("a time").checked_add(Duration::from_millis(millis.unsigned_abs())).expect("a time")
}

fn params() -> consensus::Params {
    serde_json::from_value(json!({
        "block": { "max_bytes": "1048576", "max_gas": "-1", "time_iota_ms": "1" },
        "evidence": { "max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1024" },
        "validator": { "pub_key_types": ["ed25519"] },
        "version": { "app": "1" },
    }))
    .expect("parameters")
}

/// The chain before its first block: four validators of power 10, keys of the seeds 1 to 4.
pub(crate) fn genesis() -> ChainState {
    let validators = ValidatorSet::genesis((1..=4).map(|seed| (public(seed), 10))).expect("a set");
    ChainState {
        chain_id: NAME.try_into().expect("a name"),
        initial_height: 1u32.into(),
        last_block: None,
        last_time: at(0),
        last_validators: None,
        next_validators: validators.next([]).expect("no change"),
        validators,
        params: params(),
        app_version: 1,
        app_hash: app_hash(0),
        last_results_hash: results_hash(&[]),
    }
}

pub(crate) fn app_hash(height: u8) -> AppHash {
    AppHash::try_from(vec![height; 32]).expect("32 bytes")
}

pub(crate) fn outcome(height: u8, results: usize, updates: &[(u8, u64)]) -> FinalizeBlock {
    let update = |(seed, power): &(u8, u64)| validator::Update { pub_key: public(*seed), power: (*power).try_into().expect("a power") };
    FinalizeBlock {
        events: Vec::new(),
        tx_results: vec![ExecTxResult { gas_used: 5, log: "not hashed".to_owned(), ..Default::default() }; results],
        validator_updates: updates.iter().map(update).collect(),
        consensus_param_updates: None,
        app_hash: app_hash(height),
    }
}

/// The commit for `block` by these seeds' keys.
pub(crate) fn signed(state: &ChainState, block: &Block, seeds: &[u8]) -> Commit {
    let (height, id, round) = (block.header.height, block_id(block.header.hash()), Round::from(2u8));
    let bytes = vote_bytes(&state.chain_id, Type::Precommit, height, round, Some(id));
    let signature = |seed: u8| Signature::try_from(key(seed).sign(&bytes).0.as_slice()).expect("64 bytes");
    let signatures: BTreeMap<_, _> = seeds.iter().map(|seed| (address(*seed), signature(*seed))).collect();
    commit::build(height, round, id, &state.validators, &signatures)
}

/// A block with its commit and the chain before it.
pub(crate) struct Step {
    pub(crate) before: ChainState,
    pub(crate) block: Block,
    pub(crate) commit: Commit,
}

/// A chain of `count` blocks; validator 5 joins and validator 1 leaves at height 2, effective two heights later.
pub(crate) fn chain(count: u8) -> (Vec<Step>, ChainState) {
    let (mut state, mut last, mut steps) = (genesis(), None, Vec::new());
    for height in 1..=count {
        let transactions = (0..height % 3).map(|number| vec![height, number]).collect();
        let proposer = state.validators.proposer(0).address();
        let block = state.build(proposer, at(i64::from(height) * 700), transactions, last.take());
        state.check(&block, &Past::default()).expect("it follows");
        let signers: &[u8] = if height < 4 { &[1, 2, 3, 4] } else { &[2, 3, 4, 5] };
        let commit = signed(&state, &block, signers);
        let updates: &[(u8, u64)] = if height == 2 { &[(5, 10), (1, 0)] } else { &[] };
        let after = state.after(&block, &outcome(height, block.data.len(), updates)).expect("an outcome");
        steps.push(Step { before: state, block, commit: commit.clone() });
        (state, last) = (after, Some(commit));
    }
    (steps, state)
}

fn light_set(set: &ValidatorSet) -> light::Validators {
    let member = |validator: &crate::validators::Validator| light::Validator {
        public_key: types::PublicKey(validator.key.to_bytes().try_into().expect("32 bytes")),
        power: validator.power,
    };
    light::Validators::new(&set.as_slice().iter().map(member).collect::<Vec<_>>()).expect("a set")
}

pub(crate) fn header(step: &Step) -> SignedHeader {
    SignedHeader::new(step.block.header.clone(), step.commit.clone()).expect("one height")
}

#[test]
fn our_light_client_follows() {
    let (steps, _) = chain(7);
    let mut by_clock = light::Trust::genesis(NAME.parse().expect("a name"), at(0), light_set(&steps[0].before.validators));
    let mut by_handoffs = by_clock.clone();
    for (height, step) in (1u64..).zip(&steps) {
        let next = light_set(&step.before.next_validators);
        let block = light::LightBlock {
            signed_header: header(step),
            validators: light_set(&step.before.validators),
            next_validators: next.clone(),
        };
        let verified = by_clock.follow(&block, at(9_000), &light::Options::default()).expect("it follows");
        assert_eq!(verified.height(), types::Height(height));
        let handoff = light::Handoff::new(&header(step), &next).expect("the header names the set");
        by_handoffs.hand_off(&handoff).expect("it follows");
        // A commit seals to a form without timestamps: they are the constant.
        let sealed = light::Sealed::of(&header(step)).expect("it seals");
        assert_eq!(sealed.open(&light_set(&step.before.validators)).expect("it opens"), header(step));
        assert_eq!(sealed.commit.parts, None);
    }
    assert_eq!(by_clock.height(), types::Height(7));
}

#[test]
fn the_published_light_client_accepts() {
    let (steps, _) = chain(7);
    let chain_id = &steps[0].before.chain_id;
    let options = options::Options {
        trust_threshold: TrustThreshold::TWO_THIRDS,
        trusting_period: Duration::from_secs(1_000),
        clock_drift: Duration::from_secs(5),
    };
    for pair in steps.windows(2) {
        let [last, this] = pair else { panic!("two") };
        let (trusted_next, validators, next) =
            (this.before.validators.to_tendermint(), this.before.validators.to_tendermint(), this.before.next_validators.to_tendermint());
        let signed_header = header(this);
        let untrusted = UntrustedBlockState { signed_header: &signed_header, validators: &validators, next_validators: Some(&next) };
        let trusted = TrustedBlockState {
            chain_id,
            header_time: last.block.header.time,
            height: last.block.header.height,
            next_validators: &trusted_next,
            next_validators_hash: last.block.header.next_validators_hash,
        };
        let verdict = ProdVerifier::default().verify_update_header(untrusted, trusted, &options, at(9_000));
        assert_eq!(verdict, Verdict::Success, "height {}", this.block.header.height);
    }
}

#[test]
fn a_commit_passes_through_the_published_json() {
    let (steps, _) = chain(3);
    for step in &steps {
        let text = serde_json::to_string(&header(step)).expect("it serialises");
        assert_eq!(serde_json::from_str::<SignedHeader>(&text).expect("it reads back"), header(step));
        let text = serde_json::to_string(&step.block).expect("it serialises");
        assert_eq!(serde_json::from_str::<Block>(&text).expect("it reads back"), step.block);
    }
}

#[test]
fn the_chain_state_reads_back() {
    let (steps, last) = chain(3);
    for state in steps.iter().map(|step| &step.before).chain([&last]) {
        let text = serde_json::to_string(state).expect("it serialises");
        assert_eq!(serde_json::from_str::<ChainState>(&text).expect("it reads back"), *state);
    }
}

#[test]
fn what_a_block_does_to_the_chain() {
    let (steps, last) = chain(4);
    let step = &steps[2];
    assert_eq!(step.before.next_height(), 3u32.into());
    assert_eq!(step.before.last_block, Some((2u32.into(), block_id(steps[1].block.header.hash()))));
    assert_eq!(step.before.app_hash, app_hash(2));
    assert_eq!(step.block.header.last_results_hash, Some(results_hash(&outcome(2, 2, &[]).tx_results)));
    // An update of block 2 is in the set of block 4 and in the next set of block 3.
    assert_eq!(step.block.header.validators_hash, steps[0].block.header.validators_hash);
    assert_ne!(step.block.header.next_validators_hash, step.block.header.validators_hash);
    assert_eq!(steps[3].block.header.validators_hash, step.block.header.next_validators_hash);
    assert_eq!(last.last_validators.as_ref().expect("a set").by_address(address(1)), None);
    let unknown = steps[3].before.after(&steps[3].block, &outcome(4, 0, &[(77, 0)]));
    assert_eq!(unknown.err(), Some(BadUpdate::Unknown));
    // Words and events of a result are not hashed: they may change with the program.
    let plain = ExecTxResult { gas_used: 5, ..Default::default() };
    assert_eq!(results_hash(&[plain]), results_hash(&outcome(1, 1, &[]).tx_results));
    assert_ne!(results_hash(&[ExecTxResult::default()]), results_hash(&outcome(1, 1, &[]).tx_results));
    let mut params = genesis().params;
    params.version = Some(consensus::params::VersionParams { app: 9 });
    let update = FinalizeBlock { consensus_param_updates: Some(params.clone()), ..outcome(1, 0, &[]) };
    let after = genesis().after(&steps[0].block, &update).expect("an outcome");
    assert_eq!((after.app_version, after.params), (9, params));
}

#[test]
fn the_application_is_told_who_voted() {
    let (steps, state) = chain(1);
    assert!(state.commit_info(None).votes.is_empty());
    let commit = signed(&steps[0].before, &steps[0].block, &[1, 2, 4]);
    let told = state.commit_info(Some(&commit));
    assert_eq!(told.round, Round::from(2u8));
    let votes: BTreeMap<_, _> = told.votes.iter().map(|vote| (vote.validator.address, vote.sig_info)).collect();
    let flag = |seed: u8| votes[&<[u8; 20]>::try_from(address(seed).as_bytes()).expect("20 bytes")];
    assert_eq!(flag(1), BlockSignatureInfo::Flag(tendermint::block::BlockIdFlag::Commit));
    assert_eq!(flag(3), BlockSignatureInfo::Flag(tendermint::block::BlockIdFlag::Absent));
}

#[test]
fn times() {
    let time = |state: &ChainState, now| state.build(address(1), now, Vec::new(), None).header.time;
    let mut state = genesis();
    assert_eq!(time(&state, at(1_500)), at(1_500));
    assert_eq!(time(&state, at(1_500).checked_add(Duration::from_micros(900)).expect("a time")), at(1_500), "whole milliseconds");
    assert_eq!(time(&state, at(0)), at(1), "a clock that stands");
    state.last_time = at(60_000);
    assert_eq!(time(&state, at(5)), at(60_001), "a clock that is behind");
    let block = state.build(address(1), at(70_000), Vec::new(), None);
    let fresh = |now| ChainState::check_fresh(&block, now);
    assert_eq!(fresh(at(70_000)), Ok(()));
    assert_eq!(fresh(at(65_000)), Ok(()), "5 s ahead");
    assert_eq!(fresh(at(64_999)), Err(BadBlock::Ahead { found: at(70_000), now: at(64_999) }));
    assert_eq!(fresh(at(1_000_000)), Ok(()), "the past is bounded by the last block");
}

/// What `check` says of block 2 once it was bent.
fn verdict(bend: &dyn Fn(&mut Block)) -> Result<(), BadBlock> {
    let (steps, _) = chain(2);
    let mut block = steps[1].block.clone();
    bend(&mut block);
    steps[1].before.check(&block, &Past::default())
}

#[test]
fn headers_that_do_not_follow() {
    let check = |story: &str, bend: &dyn Fn(&mut Block), field: &'static str| {
        assert_eq!(verdict(bend), Err(BadBlock::Header { field }), "{story}");
    };
    assert_eq!(verdict(&|_| ()), Ok(()));
    let other = Hash::Sha256([9; 32]);
    check("another block format", &|block| block.header.version.block = 12, "version");
    check("another application", &|block| block.header.version.app = 2, "version");
    check("another chain", &|block| block.header.chain_id = "other".try_into().expect("a name"), "chain id");
    check("a height left out", &|block| block.header.height = 3u32.into(), "height");
    check("a height again", &|block| block.header.height = 1u32.into(), "height");
    check("another block before", &|block| block.header.last_block_id = Some(block_id(other)), "last block id");
    check("no block before", &|block| block.header.last_block_id = None, "last block id");
    check("other validators", &|block| block.header.validators_hash = other, "validators hash");
    check("other next validators", &|block| block.header.next_validators_hash = other, "next validators hash");
    check("another application hash", &|block| block.header.app_hash = app_hash(9), "application hash");
    check("a stranger proposes", &|block| block.header.proposer_address = address(99), "proposer address");
    let rest = "hashes of content, parameters or results";
    check("a transaction more", &|block| block.data.push(vec![1]), rest);
    check("transactions in another order", &|block| block.data.reverse(), rest);
    check("another data hash", &|block| block.header.data_hash = Some(other), rest);
    check("no data hash", &|block| block.header.data_hash = None, rest);
    check("other parameters", &|block| block.header.consensus_hash = other, rest);
    check("other results", &|block| block.header.last_results_hash = Some(other), rest);
    check("another evidence hash", &|block| block.header.evidence_hash = Some(other), rest);
    check("another commit hash", &|block| block.header.last_commit_hash = Some(other), rest);
    check("a commit other than its hash", &|block| block.last_commit = None, rest);
    check("parts of a millisecond", &|block| block.header.time = at(1_400).checked_add(Duration::from_nanos(1)).expect("a time"), rest);
    let last = at(700);
    assert_eq!(verdict(&|block| block.header.time = last), Err(BadBlock::NotLater { found: last, last }), "time stands");
    assert_eq!(verdict(&|block| block.header.time = at(699)), Err(BadBlock::NotLater { found: at(699), last }), "time goes back");
}

#[test]
fn last_commits_that_prove_nothing() {
    // The header always names the commit's hash, so that the commit itself is judged.
    let check = |story: &str, bend: &dyn Fn(&ChainState, &Block, &mut Option<Commit>), expected: Result<(), &'static str>| {
        let (steps, _) = chain(2);
        let mut block = steps[1].block.clone();
        bend(&steps[0].before, &steps[0].block, &mut block.last_commit);
        block.header.last_commit_hash = Some(commit_hash(block.last_commit.as_ref()));
        let held = steps[0].before.may_be_next(block.last_commit.as_ref());
        assert_eq!(held, expected.is_ok(), "{story}, seen before the block that it commits");
        assert_eq!(steps[1].before.check(&block, &Past::default()), expected.map_err(BadBlock::LastCommit), "{story}");
    };
    fn of(commit: &mut Option<Commit>) -> &mut Commit {
        commit.as_mut().expect("a commit")
    }
    let bent = |change: fn(&mut Commit)| move |_: &ChainState, _: &Block, commit: &mut Option<Commit>| change(of(commit));
    check("all sign", &|_, _, _| (), Ok(()));
    check("three of four sign", &|state, block, commit| *commit = Some(signed(state, block, &[1, 3, 4])), Ok(()));
    check("two of four sign", &|state, block, commit| *commit = Some(signed(state, block, &[1, 3])), Err("has no quorum"));
    check("nobody signs", &|state, block, commit| *commit = Some(signed(state, block, &[])), Err("has no quorum"));
    check("none", &|_, _, commit| *commit = None, Err("is missing, or is there at the first height"));
    check("for another height", &bent(|commit| commit.height = 7u32.into()), Err("is for another block"));
    check("for another block", &bent(|commit| commit.block_id = block_id(Hash::Sha256([9; 32]))), Err("is for another block"));
    let parts = |commit: &mut Commit| {
        commit.block_id.part_set_header = tendermint::block::parts::Header::new(2, Hash::Sha256([9; 32])).expect("a part set");
    };
    check("with another part set", &bent(parts), Err("is for another block"));
    check("an entry missing", &bent(|commit| drop(commit.signatures.pop())), Err("has not one entry a validator"));
    check("an entry more", &bent(|commit| commit.signatures.push(CommitSig::BlockIdFlagAbsent)), Err("has not one entry a validator"));
    let unholding = Err("has a signature that does not hold");
    check("signed in another round", &bent(|commit| commit.round = Round::from(3u8)), unholding);
    check("two entries exchanged", &bent(|commit| commit.signatures.swap(0, 1)), unholding);
    check(
        "signed by a stranger",
        &|state, block, commit| {
            let bytes =
                vote_bytes(&state.chain_id, Type::Precommit, block.header.height, Round::from(2u8), Some(block_id(block.header.hash())));
            let CommitSig::BlockIdFlagCommit { signature, .. } = &mut of(commit).signatures[0] else { panic!("a vote") };
            *signature = Signature::new(key(99).sign(&bytes).0).expect("a signature");
        },
        unholding,
    );
    check(
        "a bit flipped in a signature that the quorum does not need",
        &bent(|commit| {
            let CommitSig::BlockIdFlagCommit { signature: Some(signature), .. } = &mut commit.signatures[3] else { panic!("a vote") };
            let mut bytes = signature.as_bytes().to_vec();
            bytes[5] ^= 1;
            *signature = bytes.as_slice().try_into().expect("64 bytes");
        }),
        unholding,
    );
    check(
        "another timestamp",
        &bent(|commit| {
            let CommitSig::BlockIdFlagCommit { timestamp, .. } = &mut commit.signatures[0] else { panic!("a vote") };
            *timestamp = Time::unix_epoch();
        }),
        unholding,
    );
    let neither = Err("has an entry that is neither a signature nor absent");
    check(
        "a vote for nil",
        &bent(|commit| {
            let CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature } = commit.signatures[0].clone() else {
                panic!("a vote")
            };
            commit.signatures[0] = CommitSig::BlockIdFlagNil { validator_address, timestamp, signature };
        }),
        neither,
    );
    check(
        "a vote without a signature",
        &bent(|commit| {
            let CommitSig::BlockIdFlagCommit { signature, .. } = &mut commit.signatures[0] else { panic!("a vote") };
            *signature = None;
        }),
        neither,
    );
    // The first block has none.
    let (steps, _) = chain(1);
    let mut first = steps[0].block.clone();
    first.last_commit = Some(steps[0].commit.clone());
    first.header.last_commit_hash = Some(commit_hash(first.last_commit.as_ref()));
    assert_eq!(steps[0].before.check(&first, &Past::default()), Err(BadBlock::LastCommit("is missing, or is there at the first height")));
}

#[test]
fn a_quorum_is_more_than_two_thirds_of_the_power() {
    let mut state = genesis();
    state.validators = ValidatorSet::genesis([(public(1), 20), (public(2), 10)]).expect("a set");
    let first = state.build(address(1), at(700), Vec::new(), None);
    let after = state.after(&first, &outcome(1, 0, &[])).expect("an outcome");
    let check = |seeds: &[u8]| {
        let commit = signed(&state, &first, seeds);
        after.check(&after.build(address(2), at(1_400), Vec::new(), Some(commit)), &Past::default())
    };
    assert_eq!(check(&[1, 2]), Ok(()));
    assert_eq!(check(&[1]), Err(BadBlock::LastCommit("has no quorum")), "exactly two thirds");
}

#[test]
fn bytes() {
    for step in chain(5).0 {
        let bytes = encode(&step.block);
        assert_eq!(decode(&bytes, bytes.len()).as_ref(), Ok(&step.block));
        let bound = bytes.len() - 1;
        assert_eq!(decode(&bytes, bound), Err(BadBlock::TooLarge { found: bytes.len(), bound }));
        let malformed = |story: &str, bytes: &[u8]| {
            assert!(matches!(decode(bytes, 1 << 20), Err(BadBlock::Malformed(_))), "{story}");
        };
        malformed("nothing", &[]);
        malformed("cut", &bytes[..bytes.len() - 1]);
        malformed("trailing zero", &[bytes.as_slice(), &[0]].concat());
        // An unknown field that protobuf readers skip: the same block in other bytes.
        malformed("an unknown field", &[bytes.as_slice(), &[0x78, 1]].concat());
        malformed("a field again", &[bytes.as_slice(), &[0x12, 0]].concat());
    }
}

#[test]
fn vote_bytes_are_those_of_the_specification() {
    // docs/spec/blocks.md; the layout is CometBFT's CanonicalVote, length first.
    let id = block_id(Hash::Sha256([0xab; 32]));
    let hash = "ab".repeat(32);
    let bytes = |kind, block| hex::encode(vote_bytes(&"c".try_into().expect("a name"), kind, 5u32.into(), Round::from(2u8), block));
    let named = format!("22480a20{hash}122408011220{hash}");
    assert_eq!(bytes(Type::Precommit, Some(id)), format!("650802110500000000000000190200000000000000{named}2a0208013201{:02x}", b'c'));
    assert_eq!(bytes(Type::Prevote, None), format!("1b08011105000000000000001902000000000000002a0208013201{:02x}", b'c'));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(block) = decode(&bytes, 1 << 20) {
            prop_assert_eq!(encode(&block), bytes);
        }
    }

    #[test]
    fn bent_blocks_never_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (steps, _) = chain(2);
        let mut bytes = encode(&steps[1].block);
        let at = at.index(bytes.len());
        let changed = bytes[at] != to;
        bytes[at] = to;
        if let Ok(block) = decode(&bytes, 1 << 20) {
            // A proposer is free to choose a later time; that is another block, and a valid one.
            let retimed = block.header.time != steps[1].block.header.time;
            let follows = steps[1].before.check(&block, &Past::default()).is_ok();
            let bound = if retimed { block.header.hash() != steps[1].block.header.hash() } else { follows != changed };
            prop_assert!(bound);
        }
    }
}
