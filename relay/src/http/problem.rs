//! Errors as the one who asked gets them (RFC 9457).

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rpc::relay::Problem;

use crate::Error;

/// The type of a problem's body.
pub const PROBLEM: &str = "application/problem+json";

impl Error {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } | Self::WrongOperation => StatusCode::BAD_REQUEST,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSuchPath | Self::NoIdentity | Self::NoAccount | Self::NoPrekeys | Self::NoLeaf => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoToken
            | Self::BadToken
            | Self::ExpiredToken
            | Self::EndedSession
            | Self::BadSignIn
            | Self::BadRefresh
            | Self::ReusedRefresh => StatusCode::UNAUTHORIZED,
            Self::NotYours | Self::Closed | Self::BadInvitation => StatusCode::FORBIDDEN,
            Self::Deactivated => StatusCode::GONE,
            Self::Operation(_) | Self::Refused { .. } | Self::BadPrekey { .. } | Self::TooManyPrekeys { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::WrongIdentityKey => StatusCode::CONFLICT,
            Self::BudgetSpent { .. }
            | Self::IdentityBudgetSpent { .. }
            | Self::TooManyRegistrations { .. }
            | Self::TooManyAttempts { .. }
            | Self::TooManyBundles { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } | Self::NoChain { .. } | Self::Store { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::File { .. }
            | Self::Config { .. }
            | Self::TokensKey { .. }
            | Self::Database { .. }
            | Self::NoBond { .. }
            | Self::Log { .. }
            | Self::Listen { .. }
            | Self::Sound { .. }
            | Self::BondHeld { .. }
            | Self::Ended { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the one who asked is told.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem { code: self.code(), title: self.to_string(), status: self.status().as_u16(), retry_after_ms: self.retry_after_ms() }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match &self {
            Self::NoChain { source } => tracing::warn!(reason = %source, "the chain cannot be asked"),
            Self::Store { reason } => tracing::error!(reason, "a store failed"),
            _ => {}
        }
        let mut response = (self.status(), Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(wait) = self.retry_after_ms() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1_000)));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
