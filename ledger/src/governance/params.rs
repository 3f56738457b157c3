//! The parameters of governance itself.

use serde::{Deserialize, Serialize};
use types::Amount;

use crate::params::BadParam;

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How proposals are paid for and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceParams {
    /// What must be deposited before a proposal is voted on.
    pub min_deposit: Amount,
    /// How long a proposal waits for its deposit, in milliseconds of block time.
    pub deposit_ms: u64,
    /// How long it is voted on, in milliseconds of block time.
    pub voting_ms: u64,
    /// The part of the active stake that must vote, in hundredths of a percent.
    pub quorum_bps: u16,
    /// The part of the votes other than abstentions that must be exceeded by yes, in hundredths of a percent.
    pub threshold_bps: u16,
    /// The part of all votes that vetoes must exceed to burn the deposit, in hundredths of a percent.
    pub veto_bps: u16,
}
types::codec!(GovernanceParams { min_deposit, deposit_ms, voting_ms, quorum_bps, threshold_bps, veto_bps });

impl Default for GovernanceParams {
    fn default() -> Self {
        Self {
            min_deposit: Amount(100 * Amount::ZYNK.0),
            deposit_ms: 7 * DAY_MS,
            voting_ms: 7 * DAY_MS,
            quorum_bps: 3_340,
            threshold_bps: 5_000,
            veto_bps: 3_340,
        }
    }
}

impl GovernanceParams {
    /// Checks every range. They are such that no change can lock governance up: a deposit that
    /// nobody can pay, a vote that never ends, a majority that cannot be reached.
    ///
    /// # Errors
    /// The first parameter that is outside its range.
    pub fn check(&self) -> Result<(), BadParam> {
        let span = |span_ms: u64| (1_000..=90 * DAY_MS).contains(&span_ms);
        let deposit = (Amount(1)..=Amount(1_000_000 * Amount::ZYNK.0)).contains(&self.min_deposit);
        let rules = [
            ("governance.min_deposit", deposit, "must be above zero and at most 1,000,000 ZYNK"),
            ("governance.deposit_ms", span(self.deposit_ms), "must be from one second to 90 days"),
            ("governance.voting_ms", span(self.voting_ms), "must be from one second to 90 days"),
            ("governance.quorum_bps", (1..=8_000).contains(&self.quorum_bps), "must be from 1 to 8,000"),
            ("governance.threshold_bps", (5_000..=9_000).contains(&self.threshold_bps), "must be from 5,000 to 9,000"),
            ("governance.veto_bps", (1_000..=10_000).contains(&self.veto_bps), "must be from 1,000 to 10,000"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, rule)) => Err(BadParam { name, rule }),
            None => Ok(()),
        }
    }
}
