//! What all targets share.

use types::{Decode, Encode};

/// What decodes encodes to the same bytes.
pub fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "a value has one encoding");
    Some(value)
}

/// Whether a text in this JSON is one of those on which the parser of the `tendermint` types panics (`types::guarded`). Such a panic is an
/// error in the program, and would end the fuzzer.
pub fn breaks_published_parsers(json: &[u8]) -> bool {
    serde_json::from_slice(json).is_ok_and(|value| has_bad_text(&value))
}

fn has_bad_text(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => {
            let padded = text.trim_end_matches('=');
            let well = text.len() % 4 == 0 && text.len() - padded.len() <= 2;
            text.contains('=') && (padded.contains('=') || !well)
        }
        serde_json::Value::Array(all) => all.iter().any(has_bad_text),
        serde_json::Value::Object(all) => all.values().any(has_bad_text),
        _ => false,
    }
}
