//! Why a header, a set of validators or a proof was not believed.

use std::time::Duration;

use tendermint::Time;
use tendermint_light_client_verifier::errors::VerificationErrorDetail as Detail;
use tendermint_light_client_verifier::operations::voting_power::VotingPowerTally;
use types::{DecodeError, Hash, Height};

/// Why something was not believed. [`Error::code`] is stable; `docs/spec/light.md` lists the codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header is another chain's.
    #[error("the header is of chain {found}, expected {expected}")]
    WrongChain {
        /// The trusted chain.
        expected: String,
        /// The header's chain.
        found: String,
    },
    /// The header names other validators than the trusted ones: a hand-off is missing before it.
    #[error("the header at height {height} names validators {found}, trusted are {expected}")]
    WrongValidators {
        /// The header's height.
        height: Height,
        /// The trusted set's hash.
        expected: Hash,
        /// What the header names.
        found: tendermint::Hash,
    },
    /// The commit is for another block than the header's.
    #[error("the commit at height {height} is not for this header")]
    WrongBlock {
        /// The header's height.
        height: Height,
    },
    /// At most two thirds of the power signed.
    #[error("validators with power {signed} of {total} signed; more than two thirds must")]
    TooLittlePower {
        /// The power that signed.
        signed: u64,
        /// The power of the set.
        total: u64,
    },
    /// An entry of the commit is not its validator's vote.
    #[error("vote {index} of the commit {fault}")]
    Vote {
        /// The entry, counted from 0.
        index: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The next validators are not the ones the header names.
    #[error("the hand-off at height {height} carries validators {found}, its header names {expected}")]
    WrongHandoff {
        /// The header's height.
        height: Height,
        /// What the header names.
        expected: tendermint::Hash,
        /// The hash of the set carried.
        found: Hash,
    },
    /// The height is not above the trusted one, or not one a block can have.
    #[error("height {found} cannot follow the trusted height {trusted}")]
    WrongHeight {
        /// The trusted height.
        trusted: Height,
        /// The header's height.
        found: Height,
    },
    /// The header's time contradicts the order of the heights.
    #[error("the header at height {height} has time {found}, the trusted one {trusted}")]
    WrongTime {
        /// The header's height.
        height: Height,
        /// The header's time.
        found: Time,
        /// The trusted time.
        trusted: Time,
    },
    /// What is trusted is older than the trusting period.
    #[error("trust of {time} is older than the trusting period of {} s", .period.as_secs())]
    Expired {
        /// The trusted header's time.
        time: Time,
        /// The trusting period.
        period: Duration,
    },
    /// The header's time is ahead of the clock by more than the allowed drift.
    #[error("the header's time {time} is ahead of the clock {now}")]
    Future {
        /// The header's time.
        time: Time,
        /// The clock.
        now: Time,
    },
    /// Too little of the trusted set signed so distant a block: try one between.
    #[error("trusted validators with power {signed} of {total} signed; more than a third must")]
    NotEnoughTrust {
        /// The trusted power that signed.
        signed: u64,
        /// The trusted power.
        total: u64,
    },
    /// Another header than the trusted one is signed at its height. Keep it: it is evidence.
    #[error("two headers are signed at height {height}: {trusted} and {found}")]
    Conflict {
        /// The height.
        height: Height,
        /// The trusted header.
        trusted: Hash,
        /// The other one.
        found: Hash,
    },
    /// The header is not the one that the header after it follows on.
    #[error("the header at height {height} is {found}, the one after it follows on {expected}")]
    WrongLink {
        /// The header's height.
        height: Height,
        /// What the header after it names.
        expected: tendermint::Hash,
        /// The header's hash.
        found: tendermint::Hash,
    },
    /// A set of validators is not one that a chain can have.
    #[error("the validator set {0}")]
    Validators(&'static str),
    /// A signed header has no compact form, or a compact form is not the shortest.
    #[error("the signed header {0}")]
    Form(&'static str),
    /// The published verifier refused for a reason that has no code of its own here.
    #[error("refused by the verifier: {0}")]
    Invalid(String),
    /// A state proof cannot be read: too long, not canonical, or not of this tree's shape.
    #[error("the state proof {0}")]
    ProofForm(&'static str),
    /// A state proof does not lead to the header's application hash.
    #[error("the state proof does not lead to the application hash of height {height}")]
    ProofRoot {
        /// The header's height.
        height: Height,
    },
    /// The header's application hash is not 32 bytes, so nothing can be proven under it.
    #[error("the application hash at height {height} is not 32 bytes")]
    AppHash {
        /// The header's height.
        height: Height,
    },
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::WrongChain { .. } => 1001,
            Self::WrongValidators { .. } => 1002,
            Self::WrongBlock { .. } => 1003,
            Self::TooLittlePower { .. } => 1004,
            Self::Vote { .. } => 1005,
            Self::WrongHandoff { .. } => 1006,
            Self::WrongHeight { .. } => 1007,
            Self::WrongTime { .. } => 1008,
            Self::Expired { .. } => 1009,
            Self::Future { .. } => 1010,
            Self::NotEnoughTrust { .. } => 1011,
            Self::Conflict { .. } => 1012,
            Self::Validators(_) => 1013,
            Self::Form(_) => 1014,
            Self::Invalid(_) => 1015,
            Self::ProofForm(_) => 1016,
            Self::ProofRoot { .. } => 1017,
            Self::AppHash { .. } => 1018,
            Self::WrongLink { .. } => 1028,
        }
    }

    /// The published verifier's refusal in our words. What [`crate::Trust`] has checked itself before
    /// it asks the verifier does not come back from it.
    pub(crate) fn from_verifier(detail: &Detail, period: Duration) -> Self {
        let power = |tally: &VotingPowerTally| (tally.tallied, tally.total);
        match detail {
            Detail::InsufficientSignersOverlap(error) => {
                let (signed, total) = power(&error.tally);
                Self::TooLittlePower { signed, total }
            }
            Detail::NotEnoughTrust(error) => Self::not_enough_trust(&error.tally),
            Detail::NotWithinTrustPeriod(error) => {
                Self::Expired { time: error.expires_at.checked_sub(period).unwrap_or(error.expires_at), period }
            }
            Detail::HeaderFromTheFuture(error) => Self::Future { time: error.header_time, now: error.now },
            other => Self::Invalid(other.to_string()),
        }
    }

    pub(crate) const fn not_enough_trust(tally: &VotingPowerTally) -> Self {
        Self::NotEnoughTrust { signed: tally.tallied, total: tally.total }
    }
}

impl From<Error> for DecodeError {
    /// For values checked while they are read.
    fn from(error: Error) -> Self {
        let what = match error {
            Error::Validators(_) => "validator set",
            _ => "signed header",
        };
        Self::Value { what }
    }
}
