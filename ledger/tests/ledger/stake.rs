//! Stake: what each act does and is refused for, and that no order of acts makes, burns or locks a token but by the rules.

mod books;
mod model;
mod random;
mod stories;

use ledger::genesis::GenesisValidator;
use ledger::stake::{Candidacy, Edit, StakeParams, Validator};
use ledger::{AppState, Body, Params, State, stake};
use types::{Address, Amount, Blob, Signature};

use crate::world::{ALICE, BOB, SPONSOR, WEALTH, World, address, chain, key};

/// Operators of validators, with an account of 1,000 ZYNK like the people.
const OPERATORS: [u8; 3] = [7, 8, 9];

/// Consensus keys: the first ones are the operators', in their order.
const KEYS: [u8; 6] = [40, 41, 42, 43, 44, 45];

fn params() -> Params {
    let stake = StakeParams {
        max_validators: 3,
        min_self_stake: Amount(100),
        unbonding_ms: 20_000,
        epoch_ms: 5_000,
        annual_reward_bps: 1_000,
        downtime_slash_bps: 100,
        downtime_jail_ms: 3_000,
        signed_window: 10,
        ..StakeParams::default()
    };
    Params { power_unit: Amount(100), stake, ..crate::world::params() }
}

fn peer(seed: u8) -> Blob<64> {
    let bytes = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20], &key(seed.wrapping_add(100)).public().0[..]].concat();
    bytes.try_into().expect("38 bytes")
}

/// A chain whose validators begin with these stakes.
fn begin(stakes: [u64; 3]) -> World {
    begin_with(params(), stakes)
}

fn begin_with(params: Params, stakes: [u64; 3]) -> World {
    let validators = (0..3).map(|at| GenesisValidator {
        operator: address(OPERATORS[at]),
        consensus_key: key(KEYS[at]).public(),
        peer_id: peer(KEYS[at]),
        moniker: "genesis".try_into().expect("a short name"),
        stake: Amount(stakes[at]),
        commission_bps: 1_000,
    });
    let accounts = [ALICE, BOB, SPONSOR].into_iter().chain(OPERATORS).map(|seed| (address(seed), WEALTH));
    World::of(&AppState { engine: ledger::Engine::Embedded, params, accounts: accounts.collect(), validators: validators.collect() })
}

/// What `operator` says to make a validator of the consensus key `seed`.
fn candidacy(operator: u8, seed: u8, stake: u64) -> Candidacy {
    let unsigned = Candidacy {
        consensus_key: key(seed).public(),
        peer_id: peer(seed),
        moniker: "newcomer".try_into().expect("a short name"),
        commission_bps: 500,
        stake: Amount(stake),
        proof: Signature([0; 64]),
    };
    unsigned.prove(&chain(), &address(operator), &key(seed))
}

pub(crate) fn create(operator: u8, seed: u8, stake: u64) -> Body {
    Body::CreateValidator(Box::new(candidacy(operator, seed, stake)))
}

/// A validator gets another name, peer id and commission.
pub(crate) fn edit(seed: u8) -> Body {
    let moniker = Some("renamed".try_into().expect("a short name"));
    let edit = Edit { moniker, peer_id: Some(peer(seed + 1)), commission_bps: Some(400) };
    Body::EditValidator { validator: address(seed), edit: Box::new(edit) }
}

pub(crate) fn delegate(seed: u8, amount: u64) -> Body {
    Body::Delegate { validator: address(seed), amount: Amount(amount) }
}

pub(crate) fn undelegate(seed: u8, amount: u64) -> Body {
    Body::Undelegate { validator: address(seed), amount: Amount(amount) }
}

pub(crate) fn redelegate(from: u8, to: u8, amount: u64) -> Body {
    Body::Redelegate { from: address(from), to: address(to), amount: Amount(amount) }
}

pub(crate) fn withdraw(seed: u8) -> Body {
    Body::WithdrawRewards { validator: address(seed) }
}

pub(crate) fn unjail(seed: u8) -> Body {
    Body::Unjail { validator: address(seed) }
}

fn record(world: &World, seed: u8) -> Validator {
    stake::validator(&State::new(&world.entries), &address(seed)).expect("a validator")
}

/// What an account's shares at a validator are worth.
fn worth(world: &World, account: u8, validator: u8) -> u64 {
    let held = stake::delegation::read(&State::new(&world.entries), &address(account), &address(validator));
    held.map_or(0, |delegation| record(world, validator).worth(delegation.shares).0)
}

fn told(world: &World) -> Vec<(Address, u64)> {
    stake::active::told(&State::new(&world.entries)).into_iter().map(|told| (told.validator, told.power)).collect()
}

fn worth_if_any(world: &World, account: u8, validator: u8) -> u64 {
    let known = stake::validator(&State::new(&world.entries), &address(validator)).is_some();
    if known { worth(world, account, validator) } else { 0 }
}
