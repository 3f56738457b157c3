//! What is open: a bounded list of proposals and when each is due, so that a block in which nothing
//! is due finds that out by one read, and writes nothing.

use types::{List, Millis};

use super::error::Error;
use super::proposal::ProposalId;
use crate::state::{State, key};

/// At most this many proposals are open at a time: so many votes follow an account's shares.
pub const MAX_OPEN: usize = 16;

/// The open proposals, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Docket {
    /// How many proposals there have ever been.
    pub submitted: u64,
    /// Those that are open.
    pub open: List<Open, MAX_OPEN>,
}
types::codec!(Docket { submitted, open });

/// An open proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub proposal: ProposalId,
    /// Whether it is voted on; otherwise it waits for its deposit.
    pub voting: bool,
    /// From this block time on it is over.
    pub until: Millis,
}
types::codec!(Open { proposal, voting, until });

impl Docket {
    /// Reads it; empty before the first proposal.
    #[must_use]
    pub fn read(state: &State<'_>) -> Self {
        state.read(key::OPEN_PROPOSALS).unwrap_or_default()
    }

    /// Writes it.
    pub fn write(&self, state: &mut State<'_>) {
        state.write(key::OPEN_PROPOSALS.to_vec(), self);
    }

    /// Whether as many are open as there may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.len() == MAX_OPEN
    }

    /// The number of a new proposal, which waits for its deposit until `until`.
    ///
    /// # Errors
    /// [`Error::TooManyOpen`].
    pub fn admit(&mut self, until: Millis) -> Result<ProposalId, Error> {
        let proposal = self.submitted + 1;
        self.open.push(Open { proposal, voting: false, until }).map_err(|_| Error::TooManyOpen { bound: MAX_OPEN })?;
        self.submitted = proposal;
        Ok(proposal)
    }

    /// Asks whether a proposal waits for its deposit at `now`.
    ///
    /// # Errors
    /// [`Error::UnknownProposal`] and [`Error::NotDepositing`].
    pub fn depositing(&self, proposal: ProposalId, now: Millis) -> Result<(), Error> {
        let found = self.find(proposal)?.filter(|open| !open.voting && now < open.until);
        found.map(|_| ()).ok_or(Error::NotDepositing(proposal))
    }

    /// Asks whether a proposal is voted on at `now`.
    ///
    /// # Errors
    /// [`Error::UnknownProposal`] and [`Error::NotVoting`].
    pub fn voting(&self, proposal: ProposalId, now: Millis) -> Result<(), Error> {
        let found = self.find(proposal)?.filter(|open| open.voting && now < open.until);
        found.map(|_| ()).ok_or(Error::NotVoting(proposal))
    }

    /// Lets the voting on an open proposal begin, until `until`.
    pub fn begin_voting(&mut self, proposal: ProposalId, until: Millis) {
        for open in self.open.iter_mut().filter(|open| open.proposal == proposal) {
            (open.voting, open.until) = (true, until);
        }
    }

    /// Takes out what is over at `now`.
    #[must_use]
    pub fn due(&mut self, now: Millis) -> Vec<Open> {
        let due = self.open.iter().filter(|open| open.until <= now).copied().collect();
        self.open.retain(|open| now < open.until);
        due
    }

    /// Whether a proposal is open.
    #[must_use]
    pub fn holds(&self, proposal: ProposalId) -> bool {
        self.open.iter().any(|open| open.proposal == proposal)
    }

    fn find(&self, proposal: ProposalId) -> Result<Option<&Open>, Error> {
        if !(1..=self.submitted).contains(&proposal) {
            return Err(Error::UnknownProposal(proposal));
        }
        Ok(self.open.iter().find(|open| open.proposal == proposal))
    }
}
