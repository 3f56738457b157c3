//! What waits, over a small state in memory.

mod model;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ledger::account::Account;
use ledger::block;
use ledger::state::key as at;
use ledger::{Body, Params, Payer, Transaction};
use types::{ChainId, Encode as _, Hash, Millis, SigningKey};

use super::*;
use crate::testing::key;

/// The seeds of those who own something.
const OWNERS: [u8; 6] = [20, 21, 22, 23, 24, 25];
/// What each of them owns.
const OWNED: u64 = 1_000_000_000;
/// One that owns nothing.
const POOR: u8 = 40;
/// What a transaction pays if its story does not say otherwise.
const FEE: u64 = 10_000;

const WIDE: Bounds = Bounds { count: 100, bytes: 1 << 20, per_author: 100, held: 50, held_per_author: 20 };

/// A transaction of the account of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    author: u8,
    sequence: u64,
    fee: u64,
    payer: By,
    does: Does,
    valid_until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Author,
    Cosigner(u8),
    Allowance(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Transfer { to: u8, amount: u64 },
    Allow { beneficiary: u8, limit: u64, expires: u64 },
    Register,
    Rotate,
    Retire,
}

/// A transfer of 5.
const fn transfer(author: u8, sequence: u64) -> Wish {
    Wish { author, sequence, fee: FEE, payer: By::Author, does: Does::Transfer { to: 10, amount: 5 }, valid_until: 1_000 }
}

/// All of these, one after the other.
fn transfers(author: u8, sequences: std::ops::Range<u64>) -> Vec<Wish> {
    sequences.map(|sequence| transfer(author, sequence)).collect()
}

