//! Who somebody is: challenges, access tokens, and which sessions have ended.
//!
//! A challenge is not stored: it carries its own time and the relay's mark for one device, so that
//! asking for many costs the relay nothing and locks nobody out. What is stored is that one was answered.
//!
//! An access token is a JWT (RFC 7519), EdDSA over Ed25519 (RFC 8037), good for ten minutes.
//! [`Auth::verify`] asks no database: the sessions that ended in that time are kept in memory,
//! refreshed from the store every second, and added to at once when this process ends one.

pub mod challenge;
pub mod keys;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use identity::Did;
use jwt_compact::alg::{Ed25519, SigningKey as _};
use jwt_compact::{Algorithm, AlgorithmExt as _, Header, UntrustedToken, ValidationError};
use mailbox::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use types::{Domain, Hash, Millis, SigningKey};

use crate::Error;
use crate::accounts::SessionId;
use crate::app::Clock;

/// For how long an access token is good, in seconds.
pub const ACCESS_S: u64 = 600;

/// For how long a refresh token is good, in milliseconds: 90 days.
pub const REFRESH_MS: u64 = 90 * 24 * 3_600 * 1_000;

/// The most bytes that a token can have.
pub const MAX_TOKEN: usize = 2048;

/// How many ended sessions are kept in memory. Beyond it, every token given before then is refused, and
/// who still has a session refreshes it.
pub const MAX_ENDED: usize = 1 << 18;

type Secret = <Ed25519 as Algorithm>::SigningKey;
type Public = <Ed25519 as Algorithm>::VerifyingKey;

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// Whose session it is.
    pub address: Address,
    /// Which.
    pub session: SessionId,
    /// Until when the token is good.
    pub expires: Millis,
}

/// Gives tokens and judges them. A clone is the same.
#[derive(Debug, Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    secret: Secret,
    public: Public,
    /// The key's name in the key set: the beginning of its hash.
    id: String,
    audience: String,
    clock: Clock,
    ended: RwLock<Ended>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ended {
    sessions: HashMap<SessionId, Millis>,
    /// Tokens given at this second or before are refused; 0 for none.
    floor: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("id", &self.id).field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Auth {
    /// Tokens signed with `key`, for the relay that is called `audience`.
    ///
    /// # Panics
    /// Never: a seed of 32 bytes is a key.
    #[must_use]
    pub fn new(key: &SigningKey, audience: &str, clock: Clock) -> Self {
        let secret = Secret::from_slice(key.seed()).expect("32 bytes are a key");
        let public = secret.to_verifying_key();
        let id = hex::encode(&Hash::sha256(&[&key.public().0]).0[..8]);
        let inner =
            Inner { secret, public, id, audience: audience.to_owned(), clock, ended: RwLock::default(), changed: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// A token for a session, good for [`ACCESS_S`].
    ///
    /// # Panics
    /// Never: the claims have text keys and no map.
    #[must_use]
    pub fn issue(&self, address: Address, session: SessionId) -> String {
        let now = (self.inner.clock)().0 / 1_000;
        let Address { did, device } = address;
        let flat = Flat { iss: self.inner.audience.clone(), sub: did, device, sid: session, iat: now, exp: now + ACCESS_S };
        let header = Header::empty().with_token_type("JWT").with_key_id(self.inner.id.clone());
        let claims = jwt_compact::Claims::new(flat);
        Ed25519.token(&header, &claims, &self.inner.secret).expect("the claims serialise")
    }

    /// What a token says, if it is one of this relay's, has not expired, and its session has not ended.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ExpiredToken`], [`Error::EndedSession`].
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::BadToken);
        }
        let untrusted = UntrustedToken::new(token).map_err(|_| Error::BadToken)?;
        let verified = Ed25519.validator::<Flat>(&self.inner.public).validate(&untrusted);
        let verified = verified.map_err(|_: ValidationError| Error::BadToken)?;
        let (expires, issued) = (verified.claims().expiration, verified.claims().issued_at);
        let seconds = |time: Option<i64>| time.and_then(|time| u64::try_from(time).ok()).ok_or(Error::BadToken);
        let expires = seconds(expires.map(|time| time.timestamp()))?;
        let issued = seconds(issued.map(|time| time.timestamp()))?;
        let flat = &verified.claims().custom;
        if flat.iss != self.inner.audience {
            return Err(Error::BadToken);
        }
        if expires.saturating_mul(1_000) <= (self.inner.clock)().0 {
            return Err(Error::ExpiredToken);
        }
        let ended = self.inner.ended.read().unwrap_or_else(PoisonError::into_inner);
        if issued <= ended.floor || ended.sessions.contains_key(&flat.sid) {
            return Err(Error::EndedSession);
        }
        let address = Address { did: flat.sub, device: flat.device };
        Ok(Claims { address, session: flat.sid, expires: Millis(expires.saturating_mul(1_000)) })
    }

    /// Whether a session is known to have ended. For connections that stay open.
    #[must_use]
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.inner.ended.read().unwrap_or_else(PoisonError::into_inner).sessions.contains_key(session)
    }

    /// Changes whenever a session has ended: then [`Auth::has_ended`] is to be asked again.
    #[must_use]
    pub fn endings(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Takes down that sessions have ended, with when. Those whose tokens have all expired are let go.
    pub fn end(&self, sessions: impl IntoIterator<Item = (SessionId, Millis)>) {
        let now = (self.inner.clock)();
        // A token may have been given at the moment of the end.
        let oldest = now.0.saturating_sub(2 * ACCESS_S * 1_000);
        let mut ended = self.inner.ended.write().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        for (session, when) in sessions {
            if ended.sessions.len() >= MAX_ENDED {
                ended.sessions.clear();
                ended.floor = now.0 / 1_000;
                tracing::warn!("more sessions ended than are remembered: all tokens given before now are refused");
            }
            is_new |= ended.sessions.insert(session, when).is_none();
        }
        ended.sessions.retain(|_, when| when.0 >= oldest);
        drop(ended);
        if is_new {
            self.inner.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// The public keys, as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn key_set(&self) -> Value {
        use base64::Engine as _;
        let x = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(self.inner.public.to_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.inner.id, "x": x}]})
    }

    /// The name that tokens and sign-ins are for.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.inner.audience
    }
}

/// The claims as they stand in a token. When it reads one, the JWT library takes the times, in seconds
/// since 1970, for itself; they are judged here, by the relay's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Flat {
    iss: String,
    sub: Did,
    device: u16,
    #[serde(with = "session_id")]
    sid: SessionId,
    #[serde(skip_deserializing)]
    iat: u64,
    #[serde(skip_deserializing)]
    exp: u64,
}

/// 32 hexadecimal digits.
mod session_id {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::accounts::SessionId;

    pub(super) fn serialize<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut id = [0; 16];
        hex::decode_to_slice(&text, &mut id).map_err(|_| D::Error::custom("not a session's name"))?;
        Ok(id)
    }
}

static REFRESH: Domain = Domain::new("zynk.2026 relay refresh token v1");

/// A refresh token out of 32 random bytes: hexadecimal.
#[must_use]
pub fn refresh_token(entropy: &[u8; 32]) -> String {
    hex::encode(entropy)
}

/// What of a refresh token is stored.
#[must_use]
pub fn refresh_hash(token: &str) -> Hash {
    REFRESH.hash(&[token.as_bytes()])
}

#[cfg(test)]
mod tests;
