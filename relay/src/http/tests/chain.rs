//! A chain in memory: the rules of identities, a block for each operation, and moods.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use identity::{Did, Entry, SignedOperation};
use tokio::sync::watch;
use types::{ChainId, Height};

use crate::Error;
use crate::accounts::tests::CHAIN;
use crate::chain::{ChainView, Seen};

/// How the chain behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// As it should.
    #[default]
    Well,
    /// Nobody answers.
    Away,
    /// It answers, and no operation gets into a block.
    Late,
    /// The mempool refuses each operation.
    Full,
}

#[derive(Debug)]
pub(crate) struct TestChain {
    id: ChainId,
    state: Mutex<State>,
    tip: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    entries: BTreeMap<Did, Entry>,
    /// The identities that each block's operations are about; the first is block 1.
    blocks: Vec<Vec<Did>>,
    sponsored: usize,
}

impl TestChain {
    pub(crate) fn new() -> Self {
        let state = State { blocks: vec![vec![]], ..State::default() };
        Self { id: CHAIN.parse().expect("a chain"), state: Mutex::new(state), tip: watch::Sender::new(1) }
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.with(|state| state.mood = mood);
    }

    pub(crate) fn sponsored(&self) -> usize {
        self.with(|state| state.sponsored)
    }

    /// Somebody's operation, in a block of its own.
    pub(crate) fn include(&self, operation: &SignedOperation) -> Result<Height, identity::Error> {
        let height = self.with(|state| {
            let height = Height(state.blocks.len() as u64 + 1);
            let entry = identity::apply(state.entries.get(&operation.did), &self.id, height, operation)?;
            state.entries.insert(operation.did, entry);
            state.blocks.push(vec![operation.did]);
            Ok::<_, identity::Error>(height)
        })?;
        self.tip.send_replace(height.0);
        Ok(height)
    }

    /// Blocks without operations.
    pub(crate) fn idle(&self, blocks: usize) {
        let tip = self.with(|state| {
            state.blocks.resize(state.blocks.len() + blocks, vec![]);
            state.blocks.len() as u64
        });
        self.tip.send_replace(tip);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        self.with(|state| match state.mood {
            Mood::Away => {
                let error = rpc::Error::Unreachable { url: "http://nowhere".to_owned(), reason: "nobody there".to_owned() };
                Err(Error::chain(error))
            }
            _ => Ok(act(state)),
        })
    }
}

#[async_trait]
impl ChainView for TestChain {
    fn id(&self) -> &ChainId {
        &self.id
    }

    async fn identity(&self, did: &Did) -> Result<Seen, Error> {
        self.ask(|state| Seen { entry: state.entries.get(did).cloned(), height: Height(state.blocks.len() as u64) })
    }

    async fn sponsor(&self, operation: SignedOperation) -> Result<Height, Error> {
        match self.ask(|state| state.mood)? {
            Mood::Late => return Err(Error::Late { retry_after_ms: 1 }),
            Mood::Full => return Err(Error::Refused { codespace: "mempool".to_owned(), number: 2, free: true }),
            Mood::Well | Mood::Away => {}
        }
        self.with(|state| state.sponsored += 1);
        self.include(&operation).map_err(|error| Error::Refused { codespace: "identity".to_owned(), number: error.code(), free: false })
    }

    async fn tip(&self) -> Result<Height, Error> {
        self.ask(|state| Height(state.blocks.len() as u64))
    }

    async fn follow(&self, from: Height) -> Result<Height, Error> {
        let mut tip = self.tip.subscribe();
        let found = *tip.wait_for(|tip| *tip > from.0).await.map_err(Error::store)?;
        self.ask(|_| Height(found))
    }

    async fn operated(&self, height: Height) -> Result<Vec<Did>, Error> {
        self.ask(|state| state.blocks[usize::try_from(height.0).expect("small") - 1].clone())
    }
}
