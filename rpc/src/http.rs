//! JSON-RPC over HTTP, with a bound on time and on size.
//!
//! `tendermint-rpc` has a client, but it reads answers of any length. Its requests and answers are
//! used here as they are.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tendermint_rpc::error::ErrorDetail;
use tendermint_rpc::response::Wrapper;
use tendermint_rpc::{Response, SimpleRequest};

use crate::Error;

/// How long one question may take, from connecting to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may be, in bytes: a commit of 1,024 votes takes some 300 KiB.
pub(crate) const MAX_ANSWER: usize = 4 << 20;

/// The RPC of one node.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Http {
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let refused = || Error::Url(url.to_owned());
        let parsed: reqwest::Url = url.parse().map_err(|_| refused())?;
        if !["http", "https"].contains(&parsed.scheme()) || parsed.host_str().is_none() {
            return Err(refused());
        }
        let builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        // A proxy cannot reach the loopback that we mean.
        let builder = if is_loopback(&parsed) { builder.no_proxy() } else { builder };
        Ok(Self { client: builder.build().map_err(|_| refused())?, url: parsed })
    }

    pub(crate) async fn ask<R: SimpleRequest>(&self, request: R) -> Result<R::Output, Error> {
        let method = request.method().to_string();
        let body = self.send(&method, request.into_json(), MAX_ANSWER).await?;
        read::<R::Response>(method, &body).map(Into::into)
    }

    /// Asks what `tendermint-rpc` has no right words for.
    pub(crate) async fn ask_in_json<A: Response>(&self, method: &str, params: Value) -> Result<A, Error> {
        let question = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
        read(method.to_owned(), &self.send(method, question.to_string(), MAX_ANSWER).await?)
    }

    /// Asks anything, for an answer of at most `bound` bytes that is not looked at.
    pub(crate) async fn ask_for(&self, method: &str, params: Value, bound: usize) -> Result<Value, Error> {
        let question = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
        Ok(read::<Anything>(method.to_owned(), &self.send(method, question.to_string(), bound).await?)?.0)
    }

    async fn send(&self, method: &str, question: String, bound: usize) -> Result<Vec<u8>, Error> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(question);
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > bound {
                return Err(Error::TooLarge { method: method.to_owned(), bound });
            }
            body.extend_from_slice(&chunk);
        }
        // Some nodes send a JSON-RPC error with status 500: then the error is the answer.
        let status = response.status();
        if !status.is_success() && !body.starts_with(b"{") {
            return Err(Error::Answer { method: method.to_owned(), reason: format!("HTTP status {status}") });
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut reason: &dyn std::error::Error = error;
        // The innermost cause says what happened, the outer ones repeat the address.
        while let Some(inner) = reason.source() {
            reason = inner;
        }
        let reason = if error.is_timeout() { format!("nothing within {} s", TIMEOUT.as_secs()) } else { reason.to_string() };
        Error::Unreachable { url: self.url(), reason }
    }

    pub(crate) fn url(&self) -> String {
        let mut url = self.url.clone();
        // What a person put before an `@` is nobody else's business.
        let _ = (url.set_username(""), url.set_password(None));
        url.to_string()
    }
}

/// A result that is not looked at.
#[derive(Debug, Deserialize, Serialize)]
struct Anything(Value);

impl Response for Anything {}

fn read<A: Response>(method: String, body: &[u8]) -> Result<A, Error> {
    let answer = match types::guarded(|| serde_json::from_slice::<Wrapper<A>>(body)) {
        Ok(answer) => answer,
        Err(panicked) => return Err(Error::Answer { method, reason: panicked.to_string() }),
    };
    match answer {
        Ok(answer) => answer.into_result().map_err(|error| refused(method, error.detail())),
        Err(error) => Err(Error::Answer { method, reason: error.to_string() }),
    }
}

fn refused(method: String, detail: &ErrorDetail) -> Error {
    match detail {
        ErrorDetail::Response(error) => {
            let error = &error.source;
            let message = error.data().unwrap_or_else(|| error.message()).to_owned();
            Error::Refused { method, number: error.code().value(), message }
        }
        other => Error::Answer { method, reason: other.to_string() },
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
