//! Which headers go on, and who the client is.

use std::net::IpAddr;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::Error;
use crate::settings::Network;

/// The header by which the gateway tells an upstream the client's address: one, whatever came in. An
/// upstream believes it from a gateway that it was configured with, and from nobody else.
pub const CLIENT: &str = "x-forwarded-for";

/// The header with a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// At most this many addresses of an `X-Forwarded-For` are looked at, from its end.
const MAX_HOPS: usize = 16;

/// About one connection, not the message (RFC 9110 §7.6.1); never passed on, in either direction.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What says where a request came from: the gateway says it itself. And `expect`, which is
/// answered here; `host`, which is the upstream's; and the proxies' own ways to rewrite a path.
const OURS: [&str; 11] = [
    CLIENT,
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "expect",
    "host",
];

/// Takes away what must not go on, in a request.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip_hops(headers);
    for name in OURS {
        headers.remove(name);
    }
}

/// Takes away what must not go on, in an answer: also what the edge says itself.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    strip_hops(headers);
    let said_here: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-") || **name == REQUEST_ID).cloned().collect();
    for name in said_here {
        headers.remove(name);
    }
}

fn strip_hops(headers: &mut HeaderMap) {
    let listed = |value: &HeaderValue| value.to_str().unwrap_or_default().split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let named: Vec<String> = headers.get_all(CONNECTION).iter().flat_map(listed).collect();
    for name in named {
        // A client may name any header here. Length, and who asks, are not about one connection.
        if !["content-length", "authorization", "host"].contains(&name.to_ascii_lowercase().as_str()) {
            headers.remove(name.as_str());
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether the headers are within `bound` bytes, and those that decide something stand once.
///
/// How long a body is, hyper has decided: it refuses lengths that differ, and where there is a
/// `Transfer-Encoding` besides, it goes by that, takes the length away and closes the connection
/// (RFC 9112 §6.3). What goes on is framed anew, so no upstream counts otherwise.
pub(crate) fn check(headers: &HeaderMap, bound: usize) -> Result<(), Error> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > bound {
        return Err(Error::HeadersTooLarge { bound });
    }
    let single = [("content-length", CONTENT_LENGTH), ("authorization", axum::http::header::AUTHORIZATION)];
    for (name, header) in single {
        if headers.get_all(header).iter().nth(1).is_some() {
            return Err(Error::Header { name });
        }
    }
    Ok(())
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, the last address of
/// `X-Forwarded-For` that is no trusted proxy's. What cannot be read ends the walk at the last hop
/// that could.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !trusts(client) {
        return client;
    }
    let texts: Vec<&str> = headers.get_all(CLIENT).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    for hop in texts.iter().rev().flat_map(|text| text.rsplit(',')).take(MAX_HOPS) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !trusts(client) {
            break;
        }
    }
    client
}

/// The id of a request: the client's, if it is a UUID, or a new one. Other text could hold anything,
/// and ids stand in logs.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let asked = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).and_then(|text| Uuid::try_parse(text).ok());
    let id = asked.unwrap_or_else(Uuid::now_v7);
    HeaderValue::from_str(&id.hyphenated().to_string()).expect("a UUID is a header's value")
}

#[cfg(test)]
mod tests;
