//! The mempool beside a naive one, which knows no index and asks of everything all the time: after each
//! random step both must hold the same.

use ledger::account::Allowance;

use super::*;

/// How many seeds.
const SEEDS: u64 = 12;
/// How many steps of each.
const STEPS: u64 = 100;

/// Who is in the naive one.
#[derive(Debug, Clone)]
struct Item {
    wish: Wish,
    bytes: Bytes,
    arrival: u64,
    ready: bool,
    until: u64,
}

#[derive(Debug)]
struct Naive {
    bounds: Bounds,
    items: Vec<Item>,
    arrivals: u64,
}

/// A draw for each purpose out of one seed.
struct Draws {
    seed: u64,
    count: u64,
}

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.count += 1;
        let [a, b, c, d, ..] = Hash::sha256(&[&self.seed.to_be_bytes(), &self.count.to_be_bytes()]).0;
        u64::from(u32::from_be_bytes([a, b, c, d])) % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("small")]
    }
}

/// What a transaction takes, by purse.
fn takes(wish: Wish) -> BTreeMap<Vec<u8>, u64> {
    let own = account_key(wish.author);
    let mut takes = BTreeMap::new();
    if let Does::Transfer { amount, .. } = wish.does {
        takes.insert(own.clone(), amount);
    }
    let payer = match wish.payer {
        By::Author => own,
        By::Cosigner(payer) => account_key(payer),
        By::Allowance(sponsor) => {
            takes.insert(at::allowance(&address(sponsor), &address(wish.author)), wish.fee);
            account_key(sponsor)
        }
    };
    *takes.entry(payer).or_default() += wish.fee;
    takes
}

impl Naive {
    fn find(&self, author: u8, sequence: u64) -> Option<usize> {
        self.items.iter().position(|item| (item.wish.author, item.wish.sequence) == (author, sequence))
    }

    /// The ready ones, by choosing the best head of all queues again and again.
    fn order(&self) -> Vec<Item> {
        let mut left: Vec<Item> = self.items.iter().filter(|item| item.ready).cloned().collect();
        let mut order = Vec::new();
        while !left.is_empty() {
            let is_head =
                |item: &Item| left.iter().all(|other| other.wish.author != item.wish.author || other.wish.sequence >= item.wish.sequence);
            let mut best: Option<usize> = None;
            for (place, item) in left.iter().enumerate().filter(|(_, item)| is_head(item)) {
                if best.is_none_or(|best| better(item, &left[best])) {
                    best = Some(place);
                }
            }
            order.push(left.remove(best.expect("a queue has a head")));
        }
        order
    }

    fn held(&self) -> Vec<&Item> {
        self.items.iter().filter(|item| !item.ready).collect()
    }

    fn count(&self, author: u8, ready: bool) -> usize {
        self.items.iter().filter(|item| item.wish.author == author && item.ready == ready).count()
    }

    fn next(&self, world: &World, author: u8) -> u64 {
        let ready = self.items.iter().filter(|item| item.ready && item.wish.author == author).map(|item| item.wish.sequence + 1);
        ready.max().unwrap_or_else(|| world.account(author).sequence)
    }

    /// What a purse holds before anything waiting is taken from it.
    fn holds(&self, world: &World, purse: &[u8]) -> u64 {
        let stored = world.state.get(purse);
        if purse.starts_with(b"account/") {
            return stored.map_or(0, |bytes| purses::decode::<Account>(bytes).balance.0);
        }
        let Some(stored) = stored.map(|bytes| purses::decode::<Allowance>(bytes)) else { return 0 };
        let caps = self.items.iter().filter(|item| item.ready).filter_map(|item| match item.wish.does {
            Does::Allow { beneficiary, limit, expires } if at::allowance(&address(item.wish.author), &address(beneficiary)) == purse => {
                Some((limit, expires))
            }
            _ => None,
        });
        let (limit, expires) = caps.fold((stored.remaining.0, stored.expires.0), |least, cap| (least.0.min(cap.0), least.1.min(cap.1)));
        if expires < world.height { 0 } else { limit }
    }

    fn left(&self, world: &World, purse: &[u8]) -> u64 {
        let promised: u64 = self.items.iter().filter(|item| item.ready).filter_map(|item| takes(item.wish).remove(purse)).sum();
        self.holds(world, purse).saturating_sub(promised)
    }

