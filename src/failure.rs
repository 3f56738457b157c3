//! Why a command failed, and what can be done about it.

use std::path::{Path, PathBuf};

use types::{Amount, DecodeError};

use crate::stamping::Unstampable;

/// Why a command failed. [`Failure::code`] is stable: that of the room that refused, or one of ours
/// (from 6001 on).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A genesis or key file was refused.
    #[error(transparent)]
    File(#[from] genesis::Error),
    /// As [`Failure::File`], where the error does not name the file itself.
    #[error("{}: {source}", path.display())]
    In { path: PathBuf, source: genesis::Error },
    /// The node did not answer as it should, or was not believed.
    #[error(transparent)]
    Node(#[from] rpc::Error),
    /// What is to be stamped cannot be.
    #[error(transparent)]
    Stamp(#[from] Unstampable),
    /// A bundle does not parse.
    #[error("{}: {source}", path.display())]
    Bundle { path: PathBuf, source: audit::bundle::BundleError },
    /// The device could not do it.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The relay could not start or go on.
    #[error(transparent)]
    Relay(#[from] relay::Error),
    /// The gateway could not start or go on.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// A header or checkpoint was refused.
    #[error(transparent)]
    Light(#[from] light::Error),
    /// A file is not what it should be: a checkpoint.
    #[error("{}: not a checkpoint: line {line}, column {column}", path.display())]
    Checkpoint { path: PathBuf, line: usize, column: usize },
    /// The system failed at a file.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The chain has no such identity.
    #[error("there is no identity {0} on this chain")]
    NoIdentity(identity::Did),
    /// The identity was ended for good.
    #[error("{0} was deactivated and takes no more operations")]
    Deactivated(identity::Did),
    /// The identity has no such device.
    #[error("the identity has no device {0}")]
    NoDevice(u16),
    /// Files of two chains.
    #[error("{what} is for chain {found}, this is {expected}")]
    WrongChain { what: &'static str, found: types::ChainId, expected: types::ChainId },
    /// The log takes no more anchors.
    #[error("the log {0} takes no more anchors: it was retired or frozen")]
    LogEnded(audit::LogId),
    /// An account cannot pay for a log.
    #[error("registering a log takes a bond of {needed}, the account {owner} has {found}")]
    NoBond { owner: types::Address, found: Amount, needed: Amount },
    /// A value on the command line.
    #[error("{what}: {source}")]
    Argument { what: &'static str, source: DecodeError },
    /// A proof would be written over another file.
    #[error("{} exists already: it may prove an earlier time, so it is left as it is", .0.display())]
    ProofExists(PathBuf),
    /// An act without return was not confirmed.
    #[error("{0} cannot be undone")]
    Unconfirmed(&'static str),
    /// A node or a network could not start or go on.
    #[error("{0:#}")]
    Run(anyhow::Error),
    /// What a node keeps of its chain is not as it must be.
    #[error("{words}")]
    State { code: u32, words: String },
    /// The chain has come to an upgrade that this program does not run.
    #[error(transparent)]
    Outdated(#[from] node::upgrade::Outdated),
    /// A step of the demo did not hold.
    #[error("the demo did not hold: {0}")]
    Demo(String),
    /// A measurement could not be made.
    #[error("the bench did not come through: {0}")]
    Bench(String),
    /// A message did not leave.
    #[error("not sent: {reason}")]
    NotSent { code: u32, reason: String },
    /// No home was named.
    #[error("whose home? Name it with --home or {0}")]
    NoHome(&'static str),
    /// The gateway's configuration names no upstream.
    #[error("gateway.toml names no {0}")]
    NoUpstream(&'static str),
    /// No passphrase could be read.
    #[error("no passphrase: {0}")]
    NoPassphrase(std::io::Error),
    /// Two passphrases that differ.
    #[error("the passphrases differ")]
    TwoPassphrases,
    /// A new device that is told of no chain.
    #[error("which chain? Name its genesis with --genesis, or a checkpoint with --checkpoint")]
    NoBasis,
    /// Words without the identity that they are of.
    #[error("whose words? Name the identity: did:zynk:…")]
    Unnamed,
    /// A file that should be text is none.
    #[error("{}: not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// A light client's store cannot be read.
    #[error("{}: not kept blocks: {source}", path.display())]
    Kept { path: PathBuf, source: light::BadKept },
    /// What a light client's store trusts is too old.
    #[error("{}: expired, a new checkpoint is needed: {source}", path.display())]
    Outlived { path: PathBuf, source: light::Error },
    /// Two histories were found while a proxy answered.
    #[error(transparent)]
    Attacked(std::sync::Arc<rpc::Error>),
    /// The system gives no threads or sockets.
    #[error("the system refuses to start: {0}")]
    Runtime(std::io::Error),
}

impl Failure {
    /// The stable number of this reason.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::File(error) | Self::In { source: error, .. } => error.code(),
            Self::Node(error) => error.code(),
            Self::Stamp(error) => error.code(),
            Self::Bundle { source, .. } => source.code(),
            Self::Light(error) => error.code(),
            Self::Client(error) => error.code(),
            Self::Relay(error) => error.code(),
            Self::Gateway(error) => error.code(),
            Self::NotSent { code, .. } | Self::State { code, .. } => *code,
            Self::Checkpoint { .. } => 6001,
            Self::Io { .. } => 6002,
            Self::NoIdentity(_) => 6003,
            Self::Deactivated(_) => 6004,
            Self::NoDevice(_) => 6005,
            Self::WrongChain { .. } => 6006,
            Self::LogEnded(_) => 6007,
            Self::NoBond { .. } => 6008,
            Self::Argument { .. } => 6009,
            Self::ProofExists(_) => 6010,
            Self::Unconfirmed(_) => 6011,
            Self::Runtime(_) => 6012,
            Self::Run(_) => 6013,
            Self::Demo(_) => 6014,
            Self::NoHome(_) => 6015,
            Self::NoUpstream(_) => 6016,
            Self::NoPassphrase(_) => 6017,
            Self::TwoPassphrases => 6018,
            Self::NotText(_) => 6019,
            Self::Unnamed => 6020,
            Self::Bench(_) => 6021,
            Self::NoBasis => 6022,
            Self::Outdated(_) => 6023,
            Self::Kept { source, .. } => source.code(),
            Self::Outlived { source, .. } => source.code(),
            Self::Attacked(error) => error.code(),
        }
    }

    /// What can be done about it, where there is something to say.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Node(rpc::Error::Transaction { codespace, number, .. }) => refused(codespace, *number),
            Self::Node(rpc::Error::Unreachable { .. }) => {
                Some("is a node running there? `zynk devnet` starts a network on this machine; --node names another")
            }
            Self::Node(rpc::Error::Unproven(_)) => {
                Some("check that --genesis or --checkpoint is of the chain that this node serves; if it is, do not trust the node")
            }
            Self::Kept { .. } => Some("move it away, and begin again with --genesis or --checkpoint"),
            Self::Outlived { .. } => Some("move it away, and begin with a checkpoint of today, from somebody whom you trust"),
            Self::Node(rpc::Error::Attack { .. }) | Self::Attacked(_) => {
                Some("believe neither node: validators have signed two histories; keep these words, and ask the operators of both")
            }
            Self::Node(rpc::Error::Timeout { .. }) => {
                Some("ask `zynk tx status`, and look whether the chain moves with `zynk light --once`")
            }
            Self::File(genesis::Error::Behind(_)) => Some("use the newest copy of the identity file"),
            Self::NoIdentity(_) => Some("was it created on this chain? `zynk did create` makes one"),
            Self::LogEnded(_) => Some("move the .log file beside the account's key away, and the next stamp registers another log"),
            Self::NoBond { .. } => Some("have somebody send it tokens with `zynk tx transfer`"),
            Self::ProofExists(_) => Some("move it away, or choose another place with --out or --one"),
            Self::Unconfirmed(_) | Self::Relay(relay::Error::Sound { .. }) => Some("add --yes if you mean it"),
            Self::NoPassphrase(_) => Some("name a file with --passphrase-file or, for a device, set ZYNK_PASSPHRASE"),
            Self::File(genesis::Error::Encrypted { .. })
            | Self::In { source: genesis::Error::Encrypted { .. }, .. }
            | Self::Relay(relay::Error::File { source: genesis::Error::Encrypted { .. }, .. }) => Some(NO_PASSPHRASE),
            Self::Run(error) if matches!(error.downcast_ref(), Some(genesis::Error::Encrypted { .. })) => Some(NO_PASSPHRASE),
            Self::Outdated(_) => Some("put the program of that version in this one's place, and start it on the same home"),
            Self::NoUpstream(_) => Some("write its URL into gateway.toml"),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Names the file, unless the error does so itself.
    pub(crate) fn file(path: &Path) -> impl FnOnce(genesis::Error) -> Self + '_ {
        move |source| match source {
            named @ (genesis::Error::Io { .. } | genesis::Error::Exposed { .. } | genesis::Error::Exists(_)) => Self::File(named),
            source => Self::In { path: path.to_owned(), source },
        }
    }
}

/// What can be done where there is nobody to ask for a passphrase.
const NO_PASSPHRASE: &str = "name a file with --passphrase-file or ZYNK_PASSPHRASE_FILE, give systemd's unit the credential zynk-passphrase, or start it at a terminal";

/// What can be done where the chain refuses a transaction, by the codespace and its number.
fn refused(codespace: &str, number: u32) -> Option<&'static str> {
    match (codespace, number) {
        ("ledger", 9) => Some("`zynk tx balance` proves what an account has, `zynk tx transfer` sends it more"),
        ("stake", 1) => Some("a validator goes by the address that `zynk validator list` shows, not by its operator's"),
        ("stake", 2) => Some("name the key of the operator, whom `zynk validator show` names, with --key"),
        ("stake", 3) => Some("`zynk stake delegate` puts more behind a validator that exists"),
        ("stake", 7) => Some("`zynk gov params` shows the least as stake.min_self_stake"),
        ("stake", 12) => Some("`zynk stake show` proves where an account's stake is"),
        ("stake", 20) => Some("another validator takes another consensus key, in another home"),
        ("governance", 1) => Some("`zynk gov list` shows those that are open"),
        ("governance", 6) => Some("`zynk gov show` says where it stands: voting begins when the deposit is complete"),
        ("governance", 9 | 12) => Some("`zynk gov params` shows every parameter by its name"),
        _ => None,
    }
}