/// A mempool over a state, before a height.
struct World {
    chain: ChainId,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    height: u64,
    mempool: Mempool,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let chain = "zynk-test-1".parse().expect("a chain id");
        let mut world = Self { chain, state: BTreeMap::new(), height: 1, mempool: Mempool::new(bounds) };
        world.state.insert(at::PARAMS.to_vec(), Params::default().to_bytes());
        for owner in OWNERS {
            world.own(owner, OWNED);
        }
        world
    }

    /// Lets an account own this much, whatever it had.
    fn own(&mut self, owner: u8, balance: u64) {
        let account = Account { balance: Amount(balance), ..self.account(owner) };
        self.state.insert(account_key(owner), account.to_bytes());
    }

    fn account(&self, owner: u8) -> Account {
        account::read(&State::new(&self.state), &address(owner))
    }

    fn verified(&self, wish: Wish) -> (Bytes, Verified) {
        let Wish { author, sequence, fee, payer, does, valid_until } = wish;
        let log = audit::LogId::derive(&self.chain, &address(author), 0);
        let body = match does {
            Does::Transfer { to, amount } => {
                Body::Transfer { to: address(to), amount: Amount(amount), memo: String::new().try_into().expect("short") }
            }
            Does::Allow { beneficiary, limit, expires } => {
                Body::Allow { beneficiary: address(beneficiary), limit: Amount(limit), expires: Height(expires) }
            }
            Does::Register => Body::RegisterLog { key: key(200).public(), bond: Params::default().log_bond },
            Does::Rotate => Body::RotateLogKey { log, key: key(201).public() },
            Does::Retire => Body::RetireLog { log },
        };
        let (payer, payer_key): (Payer, Option<SigningKey>) = match payer {
            By::Author => (Payer::Author, None),
            By::Cosigner(seed) => (Payer::Cosigner(key(seed).public()), Some(key(seed))),
            By::Allowance(seed) => (Payer::Allowance(address(seed)), None),
        };
        let (chain, author_key) = (self.chain.clone(), key(author));
        let (fee, valid_until, author) = (Amount(fee), Height(valid_until), author_key.public());
        let signed = Transaction { chain, author, sequence, valid_until, fee, payer, body }.sign(&author_key, payer_key.as_ref());
        let bytes = signed.to_bytes();
        let verified = block::verify(&bytes).expect("a transaction that is signed");
        (bytes.into(), verified)
    }

    fn bytes(&self, wish: Wish) -> Bytes {
        self.verified(wish).0
    }

    /// How many became ready.
    fn take(&mut self, wish: Wish) -> Result<usize, NotTaken> {
        let (bytes, verified) = self.verified(wish);
        let next = Block::new(&self.chain, Height(self.height), Millis::default());
        let told = self.mempool.would_take(&self.state, next, bytes.clone().into(), verified.clone());
        let taken = self.mempool.take(&self.state, next, bytes.into(), verified).map(|taken| taken.ready.len());
        assert!(told.is_ok() || taken.is_err(), "{wish:?} was taken, and was told before: {told:?}");
        taken
    }

    /// Takes them all, ready or held.
    fn take_all(&mut self, story: &str, wishes: &[Wish]) {
        for wish in wishes {
            assert!(self.take(*wish).is_ok(), "{story}: {wish:?}");
        }
    }

    /// A block with these transactions, whether they waited here or not; how many became ready.
    fn include(&mut self, included: &[Wish]) -> usize {
        let verified: Vec<Verified> = included.iter().map(|wish| self.verified(*wish).1).collect();
        let mut state = State::new(&self.state);
        let params = block::params(&state);
        for verified in &verified {
            let block = Block::new(&self.chain, Height(self.height), Millis::default());
            block::apply(&mut state, &params, block, verified).expect("it can be charged");
        }
        let changed = state.finish().0;
        self.change(&changed)
    }

    /// A block that changed this.
    fn change(&mut self, changed: &Changes) -> usize {
        for (key, value) in changed {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        self.height += 1;
        let next = Block::new(&self.chain, Height(self.height), Millis::default());
        self.mempool.after_block(&self.state, next, changed).len()
    }

    /// Ready is this, in this order, and so many are held; and it could all be charged in that order.
    fn expect(&self, story: &str, ready: &[Wish], held: usize) {
        let expected: Vec<Bytes> = ready.iter().map(|wish| self.bytes(*wish)).collect();
        let best = self.mempool.best(usize::MAX);
        let places: Vec<_> = best.iter().filter_map(|bytes| self.mempool.shelf.names.get(&Hash::sha256(&[bytes]))).collect();
        assert_eq!(best, expected, "{story}: {places:?}");
        self.check(story);
        assert_eq!((self.mempool.len(), self.mempool.is_empty(), self.mempool.held()), (ready.len(), ready.is_empty(), held), "{story}");
    }

    /// What must be so after every step.
    fn check(&self, story: &str) {
        let Mempool { shelf, bounds, .. } = &self.mempool;
        let best = self.mempool.best(usize::MAX);
        let waiting = || {
            shelf
                .queues
                .values()
                .flat_map(|queue| queue.ready.values().map(|ready| &ready.waiting).chain(queue.held.values().map(|held| &held.waiting)))
        };
        let bytes: usize = waiting().map(|waiting| waiting.tx.bytes().len()).sum();
        assert_eq!((shelf.names.len(), shelf.bytes), (waiting().count(), bytes), "{story}");
        assert_eq!(shelf.names.len(), shelf.ranking.len() + shelf.holding.len(), "{story}");
        assert!(waiting().all(|waiting| self.mempool.verified(waiting.tx.hash()) == Some(&waiting.verified)), "{story}");
        assert!(shelf.names.len() <= bounds.count && bytes <= bounds.bytes && shelf.holding.len() <= bounds.held, "{story}");
        for queue in shelf.queues.values() {
            assert!(queue.ready.len() <= bounds.per_author && queue.held.len() <= bounds.held_per_author, "{story}");
            assert!(!queue.ready.is_empty() || !queue.held.is_empty(), "{story}: an empty queue");
        }
        let oldest: Vec<&Bytes> = self.mempool.oldest().map(Tx::bytes).collect();
        assert_eq!(oldest.len(), best.len(), "{story}");
        let mut state = State::new(&self.state);
        let params = block::params(&state);
        for bytes in &best {
            let verified = self.mempool.verified(&Hash::sha256(&[bytes])).expect("it waits");
            let block = Block::new(&self.chain, Height(self.height), Millis::default());
            let applied = block::apply(&mut state, &params, block, verified);
            assert!(applied.is_ok(), "{story}: {applied:?} of {verified:?}");
        }
    }
}

fn address(seed: u8) -> Address {
    static ALL: LazyLock<Vec<Address>> = LazyLock::new(|| (0..=u8::MAX).map(|seed| key(seed).public().address()).collect());
    ALL[usize::from(seed)]
}

fn account_key(seed: u8) -> Vec<u8> {
    at::account(&address(seed))
}

