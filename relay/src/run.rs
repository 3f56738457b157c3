//! A relay from start to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::LogId;
use audit::record::Status;
use axum::Router;
use axum::serve::ListenerExt as _;
use genesis::{Genesis, KeyFile, KeyKind, LogFile, entropy, file};
use ledger::Body;
use rpc::{Chain, FeePayer, Queue, queue};
use tendermint::Time;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use types::{Millis, SigningKey};

use crate::accounts::Sqlite;
use crate::app::Parts;
use crate::auth::{ACCESS_S, MAX_ENDED, keys};
use crate::chain::{Proven, follower, lanes};
use crate::messages::Messages;
use crate::{App, Config, Error, Home, anchoring, http};

/// How often the sessions that have ended are read from the store.
const ENDINGS: Duration = Duration::from_secs(1);

/// How often what no longer matters is forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// The time between two attempts to reach the chain at the first start.
const PAUSE: Duration = Duration::from_millis(500);

/// How long connections have to end once the relay stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// A relay whose stores are open. Requests are answered from here on; what it does by itself
/// begins with [`Relay::work`].
#[derive(Debug)]
pub struct Relay {
    app: Arc<App>,
    log: LogFile,
    account: SigningKey,
    chain: Chain,
    accounts: Arc<Sqlite>,
    submissions: Arc<queue::Sqlite>,
    queue: Queue,
    _lock: std::fs::File,
}

