//! The listener: HTTP/1.1 connections, over TLS or not, with bounds on their number, their headers, and silence.
//!
//! What a connection holds ends with it. A WebSocket's place therefore lies in its connection
//! ([`Peer::keep`]): it is freed when the last byte of it is gone, whoever carried the frames.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt as _;

use crate::admission::{Place, Places};
use crate::settings::{Limits, Network};
use crate::tls;

/// How many headers a request may have.
const MAX_HEADERS: usize = 64;

/// hyper ends a connection, without an answer of ours, whose headers are this much above their bound.
const HEADROOM: usize = 16 * 1024;

/// The buffer of a connection, in bytes, beyond which no more is read before it was taken.
const MAX_BUFFER: usize = 64 * 1024;

/// How long open connections may go on after the gateway was told to stop.
const FAREWELL: Duration = Duration::from_secs(3);

/// After a failed accept (no file descriptors left) it is waited this long.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    held: Arc<Mutex<Option<Place>>>,
}

impl Peer {
    /// Has the connection hold a WebSocket's place, until it ends.
    pub(crate) fn keep(&self, place: Place) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }
}

/// What the listener has to know.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) limits: Limits,
    pub(crate) trusted: Vec<Network>,
    pub(crate) places: Arc<Places>,
    /// With it TLS is spoken, and nothing else.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Serves until `stop` turns true, and a moment longer what had begun.
pub(crate) async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(bounds.limits.connections));
    let mut tasks = JoinSet::new();
    let mut told = stop.clone();
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let accepted = tokio::select! {
            () = stopped(&mut told) => break,
            Some(_) = tasks.join_next() => continue,
            accepted = async { (permit.await, listener.accept().await) } => accepted,
        };
        let (Ok(permit), accepted) = accepted else { break };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(EXHAUSTED).await;
                continue;
            }
        };
        let exempt = bounds.trusted.iter().any(|network| network.contains(from.ip()));
        // Who has too many is not worth an answer: that would hold one more.
        let Some(place) = bounds.places.take(from.ip(), exempt) else { continue };
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: from.ip(), held: Arc::default() };
        let silence = Duration::from_millis(bounds.limits.silence_ms);
        let connection = Connection { stream, silence, stalled: None, peer: peer.clone(), _place: place, _permit: permit };
        // It is counted already: who stops in the middle of a handshake holds his own place, for the time that headers have.
        let (router, server, mut stop) = (router.clone(), server(&bounds.limits), stop.clone());
        let Some(config) = bounds.tls.clone() else {
            tasks.spawn(converse(connection, peer, router, server, stop));
            continue;
        };
        let header_time = Duration::from_millis(bounds.limits.header_ms);
        tasks.spawn(async move {
            let shaken = tokio::select! {
                shaken = tls::shake_hands(connection, config, header_time) => shaken,
                () = stopped(&mut stop) => None,
            };
            if let Some(stream) = shaken {
                converse(stream, peer, router, server, stop).await;
            }
        });
    }
    drop(listener);
    if timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tasks.shutdown().await;
    }
}

fn server(limits: &Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_ms))
        .max_headers(MAX_HEADERS)
        .max_header_size(limits.headers + limits.uri + HEADROOM)
        .max_buf_size(MAX_BUFFER.max(limits.headers + limits.uri + 2 * HEADROOM));
    server
}

async fn converse<S>(stream: S, peer: Peer, router: Router, server: http1::Builder, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, peer) = (router.clone(), peer.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.oneshot(request).await.map_err(|never: Infallible| never)
        }
    });
    let mut serving = Box::pin(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Resolves when the gateway is told to stop; never if nobody can tell it any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A connection whose peer takes nothing for too long is closed. That it sends nothing for too long is
/// noticed above: by hyper for headers, by [`crate::body`] for bodies, by pings for WebSockets.
struct Connection {
    stream: TcpStream,
    silence: Duration,
    /// Runs while something waits to be written.
    stalled: Option<Pin<Box<Sleep>>>,
    peer: Peer,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A request that still goes on has the peer too; the WebSocket is over all the same.
        self.peer.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Connection {
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let silence = self.silence;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(silence))).as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
