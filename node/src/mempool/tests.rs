//! What waits, over the state of a genesis in memory.

use std::collections::BTreeMap;

use types::{Amount, ChainId, Encode as _, Height, Millis};

use super::*;
use crate::testing::{self, RICH, key};

/// A mempool over a state, before a height.
struct World {
    chain: ChainId,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    height: u64,
    mempool: Mempool,
}

/// A transfer by the account of a seed: its sequence, its amount, its last height.
#[derive(Clone, Copy)]
struct Transfer {
    author: u8,
    sequence: u64,
    amount: u64,
    valid_until: u64,
}

/// A transfer of the rich one.
const fn transfer(sequence: u64) -> Transfer {
    Transfer { author: RICH, sequence, amount: 5, valid_until: 1_000 }
}

/// Something whose every change shows: what waits in order, how many, and how many bytes.
type Seen = (Vec<Bytes>, usize, usize, BTreeMap<Address, usize>, Changes);

impl World {
    fn new(bounds: Bounds) -> Self {
        let genesis = testing::genesis();
        let mut world = Self { chain: genesis.chain().clone(), state: BTreeMap::new(), height: 1, mempool: Mempool::new(bounds) };
        world.apply(genesis.app_state().build().expect("a genesis state"));
        world
    }

    fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }

    fn bytes(&self, what: Transfer) -> Bytes {
        let Transfer { author, sequence, amount, valid_until } = what;
        let body = ledger::Body::Transfer {
            to: key(10).public().address(),
            amount: Amount(amount),
            memo: String::new().try_into().expect("short"),
        };
        let params = ledger::Params::default();
        let terms = rpc::submit::Terms { chain: self.chain.clone(), sequence, valid_until: Height(valid_until), params };
        terms.sign(&key(author), rpc::FeePayer::Author, body).to_bytes().into()
    }

    fn take(&mut self, what: Transfer) -> Result<(), NotTaken> {
        let bytes = self.bytes(what);
        let verified = block::verify(&bytes).expect("a transaction that is signed");
        let next = Block { chain: &self.chain, height: Height(self.height), time: Millis::default() };
        self.mempool.take(&self.state, next, bytes, verified).map(drop)
    }

    /// A block with these transactions, whether they waited here or not.
    fn include(&mut self, included: &[Transfer]) {
        let included: Vec<Bytes> = included.iter().map(|what| self.bytes(*what)).collect();
        let block = Block { chain: &self.chain, height: Height(self.height), time: Millis::default() };
        let outcome = block::execute(&self.state, block, included.iter().map(|bytes| block::verify(bytes))).expect("a block in order");
        self.apply(outcome.changes);
        self.height += 1;
        let next = Block { chain: &self.chain, height: Height(self.height), time: Millis::default() };
        let included = included.iter().map(|bytes| Hash::sha256(&[bytes])).collect();
        self.mempool.after_block(&self.state, next, &included);
    }

    fn seen(&self) -> Seen {
        let Mempool { bytes, per_author, changes, .. } = &self.mempool;
        (self.mempool.best(usize::MAX), self.mempool.len(), *bytes, per_author.clone(), changes.clone())
    }

    /// What waits is this, in this order.
    fn expect(&self, story: &str, waiting: &[Transfer]) {
        let expected: Vec<Bytes> = waiting.iter().map(|what| self.bytes(*what)).collect();
        assert_eq!(self.mempool.best(usize::MAX), expected, "{story}");
        assert_eq!((self.mempool.len(), self.mempool.is_empty()), (expected.len(), expected.is_empty()), "{story}");
        assert_eq!(self.mempool.bytes, expected.iter().map(Bytes::len).sum::<usize>(), "{story}");
        assert_eq!(self.mempool.per_author.values().sum::<usize>(), expected.len(), "{story}");
        assert!(expected.iter().all(|bytes| self.mempool.verified(&Hash::sha256(&[bytes])).is_some()), "{story}");
    }
}

const WIDE: Bounds = Bounds { count: 100, bytes: 1 << 20, per_author: 100 };

#[test]
fn consecutive_sequences_wait_in_the_order_in_which_they_came() {
    let mut world = World::new(WIDE);
    let all: Vec<Transfer> = (0..10).map(transfer).collect();
    for what in &all {
        assert_eq!(world.take(*what), Ok(()));
    }
    world.expect("ten", &all);
}

