//! `zynk signer`: a validator's key in a process of its own, and the home of it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consensus::guard::{Guard, Provenance, Step};
use consensus::malachite::signing::peer_proof;
use consensus::privval::{Endpoint, Signer};
use genesis::{KeyFile, KeyKind, file, peer, sealed};
use serde::{Deserialize, Serialize};
use serde_json::json;
use types::{ChainId, Height};

use crate::cli::Service;
use crate::commands::key_file;
use crate::commands::node::until_told;
use crate::failure::Failure;
use crate::report::Report;
use crate::unlock;

/// How large `signer.toml` may be, in bytes.
const MAX_CONFIG: u64 = 4096;

pub(crate) type Arguments = Service<Run, Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the home of a signer
    Init(Init),
    /// Show what the node's node.toml needs to know
    Show {
        /// The signer's home folder
        #[arg(long, env = "ZYNK_SIGNER_HOME", value_name = "FOLDER")]
        home: PathBuf,
    },
    /// Sign, once, that a node is the validator's: other nodes keep a place among their connections for such a one
    #[command(after_help = "Example:\n  zynk signer prove-peer --home signer --peer 12D3KooW… --out validator.proof\n\n\
        Put it into the node's home as validator.proof. Without it the validator signs all the same.")]
    ProvePeer(ProvePeer),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The signer's home folder
    #[arg(long, env = "ZYNK_SIGNER_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// The chain; it signs for no other
    #[arg(long, value_name = "ID")]
    chain: ChainId,
    /// Where the node listens; with the node's public key or id, nobody else can stand in for it
    #[arg(long, value_name = "tcp://[KEY@]HOST:PORT | unix://PATH")]
    connect: String,
    /// The validator's key file, which is copied: make an end of it where it was. Without it a new key is made
    #[arg(long, value_name = "FILE", requires = "after")]
    key: Option<PathBuf>,
    /// Sign nothing at this height or below: the chain's height, for a key that has signed elsewhere; 0 for one that never has
    #[arg(long, value_name = "HEIGHT")]
    after: Option<u64>,
    /// Encrypt both keys under a passphrase
    #[arg(long)]
    encrypt: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProvePeer {
    /// The signer's home folder
    #[arg(long, env = "ZYNK_SIGNER_HOME", value_name = "FOLDER")]
    home: PathBuf,
    /// The node's peer id, as `zynk node show` prints it
    #[arg(long, value_name = "PEER")]
    peer: String,
    /// Where to write the proof
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk signer init --home signer --chain my-chain-1 --connect tcp://NODE_KEY@203.0.113.7:26659 --key node/validator.key --after HEIGHT\n  \
    zynk signer --home signer\n\n\
    The home holds signer.toml, validator.key, signer.key (by which the node knows the signer) and signing-guard, which says\n\
    what was signed and must be neither copied nor restored. It speaks CometBFT's protocol for remote signers.")]
pub(crate) struct Run {
    /// The signer's home folder
    #[arg(long, env = "ZYNK_SIGNER_HOME", value_name = "FOLDER", required = true)]
    home: Option<PathBuf>,
    /// Where the node listens, in place of what signer.toml says
    #[arg(long, value_name = "tcp://[KEY@]HOST:PORT | unix://PATH")]
    connect: Option<String>,
    /// Sign although the signing guard was copied, restored or lost: only when no signature was given after the copy was made
    #[arg(long)]
    accept_restored_guard: bool,
    /// Stop when standard input ends: for programs that start signers
    #[arg(long, hide = true)]
    attached: bool,
}

/// `signer.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    chain: ChainId,
    connect: String,
}

/// A signer's home.
struct Home<'a>(&'a Path);

impl Home<'_> {
    fn config(&self) -> PathBuf {
        self.0.join("signer.toml")
    }
    fn validator_key(&self) -> PathBuf {
        self.0.join("validator.key")
    }
    fn identity(&self) -> PathBuf {
        self.0.join("signer.key")
    }
    fn guard(&self) -> PathBuf {
        self.0.join("signing-guard")
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Some(Command::Init(arguments)) => init(arguments),
        Some(Command::Show { home }) => show(&Home(home)),
        Some(Command::ProvePeer(arguments)) => prove_peer(arguments),
        None => sign(arguments.run).await,
    }
}

fn init(arguments: &Init) -> Result<Report, Failure> {
    let home = Home(&arguments.home);
    endpoint(&arguments.connect)?;
    if home.config().exists() {
        return Err(genesis::Error::Exists(home.config()).into());
    }
    let validator = match &arguments.key {
        Some(path) => KeyFile::of(KeyKind::Validator, key_file(path, KeyKind::Validator)?.key().clone()),
        None => KeyFile::generate(KeyKind::Validator),
    };
    let mut keys = [(home.validator_key(), validator), (home.identity(), KeyFile::generate(KeyKind::Node))];
    if arguments.encrypt {
        let passphrase = unlock::new_passphrase()?;
        for (_, key) in &mut keys {
            *key = key.clone().encrypted(&passphrase)?;
        }
    }
    std::fs::create_dir_all(&arguments.home).map_err(Failure::io(&arguments.home))?;
    for (path, key) in &keys {
        key.create(path)?;
    }
    let (mut guard, _) = open(&home, keys[0].1.public())?;
    if let Some(height) = arguments.after.filter(|height| *height > 0) {
        guard.permit(Height(height), i32::MAX.unsigned_abs(), Step::Precommit, b"nothing at this height or below").map_err(guarded)?;
    }
    // Last: a home with it is whole.
    let config = Config { chain: arguments.chain.clone(), connect: arguments.connect.clone() };
    let text = toml::to_string_pretty(&config).map_err(|error| Failure::Run(error.into()))?;
    file::replace_public(&home.config(), text.as_bytes())?;
    show(&home)
}

