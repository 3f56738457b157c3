//! A light client that answers like a node: what it says of the chain it has verified, and what cannot be verified it refuses.
//!
//! Each answer is made anew out of what was checked (`check.rs`) against a header of [`rpc::Chain`]; nothing of a node's
//! answer is passed on that no header covers. `methods.rs` has the methods, `server.rs` the JSON-RPC. What only the node
//! can know, that it took a transaction, stays its word; `docs/spec/light.md` says which fields these are.

mod check;
mod methods;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use genesis::Genesis;
use light::{Kept, Validators, Verified};
use node::rpc::error::Fault;
use rpc::{Chain, Node};
use serde_json::{Value, json};
use tendermint::abci::types::ExecTxResult;
use tendermint::block::Block;
use tokio::sync::watch;
use types::Height;

/// How long a node's answer may be, in bytes: a block of 21 MB, CometBFT's default, in base64.
const MAX_ANSWER: usize = 32 << 20;

/// How long the words of a refusal are, in characters.
const MAX_WORDS: usize = 1024;

/// How long it is waited for the header that proves what is in a block or a state.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Blocks with more bytes of transactions are not remembered: some tens of MiB altogether, unless more is asked for.
const MAX_REMEMBERED: usize = 1 << 20;

/// How many blocks are remembered, for each header that may be.
const HEADERS_TO_A_BLOCK: usize = 16;

/// The proxy: one chain, seen through one node and its witnesses.
#[derive(Debug)]
pub(crate) struct Proxy {
    chain: tokio::sync::Mutex<Chain>,
    node: Node,
    /// What the chain began with, where that is trusted.
    genesis: Option<Genesis>,
    /// Headers, and what was verified by them.
    headers: Mutex<Memory<Verified>>,
    validators: Mutex<Memory<Validators>>,
    blocks: Mutex<Memory<Arc<Block>>>,
    /// The highest header that was told of as the newest.
    newest: Mutex<Option<Verified>>,
    /// What ended it: two histories, and who told them.
    attack: watch::Sender<Option<Arc<rpc::Error>>>,
}

impl Proxy {
    /// Over `chain`; with `cache` headers remembered, and a sixteenth of that of blocks.
    pub(crate) fn new(chain: Chain, genesis: Option<Genesis>, cache: usize) -> Self {
        Self {
            node: chain.node().clone(),
            chain: tokio::sync::Mutex::new(chain.remembering_headers(cache)),
            genesis,
            headers: Mutex::new(Memory::new(cache)),
            validators: Mutex::new(Memory::new(cache)),
            blocks: Mutex::new(Memory::new(cache / HEADERS_TO_A_BLOCK)),
            newest: Mutex::default(),
            attack: watch::Sender::new(None),
        }
    }

