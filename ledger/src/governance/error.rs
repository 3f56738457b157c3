//! Why governance refuses what somebody asks.

use types::{Amount, Height};

use super::proposal::ProposalId;
use crate::params::BadParam;

/// A refusal of governance. Its [code](Self::code) is stable within the codespace `governance`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No proposal has this number.
    #[error("there is no proposal {0}")]
    UnknownProposal(ProposalId),
    /// As many proposals are open as there may be.
    #[error("{bound} proposals are open, which is the bound; one must end first")]
    TooManyOpen {
        /// The bound.
        bound: usize,
    },
    /// A title or a plan's name is empty.
    #[error("the proposal's {0} is empty")]
    Empty(&'static str),
    /// The deposit is below the least that is taken.
    #[error("a deposit of {found} is below {needed}, the least that is taken here")]
    DepositTooLow {
        /// The deposit offered.
        found: Amount,
        /// The least.
        needed: Amount,
    },
    /// The proposal waits for no deposit any more.
    #[error("proposal {0} takes no deposits any more")]
    NotDepositing(ProposalId),
    /// The proposal is not being voted on.
    #[error("proposal {0} is not being voted on")]
    NotVoting(ProposalId),
    /// A change of parameters names none.
    #[error("the proposal changes no parameter")]
    NoChange,
    /// A change of parameters names one twice.
    #[error("the proposal names the parameter {0} twice")]
    NamedTwice(String),
    /// No parameter has this name.
    #[error("there is no parameter {0}")]
    UnknownParameter(String),
    /// The parameter stands for the chain's life.
    #[error("the parameter {0} cannot be changed")]
    FixedParameter(String),
    /// The value is too large for the parameter's type.
    #[error("{value} is too large for the parameter {name}")]
    TooLarge {
        /// The parameter.
        name: String,
        /// The value.
        value: u64,
    },
    /// The parameters would be outside their ranges.
    #[error(transparent)]
    BadParameter(#[from] BadParam),
    /// The upgrade's height is too near.
    #[error("the upgrade at height {found} is too near; the earliest height is {earliest}")]
    TooNear {
        /// The plan's height.
        found: Height,
        /// The earliest that is taken.
        earliest: Height,
    },
    /// The upgrade's version is not above the present one.
    #[error("the upgrade's version {found} is not above the present version {present}")]
    NotAbove {
        /// The plan's version.
        found: u64,
        /// The chain's version.
        present: u64,
    },
}

impl Error {
    /// The number of the reason within the codespace `governance`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::UnknownProposal(_) => 1,
            Self::TooManyOpen { .. } => 2,
            Self::Empty(_) => 3,
            Self::DepositTooLow { .. } => 4,
            Self::NotDepositing(_) => 5,
            Self::NotVoting(_) => 6,
            Self::NoChange => 7,
            Self::NamedTwice(_) => 8,
            Self::UnknownParameter(_) => 9,
            Self::FixedParameter(_) => 10,
            Self::TooLarge { .. } => 11,
            Self::BadParameter(_) => 12,
            Self::TooNear { .. } => 13,
            Self::NotAbove { .. } => 14,
        }
    }
}
