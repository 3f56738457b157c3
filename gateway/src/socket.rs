//! A WebSocket on its way to an upstream.
//!
//! In one process the upgrade request itself is handed on and the upstream takes the connection: no
//! hop, no copy; its bound on frames holds. To another process the gateway opens a WebSocket of its
//! own, with the subprotocols that the client offered, and passes messages, one at a time in each
//! direction: what one side does not take, the other side does not send. Pings are each side's own.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::Error;
use crate::admission::Place;
use crate::edge::{Gate, there};
use crate::listener::{Peer, stopped};
use crate::upstream::{Target, Way, kind, prepare};

/// The read buffer of a WebSocket, in bytes, allocated at once; tungstenite's own is 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// A peer that does not take a message for this long is gone.
const SEND: Duration = Duration::from_secs(15);

/// How long a peer may take to answer a close frame.
const FAREWELL: Duration = Duration::from_secs(2);

/// After a close for cause, at most this much more is read and thrown away, so that the close frame is
/// not overtaken by a reset.
const LINGER: usize = 4 << 20;

/// How many silent pings a client is given.
const MISSED: u32 = 3;

/// What of the client's request goes on to a remote upstream.
const PASSED: [&str; 4] = ["authorization", "user-agent", "x-request-id", "origin"];

/// The client's end.
type Client = WebSocketStream<TokioIo<Upgraded>>;

/// The upstream's end.
type Server = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket through to `target`.
pub(crate) async fn open(gate: &Gate, target: &Target, mut request: Request, client: IpAddr) -> Result<Response, Error> {
    // What create_response checks is all of RFC 6455 §4.2.1 that concerns us.
    let accepted = create_response_with_body(&request, Body::empty).map_err(|_| Error::NotASocket)?;
    let peer = request.extensions().get::<Peer>().cloned().ok_or(Error::NotASocket)?;
    let place = gate.sockets.take(client, false).ok_or(Error::TooManySockets)?;
    let path = there(request.uri().path_and_query().ok_or(Error::Target)?)?;
    prepare(&mut request, path, client);
    match &target.way {
        Way::InProcess(_) => hand_over(gate, target, request, &peer, place).await,
        Way::Remote { base, .. } => {
            let url = Target::url(base, request.uri().path_and_query().ok_or(Error::Target)?)?;
            bridge(gate, target, url, request, accepted, &peer, place).await
        }
    }
}

/// Has the upstream of this process take the connection.
async fn hand_over(gate: &Gate, target: &Target, mut request: Request, peer: &Peer, place: Place) -> Result<Response, Error> {
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let answer = timeout(gate.request_time(), target.send(request)).await.unwrap_or(Err(Error::Late { upstream: target.name }))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        peer.keep(place);
    }
    Ok(answer)
}

/// Opens a WebSocket to another process, and passes messages between the two.
async fn bridge(
    gate: &Gate,
    target: &Target,
    url: Url,
    mut request: Request,
    accepted: Response,
    peer: &Peer,
    place: Place,
) -> Result<Response, Error> {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(Error::NotASocket)?;
    let asked = invitation(url, request.headers())?;
    let config = config(gate.settings.limits.frame);
    let connecting = timeout(gate.request_time(), connect_async_with_config(asked, Some(config), true)).await;
    let (server, answer) = match connecting.map_err(|_| Error::Late { upstream: target.name }) {
        Ok(Ok(connected)) => connected,
        // It refuses: that is an answer.
        Ok(Err(tungstenite::Error::Http(answer))) => return Ok(refusal(*answer)),
        Ok(Err(error)) => {
            tracing::debug!(%error, upstream = target.name, "no WebSocket");
            let error = Error::Unreachable { upstream: target.name };
            gate.metrics.failed(target.name, kind(&error));
            return Err(error);
        }
        Err(error) => {
            gate.metrics.failed(target.name, kind(&error));
            return Err(error);
        }
    };
    let mut accepted = accepted;
    if let Some(protocol) = answer.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        accepted.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    peer.keep(place);
    let gate = Gate::clone(gate);
    tokio::spawn(async move {
        // It fails where the client went before it had the answer.
        let Ok(upgraded) = upgrade.await else { return };
        let client = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        converse(&gate, client, server).await;
    });
    Ok(accepted)
}

/// The request that opens the gateway's own WebSocket.
fn invitation(mut url: Url, client: &HeaderMap) -> Result<tungstenite::handshake::client::Request, Error> {
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| Error::Internal)?;
    let host = url.host_str().ok_or(Error::Internal)?;
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = tungstenite::handshake::client::Request::builder()
        .uri(url.as_str())
        .header("host", host)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    let passed = PASSED.into_iter().chain([crate::headers::CLIENT]);
    for (name, value) in passed.filter_map(|name| Some((HeaderName::from_static(name), client.get(name)?))) {
        request = request.header(name, value);
    }
    // As one header: tungstenite reads the first only.
    let offered: Vec<&str> = client.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok()).collect();
    if !offered.is_empty() {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, offered.join(", "));
    }
    request.body(()).map_err(|_| Error::Header { name: "sec-websocket-protocol" })
}

