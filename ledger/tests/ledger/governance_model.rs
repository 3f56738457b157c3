//! Votes under moving stake, against a plain count: who holds what at each validator, and what that
//! person said, added up anew after every block.

use std::collections::BTreeMap;

use ledger::governance::docket::Docket;
use ledger::governance::{Choice, Kind, ProposalId, Stage, Tally, tally, votes};
use ledger::{Body, Misbehavior, Offence, SignedTransaction, State, block, stake};
use proptest::prelude::*;
use types::{Address, Amount, Height};

use crate::governance::{DEPOSIT, OPERATORS, SPAN_MS, VALIDATORS, draft, vote, world};
use crate::world::{ALICE, BOB, SPONSOR, World, address};

const PEOPLE: [u8; 6] = [ALICE, BOB, SPONSOR, OPERATORS[0], OPERATORS[1], OPERATORS[2]];

#[derive(Debug, Clone)]
enum Try {
    Submit { whole: bool },
    Vote { back: u64, choice: usize },
    Delegate { validator: usize, amount: u64 },
    Undelegate { validator: usize, amount: u64 },
    Redelegate { from: usize, to: usize, amount: u64 },
}

fn tries() -> impl Strategy<Value = Try> {
    // Amounts that leave uneven parts of shares, and now and then all there is.
    let amount = || prop_oneof![4 => 1u64..30_000_000, 1 => Just(25_000_000u64), 1 => 1u64..10];
    prop_oneof![
        2 => any::<bool>().prop_map(|whole| Try::Submit { whole }),
        6 => (0..4u64, 0..4usize).prop_map(|(back, choice)| Try::Vote { back, choice }),
        4 => (0..3usize, amount()).prop_map(|(validator, amount)| Try::Delegate { validator, amount }),
        3 => (0..3usize, amount()).prop_map(|(validator, amount)| Try::Undelegate { validator, amount }),
        3 => (0..3usize, 0..3usize, amount()).prop_map(|(from, to, amount)| Try::Redelegate { from, to, amount }),
    ]
}

/// What is done in a block: by whom what, after how long, and whom its evidence accuses.
type Turn = (Vec<(usize, Try)>, u64, Option<usize>);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let accused = prop_oneof![15 => Just(None), 1 => (0..3usize).prop_map(Some)];
    let span_ms = prop_oneof![3 => Just(500), 1 => Just(SPAN_MS / 3)];
    prop::collection::vec((prop::collection::vec((0..6usize, tries()), 0..5), span_ms, accused), 1..50)
}

fn body(world: &World, tried: &Try) -> Body {
    let validator = |place: usize| address(VALIDATORS[place]);
    match *tried {
        Try::Submit { whole } => draft(Kind::Text, if whole { DEPOSIT } else { DEPOSIT / 4 }),
        Try::Vote { back, choice } => vote(submitted(world).saturating_sub(back), votes::CHOICES[choice]),
        Try::Delegate { validator: at, amount } => Body::Delegate { validator: validator(at), amount: Amount(amount) },
        Try::Undelegate { validator: at, amount } => Body::Undelegate { validator: validator(at), amount: Amount(amount) },
        Try::Redelegate { from, to, amount } => Body::Redelegate { from: validator(from), to: validator(to), amount: Amount(amount) },
    }
}

fn submitted(world: &World) -> u64 {
    Docket::read(&State::new(&world.entries)).submitted
}

/// What everybody has said, as the model remembers it.
type Said = BTreeMap<(ProposalId, Address), Choice>;

/// Every person's shares at every validator, one by one.
fn plainly(world: &World, said: &Said, proposal: ProposalId) -> Tally {
    let state = State::new(&world.entries);
    let params = block::params(&state);
    let mut tally = Tally::default();
    for validator in VALIDATORS.map(address) {
        let record = stake::validator(&state, &validator).expect("records stay");
        let active = stake::active(&state).contains(&validator) && record.power(&params) > 0;
        if !active {
            continue;
        }
        tally.stake.0 += record.bonded.0;
        let mut shares = [0u128; 4];
        for person in PEOPLE.map(address) {
            let held: u64 = stake::delegations(&state, &person).iter().filter(|(at, _)| *at == validator).map(|(_, shares)| *shares).sum();
            let choice = said.get(&(proposal, person)).or_else(|| said.get(&(proposal, record.operator)));
            if let Some(choice) = choice {
                shares[*choice as usize] += u128::from(held);
            }
        }
        for (choice, shares) in votes::CHOICES.into_iter().zip(shares) {
            let worth = shares * u128::from(record.bonded.0) / u128::from(record.shares);
            *tally.votes.behind(choice) += u64::try_from(worth).expect("a part of the stake");
        }
    }
    tally
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn votes_follow_stake_wherever_it_goes(turns in turns()) {
        let mut world = world();
        let mut said = Said::new();
        for (tried, span_ms, accused) in turns {
            let mut taken: Vec<SignedTransaction> = Vec::new();
            for (author, tried) in tried {
                let author = PEOPLE[author];
                let mine = taken.iter().filter(|signed| signed.transaction.author.address() == address(author)).count() as u64;
                let transaction = world.transaction(author, body(&world, &tried));
                let sequence = transaction.sequence + mine;
                taken.push(ledger::Transaction { sequence, ..transaction }.sign(&crate::world::key(author), None));
            }
            world.time.0 += span_ms - 500;
            let (height, time) = (Height(world.height.max(1)), world.time);
            let offence = |place: usize| Misbehavior { kind: Offence::DuplicateVote, validator: address(VALIDATORS[place]), height, time };
            world.accused = accused.map(offence).into_iter().collect();
            let outcome = world.play(&taken);
            for (signed, result) in taken.iter().zip(&outcome.results) {
                if let (Body::Vote { proposal, choice }, true) = (&signed.transaction.body, result.code.is_ok()) {
                    said.insert((*proposal, signed.transaction.author.address()), *choice);
                }
            }
            let state = State::new(&world.entries);
            let params = block::params(&state);
            let docket = Docket::read(&state);
            let mut deposits = 0;
            for open in &docket.open {
                let proposal = ledger::governance::read(&state, open.proposal).expect("what is open is in the state");
                prop_assert_eq!(matches!(proposal.stage, Stage::Voting { .. }), open.voting);
                prop_assert_eq!(tally::count(&state, &params, open.proposal), plainly(&world, &said, open.proposal));
                deposits += proposal.deposited().0;
            }
            let pool = state.read::<Amount>(ledger::state::key::DEPOSITS).unwrap_or_default();
            prop_assert_eq!(pool, Amount(deposits), "the pool holds the deposits of what is open, and nothing else");
            for closed in (1..=docket.submitted).filter(|id| !docket.holds(*id)) {
                let proposal = ledger::governance::read(&state, closed).expect("what was closed stays");
                let over = matches!(proposal.stage, Stage::Expired | Stage::Closed { .. });
                prop_assert!(over && proposal.deposits.is_empty());
            }
        }
    }
}
