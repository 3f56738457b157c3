//! Validators: their records in the state, and the power that their stake gives them.
//!
//! Stake is set by the genesis; the transactions that move it are not there yet.

use serde::{Deserialize, Serialize};
use types::{Address, Amount, Blob, Decode, DecodeError, Encode, Height, Millis, PublicKey, Reader, Text};

use crate::params::Params;

/// What the state knows of a validator. At most some 250 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// The account that owns and directs it.
    pub operator: Address,
    /// The key that signs its votes.
    pub consensus_key: PublicKey,
    /// The libp2p peer id under which its node speaks on the consensus network, as multihash bytes.
    pub peer_id: Blob<64>,
    /// What people call it.
    pub moniker: Text<64>,
    /// The tokens bonded to it: its operator's and, later, those of others.
    pub bonded: Amount,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
    /// Whether it takes part.
    pub status: ValidatorStatus,
}
types::codec!(Validator { operator, consensus_key, peer_id, moniker, bonded, commission_bps, status });

/// Whether a validator takes part in consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValidatorStatus {
    /// In the set, as far as its stake carries it.
    Bonded,
    /// On its way out of the set: the stake still answers for the past.
    Unbonding {
        /// When it began.
        since: Height,
    },
    /// Out of the set.
    Unbonded,
    /// Taken out of the set for an offence, until it asks to come back.
    Jailed {
        /// The earliest time at which it may.
        until: Millis,
    },
    /// Taken out of the set for good, for having signed twice.
    Tombstoned,
}

impl Encode for ValidatorStatus {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bonded => out.push(0),
            Self::Unbonding { since } => {
                out.push(1);
                since.encode(out);
            }
            Self::Unbonded => out.push(2),
            Self::Jailed { until } => {
                out.push(3);
                until.encode(out);
            }
            Self::Tombstoned => out.push(4),
        }
    }
}

impl Decode for ValidatorStatus {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Bonded,
            1 => Self::Unbonding { since: Decode::decode(reader)? },
            2 => Self::Unbonded,
            3 => Self::Jailed { until: Decode::decode(reader)? },
            4 => Self::Tombstoned,
            found => return Err(DecodeError::Tag { what: "validator status", found }),
        })
    }
}

impl Validator {
    /// The validator's address: its consensus key's.
    #[must_use]
    pub fn address(&self) -> Address {
        self.consensus_key.address()
    }

    /// Its voting power: whole power units of its bonded stake, or none where it takes no part.
    #[must_use]
    pub const fn power(&self, params: &Params) -> u64 {
        match self.status {
            ValidatorStatus::Bonded => self.bonded.0 / params.power_unit.0,
            _ => 0,
        }
    }
}
