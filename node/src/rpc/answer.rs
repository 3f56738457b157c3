//! JSON-RPC 2.0: from calls to answers, by HTTP and by WebSocket. A node answers so, and a light client that stands in for one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::envelope::{self, Call, Message, Read};
use super::error::Fault;
use super::params::shown;

/// How long a request's body and a WebSocket message may be, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// How long a request may take to arrive.
pub const ARRIVAL: Duration = Duration::from_secs(10);

/// Who answers calls.
pub trait Callee: Sync {
    /// How long the work of one request may take, be it a call or a batch.
    const WORK: Duration;

    /// How long all answers of one batch may be, in bytes.
    const MAX_ANSWERS: usize;

    /// How many calls of a batch are answered at once. Each is begun in its turn.
    const TOGETHER: usize;

    /// Answers a call, within [`Callee::WORK`]. `params`: as the request has them, by name or by place.
    ///
    /// # Errors
    /// Why there is no result.
    fn call(&self, method: &str, params: Value) -> impl Future<Output = Result<Value, Fault>> + Send;
}

/// Answers the body of a `POST`: a call or a batch.
pub async fn post(callee: &impl Callee, body: Body) -> Response {
    let refused = |fault: Fault| respond(fault.status_of_answer(), fault.answer(&Value::Null));
    let bytes = match timeout(ARRIVAL, to_bytes(body, MAX_REQUEST)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return refused(Fault::TooLarge { bound: MAX_REQUEST }),
        Err(_) => return refused(Fault::Late { after: ARRIVAL }),
    };
    match envelope::read(&bytes) {
        Ok(Message::One(read)) => {
            let (status, answer) = one(callee, read).await;
            respond(status, answer)
        }
        Ok(Message::Batch(reads)) => respond(StatusCode::OK, batch(callee, reads).await),
        Err(fault) => refused(fault),
    }
}

/// Answers a `GET` whose path and query were the call.
#[must_use]
pub fn get(result: &Result<Value, Fault>) -> Response {
    // CometBFT's id for requests that have none.
    let id = json!(-1);
    respond(result.as_ref().map_or_else(Fault::status, |_| StatusCode::OK), text(&id, result))
}

/// Answers one request; the answer's HTTP status.
pub async fn one(callee: &impl Callee, read: Read) -> (StatusCode, String) {
    let (id, result) = match read {
        Ok(Call { id, method, params }) => (id, callee.call(&method, params).await),
        Err((id, fault)) => (id, Err(fault)),
    };
    (result.as_ref().map_or_else(Fault::status_of_answer, |_| StatusCode::OK), text(&id, &result))
}

/// Answers a batch in order, within the time of one request.
async fn batch<C: Callee>(callee: &C, reads: Vec<Read>) -> String {
    let until = Instant::now() + C::WORK;
    let length = AtomicUsize::new(0);
    let length = &length;
    let answer = async |read: Read| {
        let id = read.as_ref().map_or_else(|(id, _)| id.clone(), |call| call.id.clone());
        if length.load(Ordering::Relaxed) > C::MAX_ANSWERS {
            return Fault::Busy("the answers of this batch are too long together: ask one by one").answer(&id);
        }
        let late = |_| Fault::Late { after: C::WORK }.answer(&id);
        let answer = timeout_at(until, one(callee, read)).await.map_or_else(late, |(_, answer)| answer);
        length.fetch_add(answer.len(), Ordering::Relaxed);
        answer
    };
    let answers: Vec<String> = stream::iter(reads).map(answer).buffered(C::TOGETHER).collect().await;
    format!("[{}]", answers.join(","))
}

/// The answer to the request `id`.
#[must_use]
pub fn text(id: &Value, result: &Result<Value, Fault>) -> String {
    match result {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(fault) => fault.answer(id),
    }
}

/// Answers a path at which there is nothing.
pub async fn unknown(uri: Uri) -> Response {
    refuse(&Fault::Method(format!("there is nothing at {}", shown(uri.path()))))
}

/// Answers a request that comes to no call.
#[must_use]
pub fn refuse(fault: &Fault) -> Response {
    respond(fault.status(), fault.answer(&Value::Null))
}

/// An answer in JSON.
#[must_use]
pub fn respond(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
