//! Why a gateway does not start, or does not do what a request asks.

use std::path::PathBuf;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rpc::relay::Problem;

/// What went wrong. [`Error::code`] is stable; `docs/spec/gateway.md` lists the codes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `gateway.toml` cannot be read or written, or is none.
    #[error("{path} is not a gateway's settings: {reason}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An upstream's address is none.
    #[error("{url} is not the URL of a {upstream} (such as http://127.0.0.1:7100)")]
    Url {
        /// Whose.
        upstream: &'static str,
        /// What stands there.
        url: String,
    },
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("{path} cannot be used for TLS: {reason}", path = path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing at this path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path does not take this method.
    #[error("this path does not take this method")]
    Method,
    /// The path or query is not spelled as RFC 3986 has it, or names a way around.
    #[error("the path or the query is malformed")]
    Target,
    /// Path and query are too long.
    #[error("path and query have more than {bound} bytes")]
    UriTooLong {
        /// The bound in bytes.
        bound: usize,
    },
    /// The headers are too long together.
    #[error("the headers have more than {bound} bytes")]
    HeadersTooLarge {
        /// The bound in bytes.
        bound: usize,
    },
    /// The body is too long.
    #[error("the body has more than {bound} bytes")]
    BodyTooLarge {
        /// The bound in bytes.
        bound: u64,
    },
    /// The body stopped coming.
    #[error("the body did not arrive in time")]
    Silent,
    /// A header stands twice or says nothing that can be read.
    #[error("the header {name} is malformed")]
    Header {
        /// The header.
        name: &'static str,
    },
    /// This address asks too much.
    #[error("too many requests from this address")]
    TooManyRequests {
        /// When the next one is taken.
        retry_after_ms: u64,
    },
    /// Too much is being worked on.
    #[error("too much is being worked on: try again")]
    Busy,
    /// Too many WebSockets are open, in total or from this address.
    #[error("too many WebSockets are open")]
    TooManySockets,
    /// The access token is not one of this relay's.
    #[error("the access token is not valid")]
    BadToken,
    /// The access token was good until a while ago.
    #[error("the access token has expired")]
    ExpiredToken,
    /// Pages of this origin may not ask.
    #[error("pages of this origin may not ask here")]
    Origin,
    /// This is no request to open a WebSocket.
    #[error("this path wants a WebSocket (RFC 6455)")]
    NotASocket,
    /// An upstream cannot be reached, or went away in the middle.
    #[error("the {upstream} does not answer")]
    Unreachable {
        /// Which.
        upstream: &'static str,
    },
    /// An upstream takes too long.
    #[error("the {upstream} did not answer in time")]
    Late {
        /// Which.
        upstream: &'static str,
    },
    /// An upstream's answer is too long.
    #[error("the {upstream}'s answer has more than {bound} bytes")]
    AnswerTooLarge {
        /// Which.
        upstream: &'static str,
        /// The bound in bytes.
        bound: u64,
    },
    /// A parameter is not what the path takes.
    #[error("the parameter `{name}` is malformed")]
    Parameter {
        /// The parameter.
        name: &'static str,
    },
    /// The chain has no such height yet, or keeps it no longer.
    #[error("the chain has nothing provable at this height")]
    Height,
    /// What the node says is not proven.
    #[error("what the node says is not proven (code {code})")]
    Unproven {
        /// The reason's code in `rpc`.
        code: u32,
    },
    /// The leaf is in no batch that the chain has taken.
    #[error("the leaf is not anchored yet")]
    NotAnchored,
    /// The relay shows another anchor than the asked one for this leaf.
    #[error("the leaf is in another batch")]
    WrongBatch,
    /// Something of ours failed.
    #[error("an internal error")]
    Internal,
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Settings { .. } => 7501,
            Self::Url { .. } => 7502,
            Self::Listen { .. } => 7503,
            Self::Tls { .. } => 7504,
            Self::NotFound => 7511,
            Self::Method => 7512,
            Self::Target => 7513,
            Self::UriTooLong { .. } => 7514,
            Self::HeadersTooLarge { .. } => 7515,
            Self::BodyTooLarge { .. } => 7516,
            Self::Header { .. } => 7517,
            Self::Silent => 7518,
            Self::TooManyRequests { .. } => 7521,
            Self::Busy => 7522,
            Self::TooManySockets => 7523,
            Self::BadToken => 7531,
            Self::ExpiredToken => 7532,
            Self::Origin => 7533,
            Self::NotASocket => 7534,
            Self::Unreachable { .. } => 7541,
            Self::Late { .. } => 7542,
            Self::AnswerTooLarge { .. } => 7543,
            Self::Parameter { .. } => 7551,
            Self::Height => 7552,
            Self::Unproven { .. } => 7553,
            Self::NotAnchored => 7554,
            Self::WrongBatch => 7555,
            Self::Internal => 7561,
        }
    }

    /// The HTTP status that says it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Settings { .. } | Self::Url { .. } | Self::Listen { .. } | Self::Tls { .. } | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::NotFound | Self::Height => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target | Self::Header { .. } | Self::Parameter { .. } => StatusCode::BAD_REQUEST,
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Silent => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::TooManySockets => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadToken | Self::ExpiredToken => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotASocket => StatusCode::UPGRADE_REQUIRED,
            Self::Unreachable { .. } | Self::AnswerTooLarge { .. } | Self::Unproven { .. } => StatusCode::BAD_GATEWAY,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::NotAnchored | Self::WrongBatch => StatusCode::CONFLICT,
        }
    }

    /// After how many milliseconds it makes sense to try again.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after_ms } => Some(*retry_after_ms),
            Self::Busy | Self::NotAnchored => Some(1000),
            Self::TooManySockets => Some(5000),
            _ => None,
        }
    }
}

/// The code of a refusal, on the answer, for counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code(pub(crate) u32);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (code, status, retry_after_ms) = (self.code(), self.status(), self.retry_after_ms());
        let problem = Problem { code, title: self.to_string(), status: status.as_u16(), retry_after_ms };
        let body = serde_json::to_vec(&problem).expect("a problem is text and numbers, so it serialises");
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")], body).into_response();
        if let Some(wait) = retry_after_ms {
            response.headers_mut().insert(RETRY_AFTER, wait.div_ceil(1000).max(1).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer error="invalid_token""#));
        }
        response.extensions_mut().insert(Code(code));
        response
    }
}
