//! What a relay's HTTP interface says: shared by relay, client and gateway.
//!
//! Everything is JSON under `/api/v1`. Unknown fields are refused in what comes in. A request that
//! needs a session carries its access token: `Authorization: Bearer …`. Errors are [`Problem`]s.
//! Messages go over the WebSocket at [`path::SESSION`]: crate `mailbox`.

use audit::{LogId, SignedAnchor};
use identity::{Did, SignalKey};
use mailbox::Bytes;
use serde::{Deserialize, Serialize};
use types::{ChainId, Hash, Height, Millis, PublicKey, Signature, SigningKey};

/// Where things are.
pub mod path {
    /// GET: [`super::Relay`].
    pub const RELAY: &str = "/api/v1/relay";
    /// POST [`super::Register`], answers [`super::Registered`].
    pub const REGISTER: &str = "/api/v1/auth/register";
    /// POST [`super::Ask`], answers [`super::Challenge`].
    pub const CHALLENGE: &str = "/api/v1/auth/challenge";
    /// POST [`super::SignIn`], answers [`super::Tokens`].
    pub const SIGN_IN: &str = "/api/v1/auth/session";
    /// POST [`super::Refresh`], answers [`super::Tokens`].
    pub const REFRESH: &str = "/api/v1/auth/refresh";
    /// POST, with a session: ends it. Answers 204.
    pub const SIGN_OUT: &str = "/api/v1/auth/sign-out";
    /// GET, with a session: [`super::Sessions`], the account's.
    pub const SESSIONS: &str = "/api/v1/auth/sessions";
    /// POST [`super::Operate`], with a session: the relay pays for an operation on the caller's own
    /// identity. Answers [`super::Operated`].
    pub const OPERATE: &str = "/api/v1/identity/operations";
    /// PUT [`super::PublishPrekeys`], with a session: the caller's device's. Answers [`super::PrekeyStock`].
    /// GET, with a session: [`super::PrekeyStock`].
    pub const PREKEYS: &str = "/api/v1/prekeys";
    /// GET `…/{did}`, with a session: [`super::PrekeyBundles`], one for each device of the identity.
    pub const PREKEYS_OF: &str = "/api/v1/prekeys/{did}";
    /// GET `…/{leaf}`, with a session: [`super::LeafProof`].
    pub const PROOFS: &str = "/api/v1/proofs/{leaf}";
    /// The WebSocket, with the subprotocol `zynk.v1+json` or `zynk.v1+cbor`.
    pub const SESSION: &str = "/api/v1/ws";
    /// GET: the keys that access tokens are signed with, as a JSON Web Key Set (RFC 7517).
    pub const KEYS: &str = "/.well-known/jwks.json";
}

/// What anybody may know of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The chain that it anchors on.
    pub chain: ChainId,
    /// Its log.
    pub log: LogId,
    /// The name that device signatures are for ([`sign_in_message`]): the log's.
    pub audience: String,
    /// Who may register.
    pub registration: Registration,
    /// Milliseconds between two anchors.
    pub anchor_interval_ms: u64,
    /// Its clock.
    pub time: Millis,
    /// The program's version.
    pub version: String,
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anybody, as long as the sponsor's budget lasts.
    Open,
    /// Who has an invitation.
    Invitation,
    /// Nobody new.
    Closed,
}

/// An account for an identity. Either a new identity, for which the relay pays, or one that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The identity.
    pub did: Did,
    /// `identity::SignedOperation`. Where the identity does not exist yet, the one that creates it. Where it
    /// exists, an operation that its own control keys signed (rotate control, add device, remove device): in a
    /// recovery no device can sign in, so [`path::OPERATE`] is closed. The relay puts it on the chain whether or
    /// not the identity has an account here, needs no invitation for one that has, and answers with its block.
    pub operation: Option<Bytes>,
    /// An invitation, where the relay wants one.
    pub invitation: Option<String>,
}

/// The account is there, and the identity is on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// The identity.
    pub did: Did,
    /// The block that holds the operation, where one was sent.
    pub height: Option<Height>,
}

/// A device wants to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The identity.
    pub did: Did,
    /// The device's id in the identity's entry.
    pub device: u16,
}

/// What the device is to sign, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Drawn for this.
    pub nonce: Hash,
    /// Until when it counts, by the relay's clock.
    pub expires: Millis,
}

/// The device's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The identity.
    pub did: Did,
    /// The device.
    pub device: u16,
    /// The challenge's.
    pub nonce: Hash,
    /// The device key's signature over [`sign_in_message`].
    pub signature: Signature,
}

/// The context that opens what a device signs to sign in.
const SIGN_IN: &str = "zynk.2026 relay sign-in v1";

/// What a device signs to sign in: the context (a count, then text), the chain, the relay's
/// audience (a count, then text), the DID, the device, the nonce. A relay cannot use it at another.
#[must_use]
pub fn sign_in_message(chain: &ChainId, audience: &str, did: &Did, device: u16, nonce: &Hash) -> Vec<u8> {
    use types::{Encode as _, Text};
    let text = |text: &str| Text::<128>::try_from(text).map_or_else(|_| Vec::new(), |text| text.to_bytes());
    let mut out = text(SIGN_IN);
    chain.encode(&mut out);
    out.extend(text(audience));
    did.encode(&mut out);
    device.encode(&mut out);
    nonce.encode(&mut out);
    out
}

