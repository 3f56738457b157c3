//! Running a node under CometBFT.

use std::sync::Arc;

use consensus::abci::{Ending, Server};
use genesis::Genesis;
use tokio::sync::watch;

use super::CometApp;
use super::config::Config;
use crate::app::App;
use crate::config::Home;
use crate::run::{Ended, watch_age};
use crate::store::Store;
use crate::upgrade;

/// Serves the application to CometBFT until `stop` turns true.
///
/// # Errors
/// Whatever keeps it from starting or going on, in words for its operator.
pub async fn run(home: &Home, genesis: Arc<Genesis>, mut stop: watch::Receiver<bool>) -> anyhow::Result<Ended> {
    let config = Config::load(&home.config())?;
    std::fs::create_dir_all(home.data())?;
    let (database, of) = (home.database(), Arc::clone(&genesis));
    let app = Arc::new(tokio::task::spawn_blocking(move || App::open(Store::open(&database, of.hash())?, of)).await??);
    if let Some(outdated) = upgrade::outdated(&app) {
        return Ok(Ended::Outdated(outdated));
    }
    let (ending, mut ended) = Ending::new();
    let served = Arc::new(CometApp::new(Arc::clone(&app), ending.clone()));
    let server = Server::bind(config.abci.listen, served, ending.clone())?;
    let (address, height) = (server.address(), app.tip());
    tracing::info!(chain = %genesis.chain(), height, moniker = config.moniker, address, "waiting for CometBFT");
    server.start()?;
    let watching = tokio::spawn(watch_age(Arc::clone(&app)));
    let why = tokio::select! {
        why = ended.heard() => Some(why),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    watching.abort();
    // A block that is being committed becomes durable first.
    tokio::task::spawn_blocking(move || ending.close()).await?;
    tracing::info!("stopped");
    match (upgrade::outdated(&app), why) {
        (Some(outdated), _) => Ok(Ended::Outdated(outdated)),
        (None, Some(why)) => Err(anyhow::anyhow!(why)),
        (None, None) => Ok(Ended::Stopped),
    }
}
