//! The RPC server, in CometBFT 0.38's format, so that published clients work unchanged.
//!
//! JSON-RPC 2.0 by `POST /`, one method by `GET /method?parameter=…`, and both methods and
//! subscriptions by the WebSocket at `/websocket`. `GET /health` is for those who watch: 200 while
//! blocks come, 503 when they do not.
//!
//! Whatever comes in is a stranger's: every bound stands at the top of the file that holds to it.
//! Methods that read the store or check signatures run on blocking threads, [`MAX_WORK`] at once; transactions are taken in together.

pub mod answer;
mod engine;
pub mod envelope;
pub mod error;
mod events;
mod history;
mod intake;
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
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_http::cors::{Any, CorsLayer};

use crate::app::{App, Committed};
use crate::index::Index;
use answer::{Callee, MAX_REQUEST, refuse, respond, unknown};
use error::Fault;
use events::Rendered;
use intake::Intake;
use methods::METHODS;
pub use methods::{SPOKEN, block_json, prove_transaction};
use params::{Params, shown};

/// At most this many methods work on the store at once; more wait.
pub const MAX_WORK: usize = 64;

/// At most this many WebSockets are open.
pub const MAX_SOCKETS: usize = 1000;

/// How long all answers of one batch may be, in bytes.
const MAX_ANSWERS: usize = 16 << 20;

/// How long a request's work may take.
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
        intake: Intake::start(Arc::clone(&app)),
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
    intake: Intake,
    info: Info,
    work: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    /// The last block's events.
    rendered: Mutex<Option<Arc<Rendered>>>,
    /// The engine's last words.
    told: engine::Told,
    stop: watch::Receiver<bool>,
}

impl Callee for Arc<Door> {
    const WORK: Duration = WORK;
    const MAX_ANSWERS: usize = MAX_ANSWERS;

    // So that they are judged together.
    fn goes_along(&self, method: &str) -> bool {
        method == "broadcast_tx_sync"
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, Fault> {
        let (method, names) = find(method)?;
        self.within_time(method, Params::from_json(params, names)?).await
    }
}

impl Door {
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
    let read = find(&method).and_then(|(method, names)| Ok((method, Params::from_uri(&uri, names)?)));
    let result = match read {
        Ok((method, params)) => door.within_time(method, params).await,
        Err(fault) => Err(fault),
    };
    answer::get(&result)
}

/// `POST /`.
async fn post(State(door): State<Arc<Door>>, body: Body) -> Response {
    answer::post(&door, body).await
}

/// `GET /websocket`.
async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = Arc::clone(&door.sockets).try_acquire_owned() else {
        return refuse(&Fault::Busy("too many WebSockets are open"));
    };
    let upgrade = upgrade.max_message_size(MAX_REQUEST).max_frame_size(MAX_REQUEST);
    upgrade.on_upgrade(move |socket| async move {
        socket::serve(socket, door).await;
        drop(place);
    })
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
