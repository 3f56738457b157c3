//! The validator set, and whose turn it is to propose: Tendermint's weighted round-robin.
//!
//! Each turn adds everyone's power to their priority, takes the highest, and subtracts the total
//! from it; so proposals come in proportion to power. Source: CometBFT 0.38,
//! `spec/consensus/proposer-selection.md`.

use serde::{Deserialize, Serialize};
use tendermint::{account, public_key::PublicKey, validator, vote};

/// Priorities are kept within this many times the total power of each other.
const WINDOW: i128 = 2;

/// All powers together are at most this much: CometBFT's bound, 2^63 / 8.
const MAX_POWER: u128 = 1 << 60;

/// Marks a validator whose priority is still to be set; no priority in use is this low.
const NEWCOMER: i64 = i64::MIN;

/// A validator with its power and its priority to propose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// The key that signs its votes.
    pub key: PublicKey,
    /// Its voting power, above zero.
    pub power: u64,
    /// How long it has been waiting to propose, in units of power.
    pub priority: i64,
}

impl Validator {
    /// Its address: SHA-256 of the key, cut to 20 bytes.
    #[must_use]
    pub fn address(&self) -> account::Id {
        self.key.into()
    }
}

/// Validators, by power descending and then by address, and whose turn it is; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
    proposer: account::Id,
}

/// A change to the set that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// A validator that is not in the set is removed.
    #[error("an update removes a validator that is not in the set")]
    Unknown,
    /// One key is updated twice.
    #[error("an update names one validator twice")]
    Twice,
    /// Nobody would be left.
    #[error("an update removes every validator")]
    Empty,
    /// All powers together are above CometBFT's bound of 2^63 / 8.
    #[error("the total power is above the bound")]
    TooPowerful,
}

impl ValidatorSet {
    /// The first set of a chain.
    ///
    /// # Errors
    /// [`BadUpdate`].
    pub fn genesis(validators: impl IntoIterator<Item = (PublicKey, u64)>) -> Result<Self, BadUpdate> {
        let nobody = Self { validators: Vec::new(), proposer: account::Id::new([0; 20]) };
        nobody.next(validators)
    }

    /// The set one height later, with `changes` made: a power of zero removes. New validators start
    /// with a low priority, so that leaving and coming back is no way to propose more often.
    ///
    /// # Errors
    /// [`BadUpdate`].
    pub fn next(&self, changes: impl IntoIterator<Item = (PublicKey, u64)>) -> Result<Self, BadUpdate> {
        let mut next = self.clone();
        next.update(changes)?;
        next.turn(1);
        Ok(next)
    }

    /// The validators, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Validator] {
        &self.validators
    }

    /// All powers together.
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.validators.iter().map(|validator| validator.power).sum()
    }

    /// The validator with this address.
    #[must_use]
    pub fn by_address(&self, address: account::Id) -> Option<&Validator> {
        self.validators.iter().find(|validator| validator.address() == address)
    }

    /// Whose turn it is in `round` of this set's height.
    ///
    /// # Panics
    /// Never: who is chosen is in the set.
    #[must_use]
    pub fn proposer(&self, round: u32) -> &Validator {
        let mut later = self.clone();
        later.turn(round);
        self.by_address(later.proposer).expect("who is chosen is in the set")
    }

    /// The set as the `tendermint` crate has it, with the proposer of round 0.
    #[must_use]
    pub fn to_tendermint(&self) -> validator::Set {
        let infos = self.validators.iter().map(Validator::to_info).collect();
        validator::Set::new(infos, Some(self.proposer(0).to_info()))
    }

    /// The hash that headers carry.
    #[must_use]
    pub fn hash(&self) -> tendermint::Hash {
        self.to_tendermint().hash()
    }

    fn turn(&mut self, times: u32) {
        if times == 0 {
            return;
        }
        self.rescale();
        self.centre();
        let total = i128::from(self.total_power());
        for _ in 0..times {
            for validator in &mut self.validators {
                validator.priority = clip(i128::from(validator.priority) + i128::from(validator.power));
            }
            let rank = |validator: &&mut Validator| (validator.priority, std::cmp::Reverse(validator.address()));
            let chosen = self.validators.iter_mut().max_by_key(rank).expect("a set is not empty");
            chosen.priority = clip(i128::from(chosen.priority) - total);
            self.proposer = chosen.address();
        }
    }

    fn update(&mut self, changes: impl IntoIterator<Item = (PublicKey, u64)>) -> Result<(), BadUpdate> {
        let mut seen = Vec::new();
        let mut removed = 0u128;
        for (key, power) in changes {
            if seen.contains(&key) {
                return Err(BadUpdate::Twice);
            }
            seen.push(key);
            let found = self.validators.iter().position(|validator| validator.key == key);
            match (found, power) {
                (Some(found), 0) => removed += u128::from(self.validators.remove(found).power),
                (None, 0) => return Err(BadUpdate::Unknown),
                (Some(found), power) => self.validators[found].power = power,
                (None, power) => self.validators.push(Validator { key, power, priority: NEWCOMER }),
            }
        }
        if self.validators.is_empty() {
            return Err(BadUpdate::Empty);
        }
        let total = self.validators.iter().map(|validator| u128::from(validator.power)).sum::<u128>();
        if total > MAX_POWER {
            return Err(BadUpdate::TooPowerful);
        }
        if seen.is_empty() {
            return Ok(());
        }
        // Newcomers wait 1.125 times the total power, and who leaves still counts in it. Source:
        // CometBFT 0.38, `types/validator_set.go`, `updateWithChangeSet` and `computeNewPriorities`.
        let before_removals = total + removed;
        let newcomer = -i64::try_from(before_removals + (before_removals >> 3)).expect("both are bounded by 2^60");
        for validator in self.validators.iter_mut().filter(|validator| validator.priority == NEWCOMER) {
            validator.priority = newcomer;
        }
        self.validators.sort_by_cached_key(|validator| (std::cmp::Reverse(validator.power), validator.address()));
        self.rescale();
        self.centre();
        Ok(())
    }

    /// Keeps the priorities within the window, by dividing them.
    fn rescale(&mut self) {
        let window = WINDOW * i128::from(self.total_power());
        let priorities = || self.validators.iter().map(|validator| i128::from(validator.priority));
        let (low, high) = (priorities().min().unwrap_or(0), priorities().max().unwrap_or(0));
        let ratio = (high - low + window - 1) / window.max(1);
        if ratio > 1 {
            for validator in &mut self.validators {
                validator.priority = clip(i128::from(validator.priority) / ratio);
            }
        }
    }

    /// Moves the priorities so that they sum to about zero.
    fn centre(&mut self) {
        let sum: i128 = self.validators.iter().map(|validator| i128::from(validator.priority)).sum();
        // Rounded towards minus infinity, as Go's big.Int.Div does for a positive divisor.
        let average = sum.div_euclid(self.validators.len().max(1) as i128);
        for validator in &mut self.validators {
            validator.priority = clip(i128::from(validator.priority) - average);
        }
    }
}

impl Validator {
    fn to_info(&self) -> validator::Info {
        let power = vote::Power::try_from(self.power).expect("powers are bounded by 2^60");
        let mut info = validator::Info::new(self.key, power);
        info.proposer_priority = self.priority.into();
        info
    }
}

fn clip(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
