//! `zynk stake`: put tokens behind validators, take them back, and what they earned.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::Body;
use ledger::stake::delegation::{Delegation, Validators};
use ledger::stake::unbonding::{Numbers, Unbonding};
use ledger::stake::{Validator, rewards};
use ledger::state::key;
use rpc::Proven;
use serde_json::json;
use types::{Address, Amount};

use super::{account_key, proof_json, proven, send, time_text};
use crate::cli::{Connection, Signing};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bond tokens to a validator
    #[command(after_help = "Example:\n  zynk stake delegate 40HEXDIGITS --amount 10 --key me.key --genesis genesis.json")]
    Delegate(Move),
    /// Take stake back; it is in the balance after the unbonding period
    #[command(after_help = "Example:\n  zynk stake undelegate 40HEXDIGITS --amount 10 --key me.key --genesis genesis.json")]
    Undelegate(Move),
    /// Move stake from one validator to another
    #[command(
        after_help = "Example:\n  zynk stake redelegate 40HEXDIGITS --to 40HEXDIGITS --amount 10 --key me.key --genesis genesis.json\n\n\
        It answers for the validator that it left until the unbonding period is over."
    )]
    Redelegate {
        #[command(flatten)]
        step: Move,
        /// The validator that it goes to
        #[arg(long, value_name = "VALIDATOR")]
        to: Address,
    },
    /// Pay out what stake at a validator has earned, and the commission to its operator
    #[command(after_help = "Example:\n  zynk stake withdraw 40HEXDIGITS --key me.key --genesis genesis.json")]
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
        /// The account; that of --key unless given
        #[arg(required_unless_present = "key")]
        account: Option<Address>,
        /// A key file, in place of an address
        #[arg(long, env = "ZYNK_KEY", value_name = "FILE")]
        key: Option<PathBuf>,
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
            send(&signing.load()?, &connection, body, &format!("{amount} leave {validator} and wait for the unbonding period")).await
        }
        Command::Redelegate { step: Move { validator: from, amount, signing, connection }, to } => {
            let body = Body::Redelegate { from, to, amount };
            send(&signing.load()?, &connection, body, &format!("moved {amount} from {from} to {to}")).await
        }
        Command::Withdraw { validator, signing, connection } => {
            let body = Body::WithdrawRewards { validator };
            send(&signing.load()?, &connection, body, &format!("withdrew what {validator} has earned for this account")).await
        }
        Command::Show { account, key, connection } => {
            let account = match (account, &key) {
                (Some(account), _) => account,
                (None, Some(path)) => account_key(path)?.public().address(),
                (None, None) => unreachable!("one of both is required"),
            };
            show(&account, &connection).await
        }
    }
}

async fn show(account: &Address, connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.read::<Validators>(&key::delegations(account)).await?;
    let (mut lines, mut bonded, mut returning) = (String::new(), Vec::new(), Vec::new());
    for validator in value.unwrap_or_default().iter() {
        let delegation = chain.read::<Delegation>(&key::delegation(account, validator)).await?.value.unwrap_or_default();
        let Some(record) = chain.read::<Validator>(&key::stake(validator)).await?.value else { continue };
        let (worth, owed) = (record.worth(delegation.shares), rewards::owed(&record.earned, &delegation, delegation.shares));
        lines += &format!("{worth} at {validator} ({}), {owed} earned since\n", record.moniker);
        bonded.push(
            json!({"validator": validator, "moniker": record.moniker, "amount": worth, "shares": delegation.shares, "rewards": owed}),
        );
    }
    for number in chain.read::<Numbers>(&key::unbondings(account)).await?.value.unwrap_or_default().iter() {
        let Some(unbonding) = chain.read::<Unbonding>(&key::unbonding(*number)).await?.value else { continue };
        let Unbonding { validator, amount, completes, .. } = unbonding;
        lines += &format!("{amount} on its way back from {validator}, there at {}\n", time_text(completes));
        returning.push(json!({"validator": validator, "amount": amount, "completes": time_text(completes)}));
    }
    Ok(Report::new(
        format!("{lines}{account} has stake at {} validators; {}", bonded.len(), proven(&chain, &header)),
        json!({"account": account, "delegations": bonded, "unbonding": returning, "proof": proof_json(&chain, &header)}),
    ))
}
