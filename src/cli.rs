//! The command line: what can be said.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use types::Address;

use crate::commands::person::{account, contacts, messages, proofs};
use crate::commands::{
    bench, demo, devnet, did, gateway, genesis, gov, keys, light, node, relay, signer, stake, stamp, tx, validator, verify,
};

/// Messages that can be proven, identities that are proven, and a chain that proves both without a network.
#[derive(Debug, Parser)]
#[command(name = "zynk", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Example, against a network started with `zynk devnet`:\n  \
    zynk keys make --kind account --out me.key\n  \
    zynk stamp report.pdf --key me.key --genesis genesis.json\n  \
    zynk verify report.pdf.zproof --file report.pdf --genesis genesis.json")]
pub(crate) struct Cli {
    /// Print JSON for scripts instead of words
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// A file whose first line is the passphrase of encrypted key files; else systemd's credential zynk-passphrase, else it
    /// is asked for
    #[arg(long, global = true, env = "ZYNK_PASSPHRASE_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) passphrase_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make and check the file that a chain begins with
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// Make, show, encrypt and decrypt key files
    #[command(subcommand)]
    Keys(keys::Command),
    /// Move tokens, allow others to spend on fees, look at accounts and transactions
    #[command(subcommand)]
    Tx(tx::Command),
    /// Put tokens behind validators, take them back, withdraw what they earned
    #[command(subcommand)]
    Stake(stake::Command),
    /// Make and keep a validator; see who validates
    #[command(subcommand)]
    Validator(validator::Command),
    /// Propose, deposit and vote; see the chain's parameters
    #[command(subcommand)]
    Gov(gov::Command),
    /// Create, change and resolve identities (did:zynk)
    #[command(subcommand)]
    Did(did::Command),
    /// Stamp a file, a folder or standard input: prove that it existed by now
    Stamp(stamp::Arguments),
    /// Verify a proof without a network
    Verify(verify::Arguments),
    /// Follow the chain as a light client and print what is verified
    Light(light::Arguments),
    /// Register with a relay: an identity of one's own, paid for by the relay
    Register(account::Register),
    /// Let another device join this identity
    Link(account::Link),
    /// Remove a device from this identity
    Unlink(account::Unlink),
    /// Give this device another Signal key, which its old one signs for
    RotateKey(account::RotateKey),
    /// Take an identity back with its 24 words
    Recover(account::Recover),
    /// Write to somebody, end to end encrypted
    Send(messages::Send),
    /// Receive, and send what waits
    Listen(messages::Listen),
    /// Show messages
    History(messages::History),
    /// List the people this device knows
    Contacts(contacts::Contacts),
    /// Prove a contact's keys on chain and show the safety number
    VerifyContact(contacts::VerifyContact),
    /// Write the proof of a message
    Proof(proofs::Proof),
    /// Write everything of the person's to a file
    Export(proofs::Export),
    /// Run a validator or full node
    Node(node::Arguments),
    /// Keep a validator's key and sign for a node that runs elsewhere
    Signer(signer::Arguments),
    /// Run a relay: mailboxes, and anchors of what they take in
    Relay(relay::Arguments),
    /// Run a gateway: the one address for clients
    Gateway(gateway::Arguments),
    /// Run a network of validators, relay and gateway on this machine
    Devnet(devnet::Arguments),
    /// Play the whole story against a throw-away network, attacks included
    Demo(demo::Arguments),
    /// Measure what a network does, and what it costs, against a throw-away one
    #[command(subcommand)]
    Bench(bench::Command),
}

/// What runs until it is told to stop, and the commands beside it: where one of them is named, only that runs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Service<Run: Args, Command: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) run: Run,
}

/// What is trusted to begin with.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Basis {
    /// Trust the genesis of the chain
    #[arg(long, env = "ZYNK_GENESIS", value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,

    /// Trust a checkpoint, as `zynk light --checkpoint-out` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}

/// Which chain, and through which node. The node is not trusted.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The RPC of a node
    #[arg(long, env = "ZYNK_NODE", value_name = "URL", default_value = "http://127.0.0.1:26657")]
    pub(crate) node: String,

    /// Another node, asked whether it has the same headers; can be given again
    #[arg(long, value_name = "URL")]
    pub(crate) witness: Vec<String>,

    #[command(flatten)]
    pub(crate) basis: Basis,
}

/// Whose account is looked at.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The account; that of --key unless given
    #[arg(required_unless_present = "key")]
    pub(crate) address: Option<Address>,

    /// A key file, in place of an address
    #[arg(long, env = "ZYNK_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Who signs a transaction and who pays for it.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Signing {
    /// The account that sends the transaction, and pays if there is no sponsor
    #[arg(long, env = "ZYNK_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// The account that pays the fee; it co-signs, or sends itself where there is no --key
    #[arg(long, env = "ZYNK_SPONSOR_KEY", value_name = "FILE")]
    pub(crate) sponsor_key: Option<PathBuf>,
}
