//! One account's stake at one validator, while it changes.
//!
//! Whatever touches a delegation opens it here first: what it owes is taken, what it has earned is paid.
//! So no rule meets shares whose past is not settled.

use types::{Address, Amount, Height, Millis};

use super::delegation::{self, Delegation, MAX_MOVED, Moved};
use super::error::Error;
use super::validator::{self, Validator, ValidatorStatus};
use super::{registry, rewards, shares, slashing};
use crate::block::Block;
use crate::error::Refusal;
use crate::params::Params;
use crate::state::State;
use crate::{account, governance, pool};

/// An account's stake at a validator, with nothing owed or owing. To be closed, or forgotten with the state.
pub(super) struct Position {
    pub(super) account: Address,
    pub(super) validator: Address,
    pub(super) record: Validator,
    pub(super) delegation: Delegation,
    /// What its rewards were; they are in the account's balance.
    pub(super) paid: Amount,
    /// What it has lost for validators that it came from.
    pub(super) slashed: Amount,
    shares_before: u64,
    now: Millis,
}

/// What left a position.
pub(super) struct Taken {
    pub(super) amount: Amount,
    /// What of it still answers for validators that it came from before, in tokens.
    pub(super) moved: Vec<Moved>,
}

impl Position {
    pub(super) fn open(state: &mut State<'_>, block: Block<'_>, account: &Address, validator: &Address) -> Result<Self, Error> {
        let record = validator::read(state, validator).ok_or(Error::UnknownValidator(*validator))?;
        let delegation = delegation::read(state, account, validator);
        let delegation = delegation.unwrap_or_else(|| Delegation { mark: record.earned.per_share, ..Delegation::default() });
        let shares_before = delegation.shares;
        let (account, validator) = (*account, *validator);
        let (paid, slashed) = (Amount::ZERO, Amount::ZERO);
        let mut position = Self { account, validator, record, delegation, paid, slashed, shares_before, now: block.time };
        position.answer(state);
        position.earn(state);
        Ok(position)
    }

    /// What its shares are worth.
    pub(super) fn worth(&self) -> Amount {
        self.record.worth(self.delegation.shares)
    }

    /// Buys shares for at most `amount`; what they cost.
    pub(super) fn join(&mut self, params: &Params, amount: Amount) -> Result<Amount, Refusal> {
        if amount == Amount::ZERO {
            return Err(Refusal::BadAmount);
        }
        if let ValidatorStatus::Tombstoned { .. } = self.record.status {
            return Err(Error::Tombstoned.into());
        }
        // A validator without stake begins, or begins again, with its operator's.
        if self.record.shares == 0 {
            let needed = params.stake.min_self_stake;
            if self.account != self.record.operator {
                return Err(Error::NotOperator.into());
            }
            if amount < needed {
                return Err(Error::SelfStakeTooLow { found: amount, needed }.into());
            }
        }
        let bought = self.record.bought(amount).ok_or(Error::NoShare)?;
        let cost = self.record.cost(bought);
        self.record.shares += bought;
        self.record.bonded = self.record.bonded.checked_add(cost).ok_or(Refusal::BadAmount)?;
        self.delegation.shares += bought;
        Ok(cost)
    }

    /// Takes `amount` out: as many shares as that needs, and what these are worth. Shares that would be left and
    /// be worth nothing go with them.
    pub(super) fn leave(&mut self, amount: Amount) -> Result<Taken, Refusal> {
        if amount == Amount::ZERO {
            return Err(Refusal::BadAmount);
        }
        let found = self.worth();
        if found < amount {
            return Err(Error::StakeTooLow { found, needed: amount }.into());
        }
        let all = self.delegation.shares;
        let mut sold = self.record.price(amount).min(all);
        if self.record.worth(all - sold) == Amount::ZERO {
            sold = all;
        }
        let moved = self.take_moved(all - sold);
        let moved = moved.into_iter().map(|moved| Moved { part: self.record.cost(moved.part).0, ..moved }).collect();
        let amount = self.record.worth(sold);
        self.give_up(sold, amount);
        Ok(Taken { amount, moved })
    }

