//! Stake on its way back: one queue, in the order of completion.
//!
//! What waits here still answers for what its validator did while the stake was there. The answer is worked out
//! when the waiting is over, from the validator's record: a slash need not find and rewrite what waits.

use tendermint::abci::Event;
use types::{Address, Amount, Height, List, Millis};

use super::delegation::{MAX_MOVED, Moved};
use super::error::Error;
use super::position::Taken;
use super::{shares, slashing};
use crate::block::{Block, event};
use crate::params::Params;
use crate::state::{State, key};
use crate::{account, pool};

/// An account waits for this many unbondings at most.
pub const MAX_UNBONDINGS: usize = 32;

/// This many complete in one block at most; the others do in the next ones.
pub const MAX_COMPLETIONS: u64 = 64;

/// Stake that was taken back and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbonding {
    /// Who gets it.
    pub account: Address,
    /// The validator that it left.
    pub validator: Address,
    /// How much it was when it left.
    pub amount: Amount,
    /// The height at which it left.
    pub since: Height,
    /// When the waiting is over.
    pub completes: Millis,
    /// What of it answers for validators that it was at before, in tokens.
    pub moved: List<Moved, MAX_MOVED>,
}
types::codec!(Unbonding { account, validator, amount, since, completes, moved });

/// The ends of the queue: what waits has the numbers from `head` to below `tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// The number of what completes next.
    pub head: u64,
    /// The number of what is queued next.
    pub tail: u64,
    /// When the last one that was queued completes.
    pub last: Millis,
}
types::codec!(Queue { head, tail, last });

/// The numbers of an account's unbondings.
pub type Numbers = List<u64, MAX_UNBONDINGS>;

/// What an account waits for, at most [`MAX_UNBONDINGS`], the next to complete first.
#[must_use]
pub fn of(state: &State<'_>, account: &Address) -> Vec<Unbonding> {
    let numbers: Numbers = state.read(&key::unbondings(account)).unwrap_or_default();
    numbers.iter().filter_map(|number| state.read(&key::unbonding(*number))).collect()
}

pub(super) fn begin(state: &mut State<'_>) {
    state.write(key::UNBONDING_QUEUE.to_vec(), &Queue::default());
}

/// Queues what left a validator. It completes no earlier than what was queued before, should the period
/// have become shorter, so that the queue's head is always the next.
pub(super) fn enqueue(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    (account, validator): (&Address, &Address),
    taken: Taken,
) -> Result<(), Error> {
    let mut queue = queue(state);
    let earliest = if queue.head == queue.tail { Millis(0) } else { queue.last };
    let completes = Millis(block.time.0.saturating_add(params.stake.unbonding_ms)).max(earliest);
    let mut numbers: Numbers = state.read(&key::unbondings(account)).unwrap_or_default();
    numbers.push(queue.tail).map_err(|_| Error::TooManyUnbondings { bound: MAX_UNBONDINGS })?;
    state.write(key::unbondings(account), &numbers);
    let moved = taken.moved.try_into().expect("no more than the delegation had");
    let (account, validator, amount, since) = (*account, *validator, taken.amount, block.height);
    state.write(key::unbonding(queue.tail), &Unbonding { account, validator, amount, since, completes, moved });
    pool::fill(state, pool::UNBONDING, amount);
    queue = Queue { tail: queue.tail + 1, last: completes, ..queue };
    state.write(key::UNBONDING_QUEUE.to_vec(), &queue);
    Ok(())
}

/// Completes what has waited long enough, at most [`MAX_COMPLETIONS`].
pub(super) fn complete(state: &mut State<'_>, block: Block<'_>) -> Vec<Event> {
    let Queue { head, tail, last } = queue(state);
    let mut events = Vec::new();
    let mut next = head;
    while next < tail.min(head + MAX_COMPLETIONS) {
        let unbonding: Unbonding = state.read(&key::unbonding(next)).expect("what is queued is there");
        if block.time < unbonding.completes {
            break;
        }
        events.push(pay(state, next, &unbonding));
        next += 1;
    }
    if next > head {
        state.write(key::UNBONDING_QUEUE.to_vec(), &Queue { head: next, tail, last });
    }
    events
}

fn queue(state: &State<'_>) -> Queue {
    state.read(key::UNBONDING_QUEUE).expect("the genesis writes the queue")
}

fn pay(state: &mut State<'_>, number: u64, unbonding: &Unbonding) -> Event {
    let Unbonding { account, validator, amount, .. } = unbonding;
    let paid = answered(state, unbonding);
    let slashed = Amount(amount.0 - paid.0);
    pool::draw(state, pool::UNBONDING, *amount);
    pool::burn(state, slashed);
    account::credit(state, account, paid);
    state.remove(key::unbonding(number));
    let mut numbers: Numbers = state.read(&key::unbondings(account)).unwrap_or_default();
    numbers.retain(|other| *other != number);
    if numbers.is_empty() {
        state.remove(key::unbondings(account));
    } else {
        state.write(key::unbondings(account), &numbers);
    }
    event(
        "complete_unbonding",
        [
            ("validator", validator.to_string()),
            ("delegator", account.to_string()),
            ("amount", paid.0.to_string()),
            ("slashed", slashed.0.to_string()),
        ],
    )
}

/// What is left when every validator that this stake was at has taken it along into its punishment: first
/// the parts that came from elsewhere, then all that is left for the validator that it left last.
fn answered(state: &State<'_>, unbonding: &Unbonding) -> Amount {
    let mut left = unbonding.amount.0;
    for moved in unbonding.moved.iter() {
        if let Some(slash_bps) = slashing::condemned(state, &moved.from, moved.since, moved.until) {
            left = left.saturating_sub(shares::part(moved.part, slash_bps));
        }
    }
    if let Some(slash_bps) = slashing::condemned(state, &unbonding.validator, unbonding.since, unbonding.completes) {
        left -= shares::part(left, slash_bps);
    }
    Amount(left)
}
