//! Counting votes, and what comes of them.

use types::Amount;

use super::params::GovernanceParams;
use super::proposal::{ProposalId, Verdict};
use super::votes::{self, Count};
use crate::params::Params;
use crate::stake;
use crate::state::State;

/// The whole, in hundredths of a percent.
const WHOLE_BPS: u64 = 10_000;

/// The votes on a proposal, in stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The stake behind each choice, in micro-zynk.
    pub votes: Count,
    /// All stake of the active set, whether or not it voted.
    pub stake: Amount,
}
types::codec!(Tally { votes, stake });

impl Tally {
    /// What these votes decide. The quorum is reached by so much; vetoes and yes must exceed theirs.
    #[must_use]
    pub fn verdict(&self, params: &GovernanceParams) -> Verdict {
        let turnout = self.votes.total();
        let opinions = turnout - self.votes.abstain;
        if turnout == 0 || times(turnout, WHOLE_BPS) < times(self.stake.0, params.quorum_bps.into()) {
            Verdict::QuorumMissed
        } else if times(self.votes.no_with_veto, WHOLE_BPS) > times(turnout, params.veto_bps.into()) {
            Verdict::Vetoed
        } else if times(self.votes.yes, WHOLE_BPS) > times(opinions, params.threshold_bps.into()) {
            Verdict::Passed
        } else {
            Verdict::Rejected
        }
    }
}

/// Counts the votes on a proposal as stake stands now. Whoever did not vote is spoken for by the
/// operators of the validators that its stake is bonded to, so far as these voted; stake outside the
/// active set does not count.
#[must_use]
pub fn count(state: &State<'_>, params: &Params, proposal: ProposalId) -> Tally {
    let mut tally = Tally::default();
    for address in stake::active(state) {
        let Some(validator) = stake::validator(state, &address).filter(|validator| validator.power(params) > 0) else {
            continue;
        };
        let mut shares = votes::ballots(state, &address).of(proposal);
        if let Some(choice) = votes::of(state, &validator.operator, proposal) {
            let silent = validator.shares.checked_sub(shares.total()).expect("nobody votes shares that a validator has not given");
            *shares.behind(choice) += silent;
        }
        tally.stake = tally.stake.checked_add(validator.bonded).expect("stake is part of the supply");
        for choice in votes::CHOICES {
            // Shares are worth what the validator has left now, whatever it lost during the vote.
            let worth = times(*shares.behind(choice), validator.bonded.0) / u128::from(validator.shares.max(1));
            *tally.votes.behind(choice) += u64::try_from(worth).expect("a part of the stake is at most the stake");
        }
    }
    tally
}

fn times(left: u64, right: u64) -> u128 {
    u128::from(left) * u128::from(right)
}
