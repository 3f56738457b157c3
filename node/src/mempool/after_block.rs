//! What a block makes of what waits.

use std::collections::BTreeSet;

use ledger::block::Block;
use ledger::state::key;
use ledger::{Changes, State, View, account};
use types::{Address, Height};

use super::purses::{self, is_account, is_allowance};
use super::queue::Ready;
use super::rank::Place;
use super::{Mempool, effect};
use crate::tx::Tx;

impl Mempool {
    /// After a block, which `changed` this of the state, and before the block that comes next: drops what
    /// was included and what has become impossible. What became ready since is handed back.
    ///
    /// Where a purse does not hold out any longer, the lowest ranks of those who take from it go, until it
    /// does. What follows a dropped transaction in its queue is held.
    pub fn after_block(&mut self, view: &dyn View, block: Block<'_>, changed: &Changes) -> Vec<Tx> {
        let touched = self.touched_by(changed);
        let mut surprised = Vec::new();
        for author in &touched {
            let next = account::read(&State::new(view), author).sequence;
            let expected = self.shelf.forget_used(author, next);
            if !self.turned_out(author, &expected, changed) {
                surprised.push(*author);
            }
        }
        let dated = self.end(view, block.height);
        let changed_purses = changed.keys().filter(|at| is_account(at) || is_allowance(at)).cloned();
        for purse in dated.into_iter().chain(changed_purses).collect::<BTreeSet<_>>() {
            self.settle(view, &purse, block.height);
        }
        for author in surprised {
            let all = self.shelf.cut((author, 0));
            self.again(view, block, all);
        }
        let promoted = touched.iter().flat_map(|author| self.promote(view, block, *author)).collect();
        self.are_ready(view, block.height, promoted)
    }

    /// Whose transactions may mean something else now.
    fn touched_by(&self, changed: &Changes) -> BTreeSet<Address> {
        if changed.contains_key(key::PARAMS) {
            return self.shelf.queues.keys().copied().collect();
        }
        let owners = changed.keys().filter_map(|at| purses::owner(at)).filter(|owner| self.shelf.queues.contains_key(owner));
        owners.chain(changed.keys().flat_map(|at| self.shelf.readers(at))).collect()
    }

    /// Whether all that the author's ready transactions depend on is as expected.
    fn turned_out(&self, author: &Address, expected: &Changes, changed: &Changes) -> bool {
        let Some(queue) = self.shelf.queues.get(author) else { return true };
        let mut reads = queue.ready.values().flat_map(|ready| &ready.effect.reads);
        !changed.contains_key(key::PARAMS)
            && expected.iter().all(|(at, value)| changed.get(at) == Some(value))
            && reads.all(|at| expected.contains_key(at) || !changed.contains_key(at))
    }

    /// Drops what came to its end before this height; the allowances that may have come to theirs.
    fn end(&mut self, view: &dyn View, height: Height) -> BTreeSet<Vec<u8>> {
        let (ready, held): (Vec<Place>, Vec<Place>) =
            self.shelf.ended(height).into_iter().partition(|place| self.shelf.ready(*place).is_some());
        held.into_iter().for_each(|place| self.shelf.forget(place));
        let mut dated = BTreeSet::new();
        for place in ready {
            // What followed one that was dropped is not ready any longer.
            let Some(Ready { waiting, effect, .. }) = self.shelf.ready(place) else { continue };
            if waiting.verified.transaction().valid_until < height {
                self.drop_from(place, height);
                continue;
            }
            dated.extend(effect.takes.keys().filter(|at| is_allowance(at)).cloned());
            dated.extend(effect.allows.iter().map(|(at, _)| at.clone()));
            let until = effect::until(view, &self.shelf.purses, effect, &waiting.verified);
            self.shelf.look_again(place, until);
        }
        dated
    }
}
