//! Votes, and the shares behind them at each validator while stake moves.
//!
//! What an account votes and what is voted at a validator are one bounded entry each. Both follow
//! every move of shares, so counting walks the active validators and nobody else.

use types::{Address, Decode, DecodeError, Encode, List, Millis, Reader};

use super::docket::{Docket, MAX_OPEN};
use super::error::Error;
use super::proposal::ProposalId;
use crate::stake;
use crate::state::{State, key};

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// It should pass.
    Yes,
    /// It should not.
    No,
    /// It should not, and should never have been put: the deposit is to be burned.
    NoWithVeto,
    /// Counts for the quorum alone.
    Abstain,
}

/// Every choice, at the place of its tag.
pub const CHOICES: [Choice; 4] = [Choice::Yes, Choice::No, Choice::NoWithVeto, Choice::Abstain];

/// So much behind each choice: shares of a validator, or stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Behind [`Choice::Yes`].
    pub yes: u64,
    /// Behind [`Choice::No`].
    pub no: u64,
    /// Behind [`Choice::NoWithVeto`].
    pub no_with_veto: u64,
    /// Behind [`Choice::Abstain`].
    pub abstain: u64,
}
types::codec!(Count { yes, no, no_with_veto, abstain });

/// What an account has voted; what is no longer open counts for nothing.
pub type Votes = List<Vote, MAX_OPEN>;

/// An account's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// On what.
    pub proposal: ProposalId,
    /// What it is.
    pub choice: Choice,
}
types::codec!(Vote { proposal, choice });

/// The shares of a validator that were voted by those who hold them; what is no longer open counts
/// for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ballots {
    ballots: List<Ballot, MAX_OPEN>,
}
types::codec!(Ballots { ballots });

/// One proposal's part of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ballot {
    proposal: ProposalId,
    shares: Count,
}
types::codec!(Ballot { proposal, shares });

/// What an account has voted on an open proposal.
#[must_use]
pub fn of(state: &State<'_>, voter: &Address, proposal: ProposalId) -> Option<Choice> {
    votes(state, voter).iter().find(|vote| vote.proposal == proposal).map(|vote| vote.choice)
}

/// The shares of a validator that were voted by those who hold them.
#[must_use]
pub fn ballots(state: &State<'_>, validator: &Address) -> Ballots {
    state.read(&key::ballots(validator)).unwrap_or_default()
}

/// Votes with all that `voter` has bonded, now and until the end, instead of what it voted before.
///
/// # Errors
/// [`Error::UnknownProposal`] and [`Error::NotVoting`].
pub fn vote(state: &mut State<'_>, now: Millis, voter: &Address, proposal: ProposalId, choice: Choice) -> Result<(), Error> {
    let docket = Docket::read(state);
    docket.voting(proposal, now)?;
    let mut votes = votes(state, voter);
    votes.retain(|vote| docket.holds(vote.proposal));
    let former = match votes.iter_mut().find(|vote| vote.proposal == proposal) {
        Some(vote) => Some(std::mem::replace(&mut vote.choice, choice)),
        None => {
            votes.push(Vote { proposal, choice }).expect("no more votes than open proposals");
            None
        }
    };
    state.write(key::votes(voter), &votes);
    for (validator, shares) in stake::delegations(state, voter) {
        let mut ballots = ballots(state, &validator);
        if let Some(former) = former {
            ballots.shift(&docket, proposal, former, shares, 0);
        }
        ballots.shift(&docket, proposal, choice, 0, shares);
        state.write(key::ballots(&validator), &ballots);
    }
    Ok(())
}

/// Follows an account whose shares at a validator went from `before` to `after`, in the votes that it
/// has given on what is still open.
pub fn shares_moved(state: &mut State<'_>, delegator: &Address, validator: &Address, before: u64, after: u64) {
    let votes = votes(state, delegator);
    if before == after || votes.is_empty() {
        return;
    }
    let docket = Docket::read(state);
    let mut ballots = ballots(state, validator);
    for vote in votes.iter().filter(|vote| docket.holds(vote.proposal)) {
        ballots.shift(&docket, vote.proposal, vote.choice, before, after);
    }
    state.write(key::ballots(validator), &ballots);
}

fn votes(state: &State<'_>, voter: &Address) -> Votes {
    state.read(&key::votes(voter)).unwrap_or_default()
}

impl Ballots {
    /// The shares behind each choice on a proposal.
    #[must_use]
    pub fn of(&self, proposal: ProposalId) -> Count {
        self.ballots.iter().find(|ballot| ballot.proposal == proposal).map(|ballot| ballot.shares).unwrap_or_default()
    }

    /// Makes `before` shares behind a choice `after`; what is no longer open makes room.
    fn shift(&mut self, docket: &Docket, proposal: ProposalId, choice: Choice, before: u64, after: u64) {
        self.ballots.retain(|ballot| docket.holds(ballot.proposal));
        if !self.ballots.iter().any(|ballot| ballot.proposal == proposal) {
            self.ballots.push(Ballot { proposal, shares: Count::default() }).expect("no more ballots than open proposals");
        }
        let ballot = self.ballots.iter_mut().find(|ballot| ballot.proposal == proposal).expect("it was put there if it was not");
        let shares = ballot.shares.behind(choice);
        *shares =
            shares.checked_sub(before).and_then(|rest| rest.checked_add(after)).expect("a ballot counts the shares that stand behind it");
    }
}

impl Count {
    /// What is behind a choice.
    pub const fn behind(&mut self, choice: Choice) -> &mut u64 {
        match choice {
            Choice::Yes => &mut self.yes,
            Choice::No => &mut self.no,
            Choice::NoWithVeto => &mut self.no_with_veto,
            Choice::Abstain => &mut self.abstain,
        }
    }

    /// All of it. The parts are of one whole that fits, so their sum does.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.yes + self.no + self.no_with_veto + self.abstain
    }
}

impl Choice {
    /// Its name in events and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::NoWithVeto => "no_with_veto",
            Self::Abstain => "abstain",
        }
    }
}

impl Encode for Choice {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

impl Decode for Choice {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = u8::decode(reader)?;
        CHOICES.get(usize::from(found)).copied().ok_or(DecodeError::Tag { what: "vote", found })
    }
}
