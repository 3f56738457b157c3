//! The proxy's JSON-RPC: `POST /`, `GET /method?parameter=…`, and methods over the WebSocket at `/websocket`.

use std::future::IntoFuture as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use node::rpc::answer::{self, ARRIVAL, Callee, MAX_REQUEST, refuse, respond, unknown};
use node::rpc::envelope;
use node::rpc::error::Fault;
use node::rpc::listener::Bounded;
use node::rpc::params::Params;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Proxy;
use super::methods::{METHODS, names};

/// How long all answers of one batch may be, in bytes.
const MAX_ANSWERS: usize = 64 << 20;

/// At most this many requests are worked on at once; more wait.
const MAX_WORK: usize = 32;

/// At most this many WebSockets are open.
const MAX_SOCKETS: usize = 100;

/// How long a request's work may take: a distant header takes many questions.
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

impl Callee for Door {
    const WORK: Duration = WORK;
    const MAX_ANSWERS: usize = MAX_ANSWERS;

    async fn call(&self, method: &str, params: Value) -> Result<Value, Fault> {
        let names = names(method)?;
        self.within_time(method, Params::from_json(params, names)?).await
    }
}

impl Door {
    async fn within_time(&self, method: &str, params: Params) -> Result<Value, Fault> {
        let work = async {
            let _turn = self.work.acquire().await.map_err(|_| Fault::Busy("the proxy stops"))?;
            // Boxed: whoever waits for a turn should not carry the room for an inquiry.
            Box::pin(self.proxy.call(method, &params)).await
        };
        timeout(WORK, work).await.unwrap_or(Err(Fault::Late { after: WORK }))
    }
}

/// `GET /`: what can be asked for.
async fn list() -> Response {
    let methods: Vec<_> = METHODS.iter().map(|(name, params)| json!({"method": name, "params": params})).collect();
    respond(StatusCode::OK, json!({"methods": methods}).to_string())
}

/// `GET /method?parameter=…`.
async fn ask(State(door): State<Arc<Door>>, Path(method): Path<String>, uri: Uri) -> Response {
    let result = match names(&method).and_then(|names| Params::from_uri(&uri, names)) {
        Ok(params) => door.within_time(&method, params).await,
        Err(fault) => Err(fault),
    };
    answer::get(&result)
}

/// `POST /`.
async fn post(State(door): State<Arc<Door>>, body: Body) -> Response {
    answer::post(door.as_ref(), body).await
}

/// `GET /websocket`.
async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = Arc::clone(&door.sockets).try_acquire_owned() else {
        return refuse(&Fault::Busy("too many WebSockets are open"));
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
        let (_, answer) = answer::one(door, envelope::read_alone(&bytes)).await;
        let sent = timeout(ARRIVAL, socket.send(Frame::text(answer))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
