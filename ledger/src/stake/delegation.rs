//! Delegations: whose tokens stand behind which validator, and how they come, leave and move.

use tendermint::abci::Event;
use types::{Address, Amount, Height, List, Millis};

use super::error::Error;
use super::position::{Position, Taken};
use super::rewards::PerShare;
use super::validator::{Validator, ValidatorStatus};
use super::{active, unbonding};
use crate::block::{Block, event};
use crate::error::Refusal;
use crate::params::Params;
use crate::state::{State, key};
use crate::{account, pool};

/// An account has stake at this many validators at most.
pub const MAX_DELEGATIONS: usize = 16;

/// Stake comes to a delegation from other validators this many times at most within an unbonding period.
pub const MAX_MOVED: usize = 4;

/// An account's stake at a validator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delegation {
    /// Its shares of the validator's tokens.
    pub shares: u64,
    /// What a share had earned when this delegation was last paid.
    pub mark: PerShare,
    /// What of the shares came from other validators, and still answers for these.
    pub moved: List<Moved, MAX_MOVED>,
}
types::codec!(Delegation { shares, mark, moved });

/// Stake that still answers for a validator that it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The validator that it left.
    pub from: Address,
    /// The height at which it left.
    pub since: Height,
    /// The last time at which an offence of that validator, from when the stake was there, takes its part.
    pub until: Millis,
    /// How much: shares of the delegation that it is in, or tokens where it is unbonding.
    pub part: u64,
}
types::codec!(Moved { from, since, until, part });

/// The validators at which an account has stake.
pub type Validators = List<Address, MAX_DELEGATIONS>;

/// Reads an account's stake at a validator.
#[must_use]
pub fn read(state: &State<'_>, account: &Address, validator: &Address) -> Option<Delegation> {
    state.read(&key::delegation(account, validator))
}

/// The validators at which an account has stake, at most [`MAX_DELEGATIONS`], and its shares there.
#[must_use]
pub fn delegations(state: &State<'_>, account: &Address) -> Vec<(Address, u64)> {
    let validators: Validators = state.read(&key::delegations(account)).unwrap_or_default();
    let shares = |validator: &Address| read(state, account, validator).map_or(0, |delegation| delegation.shares);
    validators.iter().map(|validator| (*validator, shares(validator))).collect()
}

/// Writes a delegation, and keeps the account's list of them; one without shares is removed.
pub(super) fn write(state: &mut State<'_>, account: &Address, validator: &Address, delegation: &Delegation) -> Result<(), Error> {
    let mut validators: Validators = state.read(&key::delegations(account)).unwrap_or_default();
    let listed = validators.contains(validator);
    if delegation.shares == 0 {
        if listed {
            state.remove(key::delegation(account, validator));
            validators.retain(|other| other != validator);
            if validators.is_empty() {
                state.remove(key::delegations(account));
            } else {
                state.write(key::delegations(account), &validators);
            }
        }
        return Ok(());
    }
    if !listed {
        validators.push(*validator).map_err(|_| Error::TooManyDelegations { bound: MAX_DELEGATIONS })?;
        state.write(key::delegations(account), &validators);
    }
    state.write(key::delegation(account, validator), delegation);
    Ok(())
}

/// Writes the stake of a genesis validator's operator.
pub(super) fn begin(state: &mut State<'_>, validator: &Validator) -> Result<(), Error> {
    let delegation = Delegation { shares: validator.shares, ..Delegation::default() };
    write(state, &validator.operator, &validator.address(), &delegation)
}

/// Bonds tokens to a validator.
///
/// # Errors
/// [`Error`], [`Refusal::BadAmount`] and [`Refusal::InsufficientFunds`].
pub fn delegate(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    account: &Address,
    (validator, amount): (&Address, Amount),
) -> Result<Event, Refusal> {
    let mut position = Position::open(state, block, account, validator)?;
    let cost = position.join(params, amount)?;
    account::debit(state, account, "author", cost)?;
    Ok(finish(state, position, "delegate", cost)?)
}

