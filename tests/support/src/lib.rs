//! What tests of several rooms share: the frozen vectors of `tests/vectors/`, and an engine's end of ABCI.

pub mod abci;

use std::path::PathBuf;

use serde_json::Value;

/// Compares `computed` with the frozen vectors in `tests/vectors/{name}.json`.
///
/// With `ZYNK_BLESS=1` in the environment it writes the file instead: for a new format, or for a
/// change of format that its spec page tells of in the same commit.
///
/// # Panics
/// When the two differ, or the file cannot be read.
pub fn frozen(name: &str, computed: &Value) {
    let path = folder().join(format!("{name}.json"));
    if std::env::var_os("ZYNK_BLESS").is_some() {
        let mut text = serde_json::to_string_pretty(computed).expect("a JSON value serialises");
        text.push('\n');
        std::fs::write(&path, text).expect("the vectors can be written");
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let stored: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert_eq!(&stored, computed, "{} no longer holds: a format changed", path.display());
}

/// The folder of published test data named by `ZYNK_VECTORS`, or `None`, said aloud, where it is not set.
#[must_use]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn published(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("ZYNK_VECTORS").map(|root| PathBuf::from(root).join(name));
    if found.is_none() {
        eprintln!("skipped: ZYNK_VECTORS is not set, so the published data {name} is not here");
    }
    found
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors"))
}
