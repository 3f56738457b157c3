//! Signal's layer, as functions over bytes: a session's record goes in, what became of it comes out.
//!
//! Nothing here touches the store. The caller loads the records, calls, and commits what changed in the
//! one transaction that also holds the message; when that transaction is dropped, nothing has happened.
//! libsignal's functions are futures over its store traits; over records in memory they are ready at
//! once, and each runs inside a guard against panics, so that a crafted message costs itself only.
//!
//! What Signal's library at v0.85.3 lets pass and this module does not: keys of low order or in a
//! non-canonical form, a session without the post-quantum ratchet, a session with oneself.
//!
//! Start with [`Own`] and [`Peer`], then [`begin`], [`encrypt`], [`decrypt`].

use std::time::{Duration, SystemTime};

use identity::SignalKey;
use libsignal_protocol as signal;
use mailbox::Address;
use mailbox::frame::Form;
use rpc::relay::PrekeyBundle;
use signal::{
    CiphertextMessage, DeviceId, GenericSignedPreKey as _, IdentityKey, IdentityKeyPair, KyberPreKeyRecord, PreKeyRecord,
    PreKeySignalMessage, ProtocolAddress, PublicKey, SessionRecord, SessionUsabilityRequirements, SignalMessage, SignedPreKeyRecord,
};
use types::Millis;

use memory::{Identities, Kyber, OneTime, Sessions, Signed};

mod guard;
mod memory;
pub mod prekeys;
mod refused;

use guard::guarded;
pub use guard::random;
pub use refused::Refused;
use refused::refused;

/// This device's own side: its Signal identity key and the registration id that it drew.
#[derive(Clone, Copy)]
pub struct Own {
    pair: IdentityKeyPair,
    /// 14 bits, from 1.
    pub registration_id: u32,
}

impl Own {
    /// New keys out of the system's entropy.
    #[must_use]
    pub fn generate() -> Self {
        let id = u32::from(u16::from_le_bytes(genesis::entropy::bytes())) % 0x3fff + 1;
        Self { pair: IdentityKeyPair::generate(&mut random()), registration_id: id }
    }

    /// The keys that [`Own::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn from_bytes(pair: &[u8], registration_id: u32) -> Result<Self, Refused> {
        let pair = IdentityKeyPair::try_from(pair).map_err(|_| Refused::Malformed { what: "own identity key" })?;
        Ok(Self { pair, registration_id })
    }

    /// Both halves of the identity key, for the store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.pair.serialize().into_vec()
    }

    /// The public half, as it stands in the identity's entry.
    ///
    /// # Panics
    /// Never: Signal's public keys are 33 bytes.
    #[must_use]
    pub fn key(&self) -> SignalKey {
        let bytes: [u8; 33] = (*self.pair.identity_key().serialize()).try_into().expect("Signal's public keys are 33 bytes");
        SignalKey::try_from(bytes).expect("Signal's keys begin with their type")
    }

    /// Signs with the identity key (XEdDSA, 64 bytes).
    ///
    /// # Panics
    /// Never: a key pair that was read can sign.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.private_key().calculate_signature(message, &mut random()).expect("a key pair that was read can sign").into_vec()
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own")
    }
}

/// The other side: a device, and the Signal key that the chain proves for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The device.
    pub address: Address,
    /// Its Signal key.
    pub key: SignalKey,
}

/// A ciphertext, and the session after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The session's record from now on.
    pub session: Vec<u8>,
    /// Which kind of Signal message it is.
    pub form: Form,
    /// The other device's registration id, as its prekeys had it.
    pub registration_id: u32,
    /// Signal's message.
    pub ciphertext: Vec<u8>,
}

/// A plaintext, and what changed by reading it.
#[derive(Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// What was sent.
    pub plaintext: Vec<u8>,
    /// The session's record from now on.
    pub session: Vec<u8>,
    /// The prekeys that were used, where the message began a session.
    pub used: Option<Used>,
}

/// Prekeys that a message was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The signed one.
    pub signed: u32,
    /// The Kyber one.
    pub kyber: u32,
    /// The one-time one, which is to be deleted.
    pub one_time: Option<u32>,
    /// The sender's base key: with a last-resort Kyber prekey it counts once.
    pub base_key: Vec<u8>,
}

/// What a prekey message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The prekeys that it names.
    pub used: Used,
    /// The Signal key that it claims to be from.
    pub key: SignalKey,
    /// The sender's registration id.
    pub registration_id: u32,
}