    /// Verifies the newest header that the node shows. It never goes back: a node that shows an older one than before does not
    /// make the chain shorter.
    pub(crate) async fn latest(&self) -> Result<Verified, Fault> {
        let latest = self.chain().await?.latest().await;
        let header = self.judge(latest)?;
        recall(&self.headers).put(header.height(), &header);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(newest) if newest.height() > header.height() => Ok(newest.clone()),
            _ => Ok(newest.insert(header).clone()),
        }
    }

    /// Whether trust was moved over more than the trusting period ([`Chain::is_beyond_period`]).
    pub(crate) async fn is_beyond_period(&self) -> bool {
        self.chain.lock().await.is_beyond_period()
    }

    /// What is worth keeping for the next time.
    pub(crate) async fn kept(&self) -> Kept {
        self.chain.lock().await.kept().clone()
    }

    /// Ends when two histories were found.
    pub(crate) async fn attacked(&self) -> Arc<rpc::Error> {
        let mut attack = self.attack.subscribe();
        match attack.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(found)) => found,
            // The sender is ours, so it is there.
            _ => std::future::pending().await,
        }
    }

    /// The chain, when it is one's turn; after an attack never again.
    async fn chain(&self) -> Result<tokio::sync::MutexGuard<'_, Chain>, Fault> {
        let chain = self.chain.lock().await;
        match &*self.attack.borrow() {
            Some(found) => Err(Fault::NotProven(found.to_string())),
            None => Ok(chain),
        }
    }

    async fn header(&self, height: Height) -> Result<Verified, Fault> {
        if let Some(header) = recall(&self.headers).get(height) {
            return Ok(header);
        }
        let found = self.chain().await?.header(height).await;
        let header = self.judge(found)?;
        recall(&self.headers).put(height, &header);
        Ok(header)
    }

    /// The header of a height that may be about to come.
    async fn coming(&self, height: Height) -> Result<Verified, Fault> {
        if let Some(header) = recall(&self.headers).get(height) {
            return Ok(header);
        }
        until(|| async {
            let tip = self.node.commit(None).await.map_err(|error| self.fault(error))?.header.height;
            if Height::from(tip) >= height { self.header(height).await.map(Some) } else { Ok(None) }
        })
        .await?
        .ok_or_else(|| Fault::NotProven(format!("the header at height {height}, which proves it, has not come yet: ask again")))
    }

    async fn validators(&self, height: Height) -> Result<Validators, Fault> {
        if let Some(validators) = recall(&self.validators).get(height) {
            return Ok(validators);
        }
        let found = self.chain().await?.validators(height).await;
        let validators = self.judge(found)?;
        recall(&self.validators).put(height, &validators);
        Ok(validators)
    }

    /// A block, every part of it held against its header.
    async fn block(&self, height: Height) -> Result<Arc<Block>, Fault> {
        let header = self.header(height).await?;
        if let Some(block) = recall(&self.blocks).get(height) {
            return Ok(block);
        }
        let before = match height.0 {
            0 | 1 => None,
            _ => Some((self.header(Height(height.0 - 1)).await?, self.validators(Height(height.0 - 1)).await?)),
        };
        let answer = self.ask("block", json!({"height": height.to_string()})).await?;
        let block = check::block(answer, &header, before.as_ref().map(|(header, set)| (header, set)));
        let block = Arc::new(block.map_err(Fault::NotProven)?);
        if block.data.iter().map(Vec::len).sum::<usize>() <= MAX_REMEMBERED {
            recall(&self.blocks).put(height, &block);
        }
        Ok(block)
    }

    /// What a block's transactions came to, as far as the next header covers it.
    async fn results(&self, height: Height) -> Result<Vec<ExecTxResult>, Fault> {
        let next = self.coming(height.next()).await?;
        let answer = self.ask("block_results", json!({"height": height.to_string()})).await?;
        check::results(&answer, &next).map_err(Fault::NotProven)
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, Fault> {
        self.node.ask(method, params, MAX_ANSWER).await.map_err(|error| self.fault(error))
    }

    fn judge<T>(&self, answer: Result<T, rpc::Error>) -> Result<T, Fault> {
        answer.map_err(|error| self.fault(error))
    }

    fn fault(&self, error: rpc::Error) -> Fault {
        // Libraries put more lines under their words where they are told to trace.
        let words: String = error.to_string().lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect();
        match error {
            rpc::Error::Attack { .. } => {
                self.attack.send_replace(Some(Arc::new(error)));
                Fault::NotProven(words)
            }
            rpc::Error::Refused { .. } | rpc::Error::Query { .. } | rpc::Error::Unreachable { .. } | rpc::Error::TooDeep { .. } => {
                Fault::Internal(words)
            }
            _ => Fault::NotProven(words),
        }
    }
}

/// Looks again and again until something is there, or [`PATIENCE`] is over.
async fn until<T, F: Future<Output = Result<Option<T>, Fault>>>(mut look: impl FnMut() -> F) -> Result<Option<T>, Fault> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if tokio::time::Instant::now() >= end {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Things of heights, at most so many; the one that was put in first goes first.
#[derive(Debug)]
struct Memory<T> {
    bound: usize,
    next: u64,
    things: BTreeMap<Height, T>,
    order: BTreeMap<u64, Height>,
}

impl<T: Clone> Memory<T> {
    const fn new(bound: usize) -> Self {
        Self { bound, next: 0, things: BTreeMap::new(), order: BTreeMap::new() }
    }

    fn get(&self, height: Height) -> Option<T> {
        self.things.get(&height).cloned()
    }

    fn put(&mut self, height: Height, thing: &T) {
        if self.bound == 0 || self.things.contains_key(&height) {
            return;
        }
        if self.things.len() >= self.bound
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.things.remove(&oldest);
        }
        self.things.insert(height, thing.clone());
        self.order.insert(self.next, height);
        self.next += 1;
    }
}

fn recall<T>(memory: &Mutex<Memory<T>>) -> std::sync::MutexGuard<'_, Memory<T>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
