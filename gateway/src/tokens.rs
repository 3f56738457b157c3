//! Access tokens at the edge: a forged or expired one never reaches the relay.
//!
//! Tokens are JWTs of one kind (EdDSA over Ed25519, RFC 8037), signed with a key of the relay's JSON
//! Web Key Set. Whether a session was revoked only the relay knows, and checks.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use types::{PublicKey, Signature};

use crate::Error;
use crate::upstream::Target;

/// How long a token may be, in bytes: [`mailbox::frame::Open::token`]'s bound.
const MAX_TOKEN: usize = 2048;

/// How many keys of a set are used.
const MAX_KEYS: usize = 16;

/// How long the answer with the keys may be, in bytes.
const MAX_SET: usize = 64 * 1024;

/// After this long the keys are asked for again.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// A token by an unknown key has the keys asked for again, but not more often than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// The relay's keys, as last seen.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    keys: Vec<Key>,
    /// When they were asked for.
    asked: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    key: PublicKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// RFC 7517, RFC 8037. Keys of other kinds are passed over.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    nbf: Option<u64>,
}

/// A token taken apart, not believed yet.
pub(crate) struct Token<'a> {
    signed: &'a str,
    signature: Signature,
    kid: Option<String>,
    claims: Claims,
}

/// The access token of a request, if there is one.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Error::BadToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Error::BadToken)?;
    if scheme.eq_ignore_ascii_case("Bearer") { Ok(Some(token)) } else { Err(Error::BadToken) }
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Error> {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::BadToken);
        if text.len() > MAX_TOKEN {
            return Err(Error::BadToken);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Error::BadToken)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::BadToken)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Error::BadToken)?;
        if header.alg != "EdDSA" || header.crit.is_some() {
            return Err(Error::BadToken);
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Error::BadToken)?;
        let signature = Signature(decode(signature)?.try_into().map_err(|_| Error::BadToken)?);
        Ok(Self { signed, signature, kid: header.kid, claims })
    }

    /// Whether one of the keys signed it.
    fn is_signed_by(&self, keys: &[Key]) -> bool {
        let may = |key: &&Key| self.kid.is_none() || key.id.is_none() || self.kid == key.id;
        keys.iter().filter(may).any(|key| key.key.verify(self.signed.as_bytes(), &self.signature))
    }

    /// `now_s`: seconds since 1970.
    fn is_good_at(&self, now_s: u64) -> Result<(), Error> {
        match self.claims {
            Claims { nbf: Some(from), .. } if from > now_s => Err(Error::BadToken),
            Claims { exp, .. } if exp <= now_s => Err(Error::ExpiredToken),
            Claims { .. } => Ok(()),
        }
    }
}

impl Keys {
    /// Whether the token is signed by a key of the relay's, and good at `now_s` (seconds since 1970), which
    /// is `at` by the clock that is never set back.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ExpiredToken`]; [`Error::Unreachable`] where the relay has not said
    /// its keys.
    pub(crate) async fn check(&self, text: &str, relay: &Target, now_s: u64, at: Instant) -> Result<(), Error> {
        let token = Token::parse(text)?;
        // First, since it costs nothing; but only what is signed is told that it has expired.
        let good = token.is_good_at(now_s);
        let mut seen = self.0.lock().await;
        let older = |age: Duration| seen.asked.is_none_or(|asked| at.saturating_duration_since(asked) >= age);
        if older(FRESH) || (older(PATIENCE) && !token.is_signed_by(&seen.keys)) {
            // Taken down first: a relay that is away must not be asked for each token.
            seen.asked = Some(at);
            if let Ok(keys) = relay.get(rpc::relay::path::KEYS, MAX_SET).await.and_then(|bytes| parse_set(&bytes)) {
                seen.keys = keys;
            }
        }
        // With no key at all nothing can be judged: that is not the token's fault.
        if seen.keys.is_empty() {
            return Err(Error::Unreachable { upstream: relay.name });
        }
        // The signature is verified outside the lock.
        let keys = seen.keys.clone();
        drop(seen);
        if token.is_signed_by(&keys) { good } else { Err(Error::BadToken) }
    }
}

/// Reads a token as far as its signature, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn read(text: &str) {
    let Ok(token) = Token::parse(text) else { return };
    let keys = [Key { id: None, key: PublicKey([0; 32]) }];
    drop(token.is_good_at(1_800_000_000));
    token.is_signed_by(&keys);
}

/// Reads the answer with a relay's keys, and throws it away: for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn read_set(bytes: &[u8]) {
    if let Ok(keys) = parse_set(bytes) {
        assert!(keys.len() <= MAX_KEYS && keys.iter().all(|key| key.key.is_usable()), "no key that nothing can be signed with");
    }
}

fn parse_set(bytes: &[u8]) -> Result<Vec<Key>, Error> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| Error::Unreachable { upstream: crate::upstream::RELAY })?;
    let key = |jwk: Jwk| {
        let fits = jwk.kty == "OKP" && jwk.crv.as_deref() == Some("Ed25519") && jwk.purpose.is_none_or(|purpose| purpose == "sig");
        let bytes = fits.then(|| URL_SAFE_NO_PAD.decode(jwk.x?).ok()).flatten()?;
        let key = PublicKey(bytes.try_into().ok()?);
        key.is_usable().then_some(Key { id: jwk.kid, key })
    };
    Ok(set.keys.into_iter().filter_map(key).take(MAX_KEYS).collect())
}

#[cfg(test)]
mod tests;