/// The secret halves of the prekeys that a message names, as the store has them.
#[derive(Clone, Default)]
pub struct Prekeys {
    /// The signed one.
    pub signed: Option<Vec<u8>>,
    /// The Kyber one.
    pub kyber: Option<Vec<u8>>,
    /// The one-time one.
    pub one_time: Option<Vec<u8>>,
}

/// Begins a session with a device whose `bundle` was checked against the chain. Returns the session's
/// record; the first message goes with [`encrypt`].
///
/// # Errors
/// [`Refused`]; the session that was is then still good.
pub fn begin(own: &Own, peer: &Peer, bundle: &PrekeyBundle, session: Option<&[u8]>, now: Millis) -> Result<Vec<u8>, Refused> {
    if bundle.identity_key != peer.key {
        return Err(Refused::OtherIdentity);
    }
    let identity = strong(peer.key.as_bytes(), "Signal key")?;
    if peer.key == own.key() {
        return Err(Refused::Oneself);
    }
    let bundle = prekeys::read(bundle, &identity)?;
    let (address, record) = (address(&peer.address), read_session(session)?);
    let mut sessions = Sessions::of(record);
    let mut identities = Identities::of(own, identity);
    guarded(async || signal::process_prekey_bundle(&address, &mut sessions, &mut identities, &bundle, time(now), &mut random()).await)?;
    sessions.finish(now)
}

/// Whether a message can be sent in this session: it stands, and it has the post-quantum ratchet.
#[must_use]
pub fn is_usable(session: &[u8], now: Millis) -> bool {
    SessionRecord::deserialize(session).is_ok_and(|record| check_session(&record, now).is_ok())
}

/// Encrypts for a device.
///
/// # Errors
/// [`Refused`]; the session that was is then still good.
pub fn encrypt(own: &Own, peer: &Peer, session: &[u8], plaintext: &[u8], now: Millis) -> Result<Encrypted, Refused> {
    let record = read_session(Some(session))?.ok_or(Refused::NoSession)?;
    check_session(&record, now)?;
    let registration_id = record.remote_registration_id().map_err(refused)?;
    let address = address(&peer.address);
    let mut sessions = Sessions::of(Some(record));
    let mut identities = Identities::of(own, strong(peer.key.as_bytes(), "Signal key")?);
    let message =
        guarded(async || signal::message_encrypt(plaintext, &address, &mut sessions, &mut identities, time(now), &mut random()).await)?;
    let form = match &message {
        CiphertextMessage::PreKeySignalMessage(_) => Form::Prekey,
        CiphertextMessage::SignalMessage(_) => Form::Ratchet,
        CiphertextMessage::SenderKeyMessage(_) | CiphertextMessage::PlaintextContent(_) => {
            return Err(Refused::Malformed { what: "ciphertext" });
        }
    };
    Ok(Encrypted { session: sessions.finish(now)?, form, registration_id, ciphertext: message.serialize().to_vec() })
}

/// What a message that begins a session was made with, before anything is decrypted.
///
/// # Errors
/// [`Refused::Malformed`], [`Refused::WeakKey`], [`Refused::NotPostQuantum`].
pub fn asked(ciphertext: &[u8]) -> Result<Asked, Refused> {
    let message = PreKeySignalMessage::try_from(ciphertext).map_err(|_| Refused::Malformed { what: "message" })?;
    let key: [u8; 33] = (*message.identity_key().serialize()).try_into().map_err(|_| Refused::Malformed { what: "Signal key" })?;
    let used = Used {
        signed: message.signed_pre_key_id().into(),
        kyber: message.kyber_pre_key_id().ok_or(Refused::NotPostQuantum)?.into(),
        one_time: message.pre_key_id().map(Into::into),
        base_key: message.base_key().serialize().into_vec(),
    };
    let key = SignalKey::try_from(key).map_err(|_| Refused::Malformed { what: "Signal key" })?;
    Ok(Asked { used, key, registration_id: message.registration_id() })
}

