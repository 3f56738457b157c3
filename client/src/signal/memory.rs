//! libsignal's stores over the few records that one act needs.

use async_trait::async_trait;
use libsignal_protocol::error::Result;
use libsignal_protocol::{
    Direction, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore, KyberPreKeyId, KyberPreKeyRecord, KyberPreKeyStore,
    PreKeyId, PreKeyRecord, PreKeyStore, ProtocolAddress, PublicKey, SessionRecord, SessionStore, SignalProtocolError, SignedPreKeyId,
    SignedPreKeyRecord, SignedPreKeyStore,
};
use types::Millis;

use super::{Own, Refused, check_session, identity_of, refused};

/// The one session with the other side.
pub(super) struct Sessions(Option<SessionRecord>);

impl Sessions {
    pub(super) const fn of(record: Option<SessionRecord>) -> Self {
        Self(record)
    }

    /// The record as it is now, if it is one that may be kept.
    pub(super) fn finish(self, now: Millis) -> std::result::Result<Vec<u8>, Refused> {
        let record = self.0.ok_or(Refused::NoSession)?;
        check_session(&record, now)?;
        record.serialize().map_err(refused)
    }
}

#[async_trait(?Send)]
impl SessionStore for Sessions {
    async fn load_session(&self, _: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.0.clone())
    }

    async fn store_session(&mut self, _: &ProtocolAddress, record: &SessionRecord) -> Result<()> {
        self.0 = Some(record.clone());
        Ok(())
    }
}

/// This device's identity key, and the one that the chain proves for the other side: no other is trusted.
pub(super) struct Identities {
    own: Own,
    peer: IdentityKey,
}

impl Identities {
    pub(super) fn of(own: &Own, peer: PublicKey) -> Self {
        Self { own: *own, peer: identity_of(peer) }
    }
}

#[async_trait(?Send)]
impl IdentityKeyStore for Identities {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        Ok(self.own.pair)
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.own.registration_id)
    }

    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> Result<IdentityChange> {
        // Who is trusted is known from the chain, never from a message.
        Ok(IdentityChange::NewOrUnchanged)
    }

    async fn is_trusted_identity(&self, _: &ProtocolAddress, identity: &IdentityKey, _: Direction) -> Result<bool> {
        Ok(*identity == self.peer)
    }

    async fn get_identity(&self, _: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        Ok(Some(self.peer))
    }
}

/// The one-time prekey that a message names.
pub(super) struct OneTime(pub(super) Option<PreKeyRecord>);

#[async_trait(?Send)]
impl PreKeyStore for OneTime {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        let record = self.0.clone().ok_or(SignalProtocolError::InvalidPreKeyId)?;
        if record.id()? == id { Ok(record) } else { Err(SignalProtocolError::InvalidPreKeyId) }
    }

    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Result<()> {
        Ok(())
    }

    async fn remove_pre_key(&mut self, _: PreKeyId) -> Result<()> {
        Ok(())
    }
}

/// The signed prekey that a message names.
pub(super) struct Signed(pub(super) Option<SignedPreKeyRecord>);

#[async_trait(?Send)]
impl SignedPreKeyStore for Signed {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        use libsignal_protocol::GenericSignedPreKey as _;
        let record = self.0.clone().ok_or(SignalProtocolError::InvalidSignedPreKeyId)?;
        if record.id()? == id { Ok(record) } else { Err(SignalProtocolError::InvalidSignedPreKeyId) }
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> Result<()> {
        Ok(())
    }
}

/// The Kyber prekey that a message names, and whether it was used.
pub(super) struct Kyber {
    record: Option<KyberPreKeyRecord>,
    used: bool,
}

impl Kyber {
    pub(super) const fn of(record: Option<KyberPreKeyRecord>) -> Self {
        Self { record, used: false }
    }

    pub(super) const fn is_used(&self) -> bool {
        self.used
    }
}

#[async_trait(?Send)]
impl KyberPreKeyStore for Kyber {
    async fn get_kyber_pre_key(&self, id: KyberPreKeyId) -> Result<KyberPreKeyRecord> {
        use libsignal_protocol::GenericSignedPreKey as _;
        let record = self.record.clone().ok_or(SignalProtocolError::InvalidKyberPreKeyId)?;
        if record.id()? == id { Ok(record) } else { Err(SignalProtocolError::InvalidKyberPreKeyId) }
    }

    async fn save_kyber_pre_key(&mut self, _: KyberPreKeyId, _: &KyberPreKeyRecord) -> Result<()> {
        Ok(())
    }

    async fn mark_kyber_pre_key_used(&mut self, _: KyberPreKeyId, _: SignedPreKeyId, _: &PublicKey) -> Result<()> {
        // That a base key counts once is held by the store, in the transaction that keeps the message.
        self.used = true;
        Ok(())
    }
}
