//! Byte arrays as hexadecimal in JSON.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| serde::de::Error::invalid_length(found, &"as many bytes as the field has"))
}
