//! An attacker between a person and their gateway: passes everything on, and rewrites what it was told to.
//!
//! It is part of the story, stands on loopback, and knows no other network than the demo's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use audit::Commitment;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, StreamExt as _};
use mailbox::ServerFrame;
use mailbox::wire::{self, Encoding};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use types::Hash;

use crate::failure::Failure;

/// The largest body that is passed on, in bytes.
const MAX_BODY: usize = 4 << 20;

/// What is spoken over a WebSocket.
const PROTOCOLS: [Encoding; 2] = [Encoding::Cbor, Encoding::Json];

/// What the attacker does to answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attack {
    /// Nothing yet: it only keeps what the node says.
    Listens,
    /// Another Signal key for the first device of whoever is asked for.
    WrongKey {
        /// The attacker's, as text.
        key: String,
    },
    /// A device more, which is the attacker's.
    ExtraDevice,
    /// Another commitment for each message.
    OtherCommitment,
    /// What the node said before, again.
    OldState,
}

/// The attacker. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Where people take it for the gateway.
    pub(super) url: String,
    plan: Arc<Plan>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Plan {
    gateway: String,
    http: reqwest::Client,
    attack: Mutex<Attack>,
    /// What the node said, by what it was asked; as many as one client asks in the demo.
    heard: Mutex<BTreeMap<String, Value>>,
}

impl Proxy {
    pub(super) async fn start(gateway: String) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| Failure::Demo(error.to_string()))?;
        let plan = Arc::new(Plan { gateway, http, attack: Mutex::new(Attack::Listens), heard: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Failure::Runtime)?;
        let url = format!("http://{}", listener.local_addr().map_err(Failure::Runtime)?);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&plan));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, plan, task })
    }

    /// From here on it does this.
    pub(super) fn set(&self, attack: Attack) {
        *self.plan.attack.lock().unwrap_or_else(PoisonError::into_inner) = attack;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Plan {
    fn attack(&self) -> Attack {
        self.attack.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What becomes of an answer to `path`.
    fn rewrite(&self, path: &str, question: &[u8], answer: &mut Value) {
        match self.attack() {
            Attack::WrongKey { key } if path.starts_with("/api/v1/prekeys/") => {
                if let Some(device) = answer.pointer_mut("/devices/0/identity_key") {
                    *device = key.into();
                }
            }
            Attack::ExtraDevice if path.starts_with("/api/v1/prekeys/") => {
                if let Some(devices) = answer.pointer_mut("/devices").and_then(Value::as_array_mut)
                    && let Some(mut extra) = devices.last().cloned()
                {
                    extra["device"] = (extra["device"].as_u64().unwrap_or(0) + 1).into();
                    devices.push(extra);
                }
            }
            Attack::Listens if path == "/rpc" => {
                if let Some(asked) = asked(question) {
                    self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, answer.clone());
                }
            }
            Attack::OldState if path == "/rpc" => {
                let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(old) = asked(question).and_then(|asked| heard.get(&asked)) {
                    let id = answer["id"].clone();
                    answer.clone_from(old);
                    answer["id"] = id;
                }
            }
            _ => {}
        }
    }

    /// What becomes of a frame from the relay.
    fn rewrite_frame(&self, encoding: Encoding, frame: &[u8]) -> Option<Vec<u8>> {
        if self.attack() != Attack::OtherCommitment {
            return None;
        }
        let mut frame = wire::decode_server(encoding, frame).ok()?;
        let ServerFrame::Received(received) = &mut frame else { return None };
        for item in &mut received.items {
            item.content_hash = item.content_hash.map(|_| Commitment(Hash::sha256(&[b"another text"])));
        }
        Some(wire::encode(encoding, &frame))
    }
}

/// What a node was asked, without the question's id.
fn asked(question: &[u8]) -> Option<String> {
    let question: Value = serde_json::from_slice(question).ok()?;
    Some(format!("{} {}", question["method"], question["params"]))
}

async fn pass(State(plan): State<Arc<Plan>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        let path = parts.uri.path().to_owned();
        return match WebSocketUpgrade::from_request_parts(&mut parts, &plan).await {
            Ok(upgrade) => upgrade.protocols(PROTOCOLS.map(Encoding::subprotocol)).on_upgrade(move |client| bridge(plan, path, client)),
            Err(refused) => refused.into_response(),
        };
    }
    match forward(&plan, &parts, body).await {
        Ok(response) => response,
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn forward(plan: &Plan, parts: &axum::http::request::Parts, body: Body) -> Result<Response, axum::BoxError> {
    let question = to_bytes(body, MAX_BODY).await?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = plan.http.request(parts.method.clone(), format!("{}{path}", plan.gateway)).body(question.clone());
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await?;
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut bytes = answer.bytes().await?;
    if let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) {
        plan.rewrite(parts.uri.path(), &question, &mut value);
        bytes = Bytes::from(value.to_string());
    }
    let mut response = (status, bytes).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// Passes frames on, both ways, until either side leaves.
async fn bridge(plan: Arc<Plan>, path: String, client: WebSocket) {
    let spoken = client.protocol().and_then(|protocol| protocol.to_str().ok());
    let Some(encoding) = PROTOCOLS.into_iter().find(|encoding| Some(encoding.subprotocol()) == spoken) else { return };
    let Ok(mut request) = format!("{}{path}", plan.gateway.replacen("http", "ws", 1)).into_client_request() else { return };
    let Ok(protocol) = encoding.subprotocol().parse() else { return };
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let Ok((relay, _)) = tokio_tungstenite::connect_async(request).await else { return };
    let ((mut to_client, mut from_client), (mut to_relay, mut from_relay)) = (client.split(), relay.split());
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            let message = match message {
                Message::Text(text) => tungstenite::Message::text(text.as_str()),
                Message::Binary(bytes) => tungstenite::Message::binary(bytes),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
            };
            if to_relay.send(message).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = from_relay.next().await {
            if !message.is_text() && !message.is_binary() {
                continue;
            }
            let frame = message.into_data();
            let frame = plan.rewrite_frame(encoding, &frame).map_or(frame, Bytes::from);
            let message = match encoding {
                Encoding::Json => Message::text(String::from_utf8_lossy(&frame).into_owned()),
                Encoding::Cbor => Message::binary(frame),
            };
            if to_client.send(message).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
