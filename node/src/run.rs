//! Running a node: its parts in the order in which they need each other, and its end.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use consensus::guard::{Guard, Provenance};
use consensus::malachite::signing::ValidatorKey;
use consensus::malachite::{self, Engine};
use consensus::privval::Remote;
use genesis::{Genesis, KeyFile, KeyKind};
use tendermint::Time;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use types::{Address, SigningKey};

use crate::abci;
use crate::app::App;
use crate::config::{Config, Home};
use crate::gossip::{self, Gossip};
use crate::index::{self, Index};
use crate::live::Live;
use crate::rpc;
use crate::signer;
use crate::state::Upkeep;
use crate::statesync;
use crate::store::Store;
use crate::unheard::Unheard;
use crate::upgrade::{self, Outdated};

/// A restored validator waits until the chain is this many heights past the highest that it heard
/// of: it may have signed at the two heights above a tip.
const HEIGHTS_PAST: u64 = 2;

/// How long a restored validator listens before it believes that it has heard the highest tip.
const LISTENING: Duration = Duration::from_secs(5);

/// When a restored validator that hears of no height says so.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a follower looks at the chain.
const GLANCE: Duration = Duration::from_millis(200);

/// For this long after the genesis, a validator without a guard has just not begun yet.
const JUST_BEGUN: Duration = Duration::from_secs(60);

/// What the operator says at the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Sign although the guard's file was copied or restored: the operator knows that no signature
    /// was given after the copy was made.
    pub accept_restored_guard: bool,
    /// How often this process was started anew because nobody heard it.
    pub renewals: u32,
}

/// How a node's run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It has followed until it may sign again, and is to be started anew as a validator: an engine
    /// that began as a follower stays one.
    Again,
    /// Nobody heard what it signed, and it is to be started anew, with new connections.
    Unheard,
    /// The chain has come to an upgrade, and goes on with another program.
    Outdated(Outdated),
}

/// Runs the node whose home is `folder` until `stop` turns true.
///
/// # Errors
/// Whatever keeps it from starting or going on, in words for its operator.
pub async fn run(folder: &Path, options: Options, mut stop: watch::Receiver<bool>) -> anyhow::Result<Ended> {
    let home = Home::new(folder);
    let path = home.genesis();
    let genesis = Arc::new(Genesis::load(&path).with_context(|| format!("cannot take the genesis from {}", path.display()))?);
    abci::config::agree(&home.config(), genesis.engine())?;
    if genesis.engine() == ledger::Engine::CometBft {
        return abci::run(&home, genesis, stop).await;
    }
    let config = Config::load(&home.config())?;
    let node_key = load_key(&home.node_key(), KeyKind::Node)?;
    let found = tokio::select! {
        found = signer::find(&home, config.signer.as_ref(), &node_key, &genesis) => found?,
        _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
    };
    let signer::Found { key: validator_key, remote } = found;
    std::fs::create_dir_all(home.data()).with_context(|| format!("cannot make {}", home.data().display()))?;

    config.state.check().with_context(|| format!("{} cannot be held to", home.config().display()))?;
    if let Some(plan) = config.state.sync.as_ref().filter(|_| statesync::is_due(&home)) {
        let synced = tokio::select! {
            synced = statesync::run(&home, &genesis, plan) => synced?,
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
        };
        tracing::info!(height = synced, "the state is synced: blocks below this height are not here");
    }

    statesync::clear(&home);

    // The database opens before the engine starts: opening it may take long, and the engine's
    // network must never wait for it.
    let (database, of) = (home.database(), Arc::clone(&genesis));
    let app = tokio::task::spawn_blocking(move || App::open(Store::open(&database, of.hash())?, of)).await??;
    if let Some(outdated) = upgrade::outdated(&app) {
        return Ok(Ended::Outdated(outdated));
    }
    let app = Arc::new(app);
    let upkeep = Upkeep::start(&app, &config.state, home.snapshots())?;
    tracing::info!(chain = %genesis.chain(), height = tip(&app), moniker = config.moniker, "starting");

    let listener = TcpListener::bind(config.rpc.listen).await.with_context(|| format!("cannot listen on {}", config.rpc.listen))?;
    let setup = gossip::Setup {
        key: &node_key,
        moniker: &config.moniker,
        gossip: &config.gossip,
        consensus: &config.consensus,
        validates: validator_key.is_some() || remote.is_some(),
        addresses: Some(home.addresses()),
    };
    let gossip = Gossip::start(&setup, Arc::clone(&app))?;
    let settings = malachite::Config {
        moniker: config.moniker.clone(),
        listen: config.consensus.listen.clone(),
        peers: config.consensus.peers.clone(),
        discovered: gossip.validators(),
        max_per_address: config.consensus.max_per_address,
        wal: home.wal(),
        peer_key: node_key.clone(),
        signer: None,
        proof: validator_key.as_ref().map(|key| signer::proof(&home, key, &node_key)).transpose()?.flatten(),
    };
    let index = Index::start(index::Settings::new(&config.index, &home.index())?, Arc::clone(&app))?;
    let info = rpc::Info {
        moniker: config.moniker.clone(),
        node_id: node_key.public().address().0,
        listen: config.gossip.listen.to_string(),
        validator: validator_key.as_ref().and_then(|key| tendermint::PublicKey::from_raw_ed25519(&key.public().0)),
        index: index.clone(),
    };
    let serving = tokio::spawn(rpc::serve(listener, Arc::clone(&app), info, stop.clone()));
    let gossiping = tokio::spawn(gossip.run());
    let watching = tokio::spawn(watch_age(Arc::clone(&app)));
    let result = tokio::select! {
        result = validate(&home, settings, &app, validator_key, remote, options, stop.clone()) => result,
        _ = stop.wait_for(|stop| *stop) => Ok(Ended::Stopped),
        served = serving => {
            served.map_err(anyhow::Error::from).and_then(|served| served.context("the RPC server ended")).map(|()| Ended::Stopped)
        }
    };
    let result = match upgrade::outdated(&app) {
        Some(outdated) if result.is_err() => Ok(Ended::Outdated(outdated)),
        _ => result,
    };
    gossiping.abort();
    upkeep.stop();
    watching.abort();
    index.stop().await;
    tracing::info!("stopped");
    result
}

