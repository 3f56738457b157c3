//! Frames as bytes: JSON or CBOR, and the door at which every bound is held.
//!
//! Bounds: a frame has at most [`MAX_FRAME`] bytes and is refused before it is parsed; what its
//! lists, texts, contents and numbers may be at most is in [`frame`](crate::frame).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{
    Acknowledge, ClientFrame, Delivery, MAX_CONTENT, MAX_CONTENTS, MAX_FRAME, MAX_ITEMS, MAX_NUMBER, MAX_SELECTED, MAX_TEXT, MAX_TOKEN,
    Refusal, ServerFrame, Submission,
};

/// The WebSocket subprotocol of [`Encoding::Json`].
pub const SUBPROTOCOL_JSON: &str = "zynk.v1+json";

/// The WebSocket subprotocol of [`Encoding::Cbor`].
pub const SUBPROTOCOL_CBOR: &str = "zynk.v1+cbor";

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON in text messages: hashes as hexadecimal, contents as base64.
    Json,
    /// CBOR (RFC 8949) in binary messages: the same maps, with byte strings for hashes, DIDs, ids
    /// and contents.
    Cbor,
}

impl Encoding {
    /// The WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Cbor => SUBPROTOCOL_CBOR,
        }
    }

    /// The encoding of a subprotocol, if it is one of ours.
    #[must_use]
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        [Self::Json, Self::Cbor].into_iter().find(|encoding| encoding.subprotocol() == name)
    }
}

/// Why bytes are no frame. None of it repeats what was in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The frame is too long.
    #[error("a frame of {found} bytes; the most is {MAX_FRAME}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
    /// The bytes are not JSON, or not CBOR.
    #[error("not well-formed near byte {at}")]
    Syntax {
        /// Where reading stopped. In JSON counted on the line.
        at: usize,
    },
    /// The bytes are well-formed and no frame: an unknown type or field, one that is missing, twice
    /// there or of another kind.
    #[error("no frame of this protocol")]
    Shape,
    /// Bytes follow the frame.
    #[error("{left} bytes after the frame")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A list, text, content or number is above its bound.
    #[error("{what}: {found}; the most is {bound}")]
    Bound {
        /// Of what.
        what: &'static str,
        /// What the frame has.
        found: u64,
        /// What it may have at most.
        bound: u64,
    },
    /// Numbers that must ascend do not.
    #[error("{what} do not ascend")]
    Order {
        /// Which numbers.
        what: &'static str,
    },
    /// Text where bytes are spoken, or the other way round: the shell's finding.
    #[error("not the kind of WebSocket message that the subprotocol has")]
    Medium,
}

impl Error {
    /// The error's number: stable.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::TooLong { .. } => 2101,
            Self::Syntax { .. } => 2102,
            Self::Shape => 2103,
            Self::Trailing { .. } => 2104,
            Self::Bound { .. } => 2105,
            Self::Order { .. } => 2106,
            Self::Medium => 2107,
        }
    }
}

/// Writes a frame.
///
/// # Panics
/// Never for a frame of this crate: each has string keys and writing to memory does not fail.
#[must_use]
pub fn encode<T: Serialize>(encoding: Encoding, frame: &T) -> Vec<u8> {
    match encoding {
        Encoding::Json => serde_json::to_vec(frame).expect("a frame has string keys"),
        Encoding::Cbor => {
            let mut out = Vec::new();
            ciborium::into_writer(frame, &mut out).expect("writing to memory does not fail");
            out
        }
    }
}

/// Reads what a device said, and holds it to every bound.
///
/// # Errors
/// The first rule of the protocol that the bytes break.
pub fn decode_client(encoding: Encoding, bytes: &[u8]) -> Result<ClientFrame, Error> {
    let frame = parse(encoding, bytes)?;
    match &frame {
        ClientFrame::Open(open) => {
            bound("bytes of a token", open.token.len(), MAX_TOKEN)?;
            number(open.acknowledged)?;
        }
        ClientFrame::Send(submission) | ClientFrame::Delivered(submission) | ClientFrame::Read(submission) => check_submission(submission)?,
        ClientFrame::Acknowledge(acknowledge) => check_acknowledge(acknowledge)?,
    }
    Ok(frame)
}