fn show(home: &Home<'_>) -> Result<Report, Failure> {
    let config = load(home)?;
    let public = |path: &Path, kind| KeyFile::public_of(path, kind).map_err(Failure::file(path));
    let (validator, identity) = (public(&home.validator_key(), KeyKind::Validator)?, public(&home.identity(), KeyKind::Node)?);
    let encrypted = sealed::label(&home.validator_key())?.encrypted;
    let text = format!(
        "signs for {validator} on {}, for the node at {}\nin the node's node.toml:\n\n[signer]\nlisten = \"…\"\nkey = \"{identity}\"",
        config.chain, config.connect
    );
    let value = json!({
        "chain": config.chain,
        "connect": config.connect,
        "consensus_key": validator,
        "validator": validator.address(),
        "key": identity,
        "encrypted": encrypted,
    });
    Ok(Report::new(text, value))
}

fn prove_peer(arguments: &ProvePeer) -> Result<Report, Failure> {
    let peer = peer::parse(&arguments.peer).ok_or_else(|| Failure::Run(anyhow::anyhow!("{} is no peer id", arguments.peer)))?;
    let path = Home(&arguments.home).validator_key();
    let key = key_file(&path, KeyKind::Validator)?;
    let signature = key.key().sign(&peer_proof(&key.public(), &peer));
    file::replace_public(&arguments.out, format!("{signature}\n").as_bytes())?;
    let text = format!("{} proves that {} is the node of {}", arguments.out.display(), arguments.peer, key.public().address());
    Ok(Report::new(text, json!({"peer": arguments.peer, "consensus_key": key.public(), "signature": signature})))
}

async fn sign(arguments: Run) -> Result<Report, Failure> {
    let folder = arguments.home.expect("it is required where no other command is given");
    let home = Home(&folder);
    let config = load(&home)?;
    let endpoint = endpoint(arguments.connect.as_ref().unwrap_or(&config.connect))?;
    // Two processes with one guard would each believe to be the only one.
    let _lock = file::lock(&home.guard())?;
    let key = key_file(&home.validator_key(), KeyKind::Validator)?.key().clone();
    let identity = key_file(&home.identity(), KeyKind::Node)?.key().clone();
    let fresh = !home.guard().exists();
    if fresh && !arguments.accept_restored_guard {
        return Err(doubt("is gone"));
    }
    let (mut guard, provenance) = open(&home, key.public())?;
    if provenance == Provenance::Restored {
        if !arguments.accept_restored_guard {
            return Err(doubt("was copied or restored"));
        }
        guard.accept().map_err(guarded)?;
    }
    let chain = config.chain.as_str().parse().map_err(|error: tendermint::Error| Failure::Run(error.into()))?;
    let signer = Signer::new(chain, key, guard);
    let (broken, ended) = tokio::sync::oneshot::channel();
    let run = move || drop(broken.send(signer.run(&endpoint, &identity)));
    std::thread::Builder::new().name("signer".to_owned()).spawn(run).map_err(Failure::Runtime)?;
    tokio::select! {
        reason = ended => Err(Failure::Run(anyhow::anyhow!(reason.unwrap_or_else(|_| "the signer has ended".to_owned())))),
        () = until_told(arguments.attached) => Ok(Report::new("the signer has stopped", json!({"stopped": true}))),
    }
}

fn load(home: &Home<'_>) -> Result<Config, Failure> {
    let path = home.config();
    let bytes = file::read(&path, MAX_CONFIG).map_err(Failure::file(&path))?;
    toml::from_slice(&bytes)
        .map_err(|error| Failure::Run(anyhow::Error::from(error).context(format!("{} is not a signer's", path.display()))))
}

fn endpoint(text: &str) -> Result<Endpoint, Failure> {
    text.parse().map_err(|reason: String| Failure::Run(anyhow::Error::msg(reason)))
}

fn open(home: &Home<'_>, key: types::PublicKey) -> Result<(Guard, Provenance), Failure> {
    Guard::open(&home.guard(), key).map_err(guarded)
}

fn guarded(error: consensus::guard::GuardError) -> Failure {
    Failure::Run(error.into())
}

fn doubt(what: &str) -> Failure {
    Failure::Run(anyhow::anyhow!(
        "the signing guard {what}: this key may have signed what it does not know of. If it certainly has not, start with --accept-restored-guard; else make a new home with `zynk signer init --after HEIGHT`, above every height that may have been signed"
    ))
}