/// Takes stake back: it waits for the unbonding period.
///
/// # Errors
/// [`Error`] and [`Refusal::BadAmount`].
pub fn undelegate(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    account: &Address,
    (validator, amount): (&Address, Amount),
) -> Result<Event, Refusal> {
    let mut position = Position::open(state, block, account, validator)?;
    let (taken, gone) = leave(params, block, &mut position, amount)?;
    let left = taken.amount;
    unbonding::enqueue(state, params, block, (account, validator), taken)?;
    let event = finish(state, position, "unbond", left)?;
    keep_one(state, params, validator, gone)?;
    Ok(event)
}

/// Moves stake to another validator.
///
/// # Errors
/// [`Error`] and [`Refusal::BadAmount`].
pub fn redelegate(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    account: &Address,
    (from, to, amount): (&Address, &Address, Amount),
) -> Result<Event, Refusal> {
    if from == to {
        return Err(Error::SameValidator.into());
    }
    let mut source = Position::open(state, block, account, from)?;
    // Else stake could run ahead of every punishment.
    if let Some(until) = source.delegation.moved.iter().map(|moved| moved.until).max() {
        return Err(Error::StillAnswers { until }.into());
    }
    let (taken, gone) = leave(params, block, &mut source, amount)?;
    let (paid, slashed) = (source.paid, source.slashed);
    source.close(state)?;
    let mut target = Position::open(state, block, account, to)?;
    let before = target.delegation.shares;
    let cost = target.join(params, taken.amount)?;
    let until = Millis(block.time.0.saturating_add(params.stake.unbonding_ms));
    target.came_from(from, block.height, until, target.delegation.shares - before)?;
    // Less than a share's price.
    account::credit(state, account, Amount(taken.amount.0 - cost.0));
    let (paid, slashed) = (paid.0 + target.paid.0, slashed.0 + target.slashed.0);
    target.close(state)?;
    keep_one(state, params, from, gone)?;
    Ok(event(
        "redelegate",
        [
            ("from", from.to_string()),
            ("to", to.to_string()),
            ("delegator", account.to_string()),
            ("amount", cost.0.to_string()),
            ("rewards", paid.to_string()),
            ("slashed", slashed.to_string()),
        ],
    ))
}

/// Pays out what an account's stake at a validator has earned, and the commission if it is the operator.
///
/// # Errors
/// [`Error`].
pub fn withdraw(state: &mut State<'_>, block: Block<'_>, account: &Address, validator: &Address) -> Result<Event, Refusal> {
    let mut position = Position::open(state, block, account, validator)?;
    let commission = if position.record.operator == *account {
        std::mem::take(&mut position.record.earned.commission)
    } else if position.delegation.shares == 0 {
        return Err(Error::StakeTooLow { found: position.slashed, needed: Amount(1) }.into());
    } else {
        Amount::ZERO
    };
    if commission > Amount::ZERO {
        pool::draw(state, pool::REWARDS, commission);
        account::credit(state, account, commission);
    }
    Ok(finish(state, position, "withdraw_rewards", commission)?)
}

/// Takes `amount` out, and jails a validator whose operator keeps less than it must. And whether the chain has a
/// candidate less.
fn leave(params: &Params, block: Block<'_>, position: &mut Position, amount: Amount) -> Result<(Taken, bool), Refusal> {
    let before = position.record.power(params);
    let taken = position.leave(amount)?;
    let record = &mut position.record;
    let own = position.account == record.operator;
    if own && record.status == ValidatorStatus::Eligible && record.worth(position.delegation.shares) < params.stake.min_self_stake {
        record.status = ValidatorStatus::Jailed { until: block.time };
    }
    Ok((taken, before > 0 && record.power(params) == 0))
}

/// Refuses a step by which `validator`, if it is `gone`, was the last candidate.
fn keep_one(state: &State<'_>, params: &Params, validator: &Address, gone: bool) -> Result<(), Error> {
    if gone && !active::others(state, params, validator) { Err(Error::LastValidator) } else { Ok(()) }
}

fn finish(state: &mut State<'_>, position: Position, kind: &'static str, amount: Amount) -> Result<Event, Error> {
    let attributes = [
        ("validator", position.validator.to_string()),
        ("delegator", position.account.to_string()),
        ("amount", amount.0.to_string()),
        ("rewards", position.paid.0.to_string()),
        ("slashed", position.slashed.0.to_string()),
    ];
    position.close(state)?;
    Ok(event(kind, attributes))
}