#[test]
fn the_highest_fee_for_a_byte_comes_first_and_every_author_keeps_their_order() {
    let with = |author: u8, sequence: u64, fee: u64| Wish { fee, ..transfer(author, sequence) };
    let check = |story: &str, arriving: &[Wish], expected: &[usize]| {
        let mut world = World::new(WIDE);
        world.take_all(story, arriving);
        world.expect(story, &expected.iter().map(|place| arriving[*place]).collect::<Vec<_>>(), 0);
        let oldest: Vec<Bytes> = world.mempool.oldest().map(|tx| tx.bytes().clone()).collect();
        assert_eq!(oldest, arriving.iter().map(|wish| world.bytes(*wish)).collect::<Vec<_>>(), "{story}");
    };
    check("one author", &transfers(20, 0..4), &[0, 1, 2, 3]);
    check("ties by arrival", &[with(21, 0, FEE), with(20, 0, FEE), with(22, 0, FEE)], &[0, 1, 2]);
    check("three authors", &[with(20, 0, FEE), with(21, 0, 3 * FEE), with(22, 0, 2 * FEE)], &[1, 2, 0]);
    let dear_behind_cheap = [with(20, 0, FEE), with(20, 1, 9 * FEE), with(21, 0, 2 * FEE), with(21, 1, FEE)];
    check("a dear one waits for the cheap one before it", &dear_behind_cheap, &[2, 0, 1, 3]);
    let longer = Wish { payer: By::Cosigner(22), ..with(20, 0, FEE + FEE / 100) };
    check("a longer one that pays little more", &[longer, with(21, 0, FEE)], &[1, 0]);
}

