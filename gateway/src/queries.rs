//! `/chain/v1/…`: what the chain holds, proven first, with what a client needs to check it again.

use std::str::FromStr;

use audit::bundle::Item;
use audit::{Commitment, CommitmentPart, EnvelopePart, LeafOpening, LogId, LogRecord};
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use identity::{Did, Entry};
use ledger::Params;
use ledger::account::Account;
use ledger::state::key;
use rpc::relay::{LeafProof, path as relay};
use serde_json::{Value, json};
use tokio::time::timeout;
use types::{Address, Decode, Encode as _, Hash, Height};

use crate::Error;
use crate::edge::Gate;
use crate::headers::REQUEST_ID;
use crate::upstream::{NODE, RELAY, kind};

/// The media type of a bundle's binary form.
const BUNDLE: &str = "application/vnd.zynk.bundle";

/// How long the relay's answer about a leaf may be, in bytes: an anchor and 16 hashes.
const MAX_LEAF_PROOF: usize = 64 * 1024;

/// How many parameters a query may have.
const MAX_PAIRS: usize = 16;

/// Answers a question about the chain.
pub(crate) async fn answer(gate: &Gate, request: &Parts) -> Result<Response, Error> {
    let rest = request.uri.path().strip_prefix("/chain/v1/").unwrap_or_default();
    let segments: Option<Vec<String>> = rest.split('/').map(decoded).collect();
    let segments = segments.ok_or(Error::Target)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answered = match segments.as_slice() {
        ["identities", did] => entry(gate, &parsed::<Did>("did", did)?.state_key(), |entry: Entry| json!(entry)).await,
        ["accounts", address] => {
            let address: Address = parsed("address", address)?;
            entry(gate, &key::account(&address), |Account { balance, sequence }| json!({"balance": balance, "sequence": sequence})).await
        }
        ["logs", log] => entry(gate, &key::log(&log_id(log)?), |record: LogRecord| json!(record)).await,
        ["params"] => entry(gate, key::PARAMS, |params: Params| json!(params)).await,
        ["header"] => header(gate, request).await,
        ["bundles", log, sequence] => bundle(gate, request, log_id(log)?, parsed("sequence", sequence)?).await,
        _ => return Err(Error::NotFound),
    };
    answered.inspect_err(|error| {
        if matches!(error, Error::Unreachable { upstream: NODE } | Error::Late { upstream: NODE } | Error::Unproven { .. }) {
            gate.metrics.failed(NODE, kind(error));
        }
    })
}

/// An entry of the state; `null` where there is none, which is proven too.
async fn entry<T: Decode>(gate: &Gate, key: &[u8], render: fn(T) -> Value) -> Result<Response, Error> {
    let mut turn = gate.prover.begin()?;
    let asking = async {
        let shown = turn.show(key.to_vec()).await?;
        let decode = |bytes: &Vec<u8>| T::from_bytes(bytes).map_err(|source| rpc::Error::Decode { query: "an entry", source });
        let value = shown.entry.value.as_ref().map(decode).transpose()?;
        Ok((shown, value))
    };
    let (shown, value) = gate.prover.within(asking).await?;
    let answer = json!({"value": value.map(render), "proof": turn.proof(&shown)});
    gate.prover.keep(turn);
    Ok(Json(answer).into_response())
}

/// A header with its commit: of `height`, or the newest.
async fn header(gate: &Gate, request: &Parts) -> Result<Response, Error> {
    let height = match parameters(&request.uri, ["height"])? {
        [Some(text)] => Some(Height(parsed("height", &text)?)),
        [None] => None,
    };
    if height == Some(Height(0)) {
        return Err(Error::Parameter { name: "height" });
    }
    let mut turn = gate.prover.begin()?;
    let asking = async {
        match height {
            Some(height) => turn.chain.header(height).await,
            None => turn.chain.latest().await,
        }
    };
    let header = gate.prover.within(asking).await?;
    let answer = json!({"value": header.signed_header(), "proof": turn.facts(&header)});
    gate.prover.keep(turn);
    Ok(Json(answer).into_response())
}