#[test]
fn what_is_refused_changes_nothing() {
    let size = World::new(WIDE).bytes(transfer(0)).len();
    let check = |story: &str, bounds: Bounds, what: Transfer, expected: NotTaken| {
        let mut world = World::new(bounds);
        for sequence in 0..3 {
            assert_eq!(world.take(transfer(sequence)), Ok(()), "{story}");
        }
        let before = world.seen();
        let (code, codespace) = (expected.code(), expected.codespace());
        let refused = world.take(what).expect_err(story);
        assert_eq!((refused.code(), refused.codespace()), (code, codespace), "{story}");
        assert_eq!(refused, expected, "{story}");
        assert_eq!(world.seen(), before, "{story}");
    };
    let next = transfer(3);
    check("it waits", WIDE, transfer(1), NotTaken::Waiting);
    check("full by count", Bounds { count: 3, ..WIDE }, next, NotTaken::Full);
    check("full by bytes", Bounds { bytes: 4 * size - 1, ..WIDE }, next, NotTaken::Full);
    check("too many of one author", Bounds { per_author: 3, ..WIDE }, next, NotTaken::TooMany { bound: 3 });
    check("a gap", WIDE, transfer(4), Refusal::FutureSequence { found: 4, expected: 3 }.into());
    check(
        "another with a used sequence",
        WIDE,
        Transfer { amount: 6, ..transfer(2) },
        Refusal::StaleSequence { found: 2, expected: 3 }.into(),
    );
    let late = Refusal::Expired { valid_until: Height(0), height: Height(1) };
    check("too late", WIDE, Transfer { valid_until: 0, ..next }, late.into());
    check("nothing is moved", WIDE, Transfer { amount: 0, ..next }, Refusal::BadAmount.into());
}

#[test]
fn what_the_bounds_just_allow_is_taken() {
    let size = World::new(WIDE).bytes(transfer(0)).len();
    for bounds in [Bounds { count: 3, ..WIDE }, Bounds { bytes: 3 * size, ..WIDE }, Bounds { per_author: 3, ..WIDE }] {
        let mut world = World::new(bounds);
        let taken: Vec<_> = (0..4).map(|sequence| world.take(transfer(sequence)).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false], "{bounds:?}");
    }
}

#[test]
fn one_author_leaves_room_for_another() {
    let mut world = World::new(Bounds { per_author: 1, ..WIDE });
    // The rich one's transfer pays what the second one spends, before any block.
    let gift = Transfer { amount: Amount::ZYNK.0, ..transfer(0) };
    let by_other = Transfer { author: 10, ..transfer(0) };
    assert!(matches!(world.take(by_other), Err(NotTaken::Refused(Refusal::InsufficientFunds { .. }))));
    assert_eq!(world.take(gift), Ok(()));
    assert_eq!(world.take(transfer(1)), Err(NotTaken::TooMany { bound: 1 }));
    assert_eq!(world.take(by_other), Ok(()));
    world.expect("one of each", &[gift, by_other]);
}

#[test]
fn after_a_block_what_can_still_be_included_stays_in_order() {
    let check = |story: &str, waiting: &[Transfer], included: &[Transfer], left: &[Transfer]| {
        let mut world = World::new(WIDE);
        for what in waiting {
            assert_eq!(world.take(*what), Ok(()), "{story}");
        }
        world.include(included);
        world.expect(story, left);
    };
    let all = [transfer(0), transfer(1), transfer(2), transfer(3)];
    let other = Transfer { amount: 6, ..transfer(1) };
    let short = Transfer { valid_until: 1, ..transfer(2) };
    let gift = Transfer { amount: Amount::ZYNK.0, ..transfer(0) };
    let by_other = Transfer { author: 10, ..transfer(0) };
    check("an empty block", &all, &[], &all);
    check("the oldest are included", &all, &all[..2], &all[2..]);
    check("all are included", &all, &all, &[]);
    check("another one's block", &[], &all, &[]);
    check("a sequence went to another transaction", &all, &[transfer(0), other], &all[2..]);
    check("one expires, and leaves a gap before the last", &[all[0], all[1], short, all[3]], &[], &all[..2]);
    check("two authors", &[gift, transfer(1), by_other, transfer(2)], &[gift], &[transfer(1), by_other, transfer(2)]);
    check("the money went elsewhere", &[gift, by_other], &[transfer(0)], &[]);
}

#[test]
fn the_room_of_what_was_included_is_free_again() {
    let mut world = World::new(Bounds { count: 2, per_author: 2, ..WIDE });
    assert_eq!((world.take(transfer(0)), world.take(transfer(1))), (Ok(()), Ok(())));
    assert_eq!(world.take(transfer(2)), Err(NotTaken::Full));
    world.include(&[transfer(0)]);
    assert_eq!(world.take(transfer(2)), Ok(()));
    assert_eq!(world.take(transfer(3)), Err(NotTaken::Full));
    world.expect("the bounds have stayed", &[transfer(1), transfer(2)]);
    assert!(matches!(world.take(transfer(0)), Err(NotTaken::Full)), "a replay");
}

#[test]
fn the_oldest_come_first_and_never_more_than_fits() {
    let mut world = World::new(WIDE);
    let all: Vec<Bytes> = (0..3).map(|sequence| world.bytes(transfer(sequence))).collect();
    for sequence in 0..3 {
        assert_eq!(world.take(transfer(sequence)), Ok(()));
    }
    let framed: Vec<usize> = all.iter().map(|bytes| bytes.len() + 8).collect();
    let two = framed[0] + framed[1];
    for (room, expected) in [(0, 0), (framed[0] - 1, 0), (framed[0], 1), (two - 1, 1), (two, 2), (two + framed[2], 3), (usize::MAX, 3)] {
        assert_eq!(world.mempool.best(room), all[..expected], "room for {room} bytes");
    }
}
