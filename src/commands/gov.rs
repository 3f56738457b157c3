//! `zynk gov`: proposals, their deposits, votes, and the chain's parameters.

use clap::{Args, Subcommand, ValueEnum};
use ledger::Body;
use ledger::governance::docket::Docket;
use ledger::governance::{Change, Choice, Draft, Kind, Plan, Proposal, ProposalId, Stage, Tally};
use ledger::state::key;
use rpc::Proven;
use serde_json::{Value, json};
use types::{Amount, DecodeError, Height, List, Millis, Text};

use super::{included_json, proof_json, proven, send};
use crate::cli::{Connection, Signing};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put something to the holders of stake
    #[command(subcommand)]
    Submit(Submit),
    /// Add to a proposal's deposit; with enough, the voting begins
    #[command(after_help = "Example:\n  zynk gov deposit 1 --amount 50 --key me.key --genesis genesis.json")]
    Deposit {
        /// The proposal's number
        proposal: ProposalId,
        /// How much, such as 12.5
        #[arg(long)]
        amount: Amount,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        connection: Connection,
    },
    /// Vote, with all that the account has bonded
    #[command(after_help = "Example:\n  zynk gov vote 1 yes --key me.key --genesis genesis.json\n\n\
        The last vote before the end counts. Whoever does not vote is spoken for by the operators of its validators.")]
    Vote {
        /// The proposal's number
        proposal: ProposalId,
        /// The vote
        #[arg(value_enum)]
        choice: Answer,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove a proposal, its deposit and what came of it
    #[command(after_help = "Example:\n  zynk gov show 1 --genesis genesis.json")]
    Show {
        /// The proposal's number
        proposal: ProposalId,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove which proposals are open
    #[command(after_help = "Example:\n  zynk gov list --genesis genesis.json")]
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove the chain's parameters
    #[command(after_help = "Example:\n  zynk gov params --genesis genesis.json")]
    Params {
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Submit {
    /// A question; nothing follows but the answer
    #[command(after_help = "Example:\n  zynk gov submit text --title 'Meet in May?' --deposit 100 --key me.key --genesis genesis.json")]
    Text(Words),
    /// Other parameters, from the block after the vote on
    #[command(after_help = "Example:\n  zynk gov submit parameters --set byte_fee=20 --set stake.max_validators=80 \\\n    \
        --title 'Dearer bytes' --deposit 100 --key me.key --genesis genesis.json\n\n\
        Amounts are in micro-zynk, times in milliseconds: `zynk gov params --json` shows all by name.")]
    Parameters {
        /// A parameter and its new value; may be given often
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = change, required = true)]
        changes: Vec<Change>,
        #[command(flatten)]
        words: Words,
    },
    /// Another version of the program from a height on
    #[command(after_help = "Example:\n  zynk gov submit upgrade --name maple --app-version 2 --height 500000 \\\n    \
        --title 'Upgrade to maple' --deposit 100 --key me.key --genesis genesis.json")]
    Upgrade {
        /// What people call the upgrade
        #[arg(long)]
        name: String,
        /// The application's version from that height on
        #[arg(long, value_name = "N")]
        app_version: u64,
        /// The first height of that version
        #[arg(long)]
        height: u64,
        #[command(flatten)]
        words: Words,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Words {
    /// What it is called
    #[arg(long)]
    title: String,
    /// Why it should pass, or where to read that
    #[arg(long, value_name = "TEXT", default_value = "")]
    summary: String,
    /// What is deposited at once
    #[arg(long, value_name = "AMOUNT")]
    deposit: Amount,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Answer {
    /// It should pass
    Yes,
    /// It should not
    No,
    /// It should not, and the deposit should burn
    NoWithVeto,
    /// Counts for the quorum alone
    Abstain,
}

pub(crate) async fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Submit(submit) => submitted(submit).await,
        Command::Deposit { proposal, amount, signing, connection } => {
            let body = Body::Deposit { proposal, amount };
            send(&signing.load()?, &connection, body, &format!("deposited {amount} on proposal {proposal}")).await
        }
        Command::Vote { proposal, choice, signing, connection } => {
            let choice = match choice {
                Answer::Yes => Choice::Yes,
                Answer::No => Choice::No,
                Answer::NoWithVeto => Choice::NoWithVeto,
                Answer::Abstain => Choice::Abstain,
            };
            let done = format!("voted {} on proposal {proposal}", choice.name());
            send(&signing.load()?, &connection, Body::Vote { proposal, choice }, &done).await
        }
        Command::Show { proposal, connection } => show(proposal, &connection).await,
        Command::List { connection } => list(&connection).await,
        Command::Params { connection } => params(&connection).await,
    }
}

async fn submitted(submit: Submit) -> Result<Report, Failure> {
    let argument = |what| move |source: DecodeError| Failure::Argument { what, source };
    let (kind, words) = match submit {
        Submit::Text(words) => (Kind::Text, words),
        Submit::Parameters { changes, words } => (Kind::Parameters(List::try_from(changes).map_err(argument("--set"))?), words),
        Submit::Upgrade { name, app_version, height, words } => {
            let name = name.try_into().map_err(argument("--name"))?;
            (Kind::Upgrade(Plan { name, app_version, height: Height(height) }), words)
        }
    };
    let Words { title, summary, deposit, signing, connection } = words;
    let title: Text<128> = title.try_into().map_err(argument("--title"))?;
    let summary = summary.try_into().map_err(argument("--summary"))?;
    let draft = Draft { kind, title, summary, deposit };
    let mut chain = connection.open()?;
    let included = signing.load()?.submit(&mut chain, Body::SubmitProposal(Box::new(draft))).await?;
    // Others may submit in the same block; the node's list of events says which number is this one's.
    let number = chain.node().find(included.hash).await?.and_then(|found| found.attribute("submit_proposal", "proposal"));
    let mut json = included_json(&included);
    let named = number.as_ref().map_or_else(String::new, |number| format!(" {number}"));
    json["proposal"] = json!(number.and_then(|number| number.parse::<u64>().ok()));
    Ok(Report::new(format!("submitted proposal{named} with a deposit of {deposit}, in block {}", included.height), json))
}

async fn show(number: ProposalId, connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.read::<Proposal>(&key::proposal(number)).await?;
    let Some(proposal) = value else {
        let text = format!("there is no proposal {number}; {}", proven(&chain, &header));
        return Ok(Report::refuted(text, json!({"proposal": number, "found": false, "proof": proof_json(&chain, &header)})));
    };
    let mut json = describe(number, &proposal);
    json["proof"] = proof_json(&chain, &header);
    let wanted = match &proposal.kind {
        Kind::Text => "a question".to_owned(),
        Kind::Parameters(changes) => {
            changes.iter().map(|change| format!("{}={}", change.name, change.value)).collect::<Vec<_>>().join(", ")
        }
        Kind::Upgrade(plan) => format!("version {} ({}) from height {}", plan.app_version, plan.name, plan.height),
    };
    let summary = if proposal.summary.is_empty() { String::new() } else { format!("\n{}", proposal.summary) };
    let (title, proposer) = (&proposal.title, &proposal.proposer);
    let text = format!("proposal {number} of {proposer}: {title}\n{wanted}{summary}\n{}\n{}", standing(&proposal), proven(&chain, &header));
    Ok(Report::new(text, json))
}

async fn list(connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.read::<Docket>(key::OPEN_PROPOSALS).await?;
    let docket = value.unwrap_or_default();
    let (mut lines, mut values) = (String::new(), Vec::new());
    for open in docket.open.iter() {
        let Some(proposal) = chain.read::<Proposal>(&key::proposal(open.proposal)).await?.value else { continue };
        lines += &format!("{} ({}): {}; {}\n", open.proposal, proposal.kind.name(), proposal.title, standing(&proposal));
        values.push(describe(open.proposal, &proposal));
    }
    Ok(Report::new(
        format!("{lines}{} of {} proposals are open; {}", values.len(), docket.submitted, proven(&chain, &header)),
        json!({"open": values, "submitted": docket.submitted, "proof": proof_json(&chain, &header)}),
    ))
}

async fn params(connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.params().await?;
    let json = json!({"params": value, "proof": proof_json(&chain, &header)});
    let mut lines = String::new();
    flatten("", &json["params"], &mut lines);
    Ok(Report::new(format!("{lines}{}", proven(&chain, &header)), json))
}

/// Every parameter by the name under which a proposal changes it.
fn flatten(prefix: &str, value: &Value, lines: &mut String) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => flatten(&format!("{prefix}{name}."), value, lines),
            Value::String(text) => *lines += &format!("{prefix}{name}={text}{}\n", meaning(name, value)),
            value => *lines += &format!("{prefix}{name}={value}{}\n", meaning(name, value)),
        }
    }
}

