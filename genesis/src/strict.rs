//! JSON that says what it means: no name twice, no name that nobody reads.
//!
//! The `tendermint` crate's types pass over fields that they do not know, and maps keep the last of
//! two equal keys. In a genesis either would let two people read one file as two chains.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::Error;

const TWICE: &str = "stands twice: ";

/// Reads `bytes` as `T`, and refuses a repeated name and whatever `T` would not write again.
///
/// # Errors
/// [`Error::Utf8`], [`Error::Json`], [`Error::RepeatedField`], [`Error::UnknownField`].
pub(crate) fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Utf8 { at: error.valid_up_to() })?;
    let Checked(given) = serde_json::from_str(text).map_err(|error| refused(&error))?;
    let value = types::guarded(|| serde_json::from_str::<T>(text));
    let broken = |_| Error::Json { line: 0, column: 0, hint: ": a text that should be base64 is none".to_owned() };
    let value = value.map_err(broken)?.map_err(|error| refused(&error))?;
    let kept = serde_json::to_value(&value).expect("what was read can be written");
    match lost(&given, &kept) {
        Some(path) => Err(Error::UnknownField(path)),
        None => Ok(value),
    }
}

fn refused(error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    if let Some(name) = message.strip_prefix(TWICE) {
        return Error::RepeatedField(name.to_owned());
    }
    Error::Json { line: error.line(), column: error.column(), hint: format!(": {message}") }
}

/// The path of the first name in `given` that `kept` does not have.
fn lost(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(name, inner)| match kept.get(name) {
            Some(kept) => lost(inner, kept).map(|rest| format!("{name}.{rest}")),
            None => Some(name.clone()),
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            pairs.into_iter().find_map(|(at, (given, kept))| lost(given, kept).map(|rest| format!("{at}.{rest}")))
        }
        // An object that became something else, such as `{}` read as none: what it named is gone.
        (Value::Object(given), _) => given.keys().next().cloned(),
        _ => None,
    }
}

/// Any JSON value in which no object has a name twice.
struct Checked(Value);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check).map(Self)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Checked(value)) = values.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Checked(value))) = entries.next_entry::<String, _>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{TWICE}{name}")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