impl SignIn {
    /// Answers a challenge.
    #[must_use]
    pub fn answer(relay: &Relay, ask: &Ask, challenge: &Challenge, key: &SigningKey) -> Self {
        let message = sign_in_message(&relay.chain, &relay.audience, &ask.did, ask.device, &challenge.nonce);
        Self { did: ask.did, device: ask.device, nonce: challenge.nonce, signature: key.sign(&message) }
    }

    /// Whether the device's key signed it, for this relay.
    #[must_use]
    pub fn is_signed_by(&self, chain: &ChainId, audience: &str, key: &PublicKey) -> bool {
        key.verify(&sign_in_message(chain, audience, &self.did, self.device, &self.nonce), &self.signature)
    }
}

/// A session's tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// A JWT (EdDSA), good for [`Tokens::expires_in_s`].
    pub access_token: String,
    /// For [`path::REFRESH`], once: the answer has the next one.
    pub refresh_token: String,
    /// Seconds.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// Asks for the next tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The last answer's.
    pub refresh_token: String,
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}

/// An account's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Those that have not ended, newest first.
    pub sessions: Vec<Session>,
}

/// A session of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The device.
    pub device: u16,
    /// When it signed in.
    pub opened: Millis,
    /// When it last asked for tokens.
    pub refreshed: Millis,
}

/// An operation for which the relay is to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operate {
    /// `identity::SignedOperation`, of the caller's own identity.
    pub operation: Bytes,
}

/// The operation is in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operated {
    /// The block.
    pub height: Height,
}

/// A prekey of X25519 without a signature, used once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTimePrekey {
    /// The device's number for it.
    pub id: u32,
    /// As Signal serialises it: 33 bytes.
    pub key: Bytes,
}

/// A prekey signed by the device's Signal identity key: X25519 (33 bytes) or Kyber1024 (1,569).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedPrekey {
    /// The device's number for it.
    pub id: u32,
    /// As Signal serialises it.
    pub key: Bytes,
    /// XEdDSA, 64 bytes. The relay cannot check it; the client that uses the key does.
    pub signature: Bytes,
}

/// A device's prekeys. What is there replaces what was; one-time keys are added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishPrekeys {
    /// Drawn by the device at its set-up, 14 bits: another one means that it was set up anew.
    pub registration_id: u32,
    /// The device's Signal identity key: the one in the identity's entry, or it is refused.
    pub identity_key: SignalKey,
    /// The Signal identity key's signature (XEdDSA, 64 bytes) over [`possession_message`]: whoever
    /// put the key into the entry also has its private half. For clients to check.
    pub possession: Bytes,
    /// Where the device had another Signal identity key before this one: that key's signature (XEdDSA, 64
    /// bytes) over [`identity::device::succession_message`], for contacts to check. Without it they see a reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<Bytes>,
    /// X25519, renewed every few days.
    pub signed_prekey: SignedPrekey,
    /// Kyber, handed out where no one-time one is left.
    pub last_resort_kyber: SignedPrekey,
    /// At most 100.
    pub one_time: Vec<OneTimePrekey>,
    /// At most 100.
    pub one_time_kyber: Vec<SignedPrekey>,
}

/// The context of [`possession_message`].
const POSSESSION: &str = "zynk.2026 signal possession v1";

/// What a device's Signal identity key signs to show that its holder has it: the context (a count,
/// then text), chain, DID, device id, device key, Signal key.
#[must_use]
pub fn possession_message(chain: &ChainId, did: &Did, device: u16, key: &PublicKey, signal: &SignalKey) -> Vec<u8> {
    use types::{Encode as _, Text};
    let mut out = Text::<64>::try_from(POSSESSION).map_or_else(|_| Vec::new(), |text| text.to_bytes());
    chain.encode(&mut out);
    did.encode(&mut out);
    device.encode(&mut out);
    key.encode(&mut out);
    signal.encode(&mut out);
    out
}

/// How many one-time prekeys of a device the relay still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrekeyStock {
    /// X25519.
    pub one_time: u32,
    /// Kyber.
    pub one_time_kyber: u32,
}

/// One prekey bundle for each device of an identity that has published some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrekeyBundles {
    /// The identity.
    pub did: Did,
    /// By ascending device id.
    pub devices: Vec<PrekeyBundle>,
}

/// What a sender needs to begin a Signal session with a device. None of it is to be believed
/// before it was compared with the identity's entry, proven on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrekeyBundle {
    /// The device.
    pub device: u16,
    /// As published.
    pub registration_id: u32,
    /// As published.
    pub identity_key: SignalKey,
    /// As published.
    pub possession: Bytes,
    /// As published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<Bytes>,
    /// As published.
    pub signed_prekey: SignedPrekey,
    /// A one-time key, or the last resort.
    pub kyber_prekey: SignedPrekey,
    /// Handed out once; none if there are none left.
    pub one_time: Option<OneTimePrekey>,
}

/// Where a leaf stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum LeafProof {
    /// Stored, and in no batch yet.
    Stored,
    /// In a batch whose anchor is on its way to the chain.
    Sealed {
        /// The anchor's sequence.
        sequence: u64,
    },
    /// In a batch whose anchor the chain has taken: what is missing for a bundle the chain has.
    Anchored {
        /// The anchor.
        anchor: Box<SignedAnchor>,
        /// Where the leaf stands in the batch.
        index: u32,
        /// The siblings from the leaf up to the batch's root.
        path: Vec<Hash>,
    },
}

/// Why a request was refused (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// A stable number: `docs/errors.md`.
    pub code: u32,
    /// What is wrong, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Where it makes sense to try again: in how many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
