//! `zynk stake`: put tokens behind validators, take them back, and what they earned.

use clap::{Args, Subcommand};
use ledger::Body;
use ledger::stake::delegation::{Delegation, Validators};
use ledger::stake::unbonding::{Numbers, Unbonding};
use ledger::stake::{Validator, rewards};
use ledger::state::key;
use rpc::Proven;
use serde_json::json;
use types::{Address, Amount};

use super::{included_json, proof_json, proven, send};
use crate::cli::{Connection, Signing, Whose};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bond tokens to a validator
    #[command(after_help = "Example:\n  zynk stake delegate zynk1… --amount 10 --key me.key --genesis genesis.json")]
    Delegate(Move),
    /// Take stake back; it is in the balance after the unbonding period
    #[command(after_help = "Example:\n  zynk stake undelegate zynk1… --amount 10 --key me.key --genesis genesis.json")]
    Undelegate(Move),
    /// Move stake from one validator to another
    #[command(after_help = "Example:\n  zynk stake redelegate zynk1… --to zynk1… --amount 10 --key me.key --genesis genesis.json\n\n\
        It answers for the validator that it left until the unbonding period is over.")]
    Redelegate {
        #[command(flatten)]
        step: Move,
        /// The validator that it goes to
        #[arg(long, value_name = "VALIDATOR")]
        to: Address,
    },
    /// Pay out what stake at a validator has earned, and the commission to its operator
    #[command(after_help = "Example:\n  zynk stake withdraw zynk1… --key me.key --genesis genesis.json")]
    Withdraw {
        /// The validator: the address of its consensus key
        validator: Address,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove where an account's stake is, what it has earned, and what is on its way back
    #[command(after_help = "Example:\n  zynk stake show --key me.key --genesis genesis.json")]
    Show {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The validator: the address of its consensus key
    validator: Address,
    /// How much, such as 12.5
    #[arg(long)]
    amount: Amount,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Delegate(Move { validator, amount, signing, connection }) => {
            let body = Body::Delegate { validator, amount };
            send(&signing.load()?, &connection, body, &format!("bonded {amount} to {validator}")).await
        }
        Command::Undelegate(Move { validator, amount, signing, connection }) => {
            let body = Body::Undelegate { validator, amount };
            let done = format!("{amount} leave {validator} for the unbonding period (`zynk stake show` says until when)");
            send(&signing.load()?, &connection, body, &done).await
        }
        Command::Redelegate { step: Move { validator: from, amount, signing, connection }, to } => {
            let body = Body::Redelegate { from, to, amount };
            send(&signing.load()?, &connection, body, &format!("moved {amount} from {from} to {to}")).await
        }
        Command::Withdraw { validator, signing, connection } => withdraw(validator, &signing, &connection).await,
        Command::Show { whose, connection } => show(&whose.address()?, &connection).await,
    }
}

async fn withdraw(validator: Address, signing: &Signing, connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let included = signing.load()?.submit(&mut chain, Body::WithdrawRewards { validator }).await?;
    // How much it was stands in the node's list of events only.
    let found = chain.node().find(included.hash).await?;
    let paid = |name| found.as_ref()?.attribute("withdraw_rewards", name)?.parse().ok().map(Amount);
    let (rewards, commission) = (paid("rewards"), paid("amount"));
    let mut json = included_json(&included);
    (json["rewards"], json["commission"]) = (json!(rewards), json!(commission));
    let [rewards, commission] = [rewards, commission].map(|paid| paid.map_or_else(|| "unknown".to_owned(), |paid| paid.to_string()));
    Ok(Report::new(format!("withdrew from {validator} rewards {rewards}, commission {commission}, in block {}", included.height), json))
}

async fn show(account: &Address, connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.read::<Validators>(&key::delegations(account)).await?;
    let (mut lines, mut bonded, mut returning) = (String::new(), Vec::new(), Vec::new());
    let (mut at_work, mut on_its_way) = (Amount::ZERO, Amount::ZERO);
    for validator in value.unwrap_or_default().iter() {
        let delegation = chain.read::<Delegation>(&key::delegation(account, validator)).await?.value.unwrap_or_default();
        let Some(record) = chain.read::<Validator>(&key::stake(validator)).await?.value else { continue };
        let (worth, owed) = (record.worth(delegation.shares), rewards::owed(&record.earned, &delegation, delegation.shares));
        lines += &format!("{worth} at {validator} ({}), {owed} earned since\n", record.moniker);
        at_work.0 += worth.0;
        bonded.push(
            json!({"validator": validator, "moniker": record.moniker, "amount": worth, "shares": delegation.shares, "rewards": owed}),
        );
    }
    for number in chain.read::<Numbers>(&key::unbondings(account)).await?.value.unwrap_or_default().iter() {
        let Some(unbonding) = chain.read::<Unbonding>(&key::unbonding(*number)).await?.value else { continue };
        let Unbonding { validator, amount, completes, .. } = unbonding;
        lines += &format!("{amount} on its way back from {validator}, there at {}\n", completes.rfc3339());
        on_its_way.0 += amount.0;
        returning.push(json!({"validator": validator, "amount": amount, "completes": completes.rfc3339()}));
    }
    Ok(Report::new(
        format!("{lines}{account} has {at_work} at stake, {on_its_way} on its way back; {}", proven(&chain, &header)),
        json!({"account": account, "delegations": bonded, "unbonding": returning, "proof": proof_json(&chain, &header)}),
    ))
}
