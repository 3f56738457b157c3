//! A gateway on loopback with small upstreams behind it: in its process, or behind sockets.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use light::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use types::SigningKey;

use super::chain::{Lie, World, soon};
use crate::upstream::{NODE, RELAY, Target};
use crate::{Gateway, Settings, Upstream};

/// How the upstreams stand to the gateway. Every story is told for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    InProcess,
    Remote,
}

pub(super) const BOTH: [Stand; 2] = [Stand::InProcess, Stand::Remote];

/// The largest message that these tests' gateway and relay take.
pub(super) const FRAME: usize = 64 * 1024;

pub(super) struct Door {
    pub(super) url: String,
    pub(super) http: reqwest::Client,
    pub(super) stop: watch::Sender<bool>,
}

impl Door {
    pub(super) async fn new(stand: Stand) -> Self {
        Self::with(stand, World::new(Lie::None), |_| {}).await
    }

    pub(super) async fn with(stand: Stand, world: World, choose: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new("127.0.0.1:0".parse().expect("an address"));
        settings.limits.frame = FRAME;
        settings.limits.body = 4096;
        settings.limits.burst = 10_000;
        choose(&mut settings);
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let (stop, stopped) = watch::channel(false);
        let trust = world.trust();
        let node = served(world.router().route("/websocket", get(socket)).route("/status", get(|| async { "status" }))).await;
        let chain = rpc::Chain::with(rpc::Node::new(&node.1).expect("a URL"), trust, Options::default(), soon);
        let relay = match stand {
            Stand::InProcess => Upstream::InProcess(relay()),
            Stand::Remote => Upstream::Remote(served(relay()).await.1),
        };
        let node = match stand {
            Stand::InProcess => Upstream::InProcess(node.0),
            Stand::Remote => Upstream::Remote(node.1),
        };
        let (relay, node) = (Target::new(RELAY, relay).expect("an upstream"), Target::new(NODE, node).expect("an upstream"));
        let gateway = Gateway::assemble(settings, relay, node, chain, stopped).expect("a gateway");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{scheme}://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move { gateway.serve(listener).await });
        let http = client().build().expect("a client");
        Self { url, http, stop }
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        self.url.split_once("://").expect("a URL").1
    }

    /// Status and JSON of an answer.
    pub(super) async fn json(&self, path: &str) -> (u16, Value) {
        read(self.get(path)).await
    }

    /// Sends these bytes over a connection of its own, and reads until the gateway closes it.
    pub(super) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.expect("connected");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut answer));
        // A reset after the answer is an end too.
        let _ = reading.await.expect("the gateway closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) async fn metrics(&self) -> String {
        self.get("/metrics").send().await.expect("answered").text().await.expect("text")
    }
}

/// A client that believes the certificate of these tests.
pub(super) fn client() -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(super::tls::CERTIFICATE.as_bytes()).expect("a certificate");
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).add_root_certificate(root)
}

pub(super) async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("answered");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Serves a router on loopback, as another process would.
async fn served(router: Router) -> (Router, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = router.clone();
    tokio::spawn(async move { axum::serve(listener, serving).await });
    (router, url)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// An access token as the relay signs it, good for so many seconds; `seed` 1 is the relay's key.
pub(super) fn token(seed: u8, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let exp = now.saturating_add_signed(seconds);
    let signed = format!("{}.{}", encode(json!({"alg": "EdDSA", "kid": "one"})), encode(json!({"exp": exp, "sub": "did:zynk:x"})));
    let signature = key(seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.0))
}

/// What stands for a relay: it says what it was asked.
fn relay() -> Router {
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key(1).public().0), "kid": "one"}]});
    Router::new()
        .route("/.well-known/jwks.json", get(move || async move { Json(keys) }))
        .route("/api/v1/relay", get(|| async { Json(json!({"relay": true})) }))
        .route("/api/v1/echo", any(echo))
        .route("/api/v1/echo/{*rest}", any(echo))
        .route(
            "/api/v1/refused",
            get(|| async { (StatusCode::CONFLICT, [(CONTENT_TYPE, "application/problem+json")], r#"{"code":7042}"#) }),
        )
        .route("/api/v1/slow", any(std::future::pending::<()>))
        .route("/api/v1/panic", get(broken))
        .route("/api/v1/large", get(|| async { vec![b'x'; 300_000] }))
        .route("/api/v1/flood", get(flood))
        .route("/api/v1/endless", get(endless))
        .route("/api/v1/proofs/{leaf}", get(proof))
        .route("/api/v1/ws", get(socket))
}

async fn broken(headers: HeaderMap) -> StatusCode {
    assert!(headers.contains_key("nobody-sends-this"), "a handler's own fault");
    StatusCode::OK
}

async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return StatusCode::IM_A_TEAPOT.into_response() };
    let headers: Value =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), json!(value.to_str().unwrap_or_default()))).collect();
    let said = json!({"method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "body": body.len()});
    let unwanted = [
        (HeaderName::from_static("x-upstream"), "kept"),
        (HeaderName::from_static("x-request-id"), "not the gateway's"),
        (HeaderName::from_static("access-control-allow-origin"), "https://evil.example"),
    ];
    (unwanted, Json(said)).into_response()
}

/// Pieces, for ever.
async fn flood() -> Body {
    Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024]))))
}

/// A piece, and then nothing, for ever.
async fn endless() -> Body {
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
    Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
}

async fn proof(Path(leaf): Path<String>, headers: HeaderMap) -> Response {
    let world = World::new(Lie::None);
    let anchored = |sequence| {
        let mut anchor = world.anchored.anchor.clone();
        anchor.anchor.sequence = sequence;
        Json(json!({"state": "anchored", "anchor": anchor, "index": world.item.index, "path": world.item.path})).into_response()
    };
    if !headers.contains_key("authorization") {
        return (StatusCode::UNAUTHORIZED, Json(json!({"code": 7013}))).into_response();
    }
    let known = world.item.opening.leaf().to_string();
    match headers.get("x-request-id").map(|id| id.as_bytes()) {
        Some(id) if id.ends_with(b"1") => Json(json!({"state": "sealed", "sequence": 1})).into_response(),
        Some(id) if id.ends_with(b"2") => anchored(2),
        _ if leaf == known => anchored(1),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Says what it hears, and does as it is told.
async fn socket(upgrade: WebSocketUpgrade, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_some_and(|value| value.as_bytes().ends_with(b"refuse")) {
        return (StatusCode::FORBIDDEN, "no").into_response();
    }
    let client = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
    let upgrade = upgrade.protocols(["zynk.v1+cbor", "zynk.v1+json"]).max_message_size(FRAME).max_frame_size(FRAME);
    upgrade.on_upgrade(move |socket| talk(socket, client))
}

async fn talk(mut socket: WebSocket, client: String) {
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(text) if text.as_str() == "who" => Message::text(client.clone()),
            Message::Text(text) if text.as_str() == "replace" => Message::Close(Some(CloseFrame { code: 4409, reason: "replaced".into() })),
            Message::Text(text) if text.as_str() == "large" => Message::text("x".repeat(FRAME + 1)),
            Message::Text(text) if text.as_str() == "vanish" => return,
            Message::Text(_) | Message::Binary(_) => message,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(frame) => {
                // So that a test can see which code arrived here.
                if let Some(CloseFrame { code, .. }) = frame {
                    CLOSED.send_replace(code);
                }
                continue;
            }
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

/// The code of the last close frame that reached an upstream, in this test process.
pub(super) static CLOSED: std::sync::LazyLock<watch::Sender<u16>> = std::sync::LazyLock::new(|| watch::Sender::new(0));
