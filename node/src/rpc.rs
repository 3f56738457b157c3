//! The RPC server, in CometBFT 0.38's format, so that published clients work unchanged.
//!
//! JSON-RPC 2.0 by `POST /`, one method by `GET /method?parameter=…`, and both methods and
//! subscriptions by the WebSocket at `/websocket`. `GET /health` is for those who watch: 200 while
//! blocks come, 503 when they do not.
//!
//! Whatever comes in is a stranger's: every bound stands at the top of the file that holds to it.
//! Methods that read the store or check signatures run on blocking threads, [`MAX_WORK`] at once.

mod engine;
pub mod envelope;
pub mod error;
mod events;
mod history;
pub mod listener;
mod methods;
mod metrics;
pub mod params;
mod search;
mod snapshots;
mod socket;
mod waiting;

use std::future::{IntoFuture as _, pending};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method as Verb, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_http::cors::{Any, CorsLayer};

use crate::app::{App, Committed};
use crate::index::Index;
use envelope::{Call, Message, Read};
use error::Fault;
use events::Rendered;
use methods::METHODS;
pub use methods::{SPOKEN, block_json, prove_transaction};
use params::{Params, shown};

/// How long a request's body and a WebSocket message may be, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// At most this many methods work on the store at once; more wait.
pub const MAX_WORK: usize = 64;

/// At most this many WebSockets are open.
pub const MAX_SOCKETS: usize = 1000;

/// How long all answers of one batch may be, in bytes.
const MAX_ANSWERS: usize = 16 << 20;

/// How long a request may take to arrive, and how long its work may take.
const ARRIVAL: Duration = Duration::from_secs(10);
const WORK: Duration = Duration::from_secs(15);

/// How long open connections may go on after the node was told to stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// What `status` says of this node beside its chain.
#[derive(Debug, Clone)]
pub struct Info {
    /// What its operator calls it.
    pub moniker: String,
    /// Its id on the network.
    pub node_id: [u8; 20],
    /// Where it listens for other nodes.
    pub listen: String,
    /// The key that its votes are signed with, if it validates.
    pub validator: Option<tendermint::PublicKey>,
    /// What searches are answered from.
    pub index: Index,
}

/// Serves until `shutdown` turns true.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, app: Arc<App>, info: Info, shutdown: watch::Receiver<bool>) -> io::Result<()> {
    let door = Arc::new(Door {
        app,
        info,
        work: Arc::new(Semaphore::new(MAX_WORK)),
        sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
        rendered: Mutex::default(),
        told: engine::Told::default(),
        stop: shutdown.clone(),
    });
    let listener = listener::Bounded::new(listener);
    let serving = axum::serve(listener, router(door)).with_graceful_shutdown(stopped(shutdown.clone())).into_future();
    tokio::select! {
        served = serving => served,
        () = async { stopped(shutdown).await; tokio::time::sleep(FAREWELL).await; } => Ok(()),
    }
}

fn router(door: Arc<Door>) -> Router {
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Verb::GET, Verb::POST]).allow_headers([CONTENT_TYPE]);
    Router::new()
        .route("/", get(list).post(post))
        .route("/websocket", get(upgrade))
        .route("/metrics", get(metrics::metrics))
        .route("/{method}", get(ask))
        .merge(snapshots::routes())
        .fallback(unknown)
        .layer(cors)
        .with_state(door)
}

/// What the requests share.
#[derive(Debug)]
struct Door {
    app: Arc<App>,
    info: Info,
    work: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    /// The last block's events.
    rendered: Mutex<Option<Arc<Rendered>>>,
    /// The engine's last words.
    told: engine::Told,
    stop: watch::Receiver<bool>,
}

impl Door {
    /// Answers a request in JSON.
    async fn call(self: &Arc<Self>, method: &str, params: Value) -> Result<Value, Fault> {
        let (method, names) = find(method)?;
        self.within_time(method, Params::from_json(params, names)?).await
    }

    async fn within_time(self: &Arc<Self>, method: methods::Method, params: Params) -> Result<Value, Fault> {
        timeout(WORK, methods::call(self, method, params)).await.unwrap_or(Err(Fault::Late { after: WORK }))
    }