#[test]
fn the_best_are_never_more_than_fit() {
    let mut world = World::new(WIDE);
    let all = transfers(20, 0..3);
    world.take_all("three", &all);
    let all: Vec<Bytes> = all.into_iter().map(|wish| world.bytes(wish)).collect();
    let framed: Vec<usize> = all.iter().map(|bytes| bytes.len() + 8).collect();
    let two = framed[0] + framed[1];
    for (room, expected) in [(0, 0), (framed[0] - 1, 0), (framed[0], 1), (two - 1, 1), (two, 2), (two + framed[2], 3), (usize::MAX, 3)] {
        assert_eq!(world.mempool.best(room), all[..expected], "room for {room} bytes");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let size = World::new(WIDE).bytes(transfer(20, 0)).len();
    let check = |story: &str, bounds: Bounds, wish: Wish, expected: NotTaken, code: (u32, &str)| {
        let mut world = World::new(bounds);
        world.take_all(story, &transfers(20, 0..3));
        let before = world.mempool.clone();
        let refused = world.take(wish).expect_err(story);
        assert_eq!(refused, expected, "{story}");
        assert_eq!((refused.code(), refused.codespace()), code, "{story}");
        assert_eq!(world.mempool, before, "{story}");
    };
    let next = transfer(20, 3);
    let behind = transfer(20, 9);
    let mempool = |code: u32| (code, "mempool");
    let ledger = |code: u32| (code, "ledger");
    check("it waits", WIDE, transfer(20, 1), NotTaken::Waiting, mempool(1));
    check("full by count", Bounds { count: 3, ..WIDE }, next, NotTaken::Full, mempool(2));
    check("full by bytes", Bounds { bytes: 4 * size - 1, ..WIDE }, next, NotTaken::Full, mempool(2));
    check("full, and it would be held", Bounds { count: 3, ..WIDE }, Wish { fee: 9 * FEE, ..behind }, NotTaken::Full, mempool(2));
    check("none may be held", Bounds { held: 0, ..WIDE }, behind, NotTaken::Full, mempool(2));
    check("too many of one author", Bounds { per_author: 3, ..WIDE }, next, NotTaken::TooMany { bound: 3 }, mempool(3));
    check("too many held of one author", Bounds { held_per_author: 0, ..WIDE }, behind, NotTaken::TooMany { bound: 0 }, mempool(3));
    let cheap = Wish { fee: FEE + FEE / 10 - 1, ..transfer(20, 1) };
    check("a cheap replacement", WIDE, cheap, NotTaken::PaysTooLittle { needed: Amount(FEE + FEE / 10) }, mempool(4));
    let longer = Wish { fee: 2 * FEE, payer: By::Cosigner(21), ..transfer(20, 1) };
    check("a longer replacement", Bounds { bytes: 3 * size, ..WIDE }, longer, NotTaken::Full, mempool(2));
    let unpaid = Wish { fee: 2 * OWNED, ..transfer(20, 0) };
    let short = Refusal::InsufficientFunds { whose: "author", found: Amount(OWNED), needed: Amount(2 * OWNED) };
    check("an unpaid replacement", WIDE, unpaid, short.into(), ledger(9));
    let late = Refusal::Expired { valid_until: Height(0), height: Height(1) };
    check("too late", WIDE, Wish { valid_until: 0, ..next }, late.clone().into(), ledger(7));
    check("too late and behind a gap", WIDE, Wish { valid_until: 0, ..behind }, late.into(), ledger(7));
    let nothing = Wish { does: Does::Transfer { to: 10, amount: 0 }, ..next };
    check("nothing is moved", WIDE, nothing, Refusal::BadAmount.into(), ledger(11));
    let poor = Refusal::InsufficientFunds { whose: "author", found: Amount(0), needed: Amount(FEE) };
    check("one who owns nothing, behind a gap", WIDE, transfer(POOR, 4), poor.into(), ledger(9));
}

#[test]
fn a_used_sequence_is_stale() {
    let mut world = World::new(WIDE);
    world.include(&transfers(20, 0..2));
    assert_eq!(world.take(transfer(20, 1)), Err(Refusal::StaleSequence { found: 1, expected: 2 }.into()));
    world.take_all("the next", &transfers(20, 2..3));
    assert_eq!(world.take(transfer(20, 1)), Err(Refusal::StaleSequence { found: 1, expected: 3 }.into()));
}

#[test]
fn what_comes_behind_a_gap_is_held_until_the_gap_closes() {
    let mut world = World::new(WIDE);
    assert_eq!((world.take(transfer(20, 2)), world.take(transfer(20, 1)), world.take(transfer(20, 4))), (Ok(0), Ok(0), Ok(0)));
    world.expect("three behind gaps", &[], 3);
    assert!(world.mempool.is_held(&Hash::sha256(&[&world.bytes(transfer(20, 4))])));
    assert_eq!(world.take(transfer(20, 0)), Ok(3), "with those that waited for it");
    world.expect("the gap is closed", &transfers(20, 0..3), 1);
    // The last gap is closed by a block.
    assert_eq!(world.include(&transfers(20, 0..4)), 1);
    world.expect("by a block", &transfers(20, 4..5), 0);
}

#[test]
fn a_gap_is_forgotten_after_a_while_and_starves_nobody() {
    let mut world = World::new(Bounds { count: 4, held: 3, held_per_author: 3, ..WIDE });
    let dear = |sequence: u64| Wish { fee: 50 * FEE, ..transfer(21, sequence) };
    world.take_all("behind a gap", &[dear(1), dear(2), dear(3)]);
    assert_eq!(world.take(transfer(22, 7)), Err(NotTaken::Full), "cheaper, and behind a gap too");
    assert_eq!(world.take(Wish { fee: 60 * FEE, ..transfer(22, 7) }), Ok(0), "dearer");
    world.take_all("what is ready makes its room, however cheap", &transfers(20, 0..4));
    world.expect("no gap is left", &transfers(20, 0..4), 0);
    let mut world = World::new(WIDE);
    world.take_all("behind a gap", &[transfer(20, 1), Wish { valid_until: 5, ..transfer(21, 1) }]);
    for height in 1..=HELD_BLOCKS + 1 {
        let expected = 1 + usize::from(height <= 5);
        assert_eq!(world.mempool.held(), expected, "height {height}");
        world.include(&[]);
    }
    assert_eq!(world.mempool, Mempool { arrivals: 2, ..Mempool::new(WIDE) }, "nothing is left");
}

#[test]
fn a_replacement_pays_a_tenth_more_and_what_follows_is_tried_again() {
    let replacing =
        |sequence: u64, amount: u64| Wish { fee: FEE + FEE / 10, does: Does::Transfer { to: 11, amount }, ..transfer(20, sequence) };
    let check = |story: &str, replacement: Wish, ready: &[Wish], held: usize| {
        let mut world = World::new(WIDE);
        world.take_all(story, &transfers(20, 0..3));
        assert_eq!(world.take(replacement), Ok(1), "{story}");
        world.expect(story, ready, held);
    };
    let [first, second, third] = [0, 1, 2].map(|sequence| transfer(20, sequence));
    check("the first", replacing(0, 5), &[replacing(0, 5), second, third], 0);
    check("the last", replacing(2, 5), &[first, second, replacing(2, 5)], 0);
    let left = OWNED - (FEE + 5) - (FEE + FEE / 10);
    check("it leaves nothing", replacing(1, left), &[first, replacing(1, left)], 0);
    check("it leaves enough for one", replacing(0, left - FEE), &[replacing(0, left - FEE), second], 0);
    let mut world = World::new(WIDE);
    world.take_all("behind a gap", &transfers(20, 1..3));
    assert_eq!(world.take(replacing(1, 6)), Ok(0), "a held one");
    assert_eq!(world.take(transfer(20, 0)), Ok(3));
    world.expect("it was replaced", &[first, replacing(1, 6), third], 0);
}

#[test]
fn a_full_mempool_drops_what_ranks_lowest() {
    let with = |author: u8, sequence: u64, fee: u64| Wish { fee, ..transfer(author, sequence) };
    let check = |story: &str, waiting: &[Wish], new: Wish, expected: Result<usize, NotTaken>, ready: &[Wish]| {
        let mut world = World::new(Bounds { count: waiting.len(), ..WIDE });
        world.take_all(story, waiting);
        assert_eq!(world.take(new), expected, "{story}");
        world.expect(story, ready, 0);
    };
    let two = [with(20, 0, 2 * FEE), with(21, 0, 3 * FEE)];
    check("the same fee", &two, with(22, 0, 2 * FEE), Err(NotTaken::Full), &[two[1], two[0]]);
    check("a higher fee", &two, with(22, 0, 2 * FEE + 9), Ok(1), &[two[1], with(22, 0, 2 * FEE + 9)]);
    let behind = with(20, 1, 9 * FEE);
    check("a dear one behind the cheapest", &two, behind, Err(NotTaken::Full), &[two[1], two[0]]);
    let shielded = [with(20, 0, FEE), with(20, 1, FEE), with(20, 2, 99 * FEE)];
    let new = with(21, 0, 2 * FEE);
    check("a dear last one shields no cheap queue", &shielded, new, Ok(1), &[new, shielded[0], shielded[1]]);
    let size = World::new(WIDE).bytes(two[0]).len();
    let mut world = World::new(Bounds { bytes: 2 * size, ..WIDE });
    world.take_all("full by bytes", &two);
    let longer = Wish { payer: By::Cosigner(23), ..with(22, 0, 9 * FEE) };
    assert_eq!(world.take(longer), Ok(1), "it needs more room than one leaves");
    world.expect("both went", &[longer], 0);
}

#[test]
fn nothing_is_promised_twice() {
    let sponsored =
        |author: u8, payer: By| Wish { payer, does: Does::Allow { beneficiary: 10, limit: 0, expires: 0 }, ..transfer(author, 0) };
    let check = |story: &str, owned: u64, waiting: &[Wish], new: Wish, code: u32| {
        let mut world = World::new(WIDE);
        let allow = Does::Allow { beneficiary: POOR, limit: 2 * FEE, expires: 1_000 };
        let other = Does::Allow { beneficiary: POOR + 1, limit: 1_000 * FEE, expires: 5 };
        world.include(&[Wish { does: allow, ..transfer(20, 0) }, Wish { does: other, ..transfer(20, 1) }]);
        world.own(20, owned);
        world.take_all(story, waiting);
        let refused = world.take(new).expect_err(story);
        assert_eq!((refused.code(), refused.codespace()), (code, "ledger"), "{story}: {refused}");
        world.expect(story, waiting, 0);
    };
    let by_signature = |author: u8| sponsored(author, By::Cosigner(20));
    let by_quota = |author: u8, sequence: u64| Wish { sequence, ..sponsored(author, By::Allowance(20)) };
    check("two signatures, money for one", 2 * FEE - 1, &[by_signature(50)], by_signature(51), 9);
    check("an allowance and a signature", 2 * FEE - 1, &[by_quota(POOR, 0)], by_signature(50), 9);
    check("an allowance for two", OWNED, &[by_quota(POOR, 0), by_quota(POOR, 1)], by_quota(POOR, 2), 10);
    check("two allowances, money for two", 3 * FEE - 1, &[by_quota(POOR, 0), by_quota(POOR + 1, 0)], by_quota(POOR, 1), 9);
    check("the sponsor's own transfer comes second", FEE + 5, &[by_signature(50)], transfer(20, 2), 9);
    check("the sponsor's own transfer comes first", 2 * FEE + 4, &[transfer(20, 2)], by_signature(50), 9);
    let gift = Wish { does: Does::Transfer { to: POOR, amount: 9 * FEE }, ..transfer(21, 0) };
    check("a gift that is in no block yet", OWNED, &[gift], transfer(POOR, 0), 9);
}

#[test]
fn a_sponsor_who_takes_an_allowance_back_is_heard_at_once() {
    let allow = |sequence: u64, limit: u64, expires: u64| Wish {
        does: Does::Allow { beneficiary: POOR, limit, expires },
        ..transfer(20, sequence)
    };
    let drawing = |sequence: u64| Wish {
        payer: By::Allowance(20),
        does: Does::Allow { beneficiary: 10, limit: 0, expires: 0 },
        ..transfer(POOR, sequence)
    };
    let check = |story: &str, new: Wish, drawn: usize| {
        let mut world = World::new(WIDE);
        world.include(&[allow(0, 3 * FEE, 50)]);
        let draws = [drawing(0), drawing(1), drawing(2)];
        world.take_all(story, &draws);
        assert_eq!(world.take(new), Ok(1), "{story}");
        // It is shorter, so it comes first.
        world.expect(story, &[&[new], &draws[..drawn]].concat(), 0);
        world
    };
    check("more", allow(1, 9 * FEE, 99), 3);
    check("less", allow(1, 2 * FEE, 50), 2);
    check("much less", allow(1, FEE, 50), 1);
    check("nothing", allow(1, 0, 50), 0);
    check("expired", allow(1, 9 * FEE, 0), 0);
    let mut world = check("soon expired", allow(1, 9 * FEE, 3), 3);
    world.include(&[]);
    world.expect("its last height", &[allow(1, 9 * FEE, 3), drawing(0), drawing(1), drawing(2)], 0);
    world.include(&[]);
    world.expect("after it", &[allow(1, 9 * FEE, 3)], 0);
}

#[test]
fn after_a_block_what_has_become_impossible_goes_and_nothing_else() {
    let check = |story: &str, waiting: &[Wish], included: &[Wish], ready: &[Wish], held: usize| {
        let mut world = World::new(WIDE);
        world.include(&[Wish { does: Does::Register, ..transfer(24, 0) }]);
        world.take_all(story, waiting);
        world.include(included);
        world.expect(story, ready, held);
    };
    let all = transfers(20, 0..4);
    let other = Wish { does: Does::Transfer { to: 11, amount: 6 }, ..transfer(20, 1) };
    let short = Wish { valid_until: 2, ..transfer(20, 2) };
    check("an empty block", &all, &[], &all, 0);
    check("the first are included", &all, &all[..2], &all[2..], 0);
    check("all are included", &all, &all, &[], 0);
    check("another one's block", &[], &all, &[], 0);
    check("a sequence went to another transaction", &all, &[all[0], other], &all[2..], 0);
    check("one expires, and leaves a gap before the last", &[all[0], all[1], short, all[3]], &[], &all[..2], 1);
    let empties = Wish { does: Does::Transfer { to: 10, amount: OWNED - 3 * FEE }, ..transfer(20, 0) };
    let paid = |author: u8, fee: u64| Wish { payer: By::Cosigner(20), fee, ..transfer(author, 0) };
    let three = [paid(21, 2 * FEE), paid(22, FEE), paid(23, FEE)];
    check("a payer's money went elsewhere", &three, &[empties], &[three[0]], 0);
    let chain = [paid(21, FEE), transfer(21, 1), transfer(22, 0)];
    let all_gone = Wish { does: Does::Transfer { to: 10, amount: OWNED - FEE }, ..transfer(20, 0) };
    check("what follows an unpaid one is held", &chain, &[all_gone], &[transfer(22, 0)], 1);
    let [rotate, retire] = [Wish { does: Does::Rotate, ..transfer(24, 2) }, Wish { does: Does::Retire, ..transfer(24, 1) }];
    check("a body that is still possible", &[transfer(24, 1), rotate], &[transfer(24, 1)], &[rotate], 0);
    check("a body that is not", &[transfer(24, 1), rotate], &[retire], &[], 0);
    let [register, rotate] = [Wish { does: Does::Register, ..transfer(25, 0) }, Wish { does: Does::Rotate, ..transfer(25, 1) }];
    check("a body that needs the one before it", &[register, rotate], &[register], &[rotate], 0);
    check("another one before it", &[register, rotate], &[transfer(25, 0)], &[], 0);
}

#[test]
fn new_parameters_are_asked_of_all() {
    let mut world = World::new(WIDE);
    world.take_all("two", &[transfer(20, 0), Wish { fee: 9 * FEE, ..transfer(21, 0) }]);
    let params = Params { base_fee: Amount(2 * FEE), ..Params::default() };
    world.change(&Changes::from([(at::PARAMS.to_vec(), Some(params.to_bytes()))]));
    world.expect("the cheap one is below the minimum", &[Wish { fee: 9 * FEE, ..transfer(21, 0) }], 0);
}