/// What a parameter's number is to people; nothing where it is a plain count.
fn meaning(name: &str, value: &Value) -> String {
    const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")];
    match value {
        Value::String(text) => text.parse().map_or_else(|_| String::new(), |micro| format!(" ({})", Amount(micro))),
        _ if name.ends_with("_bps") => value.as_f64().map_or_else(String::new, |bps| format!(" ({} %)", bps / 100.0)),
        _ if name.ends_with("_ms") => {
            let whole = |ms: u64| UNITS.iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
            let unit = value.as_u64().and_then(|ms| whole(ms).map(|(unit, word)| (ms / unit, word)));
            unit.map_or_else(String::new, |(count, word)| format!(" ({count} {word})"))
        }
        _ => String::new(),
    }
}

fn standing(proposal: &Proposal) -> String {
    match proposal.stage {
        Stage::Depositing { until } => {
            format!("{} of {} deposited, until {}", proposal.deposited(), proposal.needed, until.rfc3339())
        }
        Stage::Voting { until } => format!("voted on until {}", until.rfc3339()),
        Stage::Expired => "over: its deposit did not come, or another took its place".to_owned(),
        Stage::Closed { verdict, tally } => {
            let Tally { votes, stake } = tally;
            let amount = |votes| Amount(votes);
            format!(
                "{}: yes {}, no {}, no with veto {}, abstain {} of {stake} bonded",
                verdict.name(),
                amount(votes.yes),
                amount(votes.no),
                amount(votes.no_with_veto),
                amount(votes.abstain),
            )
        }
    }
}

