//! A WebSocket: every method, and subscriptions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::answer::{self, Callee as _};
use super::envelope::{self, Call, Read};
use super::error::Fault;
use super::params::Params;
use super::{Door, events};
use crate::index::query::Query;

/// At most this many subscriptions a connection.
pub(super) const MAX_SUBSCRIPTIONS: usize = 8;

/// The time between two pings.
const PING: Duration = Duration::from_secs(20);

/// A peer that says nothing for this long, not even a pong, is gone.
const SILENCE: Duration = Duration::from_secs(50);

/// A peer that does not take a message for this long is gone.
const SEND: Duration = Duration::from_secs(10);

struct Subscription {
    id: Value,
    text: String,
    query: Query,
}

/// Why a connection ends.
enum End {
    /// There is nobody to tell.
    Gone,
    /// The peer is told why.
    Told(u16, &'static str),
}

/// Serves one connection until it ends.
pub(super) async fn serve(mut socket: WebSocket, door: Arc<Door>) {
    if let End::Told(code, reason) = converse(&mut socket, &door).await {
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // It may be gone by now.
        let _ = timeout(SEND, socket.send(close)).await;
    }
}

async fn converse(socket: &mut WebSocket, door: &Arc<Door>) -> End {
    let mut subscriptions: Vec<Subscription> = Vec::new();
    let mut blocks = door.app.blocks();
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            () = super::stopped(door.stop.clone()) => return End::Told(close_code::AWAY, "the node stops"),
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return End::Gone;
                }
                if let Err(end) = send(socket, Message::Ping(bytes::Bytes::new())).await {
                    return end;
                }
            }
            received = socket.recv() => {
                heard = Instant::now();
                let bytes = match received {
                    Some(Ok(Message::Text(text))) => bytes::Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                };
                let before = subscriptions.len();
                let answer = answer(door, envelope::read_alone(&bytes), &mut subscriptions).await;
                if before == 0 && !subscriptions.is_empty() {
                    // What came before the first subscription is not for it.
                    blocks = blocks.resubscribe();
                }
                if let Err(end) = send(socket, Message::text(answer)).await {
                    return end;
                }
            }
            block = blocks.recv(), if !subscriptions.is_empty() => {
                let decided = match block {
                    Ok(decided) => decided,
                    Err(RecvError::Lagged(_)) => return End::Told(close_code::POLICY, "events were not taken fast enough"),
                    Err(RecvError::Closed) => return End::Told(close_code::AWAY, "the node stops"),
                };
                let rendered = door.rendered(&decided);
                for Subscription { id, text, query } in &subscriptions {
                    let messages = match rendered.messages(query, id, text) {
                        Ok(messages) => messages,
                        Err(fault) => {
                            tracing::error!(%fault, "a block cannot be rendered");
                            return End::Told(close_code::ERROR, "an event cannot be rendered");
                        }
                    };
                    for message in messages {
                        if let Err(end) = send(socket, Message::text(message)).await {
                            return end;
                        }
                    }
                }
            }
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

async fn answer(door: &Arc<Door>, read: Read, subscriptions: &mut Vec<Subscription>) -> String {
    let Call { id, method, params } = match read {
        Ok(call) => call,
        Err((id, fault)) => return fault.answer(&id),
    };
    let result = match method.as_str() {
        "subscribe" => subscribe(&id, params, subscriptions),
        "unsubscribe" => unsubscribe(params, subscriptions),
        "unsubscribe_all" => Params::from_json(params, &[]).map(|_| {
            subscriptions.clear();
            json!({})
        }),
        _ => door.call(&method, params).await,
    };
    answer::text(&id, &result)
}

fn subscribe(id: &Value, params: Value, subscriptions: &mut Vec<Subscription>) -> Result<Value, Fault> {
    let (text, query) = query(params)?;
    if subscriptions.iter().any(|subscription| subscription.text == text) {
        return Err(Fault::Internal("already subscribed".to_owned()));
    }
    if subscriptions.len() >= MAX_SUBSCRIPTIONS {
        return Err(Fault::Internal(format!("at most {MAX_SUBSCRIPTIONS} subscriptions a connection")));
    }
    subscriptions.push(Subscription { id: id.clone(), text, query });
    Ok(json!({}))
}

fn unsubscribe(params: Value, subscriptions: &mut Vec<Subscription>) -> Result<Value, Fault> {
    let (text, _) = query(params)?;
    let found = subscriptions.iter().position(|subscription| subscription.text == text);
    let found = found.ok_or_else(|| Fault::Internal("subscription not found".to_owned()))?;
    subscriptions.remove(found);
    Ok(json!({}))
}

fn query(params: Value) -> Result<(String, Query), Fault> {
    let text = Params::from_json(params, &["query"])?.text("query")?;
    let text = text.ok_or_else(|| super::params::missing("query"))?;
    let query = events::parse(&text)?;
    Ok((text, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_bounded_and_told_apart() {
        let mut all = Vec::new();
        let query = |height: usize| json!({"query": format!("tm.event='Tx' AND tx.height={height}")});
        let mut take = |params: Value| subscribe(&json!(1), params, &mut all).map_err(|fault| (fault.code(), fault.to_string()));
        for height in 0..MAX_SUBSCRIPTIONS {
            assert_eq!(take(query(height)), Ok(json!({})));
        }
        let stories = [
            ("twice the same", query(0), -32603, "already subscribed"),
            ("one too many", query(99), -32603, "at most 8 subscriptions a connection"),
            ("no query", json!({}), -32602, "`query` is missing"),
            ("a query that is no string", json!({"query": 1}), -32602, "`query` must be a string"),
            ("an unknown parameter", json!({"q": ""}), -32602, "unknown parameter"),
            ("an unknown event", json!({"query": "tm.event='Vote'"}), -32602, "not served"),
        ];
        for (story, params, code, words) in stories {
            let (found, text) = take(params).expect_err(story);
            assert_eq!(found, code, "{story}");
            assert!(text.contains(words), "{story}: {text}");
        }
        assert_eq!(unsubscribe(query(0), &mut all), Ok(json!({})));
        let gone = unsubscribe(query(0), &mut all).expect_err("it is gone");
        assert_eq!(gone.to_string(), "subscription not found");
        assert_eq!(all.len(), MAX_SUBSCRIPTIONS - 1);
    }
}
