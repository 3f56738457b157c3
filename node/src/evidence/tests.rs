//! The pool over a real store.

use consensus::Host as _;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Header, Height, Round};
use tendermint::evidence::{ConflictingBlock, LightClientAttackEvidence};
use tendermint::vote::Type;

use super::*;
use crate::app::App;
use crate::testing::{Bench, genesis, sign};

fn height(height: u32) -> Height {
    height.into()
}

/// Bends the evidence of two votes.
fn bent(evidence: Evidence, bend: impl Fn(&mut tendermint::evidence::DuplicateVoteEvidence)) -> Evidence {
    match evidence {
        Evidence::DuplicateVote(mut votes) => {
            bend(&mut votes);
            (*votes).into()
        }
        Evidence::LightClientAttack(_) => panic!("two votes"),
    }
}

#[test]
fn evidence_waits_for_a_block_and_stands_in_it_once() {
    let bench = Bench::new();
    bench.make(3);
    assert!(bench.app.is_idle());
    let (one, other) = (bench.two_votes(4, height(2)), bench.two_votes(4, height(3)));
    assert_eq!(bench.app.take_evidence(one.clone()), Ok(Taken::New));
    assert!(!bench.app.is_idle(), "an idle chain makes a block for it");
    assert_eq!(bench.app.take_evidence(one.clone()), Ok(Taken::Waiting));
    assert_eq!(bench.app.take_evidence(other.clone()), Ok(Taken::Waiting), "more of the same validator shows nothing new");
    assert_eq!(bench.app.pending_evidence(usize::MAX), std::slice::from_ref(&one));
    let at = bench.make_block();
    let (block, _) = bench.app.store().block(at).expect("a block");
    assert_eq!(block.evidence.as_ref(), std::slice::from_ref(&one), "as it was given, also out of the store");
    assert!(bench.app.is_idle() && bench.app.store().pending_evidence().is_empty());
    assert_eq!(bench.app.take_evidence(one), Ok(Taken::Committed));
    assert_eq!(bench.app.take_evidence(other), Ok(Taken::Committed));
    let next = bench.make_block();
    assert!(bench.app.store().block(next).expect("a block").0.evidence.as_ref().is_empty());
}

#[test]
fn what_does_not_hold_is_not_taken() {
    let bench = Bench::new();
    bench.make(2);
    let check = |story: &str, evidence: Evidence, code: u32| {
        assert_eq!(bench.app.take_evidence(evidence).map_err(|refusal| refusal.code()), Err(code), "{story}");
        assert!(bench.app.is_idle() && bench.app.store().pending_evidence().is_empty(), "{story}");
    };
    let good = || bench.two_votes(2, height(1));
    check("another time", bent(good(), |votes| votes.timestamp = tendermint::Time::unix_epoch()), 5);
    check("the same vote twice", bent(good(), |votes| votes.vote_b = votes.vote_a.clone()), 8);
    check("another power", bent(good(), |votes| votes.validator_power = 1u32.into()), 12);
    check("forged", bent(good(), |votes| votes.vote_a.signature = votes.vote_b.signature.clone()), 13);
}

#[test]
fn what_waits_survives_the_process_and_what_expired_does_not() {
    let bench = Bench::new();
    bench.make(2);
    let (one, other) = (bench.two_votes(1, height(1)), bench.two_votes(2, height(1)));
    let (store, state) = (bench.app.store(), bench.app.chain_state());
    let mut pool = Pool::default();
    assert_eq!(pool.take(store, &state, one.clone()), Ok(Taken::New));
    assert_eq!(pool.take(store, &state, other.clone()), Ok(Taken::New));
    let again = Pool::open(store, &state);
    assert_eq!(again.best(usize::MAX), pool.best(usize::MAX));
    assert_eq!(again.best(usize::MAX).len(), 2);
    let room = size(&one) + size(&other);
    for (story, bytes, fit) in [("both", room, 2), ("one", room - 1, 1), ("none", size(&one).min(size(&other)) - 1, 0)] {
        assert_eq!(again.best(bytes).len(), fit, "{story}");
    }
    let mut later = state.clone();
    later.params.evidence.max_age_num_blocks = 0;
    later.params.evidence.max_age_duration.0 = std::time::Duration::ZERO;
    let verdict = judge(store, &state, &one);
    assert_eq!(pool.admit(store, one.clone(), verdict), Ok(Taken::Waiting), "it came while another judged it");
    assert!(!pool.after_block(store, &later));
    assert!(pool.is_empty() && store.pending_evidence().is_empty() && Pool::open(store, &state).is_empty());
}

