//! `zynk validator`: become one, change what it says of itself, come back after jail, and look at the set.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use genesis::{KeyKind, peer};
use ledger::Body;
use ledger::stake::active::Set;
use ledger::stake::{Candidacy, Edit, Validator, ValidatorStatus, registry};
use ledger::state::key;
use node::abci::config::moniker;
use node::config::Home;
use rpc::{Chain, Proven};
use serde_json::{Value, json};
use types::{Address, Amount, DecodeError, PublicKey, Signature};

use super::{key_file, proof_json, proven};
use crate::cli::{Connection, Signing};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a validator of a node, with a stake out of the account's balance
    #[command(after_help = "Example:\n  \
        zynk validator create --home node --stake 100 --commission-bps 500 --key me.key --genesis genesis.json\n\n\
        The home is one that `zynk node init --validator` made, and its node should have caught up: a validator that does\n\
        not sign is jailed. It signs from the second block after this one.")]
    Create(Create),
    /// Change a validator's name, commission or node
    #[command(after_help = "Example:\n  zynk validator edit zynk1… --commission-bps 400 --key me.key --genesis genesis.json")]
    Edit(Change),
    /// Let a validator back into the set once its time in jail is over
    #[command(after_help = "Example:\n  zynk validator unjail zynk1… --key me.key --genesis genesis.json")]
    Unjail {
        /// The validator: the address of its consensus key
        validator: Address,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove what the chain has of a validator
    #[command(after_help = "Example:\n  zynk validator show zynk1… --genesis genesis.json")]
    Show {
        /// The validator: the address of its consensus key
        validator: Address,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prove which validators there are, the set first
    #[command(after_help = "Example:\n  zynk validator list --genesis genesis.json")]
    List {
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The home of its node
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// What the operator bonds to it, such as 100 or 12.5
    #[arg(long, value_name = "AMOUNT")]
    stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent
    #[arg(long, value_name = "N", default_value_t = 0)]
    commission_bps: u16,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("changed").required(true).multiple(true).args(["moniker", "commission_bps", "node_key"]))]
pub(crate) struct Change {
    /// The validator: the address of its consensus key
    validator: Address,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    moniker: Option<String>,
    /// The operator's part of the rewards, in hundredths of a percent
    #[arg(long, value_name = "N")]
    commission_bps: Option<u16>,
    /// The public key of its node on the networks
    #[arg(long, value_name = "HEX")]
    node_key: Option<PublicKey>,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Create(arguments) => create(arguments).await,
        Command::Edit(arguments) => edit(arguments).await,
        Command::Unjail { validator, signing, connection } => {
            let done = format!("validator {validator} may sign again");
            super::send(&signing.load()?, &connection, Body::Unjail { validator }, &done).await
        }
        Command::Show { validator, connection } => show(&validator, &connection).await,
        Command::List { connection } => list(&connection).await,
    }
}

async fn create(arguments: Create) -> Result<Report, Failure> {
    let Create { home, stake, commission_bps, signing, connection } = arguments;
    let home = Home::new(&home);
    let (key, node) = (key_file(&home.validator_key(), KeyKind::Validator)?, key_file(&home.node_key(), KeyKind::Node)?);
    let named = moniker(&home.config()).map_err(Failure::Run)?;
    let signers = signing.load()?;
    let mut chain = connection.open()?;
    let candidacy = Candidacy {
        consensus_key: key.public(),
        peer_id: peer::peer_id_blob(&node.public()),
        moniker: named.as_str().try_into().map_err(|source| Failure::Argument { what: "the node's moniker", source })?,
        commission_bps,
        stake,
        proof: Signature([0; 64]),
    };
    let candidacy = candidacy.prove(chain.trust().chain(), &signers.author().address(), key.key());
    let validator = key.public().address();
    let included = signers.submit(&mut chain, Body::CreateValidator(Box::new(candidacy))).await?;
    Ok(Report::new(
        format!(
            "{named} is validator {validator} with a stake of {stake}, in block {}; it signs two blocks later if `zynk validator list` has it in the set",
            included.height
        ),
        json!({"validator": validator, "height": included.height, "hash": included.hash}),
    ))
}

