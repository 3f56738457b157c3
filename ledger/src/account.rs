//! Accounts: balances, sequences, fees, and who pays them.

use types::{Address, Amount, Height};

use crate::error::Refusal;
use crate::params::Params;
use crate::pool;
use crate::state::{State, key};
use crate::transaction::{Payer, Verified};

/// An account. One that was never written has nothing and has done nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// What it owns.
    pub balance: Amount,
    /// How many transactions it has authored.
    pub sequence: u64,
}
types::codec!(Account { balance, sequence });

/// A sponsor's quota for one beneficiary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What may still be spent on fees.
    pub remaining: Amount,
    /// The last height at which it may.
    pub expires: Height,
}
types::codec!(Allowance { remaining, expires });

/// Reads an account.
#[must_use]
pub fn read(state: &State<'_>, address: &Address) -> Account {
    state.read(&key::account(address)).unwrap_or_default()
}

/// Writes an account.
pub fn write(state: &mut State<'_>, address: &Address, account: &Account) {
    state.write(key::account(address), account);
}

/// Takes `amount` out of a balance.
///
/// # Errors
/// [`Refusal::InsufficientFunds`].
pub fn debit(state: &mut State<'_>, address: &Address, whose: &'static str, amount: Amount) -> Result<(), Refusal> {
    let mut account = read(state, address);
    let short = Refusal::InsufficientFunds { whose, found: account.balance, needed: amount };
    account.balance = account.balance.checked_sub(amount).ok_or(short)?;
    write(state, address, &account);
    Ok(())
}

/// Adds `amount` to a balance.
///
/// # Panics
/// If the balance overflows, which the supply's bound excludes.
pub fn credit(state: &mut State<'_>, address: &Address, amount: Amount) {
    let mut account = read(state, address);
    account.balance = account.balance.checked_add(amount).expect("no balance exceeds the supply");
    write(state, address, &account);
}

/// Charges a transaction before its body runs: the author's sequence goes up by one and the payer
/// pays the fee. Both stay when the body is then refused.
///
/// # Errors
/// A [`Refusal`] of a transaction that must not be in a block at all.
pub fn charge(state: &mut State<'_>, params: &Params, verified: &Verified, height: Height) -> Result<(), Refusal> {
    let transaction = verified.transaction();
    if transaction.valid_until < height {
        return Err(Refusal::Expired { valid_until: transaction.valid_until, height });
    }
    let needed = params.minimum_fee(verified.size_bytes());
    if transaction.fee < needed {
        return Err(Refusal::FeeTooLow { found: transaction.fee, needed });
    }
    let author = verified.author();
    advance(state, author, transaction.sequence)?;
    match &transaction.payer {
        Payer::Author => debit(state, author, "author", transaction.fee)?,
        Payer::Cosigner(payer) => debit(state, &payer.address(), "payer", transaction.fee)?,
        Payer::Allowance(sponsor) => {
            draw(state, sponsor, author, transaction.fee, height)?;
            debit(state, sponsor, "payer", transaction.fee)?;
        }
    }
    pool::fill(state, pool::FEES, transaction.fee);
    Ok(())
}

/// Moves tokens.
///
/// # Errors
/// [`Refusal::BadAmount`] and [`Refusal::InsufficientFunds`].
pub fn transfer(state: &mut State<'_>, from: &Address, to: &Address, amount: Amount) -> Result<(), Refusal> {
    if amount == Amount::ZERO {
        return Err(Refusal::BadAmount);
    }
    debit(state, from, "author", amount)?;
    credit(state, to, amount);
    Ok(())
}

/// Sets what `sponsor` allows `beneficiary`; a limit of zero takes it back.
pub fn allow(state: &mut State<'_>, sponsor: &Address, beneficiary: &Address, limit: Amount, expires: Height) {
    let at = key::allowance(sponsor, beneficiary);
    if limit == Amount::ZERO {
        state.remove(at);
    } else {
        state.write(at, &Allowance { remaining: limit, expires });
    }
}

fn advance(state: &mut State<'_>, author: &Address, found: u64) -> Result<(), Refusal> {
    let mut account = read(state, author);
    let expected = account.sequence;
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => return Err(Refusal::StaleSequence { found, expected }),
        std::cmp::Ordering::Greater => return Err(Refusal::FutureSequence { found, expected }),
        std::cmp::Ordering::Equal => account.sequence += 1,
    }
    write(state, author, &account);
    Ok(())
}

fn draw(state: &mut State<'_>, sponsor: &Address, beneficiary: &Address, fee: Amount, height: Height) -> Result<(), Refusal> {
    let at = key::allowance(sponsor, beneficiary);
    let allowance = state.read::<Allowance>(&at).filter(|allowance| height <= allowance.expires);
    let found = allowance.map_or(Amount::ZERO, |allowance| allowance.remaining);
    let refused = Refusal::NotAllowed { found, needed: fee };
    let Some(Allowance { remaining, expires }) = allowance else {
        return Err(refused);
    };
    let remaining = remaining.checked_sub(fee).ok_or(refused)?;
    allow(state, sponsor, beneficiary, remaining, expires);
    Ok(())
}
