//! Another log for a relay whose own has come to its end: its database was restored from a copy, its key is used by
//! somebody else, it was retired.
//!
//! Accounts and mailboxes stay. What the old log is proven to hold stays under it; every other leaf goes into batches of
//! the new one. The old log is retired first, so that what it holds is final, and its key signs nothing any more.
//!
//! Each step is durable before the next. Wherever it is interrupted, the relay does not start until it was done again,
//! and then it goes on with the log that was registered already.

use std::fs::File;
use std::path::Path;

use audit::record::Status;
use audit::{LogId, LogRecord};
use genesis::{Genesis, KeyFile, KeyKind, LogFile, file};
use ledger::Body;
use rpc::{Chain, FeePayer};
use types::{Height, SigningKey};

use crate::messages::store::{self, LogState, Store};
use crate::messages::{Rocks, now};
use crate::run::{refused, register};
use crate::{Config, Error, Home, anchoring};

/// What became of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// The old log.
    pub old: LogId,
    /// When it was retired, here or before; `None` if the chain has frozen it or never had it, and its bond is gone or
    /// was never paid.
    pub retired: Option<Height>,
    /// The new log.
    pub new: LogId,
    /// How many leaves wait for the new log's batches.
    pub leaves: u64,
}

/// A relay that does not run: its home is nobody else's until this is dropped.
pub(crate) struct AtRest {
    pub(crate) chain: Chain,
    pub(crate) account: SigningKey,
    pub(crate) lock: File,
}

impl AtRest {
    /// # Errors
    /// When a file of the home is missing, damaged or in use.
    pub(crate) fn open(home: &Home) -> Result<Self, Error> {
        let lock = file::lock(&home.config()).map_err(Error::file(&home.config()))?;
        let config = Config::load(&home.config())?;
        let genesis = Genesis::load(&home.genesis()).map_err(Error::file(&home.genesis()))?;
        let account = KeyFile::load(&home.account_key(), KeyKind::Account).map_err(Error::file(&home.account_key()))?.key().clone();
        Ok(Self { chain: Chain::connect(&config.node, genesis.trust())?, account, lock })
    }
}

/// Begins another log for the relay of a home, which must not run. `sound_too`: also where its own log could go on.
///
/// # Errors
/// [`Error::Sound`] where nothing calls for it; when a file of the home is missing, damaged or in use; when the account
/// cannot pay for the bond; when the chain cannot be asked, or takes one of the transactions not. Then it can be done again.
pub async fn new_log(home: &Home, sound_too: bool) -> Result<Renewed, Error> {
    let AtRest { mut chain, account, lock: _lock } = AtRest::open(home)?;
    let old = load(&home.log())?;
    if old.chain != *chain.trust().chain() {
        return Err(Error::Log { what: "it is of another chain" });
    }
    let damaged = |error: store::Error| refused(home, &error);
    let store = Rocks::open(&home.messages()).map_err(damaged)?;
    let state = store.log().map_err(damaged)?;
    let next = home.next_log();
    let known = if next.exists() { Some(load(&next)?) } else { None };
    // What was begun must be finished, whatever became of the old log.
    if known.is_none() && !sound_too && is_sound(&store, &state, &old, chain.log(&old.log).await?.value).map_err(damaged)? {
        return Err(Error::Sound { log: old.log });
    }
    // From here on the relay does not start until the new log has taken its place.
    let new = Box::pin(register(&next, &mut chain, &account, known)).await?;
    let record = Box::pin(retire(&mut chain, &account, old.log)).await?;
    let taken = record.as_ref().map_or(0, |record| record.sequence);
    let mut anchored = state.anchored;
    for sequence in state.anchored + 1..=state.sealed.min(taken) {
        let ours = store.batch(state.number(sequence)).map_err(damaged)?;
        // From the first on that somebody else has made, nothing of it is ours.
        if ours.map(|batch| batch.anchor) != Some(chain.anchor(old.log, sequence).await?) {
            break;
        }
        anchored = sequence;
    }
    store.begin_log(anchored, now()).map_err(damaged)?;
    let leaves = store.log().map_err(damaged)?.waiting();
    let former = home.former_log(&old.log);
    old.save(&former).map_err(Error::file(&former))?;
    // The last step, and all at once: from here on the new log is the one that goes on.
    let replaced = std::fs::rename(&next, home.log()).map_err(|source| genesis::Error::Io { path: next.clone(), source });
    replaced.map_err(Error::file(&next))?;
    let retired = record.and_then(|record| match record.status {
        Status::Retired { at } => Some(at),
        Status::Active | Status::Frozen { .. } => None,
    });
    Ok(Renewed { old: old.log, retired, new: new.log, leaves })
}

/// Whether the relay would go on with its log: it takes anchors, and holds none that the database has not made.
fn is_sound(store: &Rocks, state: &LogState, log: &LogFile, record: Option<LogRecord>) -> Result<bool, store::Error> {
    let Some(record) = record.filter(|record| record.status == Status::Active) else { return Ok(false) };
    let ours = anchoring::hash(store, state, record.sequence)?;
    Ok(anchoring::judge(state, ours, &record, &log.key().public()).is_ok())
}

fn load(path: &Path) -> Result<LogFile, Error> {
    LogFile::load(path).map_err(Error::file(path))
}

/// Retires a log that takes anchors. Its record after that, which does not change any more; `None` if there is no such log.
async fn retire(chain: &mut Chain, account: &SigningKey, log: LogId) -> Result<Option<LogRecord>, Error> {
    let record = chain.log(&log).await?.value;
    if record.as_ref().is_none_or(|record| record.status != Status::Active) {
        return Ok(record);
    }
    chain.submit(account, FeePayer::Author, Body::RetireLog { log }).await?;
    match chain.log(&log).await?.value {
        Some(record) if record.status != Status::Active => Ok(Some(record)),
        _ => Err(Error::Log { what: "it was retired and takes anchors" }),
    }
}
