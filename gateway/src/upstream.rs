//! The two servers behind the gateway, and how an HTTP request gets there and back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::ConnectInfo;
use axum::http::header::CONTENT_LENGTH;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Response, Uri};
use reqwest::Url;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::Error;
use crate::body::{Fate, bounded};
use crate::headers::{CLIENT, strip_answer, strip_request};
use crate::metrics::Metrics;
use crate::settings::Limits;

/// What the relay is called in errors and counters.
pub(crate) const RELAY: &str = "relay";

/// What the node is called in errors and counters.
pub(crate) const NODE: &str = "node";

/// How long a connection to an upstream may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the gateway's own questions to an upstream may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Idle connections kept to one upstream.
const MAX_IDLE: usize = 64;

/// A server behind the gateway.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// In this process: its router is called directly, WebSockets included. It keeps its own bounds on
    /// frames, since the gateway does not see them.
    InProcess(Router),
    /// In another process, at this URL (`http` or `https`).
    Remote(String),
}

/// An upstream, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
}

#[derive(Debug, Clone)]
pub(crate) enum Way {
    InProcess(Router),
    Remote { http: reqwest::Client, base: Url },
}

impl Target {
    pub(crate) fn new(name: &'static str, upstream: Upstream) -> Result<Self, Error> {
        let url = match upstream {
            Upstream::InProcess(router) => return Ok(Self { name, way: Way::InProcess(router) }),
            Upstream::Remote(url) => url,
        };
        let refused = || Error::Url { upstream: name, url: url.clone() };
        let base: Url = url.parse().map_err(|_| refused())?;
        let plain = ["http", "https"].contains(&base.scheme()) && base.has_host() && base.query().is_none() && base.fragment().is_none();
        if !plain || !base.username().is_empty() || base.password().is_some() {
            return Err(refused());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(MAX_IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            // What the environment says of proxies is about the way out, not about the servers behind us.
            .no_proxy()
            .build()
            .map_err(|_| refused())?;
        Ok(Self { name, way: Way::Remote { http, base } })
    }

    /// Where a request for `path` goes, with the upstream's own base before it.
    pub(crate) fn url(base: &Url, path: &PathAndQuery) -> Result<Url, Error> {
        let mut url = base.clone();
        let whole = format!("{}{}", base.path().trim_end_matches('/'), path.path());
        url.set_path(&whole);
        url.set_query(path.query());
        // A URL parser that reads the path otherwise than we did would ask for something else.
        if url.path() == whole && url.query() == path.query() { Ok(url) } else { Err(Error::Target) }
    }

    /// Sends a request whose headers may go on, as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (http, base) = match &self.way {
            Way::InProcess(router) => {
                let Ok(response) = router.clone().oneshot(request).await;
                return Ok(response);
            }
            Way::Remote { http, base } => (http, base),
        };
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().ok_or(Error::Target)?;
        let mut out = reqwest::Request::new(parts.method, Self::url(base, path)?);
        *out.headers_mut() = parts.headers;
        if !body.is_end_stream() {
            *out.body_mut() = Some(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        match http.execute(out).await {
            Ok(response) => Ok(Response::from(response).map(Body::new)),
            Err(error) if error.is_timeout() => Err(Error::Late { upstream: self.name }),
            Err(_) => Err(Error::Unreachable { upstream: self.name }),
        }
    }

    /// The gateway's own question: the body of a successful answer, at most `bound` bytes.
    pub(crate) async fn get(&self, path: &'static str, bound: usize) -> Result<Vec<u8>, Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(path);
        let (status, body) = timeout(QUESTION, self.ask(request, bound)).await.map_err(|_| Error::Late { upstream: self.name })??;
        if status == 200 { Ok(body) } else { Err(Error::Unreachable { upstream: self.name }) }
    }

    /// The status and the body of the answer, at most `bound` bytes.
    pub(crate) async fn ask(&self, request: Request<Body>, bound: usize) -> Result<(u16, Vec<u8>), Error> {
        let answer = self.send(request).await?;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), bound).await.map_err(|_| Error::Unreachable { upstream: self.name })?;
        Ok((status, body.into()))
    }
}

/// Makes a request ready to go on: path, headers, who asks.
pub(crate) fn prepare(request: &mut Request<Body>, path: PathAndQuery, client: IpAddr) {
    *request.uri_mut() = Uri::from(path);
    let headers = request.headers_mut();
    strip_request(headers);
    let address = HeaderValue::from_str(&client.to_string()).expect("an address is a header's value");
    headers.insert(CLIENT, address);
    // What the caller's connection lent is no business of an upstream's; one in this process sees the
    // client as its peer. `OnUpgrade` stays: it is how a WebSocket gets there.
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let extensions = request.extensions_mut();
    extensions.clear();
    extensions.insert(ConnectInfo(SocketAddr::from((client, 0))));
    if let Some(upgrade) = upgrade {
        extensions.insert(upgrade);
    }
}

/// Hands a prepared request on and gives the answer back, both as they come.
pub(crate) async fn forward(target: &Target, request: Request<Body>, limits: &Limits, metrics: &Metrics) -> Result<Response<Body>, Error> {
    let silence = Duration::from_millis(limits.silence_ms);
    if declared(&request).is_some_and(|length| length > limits.body) {
        return Err(Error::BodyTooLarge { bound: limits.body });
    }
    let mut fate = Fate::default();
    let request = request.map(|body| {
        let (body, told) = bounded(body, limits.body, silence, metrics.bytes_in.clone(), ());
        fate = told;
        body
    });
    let sent = timeout(Duration::from_millis(limits.request_ms), target.send(request)).await;
    let answer = sent.unwrap_or(Err(Error::Late { upstream: target.name }));
    // What an upstream makes of a body that was cut is not what the client is to hear.
    if fate.is_too_large() {
        return Err(Error::BodyTooLarge { bound: limits.body });
    }
    if fate.is_silent() {
        return Err(Error::Silent);
    }
    // One that says its length is refused whole; another is cut where it becomes too long.
    let short = |answer: Response<Body>| {
        let fault = Error::AnswerTooLarge { upstream: target.name, bound: limits.answer };
        if answer.body().size_hint().lower() > limits.answer { Err(fault) } else { Ok(answer) }
    };
    let mut answer = answer.and_then(short).inspect_err(|error| metrics.failed(target.name, kind(error)))?;
    strip_answer(answer.headers_mut());
    Ok(answer)
}

/// How an upstream failed, for a counter.
pub(crate) const fn kind(error: &Error) -> &'static str {
    match error {
        Error::Late { .. } => "late",
        Error::AnswerTooLarge { .. } => "too_large",
        Error::Unproven { .. } => "unproven",
        _ => "unreachable",
    }
}

/// The length that the headers say, already checked by hyper to be one number.
fn declared(request: &Request<Body>) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
