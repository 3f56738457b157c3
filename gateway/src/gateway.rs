//! The gateway: its parts, and its life from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use light::Trust;
use mailbox::limit::Rate;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::ServerConfig;

use crate::admission::{Places, Rates};
use crate::edge;
use crate::health::Watch;
use crate::listener::{self, Bounds};
use crate::metrics::Metrics;
use crate::prover::Prover;
use crate::tls;
use crate::tokens::Keys;
use crate::upstream::{NODE, RELAY, Target, Way};
use crate::{Error, Settings, Upstream};

/// Trust in the chain is moved on at least this often, so that a quiet gateway's never grows older than
/// the trusting period.
const REFRESH: Duration = Duration::from_secs(10 * 60);

/// How long WebSockets may take to say goodbye when the gateway was told to stop.
const FAREWELL: Duration = Duration::from_secs(3);

/// The edge before one relay and one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    parts: Arc<Parts>,
}

/// What the requests share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) relay: Target,
    pub(crate) node: Target,
    pub(crate) prover: Prover,
    pub(crate) keys: Keys,
    pub(crate) rates: Rates,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) sockets: Arc<Places>,
    connections: Arc<Places>,
    tls: Option<Arc<ServerConfig>>,
    pub(crate) metrics: Metrics,
    pub(crate) watch: Watch,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway before these two. `trust`: from where the chain's headers are verified. Until
    /// `stop` turns true. Nothing is asked yet.
    ///
    /// A node in this process gets a listener on loopback besides, for the gateway's own proven
    /// questions: `rpc::Chain` speaks HTTP only.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Listen`], [`Error::Tls`].
    pub async fn open(
        settings: Settings,
        relay: Upstream,
        node: Upstream,
        trust: Trust,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let node = Target::new(NODE, node)?;
        let url = match &node.way {
            Way::Remote { base, .. } => base.to_string(),
            Way::InProcess(router) => within(router.clone(), stop.clone()).await?,
        };
        let chain = rpc::Chain::connect(&url, trust).map_err(|_| Error::Url { upstream: NODE, url })?;
        Self::assemble(settings, Target::new(RELAY, relay)?, node, chain, stop)
    }

    /// As [`Gateway::open`], with a chain of the caller's.
    pub(crate) fn assemble(
        settings: Settings,
        relay: Target,
        node: Target,
        chain: rpc::Chain,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let (limits, metrics) = (&settings.limits, Metrics::new());
        let connections = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        let parts = Parts {
            relay,
            node,
            prover: Prover::new(chain, limits),
            keys: Keys::default(),
            rates: Rates::new(Rate { per_second: limits.per_second, burst: limits.burst }),
            requests: Arc::new(Semaphore::new(limits.requests)),
            sockets: Places::new(limits.sockets, limits.sockets_per_address, metrics.sockets.clone()),
            connections: Places::new(connections, limits.connections_per_address, metrics.connections.clone()),
            tls: settings.tls.as_ref().map(tls::configure).transpose()?,
            metrics,
            watch: Watch::default(),
            stop,
            settings,
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// What it answers. Served by [`Gateway::serve`] only, which tells each request its connection:
    /// elsewhere the client's address is not known, and WebSockets are refused.
    pub fn router(&self) -> Router {
        edge::router(&self.parts)
    }

    /// Serves on this listener until the gateway is told to stop, and a few seconds longer what had
    /// begun.
    pub async fn serve(&self, listener: TcpListener) {
        let parts = &self.parts;
        if listener.local_addr().is_ok_and(|address| in_the_clear(address, parts.tls.is_some())) {
            tracing::warn!("listening beyond loopback without TLS: only a proxy in front, which has it, may reach this address");
        }
        let bounds = Bounds {
            limits: parts.settings.limits.clone(),
            trusted: parts.settings.trusted_proxies.clone(),
            places: Arc::clone(&parts.connections),
            tls: parts.tls.clone(),
        };
        tokio::select! {
            () = listener::serve(listener, self.router(), bounds, parts.stop.clone()) => {}
            () = self.refresh() => {}
        }
        let _ = timeout(FAREWELL, parts.sockets.emptied()).await;
    }

    /// Moves trust on, for ever.
    async fn refresh(&self) {
        loop {
            sleep(REFRESH).await;
            let Ok(mut turn) = self.parts.prover.begin() else { continue };
            match self.parts.prover.within(turn.chain.latest()).await {
                Ok(_) => self.parts.prover.keep(turn),
                Err(error) => tracing::warn!(%error, "trust in the chain could not be moved on"),
            }
        }
    }
}

/// Runs a gateway until `stop` turns true.
///
/// # Errors
/// As [`Gateway::open`], and [`Error::Listen`].
pub async fn run(settings: Settings, relay: Upstream, node: Upstream, trust: Trust, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let address = settings.listen;
    let gateway = Gateway::open(settings, relay, node, trust, stop).await?;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_string(), source })?;
    tracing::info!(listen = %address, "the gateway is open");
    gateway.serve(listener).await;
    tracing::info!("the gateway has stopped");
    Ok(())
}

/// Whether others on the way could read what is said here.
fn in_the_clear(address: SocketAddr, tls: bool) -> bool {
    !tls && !address.ip().to_canonical().is_loopback()
}

/// Serves a node's router on loopback; its URL.
async fn within(router: Router, mut stop: watch::Receiver<bool>) -> Result<String, Error> {
    let failed = |source| Error::Listen { address: "127.0.0.1:0".to_owned(), source };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    tokio::spawn(async move {
        tokio::select! {
            _ = axum::serve(listener, router) => {}
            () = listener::stopped(&mut stop) => {}
        }
    });
    Ok(url)
}

impl Parts {
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_millis(self.settings.limits.request_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::in_the_clear;

    #[test]
    fn only_what_leaves_loopback_without_tls_is_in_the_clear() {
        let stories = [
            ("127.0.0.1:1", false, false),
            ("127.9.9.9:1", false, false),
            ("[::1]:1", false, false),
            ("[::ffff:127.0.0.1]:1", false, false),
            ("0.0.0.0:1", false, true),
            ("[::]:1", false, true),
            ("10.0.0.1:1", false, true),
            ("0.0.0.0:1", true, false),
            ("192.0.2.1:1", true, false),
        ];
        for (address, tls, expected) in stories {
            assert_eq!(in_the_clear(address.parse().expect("an address"), tls), expected, "{address} {tls}");
        }
    }
}
