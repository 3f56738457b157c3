//! Parsers of other crates that panic on what a stranger wrote.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `parse` makes of a stranger's text, or that it broke off.
///
/// The JSON of the `tendermint` types reads base64 with `subtle-encoding` 0.5, which panics where the last four characters of a text begin
/// with `=` (`"AAAA="`). So whoever answers a client, or is answered by a node, could end the task that reads.
///
/// # Errors
/// [`Panicked`].
pub fn guarded<T>(parse: impl FnOnce() -> T) -> Result<T, Panicked> {
    // The parser's values are dropped with the panic: nothing half-made is seen.
    catch_unwind(AssertUnwindSafe(parse)).map_err(|_| Panicked)
}

/// A parser broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be parsed")]
pub struct Panicked;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_that_breaks_off_is_an_error() {
        assert_eq!(guarded(|| "7".parse::<u8>().ok()), Ok(Some(7)));
        let key = |text: &str| serde_json::json!({"type": "tendermint/PubKeyEd25519", "value": text});
        let parse = |text: &str| guarded(|| serde_json::from_value::<tendermint::PublicKey>(key(text)).map_err(|error| error.to_string()));
        assert!(matches!(parse("YQ=="), Ok(Err(_))), "too short for a key");
        // If this does not panic any more, `guarded` has done its work and can go.
        assert_eq!(parse("AAAA="), Err(Panicked));
    }
}
