//! The first state of a chain, out of the application's part of the genesis file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use audit::log::Frontier;
use serde::{Deserialize, Serialize};
use types::{Address, Amount, Blob, Millis, PublicKey, Text};

use crate::account::Account;
use crate::params::{BadParam, Params};
use crate::stake::{self, Validator, ValidatorStatus};
use crate::state::{Changes, State, key};

/// What agrees on a chain's blocks. No rule of the ledger depends on it; it stands in the genesis so that
/// everybody runs the same, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The one inside the node.
    #[default]
    Embedded,
    /// CometBFT 0.38, which drives the node's application over ABCI.
    CometBft,
}

impl Engine {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_embedded(&self) -> bool {
        *self == Self::Embedded
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "the embedded engine",
            Self::CometBft => "CometBFT",
        })
    }
}

impl FromStr for Engine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "cometbft" => Ok(Self::CometBft),
            _ => Err("an engine is embedded or cometbft"),
        }
    }
}

/// `app_state` in the genesis file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppState {
    /// What agrees on the blocks; left out for the embedded engine.
    #[serde(default, skip_serializing_if = "Engine::is_embedded")]
    pub engine: Engine,
    /// The parameters to begin with.
    pub params: Params,
    /// Who owns what, beside the stake.
    pub accounts: BTreeMap<Address, Amount>,
    /// The validators and their stake, at most as many as sign blocks.
    pub validators: Vec<GenesisValidator>,
}

/// A validator of the genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// The account that owns and directs it.
    pub operator: Address,
    /// The key that signs its votes.
    pub consensus_key: PublicKey,
    /// Its peer id on the consensus network, as multihash bytes.
    pub peer_id: Blob<64>,
    /// What people call it.
    pub moniker: Text<64>,
    /// Its stake.
    pub stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
}

/// Why a genesis state is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGenesis {
    /// A parameter is outside its range.
    #[error(transparent)]
    Param(#[from] BadParam),
    /// There are no validators, or more than sign blocks.
    #[error("a chain begins with 1 to stake.max_validators validators, not {0}")]
    ValidatorCount(usize),
    /// Two validators share a key.
    #[error("two validators share the consensus key {0}")]
    SharedKey(PublicKey),
    /// A validator's key is unusable.
    #[error("validator {0} has no usable Ed25519 key")]
    WeakKey(String),
    /// Two validators share a peer id.
    #[error("validator {0} shares its peer id with another")]
    SharedPeer(String),
    /// An account operates more validators than it may have stake at.
    #[error("validator {0} is one more than an account may operate")]
    Operator(String),
    /// A validator's stake is below the minimum of an operator's own.
    #[error("validator {0} has less than stake.min_self_stake")]
    SelfStake(String),
    /// A validator's stake gives it no voting power.
    #[error("validator {0} has a stake below one unit of power")]
    NoPower(String),
    /// A commission is above 100 %.
    #[error("validator {0} has a commission above 10,000 hundredths of a percent")]
    Commission(String),
    /// The sum of all tokens is above the bound.
    #[error("all tokens together are 2^60 micro-zynk or more")]
    Supply,
}

/// All tokens together are at most this much: total voting power is then within CometBFT's bound,
/// `MaxInt64 / 8`, whatever the power unit.
pub const MAX_SUPPLY: u64 = (1 << 60) - 1;

impl AppState {
    /// Checks it and makes the first state of it. `start`: when the chain begins to count, the genesis' time.
    ///
    /// # Errors
    /// [`BadGenesis`].
    pub fn build(&self, start: Millis) -> Result<Changes, BadGenesis> {
        self.check()?;
        let empty = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        let mut state = State::new(&empty);
        state.write(key::PARAMS.to_vec(), &self.params);
        state.write(key::SUPPLY.to_vec(), &self.supply()?);
        state.write(key::FEES.to_vec(), &Amount::ZERO);
        let frontier = Frontier::default();
        state.write(key::ANCHORS_HEAD.to_vec(), &frontier.head());
        state.write(key::ANCHORS_FRONTIER.to_vec(), &frontier);
        for (address, balance) in &self.accounts {
            state.write(key::account(address), &Account { balance: *balance, sequence: 0 });
        }
        stake::begin(&mut state, &self.params, self.records().collect(), start)?;
        state.settle();
        Ok(state.finish().0)
    }

    /// The validators' records.
    pub fn records(&self) -> impl Iterator<Item = Validator> {
        self.validators.iter().cloned().map(|validator| Validator {
            operator: validator.operator,
            consensus_key: validator.consensus_key,
            peer_id: validator.peer_id,
            moniker: validator.moniker,
            bonded: validator.stake,
            shares: validator.stake.0,
            commission_bps: validator.commission_bps,
            commission_set: Millis(0),
            earned: stake::rewards::Earned::default(),
            status: ValidatorStatus::Eligible,
        })
    }

    fn check(&self) -> Result<(), BadGenesis> {
        self.params.check()?;
        if !(1..=usize::from(self.params.stake.max_validators)).contains(&self.validators.len()) {
            return Err(BadGenesis::ValidatorCount(self.validators.len()));
        }
        let (mut keys, mut peers) = (BTreeSet::new(), BTreeSet::new());
        for validator in self.records() {
            let name = validator.moniker.to_string();
            if !validator.consensus_key.is_usable() {
                return Err(BadGenesis::WeakKey(name));
            }
            if !keys.insert(validator.consensus_key) {
                return Err(BadGenesis::SharedKey(validator.consensus_key));
            }
            if !peers.insert(validator.peer_id.clone()) {
                return Err(BadGenesis::SharedPeer(name));
            }
            if validator.bonded < self.params.stake.min_self_stake {
                return Err(BadGenesis::SelfStake(name));
            }
            if validator.power(&self.params) == 0 {
                return Err(BadGenesis::NoPower(name));
            }
            if validator.commission_bps > 10_000 {
                return Err(BadGenesis::Commission(name));
            }
        }
        self.supply().map(|_| ())
    }

    fn supply(&self) -> Result<Amount, BadGenesis> {
        let stakes = self.validators.iter().map(|validator| validator.stake);
        let all = self.accounts.values().copied().chain(stakes);
        let sum = all.map(|amount| u128::from(amount.0)).sum::<u128>();
        u64::try_from(sum).ok().filter(|sum| *sum <= MAX_SUPPLY).map(Amount).ok_or(BadGenesis::Supply)
    }
}
