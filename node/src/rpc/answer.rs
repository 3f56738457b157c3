//! JSON-RPC 2.0: from calls to answers, by HTTP and by WebSocket. A node answers so, and a light client that stands in for one.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures::future::join_all;
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

    /// Whether calls of this method that follow each other in a batch are answered at once: their answers must be short.
    fn goes_along(&self, _method: &str) -> bool {
        false
    }

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

/// Answers a batch in order, within the time of one request: one call after the other, but for those that go together.
async fn batch<C: Callee>(callee: &C, reads: Vec<Read>) -> String {
    let until = Instant::now() + C::WORK;
    let goes_along = |read: &Read| read.as_ref().is_ok_and(|call| callee.goes_along(&call.method));
    let mut answers: Vec<String> = Vec::new();
    let mut length = 0;
    let mut reads = reads.into_iter().peekable();
    while let Some(first) = reads.next() {
        let mut together = vec![first];
        while goes_along(&together[0]) {
            let Some(next) = reads.next_if(goes_along) else { break };
            together.push(next);
        }
        let full = length > C::MAX_ANSWERS;
        let answer = async |read: Read| {
            let id = read.as_ref().map_or_else(|(id, _)| id.clone(), |call| call.id.clone());
            if full {
                return Fault::Busy("the answers of this batch are too long together: ask one by one").answer(&id);
            }
            let late = |_| Fault::Late { after: C::WORK }.answer(&id);
            timeout_at(until, one(callee, read)).await.map_or_else(late, |(_, answer)| answer)
        };
        // Each is begun in its turn.
        answers.extend(join_all(together.into_iter().map(answer)).await);
        length = answers.iter().map(String::len).sum();
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers with ten letters, and records how many calls are under way.
    #[derive(Default)]
    struct Slow {
        under_way: AtomicUsize,
        most: AtomicUsize,
    }

    impl Callee for Slow {
        const WORK: Duration = Duration::from_secs(1);
        const MAX_ANSWERS: usize = 200;

        fn goes_along(&self, method: &str) -> bool {
            method == "along"
        }

        async fn call(&self, method: &str, _: Value) -> Result<Value, Fault> {
            let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            if method == "never" {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(json!("ten letters"))
        }
    }

    async fn asked(methods: &[&str]) -> (Vec<Value>, usize) {
        let callee = Slow::default();
        let call = |(id, method): (usize, &&str)| Ok(Call { id: json!(id), method: (*method).to_owned(), params: json!({}) });
        let answers = batch(&callee, methods.iter().enumerate().map(call).collect()).await;
        let answers: Vec<Value> = serde_json::from_str(&answers).expect("JSON");
        assert!(answers.iter().enumerate().all(|(id, answer)| answer["id"] == json!(id)), "in order: {answers:?}");
        (answers, callee.most.into_inner())
    }

    #[tokio::test]
    async fn one_after_the_other_but_for_those_that_go_along() {
        for (methods, most) in [(&["alone"; 4][..], 1), (&["along"; 4], 4), (&["along", "alone", "along", "along", "alone"], 2)] {
            let (answers, found) = asked(methods).await;
            assert_eq!((answers.len(), found), (methods.len(), most), "{methods:?}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_together_ends_there() {
        let (answers, _) = asked(&["alone"; 16]).await;
        let answered = answers.iter().take_while(|answer| answer["result"].is_string()).count();
        assert!((2..8).contains(&answered), "{answered} of 200 bytes");
        assert!(answers[answered..].iter().all(|answer| answer["error"]["data"].to_string().contains("too long together")), "{answers:?}");
    }

    #[tokio::test]
    async fn what_is_late_keeps_no_answer_back() {
        let (answers, _) = asked(&["alone", "never", "alone"]).await;
        assert!(answers[0]["result"].is_string() && answers[1]["error"].is_object() && answers[2]["error"].is_object(), "{answers:?}");
    }
}