/// What a remote upstream answers instead of a WebSocket.
fn refusal(answer: tungstenite::http::Response<Option<Vec<u8>>>) -> Response {
    let (parts, body) = answer.into_parts();
    let kept = [CONTENT_TYPE, axum::http::header::RETRY_AFTER, axum::http::header::WWW_AUTHENTICATE];
    let mut response = (parts.status, body.unwrap_or_default()).into_response();
    for name in kept {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn config(frame: usize) -> WebSocketConfig {
    // Each message is written at once; beside it there is room for pongs and a close.
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * frame + READ_BUFFER)
        .max_message_size(Some(frame))
        .max_frame_size(Some(frame))
}

/// How one direction ended.
enum End {
    /// The side that it reads from says goodbye.
    Closed(Option<CloseFrame>),
    /// The side that it reads from broke the rules: it is told.
    Refused(CloseCode, &'static str),
    /// The side that it reads from is gone.
    Gone,
    /// The side that it writes to does not take it.
    Stuck,
}

/// Passes messages until either side ends, then tells the other.
async fn converse(gate: &Gate, client: Client, server: Server) {
    let ((mut to_client, mut from_client), (mut to_server, mut from_server)) = (client.split(), server.split());
    let heard = watch::Sender::new(Instant::now());
    let mut stop = gate.stop.clone();
    let (client_says, server_says) = tokio::select! {
        end = up(gate, &mut from_client, &mut to_server, &heard) => match end {
            End::Closed(frame) => (None, Some(frame)),
            End::Refused(code, reason) => (Some(close(code, reason)), Some(close(CloseCode::Away, "the client broke the rules"))),
            End::Gone => (None, Some(close(CloseCode::Away, "the client is gone"))),
            End::Stuck => (Some(close(CloseCode::Restart, "the upstream is gone")), None),
        },
        end = down(gate, &mut from_server, &mut to_client, heard.subscribe()) => match end {
            End::Closed(frame) => (Some(frame), None),
            End::Refused(..) => (Some(close(CloseCode::Error, "the upstream broke the rules")), Some(close(CloseCode::Size, ""))),
            End::Gone => (Some(close(CloseCode::Restart, "the upstream is gone")), None),
            End::Stuck => (None, Some(close(CloseCode::Away, "the client is gone"))),
        },
        () = stopped(&mut stop) => (Some(close(CloseCode::Away, "the gateway stops")), Some(close(CloseCode::Away, "the gateway stops"))),
    };
    // None: this side has said it, or is gone; a close frame that it sent is answered all the same.
    tokio::join!(part(to_client, from_client, client_says), part(to_server, from_server, server_says));
}

fn close(code: CloseCode, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
}

/// Client to upstream.
async fn up(gate: &Gate, from: &mut SplitStream<Client>, to: &mut SplitSink<Server, Message>, heard: &watch::Sender<Instant>) -> End {
    loop {
        let message = match next(from.next().await) {
            Ok(message) => message,
            Err(end) => return end,
        };
        heard.send_replace(Instant::now());
        if message.is_ping() || message.is_pong() {
            continue;
        }
        gate.metrics.bytes_in.inc_by(message.len() as u64);
        if !matches!(timeout(SEND, to.send(message)).await, Ok(Ok(()))) {
            return End::Stuck;
        }
    }
}

/// Upstream to client, with the pings that tell whether the client is there.
async fn down(gate: &Gate, from: &mut SplitStream<Server>, to: &mut SplitSink<Client, Message>, heard: watch::Receiver<Instant>) -> End {
    let every = Duration::from_millis(gate.settings.limits.ping_ms);
    let mut ping = interval(every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let message = tokio::select! {
            message = from.next() => match next(message) {
                Ok(message) if message.is_ping() || message.is_pong() => continue,
                Ok(message) => message,
                Err(end) => return end,
            },
            _ = ping.tick() => {
                if heard.borrow().elapsed() > every * MISSED {
                    return End::Stuck;
                }
                Message::Ping(bytes::Bytes::new())
            }
        };
        gate.metrics.bytes_out.inc_by(message.len() as u64);
        if !matches!(timeout(SEND, to.send(message)).await, Ok(Ok(()))) {
            return End::Stuck;
        }
    }
}

/// A message, or why there is no more.
fn next(read: Option<Result<Message, tungstenite::Error>>) -> Result<Message, End> {
    match read {
        Some(Ok(Message::Close(frame))) => Err(End::Closed(frame)),
        Some(Ok(message)) => Ok(message),
        Some(Err(tungstenite::Error::Capacity(_))) => Err(End::Refused(CloseCode::Size, "the message is too long")),
        Some(Err(tungstenite::Error::Utf8(_))) => Err(End::Refused(CloseCode::Invalid, "the text is not UTF-8")),
        Some(Err(tungstenite::Error::Protocol(error))) if !is_reset(&error) => Err(End::Refused(CloseCode::Protocol, "not RFC 6455")),
        Some(Err(_)) | None => Err(End::Gone),
    }
}

const fn is_reset(error: &tungstenite::error::ProtocolError) -> bool {
    matches!(error, tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
}

/// Says goodbye to one side, and waits a moment for its answer.
async fn part<S>(to: SplitSink<WebSocketStream<S>, Message>, from: SplitStream<WebSocketStream<S>>, says: Option<Option<CloseFrame>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Ok(mut socket) = from.reunite(to) else { return };
    let goodbye = async {
        let for_cause = matches!(&says, Some(Some(CloseFrame { code: CloseCode::Size | CloseCode::Protocol | CloseCode::Invalid, .. })));
        match says {
            // Its own close frame is answered by flushing what tungstenite has queued.
            None => socket.flush().await.unwrap_or_default(),
            Some(frame) => socket.close(frame).await.unwrap_or_default(),
        }
        if for_cause {
            let (mut left, mut buffer) = (LINGER, [0; READ_BUFFER]);
            while let Ok(read @ 1..) = socket.get_mut().read(&mut buffer).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
            return;
        }
        while let Some(Ok(_)) = socket.next().await {}
    };
    // It may be gone, or not care.
    let _ = timeout(FAREWELL, goodbye).await;
}
