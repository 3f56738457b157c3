//! What a transaction does when its turn comes, as far as what waits depends on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ledger::account::{self, Account, Allowance};
use ledger::block::{self, Block};
use ledger::state::key;
use ledger::{Body, Changes, Payer, Refusal, State, Verified, View};
use types::{Amount, Encode as _, Height};

use super::purses::{Purses, decode, is_account, is_allowance};

/// What one transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    /// What it takes at most from each purse.
    pub(super) takes: BTreeMap<Vec<u8>, Amount>,
    /// The entries that it reads, but for purses, parameters, and what [is shared](is_shared).
    pub(super) reads: BTreeSet<Vec<u8>>,
    /// What it makes of such entries.
    pub(super) writes: Changes,
    /// The allowance that it gives, and what this becomes.
    pub(super) allows: Option<(Vec<u8>, Allowance)>,
    /// The last height at which it can be charged, as things are.
    pub(super) until: Height,
}

/// Entries that nearly every transaction changes and on which no refusal depends: sums, and the log
/// of all anchors.
fn is_shared(key: &[u8]) -> bool {
    key.starts_with(b"pool/") || key == key::ANCHORS_HEAD || key == key::ANCHORS_FRONTIER
}

/// The state as the author's transaction will find it at the worst: after the author's own earlier
/// ones, and with all that waits taken from the purses.
struct Outlook<'a> {
    view: &'a dyn View,
    purses: &'a Purses,
    earlier: &'a Changes,
    author: Vec<u8>,
    sequence: u64,
    reads: RefCell<BTreeSet<Vec<u8>>>,
}

impl Outlook<'_> {
    fn account(&self, at: &[u8]) -> Option<Account> {
        let account = self.purses.account(self.view, at);
        if at == self.author { Some(Account { sequence: self.sequence, ..account.unwrap_or_default() }) } else { account }
    }
}

impl View for Outlook<'_> {
    fn get(&self, at: &[u8]) -> Option<Vec<u8>> {
        if is_account(at) {
            return self.account(at).map(|account| account.to_bytes());
        }
        if is_allowance(at) {
            return self.purses.allowance(self.view, at).map(|allowance| allowance.to_bytes());
        }
        if at != key::PARAMS && !is_shared(at) {
            self.reads.borrow_mut().insert(at.to_vec());
        }
        self.earlier.get(at).map_or_else(|| self.view.get(at), Clone::clone)
    }
}

fn outlook<'a>(view: &'a dyn View, purses: &'a Purses, earlier: &'a Changes, verified: &Verified) -> Outlook<'a> {
    let transaction = verified.transaction();
    let (author, sequence) = (key::account(verified.author()), transaction.sequence);
    Outlook { view, purses, earlier, author, sequence, reads: RefCell::default() }
}

/// What a transaction does if its sequence is its author's next, after what `earlier` ones of the same
/// author have changed.
///
/// # Errors
/// The ledger's refusal.
pub(super) fn of(view: &dyn View, purses: &Purses, earlier: &Changes, block: Block<'_>, verified: &Verified) -> Result<Effect, Refusal> {
    let outlook = outlook(view, purses, earlier, verified);
    let mut state = State::new(&outlook);
    block::check(&mut state, block, verified)?;
    let (writes, _) = state.finish();
    let mut takes = BTreeMap::new();
    for (at, value) in writes.iter().filter(|(at, _)| is_account(at)) {
        let before = outlook.account(at).unwrap_or_default().balance;
        let after = value.as_ref().map_or_else(Account::default, |value| decode(value)).balance;
        if let Some(less) = before.checked_sub(after).filter(|less| *less > Amount::ZERO) {
            takes.insert(at.clone(), less);
        }
    }
    let transaction = verified.transaction();
    let mut until = transaction.valid_until;
    let payer = match &transaction.payer {
        Payer::Author => outlook.author.clone(),
        Payer::Cosigner(payer) => key::account(&payer.address()),
        Payer::Allowance(sponsor) => {
            let allowance = key::allowance(sponsor, verified.author());
            until = until.min(purses.expires(view, &allowance).unwrap_or(until));
            takes.insert(allowance, transaction.fee);
            key::account(sponsor)
        }
    };
    // A body may give the payer more than the fee, and then fail: the fee is taken all the same.
    let fee = takes.entry(payer).or_default();
    *fee = transaction.fee.max(*fee);
    let allows = match &transaction.body {
        Body::Allow { beneficiary, limit, expires } => {
            until = until.min(*expires);
            let allowance = Allowance { remaining: *limit, expires: *expires };
            Some((key::allowance(verified.author(), beneficiary), allowance))
        }
        _ => None,
    };
    let writes = writes.into_iter().filter(|(at, _)| !is_account(at) && !is_allowance(at) && !is_shared(at)).collect();
    Ok(Effect { takes, reads: outlook.reads.take(), writes, allows, until })
}

/// Whether a transaction whose turn has not come could be charged if it had.
///
/// # Errors
/// The ledger's refusal.
pub(super) fn could_be_charged(view: &dyn View, purses: &Purses, block: Block<'_>, verified: &Verified) -> Result<(), Refusal> {
    let earlier = Changes::new();
    let outlook = outlook(view, purses, &earlier, verified);
    let mut state = State::new(&outlook);
    let params = block::params(&state);
    account::charge(&mut state, &params, verified, block.height)
}

/// The last height at which a waiting transaction can be charged, by what is stored now.
pub(super) fn until(view: &dyn View, purses: &Purses, effect: &Effect, verified: &Verified) -> Height {
    let drawn = effect.takes.keys().filter(|at| is_allowance(at)).filter_map(|at| purses.expires(view, at));
    drawn.fold(verified.transaction().valid_until, Height::min)
}
