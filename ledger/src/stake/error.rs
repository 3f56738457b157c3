//! Why a transaction that moves stake is refused.

use types::{Address, Amount, Millis};

/// A refusal in the codespace `stake`. [`Error::code`] is stable; the words may change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No validator has this address.
    #[error("no validator {0} is known")]
    UnknownValidator(Address),
    /// The validator belongs to another account.
    #[error("only the validator's operator may do this")]
    NotOperator,
    /// A validator has or had this consensus key.
    #[error("there is a validator {0} already: a key makes one validator, once")]
    KeyTaken(Address),
    /// Another validator has this peer id.
    #[error("another validator has this peer id")]
    PeerTaken,
    /// The peer id is not that of an ed25519 key.
    #[error("the peer id is not that of a usable ed25519 key")]
    BadPeer,
    /// The consensus key did not sign that it is the operator's, or is unusable.
    #[error("the consensus key has not signed for this operator, chain and peer id")]
    BadProof,
    /// The operator's own stake would be below the minimum.
    #[error("an operator's own stake is at least {needed}, not {found}")]
    SelfStakeTooLow {
        /// What it would be.
        found: Amount,
        /// The minimum.
        needed: Amount,
    },
    /// The commission is above all there is.
    #[error("a commission is at most 10,000 hundredths of a percent, not {0}")]
    BadCommission(u16),
    /// The commission changes by too much.
    #[error("a commission changes by at most {bound} hundredths of a percent at once, not by {found}")]
    CommissionStep {
        /// By how much it would change.
        found: u16,
        /// The bound.
        bound: u16,
    },
    /// The commission was changed less than a day ago.
    #[error("the commission may change again at {}", .until.rfc3339())]
    CommissionHeld {
        /// From when it may.
        until: Millis,
    },
    /// As many validators as there may be stand with more stake.
    #[error("{bound} validators stand, which is the bound: more stake is needed to take a place")]
    TooManyValidators {
        /// The bound.
        bound: usize,
    },
    /// The account has less at this validator.
    #[error("this account has {found} at stake with this validator, which is less than {needed}")]
    StakeTooLow {
        /// What its shares are worth.
        found: Amount,
        /// What was asked.
        needed: Amount,
    },
    /// The account has stake at as many validators as it may.
    #[error("an account has stake at {bound} validators at most")]
    TooManyDelegations {
        /// The bound.
        bound: usize,
    },
    /// The account waits for as many unbondings as it may.
    #[error("an account waits for {bound} unbondings at most")]
    TooManyUnbondings {
        /// The bound.
        bound: usize,
    },
    /// The stake came to this validator from others too often of late.
    #[error("an account moves stake to a validator {bound} times at most within an unbonding period")]
    TooManyRedelegations {
        /// The bound.
        bound: usize,
    },
    /// The stake came from another validator not long ago and still answers for that one.
    #[error("this stake was moved here and answers for its former validator until {}: it cannot move on before", .until.rfc3339())]
    StillAnswers {
        /// Until when.
        until: Millis,
    },
    /// Stake is moved from a validator to itself.
    #[error("stake moves to another validator, not to the same")]
    SameValidator,
    /// The validator is not jailed.
    #[error("the validator is not jailed")]
    NotJailed,
    /// The validator must stay jailed for longer.
    #[error("the validator stays jailed until {}", .until.rfc3339())]
    StillJailed {
        /// Until when.
        until: Millis,
    },
    /// The validator has signed twice, and is out for good.
    #[error("the validator has signed twice and is out for good")]
    Tombstoned,
    /// Without this stake the chain would have no validator.
    #[error("without this stake no validator would be left")]
    LastValidator,
    /// The amount buys no share, or more shares than can be counted.
    #[error("the amount makes no whole share at this validator's rate")]
    NoShare,
}

impl Error {
    /// The number of the reason within its codespace.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::UnknownValidator(_) => 1,
            Self::NotOperator => 2,
            Self::KeyTaken(_) => 3,
            Self::PeerTaken => 4,
            Self::BadPeer => 5,
            Self::BadProof => 6,
            Self::SelfStakeTooLow { .. } => 7,
            Self::BadCommission(_) => 8,
            Self::CommissionStep { .. } => 9,
            Self::CommissionHeld { .. } => 10,
            Self::TooManyValidators { .. } => 11,
            Self::StakeTooLow { .. } => 12,
            Self::TooManyDelegations { .. } => 13,
            Self::TooManyUnbondings { .. } => 14,
            Self::TooManyRedelegations { .. } => 15,
            Self::StillAnswers { .. } => 16,
            Self::SameValidator => 17,
            Self::NotJailed => 18,
            Self::StillJailed { .. } => 19,
            Self::Tombstoned => 20,
            Self::LastValidator => 21,
            Self::NoShare => 22,
        }
    }
}
