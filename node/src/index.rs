//! The index: blocks, transactions, events, identities, logs, anchors and validators in SQL, for paging and search.
//!
//! Nothing depends on it. It is read from blocks that are committed, by a runtime of its own, after them; it may be behind,
//! away or wrong, and the chain goes on. What it answers is a node's word, as all that no proof comes with.
//!
//! `database` is what it needs of SQL, with `sqlite` and `postgres` behind it; `rows` says what a block becomes, `follower` keeps
//! up, `query` is the language of searches, `search` and `pages` answer. `docs/spec/index.md` is its page.

pub(crate) mod database;
mod follower;
mod pages;
mod postgres;
pub(crate) mod query;
mod rows;
mod search;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use genesis::Genesis;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use database::{Database, Trouble};
use follower::Progress;

pub use follower::Rebuilt;
pub(crate) use pages::{List, Listed, Range};
pub(crate) use search::{Found, Transaction};

use crate::app::App;
use crate::config::Home;
use crate::store::Store;

/// Threads that index and answer.
const THREADS: usize = 2;

/// Reads a query and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub fn parse(text: &str) {
    drop(query::Query::parse(text));
}

/// How long the end of the follower is waited for.
const END: Duration = Duration::from_secs(3);

/// `[index]` of `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite` for a file beside the chain, the URL of a PostgreSQL database (`postgres://…`), or `off`.
    pub url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: "sqlite".to_owned() }
    }
}

/// Where the index is.
#[derive(Clone, PartialEq, Eq)]
pub enum Settings {
    /// Nowhere.
    Off,
    /// In this file.
    Sqlite(PathBuf),
    /// At this URL.
    Postgres(String),
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            // It may have a password.
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

impl Settings {
    /// What `[index]` means for a node with this file.
    ///
    /// # Errors
    /// When the URL is of nothing that is known.
    pub fn new(config: &Config, file: &Path) -> anyhow::Result<Self> {
        match config.url.as_str() {
            "off" => Ok(Self::Off),
            "sqlite" => Ok(Self::Sqlite(file.to_owned())),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Self::Postgres(url.to_owned())),
            _ => anyhow::bail!("index.url in node.toml is \"sqlite\", \"off\" or the URL of a PostgreSQL database"),
        }
    }
}

/// Where the index stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Off,
    /// It has nothing yet.
    Begins,
    /// It has these heights.
    Follows(Progress),
    /// It cannot be asked.
    Away { reason: String },
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// As CometBFT says it.
    #[error("transaction indexing is disabled")]
    Off,
    #[error("the index is not to be had: {0}")]
    Away(String),
    /// What it holds cannot be read: it will be made anew, or the operator must.
    #[error("the index is not to be had: {0}")]
    Lost(String),
    #[error("too many searches at once")]
    Busy,
    #[error("the search took too long: narrow it, for instance by a range of heights")]
    Late,
    #[error("more than {0} results: narrow the search, for instance by a range of heights")]
    TooMany(usize),
    #[error("{0}")]
    NotSearched(&'static str),
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Late => Self::Late,
            Trouble::Busy => Self::Busy,
            Trouble::Lost(reason) => Self::Lost(reason),
            trouble => Self::Away(trouble.to_string()),
        }
    }
}

/// A node's index, or that it has none.
#[derive(Debug, Clone)]
pub struct Index(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    runtime: Mutex<Option<Runtime>>,
}

/// What the follower and those who ask share.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    database: RwLock<Option<Arc<dyn Database>>>,
    /// What somebody who asked found: that the database is lost.
    lost: watch::Sender<Option<String>>,
}

