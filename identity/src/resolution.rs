//! The W3C DID Resolution result (Candidate Recommendation of July 2026), as values: what a
//! resolver says, with which HTTP status and content type. Asking and answering is the gateway's.

mod options;
mod time;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use types::Millis;

use crate::did::{Did, PREFIX};
use crate::document::Document;
use crate::entry::Entry;

pub use options::{Representation, Version};
pub use time::{timestamp, timestamp_millis};

/// What a resolver answers (DID Resolution, "DID Resolution Result").
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// `null` where there is an error or the identity is deactivated.
    pub did_document: Option<Document>,
    /// About this resolution.
    pub did_resolution_metadata: ResolutionMetadata,
    /// About the document; empty where there is an error.
    pub did_document_metadata: DocumentMetadata,
}

/// About the resolution itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolutionMetadata {
    /// The media type of the document, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'static str>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
}

/// An error as RFC 9457 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorObject {
    /// Which error it is, written as its URI.
    #[serde(rename = "type")]
    pub problem: Problem,
    /// [`Problem::title`].
    pub title: &'static str,
    /// What in particular.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// About the document. Numbers are strings, since the metadata has none.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentMetadata {
    /// The time of the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The time of the last operation; absent where none followed the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// True where the identity is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deactivated: Option<bool>,
    /// The time of the operation after this version, where it is not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_update: Option<String>,
    /// The sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The sequence after this one, where this version is not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_version_id: Option<String>,
    /// The state proofs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<Map<String, Value>>,
}

/// What the resolver knows beside the entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The time of the block that created the identity.
    pub created: Option<Millis>,
    /// The time of the block with the operation that made this version.
    pub updated: Option<Millis>,
    /// Where this is not the last version: the time of the block that ended it.
    pub ended: Option<Millis>,
    /// The state proofs, each a map.
    pub proof: Vec<Map<String, Value>>,
}

/// Why a resolution fails (DID Resolution, "Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a DID, or not one that this method can give.
    #[error("the DID is not valid")]
    InvalidDid,
    /// Not a DID URL.
    #[error("the DID URL is not valid")]
    InvalidDidUrl,
    /// Options that contradict each other or cannot be read.
    #[error("the resolution options are not valid")]
    InvalidOptions,
    /// No such identity, or no such version of it.
    #[error("the DID was not found")]
    NotFound,
    /// The caller accepts no media type that there is.
    #[error("the representation is not supported")]
    RepresentationNotSupported,
    /// The state holds something that is no entry.
    #[error("the DID document is not valid")]
    InvalidDidDocument,
    /// A DID of another method.
    #[error("the DID method is not supported")]
    MethodNotSupported,
    /// An option that this resolver does not have.
    #[error("the feature is not supported")]
    FeatureNotSupported,
    /// Something of ours failed.
    #[error("an internal error")]
    InternalError,
}

impl Problem {
    /// The URI that names the error.
    #[must_use]
    pub fn uri(self) -> String {
        let name = match self {
            Self::InvalidDid => "INVALID_DID",
            Self::InvalidDidUrl => "INVALID_DID_URL",
            Self::InvalidOptions => "INVALID_OPTIONS",
            Self::NotFound => "NOT_FOUND",
            Self::RepresentationNotSupported => "REPRESENTATION_NOT_SUPPORTED",
            Self::InvalidDidDocument => "INVALID_DID_DOCUMENT",
            Self::MethodNotSupported => "METHOD_NOT_SUPPORTED",
            Self::FeatureNotSupported => "FEATURE_NOT_SUPPORTED",
            Self::InternalError => "INTERNAL_ERROR",
        };
        format!("https://www.w3.org/ns/did#{name}")
    }

    /// The HTTP status (DID Resolution, "HTTP(S) Binding").
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidDid | Self::InvalidDidUrl | Self::InvalidOptions => 400,
            Self::NotFound => 404,
            Self::RepresentationNotSupported => 406,
            Self::InvalidDidDocument | Self::InternalError => 500,
            Self::MethodNotSupported | Self::FeatureNotSupported => 501,
        }
    }

    /// A few words for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidDid => "Invalid DID",
            Self::InvalidDidUrl => "Invalid DID URL",
            Self::InvalidOptions => "Invalid options",
            Self::NotFound => "DID not found",
            Self::RepresentationNotSupported => "Representation not supported",
            Self::InvalidDidDocument => "Invalid DID document",
            Self::MethodNotSupported => "DID method not supported",
            Self::FeatureNotSupported => "Feature not supported",
            Self::InternalError => "Internal error",
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri())
    }
}

impl Resolution {
    /// The answer when the state holds `entry` under `did`.
    #[must_use]
    pub fn found(did: &Did, entry: &Entry, facts: Facts) -> Self {
        let deactivated = entry.is_deactivated();
        let time = |millis: Option<Millis>| millis.and_then(timestamp);
        Self {
            did_document: (!deactivated).then(|| Document::render(did, entry)),
            did_resolution_metadata: ResolutionMetadata { content_type: (!deactivated).then_some(Representation::DOCUMENT), error: None },
            did_document_metadata: DocumentMetadata {
                created: time(facts.created),
                updated: time(facts.updated).filter(|_| entry.sequence > 0),
                deactivated: deactivated.then_some(true),
                next_update: time(facts.ended),
                version_id: Some(entry.sequence.to_string()),
                next_version_id: facts.ended.map(|_| entry.sequence.saturating_add(1).to_string()),
                proof: facts.proof,
            },
        }
    }

    /// The answer when there is none. `detail`: what in particular, or empty.
    #[must_use]
    pub fn failed(problem: Problem, detail: &str) -> Self {
        let error = ErrorObject { problem, title: problem.title(), detail: detail.to_owned() };
        Self {
            did_document: None,
            did_resolution_metadata: ResolutionMetadata { content_type: None, error: Some(error) },
            did_document_metadata: DocumentMetadata::default(),
        }
    }

    /// The HTTP status of this answer: 200, 410 for a deactivated identity, or the error's.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.did_resolution_metadata.error {
            Some(error) => error.problem.status(),
            None if self.did_document_metadata.deactivated == Some(true) => 410,
            None => 200,
        }
    }
}

/// Reads the DID that a resolver is asked for, already URL-decoded.
///
/// # Errors
/// [`Problem::InvalidDid`] for what is no DID or no did:zynk identifier, and
/// [`Problem::MethodNotSupported`] for a DID of another method.
pub fn requested(text: &str) -> Result<Did, Problem> {
    if text.starts_with(PREFIX) {
        return text.parse().map_err(|_| Problem::InvalidDid);
    }
    let (method, id) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')).ok_or(Problem::InvalidDid)?;
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if method.is_empty() || !method.bytes().all(known) || !is_method_specific(id) {
        return Err(Problem::InvalidDid);
    }
    Err(Problem::MethodNotSupported)
}

/// The `method-specific-id` rule of DID Core §3.1.
fn is_method_specific(id: &str) -> bool {
    let mut bytes = id.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b".-_:".contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    !id.is_empty() && !id.ends_with(':')
}

#[cfg(test)]
mod tests;
