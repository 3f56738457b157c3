//! What a finished command says: a line for people, or JSON for scripts.

use std::io::Write as _;

use serde_json::Value;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Report {
    /// For people; its first line says what was done.
    pub(crate) text: String,
    /// For scripts, with `--json`.
    pub(crate) json: Value,
    /// Whether what was asked holds; where not, the exit status is not 0.
    pub(crate) holds: bool,
}

impl Report {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, holds: true }
    }

    pub(crate) fn refuted(text: impl Into<String>, json: Value) -> Self {
        Self { holds: false, ..Self::new(text, json) }
    }
}

/// Says something before a command is done: a line, or a JSON value on a line.
pub(crate) fn say(json: bool, text: &str, value: &Value) {
    // Who reads us may have gone away; the command goes on all the same.
    let _ = if json { writeln!(std::io::stdout(), "{value}") } else { writeln!(std::io::stdout(), "{text}") };
}
