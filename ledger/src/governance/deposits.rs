//! Deposits on proposals: out of balances into a pool, and back, or burned.

use types::{Address, Amount};

use super::error::Error;
use super::proposal::{Deposit, MAX_DEPOSITORS, Proposal};
use crate::error::Refusal;
use crate::state::{State, key};
use crate::{account, pool};

/// The proposer deposits at least this part of what is needed: places among the open proposals are few.
const FIRST_PART: u64 = 4;

/// The least that a proposer deposits.
#[must_use]
pub fn least_at_first(proposal: &Proposal) -> Amount {
    part(proposal.needed, FIRST_PART)
}

/// Takes a deposit of `amount`, at least `least`, out of a balance.
///
/// # Errors
/// [`Error::DepositTooLow`] and [`Refusal::InsufficientFunds`].
pub fn take(state: &mut State<'_>, proposal: &mut Proposal, depositor: &Address, amount: Amount, least: Amount) -> Result<(), Refusal> {
    if amount < least {
        return Err(Error::DepositTooLow { found: amount, needed: least }.into());
    }
    account::debit(state, depositor, "author", amount)?;
    pool::fill(state, key::DEPOSITS, amount);
    match proposal.deposits.iter_mut().find(|deposit| deposit.depositor == *depositor) {
        Some(deposit) => deposit.amount = deposit.amount.checked_add(amount).expect("no deposit exceeds the supply"),
        None => {
            let deposit = Deposit { depositor: *depositor, amount };
            proposal.deposits.push(deposit).expect("a full list is a complete deposit, to which nothing is added");
        }
    }
    Ok(())
}

/// The least that is added to a proposal's deposit: a part that lets no more people pay than there
/// is room for.
#[must_use]
pub fn least(proposal: &Proposal) -> Amount {
    part(proposal.needed, MAX_DEPOSITORS as u64)
}

/// Gives every deposit back.
pub fn give_back(state: &mut State<'_>, proposal: &mut Proposal) {
    pool::draw(state, key::DEPOSITS, proposal.deposited());
    for deposit in &std::mem::take(&mut proposal.deposits) {
        account::credit(state, &deposit.depositor, deposit.amount);
    }
}

/// Burns every deposit: the supply falls.
pub fn burn(state: &mut State<'_>, proposal: &mut Proposal) {
    pool::draw(state, key::DEPOSITS, proposal.deposited());
    pool::burn(state, proposal.deposited());
    proposal.deposits = types::List::default();
}

fn part(whole: Amount, parts: u64) -> Amount {
    Amount(whole.0.div_ceil(parts))
}
