//! Why an operation is refused.

use types::{ChainId, DecodeError, Height};

use crate::operation::Signer;

/// The rule that an operation breaks. [`Error::code`] is what other machines see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are more than an operation may take.
    #[error("an operation of {found} bytes; {bound} at most")]
    TooLarge {
        /// How many there are.
        found: usize,
        /// How many there may be.
        bound: usize,
    },
    /// The bytes are no operation.
    #[error("not an operation: {0}")]
    Malformed(#[from] DecodeError),
    /// The block comes too late.
    #[error("valid until height {valid_until}, this is {height}")]
    Expired {
        /// The last height at which the operation would have counted.
        valid_until: Height,
        /// The height of the block.
        height: Height,
    },
    /// The operation could be held back for too long.
    #[error("valid until height {valid_until}, at most {latest} is allowed")]
    ValidTooFar {
        /// The last height at which the operation would count.
        valid_until: Height,
        /// The last height that may stand there.
        latest: Height,
    },
    /// The identity was created before; also if it has been deactivated since.
    #[error("the identity exists")]
    AlreadyExists,
    /// There is no such identity to change.
    #[error("there is no such identity")]
    UnknownDid,
    /// The genesis names another chain.
    #[error("made for chain {found}")]
    WrongChain {
        /// The chain that the genesis names.
        found: ChainId,
    },
    /// The identifier is not the hash of the genesis.
    #[error("the identifier is not the hash of its genesis")]
    WrongDid,
    /// Nothing may follow a deactivation.
    #[error("deactivated at height {height}")]
    Deactivated {
        /// The height of the deactivation.
        height: Height,
    },
    /// Not the next operation: a replay, a race lost, or one from the future.
    #[error("sequence {found}, expected {expected}")]
    StaleSequence {
        /// The sequence of the operation.
        found: u64,
        /// The one that may come next.
        expected: u64,
    },
    /// The operation follows another than the last one.
    #[error("it does not follow the last operation")]
    WrongPrevious,
    /// A threshold of zero, or one that all keys together do not meet.
    #[error("a threshold of {threshold} with {keys} keys")]
    BadThreshold {
        /// The threshold.
        threshold: u8,
        /// How many keys there are.
        keys: usize,
    },
    /// A key is no point of the curve, or one of small order.
    #[error("an unusable {role}")]
    WeakKey {
        /// What the key is for.
        role: &'static str,
    },
    /// A key stands twice, or in two roles.
    #[error("a {role} that stands here already")]
    DuplicateKey {
        /// What the key is for.
        role: &'static str,
    },
    /// No commitment to what comes next: zero.
    #[error("no commitment to the {to}")]
    MissingCommitment {
        /// What should have been committed to.
        to: &'static str,
    },
    /// The revealed control keys are not those that were committed to.
    #[error("the revealed keys are not those committed to")]
    CommitmentMismatch,
    /// The control set would be followed by keys that are no secret any more.
    #[error("a control key that has been in force before")]
    ReusedKey,
    /// The recovery delay is out of its range.
    #[error("a recovery delay of {found} blocks")]
    BadRecoveryDelay {
        /// The delay.
        found: u32,
    },
    /// A service's endpoint is not spelled as it must be, or stands twice.
    #[error("service {place} is refused")]
    BadService {
        /// Its place, from 0.
        place: usize,
    },
    /// There are 16 devices, or all ids have been used.
    #[error("no room for another device")]
    TooManyDevices,
    /// The entry has no such device.
    #[error("there is no device {id}")]
    UnknownDevice {
        /// The id.
        id: u16,
    },
    /// A device key has not signed for its Signal key.
    #[error("the Signal key of device {device} is not bound by it")]
    BadBinding {
        /// The device's id, as it would be.
        device: u16,
    },
    /// A signature by nobody who may sign this operation.
    #[error("{signer} may not sign this")]
    UnknownSigner {
        /// The signer.
        signer: Signer,
    },
    /// Two signatures by one signer.
    #[error("{signer} signs twice")]
    DuplicateSigner {
        /// The signer.
        signer: Signer,
    },
    /// Not enough signatures.
    #[error("{found} signatures, {needed} needed")]
    Threshold {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: u8,
    },
    /// A signature that is not its signer's over these bytes on this chain.
    #[error("the signature of {signer} does not verify")]
    BadSignature {
        /// The signer.
        signer: Signer,
    },
}

impl Error {
    /// The stable number of the rule; `docs/spec/identity.md` lists them. Results are hashed into
    /// blocks, so numbers are never given another meaning.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::TooLarge { .. } => 1,
            Self::Malformed(_) => 2,
            Self::Expired { .. } => 3,
            Self::ValidTooFar { .. } => 4,
            Self::AlreadyExists => 5,
            Self::UnknownDid => 6,
            Self::WrongChain { .. } => 7,
            Self::WrongDid => 8,
            Self::Deactivated { .. } => 9,
            Self::StaleSequence { .. } => 10,
            Self::WrongPrevious => 11,
            Self::BadThreshold { .. } => 12,
            Self::WeakKey { .. } => 13,
            Self::DuplicateKey { .. } => 14,
            Self::MissingCommitment { .. } => 15,
            Self::CommitmentMismatch => 16,
            Self::ReusedKey => 17,
            Self::BadRecoveryDelay { .. } => 18,
            Self::BadService { .. } => 19,
            Self::TooManyDevices => 20,
            Self::UnknownDevice { .. } => 21,
            Self::BadBinding { .. } => 22,
            Self::UnknownSigner { .. } => 23,
            Self::DuplicateSigner { .. } => 24,
            Self::Threshold { .. } => 25,
            Self::BadSignature { .. } => 26,
        }
    }
}