impl Relay {
    /// Opens the relay of a home. At its first start it registers its log, and waits for the chain
    /// for that until it is told to stop.
    ///
    /// # Errors
    /// When a file of the home is missing, damaged or in use, a database cannot be opened, the
    /// account cannot pay for the log, or the chain has another log than the home.
    pub async fn open(home: &Home, stop: watch::Receiver<bool>) -> Result<Self, Error> {
        let lock = file::lock(&home.config()).map_err(Error::file(&home.config()))?;
        let config = Config::load(&home.config())?;
        let genesis = Genesis::load(&home.genesis()).map_err(Error::file(&home.genesis()))?;
        let account = KeyFile::load(&home.account_key(), KeyKind::Account).map_err(Error::file(&home.account_key()))?.key().clone();
        let tokens = keys::open(&home.tokens_key())?;
        let chain = Chain::connect(&config.node, genesis.trust())?;
        let log = log(home, &chain, &account, stop.clone()).await?;
        std::fs::create_dir_all(home.data()).map_err(|error| refused(home, &error))?;
        let accounts = Arc::new(Sqlite::open(&home.accounts()).await?);
        let submissions = Arc::new(queue::Sqlite::open(&home.submissions()).await.map_err(|error| refused(home, &error))?);
        let queue = Queue::new(submissions.clone());
        let folder = home.messages();
        let messages = tokio::task::spawn_blocking(move || Messages::open(&folder)).await.map_err(Error::store)?;
        let messages = messages.map_err(|error| refused(home, &error))?;
        let relay = rpc::relay::Relay {
            chain: log.chain.clone(),
            log: log.log,
            audience: log.log.0.to_string(),
            registration: config.registration,
            anchor_interval_ms: config.anchor_interval_ms,
            time: now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let view = Arc::new(Proven::new(chain.clone(), queue.clone()));
        let parts = Parts { config, relay, tokens, accounts: accounts.clone(), messages, chain: view, clock: Arc::new(now), stop };
        Ok(Self { app: Arc::new(App::new(parts)), log, account, chain, accounts, submissions, queue, _lock: lock })
    }

    /// What all requests share.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Everything that the relay serves, to be mounted by whoever listens.
    pub fn router(&self) -> Router {
        http::router(self.app.clone())
    }

    /// Anchors, follows the chain and forgets, until it is told to stop.
    ///
    /// # Errors
    /// [`Error::Ended`] when a part ends that must not: going on without it could be wrong.
    pub async fn work(self) -> Result<(), Error> {
        let (app, stop) = (self.app.clone(), self.app.stop.clone());
        let every = Duration::from_millis(app.config.anchor_interval_ms);
        let sending = self.queue.run(self.chain.clone(), lanes::of(&self.account));
        let anchored = Box::pin(anchoring::run(app.messages.clone(), self.chain, self.log, self.account, every, stop.clone()));
        let worked = tokio::select! {
            ended = anchored => ended.map_err(|error| Error::Ended { part: "anchoring", reason: error.to_string() }),
            () = app.messages.clone().keep_swept(stop.clone()) => over("store of messages", &stop),
            () = app.messages.ended() => over("store of messages", &stop),
            () = follower::run(app.clone(), stop.clone()) => Ok(()),
            () = sending => over("submission queue", &stop),
            () = watch_endings(&app) => Ok(()),
            () = keep_swept(&app) => Ok(()),
            () = stopped(stop.clone()) => Ok(()),
        };
        // What was handed over is written; nobody is told of more.
        app.messages.stop().await;
        self.accounts.close().await;
        self.submissions.close().await;
        worked
    }
}

/// Runs the relay of a home until it is told to stop.
///
/// # Errors
/// As [`Relay::open`] and [`Relay::work`]; [`Error::Listen`].
pub async fn run(home: Home, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let relay = Relay::open(&home, stop.clone()).await?;
    let listen = relay.app.config.listen;
    let refused = |error: std::io::Error| Error::Listen { listen, reason: error.to_string() };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    tracing::info!(listen = %listener.local_addr().map_err(refused)?, chain = %relay.log.chain, log = %relay.log.log.0, "serving");
    let service = relay.router().into_make_service_with_connect_info::<SocketAddr>();
    // An answer is small and alone: held back until the last one is acknowledged, it would wait for the client's next frame.
    let listener = listener.tap_io(|stream| {
        // A connection that is gone already needs no haste.
        let _ = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped(stop.clone()));
    let mut serving = tokio::spawn(serving.into_future());
    let mut working = std::pin::pin!(relay.work());
    let worked = tokio::select! {
        worked = &mut working => {
            if worked.is_ok() {
                // Whoever does not leave by then is shown out.
                let _ = tokio::time::timeout(FAREWELL, &mut serving).await;
            }
            worked
        }
        // Nobody was connected: then it is the first to stop.
        _ = &mut serving => if *stop.borrow() { working.await } else { over("server", &stop) },
    };
    serving.abort();
    tracing::info!("stopped");
    worked
}

/// A part that ends before the relay is told to stop has failed, and has said why.
fn over(part: &'static str, stop: &watch::Receiver<bool>) -> Result<(), Error> {
    if *stop.borrow() { Ok(()) } else { Err(Error::Ended { part, reason: "see the log".to_owned() }) }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone cannot say it any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The sessions that ended, by whichever relay over the same store.
async fn watch_endings(app: &App) {
    let mut ticks = ticks(ENDINGS);
    loop {
        ticks.tick().await;
        let since = Millis(app.now().0.saturating_sub(2 * ACCESS_S * 1_000));
        match app.accounts.ended_since(since, u32::try_from(MAX_ENDED).unwrap_or(u32::MAX)).await {
            Ok(ended) => app.auth.end(ended),
            Err(error) => tracing::error!(code = error.code(), "the ended sessions cannot be read"),
        }
    }
}

async fn keep_swept(app: &App) {
    let mut ticks = ticks(SWEEP);
    loop {
        ticks.tick().await;
        if let Err(error) = app.accounts.sweep(app.now()).await {
            tracing::error!(code = error.code(), "the accounts cannot be swept");
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

pub(crate) fn refused(home: &Home, error: &impl std::fmt::Display) -> Error {
    Error::Database { path: home.data(), reason: error.to_string() }
}

/// The relay's clock.
pub(crate) fn now() -> Millis {
    Millis::try_from(Time::now()).expect("the clock is past 1970")
}

/// The relay's log, registered if it is not.
async fn log(home: &Home, chain: &Chain, account: &SigningKey, stop: watch::Receiver<bool>) -> Result<LogFile, Error> {
    if home.next_log().exists() {
        return Err(Error::Log { what: "another one was begun: finish it with `zynk relay new-log`" });
    }
    let path = home.log();
    let known = if path.exists() { Some(LogFile::load(&path).map_err(Error::file(&path))?) } else { None };
    if let Some(file) = &known {
        if file.chain != *chain.trust().chain() {
            return Err(Error::Log { what: "it is of another chain" });
        }
        // Messages were taken in before, so the log stood then; a relay takes in messages and signs people
        // in also while the chain is away. Anchoring compares the log with the chain by itself.
        if home.messages().exists() {
            return Ok(file.clone());
        }
    }
    let mut told = false;
    loop {
        match register(&path, &mut chain.clone(), account, known.clone()).await {
            Err(error @ (Error::NoChain { .. } | Error::Late { .. })) if !*stop.borrow() => {
                if !told {
                    tracing::warn!(reason = %error, "the chain cannot be reached; the log is registered once it can");
                }
                told = true;
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = stopped(stop.clone()) => return Err(error),
                }
            }
            registered => return registered,
        }
    }
}

/// The log of the file at `path`, which stands there as `known`, or a new one; registered if it is not.
pub(crate) async fn register(path: &Path, chain: &mut Chain, account: &SigningKey, known: Option<LogFile>) -> Result<LogFile, Error> {
    if let Some(file) = &known
        && let Some(record) = chain.log(&file.log).await?.value
    {
        if record.status != Status::Active {
            return Err(Error::Log { what: "it was retired" });
        }
        if record.key != file.key().public() {
            return Err(Error::Log { what: "it has another key" });
        }
        return Ok(file.clone());
    }
    let owner = account.public().address();
    let terms = chain.terms(&owner).await?;
    let (found, needed) = (chain.account(&owner).await?.value.balance, terms.params.log_bond);
    if found < needed {
        return Err(Error::NoBond { owner, found, needed });
    }
    // The key of a registration that may still arrive is kept: the log would be the same one.
    let key = known.map_or_else(entropy::key, |file| file.key().clone());
    let file = LogFile::new(terms.chain.clone(), LogId::derive(&terms.chain, &owner, terms.sequence), key);
    file.save(path).map_err(Error::file(path))?;
    let body = Body::RegisterLog { key: file.key().public(), bond: needed };
    chain.broadcast(&terms.sign(account, FeePayer::Author, body)).await?;
    match chain.log(&file.log).await?.value {
        Some(_) => Ok(file),
        None => Err(Error::Log { what: "it was registered and is not there" }),
    }
}

#[cfg(test)]
mod tests;
