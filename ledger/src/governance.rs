//! Governance: proposals, the deposits that pay for them, the votes of stake, and what passes
//! (`docs/spec/governance.md`).
//!
//! A proposal waits for its deposit ([`deposits`]), is voted on ([`votes`]), and at its end counted
//! ([`tally`]) and carried out: other [`parameters`] from the next block on, or an [`upgrade`].
//! What is open stands on the [`docket`]; all that is done per block or per move of stake is bounded by it.

pub mod deposits;
pub mod docket;
pub mod error;
pub mod parameters;
pub mod params;
pub mod proposal;
pub mod tally;
pub mod upgrade;
pub mod votes;

use tendermint::abci::Event;
use types::{Address, Amount, Millis};

pub use error::Error;
pub use params::GovernanceParams;
pub use proposal::{Change, Deposit, Draft, Kind, Plan, Proposal, ProposalId, Stage, Verdict};
pub use tally::Tally;
pub use votes::{Choice, shares_moved};

use crate::block::{Block, event};
use crate::error::Refusal;
use crate::params::Params;
use crate::state::{State, key};
use docket::{Docket, Open};

/// Reads a proposal.
#[must_use]
pub fn read(state: &State<'_>, id: ProposalId) -> Option<Proposal> {
    state.read(&key::proposal(id))
}

/// Submits a proposal with its first deposit.
///
/// # Errors
/// [`Refusal::Governance`] and [`Refusal::InsufficientFunds`].
pub fn submit(state: &mut State<'_>, params: &Params, block: Block<'_>, proposer: &Address, draft: &Draft) -> Result<Vec<Event>, Refusal> {
    if draft.title.is_empty() {
        return Err(Error::Empty("title").into());
    }
    match &draft.kind {
        Kind::Text => {}
        Kind::Parameters(changes) => drop(parameters::changed(params, changes)?),
        Kind::Upgrade(plan) => upgrade::check(state, block.height, plan)?,
    }
    let mut docket = Docket::read(state);
    let until = after(block.time, params.governance.deposit_ms);
    let mut events = Vec::new();
    if docket.is_full() && draft.deposit >= params.governance.min_deposit {
        events.extend(displace(state, &mut docket));
    }
    let id = docket.admit(until)?;
    docket.write(state);
    let mut proposal = Proposal {
        proposer: *proposer,
        kind: draft.kind.clone(),
        title: draft.title.clone(),
        summary: draft.summary.clone(),
        submitted: block.time,
        needed: params.governance.min_deposit,
        deposits: types::List::default(),
        stage: Stage::Depositing { until },
    };
    events.push(event(
        "submit_proposal",
        [("proposal", id.to_string()), ("proposer", proposer.to_string()), ("kind", draft.kind.name().to_owned())],
    ));
    let least = deposits::least_at_first(&proposal);
    events.extend(pay(state, params, block, proposer, (id, &mut proposal), (draft.deposit, least))?);
    Ok(events)
}

/// Adds to a proposal's deposit.
///
/// # Errors
/// [`Refusal::Governance`] and [`Refusal::InsufficientFunds`].
pub fn deposit(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    depositor: &Address,
    id: ProposalId,
    amount: Amount,
) -> Result<Vec<Event>, Refusal> {
    Docket::read(state).depositing(id, block.time)?;
    let mut proposal = read(state, id).expect("what is open is in the state");
    let least = deposits::least(&proposal);
    pay(state, params, block, depositor, (id, &mut proposal), (amount, least))
}

/// Votes, instead of what was voted before.
///
/// # Errors
/// [`Refusal::Governance`].
pub fn vote(state: &mut State<'_>, block: Block<'_>, voter: &Address, id: ProposalId, choice: Choice) -> Result<Vec<Event>, Refusal> {
    votes::vote(state, block.time, voter, id, choice)?;
    Ok(vec![event("proposal_vote", [("proposal", id.to_string()), ("voter", voter.to_string()), ("choice", choice.name().to_owned())])])
}

