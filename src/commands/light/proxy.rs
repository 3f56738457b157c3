//! `zynk light proxy`: a light client that answers like a node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::source::{Opened, Source, Store};
use crate::failure::Failure;
use crate::proxy::{Proxy, server};
use crate::report::{Report, say};

/// How often the newest header is looked for without anybody asking: so trust never comes to its period's end.
const FOLLOW: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk light proxy --genesis genesis.json --node http://192.0.2.7:26657 --witness http://192.0.2.8:26657 --store light.kept\n\n\
    Clients of CometBFT 0.38's RPC work against it unchanged. What a header does not cover it leaves out (events, logs) or\n\
    refuses (net_info, mempool, subscriptions).")]
pub(crate) struct Arguments {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,

    /// How many headers are remembered, and a sixteenth of that of blocks; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1024)]
    cache: usize,

    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(arguments: &Arguments, json: bool) -> Result<Report, Failure> {
    let Opened { chain, genesis, mut store } = arguments.source.open().await?;
    let proxy = Arc::new(Proxy::new(chain, genesis, arguments.cache));
    let listener = TcpListener::bind(arguments.listen).await.map_err(Failure::Runtime)?;
    let address = listener.local_addr().map_err(Failure::Runtime)?;
    say(json, &format!("a light client answers at http://{address}"), &json!({"url": format!("http://{address}")}));
    let ended = tokio::select! {
        served = server::serve(listener, Arc::clone(&proxy), stopped()) => served.map_err(Failure::Runtime),
        attack = proxy.attacked() => Err(Failure::Attacked(attack)),
        failed = follow(&proxy, store.as_mut()) => Err(failed),
    };
    if ended.is_ok()
        && let Some(store) = &mut store
    {
        store.save(&proxy.kept().await)?;
    }
    ended.map(|()| Report::new("stopped", json!({"stopped": true})))
}

/// Follows the chain and writes what is kept; ends only if that cannot be written.
async fn follow(proxy: &Proxy, mut store: Option<&mut Store>) -> Failure {
    let mut told = false;
    loop {
        // A node that does not answer or lies is told to whoever asks.
        if let Err(fault) = proxy.latest().await {
            tracing::warn!(%fault, "the newest header is not verified");
        }
        if !told && proxy.is_beyond_period().await {
            told = true;
            tracing::warn!("trust was older than the trusting period and was moved by hand-offs alone: begin with a newer checkpoint");
        }
        if let Some(store) = &mut store
            && let Err(failure) = store.save(&proxy.kept().await)
        {
            return failure;
        }
        tokio::time::sleep(FOLLOW).await;
    }
}

/// Resolves on Ctrl-C or when the process is told to end.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
