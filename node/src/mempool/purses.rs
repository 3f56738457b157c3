//! What waiting transactions take from accounts and from allowances: nothing is promised twice.
//!
//! A purse is the state's entry of an account or of an allowance, by its key. What comes in is counted
//! when a block has it, not before: so the purses hold out in whatever order the waiting ones are
//! included.

use std::collections::{BTreeMap, BTreeSet};

use ledger::View;
use ledger::account::{Account, Allowance};
use types::{Address, Amount, Decode, Height};

use super::rank::{Place, Rank};

/// Whether this is the key of an account.
pub(super) fn is_account(key: &[u8]) -> bool {
    key.starts_with(b"account/")
}

/// Whose account this is the key of.
pub(super) fn owner(key: &[u8]) -> Option<Address> {
    std::str::from_utf8(key).ok()?.strip_prefix("account/")?.parse().ok()
}

/// Whether this is the key of an allowance.
pub(super) fn is_allowance(key: &[u8]) -> bool {
    key.starts_with(b"allowance/")
}

/// Reads a stored entry.
pub(super) fn read<T: Decode>(view: &dyn View, key: &[u8]) -> Option<T> {
    view.get(key).map(|bytes| decode(&bytes))
}

/// The entry that these bytes are.
///
/// # Panics
/// If they are none: the database is not ours.
pub(super) fn decode<T: Decode>(bytes: &[u8]) -> T {
    T::from_bytes(bytes).expect("the state holds what the ledger wrote")
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Purse {
    promised: u64,
    takers: BTreeSet<Rank>,
    /// What waiting transactions of its sponsor would make of an allowance.
    caps: BTreeMap<Place, Allowance>,
}

/// All purses that something waiting takes from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Purses(BTreeMap<Vec<u8>, Purse>);

impl Purses {
    pub(super) fn promise(&mut self, key: &[u8], amount: Amount, taker: Rank) {
        let purse = self.0.entry(key.to_vec()).or_default();
        purse.promised = purse.promised.saturating_add(amount.0);
        purse.takers.insert(taker);
    }

    pub(super) fn release(&mut self, key: &[u8], amount: Amount, taker: &Rank) {
        self.change(key, |purse| {
            purse.promised = purse.promised.saturating_sub(amount.0);
            purse.takers.remove(taker);
        });
    }

    pub(super) fn cap(&mut self, key: &[u8], by: Place, allowance: Allowance) {
        self.0.entry(key.to_vec()).or_default().caps.insert(by, allowance);
    }

    pub(super) fn uncap(&mut self, key: &[u8], by: &Place) {
        self.change(key, |purse| {
            purse.caps.remove(by);
        });
    }

    /// An account without what is promised out of it.
    pub(super) fn account(&self, view: &dyn View, key: &[u8]) -> Option<Account> {
        let account: Account = read(view, key)?;
        Some(Account { balance: Amount(account.balance.0.saturating_sub(self.promised(key))), ..account })
    }

    /// An allowance without what is promised out of it, and no larger than its sponsor's waiting
    /// transactions will make it.
    pub(super) fn allowance(&self, view: &dyn View, key: &[u8]) -> Option<Allowance> {
        let Allowance { remaining, expires } = self.capped(view, key)?;
        let remaining = remaining.0.checked_sub(self.promised(key)).filter(|left| *left > 0)?;
        Some(Allowance { remaining: Amount(remaining), expires })
    }

    /// The last height at which an allowance may be spent, by what is stored and what waits.
    pub(super) fn expires(&self, view: &dyn View, key: &[u8]) -> Option<Height> {
        self.capped(view, key).map(|allowance| allowance.expires)
    }

    /// Who goes first if the purse does not hold what is promised: the worst of those who take from it.
    pub(super) fn too_much(&self, view: &dyn View, key: &[u8], height: Height) -> Option<Rank> {
        let purse = self.0.get(key)?;
        let short = if is_account(key) {
            purse.promised > read::<Account>(view, key).unwrap_or_default().balance.0
        } else {
            // A spent or expired allowance does not even cover a fee of nothing.
            let holds = self.capped(view, key).filter(|allowance| height <= allowance.expires);
            holds.is_none_or(|allowance| allowance.remaining == Amount::ZERO || purse.promised > allowance.remaining.0)
        };
        purse.takers.first().filter(|_| short).copied()
    }

    fn promised(&self, key: &[u8]) -> u64 {
        self.0.get(key).map_or(0, |purse| purse.promised)
    }

    fn capped(&self, view: &dyn View, key: &[u8]) -> Option<Allowance> {
        let stored: Allowance = read(view, key)?;
        let caps = self.0.get(key).into_iter().flat_map(|purse| purse.caps.values());
        Some(caps.fold(stored, |least, cap| Allowance {
            remaining: least.remaining.min(cap.remaining),
            expires: least.expires.min(cap.expires),
        }))
    }

    fn change(&mut self, key: &[u8], change: impl FnOnce(&mut Purse)) {
        if let Some(purse) = self.0.get_mut(key) {
            change(purse);
            if *purse == Purse::default() {
                self.0.remove(key);
            }
        }
    }
}
