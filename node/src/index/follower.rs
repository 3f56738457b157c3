//! Keeps the index up with the chain.
//!
//! It reads from the node's store what the index does not have, some blocks in one transaction, and says in the same
//! transaction how far it is; so it can stop anywhere. Nobody waits for it. Where the database is in trouble, the node goes on,
//! the trouble is told once, and it is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use consensus::Host as _;
use tendermint::block::Height;
use tokio::sync::watch;

use super::database::{Cell, Database, Statement, TABLES, Trouble};
use super::postgres::Postgres;
use super::rows::Rows;
use super::sqlite::Sqlite;
use super::{Settings, Shared, State};
use crate::app::App;
use crate::rpc::result_text;

/// At most so many blocks are written in one transaction, and no block more once there are so many rows.
const BLOCKS: u64 = 100;
const ROWS: usize = 5_000;

/// How long after a trouble it is tried again: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

/// How often it looks for blocks where nobody tells of them.
const GLANCE: Duration = Duration::from_secs(1);

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The lowest height that it has.
    pub(crate) base: u64,
    /// The highest.
    pub(crate) height: u64,
}

/// Follows the chain until `stop` turns true.
pub(super) async fn follow(app: Arc<App>, settings: Settings, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let (mut told, mut wait) = (None, FIRST_WAIT);
    loop {
        let followed = tokio::select! {
            followed = follow_once(&app, &settings, &shared, &mut wait, &mut told) => followed,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        if let Err(trouble) = followed {
            close(&shared).await;
            let again = begin_anew(&settings, &trouble);
            shared.set(State::Away { reason: trouble.to_string() });
            if told.as_ref() != Some(&trouble) {
                tracing::warn!(error = %trouble, again, "the index of the chain is not to be had; the node goes on without it");
                told = Some(trouble);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    close(&shared).await;
}

async fn close(shared: &Shared) {
    if let Some(database) = shared.publish(None) {
        database.close().await;
    }
}

/// A file that is lost is put aside; the next try makes a new one. A database of somebody's server is left as it is.
fn begin_anew(settings: &Settings, trouble: &Trouble) -> bool {
    let (Settings::Sqlite(path), Trouble::Lost(_)) = (settings, trouble) else { return false };
    match Sqlite::remove(path, true) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the damaged index cannot be put aside");
            false
        }
    }
}

async fn follow_once(
    app: &Arc<App>,
    settings: &Settings,
    shared: &Shared,
    wait: &mut Duration,
    told: &mut Option<Trouble>,
) -> Result<(), Trouble> {
    let mut blocks = app.blocks();
    let mut lost = shared.lost.subscribe();
    let database = open(settings).await?;
    shared.lost.send_replace(None);
    shared.publish(Some(Arc::clone(&database)));
    let mut progress = load(database.as_ref(), app).await?;
    loop {
        if !database.is_there() {
            return Err(Trouble::Lost("the index's file is gone".to_owned()));
        }
        progress = catch_up(&database, app, progress, |progress| shared.set(State::Follows(progress))).await?;
        if told.take().is_some() {
            tracing::info!(height = progress.map_or(0, |progress| progress.height), "the index of the chain is there again");
        }
        *wait = FIRST_WAIT;
        // A block that was missed is found by the next look.
        tokio::select! {
            _ = tokio::time::timeout(GLANCE, blocks.recv()) => {}
            Ok(reason) = lost.wait_for(Option::is_some) => return Err(Trouble::Lost(reason.clone().unwrap_or_default())),
        }
    }
}

/// Opens what the settings name.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn Database>, Trouble> {
    Ok(match settings {
        Settings::Off => return Err(Trouble::Away("the index is off".to_owned())),
        Settings::Sqlite(path) => Arc::new(Sqlite::open(path).await?),
        Settings::Postgres(url) => Arc::new(Postgres::open(url).await?),
    })
}

/// How far the index is; none where it has nothing yet.
pub(super) async fn load(database: &dyn Database, app: &App) -> Result<Option<Progress>, Trouble> {
    let rows = database.read("SELECT genesis, base, height FROM progress WHERE id = 1".to_owned(), Vec::new()).await?;
    let Some([genesis, base, height]) = rows.first().map(Vec::as_slice) else { return Ok(None) };
    if genesis.text() != app.genesis().hash().to_string() {
        return Err(Trouble::Lost("the index is of another chain: `zynk node reindex` makes it anew".to_owned()));
    }
    let number = |cell: &Cell| u64::try_from(cell.number()).unwrap_or(0);
    let (base, height, tip) = (number(base), number(height), app.tip());
    if height > tip {
        return Err(Trouble::Lost(format!("the index has height {height}, the chain only {tip}: `zynk node reindex` makes it anew")));
    }
    Ok(Some(Progress { base, height }))
}

/// Writes what is missing, up to the chain's end, and tells after each transaction how far it is.
pub(super) async fn catch_up(
    database: &Arc<dyn Database>,
    app: &Arc<App>,
    mut progress: Option<Progress>,
    mut tell: impl FnMut(Progress),
) -> Result<Option<Progress>, Trouble> {
    while app.tip() > progress.map_or(0, |progress| progress.height) {
        let reader = Arc::clone(app);
        let read = tokio::task::spawn_blocking(move || next(&reader, progress)).await;
        let Some((statements, reached)) = read.map_err(|_| Trouble::Away("a block could not be read for the index".to_owned()))? else {
            break;
        };
        database.write(statements).await?;
        progress = Some(reached);
        tell(reached);
    }
    progress.into_iter().for_each(tell);
    Ok(progress)
}

/// The statements for the next blocks, and how far the index is after them.
fn next(app: &App, progress: Option<Progress>) -> Option<(Vec<Statement>, Progress)> {
    let (tip, earliest) = (app.tip(), app.earliest().value());
    let mut rows = Rows::default();
    let from = match progress {
        // What was pruned before the index had it is missed; the powers are taken up where the blocks begin again.
        Some(progress) if progress.height + 1 >= earliest => progress.height + 1,
        _ => {
            let set = app.store().validators(Height::try_from(earliest + 1).ok()?)?;
            rows.begin(earliest - 1, &set);
            earliest
        }
    };
    let mut height = from;
    while height <= tip && height < from + BLOCKS && rows.len() < ROWS {
        let at = Height::try_from(height).ok()?;
        let (block, outcome) = app.store().block(at).zip(app.store().outcome(at))?;
        let results: Vec<String> = outcome.tx_results.iter().map(result_text).collect();
        rows.add(app.genesis().chain(), &block.0, &outcome, &results);
        height += 1;
    }
    let reached = Progress { base: progress.map_or(from, |progress| progress.base), height: height - 1 };
    let genesis = app.genesis().hash().to_string();
    // First of all, so that of two writers one does nothing.
    let mut mark = match progress {
        Some(before) => Statement::new(
            "UPDATE progress SET height = $1 WHERE id = 1 AND genesis = $2 AND height = $3",
            vec![reached.height.into(), genesis.into(), before.height.into()],
        ),
        None => Statement::new(
            "INSERT INTO progress VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING",
            vec![genesis.into(), reached.base.into(), reached.height.into()],
        ),
    };
    mark.must_change = true;
    let statements = std::iter::once(mark).chain(rows.into_statements()).collect();
    Some((statements, reached))
}

/// What was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The lowest height of the index.
    pub from: u64,
    /// The highest.
    pub to: u64,
}

/// Makes the index anew from all blocks that the node has.
pub(super) async fn rebuild(app: &Arc<App>, settings: &Settings) -> Result<Option<Rebuilt>, Trouble> {
    if let Settings::Sqlite(path) = settings {
        Sqlite::remove(path, false).map_err(|error| Trouble::Away(format!("{}: {error}", PathBuf::from(path).display())))?;
    }
    let database = open(settings).await?;
    let emptied = TABLES.iter().map(|table| Statement::new(format!("DELETE FROM {table}"), Vec::new())).collect();
    database.write(emptied).await?;
    let progress = catch_up(&database, app, None, |progress| tracing::info!(height = progress.height, "indexed")).await;
    database.close().await;
    Ok(progress?.map(|progress| Rebuilt { from: progress.base, to: progress.height }))
}