fn load_key(path: &Path, kind: KeyKind) -> anyhow::Result<SigningKey> {
    let file = KeyFile::load(path, kind).with_context(|| format!("cannot take the {kind} key from {}", path.display()))?;
    Ok(file.key().clone())
}

/// Runs the engine: as a validator, or as a follower while the validator must not sign.
async fn validate(
    home: &Home,
    mut settings: malachite::Config,
    app: &Arc<App>,
    validator_key: Option<ValidatorKey>,
    remote: Option<Arc<Remote>>,
    options: Options,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<Ended> {
    if let (None, Some(remote)) = (&validator_key, &remote) {
        let arrival = async {
            signer::arrival(remote).await;
            tip(app)
        };
        // The log of a height in which it has signed is kept: it leads the engine to the vote again that the guard remembers.
        settings.wal = home.following();
        return follow(&settings, app, signer::AWAY, arrival, &mut stop).await;
    }
    if let Some(key) = validator_key {
        let (mut guard, provenance) = Guard::open(&home.guard(), key.public())?;
        let in_doubt = match provenance {
            Provenance::Intact => false,
            Provenance::Restored => true,
            Provenance::Fresh => tip(app) > 0 || has_begun(app).await,
        };
        if in_doubt && !options.accept_restored_guard {
            let why = "the signing guard was copied, restored or lost: this validator follows without signing until the chain has passed every height that it may have signed, or has made blocks for a minute. If the whole network waits for it and no signature was given after the copy was made, start it with --accept-restored-guard";
            let began = Instant::now();
            let safe = past_doubt(app, || (Time::now(), began.elapsed()));
            let followed = follow(&settings, app, why, safe, &mut stop).await?;
            if followed == Ended::Again {
                guard.accept()?;
            }
            return Ok(followed);
        }
        // The engine's log of a height that it has signed in is gone, so it cannot know what it signed:
        // the guard would refuse whatever differs, and the engine stops at the first refusal.
        let signed = guard.height().0;
        if !home.wal().exists() && signed > tip(app) {
            let why = "the consensus log of the height that this validator signed last is gone: it follows without signing until the chain has passed that height";
            return follow(&settings, app, why, past(app, signed), &mut stop).await;
        }
        if in_doubt {
            guard.accept()?;
        }
        settings.signer = Some((key, Arc::new(Mutex::new(guard))));
    }
    let ended = supervise(settings, app, options.renewals, &mut stop).await;
    // The engine stops at a vote that it does not get signed; the node goes on without.
    if ended.is_err() && remote.is_some_and(|remote| remote.is_gone()) {
        tracing::error!("{}", signer::AWAY);
        return Ok(Ended::Again);
    }
    ended
}

/// Whether the chain has begun without this validator's files: it may have signed before they were
/// lost. Right after the genesis nobody can have; later, the peers are asked.
async fn has_begun(app: &App) -> bool {
    let age = Time::now().duration_since(app.genesis().time()).unwrap_or_default();
    if age < JUST_BEGUN {
        return false;
    }
    tokio::time::sleep(LISTENING).await;
    app.heard().is_some_and(|highest| highest > 0)
}

async fn supervise(settings: malachite::Config, app: &Arc<App>, renewals: u32, stop: &mut watch::Receiver<bool>) -> anyhow::Result<Ended> {
    let validator = settings.signer.as_ref().map(|(key, _)| key.public().address());
    let mut engine = Engine::start(settings, Arc::clone(app)).await?;
    app.is_driven(engine.probe());
    let ended = tokio::select! {
        reason = engine.ended() => anyhow::bail!("{reason}"),
        () = unheard(app, validator, renewals) => {
            tracing::error!("the blocks of the others lack this validator's signature although it signs: starting anew, with new connections");
            Ended::Unheard
        }
        _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
    };
    engine.stop().await;
    Ok(ended)
}

/// Waits until a validator has reason to think that nobody hears it; for ever for a node that does not sign.
async fn unheard(app: &App, validator: Option<Address>, renewals: u32) {
    let Some(validator) = validator else {
        return std::future::pending().await;
    };
    let (mut rule, mut blocks, began) = (Unheard::new(validator.into(), renewals), app.blocks(), Instant::now());
    let mut set = None;
    loop {
        match blocks.recv().await {
            Ok(decided) => {
                let age_ms = (Time::now().unix_timestamp_nanos() - decided.block.header.time.unix_timestamp_nanos()) / 1_000_000;
                if let (Some(commit), Some(set)) = (&decided.block.last_commit, &set)
                    && rule.saw(commit, set, age_ms, began.elapsed())
                {
                    return;
                }
                set.clone_from(&decided.state.last_validators);
            }
            Err(RecvError::Lagged(_)) => {
                set = None;
                rule.forget();
            }
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Follows without signing until `safe`; the node is then to be started anew.
async fn follow(
    settings: &malachite::Config,
    app: &Arc<App>,
    why: &str,
    safe: impl Future<Output = u64>,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<Ended> {
    tracing::error!("{why}");
    let mut engine = Engine::start(settings.clone(), Arc::clone(app)).await?;
    app.is_driven(engine.probe());
    let ended = tokio::select! {
        height = safe => {
            tracing::warn!(height, "past every height that may have been signed before: signing again");
            Ended::Again
        }
        reason = engine.ended() => anyhow::bail!("{reason}"),
        _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
    };
    engine.stop().await;
    Ok(ended)
}

/// Waits until the chain is past every height at which this validator may have signed before it began: past all that its peers
/// tell of, or going on before its eyes, whatever they tell. `clock`: what time it is, and how long it is since any beginning.
async fn past_doubt(app: &App, clock: impl Fn() -> (Time, Duration)) -> u64 {
    tokio::select! {
        height = past_all_heard(app) => height,
        height = goes_on(app, clock) => height,
    }
}

/// Waits until the chain has made blocks since this validator began, beyond doubt.
async fn goes_on(app: &App, clock: impl Fn() -> (Time, Duration)) -> u64 {
    let (mut live, mut blocks) = (Live::new(clock().0), app.blocks());
    loop {
        match blocks.recv().await {
            Ok(decided) => {
                let (header, (time, now)) = (&decided.block.header, clock());
                if live.saw(header.time, time, now) {
                    return header.height.value();
                }
            }
            Err(RecvError::Lagged(_)) => live.forget(),
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Waits until the chain is past every height at which this validator may have signed, going by the
/// highest that its peers tell of.
async fn past_all_heard(app: &App) -> u64 {
    let (began, mut told) = (Instant::now(), false);
    while app.heard().is_none() {
        if !told && began.elapsed() > SILENCE {
            told = true;
            tracing::error!(
                "nobody tells this validator how high the chain is, so it cannot begin to sign: are the peers in [gossip] of node.toml there?"
            );
        }
        tokio::time::sleep(GLANCE).await;
    }
    tokio::time::sleep(LISTENING).await;
    // A peer may tell any number; the sum must not wrap round to a height that is past already.
    past(app, app.heard().unwrap_or(0).saturating_add(HEIGHTS_PAST)).await
}

/// Waits until the chain has reached `height`.
async fn past(app: &App, height: u64) -> u64 {
    while tip(app) < height {
        tokio::time::sleep(GLANCE).await;
    }
    tip(app)
}

fn tip(app: &App) -> u64 {
    app.tip()
}

/// Says so in the log while the last block is too old.
pub(crate) async fn watch_age(app: Arc<App>) {
    use consensus::Host as _;
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (age, heartbeat) = (app.idle_for(), app.pace().heartbeat);
        if age > heartbeat * 3 {
            tracing::warn!(
                age_s = age.as_secs(),
                heartbeat_s = heartbeat.as_secs(),
                "no block for too long: are more than two thirds of the stake reachable?"
            );
        }
    }
}

#[cfg(test)]
mod tests;
