//! Prekeys: making them, and reading another device's.

use libsignal_protocol as signal;
use mailbox::Bytes;
use rpc::relay::{OneTimePrekey, PrekeyBundle, SignedPrekey};
use signal::{
    GenericSignedPreKey as _, IdentityKey, KeyPair, KyberPreKeyRecord, PreKeyBundle, PreKeyRecord, PublicKey, SignedPreKeyRecord,
    Timestamp, kem,
};
use types::Millis;

use super::{DEVICE, Own, Refused, random, refused, strong};

/// The most prekeys that are made and published at once, of each kind.
pub const BATCH: u32 = 100;

/// Below how many one-time prekeys, of each kind, new ones are published.
pub const LOW: u32 = 25;

/// How long a signed prekey is published: two days.
pub const SIGNED_AGE_MS: u64 = 2 * 24 * 60 * 60 * 1000;

/// How long a signed prekey's secret half is kept after the next one took its place: as long as a
/// relay keeps a message that was made with it, and a day.
pub const KEEP_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// The bytes of a Kyber1024 public key as Signal serialises it.
const KYBER_KEY: usize = 1569;

/// A prekey with its secret half, as the store keeps it, and what is published of it.
#[derive(Clone)]
pub struct Made<P> {
    /// For the store.
    pub record: Vec<u8>,
    /// For the relay.
    pub public: P,
}

impl<P> std::fmt::Debug for Made<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

/// A one-time X25519 prekey.
///
/// # Errors
/// [`Refused::Undecryptable`] if libsignal cannot write it, which it can.
pub fn one_time(id: u32) -> Result<Made<OneTimePrekey>, Refused> {
    let pair = KeyPair::generate(&mut random());
    let record = PreKeyRecord::new(id.into(), &pair).serialize().map_err(refused)?;
    Ok(Made { record, public: OneTimePrekey { id, key: bytes(&pair.public_key.serialize()) } })
}

/// A signed X25519 prekey.
///
/// # Errors
/// As [`one_time`].
pub fn signed(own: &Own, id: u32, now: Millis) -> Result<Made<SignedPrekey>, Refused> {
    let pair = KeyPair::generate(&mut random());
    let key = pair.public_key.serialize();
    let signature = own.sign(&key);
    let record = SignedPreKeyRecord::new(id.into(), Timestamp::from_epoch_millis(now.0), &pair, &signature).serialize().map_err(refused)?;
    Ok(Made { record, public: SignedPrekey { id, key: bytes(&key), signature: signature.into() } })
}

/// A Kyber1024 prekey: a one-time one or the last resort, which differ only in how long they are kept.
///
/// # Errors
/// As [`one_time`].
pub fn kyber(own: &Own, id: u32, now: Millis) -> Result<Made<SignedPrekey>, Refused> {
    let pair = kem::KeyPair::generate(kem::KeyType::Kyber1024, &mut random());
    let key = pair.public_key.serialize();
    let signature = own.sign(&key);
    let record = KyberPreKeyRecord::new(id.into(), Timestamp::from_epoch_millis(now.0), &pair, &signature).serialize().map_err(refused)?;
    Ok(Made { record, public: SignedPrekey { id, key: bytes(&key), signature: signature.into() } })
}

/// Reads another device's bundle: every key strong, of its type, and signed by `identity`.
pub(super) fn read(bundle: &PrekeyBundle, identity: &PublicKey) -> Result<PreKeyBundle, Refused> {
    let (ec, kyber) = (&bundle.signed_prekey, &bundle.kyber_prekey);
    let ec_key = strong(&ec.key.0, "signed prekey")?;
    if !identity.verify_signature(&ec.key.0, &ec.signature.0) {
        return Err(Refused::BadSignature { what: "signed prekey" });
    }
    let malformed = Refused::Malformed { what: "Kyber prekey" };
    let kyber_key = Some(&kyber.key.0).filter(|key| key.len() == KYBER_KEY).and_then(|key| kem::PublicKey::deserialize(key).ok());
    let kyber_key = kyber_key.filter(|key| key.key_type() == kem::KeyType::Kyber1024).ok_or(malformed)?;
    if !identity.verify_signature(&kyber.key.0, &kyber.signature.0) {
        return Err(Refused::BadSignature { what: "Kyber prekey" });
    }
    let one_time = bundle.one_time.as_ref().map(|key| Ok((key.id.into(), strong(&key.key.0, "one-time prekey")?))).transpose()?;
    PreKeyBundle::new(
        bundle.registration_id,
        DEVICE,
        one_time,
        ec.id.into(),
        ec_key,
        ec.signature.0.clone(),
        kyber.id.into(),
        kyber_key,
        kyber.signature.0.clone(),
        IdentityKey::new(*identity),
    )
    .map_err(refused)
}

fn bytes(key: &[u8]) -> Bytes {
    Bytes(key.to_vec())
}

/// Checks another device's bundle: every key strong, of its type, and signed by the bundle's own
/// identity key, which the caller compares with the chain's.
///
/// # Errors
/// [`Refused::WeakKey`], [`Refused::Malformed`], [`Refused::BadSignature`].
pub fn check(bundle: &PrekeyBundle) -> Result<(), Refused> {
    read(bundle, &strong(bundle.identity_key.as_bytes(), "Signal key")?).map(|_| ())
}

/// What is published of a signed prekey.
///
/// # Errors
/// [`Refused::Undecryptable`] if the record is damaged.
pub fn public_signed(record: &[u8]) -> Result<SignedPrekey, Refused> {
    let record = SignedPreKeyRecord::deserialize(record).map_err(refused)?;
    let key = record.public_key().map_err(refused)?.serialize();
    let signature = record.signature().map_err(refused)?.into();
    Ok(SignedPrekey { id: record.id().map_err(refused)?.into(), key: bytes(&key), signature })
}

/// What is published of a Kyber prekey.
///
/// # Errors
/// As [`public_signed`].
pub fn public_kyber(record: &[u8]) -> Result<SignedPrekey, Refused> {
    let record = KyberPreKeyRecord::deserialize(record).map_err(refused)?;
    let key = record.public_key().map_err(refused)?.serialize();
    let signature = record.signature().map_err(refused)?.into();
    Ok(SignedPrekey { id: record.id().map_err(refused)?.into(), key: bytes(&key), signature })
}
