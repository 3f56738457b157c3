//! Why a transaction is refused: one closed list of numbered reasons that peers may see.

use types::{Amount, DecodeError, Height};

/// A refusal. Its [codespace](Self::codespace) and [code](Self::code) are stable; the words may change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no transaction.
    #[error("malformed transaction: {0}")]
    Malformed(DecodeError),
    /// It is above the bound.
    #[error("the transaction has {found} bytes, at most {bound} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// It is for another chain.
    #[error("the transaction is for chain {found}, this is {expected}")]
    WrongChain {
        /// The chain it names.
        found: String,
        /// This chain.
        expected: String,
    },
    /// A signature does not hold, is missing, or is one too many.
    #[error("the {whose}'s signature does not hold")]
    BadSignature {
        /// Whose: author or payer.
        whose: &'static str,
    },
    /// The sequence was used before: a replay, or a second transaction with the same number.
    #[error("sequence {found} was used before; the account's next is {expected}")]
    StaleSequence {
        /// The sequence it names.
        found: u64,
        /// The account's next.
        expected: u64,
    },
    /// The sequence leaves a gap.
    #[error("sequence {found} leaves a gap; the account's next is {expected}")]
    FutureSequence {
        /// The sequence it names.
        found: u64,
        /// The account's next.
        expected: u64,
    },
    /// It came too late.
    #[error("the transaction was valid until height {valid_until}; this is height {height}")]
    Expired {
        /// Its last height.
        valid_until: Height,
        /// The block's height.
        height: Height,
    },
    /// The fee is below the minimum for its size.
    #[error("the fee of {found} is below the minimum of {needed}")]
    FeeTooLow {
        /// The fee it offers.
        found: Amount,
        /// The minimum.
        needed: Amount,
    },
    /// An account has too little.
    #[error("the {whose}'s balance of {found} does not cover {needed}")]
    InsufficientFunds {
        /// Whose: author or payer.
        whose: &'static str,
        /// The balance.
        found: Amount,
        /// What is needed.
        needed: Amount,
    },
    /// The payer has not allowed the author to spend this much, or no longer.
    #[error("the payer allows this author {found} in fees, {needed} are needed")]
    NotAllowed {
        /// What is left of the allowance at this height.
        found: Amount,
        /// The fee.
        needed: Amount,
    },
    /// An amount is zero, or a sum would overflow.
    #[error("the amount must be above zero and within the supply")]
    BadAmount,
    /// The bond is below the minimum.
    #[error("a log's bond is at least {needed}, not {found}")]
    BondTooLow {
        /// The bond offered.
        found: Amount,
        /// The minimum.
        needed: Amount,
    },
    /// No log has this id.
    #[error("no log {0} is registered")]
    UnknownLog(audit::LogId),
    /// The log belongs to another account.
    #[error("only the log's owner may do this")]
    NotOwner,
    /// The bond is held until a later height.
    #[error("the log's bond is held until height {until}")]
    BondHeld {
        /// When it may be returned.
        until: Height,
    },
    /// The identity room refused the operation.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The stake cannot move so.
    #[error(transparent)]
    Stake(#[from] crate::stake::Error),
    /// Governance refused the proposal, the deposit or the vote.
    #[error(transparent)]
    Governance(#[from] crate::governance::Error),
    /// The audit room refused the anchor.
    #[error(transparent)]
    Audit(#[from] audit::AnchorError),
}

impl Refusal {
    /// The number of the reason within its codespace. Zero is success and never here.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Malformed(_) => 1,
            Self::TooLarge { .. } => 2,
            Self::WrongChain { .. } => 3,
            Self::BadSignature { .. } => 4,
            Self::StaleSequence { .. } => 5,
            Self::FutureSequence { .. } => 6,
            Self::Expired { .. } => 7,
            Self::FeeTooLow { .. } => 8,
            Self::InsufficientFunds { .. } => 9,
            Self::NotAllowed { .. } => 10,
            Self::BadAmount => 11,
            Self::BondTooLow { .. } => 12,
            Self::UnknownLog(_) => 13,
            Self::NotOwner => 14,
            Self::BondHeld { .. } => 15,
            Self::Stake(error) => error.code(),
            Self::Governance(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Audit(error) => error.code(),
        }
    }

    /// Whose list the code is from: `ledger`, `stake`, `governance`, `identity` or `audit`.
    #[must_use]
    pub const fn codespace(&self) -> &'static str {
        match self {
            Self::Stake(_) => "stake",
            Self::Governance(_) => "governance",
            Self::Identity(_) => "identity",
            Self::Audit(_) => "audit",
            _ => "ledger",
        }
    }
}
