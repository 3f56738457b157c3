//! What a request is for: its class, and whether its path and query are spelled in one way only.
//!
//! The upstream reads the path again. Whatever two readers could understand differently (dot
//! segments, encoded slashes, backslashes, control characters) is refused, so that what the
//! gateway allowed is what the upstream does.

use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri};

use crate::Error;

/// Kinds of requests: what counters and logs tell apart, and nothing finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// To the relay.
    Relay,
    /// A device's WebSocket to the relay.
    Session,
    /// To the node's RPC.
    Rpc,
    /// A WebSocket to the node's RPC.
    Subscription,
    /// A DID to be resolved.
    Resolver,
    /// A proven question to the chain.
    Chain,
    /// `/health`.
    Health,
    /// `/metrics`.
    Metrics,
    /// Nothing of ours.
    Unknown,
}

impl Class {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            rpc::relay::path::SESSION => Self::Session,
            rpc::relay::path::KEYS => Self::Relay,
            "/rpc" => Self::Rpc,
            "/rpc/websocket" => Self::Subscription,
            "/health" => Self::Health,
            "/metrics" => Self::Metrics,
            _ if path.starts_with("/api/v1/") => Self::Relay,
            _ if path.starts_with("/rpc/") => Self::Rpc,
            _ if path.starts_with("/1.0/identifiers/") => Self::Resolver,
            _ if path.starts_with("/chain/v1/") => Self::Chain,
            _ => Self::Unknown,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Session => "session",
            Self::Rpc => "rpc",
            Self::Subscription => "subscription",
            Self::Resolver => "resolver",
            Self::Chain => "chain",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the path goes on to an upstream, which reads it again.
    const fn is_passed_on(self) -> bool {
        matches!(self, Self::Relay | Self::Session | Self::Rpc | Self::Subscription)
    }
}

/// A method in a log: one of the known, since others are a stranger's text.
pub(crate) const fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Whether path and query are within the bound and spelled as RFC 3986 has it, without a way around.
pub(crate) fn check(class: Class, uri: &Uri, bound: usize) -> Result<(), Error> {
    let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if text.len() > bound {
        return Err(Error::UriTooLong { bound });
    }
    let path = uri.path();
    let spelled = path.starts_with('/') && is_spelled(path, b"/") && uri.query().is_none_or(|query| is_spelled(query, b"/?"));
    if !spelled || path.split('/').any(is_dots) || (class.is_passed_on() && !is_plain(path)) {
        return Err(Error::Target);
    }
    Ok(())
}

/// The pchar of RFC 3986 §3.3, `more`, and whole percent-encodings.
fn is_spelled(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) || more.contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether a segment is `.` or `..`, encoded or not.
fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// Whether no segment is empty or holds an encoded slash, backslash or control character.
fn is_plain(path: &str) -> bool {
    let hidden = |place: usize| {
        let byte = path.get(place + 1..place + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_none_or(|byte| matches!(byte, b'/' | b'\\' | b'%' | 0..=31 | 127))
    };
    !path.contains("//") && !path.match_indices('%').any(|(place, _)| hidden(place))
}

#[cfg(test)]
mod tests;
