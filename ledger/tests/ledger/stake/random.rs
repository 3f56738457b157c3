//! Random acts, against the plain model: the ledger gives nobody more, burns nothing less, and both by less than a
//! token for each act.

use std::collections::BTreeMap;

use ledger::governance::docket::Docket;
use ledger::governance::{Change, Choice, Draft, GovernanceParams, Kind};
use ledger::stake::{StakeParams, ValidatorStatus};
use ledger::{Body, Misbehavior, Offence, Outcome, Params, SignedTransaction, State, Transaction, block, pool};
use proptest::prelude::*;
use types::{Amount, Height, Millis};

use super::model::Model;
use super::{KEYS, OPERATORS, begin_with, books, create, delegate, params, redelegate, told, undelegate, unjail, withdraw};
use crate::world::{ALICE, BOB, FEE, SPONSOR, WEALTH, World, address, key};

/// The three operators, then the others.
const PEOPLE: [u8; 6] = [OPERATORS[0], OPERATORS[1], OPERATORS[2], ALICE, BOB, SPONSOR];

/// Stakes so large that a token which rounding moves is worth less than a token in rewards.
fn scaled() -> Params {
    let least = Amount(100_000);
    let stake = StakeParams { min_self_stake: least, ..params().stake };
    // A deposit of a token, and little stake that must vote: parameters change often.
    let governance = GovernanceParams { min_deposit: Amount(1), voting_ms: 1_000, quorum_bps: 1, ..GovernanceParams::default() };
    Params { power_unit: least, stake, governance, ..params() }
}

/// Parameters that people change, and from what to what. A punishment is never nothing: the model could not tell it from none.
const CHANGES: [(&str, u64, u64); 9] = [
    ("stake.max_validators", 1, 6),
    ("stake.min_self_stake", 1, 20_000_000),
    ("stake.epoch_ms", 1_000, 60_000),
    ("stake.annual_reward_bps", 0, 5_000),
    ("stake.double_sign_slash_bps", 1, 9_000),
    ("stake.downtime_slash_bps", 0, 1_000),
    ("stake.downtime_jail_ms", 0, 10_000),
    ("stake.signed_window", 10, 40),
    ("stake.min_signed_bps", 0, 6_600),
];

/// Somebody's act, by places in the lists of people and keys.
#[derive(Debug, Clone, Copy)]
enum Act {
    Create { seed: usize, stake: u64 },
    Delegate { to: usize, amount: u64 },
    Undelegate { from: usize, amount: u64 },
    UndelegateAll { from: usize },
    Redelegate { from: usize, to: usize, amount: u64 },
    Withdraw { from: usize },
    Unjail { seed: usize },
    Propose { what: usize, value: u64 },
    Agree,
}

/// What surrounds a block's transactions.
#[derive(Debug, Clone)]
struct Around {
    elapsed_ms: u64,
    accused: Option<(usize, u64)>,
    absent: Vec<usize>,
}

fn acts() -> impl Strategy<Value = (usize, Act)> {
    let amount = prop_oneof![1u64..20, 50_000u64..5_000_000, 1_000_000u64..100_000_000];
    let key = 0..KEYS.len();
    let act = prop_oneof![
        1 => (3..KEYS.len(), amount.clone()).prop_map(|(seed, stake)| Act::Create { seed, stake }),
        6 => (key.clone(), amount.clone()).prop_map(|(to, amount)| Act::Delegate { to, amount }),
        5 => (key.clone(), amount.clone()).prop_map(|(from, amount)| Act::Undelegate { from, amount }),
        1 => key.clone().prop_map(|from| Act::UndelegateAll { from }),
        5 => (key.clone(), key.clone(), amount).prop_map(|(from, to, amount)| Act::Redelegate { from, to, amount }),
        2 => key.clone().prop_map(|from| Act::Withdraw { from }),
        3 => key.prop_map(|seed| Act::Unjail { seed }),
        1 => (0..CHANGES.len()).prop_flat_map(|what| (CHANGES[what].1..=CHANGES[what].2).prop_map(move |value| Act::Propose { what, value })),
        2 => Just(Act::Agree),
    ];
    (0..PEOPLE.len(), act)
}

fn around() -> impl Strategy<Value = Around> {
    let elapsed_ms = prop_oneof![6 => Just(500u64), 3 => 500u64..6_000, 1 => 15_000u64..30_000];
    let accused = prop_oneof![15 => Just(None), 1 => (0..KEYS.len(), 0u64..12).prop_map(Some)];
    let absent = prop::collection::vec(0..KEYS.len(), 0..3);
    (elapsed_ms, accused, absent).prop_map(|(elapsed_ms, accused, absent)| Around { elapsed_ms, accused, absent })
}

struct Both {
    world: World,
    model: Model,
    /// What the engine believes, from the updates alone.
    engine: BTreeMap<[u8; 32], u64>,
    acts: f64,
}

