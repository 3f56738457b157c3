//! What a caller of a resolver may ask for: which version, and in which form.

use types::Millis;

use super::Problem;
use super::time::timestamp_millis;

/// Which version of a document is asked for (DID Core §3.2.1, `versionId` and `versionTime`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The last one.
    Latest,
    /// The one with this sequence.
    Sequence(u64),
    /// The one that held at this time.
    At(Millis),
}

impl Version {
    /// Reads the two options.
    ///
    /// # Errors
    /// [`Problem::InvalidOptions`] if both are given, or one is not in its one spelling: a
    /// sequence in decimal; a time in UTC with whole seconds, `2026-11-21T01:09:41Z`.
    pub fn requested(version_id: Option<&str>, version_time: Option<&str>) -> Result<Self, Problem> {
        match (version_id, version_time) {
            (None, None) => Ok(Self::Latest),
            (Some(id), None) => {
                let sequence = id.parse().map_err(|_| Problem::InvalidOptions)?;
                if u64::to_string(&sequence) == id { Ok(Self::Sequence(sequence)) } else { Err(Problem::InvalidOptions) }
            }
            (None, Some(time)) => timestamp_millis(time).map(Self::At).ok_or(Problem::InvalidOptions),
            (Some(_), Some(_)) => Err(Problem::InvalidOptions),
        }
    }
}

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// The whole [`Resolution`](super::Resolution).
    Result,
    /// The document alone.
    Document,
}

impl Representation {
    /// The media type of the whole result.
    pub const RESULT: &'static str = "application/did-resolution";

    /// The media type of the document.
    pub const DOCUMENT: &'static str = "application/did";

    /// The media type of this form.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Result => Self::RESULT,
            Self::Document => Self::DOCUMENT,
        }
    }

    /// Reads an `Accept` header (RFC 9110 §12.5.1): the supported type of the highest weight, the
    /// first of equals. Who accepts anything gets the whole result, since it holds the proof.
    ///
    /// # Errors
    /// [`Problem::RepresentationNotSupported`] if no supported type is accepted.
    pub fn requested(accept: Option<&str>) -> Result<Self, Problem> {
        let mut best: Option<(u16, Self)> = None;
        for range in accept.unwrap_or("*/*").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                Self::RESULT | "*/*" | "application/*" => Self::Result,
                Self::DOCUMENT => Self::Document,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), thousandths);
            let weight = weight.filter(|weight| *weight > 0 && best.is_none_or(|(heaviest, _)| *weight > heaviest));
            best = weight.map(|weight| (weight, form)).or(best);
        }
        best.map(|(_, form)| form).ok_or(Problem::RepresentationNotSupported)
    }
}

/// A weight, `0` to `1` with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(whole, "0" | "1") {
        return None;
    }
    let weight = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}