    /// The ledger's code, if it refuses the author's next; of one that is held, only its fee counts.
    fn refusal(&self, world: &World, item: &Item, whole: bool) -> Option<u32> {
        let (wish, size) = (item.wish, item.bytes.len());
        let own = account_key(wish.author);
        if wish.valid_until < world.height {
            return Some(7);
        }
        if Amount(wish.fee) < Params::default().minimum_fee(size) {
            return Some(8);
        }
        if let By::Allowance(sponsor) = wish.payer
            && self.left(world, &at::allowance(&address(sponsor), &address(wish.author))) < wish.fee
        {
            return Some(10);
        }
        let payer = match wish.payer {
            By::Author => own.clone(),
            By::Cosigner(payer) | By::Allowance(payer) => account_key(payer),
        };
        if self.left(world, &payer) < wish.fee {
            return Some(9);
        }
        let Does::Transfer { amount, .. } = wish.does else { return None };
        let spent = if payer == own { wish.fee } else { 0 };
        (whole && self.left(world, &own) - spent < amount).then_some(9)
    }

    fn take(&mut self, world: &World, wish: Wish) -> Result<(), u32> {
        let bytes = world.bytes(wish);
        let item = Item { wish, bytes, arrival: self.arrivals + 1, ready: true, until: wish.valid_until };
        if self.items.iter().any(|other| other.bytes == item.bytes) {
            return Err(1);
        }
        let next = self.next(world, wish.author);
        if let Some(place) = self.find(wish.author, wish.sequence) {
            self.replace(world, place, item)?;
        } else if wish.sequence < next {
            return Err(5);
        } else {
            let ready = wish.sequence == next;
            let most = if ready { self.bounds.per_author } else { self.bounds.held_per_author };
            if self.count(wish.author, ready) >= most {
                return Err(3);
            }
            let leaving = self.make_room(&Item { ready, ..item.clone() })?;
            if let Some(code) = self.refusal(world, &item, ready) {
                return Err(code);
            }
            self.items.retain(|item| !leaving.contains(&item.bytes));
            if ready {
                self.items.push(item);
                let mut places = vec![wish];
                places.extend(self.promote(world, wish.author));
                self.heed(world, &places);
            } else {
                self.hold(world, item);
            }
        }
        self.arrivals += 1;
        Ok(())
    }

    fn replace(&mut self, world: &World, place: usize, item: Item) -> Result<(), u32> {
        let (old, wish) = (self.items[place].clone(), item.wish);
        if wish.fee < old.wish.fee + old.wish.fee.div_ceil(10) {
            return Err(4);
        }
        let bytes: usize = self.items.iter().map(|item| item.bytes.len()).sum();
        if bytes - old.bytes.len() + item.bytes.len() > self.bounds.bytes {
            return Err(2);
        }
        if !old.ready {
            if let Some(code) = self.refusal(world, &item, false) {
                return Err(code);
            }
            self.items.remove(place);
            self.hold(world, item);
            return Ok(());
        }
        let before = self.items.clone();
        let tail = self.cut(wish.author, wish.sequence);
        if let Some(code) = self.refusal(world, &item, true) {
            self.items = before;
            return Err(code);
        }
        self.items.push(item);
        self.again(world, tail.into_iter().skip(1).collect());
        self.heed(world, &[wish]);
        Ok(())
    }

    /// Who must go for this one: the worst first, held before ready.
    fn make_room(&self, new: &Item) -> Result<Vec<Bytes>, u32> {
        let mut candidates: Vec<Item> = self.held().into_iter().cloned().collect();
        candidates.sort_by(|one, other| if better(one, other) { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less });
        if new.ready {
            let with = Self { items: [self.items.clone(), vec![new.clone()]].concat(), ..*self };
            let worse = with.order().into_iter().rev().take_while(|item| item.bytes != new.bytes);
            candidates.extend(worse);
        } else {
            candidates.retain(|item| better(new, item));
        }
        let mut candidates = candidates.into_iter();
        let mut left = self.items.clone();
        let fits = |left: &[Item]| {
            let bytes: usize = left.iter().map(|item| item.bytes.len()).sum();
            let held = left.iter().filter(|item| !item.ready).count() + usize::from(!new.ready);
            left.len() < self.bounds.count && bytes + new.bytes.len() <= self.bounds.bytes && held <= self.bounds.held
        };
        let mut leaving = Vec::new();
        while !fits(&left) {
            let worst = candidates.next().ok_or(2u32)?.bytes;
            left.retain(|item| item.bytes != worst);
            leaving.push(worst);
        }
        Ok(leaving)
    }