fn describe(number: ProposalId, proposal: &Proposal) -> Value {
    let (stage, until, tally) = match proposal.stage {
        Stage::Depositing { until } => ("depositing", Some(until), None),
        Stage::Voting { until } => ("voting", Some(until), None),
        Stage::Expired => ("expired", None, None),
        Stage::Closed { verdict, tally } => (verdict.name(), None, Some(tally)),
    };
    let tally = tally.map(|Tally { votes, stake }| {
        let [yes, no, veto, abstain] = [votes.yes, votes.no, votes.no_with_veto, votes.abstain].map(Amount);
        json!({"yes": yes, "no": no, "no_with_veto": veto, "abstain": abstain, "stake": stake})
    });
    let changes = match &proposal.kind {
        Kind::Text => Value::Null,
        Kind::Parameters(changes) => changes.iter().map(|change| json!({"name": change.name, "value": change.value})).collect(),
        Kind::Upgrade(plan) => json!({"name": plan.name, "app_version": plan.app_version, "height": plan.height}),
    };
    json!({
        "proposal": number,
        "found": true,
        "kind": proposal.kind.name(),
        "changes": changes,
        "title": proposal.title,
        "summary": proposal.summary,
        "proposer": proposal.proposer,
        "deposited": proposal.deposited(),
        "needed": proposal.needed,
        "stage": stage,
        "until": until.map(Millis::rfc3339),
        "tally": tally,
    })
}

fn change(text: &str) -> Result<Change, String> {
    let (name, value) = text.split_once('=').ok_or("a name, =, and a whole number")?;
    let name = name.to_owned().try_into().map_err(|error: DecodeError| error.to_string())?;
    Ok(Change { name, value: value.parse().map_err(|_| "the value is a whole number: amounts in micro-zynk, times in milliseconds")? })
}
