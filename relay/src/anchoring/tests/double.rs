//! A chain of one log in memory, or in a file, that fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use audit::{AnchorError, LogId, LogRecord, SignedAnchor, Taken};
use genesis::LogFile;
use rpc::Error;
use types::{Address, Amount, ChainId, Decode as _, Encode as _, Hash, Height, SigningKey};

use crate::anchoring::LogChain;

/// The time of a block of a slow chain.
const BLOCK: Duration = Duration::from_millis(12);

/// What happens at the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// A record is not given; an anchor is taken all the same.
    NoAnswer,
    /// An anchor does not arrive.
    Unreachable,
    /// An anchor is taken, and its sender does not hear of it.
    LostAnswer,
    /// The transaction is refused: another one has used its sequence.
    Refused,
    /// The record is shown as it was before the last anchor.
    Old,
    /// An anchor is taken by the node and never comes into a block.
    Dropped,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] =
        [Self::None, Self::NoAnswer, Self::Unreachable, Self::LostAnswer, Self::Refused, Self::Old, Self::Dropped];
}

/// The chain. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Double(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    record: Option<LogRecord>,
    before: Option<LogRecord>,
    anchors: Vec<SignedAnchor>,
    /// What waits for a block: a look at the record makes one, which takes one anchor. `None` where there is no waiting.
    waiting: Option<VecDeque<SignedAnchor>>,
    /// The most anchors that ever waited.
    waited: usize,
    /// Whether an anchor never came into a block.
    dropped: bool,
    /// What was sent under each sequence, by hash.
    sent: BTreeMap<u64, Hash>,
    differently: usize,
    refused: Vec<String>,
    faults: VecDeque<Fault>,
    file: Option<PathBuf>,
}

fn chain() -> ChainId {
    "zynk-test".parse().expect("a chain id")
}

/// The log's file: the same each time.
pub(crate) fn log_file() -> LogFile {
    let owner = Address([4; 20]);
    LogFile::new(chain(), LogId::derive(&chain(), &owner, 0), SigningKey::from_seed(&[8; 32]))
}

impl Double {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let file = log_file();
        let record = LogRecord::register(file.log, Address([4; 20]), file.key().public(), Amount::ZYNK, Height(1)).expect("a usable key");
        Self(Arc::new(Mutex::new(Inner {
            before: Some(record.clone()),
            record: Some(record),
            anchors: Vec::new(),
            waiting: None,
            waited: 0,
            dropped: false,
            sent: BTreeMap::new(),
            differently: 0,
            refused: Vec::new(),
            faults: faults.into_iter().collect(),
            file: None,
        })))
    }

    /// A chain whose blocks take their time and hold one anchor each.
    pub(crate) fn slow(faults: impl IntoIterator<Item = Fault>) -> Self {
        let double = Self::new(faults);
        double.lock().waiting = Some(VecDeque::new());
        double
    }

    /// A chain that outlives this process: its anchors stand in a file.
    pub(crate) fn in_file(path: PathBuf, faults: impl IntoIterator<Item = Fault>) -> Self {
        let double = Self::new(faults);
        if let Ok(bytes) = std::fs::read(&path) {
            let anchors: types::List<SignedAnchor, 100_000> = types::List::from_bytes(&bytes).expect("what was written");
            anchors.iter().for_each(|anchor| double.lock().take(anchor));
        }
        double.lock().file = Some(path);
        double
    }

    pub(crate) fn anchors(&self) -> Vec<SignedAnchor> {
        self.lock().anchors.clone()
    }

    /// How many anchors were sent that were not what was sent under their sequence before.
    pub(crate) fn sent_differently(&self) -> usize {
        self.lock().differently
    }

    /// The most anchors that ever waited for a block.
    pub(crate) fn waited(&self) -> usize {
        self.lock().waited
    }

    /// What the chain would not take, ever.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.lock().refused.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut LogRecord)) {
        change(self.lock().record.as_mut().expect("it is registered"));
    }

    pub(crate) fn unregister(&self) {
        self.lock().record = None;
    }

    pub(crate) fn registered(&self) -> LogRecord {
        self.lock().record.clone().expect("it is registered")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics here")
    }
}

impl Inner {
    fn take(&mut self, anchor: &SignedAnchor) {
        let record = self.record.clone().expect("it is registered");
        match record.take(&chain(), anchor) {
            Ok(Taken::New(next)) => {
                self.before = self.record.replace(next);
                self.anchors.push(anchor.clone());
                if let Some(file) = &self.file {
                    let anchors: types::List<SignedAnchor, 100_000> = self.anchors.clone().try_into().expect("few");
                    let written = file.with_extension("new");
                    std::fs::write(&written, anchors.to_bytes()).expect("it is written");
                    std::fs::rename(&written, file).expect("it is renamed");
                }
            }
            Ok(Taken::Again) => {}
            // Sent twice; or sent after one that came to nothing, and so comes to nothing as well.
            Err(AnchorError::Stale { .. }) if self.anchors.contains(anchor) => {}
            Err(AnchorError::Future { .. }) if self.dropped => {}
            Err(error) => self.refused.push(error.to_string()),
        }
    }

    fn arrive(&mut self, anchor: &SignedAnchor) {
        match &mut self.waiting {
            None => self.take(anchor),
            Some(waiting) => {
                waiting.push_back(anchor.clone());
                self.waited = self.waited.max(waiting.len());
            }
        }
    }

    fn block(&mut self) {
        if let Some(anchor) = self.waiting.as_mut().and_then(VecDeque::pop_front) {
            self.take(&anchor);
        }
    }
}

fn unreachable() -> Error {
    Error::Unreachable { url: "http://127.0.0.1:1".to_owned(), reason: "connection refused".to_owned() }
}

#[async_trait]
impl LogChain for Double {
    async fn record(&self) -> Result<Option<LogRecord>, Error> {
        if self.lock().waiting.is_some() {
            tokio::time::sleep(BLOCK).await;
        }
        let mut inner = self.lock();
        inner.block();
        match inner.faults.pop_front() {
            Some(Fault::NoAnswer | Fault::Unreachable) => Err(unreachable()),
            Some(Fault::Old) => Ok(inner.before.clone()),
            _ => Ok(inner.record.clone()),
        }
    }

    async fn submit(&self, anchor: &SignedAnchor) -> Result<(), Error> {
        let mut inner = self.lock();
        let (sequence, hash) = (anchor.anchor.sequence, anchor.anchor.hash());
        let same = *inner.sent.entry(sequence).or_insert(hash) == hash;
        inner.differently += usize::from(!same);
        match inner.faults.pop_front() {
            Some(Fault::Unreachable) => return Err(unreachable()),
            Some(Fault::Refused) => {
                let log = "sequence 4, expected 5".to_owned();
                return Err(Error::Transaction { codespace: "ledger".to_owned(), number: 4002, log, height: None });
            }
            Some(Fault::LostAnswer | Fault::NoAnswer) => {
                inner.arrive(anchor);
                return Err(unreachable());
            }
            Some(Fault::Dropped) => inner.dropped = true,
            _ => inner.arrive(anchor),
        }
        Ok(())
    }
}