impl Both {
    fn new() -> Self {
        let stakes = [50_000_000, 30_000_000, 10_000_000];
        let world = begin_with(scaled(), stakes);
        let mut model = Model::new(vec![WEALTH.0 as f64; PEOPLE.len()], KEYS.len());
        for (at, stake) in stakes.into_iter().enumerate() {
            model.found(at, at, stake as f64);
        }
        let engine = (0..3).map(|at| (key(KEYS[at]).public().0, stakes[at] / scaled().power_unit.0)).collect();
        Self { world, model, engine, acts: 0.0 }
    }

    fn body(&self, who: usize, act: Act) -> Body {
        match act {
            Act::Create { seed, stake } => create(PEOPLE[who], KEYS[seed], stake),
            Act::Delegate { to, amount } => delegate(KEYS[to], amount),
            Act::Undelegate { from, amount } => undelegate(KEYS[from], amount),
            Act::UndelegateAll { from } => undelegate(KEYS[from], super::worth_if_any(&self.world, PEOPLE[who], KEYS[from])),
            Act::Redelegate { from, to, amount } => redelegate(KEYS[from], KEYS[to], amount),
            Act::Withdraw { from } => withdraw(KEYS[from]),
            Act::Unjail { seed } => unjail(KEYS[seed]),
            Act::Propose { what, value } => change(CHANGES[what].0, value),
            Act::Agree => {
                let proposal = Docket::read(&State::new(&self.world.entries)).submitted;
                Body::Vote { proposal, choice: Choice::Yes }
            }
        }
    }

    fn block(&mut self, acts: &[(usize, Act)], around: &Around) {
        let world = &mut self.world;
        world.time.0 += around.elapsed_ms - 500;
        let height = world.height + 1;
        let accused = around.accused.map(|(at, ago)| (at, height.saturating_sub(ago).max(1)));
        if let Some((at, height)) = accused {
            let (kind, validator) = (Offence::DuplicateVote, address(KEYS[at]));
            world.accused.push(Misbehavior { kind, validator, height: Height(height), time: Millis(0) });
        }
        world.absent = around.absent.iter().map(|at| address(KEYS[*at])).collect();
        let mut block: Vec<SignedTransaction> = Vec::new();
        for (who, act) in acts {
            let author = PEOPLE[*who];
            let mine = block.iter().filter(|signed| signed.transaction.author == key(author).public()).count() as u64;
            let transaction = self.world.transaction(author, self.body(*who, *act));
            block.push(Transaction { sequence: transaction.sequence + mine, ..transaction }.sign(&key(author), None));
        }
        let before = told(&self.world);
        let known = books::validators(&self.world);
        let rules = block::params(&State::new(&self.world.entries)).stake;
        let epoch = epoch(&self.world);
        let outcome = self.world.play(&block);
        self.follow(acts, &block, accused, &rules, &outcome);
        if epoch != self::epoch(&self.world) {
            let minted = (outcome_supply(&outcome) - self.model.supply).max(0.0);
            let bps = |at: &usize| known.get(&address(KEYS[*at])).map_or(500, |record| record.commission_bps);
            let power = |at: &usize| before.iter().find(|(told, _)| *told == address(KEYS[*at])).map(|(_, power)| *power as f64);
            let now = books::validators(&self.world);
            let left = |at: &usize| now[&address(KEYS[*at])].power(&scaled()) as f64;
            let powers = (0..KEYS.len()).filter_map(|at| power(&at).map(|told| (at, told.min(left(&at)), f64::from(bps(&at)) / 10_000.0)));
            let powers: Vec<_> = powers.filter(|(_, power, _)| *power > 0.0).collect();
            self.model.distribute(minted, &powers);
        }
        for (key, power) in &outcome.validator_updates {
            match power {
                0 => assert!(self.engine.remove(&key.0).is_some(), "who leaves was there"),
                power => assert_ne!(self.engine.insert(key.0, *power), Some(*power), "an update changes something"),
            }
        }
        self.compare();
    }

