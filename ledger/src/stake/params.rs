//! The parameters of stake.

use serde::{Deserialize, Serialize};
use types::Amount;

use crate::params::BadParam;

/// A day, in milliseconds.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// More validators than this are in no set: the list of them is one entry of the state.
pub const MAX_ACTIVE: u16 = 128;

/// How stake is rewarded, held and punished. Parts are in hundredths of a percent, times are in
/// milliseconds of block time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakeParams {
    /// How many validators sign blocks at most: those with the most stake.
    pub max_validators: u16,
    /// What an operator keeps bonded to its own validator at least.
    pub min_self_stake: Amount,
    /// How long stake that was taken back still answers for what its validator did.
    pub unbonding_ms: u64,
    /// How long rewards are gathered before they are shared.
    pub epoch_ms: u64,
    /// What is minted in a year, as a part of the supply.
    pub annual_reward_bps: u16,
    /// The part of its stake that a validator loses for signing twice.
    pub double_sign_slash_bps: u16,
    /// The part of its stake that a validator loses for being absent.
    pub downtime_slash_bps: u16,
    /// How long a validator that was absent stays out of the set at least.
    pub downtime_jail_ms: u64,
    /// How many blocks with transactions make a window in which absences are counted.
    pub signed_window: u32,
    /// The part of a window's blocks that a validator must have signed.
    pub min_signed_bps: u16,
    /// By how much a commission may change in a day.
    pub max_commission_change_bps: u16,
}
types::codec!(StakeParams {
    max_validators,
    min_self_stake,
    unbonding_ms,
    epoch_ms,
    annual_reward_bps,
    double_sign_slash_bps,
    downtime_slash_bps,
    downtime_jail_ms,
    signed_window,
    min_signed_bps,
    max_commission_change_bps,
});

impl Default for StakeParams {
    fn default() -> Self {
        Self {
            max_validators: 64,
            min_self_stake: Amount::ZYNK,
            unbonding_ms: 21 * DAY_MS,
            epoch_ms: 600_000,
            annual_reward_bps: 500,
            double_sign_slash_bps: 500,
            downtime_slash_bps: 10,
            downtime_jail_ms: 600_000,
            signed_window: 1_000,
            min_signed_bps: 5_000,
            max_commission_change_bps: 100,
        }
    }
}

impl StakeParams {
    /// Checks every range.
    ///
    /// # Errors
    /// The first parameter that is outside its range.
    pub fn check(&self) -> Result<(), BadParam> {
        let self_stake = (Amount(1)..=Amount(1_000_000 * Amount::ZYNK.0)).contains(&self.min_self_stake);
        let rules = [
            ("stake.max_validators", (1..=MAX_ACTIVE).contains(&self.max_validators), "must be from 1 to 128"),
            ("stake.min_self_stake", self_stake, "must be above zero and at most 1,000,000 ZYNK"),
            ("stake.unbonding_ms", (1_000..=365 * DAY_MS).contains(&self.unbonding_ms), "must be from one second to 365 days"),
            ("stake.epoch_ms", (1_000..=DAY_MS).contains(&self.epoch_ms), "must be from one second to a day"),
            ("stake.annual_reward_bps", self.annual_reward_bps <= 5_000, "must be at most 5,000"),
            // A slash never takes all: what has shares always has tokens behind them.
            ("stake.double_sign_slash_bps", self.double_sign_slash_bps <= 9_000, "must be at most 9,000"),
            ("stake.downtime_slash_bps", self.downtime_slash_bps <= 1_000, "must be at most 1,000"),
            ("stake.downtime_jail_ms", self.downtime_jail_ms <= 30 * DAY_MS, "must be at most 30 days"),
            ("stake.signed_window", (10..=1_000_000).contains(&self.signed_window), "must be from 10 to 1,000,000"),
            // Who proposes a block may leave out signatures: a third of the power must not be able to have anybody jailed.
            ("stake.min_signed_bps", self.min_signed_bps <= 6_600, "must be at most 6,600"),
            ("stake.max_commission_change_bps", self.max_commission_change_bps <= 10_000, "must be at most 10,000"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, rule)) => Err(BadParam { name, rule }),
            None => Ok(()),
        }
    }
}
