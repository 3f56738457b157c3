//! `zynk tx`: tokens, fees and transactions.

use clap::{Args, Subcommand};
use ledger::Body;
use rpc::Node;
use serde_json::json;
use types::{Address, Amount, DecodeError, Hash, Height};

use super::{included_json, proof_json, proven, send};
use crate::cli::{Connection, Signing, Whose};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prove an account's balance
    #[command(after_help = "Example:\n  zynk tx balance zynk1… --genesis genesis.json")]
    Balance(Balance),
    /// Move tokens to another account
    #[command(after_help = "Example:\n  zynk tx transfer --to zynk1… --amount 12.5 --key me.key --genesis genesis.json")]
    Transfer(Transfer),
    /// Let another account spend on fees at your cost; 0 takes it back
    #[command(after_help = "Example:\n  zynk tx allow --beneficiary zynk1… --limit 1 --key me.key --genesis genesis.json")]
    Allow(Allow),
    /// Ask the node what became of a transaction
    #[command(after_help = "Example:\n  zynk tx status 64HEXDIGITS\n\n\
        This is the node's word. What the transaction did, `zynk tx balance` or `zynk did resolve` prove.")]
    Status {
        /// The transaction's hash
        hash: Hash,
        /// The RPC of a node
        #[arg(long, env = "ZYNK_NODE", value_name = "URL", default_value = "http://127.0.0.1:26657")]
        node: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Balance {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The receiving account
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
    /// How much, such as 12.5
    #[arg(long)]
    amount: Amount,
    /// A public remark of at most 128 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    memo: String,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Allow {
    /// Who may spend
    #[arg(long, value_name = "ADDRESS")]
    beneficiary: Address,
    /// How much in all, from now on; 0 takes the allowance back
    #[arg(long, value_name = "AMOUNT")]
    limit: Amount,
    /// For how many blocks
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    blocks: u64,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Balance(arguments) => balance(arguments).await,
        Command::Transfer(arguments) => transfer(arguments).await,
        Command::Allow(arguments) => allow(arguments).await,
        Command::Status { hash, node } => status(hash, &node).await,
    }
}

async fn balance(arguments: Balance) -> Result<Report, Failure> {
    let address = arguments.whose.address()?;
    let mut chain = arguments.connection.open()?;
    let account = chain.account(&address).await?;
    let (balance, sequence) = (account.value.balance, account.value.sequence);
    Ok(Report::new(
        format!("{address} has {balance} and has sent {sequence} transactions; {}", proven(&chain, &account.header)),
        json!({"address": address, "balance": balance, "sequence": sequence, "proof": proof_json(&chain, &account.header)}),
    ))
}

async fn transfer(arguments: Transfer) -> Result<Report, Failure> {
    let Transfer { to, amount, memo, signing, connection } = arguments;
    let argument = |source: DecodeError| Failure::Argument { what: "--memo", source };
    let body = Body::Transfer { to, amount, memo: memo.try_into().map_err(argument)? };
    let signers = signing.load()?;
    send(&signers, &connection, body, &format!("moved {amount} to {to}")).await
}

async fn allow(arguments: Allow) -> Result<Report, Failure> {
    let Allow { beneficiary, limit, blocks, signing, connection } = arguments;
    let signers = signing.load()?;
    let mut chain = connection.open()?;
    let expires = Height(chain.latest().await?.height().0.saturating_add(blocks));
    let included = signers.submit(&mut chain, Body::Allow { beneficiary, limit, expires }).await?;
    let done = if limit == Amount::ZERO {
        format!("took back the allowance of {beneficiary}")
    } else {
        format!("{beneficiary} may spend {limit} on fees until height {expires}")
    };
    Ok(Report::new(format!("{done}, in block {}", included.height), included_json(&included)))
}

async fn status(hash: Hash, node: &str) -> Result<Report, Failure> {
    let found = Node::new(node)?.find(hash).await?;
    Ok(match found {
        None => Report::refuted(format!("the node knows no transaction {hash} in a block"), json!({"hash": hash, "found": false})),
        Some(found) => {
            let json = json!({
                "hash": hash,
                "found": true,
                "height": found.height,
                "code": found.number,
                "codespace": found.codespace,
                "log": found.log,
            });
            let height = found.height;
            if found.number == 0 {
                Report::new(format!("the node says: {hash} is in block {height} and did what it says"), json)
            } else {
                let (codespace, number, log) = (found.codespace, found.number, found.log);
                Report::refuted(format!("the node says: {hash} is in block {height} and was refused ({codespace} {number}): {log}"), json)
            }
        }
    })
}
