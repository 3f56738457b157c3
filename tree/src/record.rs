//! Records: the key and value behind a leaf.
//!
//! The key is there because an absence proof carries its neighbours' keys, and a leaf knows the hash alone.

use types::codec::put_number;
use types::{DecodeError, Reader};

/// Bytes: length of the key ‖ key ‖ value, which takes the rest.
#[must_use]
pub fn to_bytes(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + key.len() + value.len());
    put_number(key.len() as u64, &mut out);
    out.extend(key);
    out.extend(value);
    out
}

/// Key and value.
///
/// # Errors
/// When the bytes are no record.
pub fn from_bytes(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes);
    let length = reader.count(bytes.len())?;
    let key = reader.take(length)?;
    Ok((key, reader.take(reader.remaining())?))
}