    fn cut(&mut self, author: u8, from: u64) -> Vec<Item> {
        let is_cut = |item: &Item| item.ready && item.wish.author == author && item.wish.sequence >= from;
        let mut tail: Vec<Item> = self.items.iter().filter(|item| is_cut(item)).cloned().collect();
        self.items.retain(|item| !is_cut(item));
        tail.sort_by_key(|item| item.wish.sequence);
        tail
    }

    fn hold(&mut self, world: &World, item: Item) {
        let until = item.wish.valid_until.min(world.height + HELD_BLOCKS);
        self.items.push(Item { ready: false, until, ..item });
    }

    fn hold_if_room(&mut self, world: &World, item: Item) {
        let room = self.held().len() < self.bounds.held && self.count(item.wish.author, false) < self.bounds.held_per_author;
        if room && item.wish.valid_until >= world.height {
            self.hold(world, item);
        }
    }

    fn again(&mut self, world: &World, tail: Vec<Item>) {
        let mut gap = false;
        for item in tail {
            if gap {
                self.hold_if_room(world, item);
            } else if self.refusal(world, &item, true).is_none() {
                self.items.push(item);
            } else {
                gap = true;
            }
        }
    }

    fn drop_from(&mut self, world: &World, author: u8, sequence: u64) {
        for item in self.cut(author, sequence).into_iter().skip(1) {
            self.hold_if_room(world, item);
        }
    }

    /// Drops the last, in the order of inclusion, of those who take too much.
    fn settle(&mut self, world: &World, purse: &[u8]) {
        loop {
            let takers: Vec<Wish> =
                self.order().into_iter().map(|item| item.wish).filter(|wish| takes(*wish).contains_key(purse)).collect();
            let promised: u64 = takers.iter().map(|wish| takes(*wish)[purse]).sum();
            match takers.last() {
                Some(last) if promised > self.holds(world, purse) => self.drop_from(world, last.author, last.sequence),
                _ => return,
            }
        }
    }

    fn promote(&mut self, world: &World, author: u8) -> Vec<Wish> {
        let mut promoted = Vec::new();
        while self.count(author, true) < self.bounds.per_author {
            let next = self.next(world, author);
            let Some(place) = self.find(author, next) else { break };
            let item = self.items.remove(place);
            if self.refusal(world, &item, true).is_some() {
                break;
            }
            promoted.push(item.wish);
            self.items.push(Item { ready: true, ..item });
        }
        promoted
    }

    fn heed(&mut self, world: &World, places: &[Wish]) {
        for wish in places {
            let ready = self.find(wish.author, wish.sequence).is_some_and(|place| self.items[place].ready);
            if let Does::Allow { beneficiary, .. } = wish.does
                && ready
            {
                self.settle(world, &at::allowance(&address(wish.author), &address(beneficiary)));
            }
        }
    }

    fn after_block(&mut self, world: &World) {
        self.items.retain(|item| item.wish.sequence >= world.account(item.wish.author).sequence);
        self.items.retain(|item| item.ready || item.until >= world.height);
        let mut authors: Vec<u8> = OWNERS.into_iter().chain([POOR, POOR + 1]).collect();
        authors.sort_by_key(|author| address(*author));
        for author in &authors {
            let mut ended: Vec<Wish> =
                self.items.iter().filter(|item| item.ready && item.wish.author == *author).map(|item| item.wish).collect();
            ended.retain(|wish| wish.valid_until < world.height);
            if let Some(first) = ended.iter().map(|wish| wish.sequence).min() {
                self.drop_from(world, *author, first);
            }
        }
        let purses: std::collections::BTreeSet<Vec<u8>> = self.items.iter().flat_map(|item| takes(item.wish).into_keys()).collect();
        purses.iter().for_each(|purse| self.settle(world, purse));
        for author in &authors {
            let all = self.cut(*author, 0);
            self.again(world, all);
        }
        let promoted: Vec<Wish> = authors.iter().flat_map(|author| self.promote(world, *author)).collect();
        self.heed(world, &promoted);
    }
}

/// Whether one pays more for a byte than another, or as much and came earlier.
fn better(one: &Item, other: &Item) -> bool {
    let cross = |one: &Item, other: &Item| u128::from(one.wish.fee) * other.bytes.len() as u128;
    cross(one, other).cmp(&cross(other, one)).then(other.arrival.cmp(&one.arrival)).is_gt()
}

