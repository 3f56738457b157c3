//! The proxy's JSON-RPC: `POST /`, `GET /method?parameter=…`, and methods over the WebSocket at `/websocket`.

use std::future::IntoFuture as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use node::rpc::envelope::{self, Call, Message, Read};
use node::rpc::error::Fault;
use node::rpc::listener::Bounded;
use node::rpc::params::{Params, shown};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::Proxy;
use super::methods::{METHODS, names};

/// How long a request's body and a WebSocket message may be, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// How long all answers of one batch may be, in bytes.
const MAX_ANSWERS: usize = 64 << 20;

/// At most this many requests are worked on at once; more wait.
const MAX_WORK: usize = 32;

/// At most this many WebSockets are open.
const MAX_SOCKETS: usize = 100;

/// How long a request may take to arrive, and how long its work may take: a distant header takes many questions.
const ARRIVAL: Duration = Duration::from_secs(10);
const WORK: Duration = Duration::from_secs(60);

/// A WebSocket on which nothing comes for this long is closed.
const SILENCE: Duration = Duration::from_secs(60);

/// What the requests share.
#[derive(Debug)]
struct Door {
    proxy: Arc<Proxy>,
    work: Semaphore,
    sockets: Arc<Semaphore>,
}

/// Serves until `stop` resolves.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let door = Arc::new(Door { proxy, work: Semaphore::new(MAX_WORK), sockets: Arc::new(Semaphore::new(MAX_SOCKETS)) });
    let router = Router::new()
        .route("/", get(list).post(post))
        .route("/websocket", get(upgrade))
        .route("/{method}", get(ask))
        .fallback(unknown)
        .with_state(door);
    let serving = axum::serve(Bounded::new(listener), router).into_future();
    tokio::select! {
        served = serving => served,
        () = stop => Ok(()),
    }
}

impl Door {
    /// Answers a request whose parameters were read.
    async fn call(&self, method: &str, params: Result<Params, Fault>) -> Result<Value, Fault> {
        let params = params?;
        let work = async {
            let _turn = self.work.acquire().await.map_err(|_| Fault::Busy("the proxy stops"))?;
            // Boxed: whoever waits for a turn should not carry the room for an inquiry.
            Box::pin(self.proxy.call(method, &params)).await
        };
        timeout(WORK, work).await.unwrap_or(Err(Fault::Late { after: WORK }))
    }

    async fn answer(&self, read: Read) -> (StatusCode, String) {
        let (id, result) = match read {
            Ok(Call { id, method, params }) => {
                let params = names(&method).and_then(|names| Params::from_json(params, names));
                (id, self.call(&method, params).await)
            }
            Err((id, fault)) => (id, Err(fault)),
        };
        match result {
            Ok(result) => (StatusCode::OK, result_answer(&id, &result)),
            Err(fault) => (fault.status_of_answer(), fault.answer(&id)),
        }
    }

    /// Answers a batch in order, within the time of one request.
    async fn answer_batch(&self, batch: Vec<Read>) -> String {
        let until = Instant::now() + WORK;
        let (mut answers, mut length) = (Vec::new(), 0);
        for read in batch {
            let id = read.as_ref().map_or_else(|(id, _)| id.clone(), |call| call.id.clone());
            let answer = if length > MAX_ANSWERS {
                Fault::Busy("the answers of this batch are too long together: ask one by one").answer(&id)
            } else {
                let late = |_| Fault::Late { after: WORK }.answer(&id);
                timeout_at(until, self.answer(read)).await.map_or_else(late, |(_, answer)| answer)
            };
            length += answer.len();
            answers.push(answer);
        }
        format!("[{}]", answers.join(","))
    }
}

/// `GET /`: what can be asked for.
async fn list() -> Response {
    let methods: Vec<_> = METHODS.iter().map(|(name, params)| json!({"method": name, "params": params})).collect();
    respond(StatusCode::OK, json!({"methods": methods}).to_string())
}

/// `GET /method?parameter=…`.
async fn ask(State(door): State<Arc<Door>>, Path(method): Path<String>, uri: Uri) -> Response {
    // CometBFT's id for requests that have none.
    let id = json!(-1);
    let params = names(&method).and_then(|names| Params::from_uri(&uri, names));
    match door.call(&method, params).await {
        Ok(result) => respond(StatusCode::OK, result_answer(&id, &result)),
        Err(fault) => respond(fault.status(), fault.answer(&id)),
    }
}

/// `POST /`.
async fn post(State(door): State<Arc<Door>>, body: Body) -> Response {
    let refused = |fault: Fault| respond(fault.status_of_answer(), fault.answer(&Value::Null));
    let bytes = match timeout(ARRIVAL, axum::body::to_bytes(body, MAX_REQUEST)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return refused(Fault::TooLarge { bound: MAX_REQUEST }),
        Err(_) => return refused(Fault::Late { after: ARRIVAL }),
    };
    match envelope::read(&bytes) {
        Ok(Message::One(read)) => {
            let (status, answer) = door.answer(read).await;
            respond(status, answer)
        }
        Ok(Message::Batch(batch)) => respond(StatusCode::OK, door.answer_batch(batch).await),
        Err(fault) => refused(fault),
    }
}

/// `GET /websocket`.
async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = Arc::clone(&door.sockets).try_acquire_owned() else {
        let fault = Fault::Busy("too many WebSockets are open");
        return respond(fault.status(), fault.answer(&Value::Null));
    };
    upgrade.max_message_size(MAX_REQUEST).max_frame_size(MAX_REQUEST).on_upgrade(move |socket| async move {
        converse(socket, &door).await;
        drop(place);
    })
}

/// Methods, one after the other. There are no subscriptions: events are not covered by headers.
async fn converse(mut socket: WebSocket, door: &Door) {
    while let Ok(Some(Ok(frame))) = timeout(SILENCE, socket.recv()).await {
        let bytes = match frame {
            Frame::Text(text) => axum::body::Bytes::from(text),
            Frame::Binary(bytes) => bytes,
            Frame::Ping(_) | Frame::Pong(_) => continue,
            Frame::Close(_) => return,
        };
        let answer = match envelope::read(&bytes) {
            Ok(Message::One(read)) => door.answer(read).await.1,
            Ok(Message::Batch(_)) => Fault::Request("batches are not taken over a WebSocket".to_owned()).answer(&Value::Null),
            Err(fault) => fault.answer(&Value::Null),
        };
        let sent = timeout(ARRIVAL, socket.send(Frame::text(answer))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn unknown(uri: Uri) -> Response {
    let fault = Fault::Method(format!("there is nothing at {}", shown(uri.path())));
    respond(fault.status(), fault.answer(&Value::Null))
}

fn respond(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn result_answer(id: &Value, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}