async fn edit(arguments: Change) -> Result<Report, Failure> {
    let Change { validator, moniker, commission_bps, node_key, signing, connection } = arguments;
    let argument = |source: DecodeError| Failure::Argument { what: "--moniker", source };
    let moniker = moniker.map(|moniker| moniker.as_str().try_into().map_err(argument)).transpose()?;
    let edit = Edit { moniker, peer_id: node_key.as_ref().map(peer::peer_id_blob), commission_bps };
    let body = Body::EditValidator { validator, edit: Box::new(edit) };
    super::send(&signing.load()?, &connection, body, &format!("changed validator {validator}")).await
}

async fn show(address: &Address, connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = record(&mut chain, address).await?;
    let set: Set = chain.read(key::ACTIVE).await?.value.unwrap_or_default();
    let Some(record) = value else {
        let text = format!("there is no validator {address}; {}", proven(&chain, &header));
        return Ok(Report::refuted(text, json!({"validator": address, "found": false, "proof": proof_json(&chain, &header)})));
    };
    let mut described = describe(&record, power(&set, address));
    described["proof"] = proof_json(&chain, &header);
    let earned = &record.earned;
    let text = format!(
        "{}\noperator {}, key {}\nits stakers are owed {}, its operator's commission is {}\n{}",
        line(&record, power(&set, address)),
        record.operator,
        record.consensus_key,
        earned.unclaimed,
        earned.commission,
        proven(&chain, &header),
    );
    Ok(Report::new(text, described))
}

async fn list(connection: &Connection) -> Result<Report, Failure> {
    let mut chain = connection.open()?;
    let Proven { value, header } = chain.read::<Set>(key::ACTIVE).await?;
    let set = value.unwrap_or_default();
    let mut addresses: Vec<Address> = set.iter().map(|told| told.validator).collect();
    for number in 0..registry::PAGES {
        let Some(page) = chain.read::<registry::Page>(&key::page(number)).await?.value else { break };
        addresses.extend(page.iter().filter(|address| power(&set, address) == 0));
    }
    let mut records = Vec::new();
    for address in &addresses {
        records.extend(record(&mut chain, address).await?.value);
    }
    let lines: String = records.iter().map(|record| format!("{}\n", line(record, power(&set, &record.address())))).collect();
    let values: Vec<Value> = records.iter().map(|record| describe(record, power(&set, &record.address()))).collect();
    Ok(Report::new(
        format!("{lines}{} of {} validators are in the set; {}", set.len(), records.len(), proven(&chain, &header)),
        json!({"validators": values, "in_set": set.len(), "proof": proof_json(&chain, &header)}),
    ))
}

async fn record(chain: &mut Chain, address: &Address) -> Result<Proven<Option<Validator>>, Failure> {
    Ok(chain.read(&key::stake(address)).await?)
}

/// The power that the engine was told of; 0 outside the set.
fn power(set: &Set, address: &Address) -> u64 {
    set.iter().find(|told| told.validator == *address).map_or(0, |told| told.power)
}

fn line(record: &Validator, power: u64) -> String {
    let percent = f64::from(record.commission_bps) / 100.0;
    let (address, moniker, bonded) = (record.address(), &record.moniker, record.bonded);
    let standing = match record.status {
        ValidatorStatus::Eligible if power > 0 => format!("power {power}"),
        ValidatorStatus::Eligible => "outside the set".to_owned(),
        ValidatorStatus::Jailed { until } => format!("jailed, and may come back from {} on", until.rfc3339()),
        ValidatorStatus::Tombstoned { offence, .. } => format!("out for good: it signed twice at height {offence}"),
    };
    format!("{address} {moniker}: stake {bonded}, {standing}, commission {percent} %")
}

fn describe(record: &Validator, power: u64) -> Value {
    let status = match record.status {
        ValidatorStatus::Eligible => json!({"state": "eligible"}),
        ValidatorStatus::Jailed { until } => json!({"state": "jailed", "until": until.rfc3339()}),
        ValidatorStatus::Tombstoned { offence, height, time, slash_bps } => {
            json!({"state": "tombstoned", "offence": offence, "height": height, "time": time.rfc3339(), "slash_bps": slash_bps})
        }
    };
    json!({
        "validator": record.address(),
        "found": true,
        "moniker": record.moniker,
        "operator": record.operator,
        "consensus_key": record.consensus_key,
        "peer_id": record.peer_id,
        "stake": record.bonded,
        "power": power,
        "commission_bps": record.commission_bps,
        "commission": record.earned.commission,
        "unclaimed": record.earned.unclaimed,
        "status": status,
    })
}
