//! The chain's parameters. They stand in the genesis and in the state, never in a node's configuration.

use serde::{Deserialize, Serialize};
use types::{Amount, Height};

use crate::governance::GovernanceParams;
use crate::stake::StakeParams;

/// Parameters of the application. Those that CometBFT knows (block size, evidence age) are the
/// genesis' consensus parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What every transaction pays at least.
    pub base_fee: Amount,
    /// What every byte of a transaction adds to that.
    pub byte_fee: Amount,
    /// The least bond of a log.
    pub log_bond: Amount,
    /// How many blocks a retired log's bond is held, so that claims can still reach it.
    pub bond_hold_blocks: u32,
    /// How many tokens make one unit of voting power.
    pub power_unit: Amount,
    /// The time from one block to the next when there is work, in milliseconds; 0 is as fast as possible.
    pub block_interval_ms: u32,
    /// The time after which an idle chain makes an empty block all the same, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long validators wait for a proposal before they vote nil, in milliseconds; it is what an absent proposer costs.
    pub propose_timeout_ms: u32,
    /// How stake is rewarded, held and punished.
    pub stake: StakeParams,
    /// How proposals are paid for and judged.
    pub governance: GovernanceParams,
}
types::codec!(Params {
    base_fee,
    byte_fee,
    log_bond,
    bond_hold_blocks,
    power_unit,
    block_interval_ms,
    heartbeat_ms,
    propose_timeout_ms,
    stake,
    governance,
});

impl Default for Params {
    fn default() -> Self {
        Self {
            base_fee: Amount(1_000),
            byte_fee: Amount(10),
            log_bond: Amount(10_000_000),
            bond_hold_blocks: 100_000,
            power_unit: Amount::ZYNK,
            block_interval_ms: 500,
            heartbeat_ms: 10_000,
            propose_timeout_ms: 1_000,
            stake: StakeParams::default(),
            governance: GovernanceParams::default(),
        }
    }
}

/// A parameter outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {rule}")]
pub struct BadParam {
    /// The parameter's name.
    pub name: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl Params {
    /// The least fee of a transaction of `size_bytes`.
    #[must_use]
    pub const fn minimum_fee(&self, size_bytes: usize) -> Amount {
        Amount(self.base_fee.0.saturating_add(self.byte_fee.0.saturating_mul(size_bytes as u64)))
    }

    /// When the bond of a log retired at `at` may be returned.
    #[must_use]
    pub fn bond_released(&self, at: Height) -> Height {
        Height(at.0 + u64::from(self.bond_hold_blocks))
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first parameter that is outside its range.
    pub fn check(&self) -> Result<(), BadParam> {
        let rules = [
            ("power_unit", self.power_unit > Amount::ZERO, "must be above zero"),
            // A vote must stay payable: fees that nobody has could not be voted down again.
            ("base_fee", self.base_fee <= Amount::ZYNK, "must be at most 1 ZYNK"),
            ("byte_fee", self.byte_fee <= Amount(1_000), "must be at most 1,000 micro-zynk"),
            ("block_interval_ms", self.block_interval_ms <= 60_000, "must be at most 60,000"),
            ("heartbeat_ms", (1_000..=3_600_000).contains(&self.heartbeat_ms), "must be from 1,000 to 3,600,000"),
            ("propose_timeout_ms", (100..=60_000).contains(&self.propose_timeout_ms), "must be from 100 to 60,000"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, rule)) => Err(BadParam { name, rule }),
            None => self.stake.check().and_then(|()| self.governance.check()),
        }
    }
}