/// Reads what a relay said, and holds it to every bound.
///
/// # Errors
/// The first rule of the protocol that the bytes break.
pub fn decode_server(encoding: Encoding, bytes: &[u8]) -> Result<ServerFrame, Error> {
    let frame = parse(encoding, bytes)?;
    match &frame {
        ServerFrame::Opened(opened) => {
            number(opened.time.0)?;
            number(opened.acknowledged)?;
        }
        ServerFrame::Accepted(accepted) => {
            bound("accepted items", accepted.items.len(), MAX_ITEMS)?;
            accepted.items.iter().filter_map(|item| item.envelope.as_ref()).try_for_each(|seen| number(seen.received.0))?;
        }
        ServerFrame::Refused(refused) => check_refusal(&refused.refusal)?,
        ServerFrame::Received(received) => {
            bound("received items", received.items.len(), MAX_ITEMS)?;
            received.items.iter().try_for_each(check_delivery)?;
            ascend("numbers of received items", received.items.iter().map(|item| item.sequence))?;
        }
        ServerFrame::SlowDown(slow) => number(slow.retry_after_ms)?,
        ServerFrame::Error(problem) => bound("bytes of a problem's message", problem.message.len(), MAX_TEXT)?,
        ServerFrame::Empty(_) | ServerFrame::PrekeysLow(_) => {}
    }
    Ok(frame)
}

fn parse<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> Result<T, Error> {
    if bytes.len() > MAX_FRAME {
        return Err(Error::TooLong { found: bytes.len() });
    }
    match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Error::Shape,
            _ => Error::Syntax { at: error.column() },
        }),
        Encoding::Cbor => {
            let mut rest = bytes;
            let value = ciborium::from_reader(&mut rest).map_err(|error| match error {
                ciborium::de::Error::Syntax(at) => Error::Syntax { at },
                ciborium::de::Error::Io(_) => Error::Syntax { at: bytes.len() },
                ciborium::de::Error::Semantic(..) | ciborium::de::Error::RecursionLimitExceeded => Error::Shape,
            })?;
            if rest.is_empty() { Ok(value) } else { Err(Error::Trailing { left: rest.len() }) }
        }
    }
}

fn check_submission(submission: &Submission) -> Result<(), Error> {
    bound("contents", submission.contents.len() + submission.own_contents.len(), MAX_CONTENTS)?;
    submission.all_contents().try_for_each(|content| bound("bytes of a content", content.encrypted_content.0.len(), MAX_CONTENT))?;
    number(submission.timestamp.0)
}

fn check_acknowledge(acknowledge: &Acknowledge) -> Result<(), Error> {
    bound("numbers acknowledged one by one", acknowledge.also.len(), MAX_SELECTED)?;
    let numbers = || [acknowledge.upto].into_iter().chain(acknowledge.also.iter().copied());
    numbers().try_for_each(number)?;
    ascend("numbers acknowledged", numbers())
}

fn check_delivery(delivery: &Delivery) -> Result<(), Error> {
    bound("bytes of a content", delivery.encrypted_content.0.len(), MAX_CONTENT)?;
    [delivery.sequence, delivery.timestamp.0, delivery.received_at.0].into_iter().try_for_each(number)
}

fn check_refusal(refusal: &Refusal) -> Result<(), Error> {
    match refusal {
        Refusal::Devices { missing, extra, stale, .. } => {
            [missing, extra, stale].into_iter().try_for_each(|devices| bound("devices", devices.len(), MAX_CONTENTS))
        }
        Refusal::TooMany { retry_after_ms } => number(*retry_after_ms),
        Refusal::Malformed { what } => bound("bytes of a refusal", what.len(), MAX_TEXT),
        Refusal::NoAccount { .. } | Refusal::NoDevices { .. } | Refusal::Full { .. } | Refusal::IdReused | Refusal::Unavailable => Ok(()),
    }
}

const fn bound(what: &'static str, found: usize, bound: usize) -> Result<(), Error> {
    if found > bound { Err(Error::Bound { what, found: found as u64, bound: bound as u64 }) } else { Ok(()) }
}

const fn number(found: u64) -> Result<(), Error> {
    if found > MAX_NUMBER { Err(Error::Bound { what: "number", found, bound: MAX_NUMBER }) } else { Ok(()) }
}

fn ascend(what: &'static str, numbers: impl Iterator<Item = u64> + Clone) -> Result<(), Error> {
    let pairs = numbers.clone().zip(numbers.skip(1));
    if pairs.into_iter().all(|(one, next)| one < next) { Ok(()) } else { Err(Error::Order { what }) }
}

#[cfg(test)]
mod tests;