fn wish(draws: &mut Draws, world: &World) -> Wish {
    let author = draws.of(&[20, 21, 22, 22, 23, POOR, POOR + 1]);
    let others: Vec<u8> = OWNERS.into_iter().filter(|owner| *owner != author).collect();
    let sequence = (world.account(author).sequence + draws.below(8)).saturating_sub(draws.below(2));
    let does = match draws.below(6) {
        0 => Does::Allow { beneficiary: draws.of(&[POOR, POOR + 1]), limit: draws.below(8) * FEE, expires: world.height + draws.below(6) },
        1 => Does::Transfer { to: draws.of(&others), amount: OWNED / (1 + draws.below(5)) },
        _ => Does::Transfer { to: draws.of(&others), amount: 1 + draws.below(5) },
    };
    let payer = match draws.below(4) {
        0 => By::Cosigner(draws.of(&others)),
        1 => By::Allowance(draws.of(&others)),
        _ => By::Author,
    };
    let fee = FEE * (1 + draws.below(4)) + draws.below(3);
    Wish { author, sequence, fee, payer, does, valid_until: world.height + draws.below(30) }
}

/// Transactions that can be in the next block: some of the best, and some that nobody saw here.
fn block_of(draws: &mut Draws, world: &World, naive: &Naive) -> Vec<Wish> {
    let mut state = State::new(&world.state);
    let params = block::params(&state);
    let some = usize::try_from(draws.below(6)).expect("small");
    let mut candidates: Vec<Wish> = naive.order().into_iter().take(some).map(|item| item.wish).collect();
    for _ in 0..draws.below(4) {
        let place = usize::try_from(draws.below(candidates.len() as u64 + 1)).expect("small");
        candidates.insert(place, wish(draws, world));
    }
    let block = Block::new(&world.chain, Height(world.height), Millis::default());
    candidates.retain(|wish| block::apply(&mut state, &params, block, &world.verified(*wish).1).is_ok());
    candidates
}

fn compare(story: &str, world: &World, naive: &Naive) {
    let order = naive.order();
    let expected: Vec<&Bytes> = order.iter().map(|item| &item.bytes).collect();
    assert_eq!(world.mempool.best(usize::MAX).iter().collect::<Vec<_>>(), expected, "{story}: ready, of {order:#?}");
    let mut held: Vec<Hash> = naive.held().iter().map(|item| Hash::sha256(&[&item.bytes])).collect();
    held.sort();
    let names = world.mempool.shelf.names.keys().filter(|hash| world.mempool.is_held(hash));
    assert_eq!(names.copied().collect::<Vec<_>>(), held, "{story}: held");
    world.check(story);
}

#[test]
fn it_holds_what_a_naive_one_holds() {
    let mut seen = BTreeMap::<String, usize>::new();
    for seed in 0..SEEDS {
        let mut draws = Draws { seed, count: 0 };
        let bounds = match seed % 3 {
            0 => WIDE,
            1 => Bounds { count: 12, bytes: 2_600, per_author: 4, held: 6, held_per_author: 3 },
            _ => Bounds { per_author: 5, held: 4, ..WIDE },
        };
        let mut world = World::new(bounds);
        // Little enough that purses run short.
        [20, 21].into_iter().for_each(|owner| world.own(owner, 30 * FEE));
        let mut naive = Naive { bounds, items: Vec::new(), arrivals: 0 };
        for step in 0..STEPS {
            let story = format!("seed {seed}, step {step}");
            if draws.below(8) == 0 {
                let included = block_of(&mut draws, &world, &naive);
                world.include(&included);
                naive.after_block(&world);
                *seen.entry("blocks".to_owned()).or_default() += 1;
            } else {
                let waiting: Vec<Wish> = naive.items.iter().map(|item| item.wish).collect();
                let again = draws.below(20) == 0 && !waiting.is_empty();
                let wish = if again { draws.of(&waiting) } else { wish(&mut draws, &world) };
                let expected = naive.take(&world, wish);
                let found = world.take(wish).map_err(|refused| refused.code());
                assert_eq!(found.map(drop), expected, "{story}: {wish:?}");
                *seen.entry(format!("{expected:?}")).or_default() += 1;
            }
            compare(&story, &world, &naive);
        }
        for _ in 0..40 {
            world.include(&[]);
        }
        let (bounds, arrivals) = (world.mempool.bounds, world.mempool.arrivals);
        assert_eq!(world.mempool, Mempool { arrivals, ..Mempool::new(bounds) }, "seed {seed}: nothing is left of what is over");
    }
    // A refusal that never came was not tested.
    for kind in ["Ok(())", "Err(1)", "Err(2)", "Err(3)", "Err(4)", "Err(5)", "Err(9)", "Err(10)", "blocks"] {
        assert!(seen.contains_key(kind), "{kind} in {seen:?}");
    }
}
