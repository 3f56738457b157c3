//! What a client is told when there is no result: a closed list of numbers.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Why a request has no result. The numbers from -32700 to -32603 are JSON-RPC 2.0's, those from
/// -32001 down are this node's; neither changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no JSON.
    #[error("{0}")]
    Parse(String),
    /// The JSON is no request.
    #[error("{0}")]
    Request(String),
    /// There is no such method.
    #[error("{0}")]
    Method(String),
    /// The parameters are not the method's.
    #[error("{0}")]
    Params(String),
    /// There is nothing to answer with, or this node failed.
    #[error("{0}")]
    Internal(String),
    /// The request is longer than the bound.
    #[error("the request has more than {bound} bytes")]
    TooLarge {
        /// The bound in bytes.
        bound: usize,
    },
    /// The last block is too old: the node hears no chain, or the chain stands still.
    #[error("no block for {} s, at most {} s are healthy", age.as_secs(), bound.as_secs())]
    Stale {
        /// Since the last block was committed here.
        age: Duration,
        /// The oldest that is healthy.
        bound: Duration,
    },
    /// The work took too long.
    #[error("no answer within {} s", after.as_secs())]
    Late {
        /// How long it was worked on.
        after: Duration,
    },
    /// Evidence is not taken; the number is of the codespace `evidence`.
    #[error("evidence {code}: {words}")]
    Evidence {
        /// The number.
        code: u32,
        /// Why.
        words: String,
    },
    /// The index cannot be asked.
    #[error("{0}")]
    NoIndex(String),
    /// A light client cannot verify the answer, so it gives none.
    #[error("{0}")]
    NotVerifiable(String),
    /// What a node answered to a light client does not hold.
    #[error("{0}")]
    NotProven(String),
    /// A bound on what this node does at once is reached.
    #[error("{0}")]
    Busy(&'static str),
}

impl Fault {
    /// The number.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Parse(_) => -32700,
            Self::Request(_) | Self::TooLarge { .. } => -32600,
            Self::Method(_) => -32601,
            Self::Params(_) => -32602,
            Self::Internal(_) => -32603,
            Self::Stale { .. } => -32001,
            Self::Late { .. } => -32002,
            Self::Busy(_) => -32003,
            Self::Evidence { .. } => -32004,
            Self::NotVerifiable(_) => -32006,
            Self::NotProven(_) => -32007,
            Self::NoIndex(_) => -32005,
        }
    }

    const fn message(&self) -> &'static str {
        match self {
            Self::Parse(_) => "Parse error. Invalid JSON",
            Self::Request(_) | Self::TooLarge { .. } => "Invalid Request",
            Self::Method(_) => "Method not found",
            Self::Params(_) => "Invalid params",
            Self::Internal(_) => "Internal error",
            Self::Stale { .. } => "Unhealthy",
            Self::Late { .. } => "Timeout",
            Self::Busy(_) => "Busy",
            Self::Evidence { .. } => "Evidence not taken",
            Self::NotVerifiable(_) => "Not verifiable",
            Self::NotProven(_) => "Not proven",
            Self::NoIndex(_) => "Index unavailable",
        }
    }

    /// The HTTP status where the request stands in the path.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Parse(_) | Self::Request(_) | Self::Params(_) | Self::Evidence { .. } => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::NOT_FOUND,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotVerifiable(_) => StatusCode::NOT_IMPLEMENTED,
            Self::NotProven(_) => StatusCode::BAD_GATEWAY,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stale { .. } | Self::Busy(_) | Self::NoIndex(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The HTTP status where the request is JSON-RPC: clients read an answer's error only out of
    /// a 200.
    #[must_use]
    pub const fn status_of_answer(&self) -> StatusCode {
        match self {
            Self::Method(_)
            | Self::Params(_)
            | Self::Internal(_)
            | Self::Evidence { .. }
            | Self::NoIndex(_)
            | Self::NotVerifiable(_)
            | Self::NotProven(_) => StatusCode::OK,
            _ => self.status(),
        }
    }

    /// The answer to the request `id`.
    #[must_use]
    pub fn answer(&self, id: &Value) -> String {
        let error = json!({"code": self.code(), "message": self.message(), "data": self.to_string()});
        json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
    }
}