#[test]
fn marks_survive_the_process() {
    let bench = Bench::new();
    bench.make(2);
    let evidence = bench.two_votes(3, height(1));
    assert_eq!(bench.app.take_evidence(evidence.clone()), Ok(Taken::New));
    bench.make(1);
    let folder = bench.close();
    let genesis = genesis();
    let store = Store::open(folder.path(), genesis.hash()).expect("the same database");
    let app = App::open(store, std::sync::Arc::new(genesis)).expect("a chain");
    assert!(app.is_idle());
    assert_eq!(app.take_evidence(evidence), Ok(Taken::Committed));
}

#[test]
fn what_is_about_the_last_block_is_held_for_the_next() {
    let bench = Bench::new();
    bench.make(2);
    let mut pool = Pool::default();
    let early = |number: u8| bent(bench.two_votes(1, height(1)), |votes| votes.timestamp = time(number));
    for number in 0..=MAX_HELD {
        let number = u8::try_from(number).expect("few");
        pool.hold(early(number));
        pool.hold(early(number));
    }
    assert_eq!((pool.held.len(), pool.is_empty()), (MAX_HELD, true), "bounded, and no reason for a block");
    assert!(!pool.held.contains(&early(0)), "the oldest went");
    pool.hold(bench.two_votes(2, height(1)));
    assert!(pool.after_block(bench.app.store(), &bench.app.chain_state()), "one of them holds");
    assert!(pool.held.is_empty() && pool.best(usize::MAX) == [bench.two_votes(2, height(1))]);
}

#[test]
fn an_attack_above_the_chain_is_not_forgotten_when_the_chain_comes_there() {
    let bench = Bench::new();
    bench.make(2);
    let (mut pool, evidence) = (Pool::default(), attack_above(&bench));
    assert_eq!(pool.take(bench.app.store(), &bench.app.chain_state(), evidence.clone()), Ok(Taken::New));
    bench.make(1);
    assert!(!pool.after_block(bench.app.store(), &bench.app.chain_state()));
    assert_eq!((pool.is_empty(), pool.held.len()), (true, 1), "whose votes the chain's own block has is not settled");
    bench.make(1);
    assert!(pool.after_block(bench.app.store(), &bench.app.chain_state()));
    assert_eq!(pool.best(usize::MAX), [evidence]);
}

/// A block of the next height that all validators signed, with a state that the chain never had.
fn attack_above(bench: &Bench) -> Evidence {
    let (state, store) = (bench.app.chain_state(), bench.app.store());
    let (tip, set) = (state.tip(), store.validators(state.tip()).expect("a set"));
    let common = store.header(tip).expect("a block");
    let header = Header { height: tip.increment(), app_hash: vec![66; 32].try_into().expect("32 bytes"), ..common.clone() };
    let (round, id) = (Round::default(), consensus::commit::block_id(header.hash()));
    let vote = consensus::commit::vote_bytes(&state.chain_id, Type::Precommit, header.height, round, Some(id));
    let signatures = (1..=4).map(|seed| sign(seed, &vote)).collect();
    let commit = consensus::commit::build(header.height, round, id, &set, &signatures);
    let validator_set = set.to_tendermint();
    let attack = LightClientAttackEvidence {
        byzantine_validators: validator_set.validators().clone(),
        total_voting_power: validator_set.total_voting_power(),
        conflicting_block: ConflictingBlock { signed_header: SignedHeader::new(header, commit).expect("one height"), validator_set },
        common_height: tip,
        timestamp: common.time,
    };
    attack.into()
}

fn time(second: u8) -> tendermint::Time {
    tendermint::Time::from_unix_timestamp(second.into(), 0).expect("a time")
}
