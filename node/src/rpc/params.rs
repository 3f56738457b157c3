//! A method's parameters, out of JSON or out of a URI, as CometBFT reads them.
//!
//! JSON: by name or by place; whole numbers as numbers or as strings; bytes in base64 or in
//! hexadecimal, as the method says. URI: strings and bytes in quotes, bytes in hexadecimal after
//! 0x, numbers bare or in quotes. A parameter that the method does not know is refused.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::Fault;

/// How JSON carries the bytes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// As the RPC carries transactions and hashes in JSON.
    Base64,
    /// As it carries what `abci_query` is asked.
    Hex,
}

#[derive(Debug)]
enum Given {
    Json(Value),
    Uri(String),
}

/// The parameters that were given.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<&'static str, Given>);

impl Params {
    /// Out of JSON, an object or a list, for a method with these parameters.
    ///
    /// # Errors
    /// [`Fault::Params`], as each question here.
    pub fn from_json(params: Value, names: &'static [&'static str]) -> Result<Self, Fault> {
        let mut given = BTreeMap::new();
        match params {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    given.insert(known(&name, names)?, Given::Json(value));
                }
            }
            Value::Array(values) if values.len() <= names.len() => {
                given.extend(names.iter().copied().zip(values.into_iter().map(Given::Json)));
            }
            Value::Array(values) => return Err(Fault::Params(format!("{} parameters, at most {} are taken", values.len(), names.len()))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(Fault::Params("the parameters are neither an object nor a list".to_owned()));
            }
        }
        given.retain(|_, value| !matches!(value, Given::Json(Value::Null)));
        Ok(Self(given))
    }

    /// Out of a URI's query, for a method with these parameters.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn from_uri(uri: &Uri, names: &'static [&'static str]) -> Result<Self, Fault> {
        let malformed = |error| Fault::Params(format!("the query of the URI cannot be read: {error}"));
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(malformed)?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            let name = known(&name, names)?;
            if given.insert(name, Given::Uri(value)).is_some() {
                return Err(Fault::Params(format!("`{name}` is given twice")));
            }
        }
        given.retain(|_, value| !matches!(value, Given::Uri(text) if text.is_empty()));
        Ok(Self(given))
    }

    /// A whole number, if it is given.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn number(&self, name: &'static str) -> Result<Option<i64>, Fault> {
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(Given::Json(Value::String(text))) => text.parse().ok(),
            Some(Given::Json(value)) => value.as_i64(),
            Some(Given::Uri(text)) => unquoted(text).unwrap_or_else(|| text.clone()).parse().ok(),
        };
        number.map(Some).ok_or_else(|| wrong(name, "a whole number of 64 bits"))
    }

    /// Whether a flag is set.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn flag(&self, name: &'static str) -> Result<bool, Fault> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Given::Json(Value::Bool(flag))) => Ok(*flag),
            Some(Given::Uri(text)) if text == "true" => Ok(true),
            Some(Given::Uri(text)) if text == "false" => Ok(false),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A string, if it is given.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Fault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Given::Json(Value::String(text))) => Ok(Some(text.clone())),
            Some(Given::Json(_)) => Err(wrong(name, "a string")),
            Some(Given::Uri(text)) => unquoted(text).map(Some).ok_or_else(|| wrong(name, "a string in double quotes")),
        }
    }

    /// Bytes, if they are given.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn bytes(&self, name: &'static str, json: Text) -> Result<Option<Vec<u8>>, Fault> {
        let (bytes, form) = match (self.0.get(name), json) {
            (None, _) => return Ok(None),
            (Some(Given::Json(value)), Text::Base64) => (value.as_str().and_then(|text| STANDARD.decode(text).ok()), "bytes in base64"),
            (Some(Given::Json(value)), Text::Hex) => (value.as_str().and_then(|text| hex::decode(text).ok()), "bytes in hexadecimal"),
            (Some(Given::Uri(text)), _) => {
                let bytes = match text.strip_prefix("0x") {
                    Some(digits) => hex::decode(digits).ok(),
                    None => unquoted(text).map(String::into_bytes),
                };
                (bytes, "bytes in hexadecimal after 0x, or in double quotes")
            }
        };
        bytes.map(Some).ok_or_else(|| wrong(name, form))
    }

    /// A JSON value, if it is given.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn json(&self, name: &'static str) -> Result<Option<Value>, Fault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Given::Json(value)) => Ok(Some(value.clone())),
            Some(Given::Uri(text)) => serde_json::from_str(text).map(Some).map_err(|_| wrong(name, "JSON")),
        }
    }

    /// A hash; it must be given.
    ///
    /// # Errors
    /// As [`Params::from_json`].
    pub fn hash(&self, name: &'static str, json: Text) -> Result<[u8; 32], Fault> {
        let bytes = self.bytes(name, json)?.ok_or_else(|| missing(name))?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| Fault::Params(format!("`{name}` has {found} bytes, a hash has 32")))
    }
}

/// That a parameter must be given.
#[must_use]
pub fn missing(name: &str) -> Fault {
    Fault::Params(format!("`{name}` is missing"))
}

fn known(name: &str, names: &'static [&'static str]) -> Result<&'static str, Fault> {
    let found = names.iter().copied().find(|known| *known == name);
    found.ok_or_else(|| match names {
        [] => Fault::Params(format!("unknown parameter {}: the method takes none", shown(name))),
        _ => Fault::Params(format!("unknown parameter {}: the method takes {}", shown(name), names.join(", "))),
    })
}

fn wrong(name: &str, form: &str) -> Fault {
    Fault::Params(format!("`{name}` must be {form}"))
}

fn unquoted(text: &str) -> Option<String> {
    text.starts_with('"').then(|| serde_json::from_str(text).ok()).flatten()
}

/// A stranger's word, short enough to repeat.
#[must_use]
pub fn shown(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    format!("{short:?}")
}