/// The proof of one message: the batch's path by the relay, who is asked with the caller's token; the
/// rest by the chain. Both halves of the leaf stay hidden: whoever knows more opens them himself.
async fn bundle(gate: &Gate, request: &Parts, log: LogId, sequence: u64) -> Result<Response, Error> {
    let [leaf, commitment, envelope] = parameters(&request.uri, ["leaf", "commitment", "envelope"])?;
    let hash = |name: &'static str, text: Option<String>| parsed::<Hash>(name, &text.unwrap_or_default());
    let (leaf, commitment, envelope) = (hash("leaf", leaf)?, hash("commitment", commitment)?, hash("envelope", envelope)?);
    let opening = LeafOpening { commitment: CommitmentPart::Hidden(Commitment(commitment)), envelope: EnvelopePart::Hidden(envelope) };
    if opening.leaf() != leaf {
        return Err(Error::Parameter { name: "leaf" });
    }
    let (anchor, index, path) = match leaf_proof(gate, &request.headers, &leaf).await? {
        Ok(LeafProof::Anchored { anchor, index, path }) => (anchor, index, path),
        Ok(LeafProof::Stored | LeafProof::Sealed { .. }) => return Err(Error::NotAnchored),
        Err(refusal) => return Ok(refusal),
    };
    if (anchor.anchor.log, anchor.anchor.sequence) != (log, sequence) {
        return Err(Error::WrongBatch);
    }
    let path = path.try_into().map_err(|_| Error::Unreachable { upstream: RELAY })?;
    let mut turn = gate.prover.begin()?;
    let bundle = gate.prover.within(turn.chain.bundle(vec![Item { opening, index, path }], log, sequence)).await?;
    gate.prover.keep(turn);
    let binary = request.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes() == BUNDLE.as_bytes());
    Ok(if binary {
        ([(CONTENT_TYPE, BUNDLE)], bundle.to_bytes()).into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], bundle.to_json()).into_response()
    })
}

/// What the relay says of a leaf, or its refusal as it is: it decides who may know.
async fn leaf_proof(gate: &Gate, headers: &HeaderMap, leaf: &Hash) -> Result<Result<LeafProof, Response>, Error> {
    let mut question = Request::new(Body::empty());
    *question.uri_mut() = relay::PROOFS.replace("{leaf}", &leaf.to_string()).parse().map_err(|_| Error::Internal)?;
    for name in [AUTHORIZATION, REQUEST_ID] {
        if let Some(value) = headers.get(&name) {
            question.headers_mut().insert(name, value.clone());
        }
    }
    let asked =
        timeout(gate.request_time(), gate.relay.ask(question, MAX_LEAF_PROOF)).await.unwrap_or(Err(Error::Late { upstream: RELAY }));
    let (status, body) = asked.inspect_err(|error| gate.metrics.failed(RELAY, kind(error)))?;
    if status == 200 {
        return serde_json::from_slice(&body).map(Ok).map_err(|_| Error::Unreachable { upstream: RELAY });
    }
    let status = axum::http::StatusCode::from_u16(status).map_err(|_| Error::Unreachable { upstream: RELAY })?;
    Ok(Err((status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()))
}

fn parsed<T: FromStr>(name: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Parameter { name })
}

fn log_id(text: &str) -> Result<LogId, Error> {
    parsed("log", text).map(LogId)
}

/// The values of these parameters; others are refused, as is one that stands twice.
fn parameters<const N: usize>(uri: &Uri, names: [&'static str; N]) -> Result<[Option<String>; N], Error> {
    let mut values = [const { None }; N];
    for (name, value) in pairs(uri.query().unwrap_or_default()).map_err(|()| Error::Target)? {
        let place = names.iter().position(|known| *known == name).ok_or(Error::Parameter { name: "query" })?;
        if values[place].replace(value).is_some() {
            return Err(Error::Parameter { name: names[place] });
        }
    }
    Ok(values)
}

/// The pairs of a query, decoded.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, ()> {
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).take(MAX_PAIRS + 1).collect();
    if parts.len() > MAX_PAIRS {
        return Err(());
    }
    let pair = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
    };
    parts.iter().map(pair).collect::<Option<_>>().ok_or(())
}

/// Percent-decoding, once; none for what is no UTF-8 then.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