/// Ends what is due at the end of a block: deposits that did not come, votes that are over, the
/// version before an upgrade. What happened, and the version of the next header where it changes.
/// Where nothing is due, nothing is written.
pub fn end_block(state: &mut State<'_>, params: &Params, block: Block<'_>) -> (Vec<Event>, Option<u64>) {
    let mut docket = Docket::read(state);
    let due = docket.due(block.time);
    let mut events = Vec::new();
    if !due.is_empty() {
        docket.write(state);
        events.extend(due.into_iter().map(|open| close(state, params, block, open)));
    }
    let reached = upgrade::reach(state, block.height);
    if let Some(plan) = &reached {
        let (version, height) = (plan.app_version.to_string(), plan.height.to_string());
        events.push(event("upgrade", [("name", plan.name.to_string()), ("version", version), ("height", height)]));
    }
    (events, reached.map(|plan| plan.app_version))
}

/// Takes a deposit of an amount that is at least another; the voting begins when it completes what is needed.
fn pay(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    depositor: &Address,
    (id, proposal): (ProposalId, &mut Proposal),
    (amount, least): (Amount, Amount),
) -> Result<Vec<Event>, Refusal> {
    deposits::take(state, proposal, depositor, amount, least)?;
    let told = [("proposal", id.to_string()), ("depositor", depositor.to_string()), ("amount", amount.0.to_string())];
    let mut events = vec![event("proposal_deposit", told)];
    if proposal.deposited() >= proposal.needed {
        let until = after(block.time, params.governance.voting_ms);
        let mut docket = Docket::read(state);
        docket.begin_voting(id, until);
        docket.write(state);
        proposal.stage = Stage::Voting { until };
        events.push(event("active_proposal", [("proposal", id.to_string()), ("until", until.to_string())]));
    }
    state.write(key::proposal(id), proposal);
    Ok(events)
}

/// Ends the proposal that waits with the least deposit, the oldest of several, for one that brings all of its own. Else a few
/// quarters of a deposit would keep everybody from asking anything.
fn displace(state: &mut State<'_>, docket: &mut Docket) -> Option<Event> {
    let waiting = docket.open.iter().filter(|open| !open.voting).map(|open| open.proposal);
    let deposited = waiting.map(|id| (read(state, id).expect("what is open is in the state"), id));
    let (mut proposal, id) = deposited.min_by_key(|(proposal, _)| proposal.deposited())?;
    docket.open.retain(|open| open.proposal != id);
    proposal.stage = Stage::Expired;
    deposits::give_back(state, &mut proposal);
    state.write(key::proposal(id), &proposal);
    Some(inactive(id, "displaced"))
}

/// Ends a proposal that is due, and carries it out if it passed.
fn close(state: &mut State<'_>, params: &Params, block: Block<'_>, open: Open) -> Event {
    let mut proposal = read(state, open.proposal).expect("what is open is in the state");
    let (result, returned) = if open.voting {
        let tally = tally::count(state, params, open.proposal);
        let verdict = match tally.verdict(&params.governance) {
            Verdict::Passed if carry_out(state, block, &proposal.kind).is_err() => Verdict::Failed,
            verdict => verdict,
        };
        proposal.stage = Stage::Closed { verdict, tally };
        (verdict.name(), verdict.returns_deposit())
    } else {
        proposal.stage = Stage::Expired;
        ("expired", false)
    };
    if returned {
        deposits::give_back(state, &mut proposal);
    } else {
        deposits::burn(state, &mut proposal);
    }
    state.write(key::proposal(open.proposal), &proposal);
    inactive(open.proposal, result)
}

fn inactive(id: ProposalId, result: &str) -> Event {
    event("inactive_proposal", [("proposal", id.to_string()), ("result", result.to_owned())])
}

/// Does what a proposal asked for, if that is still possible.
fn carry_out(state: &mut State<'_>, block: Block<'_>, kind: &Kind) -> Result<(), Error> {
    match kind {
        Kind::Text => {}
        Kind::Parameters(changes) => {
            // Not those of the block: another proposal may have changed them at the same end.
            let params = parameters::changed(&crate::block::params(state), changes)?;
            state.write(key::PARAMS.to_vec(), &params);
        }
        Kind::Upgrade(plan) => {
            upgrade::check(state, block.height, plan)?;
            upgrade::plan(state, plan);
        }
    }
    Ok(())
}

fn after(time: Millis, span_ms: u64) -> Millis {
    Millis(time.0.saturating_add(span_ms))
}
