//! Proposals: what somebody asks the holders of stake to decide, and how far that has come.

use types::{Address, Amount, Decode, DecodeError, Encode, Height, List, Millis, Reader, Text};

use super::tally::Tally;

/// At most this many parameters are changed by one proposal.
pub const MAX_CHANGES: usize = 16;

/// At most this many people pay for one proposal. Each pays at least this part of what is needed,
/// so a list that is full is a deposit that is complete.
pub const MAX_DEPOSITORS: usize = 32;

/// A proposal's number, from 1 in the order of submission.
pub type ProposalId = u64;

/// What a transaction submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What happens if it passes.
    pub kind: Kind,
    /// What it is called; not empty.
    pub title: Text<128>,
    /// Why it should pass, or where to read that.
    pub summary: Text<1024>,
    /// What the proposer deposits, at least a quarter of the minimum.
    pub deposit: Amount,
}
types::codec!(Draft { kind, title, summary, deposit });

/// What happens if a proposal passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the vote itself is the point.
    Text,
    /// Parameters of the chain change, from the next block on.
    Parameters(List<Change, MAX_CHANGES>),
    /// Nodes of the present version stop before a height, and those of another go on.
    Upgrade(Plan),
}

/// One parameter's new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, with its group's before a dot: `base_fee`, `governance.voting_ms`.
    pub name: Text<64>,
    /// Its value, in its own unit.
    pub value: u64,
}
types::codec!(Change { name, value });

/// An upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What people call it; not empty.
    pub name: Text<64>,
    /// The application's version from `height` on, above the present one.
    pub app_version: u64,
    /// The first height of that version.
    pub height: Height,
}
types::codec!(Plan { name, app_version, height });

/// A proposal, as the state keeps it. At most some 3.5 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who submitted it.
    pub proposer: Address,
    /// What happens if it passes.
    pub kind: Kind,
    /// What it is called.
    pub title: Text<128>,
    /// Why it should pass.
    pub summary: Text<1024>,
    /// The time of the block that took it.
    pub submitted: Millis,
    /// The deposit at which its voting begins, as the parameters were when it was submitted.
    pub needed: Amount,
    /// Who has deposited what; empty when the proposal is closed.
    pub deposits: List<Deposit, MAX_DEPOSITORS>,
    /// How far it has come.
    pub stage: Stage,
}
types::codec!(Proposal { proposer, kind, title, summary, submitted, needed, deposits, stage });

/// What somebody has deposited on a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// Who.
    pub depositor: Address,
    /// How much in all.
    pub amount: Amount,
}
types::codec!(Deposit { depositor, amount });

/// How far a proposal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for its deposit.
    Depositing {
        /// Until this block time.
        until: Millis,
    },
    /// It is voted on.
    Voting {
        /// Until this block time.
        until: Millis,
    },
    /// It is over: the deposit did not come, or another proposal that brought all of its own took the place.
    Expired,
    /// It is over: votes were counted.
    Closed {
        /// What came of it.
        verdict: Verdict,
        /// The votes.
        tally: Tally,
    },
}

/// What came of a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed, and was carried out. The deposit went back.
    Passed,
    /// It had no majority. The deposit went back.
    Rejected,
    /// Too little of the stake voted. The deposit was burned.
    QuorumMissed,
    /// Too many vetoed it. The deposit was burned.
    Vetoed,
    /// It passed, but what it asked for was no longer possible. The deposit went back.
    Failed,
}

impl Proposal {
    /// What was deposited in all.
    #[must_use]
    pub fn deposited(&self) -> Amount {
        Amount(self.deposits.iter().map(|deposit| deposit.amount.0).sum())
    }
}

impl Kind {
    /// Its name in events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Parameters(_) => "parameters",
            Self::Upgrade(_) => "upgrade",
        }
    }
}

impl Verdict {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Rejected => "rejected",
            Self::QuorumMissed => "quorum_missed",
            Self::Vetoed => "vetoed",
            Self::Failed => "failed",
        }
    }

    /// Whether the deposit goes back.
    #[must_use]
    pub const fn returns_deposit(self) -> bool {
        matches!(self, Self::Passed | Self::Rejected | Self::Failed)
    }
}

impl Encode for Kind {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text => out.push(0),
            Self::Parameters(changes) => {
                out.push(1);
                changes.encode(out);
            }
            Self::Upgrade(plan) => {
                out.push(2);
                plan.encode(out);
            }
        }
    }
}

impl Decode for Kind {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Text,
            1 => Self::Parameters(Decode::decode(reader)?),
            2 => Self::Upgrade(Decode::decode(reader)?),
            found => return Err(DecodeError::Tag { what: "proposal", found }),
        })
    }
}

impl Encode for Stage {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Depositing { until } => {
                out.push(0);
                until.encode(out);
            }
            Self::Voting { until } => {
                out.push(1);
                until.encode(out);
            }
            Self::Expired => out.push(2),
            Self::Closed { verdict, tally } => {
                out.push(3);
                verdict.encode(out);
                tally.encode(out);
            }
        }
    }
}

impl Decode for Stage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Depositing { until: Decode::decode(reader)? },
            1 => Self::Voting { until: Decode::decode(reader)? },
            2 => Self::Expired,
            3 => Self::Closed { verdict: Decode::decode(reader)?, tally: Decode::decode(reader)? },
            found => return Err(DecodeError::Tag { what: "proposal stage", found }),
        })
    }
}

const VERDICTS: [Verdict; 5] = [Verdict::Passed, Verdict::Rejected, Verdict::QuorumMissed, Verdict::Vetoed, Verdict::Failed];

impl Encode for Verdict {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

impl Decode for Verdict {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = u8::decode(reader)?;
        VERDICTS.get(usize::from(found)).copied().ok_or(DecodeError::Tag { what: "verdict", found })
    }
}
