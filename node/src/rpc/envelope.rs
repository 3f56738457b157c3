//! JSON-RPC 2.0: from bytes to calls.

use serde::Deserialize;
use serde_json::Value;

use super::error::Fault;
use super::params::shown;

/// How many requests one batch holds at most.
pub const MAX_BATCH: usize = 16;

/// How long an id may be as JSON, in bytes: it is repeated in every answer.
const MAX_ID: usize = 256;

/// A request that names a method.
#[derive(Debug)]
pub struct Call {
    /// Repeated in the answer.
    pub id: Value,
    /// The method's name.
    pub method: String,
    /// Its parameters, by name or by place.
    pub params: Value,
}

/// A request, or why it is none and the id that it is to be told so under.
pub type Read = Result<Call, (Value, Fault)>;

/// What one body or one WebSocket message holds.
#[derive(Debug)]
pub enum Message {
    /// A request.
    One(Read),
    /// Requests to be answered in order, at least one and at most [`MAX_BATCH`].
    Batch(Vec<Read>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    jsonrpc: String,
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

/// Reads a message.
///
/// # Errors
/// [`Fault::Parse`] for what is no JSON, [`Fault::Request`] for a batch of none or too many.
pub fn read(bytes: &[u8]) -> Result<Message, Fault> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Fault::Parse(error.to_string()))?;
    match value {
        Value::Array(values) if values.is_empty() => Err(Fault::Request("the batch is empty".to_owned())),
        Value::Array(values) if values.len() > MAX_BATCH => {
            Err(Fault::Request(format!("the batch has {} requests, at most {MAX_BATCH} are taken", values.len())))
        }
        Value::Array(values) => Ok(Message::Batch(values.into_iter().map(read_one).collect())),
        value => Ok(Message::One(read_one(value))),
    }
}

/// Reads a WebSocket message, which is no batch.
///
/// # Errors
/// As [`read`], under no id; [`Fault::Request`] for a batch.
pub fn read_alone(bytes: &[u8]) -> Read {
    match read(bytes) {
        Ok(Message::One(read)) => read,
        Ok(Message::Batch(_)) => Err((Value::Null, Fault::Request("batches are not taken over a WebSocket".to_owned()))),
        Err(fault) => Err((Value::Null, fault)),
    }
}

fn read_one(value: Value) -> Read {
    let id = value.get("id").filter(|id| is_id(id)).cloned().unwrap_or_default();
    let refused = |reason: String| Err((id.clone(), Fault::Request(reason)));
    let envelope = match serde_json::from_value::<Envelope>(value) {
        Ok(envelope) => envelope,
        Err(error) => return refused(error.to_string().chars().take(256).collect()),
    };
    if !is_id(&envelope.id) {
        return refused(format!("the id is a string or a number of at most {MAX_ID} bytes"));
    }
    if envelope.jsonrpc != "2.0" {
        return refused(format!("jsonrpc is {}, only \"2.0\" is spoken", shown(&envelope.jsonrpc)));
    }
    Ok(Call { id: envelope.id, method: envelope.method, params: envelope.params })
}

fn is_id(id: &Value) -> bool {
    match id {
        Value::String(text) => text.len() <= MAX_ID,
        Value::Number(_) => true,
        _ => false,
    }
}
