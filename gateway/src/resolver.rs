//! `GET /1.0/identifiers/{did}`: W3C DID Resolution, HTTP(S) binding (Candidate Recommendation of July
//! 2026). What is answered was proven first.
//!
//! Only the present version is in the state, so an earlier one is a feature that is not supported;
//! that it is asked for by the version or the time that still holds is answered.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use identity::resolution::{Facts, Problem, Representation, Version, requested};
use identity::{Entry, Resolution};
use serde_json::{Map, Value};
use types::{Decode as _, Millis};

use crate::Error;
use crate::edge::Gate;
use crate::prover::{Shown, Turn};
use crate::queries::{decoded, pairs};
use crate::upstream::{NODE, kind};

const PREFIX: &str = "/1.0/identifiers/";

/// Parameters of DID URLs, which say something to whoever dereferences; resolution takes no notice.
const OF_URLS: [&str; 4] = ["service", "serviceType", "relativeRef", "hl"];

/// What a caller asks for.
struct Asked {
    form: Representation,
    version: Version,
    /// Whether the proof is to hold the bytes that can be checked again.
    proof: bool,
}

/// Why there is no document: the problem, and what in particular.
type Failed = (Problem, Cow<'static, str>);

/// Answers; every failure is a resolution result too.
pub(crate) async fn answer(gate: &Gate, request: &Parts) -> Response<Body> {
    match resolve(gate, request).await {
        Ok((resolution, form)) => render(&resolution, form),
        Err((problem, detail)) => render(&Resolution::failed(problem, &detail), Representation::Result),
    }
}

async fn resolve(gate: &Gate, request: &Parts) -> Result<(Resolution, Representation), Failed> {
    let text = request.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let did = decoded(text).ok_or(Problem::InvalidDid).and_then(|text| requested(&text));
    let did = did.map_err(|problem| (problem, "".into()))?;
    let asked = options(request)?;
    let mut turn = gate.prover.begin().map_err(|error| internal(gate, &error))?;
    let read = async {
        let shown = turn.show(did.state_key()).await?;
        let Some(bytes) = shown.entry.value.as_ref() else { return Ok((shown, None)) };
        let entry = Entry::from_bytes(bytes).map_err(|source| rpc::Error::Decode { query: "an entry", source })?;
        let mut facts = Facts::default();
        for (height, time) in [(entry.created, &mut facts.created), (entry.updated, &mut facts.updated)] {
            *time = Millis::try_from(turn.chain.header(height).await?.time()).ok();
        }
        Ok((shown, Some((entry, facts))))
    };
    let (shown, found) = gate.prover.within(read).await.map_err(|error| internal(gate, &error))?;
    let Some((entry, mut facts)) = found else {
        gate.prover.keep(turn);
        return Err((Problem::NotFound, format!("proven absent at height {}", shown.entry.height()).into()));
    };
    facts.proof = vec![proof(&turn, &shown, asked.proof)];
    gate.prover.keep(turn);
    held(&asked.version, &entry, &facts, &shown)?;
    Ok((Resolution::found(&did, &entry, facts), asked.form))
}

/// Whether the version that is asked for is the present one.
fn held(version: &Version, entry: &Entry, facts: &Facts, shown: &Shown) -> Result<(), Failed> {
    const EARLIER: &str = "earlier versions are not kept in the state";
    // Metadata has whole seconds, and a version is asked for by what the metadata says.
    let second = |time: Millis| time.0 / 1000;
    match *version {
        Version::Latest => Ok(()),
        Version::Sequence(asked) if asked == entry.sequence => Ok(()),
        Version::Sequence(asked) if asked > entry.sequence => Err((Problem::NotFound, "there is no such version yet".into())),
        Version::Sequence(_) => Err((Problem::FeatureNotSupported, EARLIER.into())),
        Version::At(asked) => {
            let until = Millis::try_from(shown.entry.time()).map_or(0, second);
            let (created, updated) = (facts.created.map_or(u64::MAX, second), facts.updated.map_or(u64::MAX, second));
            match second(asked) {
                asked if asked > until => Err((Problem::NotFound, "nothing is proven at this time yet".into())),
                asked if asked >= updated => Ok(()),
                asked if asked < created => Err((Problem::NotFound, "it did not exist at this time".into())),
                _ => Err((Problem::FeatureNotSupported, EARLIER.into())),
            }
        }
    }
}

fn options(request: &Parts) -> Result<Asked, Failed> {
    let invalid = |what: &'static str| (Problem::InvalidOptions, what.into());
    let (mut id, mut time, mut accept, mut proof) = (None, None, None, false);
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in pairs(request.uri.query().unwrap_or_default()).map_err(|()| invalid("the query cannot be read"))? {
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(invalid("the value of an option is not ASCII"));
        }
        if seen.contains(&name) {
            return Err(invalid("an option stands twice"));
        }
        match name.as_str() {
            "versionId" => id = Some(value),
            "versionTime" => time = Some(value),
            "accept" => accept = Some(value),
            "proof" => proof = flag(&value)?,
            // Nothing is cached, and all DID URLs in a document are absolute.
            "noCache" | "expandRelativeUrls" => drop(flag(&value)?),
            "relativeRef" if value.bytes().any(|byte| b" #?\"<>\\^`{|}".contains(&byte)) => {
                return Err(invalid("relativeRef is not percent-encoded"));
            }
            known if OF_URLS.contains(&known) => {}
            _ => return Err((Problem::FeatureNotSupported, "an option that this resolver does not have".into())),
        }
        seen.push(name);
    }
    let version = Version::requested(id.as_deref(), time.as_deref()).map_err(|problem| (problem, "".into()))?;
    let header = request.headers.get_all(ACCEPT).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
    let header = header.map_err(|_| invalid("Accept is not ASCII"))?.join(", ");
    let wanted = accept.or(Some(header).filter(|header| !header.is_empty()));
    let form = Representation::requested(wanted.as_deref()).map_err(|problem| (problem, "".into()))?;
    Ok(Asked { form, version, proof })
}

fn flag(value: &str) -> Result<bool, Failed> {
    value.parse().map_err(|_| (Problem::InvalidOptions, "an option is neither true nor false".into()))
}

/// The state proof as metadata, in which no value is a number (DID Resolution, "Metadata Structure").
fn proof(turn: &Turn, shown: &Shown, whole: bool) -> Map<String, Value> {
    let facts = if whole { turn.proof(shown) } else { turn.facts(&shown.entry.header) };
    let mut proof = Map::from_iter([("type".to_owned(), Value::from("ZynkStateProof"))]);
    if let Value::Object(fields) = facts {
        proof.extend(fields.into_iter().map(|(name, value)| (name, worded(value))));
    }
    proof
}

fn worded(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, worded(value))).collect(),
        other => other,
    }
}

fn internal(gate: &Gate, error: &Error) -> Failed {
    if !matches!(error, Error::Busy) {
        gate.metrics.failed(NODE, kind(error));
    }
    (Problem::InternalError, format!("{error} (code {})", error.code()).into())
}

fn render(resolution: &Resolution, form: Representation) -> Response<Body> {
    let status = StatusCode::from_u16(resolution.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (body, media) = match (&resolution.did_document, form) {
        (Some(document), Representation::Document) => (serde_json::to_vec(document), Representation::DOCUMENT),
        // Without a document there is nothing bare to give: the result says why.
        _ => (serde_json::to_vec(resolution), Representation::RESULT),
    };
    let mut response = Response::new(Body::from(body.expect("a resolution has text keys, so it serialises")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
