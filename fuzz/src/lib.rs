//! What all targets share.

use types::{Decode, Encode};

/// What decodes encodes to the same bytes.
pub fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "a value has one encoding");
    Some(value)
}
