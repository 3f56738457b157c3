//! What a handler gets out of a request: a strict body, a session, an address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::auth::Claims;
use crate::{App, Error};

/// How long a body may be, where the request has no bound of its own, in bytes: an operation of 4 KiB in
/// base64, and the rest.
pub const MAX_BODY: usize = 16 << 10;

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A body: JSON of exactly this type, at most `BOUND` bytes.
#[derive(Debug)]
pub(crate) struct Strict<T, const BOUND: usize = MAX_BODY>(pub(crate) T);

impl<T: DeserializeOwned, const BOUND: usize> FromRequest<Arc<App>> for Strict<T, BOUND> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Error::WrongType);
        }
        let announced = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > BOUND) {
            return Err(Error::TooLarge { bound: BOUND });
        }
        let bytes = tokio::time::timeout(PATIENCE, read(body, BOUND)).await.map_err(|_| Error::TooSlow)??;
        parse(&bytes).map(Self)
    }
}

async fn read(body: Body, bound: usize) -> Result<Vec<u8>, Error> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| malformed("the body ended early"))?;
        if bytes.len() + chunk.len() > bound {
            return Err(Error::TooLarge { bound });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8 text"))?;
    serde_json::from_str(text).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not the fields of this request",
            _ => "not JSON",
        };
        malformed(&format!("{what} (line {}, column {})", error.line(), error.column()))
    })
}

fn malformed(what: &str) -> Error {
    Error::Malformed { what: what.to_owned() }
}

/// `application/json`, with no other charset than UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts.all(|part| part.eq_ignore_ascii_case("charset=utf-8"))
}

/// Whose session the request is made in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) Claims);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Error::NoToken)?;
        // Two would let two readers of one request see two people.
        if values.next().is_some() {
            return Err(Error::BadToken);
        }
        let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Error::NoToken)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(Error::NoToken);
        }
        app.auth.verify(token).map(Self)
    }
}

/// The address of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl FromRequestParts<Arc<App>> for Peer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        if let Some(peer) = parts.extensions.get::<Self>() {
            return Ok(*peer);
        }
        let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        // Who comes from nowhere shares one address with everybody who does.
        let connected = connected.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if !app.config.limits.trusted_proxies.contains(&connected) {
            return Ok(Self(connected));
        }
        // What stands before the last was said by somebody whom nobody vouches for.
        let last = parts.headers.get_all(&FORWARDED_FOR).iter().next_back();
        let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Ok(Self(last.unwrap_or(connected)))
    }
}

/// A part of the path, parsed.
#[derive(Debug)]
pub(crate) struct Part<T>(pub(crate) T);

impl<T: std::str::FromStr + Send> FromRequestParts<Arc<App>> for Part<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| malformed("the path"))?;
        text.parse().map(Self).map_err(|_| malformed("the last part of the path"))
    }
}
