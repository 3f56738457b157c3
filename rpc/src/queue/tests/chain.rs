//! A chain in memory that takes each sequence of an author once, and a node before it that fails in every way a node can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ledger::{Body, Params, SignedTransaction, TxHash};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use types::{Address, Decode as _, Height};

use crate::Error;
use crate::node::Found;
use crate::queue::Door;
use crate::queue::job::Stand;
use crate::submit::{Terms, VALID_FOR};

/// How often what goes wrong, of 100 times.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    away: u32,
    answer_lost: u32,
    forgotten: u32,
    hides: bool,
    dice: StdRng,
}

impl Faults {
    pub(super) fn often(seed: u64) -> Self {
        Self { away: 20, answer_lost: 25, forgotten: 25, hides: false, dice: StdRng::seed_from_u64(seed ^ 0x5eed) }
    }

    pub(super) fn hiding() -> Self {
        Self { hides: true, ..Self::never() }
    }

    fn never() -> Self {
        Self { away: 0, answer_lost: 0, forgotten: 0, hides: false, dice: StdRng::seed_from_u64(0) }
    }

    fn strikes(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }
}

#[derive(Debug, Clone)]
pub(super) struct TestChain(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    faults: Faults,
    refusing: Option<(&'static str, u32)>,
    height: u64,
    sequences: BTreeMap<Address, u64>,
    waiting: Vec<SignedTransaction>,
    included: Vec<(TxHash, u64, Body)>,
}

/// The terms of a transaction with this sequence.
pub(super) fn terms(sequence: u64, valid_until: Height) -> Terms {
    Terms { chain: "zynk-test".parse().expect("a chain"), sequence, valid_until, params: Params::default() }
}

impl Default for TestChain {
    fn default() -> Self {
        Self::with(Faults::never())
    }
}

impl TestChain {
    pub(super) fn with(faults: Faults) -> Self {
        let world = World { faults, refusing: None, height: 1, sequences: BTreeMap::new(), waiting: vec![], included: vec![] };
        Self(Arc::new(Mutex::new(world)))
    }

    pub(super) fn be_well(&self) {
        self.with_world(|world| world.faults = Faults::never());
    }

    pub(super) fn refuse(&self, reason: Option<(&'static str, u32)>) {
        self.with_world(|world| world.refusing = reason);
    }

    /// How often a body is in a block.
    pub(super) fn included(&self, body: &Body) -> usize {
        self.with_world(|world| world.included.iter().filter(|(_, _, included)| included == body).count())
    }

    /// A block every 4 ms, of what waits and fits; now and then the mempool is lost.
    pub(super) async fn make_blocks(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(4)).await;
            self.with_world(World::block);
        }
    }

    fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.0.lock().expect("no panic"))
    }

    fn ask<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T, Error> {
        self.with_world(|world| {
            let percent = world.faults.away;
            if world.faults.strikes(percent) { Err(unreachable()) } else { Ok(act(world)) }
        })
    }
}

fn unreachable() -> Error {
    Error::Unreachable { url: "http://nowhere".to_owned(), reason: "nobody there".to_owned() }
}

impl World {
    fn block(&mut self) {
        self.height += 1;
        let percent = self.faults.forgotten;
        if self.faults.strikes(percent) {
            // Some of what waits is never seen again, some comes back later than anybody expects.
            self.waiting.truncate(1);
            return;
        }
        let (height, mut later) = (self.height, Vec::new());
        for signed in std::mem::take(&mut self.waiting) {
            let transaction = &signed.transaction;
            let next = self.sequences.entry(transaction.author.address()).or_default();
            if transaction.sequence == *next && height <= transaction.valid_until.0 {
                *next += 1;
                self.included.push((signed.hash(), height, transaction.body.clone()));
            } else if transaction.sequence > *next {
                later.push(signed);
            }
        }
        self.waiting = later;
    }
}

#[async_trait]
impl Door for TestChain {
    async fn stand(&mut self, author: &Address) -> Result<Stand, Error> {
        self.ask(|world| Stand { sequence: world.sequences.get(author).copied().unwrap_or(0), height: Height(world.height) })
    }

    async fn terms(&mut self, sequence: u64) -> Result<Terms, Error> {
        self.ask(|world| terms(sequence, Height(world.height + VALID_FOR)))
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let signed = SignedTransaction::from_bytes(&bytes).expect("a transaction");
        self.ask(|world| {
            if let Some((codespace, number)) = world.refusing {
                return Err(Error::Transaction { codespace: codespace.to_owned(), number, log: String::new(), height: None });
            }
            world.waiting.push(signed);
            let percent = world.faults.answer_lost;
            if world.faults.strikes(percent) { Err(unreachable()) } else { Ok(()) }
        })?
    }

    async fn find(&mut self, hash: TxHash) -> Result<Option<Found>, Error> {
        self.ask(|world| {
            let found = world.included.iter().find(|(included, _, _)| *included == hash && !world.faults.hides);
            found.map(|(_, height, _)| Found {
                height: Height(*height),
                number: 0,
                codespace: String::new(),
                log: String::new(),
                events: vec![],
            })
        })
    }
}
