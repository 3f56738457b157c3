//! Reads each new block's operations on identities, and takes in what became of the accounts here.

use std::sync::Arc;
use std::time::Duration;

use identity::Did;
use tokio::sync::watch;
use tokio::time::sleep;
use types::Height;

use crate::accounts::Known;
use crate::{App, Error};

/// How many blocks are read one by one after a stop; beyond it every account is proven anew.
pub const MAX_CATCH_UP: u64 = 2_000;

/// The time between two attempts while the node cannot be asked.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows until it is told to stop. What fails is tried again: no block is passed over.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = follow(&app) => {}
    }
}

async fn follow(app: &App) {
    let mut failing = false;
    loop {
        match step(app).await {
            Ok(()) => {
                if failing {
                    tracing::info!("the chain is followed again");
                }
                failing = false;
            }
            // No new block for a while.
            Err(Error::Late { .. }) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(reason = reason(&error), "the chain cannot be followed: removed devices stay signed in until it can");
                }
                failing = true;
                sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for what is new and takes it in.
///
/// # Errors
/// As [`ChainView`](crate::chain::ChainView), and [`Error::Store`]. What was taken in before stays so.
pub async fn step(app: &App) -> Result<(), Error> {
    let Some(followed) = app.accounts.followed().await? else {
        let tip = app.chain.tip().await?;
        // Accounts can be there already: of a relay whose cursor was lost.
        prove_all(app).await?;
        return app.accounts.set_followed(tip).await;
    };
    let tip = app.chain.follow(followed).await?;
    if tip.0.saturating_sub(followed.0) > MAX_CATCH_UP {
        prove_all(app).await?;
        return app.accounts.set_followed(tip).await;
    }
    for height in followed.0 + 1..=tip.0 {
        let operated = app.chain.operated(Height(height)).await?;
        for did in &operated {
            prove(app, did).await?;
        }
        // An idle chain's cursor moves with its tip only.
        if !operated.is_empty() || height == tip.0 {
            app.accounts.set_followed(Height(height)).await?;
        }
    }
    Ok(())
}

async fn prove_all(app: &App) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = app.accounts.page(after).await?;
        for did in &page {
            prove(app, did).await?;
        }
        match page.last() {
            Some(last) => after = Some(*last),
            None => return Ok(()),
        }
    }
}

/// Proves an identity anew if it has an account here; the sessions of devices that are gone end.
///
/// # Errors
/// As [`step`].
pub async fn prove(app: &App, did: &Did) -> Result<(), Error> {
    if app.accounts.account(did).await?.is_none() {
        return Ok(());
    }
    let seen = app.chain.identity(did).await?;
    if let Some(entry) = seen.entry {
        take_in(app, did, Known { entry, height: seen.height }).await?;
    }
    Ok(())
}

/// Takes in what was proven, and ends what has to end.
///
/// # Errors
/// [`Error::Store`].
pub async fn take_in(app: &App, did: &Did, known: Known) -> Result<(), Error> {
    let now = app.now();
    let ended = app.accounts.refresh(did, &known, now).await?;
    app.auth.end(ended.into_iter().map(|session| (session, now)));
    Ok(())
}

fn reason(error: &Error) -> String {
    match error {
        Error::NoChain { source } => source.to_string(),
        Error::Store { reason } => reason.clone(),
        other => other.to_string(),
    }
}