    /// Remembers that the last `part` shares came from another validator.
    pub(super) fn came_from(&mut self, from: &Address, since: Height, until: Millis, part: u64) -> Result<(), Error> {
        let full = |_| Error::TooManyRedelegations { bound: MAX_MOVED };
        self.delegation.moved.push(Moved { from: *from, since, until, part }).map_err(full)
    }

    /// Writes what it has become.
    pub(super) fn close(mut self, state: &mut State<'_>) -> Result<(), Error> {
        let stood = validator::read(state, &self.validator).is_some_and(|record| record.stands());
        if self.record.shares == 0 {
            // What rounding left over, of rewards that nobody is there to claim.
            let dust = std::mem::take(&mut self.record.earned.unclaimed);
            pool::shift(state, pool::REWARDS, pool::FEES, dust);
            registry::remove(state, &self.validator);
        } else if self.record.stands() && !stood {
            registry::add(state, &self.record, self.now)?;
        }
        delegation::write(state, &self.account, &self.validator, &self.delegation)?;
        validator::write(state, &self.record);
        if self.shares_before != self.delegation.shares {
            governance::shares_moved(state, &self.account, &self.validator, self.shares_before, self.delegation.shares);
        }
        Ok(())
    }

    /// Burns what its shares owe for validators that they came from and that were punished since.
    fn answer(&mut self, state: &mut State<'_>) {
        let mut owed = 0;
        let mut open = Vec::new();
        for moved in std::mem::take(&mut self.delegation.moved).into_vec() {
            match slashing::condemned(state, &moved.from, moved.since, moved.until) {
                Some(slash_bps) => owed += shares::part(moved.part, slash_bps),
                None if self.now <= moved.until => open.push(moved),
                None => {}
            }
        }
        self.delegation.moved = open.try_into().expect("no more than there were");
        if owed > 0 {
            self.forfeit(state, owed);
            // Rounded up; but shares that stay keep a token, so that they stay a part of something.
            let most = self.record.bonded.0 - u64::from(self.record.shares > owed);
            self.slashed = Amount(self.record.cost(owed).0.min(most));
            self.give_up(owed, self.slashed);
            pool::burn(state, self.slashed);
        }
    }

    /// Gives back what shares have earned that are about to be burned: they should not have been there to earn it.
    fn forfeit(&mut self, state: &mut State<'_>, condemned: u64) {
        let kept = rewards::owed(&self.record.earned, &self.delegation, self.delegation.shares - condemned);
        let all = rewards::owed(&self.record.earned, &self.delegation, self.delegation.shares);
        let lost = Amount(all.0 - kept.0);
        self.record.earned.claim(lost);
        pool::shift(state, pool::REWARDS, pool::FEES, lost);
    }

    /// Pays what its shares have earned.
    fn earn(&mut self, state: &mut State<'_>) {
        self.paid = rewards::owed(&self.record.earned, &self.delegation, self.delegation.shares);
        self.delegation.mark = self.record.earned.per_share;
        if self.paid > Amount::ZERO {
            self.record.earned.claim(self.paid);
            pool::draw(state, pool::REWARDS, self.paid);
            account::credit(state, &self.account, self.paid);
        }
    }

    /// Gives up shares, and tokens for them.
    fn give_up(&mut self, shares: u64, tokens: Amount) {
        self.delegation.shares -= shares;
        self.record.shares -= shares;
        self.record.bonded = Amount(self.record.bonded.0 - tokens.0);
    }

    /// Takes out what of the moved shares does not fit into the `left` that stay, the oldest first.
    fn take_moved(&mut self, left: u64) -> Vec<Moved> {
        let mut over = self.delegation.moved.iter().map(|moved| moved.part).sum::<u64>().saturating_sub(left);
        let mut taken = Vec::new();
        for moved in self.delegation.moved.iter_mut() {
            let part = moved.part.min(over);
            (moved.part, over) = (moved.part - part, over - part);
            taken.push(Moved { part, ..*moved });
        }
        self.delegation.moved.retain(|moved| moved.part > 0);
        taken.retain(|moved| moved.part > 0);
        taken
    }
}
