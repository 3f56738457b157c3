//! `zynk genesis`: the file that a chain begins with.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use genesis::genesis::MAX_BYTES;
use genesis::{Application, Builder, Error, Genesis, KeyKind, Terms, file, peer};
use ledger::genesis::GenesisValidator;
use ledger::{Engine, Params};
use node::abci::config::moniker;
use node::config::Home;
use serde_json::json;
use tendermint::Time;
use types::{Address, Amount, ChainId, DecodeError, PublicKey};

use super::{account_key, key_file};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a genesis that still lacks validators
    #[command(after_help = "Example:\n  zynk genesis make --chain my-chain-1 --out genesis.json --account zynk1…=1000")]
    Make(Make),
    /// Add a validator to a genesis in the making
    #[command(
        after_help = "Example:\n  zynk genesis add-validator genesis.json --moniker alpha --consensus-key HEX --node-key HEX \\\n    \
        --operator zynk1… --stake 100\n\nThe keys are what `zynk keys show` prints as public; the secrets stay where they are."
    )]
    AddValidator(AddValidator),
    /// Add an account with a first balance to a genesis in the making
    #[command(after_help = "Example:\n  zynk genesis add-account genesis.json zynk1…=1000")]
    AddAccount {
        /// The genesis, changed in place
        file: PathBuf,
        /// An address and its balance
        #[arg(value_name = "ADDRESS=AMOUNT", value_parser = balance, required = true)]
        accounts: Vec<(Address, Amount)>,
    },
    /// Apply to be one of the first validators of a genesis in the making
    #[command(after_help = "Example:\n  zynk genesis apply genesis.json --home node --key me.key --stake 100 --out alpha.json\n\n\
        The home is one that `zynk node init --validator` made. Send the file to whoever puts the genesis together.")]
    Apply(Apply),
    /// Take applications into a genesis in the making
    #[command(after_help = "Example:\n  zynk genesis accept genesis.json alpha.json beta.json gamma.json")]
    Accept {
        /// The genesis, changed in place
        file: PathBuf,
        /// The applications
        #[arg(value_name = "APPLICATION", required = true)]
        applications: Vec<PathBuf>,
    },
    /// Check a finished genesis, and show what it says and its hash
    #[command(
        visible_alias = "show",
        after_help = "Example:\n  zynk genesis verify genesis.json\n\n\
        Compare the hash aloud with everybody who starts the chain with you."
    )]
    Verify {
        /// The genesis
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Make {
    /// The chain's name: 1 to 50 of a-z A-Z 0-9 - _ .
    #[arg(long, value_name = "ID")]
    chain: ChainId,
    /// Where to write it; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The chain's first time, as 2026-01-31T12:00:00Z; now unless given
    #[arg(long)]
    time: Option<Time>,
    /// An account with a first balance; may be given often
    #[arg(long = "account", value_name = "ADDRESS=AMOUNT", value_parser = balance)]
    accounts: Vec<(Address, Amount)>,
    /// What agrees on the blocks: embedded or cometbft
    #[arg(long, value_name = "ENGINE", default_value = "embedded")]
    engine: Engine,
    /// The time from one block to the next when there is work; 0 is as fast as possible
    #[arg(long, value_name = "MS")]
    block_interval_ms: Option<u32>,
    /// The time after which an idle chain makes an empty block
    #[arg(long, value_name = "MS")]
    heartbeat_ms: Option<u32>,
    /// How long validators wait for a proposal: what an absent proposer costs
    #[arg(long, value_name = "MS")]
    propose_timeout_ms: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct AddValidator {
    /// The genesis, changed in place
    file: PathBuf,
    /// What people call the validator
    #[arg(long, value_name = "NAME")]
    moniker: String,
    /// The public key that signs its votes
    #[arg(long, value_name = "HEX")]
    consensus_key: PublicKey,
    /// The public key of its node on the networks
    #[arg(long, value_name = "HEX")]
    node_key: PublicKey,
    /// The account that owns and directs it
    #[arg(long, value_name = "ADDRESS")]
    operator: Address,
    /// Its stake, such as 100 or 12.5
    #[arg(long, value_name = "AMOUNT")]
    stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent
    #[arg(long, value_name = "N", default_value_t = 0)]
    commission_bps: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The genesis in the making
    file: PathBuf,
    /// The home of the validator's node
    #[arg(long, env = "ZYNK_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// The account that will operate the validator
    #[arg(long, env = "ZYNK_KEY", value_name = "FILE")]
    key: PathBuf,
    /// Its stake, such as 100 or 12.5, out of the account's first balance
    #[arg(long, value_name = "AMOUNT")]
    stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent
    #[arg(long, value_name = "N", default_value_t = 0)]
    commission_bps: u16,
    /// Where to write the application; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Apply(arguments) => apply(arguments),
        Command::Accept { file, applications } => accept(&file, &applications),
        Command::Make(arguments) => make(arguments),
        Command::AddValidator(arguments) => add_validator(arguments),
        Command::AddAccount { file, accounts } => add_accounts(&file, accounts),
        Command::Verify { file } => verify(&file),
    }
}

fn make(arguments: Make) -> Result<Report, Failure> {
    let Make { chain, out, time, accounts, .. } = arguments;
    let known = Params::default();
    let params = Params {
        block_interval_ms: arguments.block_interval_ms.unwrap_or(known.block_interval_ms),
        heartbeat_ms: arguments.heartbeat_ms.unwrap_or(known.heartbeat_ms),
        propose_timeout_ms: arguments.propose_timeout_ms.unwrap_or(known.propose_timeout_ms),
        ..known
    };
    params.check().map_err(|error| Error::State(error.into()))?;
    let builder = Builder::new(chain, time.unwrap_or_else(Time::now), params).engine(arguments.engine);
    let builder = with_accounts(builder, accounts)?;
    if out.exists() {
        return Err(Error::Exists(out).into());
    }
    file::replace_public(&out, builder.to_json().as_bytes())?;
    let (chain, path) = (builder.chain(), out.display());
    Ok(Report::new(
        format!("made a genesis of chain {chain} in {path}; its validators come with `zynk genesis apply` and `accept`"),
        json!({"chain": chain, "file": out}),
    ))
}

fn add_validator(arguments: AddValidator) -> Result<Report, Failure> {
    let argument = |what| move |source: DecodeError| Failure::Argument { what, source };
    let moniker = arguments.moniker.as_str().try_into().map_err(argument("--moniker"))?;
    let validator = GenesisValidator {
        operator: arguments.operator,
        consensus_key: arguments.consensus_key,
        peer_id: peer::peer_id_blob(&arguments.node_key),
        moniker,
        stake: arguments.stake,
        commission_bps: arguments.commission_bps,
    };
    let builder = load_builder(&arguments.file)?.validator(validator).map_err(Failure::file(&arguments.file))?;
    // With a validator it can be checked as a whole, so that a mistake shows where it is made.
    let genesis = builder.build().map_err(Failure::file(&arguments.file))?;
    file::replace_public(&arguments.file, genesis.to_json().as_bytes())?;
    let count = genesis.app_state().validators.len();
    Ok(Report::new(
        format!("added validator {} with a stake of {}; there are {count} now", arguments.moniker, arguments.stake),
        json!({"file": arguments.file, "validators": count, "hash": genesis.hash()}),
    ))
}

fn add_accounts(path: &Path, accounts: Vec<(Address, Amount)>) -> Result<Report, Failure> {
    let count = accounts.len();
    let builder = with_accounts(load_builder(path)?, accounts).map_err(Failure::file(path))?;
    file::replace_public(path, builder.to_json().as_bytes())?;
    let noun = if count == 1 { "account" } else { "accounts" };
    Ok(Report::new(format!("added {count} {noun} to {}", path.display()), json!({"file": path, "added": count})))
}

fn apply(arguments: Apply) -> Result<Report, Failure> {
    let Apply { file, home, key, stake, commission_bps, out } = arguments;
    let home = Home::new(&home);
    let (validator, node) = (key_file(&home.validator_key(), KeyKind::Validator)?, key_file(&home.node_key(), KeyKind::Node)?);
    let moniker = moniker(&home.config()).map_err(Failure::Run)?;
    let moniker = moniker.as_str().try_into().map_err(|source| Failure::Argument { what: "the node's moniker", source })?;
    let genesis = load_builder(&file)?;
    let terms = Terms { moniker, stake, commission_bps };
    let application = Application::sign(genesis.chain().clone(), terms, &account_key(&key)?, validator.key(), &node.public());
    // What would be refused there is refused here.
    genesis.accept(&application).map_err(Failure::file(&file))?;
    if out.exists() {
        return Err(Error::Exists(out).into());
    }
    file::replace_public(&out, application.to_json().as_bytes())?;
    let (moniker, path) = (&application.moniker, out.display());
    Ok(Report::new(
        format!("{moniker} applies with a stake of {stake} in {path}; send it to whoever puts the genesis together"),
        json!({"file": out, "moniker": moniker, "stake": stake, "validator": application.consensus_key.address()}),
    ))
}

fn accept(path: &Path, applications: &[PathBuf]) -> Result<Report, Failure> {
    let mut builder = load_builder(path)?;
    for from in applications {
        builder = Application::load(from).and_then(|application| builder.accept(&application)).map_err(Failure::file(from))?;
    }
    let genesis = builder.build().map_err(Failure::file(path))?;
    file::replace_public(path, genesis.to_json().as_bytes())?;
    let (taken, count) = (applications.len(), genesis.app_state().validators.len());
    Ok(Report::new(
        format!("took up applications: {taken}; validators now: {count} (`zynk genesis verify` shows them)\nhash {}", genesis.hash()),
        json!({"file": path, "accepted": taken, "validators": count, "hash": genesis.hash()}),
    ))
}

fn verify(path: &Path) -> Result<Report, Failure> {
    let genesis = Genesis::load(path).map_err(Failure::file(path))?;
    let (state, powers) = (genesis.app_state(), genesis.validator_set().set());
    let validators = state.records().map(|record| {
        let (moniker, stake, operator) = (&record.moniker, record.bonded, record.operator);
        format!("\n  {moniker}: power {}, stake {stake}, operator {operator}", record.power(&state.params))
    });
    let text = format!(
        "the genesis is in order: chain {} of {}, from {}, accounts {}, validators {}, total power {}{}\nhash {}",
        genesis.chain(),
        genesis.engine(),
        genesis.time(),
        state.accounts.len(),
        state.validators.len(),
        powers.total_voting_power(),
        validators.collect::<String>(),
        genesis.hash(),
    );
    let json = json!({
        "chain": genesis.chain(),
        "engine": genesis.engine(),
        "time": genesis.time(),
        "hash": genesis.hash(),
        "accounts": state.accounts.len(),
        "validators": state.validators,
        "params": state.params,
    });
    Ok(Report::new(text, json))
}

fn load_builder(path: &Path) -> Result<Builder, Failure> {
    file::read(path, MAX_BYTES).and_then(|bytes| Builder::parse(&bytes)).map_err(Failure::file(path))
}

fn with_accounts(builder: Builder, accounts: Vec<(Address, Amount)>) -> Result<Builder, Error> {
    accounts.into_iter().try_fold(builder, |builder, (address, balance)| builder.account(address, balance))
}

fn balance(text: &str) -> Result<(Address, Amount), String> {
    let (address, amount) = text.split_once('=').ok_or("an address, =, and an amount")?;
    let address = address.parse().map_err(|error: DecodeError| error.to_string())?;
    Ok((address, amount.parse().map_err(|error: DecodeError| error.to_string())?))
}