    /// Runs `work` on a blocking thread, when it is its turn.
    async fn blocking<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) -> T + Send + 'static) -> Result<T, Fault> {
        let failed = |_| Fault::Internal("the node stops, or failed at this request".to_owned());
        let turn = Arc::clone(&self.work).acquire_owned().await.map_err(|_| Fault::Busy("the node stops"))?;
        let door = Arc::clone(self);
        // The turn ends with the work, also where nobody waits for the work any more.
        let working = tokio::task::spawn_blocking(move || {
            let done = work(&door);
            drop(turn);
            done
        });
        working.await.map_err(failed)
    }

    /// Runs `work` on a blocking thread that nobody waits for, if it can begin at once.
    fn in_background(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) -> Result<(), Fault> {
        let busy = |_| Fault::Busy("too much is being worked on: try again");
        let turn = Arc::clone(&self.work).try_acquire_owned().map_err(busy)?;
        let door = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || {
            work(&door);
            drop(turn);
        }));
        Ok(())
    }

    /// A block's events. All sockets ask for the same block at about the same time.
    fn rendered(&self, decided: &Committed) -> Arc<Rendered> {
        let mut last = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = last.as_ref().filter(|rendered| rendered.height == decided.block.header.height) {
            return Arc::clone(rendered);
        }
        let rendered = Arc::new(Rendered::new(decided));
        *last = Some(Arc::clone(&rendered));
        rendered
    }
}

fn find(name: &str) -> Result<(methods::Method, &'static [&'static str]), Fault> {
    match METHODS.iter().find(|(_, known, _)| *known == name) {
        Some((method, _, names)) => Ok((*method, names)),
        None if ["subscribe", "unsubscribe", "unsubscribe_all"].contains(&name) => {
            Err(Fault::Method(format!("{name} is served by the WebSocket at /websocket")))
        }
        None => Err(Fault::Method(format!("there is no method {}", shown(name)))),
    }
}

/// `GET /`: what can be asked for.
async fn list() -> Response {
    let methods: Vec<_> = METHODS.iter().map(|(_, name, params)| json!({"method": name, "params": params})).collect();
    respond(StatusCode::OK, json!({"methods": methods}).to_string())
}

/// `GET /method?parameter=…`.
async fn ask(State(door): State<Arc<Door>>, Path(method): Path<String>, uri: Uri) -> Response {
    // CometBFT's id for requests that have none.
    let id = json!(-1);
    let read = find(&method).and_then(|(method, names)| Ok((method, Params::from_uri(&uri, names)?)));
    let result = match read {
        Ok((method, params)) => door.within_time(method, params).await,
        Err(fault) => Err(fault),
    };
    match result {
        Ok(result) => respond(StatusCode::OK, result_answer(&id, &result)),
        Err(fault) => respond(fault.status(), error_answer(&id, &fault)),
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
            let (status, answer) = answer(&door, read).await;
            respond(status, answer)
        }
        Ok(Message::Batch(batch)) => respond(StatusCode::OK, answer_batch(&door, batch).await),
        Err(fault) => refused(fault),
    }
}

async fn answer(door: &Arc<Door>, read: Read) -> (StatusCode, String) {
    let (id, result) = match read {
        Ok(Call { id, method, params }) => (id, door.call(&method, params).await),
        Err((id, fault)) => (id, Err(fault)),
    };
    match result {
        Ok(result) => (StatusCode::OK, result_answer(&id, &result)),
        Err(fault) => (fault.status_of_answer(), error_answer(&id, &fault)),
    }
}

/// Answers a batch in order, within the time of one request.
async fn answer_batch(door: &Arc<Door>, batch: Vec<Read>) -> String {
    let until = tokio::time::Instant::now() + WORK;
    let (mut answers, mut length) = (Vec::new(), 0);
    for read in batch {
        let id = read.as_ref().map_or_else(|(id, _)| id.clone(), |call| call.id.clone());
        let answer = if length > MAX_ANSWERS {
            Fault::Busy("the answers of this batch are too long together: ask one by one").answer(&id)
        } else {
            let late = |_| Fault::Late { after: WORK }.answer(&id);
            tokio::time::timeout_at(until, answer(door, read)).await.map_or_else(late, |(_, answer)| answer)
        };
        length += answer.len();
        answers.push(answer);
    }
    format!("[{}]", answers.join(","))
}

/// `GET /websocket`.
async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = Arc::clone(&door.sockets).try_acquire_owned() else {
        let fault = Fault::Busy("too many WebSockets are open");
        return respond(fault.status(), fault.answer(&Value::Null));
    };
    let upgrade = upgrade.max_message_size(MAX_REQUEST).max_frame_size(MAX_REQUEST);
    upgrade.on_upgrade(move |socket| async move {
        socket::serve(socket, door).await;
        drop(place);
    })
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

fn error_answer(id: &Value, fault: &Fault) -> String {
    fault.answer(id)
}

/// A transaction's result as JSON, as every answer has it.
pub(crate) fn result_text(result: &tendermint::abci::types::ExecTxResult) -> String {
    methods::result_json(result).map_or_else(|_| Value::Null.to_string(), |json| json.to_string())
}

/// Resolves when the node is told to stop; never if nobody can tell it any more.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