impl Shared {
    fn new(state: State) -> Self {
        Self { state: RwLock::new(state), database: RwLock::default(), lost: watch::Sender::default() }
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn publish(&self, database: Option<Arc<dyn Database>>) -> Option<Arc<dyn Database>> {
        std::mem::replace(&mut *self.database.write().unwrap_or_else(PoisonError::into_inner), database)
    }
}

/// Has this thread run only where a processor has nothing else to do: where all are busy with the chain, the index falls
/// behind, and catches up later. Niceness would not do: a processor that runs nice threads alone counts as busy, so that no
/// thread of the chain is moved there. On a system that refuses, the index competes like any other.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let me = thread_priority::thread_native_id();
        if let Err(error) = thread_priority::set_thread_priority_and_policy(me, ThreadPriority::Min, idle) {
            tracing::debug!(%error, "the index runs beside the chain");
        }
    }
}

impl Index {
    /// No index.
    #[must_use]
    pub fn off() -> Self {
        let (stop, ended) = watch::channel(true);
        let shared = Arc::new(Shared::new(State::Off));
        Self(Arc::new(Inner { shared, stop, ended, runtime: Mutex::default() }))
    }

    /// Starts to follow the chain of `app`.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(settings: Settings, app: Arc<App>) -> std::io::Result<Self> {
        if settings == Settings::Off {
            return Ok(Self::off());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("index")
            // What a thread starts runs as it does: SQLite's, too.
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        let ((stop, stopped), (end, ended)) = (watch::channel(false), watch::channel(false));
        let shared = Arc::new(Shared::new(State::Begins));
        let following = Arc::clone(&shared);
        runtime.spawn(async move {
            follower::follow(app, settings, following, stopped).await;
            end.send_replace(true);
        });
        Ok(Self(Arc::new(Inner { shared, stop, ended, runtime: Mutex::new(Some(runtime)) })))
    }

    /// Whether there is an index.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state() != State::Off
    }

    pub(crate) fn state(&self) -> State {
        self.0.shared.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops to follow, and waits until it has.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let mut ended = self.0.ended.clone();
        let _ = tokio::time::timeout(END, ended.wait_for(|ended| *ended)).await;
    }

    /// Has a question answered by the index's own runtime.
    async fn ask<T: Send + 'static, F>(&self, question: impl FnOnce(Arc<dyn Database>) -> F + Send + 'static) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<T, Unanswered>> + Send + 'static,
    {
        let database = self.0.shared.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        let database = match (database, self.state()) {
            (Some(database), _) => database,
            (None, State::Off) => return Err(Unanswered::Off),
            (None, State::Away { reason }) => return Err(Unanswered::Away(reason)),
            (None, _) => return Err(Unanswered::Away("it is being opened".to_owned())),
        };
        let asked = {
            let runtime = self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            runtime.as_ref().map(|runtime| runtime.spawn(question(database)))
        };
        let Some(asked) = asked else { return Err(Unanswered::Off) };
        let answered = asked.await.map_err(|_| Unanswered::Away("the node stops".to_owned()))?;
        if let Err(Unanswered::Lost(reason)) = &answered {
            self.0.shared.lost.send_replace(Some(reason.clone()));
        }
        answered
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime must not be waited for where it may be dropped.
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes the index of the node whose home is `folder` anew, from all blocks that it has; none where the chain has not begun.
///
/// # Errors
/// Whatever keeps it from that, in words for the operator: a node that runs, for instance.
pub async fn reindex(folder: &Path) -> anyhow::Result<Option<Rebuilt>> {
    let home = Home::new(folder);
    let (config, path) = (crate::Config::load(&home.config())?, home.genesis());
    let settings = Settings::new(&config.index, &home.index())?;
    anyhow::ensure!(settings != Settings::Off, "the index is off: index.url in node.toml says where it is to be");
    let genesis = Genesis::load(&path).with_context(|| format!("cannot take the genesis from {}", path.display()))?;
    anyhow::ensure!(home.database().exists(), "{} has no chain yet", home.data().display());
    let open = move || App::open(Store::open(&home.database(), genesis.hash())?, Arc::new(genesis));
    let app = tokio::task::spawn_blocking(open).await??;
    Ok(follower::rebuild(&Arc::new(app), &settings).await?)
}

#[cfg(test)]
mod tests;
