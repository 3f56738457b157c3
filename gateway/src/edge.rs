//! The way of a request: seen, bounded, checked, and handed on or answered.
//!
//! [`observe`] gives it an id, counts and logs it; browsers' preflights are answered next; [`admit`]
//! refuses what is malformed, too large, too much, or carries a bad token; then its class decides.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts as RequestParts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::body::bounded;
use crate::error::Code;
use crate::gateway::Parts;
use crate::headers::{self, REQUEST_ID};
use crate::listener::Peer;
use crate::target::{Class, check, method_name};
use crate::{Error, health, metrics, queries, resolver, socket, tokens, upstream};

/// For how long a browser may remember what a preflight said.
const PREFLIGHT: Duration = Duration::from_secs(60 * 60);

pub(crate) type Gate = Arc<Parts>;

/// What is known of a request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) class: Class,
    pub(crate) client: IpAddr,
}

pub(crate) fn router(gate: &Gate) -> Router {
    // Layers are wrapped from the last line inwards. Every path goes one way: what is where is decided
    // by `Class`, once, so that limits, counters and routes cannot disagree.
    Router::new()
        .fallback(any(answer))
        .layer(CatchPanicLayer::custom(|_| Error::Internal.into_response()))
        .layer(from_fn_with_state(Arc::clone(gate), admit))
        .layer(cors(&gate.settings.origins))
        .layer(from_fn_with_state(Arc::clone(gate), observe))
        .with_state(Arc::clone(gate))
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, REQUEST_ID])
        .expose_headers([REQUEST_ID, RETRY_AFTER])
        .max_age(PREFLIGHT)
}

/// Gives the request its id, and tells log and counters how it went: nothing of its path but the class.
async fn observe(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (class, method) = (Class::of(request.uri().path()), method_name(request.method()));
    let id = headers::request_id(request.headers());
    // Upstreams get the id in one spelling.
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id.clone());
    secure(response.headers_mut());
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    gate.metrics.answered(class, status, took);
    let code = response.extensions().get::<Code>().map_or(0, |Code(code)| *code);
    if code != 0 {
        gate.metrics.refused(code);
    }
    let (request_id, took_us) = (id.to_str().unwrap_or_default(), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    tracing::info!(target: "gateway::access", request_id, method, route = class.name(), status, code, took_us, "answered");
    response
}

/// Nothing here is a page: a browser is to run, frame and guess nothing.
fn secure(headers: &mut HeaderMap) {
    const SAID: [(HeaderName, &str); 5] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    for (name, value) in SAID {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Answers are about now, and some about one person. A shared cache is to keep none.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Refuses what is not to be worked on.
async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match judge(&gate, &parts).await {
        Ok((visitor, turn)) => {
            parts.extensions.insert(visitor);
            let answer = next.run(Request::from_parts(parts, body)).await;
            // The turn ends with the body. A WebSocket has no body: it has a place of its own.
            answer.map(|body| if body.is_end_stream() { body } else { hold(&gate, body, turn) })
        }
        Err(error) => error.into_response(),
    }
}

/// Holds the request's turn until its answer has ended. What an upstream's answer may be was bounded
/// already; ours is not larger than that.
fn hold(gate: &Gate, body: Body, turn: Turn) -> Body {
    let limits = &gate.settings.limits;
    bounded(body, limits.answer, Duration::from_millis(limits.silence_ms), gate.metrics.bytes_out.clone(), turn).0
}

/// One of the requests that are worked on at once.
pub(crate) struct Turn {
    gate: Gate,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gate.metrics.requests.dec();
    }
}

async fn judge(gate: &Gate, request: &RequestParts) -> Result<(Visitor, Turn), Error> {
    let (limits, headers) = (&gate.settings.limits, &request.headers);
    let peer = request.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let client = headers::client(peer, headers, &gate.settings.trusted_proxies);
    gate.rates.take(client)?;
    let class = Class::of(request.uri.path());
    check(class, &request.uri, limits.uri)?;
    headers::check(headers, limits.headers)?;
    let permit = Arc::clone(&gate.requests).try_acquire_owned().map_err(|_| Error::Busy)?;
    gate.metrics.requests.inc();
    let turn = Turn { gate: Arc::clone(gate), _permit: permit };
    if matches!(class, Class::Session | Class::Subscription) {
        origin(headers, &gate.settings.origins)?;
    }
    if let Some(token) = tokens::of(headers)? {
        gate.keys.check(token, &gate.relay, now_s(), Instant::now()).await.inspect_err(|error| {
            if matches!(error, Error::Unreachable { .. } | Error::Late { .. }) {
                gate.metrics.failed(upstream::RELAY, upstream::kind(error));
            }
        })?;
    }
    Ok((Visitor { class, client }, turn))
}

/// A browser opens WebSockets to anywhere, without asking first (RFC 6455 §10.2).
fn origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Error> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if allowed.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes()) { Ok(()) } else { Err(Error::Origin) }
}

/// Seconds since 1970, for tokens.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn answer(State(gate): State<Gate>, request: Request) -> Response {
    let Some(visitor) = request.extensions().get::<Visitor>().cloned() else { return Error::Internal.into_response() };
    let method = request.method().clone();
    let answered = match visitor.class {
        Class::Relay => pass(&gate, &gate.relay, request, visitor.client).await,
        Class::Rpc => pass(&gate, &gate.node, request, visitor.client).await,
        Class::Session => socket::open(&gate, &gate.relay, request, visitor.client).await,
        Class::Subscription => socket::open(&gate, &gate.node, request, visitor.client).await,
        Class::Unknown => Err(Error::NotFound),
        Class::Resolver | Class::Chain | Class::Health | Class::Metrics if !is_reading(&method) => Err(Error::Method),
        Class::Resolver => Ok(resolver::answer(&gate, &request.into_parts().0).await),
        Class::Chain => queries::answer(&gate, &request.into_parts().0).await,
        Class::Health => Ok(health::answer(&gate).await),
        Class::Metrics => counters(&gate, visitor.client),
    };
    answered.unwrap_or_else(|error| {
        let wrong = matches!(error, Error::Method);
        let mut response = error.into_response();
        if wrong {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed(visitor.class)));
        }
        response
    })
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

const fn allowed(class: Class) -> &'static str {
    match class {
        Class::Relay => "GET, HEAD, POST, PUT, DELETE",
        Class::Rpc => "GET, HEAD, POST",
        _ => "GET, HEAD",
    }
}

/// Hands an HTTP request on.
async fn pass(gate: &Gate, target: &upstream::Target, mut request: Request, client: IpAddr) -> Result<Response, Error> {
    if !allowed(Class::of(request.uri().path())).split(", ").any(|method| method == request.method().as_str()) {
        return Err(Error::Method);
    }
    let path = there(request.uri().path_and_query().ok_or(Error::Target)?)?;
    upstream::prepare(&mut request, path, client);
    upstream::forward(target, request, &gate.settings.limits, &gate.metrics).await
}

/// The path as the upstream has it: the node's RPC stands under `/rpc` here, and at the root there.
pub(crate) fn there(path: &PathAndQuery) -> Result<PathAndQuery, Error> {
    let Some(rest) = path.as_str().strip_prefix("/rpc") else { return Ok(path.clone()) };
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    rest.parse().map_err(|_| Error::Target)
}

fn counters(gate: &Gate, client: IpAddr) -> Result<Response, Error> {
    if !gate.settings.operators.iter().any(|network| network.contains(client)) {
        return Err(Error::NotFound);
    }
    Ok((StatusCode::OK, [(CONTENT_TYPE, metrics::MEDIA_TYPE)], gate.metrics.text()).into_response())
}
