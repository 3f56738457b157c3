//! Which transactions have passed between this node and its neighbours, and when one that still waits
//! is offered again: rarely, and not by everybody.

use std::collections::HashMap;

use types::Hash;

/// A transaction rests for this many windows at most before it is offered again.
const LONGEST_REST: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// A copy came in or went out in the window `last`; it then rests for this many.
    Passed { last: u64, rest: u64 },
    /// It came before its author's earlier ones and was not passed on.
    Held,
    /// Since this window it is known that it waits: it, or what came of it, may be on its way.
    Waits { since: u64 },
}

/// How a transaction that became ready is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// As a new one.
    New,
    /// As one that is offered again: its first message has been here, and was not passed on.
    Again,
    /// Not at all: it went out meanwhile, or came in offered again.
    Never,
}

/// What this node remembers of transactions, by windows of time.
#[derive(Debug, Default)]
pub(super) struct Offers {
    known: HashMap<Hash, Known>,
}

impl Offers {
    /// A copy comes in or goes out. After each window in which one does, the transaction rests twice as
    /// long.
    pub(super) fn passes(&mut self, transaction: Hash, window: u64) {
        let rest = match self.known.get(&transaction) {
            Some(Known::Passed { last, rest }) if *last == window => *rest,
            Some(Known::Passed { rest, .. }) => LONGEST_REST.min(rest * 2),
            Some(Known::Held | Known::Waits { .. }) | None => 1,
        };
        self.known.insert(transaction, Known::Passed { last: window, rest });
    }

    /// A copy came in among others: that is another message each time, and must not lengthen its rest.
    pub(super) fn came(&mut self, transaction: Hash, window: u64) {
        if !matches!(self.known.get(&transaction), Some(Known::Passed { .. })) {
            self.passes(transaction, window);
        }
    }

    /// It is held, so it did not pass.
    pub(super) fn is_held(&mut self, transaction: Hash) {
        self.known.insert(transaction, Known::Held);
    }

    /// It became ready.
    pub(super) fn first(&self, transaction: &Hash) -> First {
        match self.known.get(transaction) {
            Some(Known::Waits { .. }) | None => First::New,
            Some(Known::Held) => First::Again,
            Some(Known::Passed { .. }) => First::Never,
        }
    }

    /// Whether one that waits has rested long enough: what nothing is known of rests as well.
    pub(super) fn is_due(&mut self, transaction: &Hash, window: u64) -> bool {
        match self.known.entry(*transaction).or_insert(Known::Waits { since: window }) {
            Known::Passed { last, rest } => window >= *last + *rest,
            Known::Held => true,
            Known::Waits { since } => window > *since,
        }
    }

    /// A neighbour came that may lack all of them: they rest for one window only.
    pub(super) fn somebody_came(&mut self) {
        for known in self.known.values_mut() {
            if let Known::Passed { rest, .. } = known {
                *rest = 1;
            }
        }
    }

    /// Forgets what no longer waits. Only of what waits something was remembered, so that does not grow beyond the mempool.
    pub(super) fn forget(&mut self, mut waits: impl FnMut(&Hash) -> bool) {
        self.known.retain(|transaction, _| waits(transaction));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        Hash::sha256(&[&number.to_be_bytes()])
    }

    /// The windows from the first on in which it would be offered, if it is whenever it is due.
    fn offered(offers: &mut Offers, windows: std::ops::Range<u64>) -> Vec<u64> {
        let offer = |window: &u64| {
            let due = offers.is_due(&hash(1), *window);
            if due {
                offers.passes(hash(1), *window);
            }
            due
        };
        windows.filter(offer).collect()
    }

    #[test]
    fn it_rests_twice_as_long_each_time() {
        let mut offers = Offers::default();
        offers.is_held(hash(1));
        assert_eq!(offered(&mut offers, 100..330), [100, 101, 103, 107, 115, 131, 163, 227, 291]);
        offers.somebody_came();
        assert_eq!(offered(&mut offers, 330..340), [330, 332, 336], "after somebody came");
    }

    #[test]
    fn what_somebody_else_offered_rests() {
        let mut offers = Offers::default();
        offers.passes(hash(1), 100);
        offers.passes(hash(1), 100);
        assert!(!offers.is_due(&hash(1), 100) && offers.is_due(&hash(1), 101), "two copies in one window count once");
        offers.passes(hash(1), 101);
        assert!(!offers.is_due(&hash(1), 102) && offers.is_due(&hash(1), 103));
    }

    #[test]
    fn what_passed_is_not_offered_as_new() {
        let mut offers = Offers::default();
        assert_eq!(offers.first(&hash(1)), First::New);
        offers.passes(hash(1), 100);
        assert_eq!(offers.first(&hash(1)), First::Never);
        offers.is_held(hash(1));
        assert_eq!((offers.first(&hash(1)), offers.is_due(&hash(1), 100)), (First::Again, true));
        offers.passes(hash(1), 100);
        assert_eq!((offers.first(&hash(1)), offers.is_due(&hash(1), 100)), (First::Never, false));
    }

    #[test]
    fn what_nothing_is_known_of_rests_until_the_next_window() {
        let mut offers = Offers::default();
        assert!(!offers.is_due(&hash(1), 100) && !offers.is_due(&hash(1), 100) && offers.is_due(&hash(1), 101));
        assert_eq!(offers.first(&hash(1)), First::New, "and yet it is offered first where it became ready");
        offers.came(hash(1), 101);
        assert_eq!((offers.first(&hash(1)), offers.is_due(&hash(1), 101)), (First::Never, false));
        offers.came(hash(1), 102);
        assert!(offers.is_due(&hash(1), 102), "with others, each time in another message: its rest is what it was");
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut offers = Offers::default();
        for number in 0..4 {
            offers.passes(hash(number), 100 + number);
        }
        offers.is_held(hash(2));
        offers.is_held(hash(3));
        offers.forget(|transaction| [hash(0), hash(2)].contains(transaction));
        let left: Vec<bool> = (0..4).map(|number| offers.known.contains_key(&hash(number))).collect();
        assert_eq!(left, [true, false, true, false], "it waits; it does not; it is held; it is not");
    }
}
