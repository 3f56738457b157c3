//! Why Signal's layer refused, and libsignal's errors in these words.

use libsignal_protocol::SignalProtocolError;

/// Why Signal's layer refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A key of low order, or not in its canonical form: an agreement with it is no secret.
    #[error("the {what} is a weak key")]
    WeakKey {
        /// Which key.
        what: &'static str,
    },
    /// A key or message that does not parse, or is of another type than it must be.
    #[error("the {what} is not one of Signal's")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// A prekey's signature is not the identity key's.
    #[error("the {what} is not signed by the device's Signal key")]
    BadSignature {
        /// Which prekey.
        what: &'static str,
    },
    /// The session has no post-quantum ratchet, or is too old without an answer.
    #[error("the session has no post-quantum ratchet, or was never answered")]
    NotPostQuantum,
    /// The other side has this device's own Signal key.
    #[error("that is this device's own Signal key")]
    Oneself,
    /// The other side's Signal key is not the one that the chain proves.
    #[error("the message's Signal key is not the one that the chain proves for its sender")]
    OtherIdentity,
    /// There is no session.
    #[error("there is no session with that device")]
    NoSession,
    /// The prekey that the message was made with is not here any more.
    #[error("the prekey that the message was made with is not here any more")]
    NoPrekey,
    /// The message was read before, or is a copy of one that was.
    #[error("the message was read before")]
    Duplicate,
    /// It does not decrypt.
    #[error("the message does not decrypt: {reason}")]
    Undecryptable {
        /// What Signal's library says.
        reason: String,
    },
    /// Signal's library panicked; the session's record is as it was.
    #[error("Signal's library panicked; the session is left as it was")]
    Panicked,
}

impl Refused {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::WeakKey { .. } => 8401,
            Self::Malformed { .. } => 8402,
            Self::BadSignature { .. } => 8403,
            Self::NotPostQuantum => 8404,
            Self::Oneself => 8405,
            Self::OtherIdentity => 8406,
            Self::NoSession => 8407,
            Self::NoPrekey => 8408,
            Self::Duplicate => 8409,
            Self::Undecryptable { .. } => 8410,
            Self::Panicked => 8411,
        }
    }
}

/// libsignal's error in our words.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn refused(error: SignalProtocolError) -> Refused {
    use SignalProtocolError as E;
    match error {
        E::DuplicatedMessage(..) => Refused::Duplicate,
        E::SessionNotFound(_) => Refused::NoSession,
        E::InvalidPreKeyId | E::InvalidSignedPreKeyId | E::InvalidKyberPreKeyId => Refused::NoPrekey,
        E::UntrustedIdentity(_) => Refused::OtherIdentity,
        E::SignatureValidationFailed => Refused::BadSignature { what: "prekey" },
        // Its words can hold the address.
        E::InvalidMessage(_, reason) => Refused::Undecryptable { reason: reason.to_owned() },
        _ => Refused::Undecryptable { reason: "the message or the session is damaged".to_owned() },
    }
}