/// Decrypts a message of `peer`. `prekeys`: what [`asked`] named, for a message that begins a session.
///
/// # Errors
/// [`Refused`]; session and prekeys are then as they were.
pub fn decrypt(
    own: &Own,
    peer: &Peer,
    form: Form,
    ciphertext: &[u8],
    session: Option<&[u8]>,
    prekeys: &Prekeys,
    now: Millis,
) -> Result<Decrypted, Refused> {
    if peer.key == own.key() {
        return Err(Refused::Oneself);
    }
    let identity = strong(peer.key.as_bytes(), "Signal key")?;
    let address = address(&peer.address);
    let mut sessions = Sessions::of(read_session(session)?);
    let mut identities = Identities::of(own, identity);
    match form {
        Form::Ratchet => {
            if session.is_none() {
                return Err(Refused::NoSession);
            }
            let message = SignalMessage::try_from(ciphertext).map_err(|_| Refused::Malformed { what: "message" })?;
            check_ratchet(&message)?;
            let plaintext =
                guarded(async || signal::message_decrypt_signal(&message, &address, &mut sessions, &mut identities, &mut random()).await)?;
            Ok(Decrypted { plaintext, session: sessions.finish(now)?, used: None })
        }
        Form::Prekey => {
            let asked = asked(ciphertext)?;
            if asked.key != peer.key {
                return Err(Refused::OtherIdentity);
            }
            let message = PreKeySignalMessage::try_from(ciphertext).map_err(|_| Refused::Malformed { what: "message" })?;
            if !message.base_key().is_canonical() {
                return Err(Refused::WeakKey { what: "base key" });
            }
            check_ratchet(message.message())?;
            let (mut one_time, signed, mut kyber) = read_prekeys(prekeys)?;
            let plaintext = guarded(async || {
                signal::message_decrypt_prekey(
                    &message,
                    &address,
                    &mut sessions,
                    &mut identities,
                    &mut one_time,
                    &signed,
                    &mut kyber,
                    &mut random(),
                )
                .await
            })?;
            // A later message of a session that stands comes in the same form, until it is answered.
            let used = kyber.is_used().then_some(asked.used);
            Ok(Decrypted { plaintext, session: sessions.finish(now)?, used })
        }
    }
}

/// Whether `signature` over `message` is the Signal key's (XEdDSA).
#[must_use]
pub fn verify(key: &SignalKey, message: &[u8], signature: &[u8]) -> bool {
    strong(key.as_bytes(), "Signal key").is_ok_and(|key| key.verify_signature(message, signature))
}

impl std::fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decrypted")
    }
}

impl std::fmt::Debug for Prekeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prekeys")
    }
}

/// A public key that an agreement with is a secret.
fn strong(bytes: &[u8], what: &'static str) -> Result<PublicKey, Refused> {
    // `deserialize` lets trailing bytes pass.
    if bytes.len() != 33 {
        return Err(Refused::Malformed { what });
    }
    let key = PublicKey::deserialize(bytes).map_err(|_| Refused::Malformed { what })?;
    if key.is_canonical() { Ok(key) } else { Err(Refused::WeakKey { what }) }
}

fn check_ratchet(message: &SignalMessage) -> Result<(), Refused> {
    if message.sender_ratchet_key().is_canonical() { Ok(()) } else { Err(Refused::WeakKey { what: "ratchet key" }) }
}

/// The rule that a session is held to after it was set up and after each message.
fn check_session(record: &SessionRecord, now: Millis) -> Result<(), Refused> {
    let needed =
        SessionUsabilityRequirements::NotStale | SessionUsabilityRequirements::EstablishedWithPqxdh | SessionUsabilityRequirements::Spqr;
    match record.has_usable_sender_chain(time(now), needed) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refused::NotPostQuantum),
        Err(error) => Err(refused(error)),
    }
}

fn read_session(session: Option<&[u8]>) -> Result<Option<SessionRecord>, Refused> {
    session.map(SessionRecord::deserialize).transpose().map_err(refused)
}

fn read_prekeys(prekeys: &Prekeys) -> Result<(OneTime, Signed, Kyber), Refused> {
    let one_time = prekeys.one_time.as_deref().map(PreKeyRecord::deserialize).transpose().map_err(refused)?;
    let signed = prekeys.signed.as_deref().map(SignedPreKeyRecord::deserialize).transpose().map_err(refused)?;
    let kyber = prekeys.kyber.as_deref().map(KyberPreKeyRecord::deserialize).transpose().map_err(refused)?;
    Ok((OneTime(one_time), Signed(signed), Kyber::of(kyber)))
}

/// What libsignal calls a device. It never leaves this device. Signal's own device ids end at 127 and an
/// identity's do not, so ours stands in the name.
fn address(of: &Address) -> ProtocolAddress {
    ProtocolAddress::new(format!("{}/{}", of.did, of.device), DEVICE)
}

/// The one device id that libsignal sees: see [`address`].
const DEVICE: DeviceId = match DeviceId::new(1) {
    Ok(id) => id,
    Err(_) => panic!("1 is a device id"),
};

fn time(now: Millis) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(now.0)
}

/// A Signal key out of libsignal's.
fn identity_of(key: PublicKey) -> IdentityKey {
    IdentityKey::new(key)
}

#[cfg(test)]
mod tests;