    /// Lets the model do what the ledger has done.
    fn follow(
        &mut self,
        acts: &[(usize, Act)],
        block: &[SignedTransaction],
        accused: Option<(usize, u64)>,
        rules: &StakeParams,
        outcome: &Outcome,
    ) {
        let kept = |slash_bps: u16| 1.0 - f64::from(slash_bps) / 10_000.0;
        (self.model.height, self.model.time) = (self.world.height, self.world.time.0);
        if let Some((at, height)) = accused.filter(|(at, _)| books::validators(&self.world).contains_key(&address(KEYS[*at]))) {
            // One that was only made in this block was not there to be accused.
            let made = outcome.events.iter().any(|event| event.kind == "slash" && attribute(event, "reason") == "duplicate_vote");
            if made {
                assert!(self.model.signs_twice(at, height, kept(rules.double_sign_slash_bps)), "once in its life");
            }
        }
        for event in outcome.events.iter().filter(|event| event.kind == "slash" && attribute(event, "reason") == "downtime") {
            let at = KEYS.iter().position(|seed| address(*seed).to_string() == attribute(event, "validator")).expect("a validator");
            self.model.slash(at, kept(rules.downtime_slash_bps));
        }
        let unbonding_ms = params().stake.unbonding_ms;
        for (((who, act), signed), result) in acts.iter().zip(block).zip(&outcome.results) {
            self.model.pay_fee(*who, FEE.0 as f64);
            self.acts += 1.0;
            if !result.code.is_ok() {
                continue;
            }
            let event = &result.events[0];
            let number = |name| attribute(event, name).parse::<u64>().unwrap_or(0);
            match (*act, &signed.transaction.body) {
                (Act::Create { seed, stake }, _) => self.model.delegate(*who, seed, stake as f64),
                (Act::Delegate { to, amount }, _) => {
                    assert!((amount.saturating_sub(2)..=amount).contains(&number("amount")), "at most what was offered: {event:?}");
                    self.model.delegate(*who, to, amount as f64);
                }
                (Act::Undelegate { from, .. } | Act::UndelegateAll { from }, Body::Undelegate { amount, .. }) => {
                    assert!((amount.0..=amount.0 + 2).contains(&number("amount")), "at least what was asked: {event:?}");
                    self.model.undelegate(*who, from, amount.0 as f64, unbonding_ms);
                }
                (Act::Redelegate { from, to, amount }, _) => self.model.redelegate(*who, from, to, amount as f64, unbonding_ms),
                (Act::Withdraw { from }, _) => {
                    let operator = super::record(&self.world, KEYS[from]).operator == address(PEOPLE[*who]);
                    self.model.withdraw(*who, from, operator);
                }
                // A deposit is a token, which may be burned: less than what an act may round.
                (Act::Unjail { .. } | Act::Propose { .. } | Act::Agree, _) => {}
                _ => unreachable!("an act is what was signed"),
            }
        }
        self.model.complete();
    }

    fn compare(&self) {
        books::check(&self.world);
        // Each act and each block can round by a token at a few places.
        let slack = 4.0 * (self.acts + self.world.height as f64) + 1.0;
        let close = |what: &str, found: u64, expected: f64| {
            let off = found as f64 - expected;
            assert!(off.abs() <= slack, "{what}: {found}, by the model {expected}, at height {}", self.world.height);
        };
        close("the fees", self.world.fees(), self.model.fees);
        for (who, seed) in PEOPLE.iter().enumerate() {
            close("a balance", self.world.balance(*seed), self.model.balances[who]);
            for (validator, key) in KEYS.iter().enumerate() {
                let worth = super::worth_if_any(&self.world, *seed, *key);
                close("a stake", worth, self.model.at(who, validator));
            }
        }
        let supply = self.world.census().supply as f64;
        assert!(supply <= self.model.supply + 0.5, "a rounding was in somebody's favour: {supply}, {}", self.model.supply);
        assert!(supply >= self.model.supply - slack, "too much was burned: {supply}, {}", self.model.supply);
        let unit = scaled().power_unit.0;
        for (validator, power) in told(&self.world) {
            let record = &books::validators(&self.world)[&validator];
            assert_eq!(self.engine.get(&record.consensus_key.0), Some(&power), "the engine was told");
            assert!(record.status != ValidatorStatus::Eligible || power == record.bonded.0 / unit);
        }
        assert_eq!(self.engine.len(), told(&self.world).len());
    }
}

/// A proposal to change a parameter, with its whole deposit.
fn change(name: &str, value: u64) -> Body {
    let changes = vec![Change { name: name.try_into().expect("a short name"), value }];
    let kind = Kind::Parameters(changes.try_into().expect("one change"));
    let title = "other rules".try_into().expect("a short title");
    Body::SubmitProposal(Box::new(Draft { kind, title, summary: types::Text::default(), deposit: Amount(1) }))
}

fn attribute(event: &tendermint::abci::Event, name: &str) -> String {
    let found = event.attributes.iter().find(|attribute| attribute.key_str().is_ok_and(|key| key == name));
    found.and_then(|attribute| attribute.value_str().ok()).unwrap_or_default().to_owned()
}

fn epoch(world: &World) -> Millis {
    State::new(&world.entries).read(ledger::state::key::EPOCH).expect("an epoch")
}

fn outcome_supply(outcome: &Outcome) -> f64 {
    let supply = outcome.changes.get(ledger::state::key::SUPPLY).and_then(Option::as_ref).expect("an epoch mints");
    <Amount as types::Decode>::from_bytes(supply).expect("an amount").0 as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_order_of_acts_makes_or_loses_a_token(
        blocks in prop::collection::vec((prop::collection::vec(acts(), 0..5), around()), 20..120),
    ) {
        let mut both = Both::new();
        for (acts, around) in &blocks {
            both.block(acts, around);
        }
        // In the end everybody leaves, as far as somebody must not stay, and waits: nothing is locked.
        for who in 0..PEOPLE.len() {
            for from in 0..KEYS.len() {
                both.block(&[(who, Act::Withdraw { from })], &Around { elapsed_ms: 500, accused: None, absent: Vec::new() });
                both.block(&[(who, Act::UndelegateAll { from })], &Around { elapsed_ms: 500, accused: None, absent: Vec::new() });
            }
        }
        both.block(&[], &Around { elapsed_ms: 60_000, accused: None, absent: Vec::new() });
        let state = State::new(&both.world.entries);
        prop_assert_eq!(pool::read(&state, pool::UNBONDING), Amount::ZERO);
    }
}
