//! `zynk did`: identities.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use genesis::{Keyring, file};
use identity::resolution::{Facts, Problem, requested};
use identity::{Entry, Multikey, Resolution, SignedOperation};
use ledger::Body;
use rpc::{Chain, Included, Proven};
use serde_json::{Map, Value, json};
use types::{Height, Millis};

use super::{included_json, proof_json, proven};
use crate::cli::{Connection, Signing};
use crate::failure::Failure;
use crate::report::Report;
use crate::unlock;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an identity: its keys in a new file, its beginning on the chain
    #[command(after_help = "Example, with a sponsor who pays:\n  \
        zynk did create --out alice.id --sponsor-key sponsor.key --genesis genesis.json\n\n\
        The file holds all keys of the identity, the recovery key among them: keep a copy where nobody else gets at it.")]
    Create(Create),
    /// Show the public side of an identity's file
    #[command(after_help = "Example:\n  zynk did show alice.id")]
    Show {
        /// The identity's file
        file: PathBuf,
    },
    /// Prove what the chain holds of an identity
    #[command(after_help = "Example:\n  zynk did resolve did:zynk:… --genesis genesis.json --json\n\n\
        With --json this is a W3C DID resolution result.")]
    Resolve(Resolve),
    /// Put the next control key in force, and commit to one after it
    #[command(after_help = "Example:\n  zynk did rotate alice.id --sponsor-key sponsor.key --genesis genesis.json\n\n\
        Interrupted, it can be run again.")]
    Rotate(Change),
    /// End an identity for good
    #[command(after_help = "Example:\n  zynk did deactivate alice.id --yes --sponsor-key sponsor.key --genesis genesis.json")]
    Deactivate {
        #[command(flatten)]
        change: Change,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
    },
    /// Add a device, its keys in the identity's file
    #[command(after_help = "Example:\n  zynk did add-device alice.id --sponsor-key sponsor.key --genesis genesis.json")]
    AddDevice(Change),
    /// Remove a device
    #[command(after_help = "Example:\n  zynk did remove-device alice.id --device 2 --sponsor-key sponsor.key --genesis genesis.json")]
    RemoveDevice {
        #[command(flatten)]
        change: Change,
        /// The device's id, as `zynk did show` lists it
        #[arg(long, value_name = "ID")]
        device: u16,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where to write the keys; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Encrypt them under a passphrase
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The identity
    did: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The identity's file
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Create(arguments) => create(arguments).await,
        Command::Show { file } => show(&file),
        Command::Resolve(arguments) => resolve(arguments).await,
        Command::Rotate(change) => rotate(change).await,
        Command::Deactivate { change, yes } => deactivate(change, yes).await,
        Command::AddDevice(change) => add_device(change).await,
        Command::RemoveDevice { change, device } => remove_device(change, device).await,
    }
}

async fn create(arguments: Create) -> Result<Report, Failure> {
    let Create { out, encrypt, signing, connection } = arguments;
    let passphrase = encrypt.then(unlock::new_passphrase).transpose()?;
    let (signers, mut chain) = (signing.load()?, connection.open()?);
    let valid_until = chain.valid_until().await?;
    let (ring, operation) = Keyring::generate(chain.trust().chain(), valid_until);
    let ring = match &passphrase {
        Some(passphrase) => ring.encrypted(passphrase)?,
        None => ring,
    };
    // Written first: an identity whose keys are lost in a crash is nobody's.
    ring.create(&out)?;
    let included = match signers.submit(&mut chain, Body::Identity(Box::new(operation))).await {
        Err(Failure::Node(error @ rpc::Error::Transaction { .. })) => {
            // It was refused and never will be: its keys are good for nothing.
            std::fs::remove_file(&out).map_err(Failure::io(&out))?;
            return Err(error.into());
        }
        included => included?,
    };
    let text = format!("created {} in block {}; its keys are in {}", ring.did, included.height, out.display());
    Ok(Report::new(text, changed_json(&ring, &included)))
}

fn show(path: &Path) -> Result<Report, Failure> {
    let ring = Keyring::load(path).map_err(Failure::file(path))?;
    let mut text = format!("{} on chain {}, control key {}", ring.did, ring.chain, ring.control());
    let mut devices = Vec::new();
    for device in ring.devices() {
        let (id, key, signal) = (device.id, device.key().public(), device.signal());
        let number = id.map_or_else(|| "not on the chain yet".to_owned(), |id| id.to_string());
        text += &format!("\n  device {number}: key {key}, Signal key {signal}");
        devices.push(json!({"id": id, "key": key, "signal": signal}));
    }
    if ring.is_rotating() {
        text += "\n  a rotation was begun and not finished: run `zynk did rotate` again";
    }
    let json = json!({
        "did": ring.did,
        "chain": ring.chain,
        "control": ring.control(),
        "rotating": ring.is_rotating(),
        "devices": devices,
    });
    Ok(Report::new(text, json))
}

async fn resolve(arguments: Resolve) -> Result<Report, Failure> {
    let did = match requested(&arguments.did) {
        Ok(did) => did,
        Err(problem) => return Ok(unresolved(problem, &format!("{}: {problem}", arguments.did))),
    };
    let mut chain = arguments.connection.open()?;
    let Proven { value, header } = chain.identity(&did).await?;
    let how = proven(&chain, &header);
    let Some(entry) = value else {
        return Ok(unresolved(Problem::NotFound, &format!("there is no {did}; {how}")));
    };
    let mut proof = Map::new();
    if let Value::Object(fields) = proof_json(&chain, &header) {
        proof.insert("type".to_owned(), "ZynkStateProof".into());
        // Metadata holds no numbers (DID Resolution, "Metadata Structure").
        proof.extend(fields.into_iter().map(|(name, value)| (name, if value.is_number() { value.to_string().into() } else { value })));
    }
    let facts = Facts {
        created: time(&mut chain, entry.created).await?,
        updated: time(&mut chain, entry.updated).await?,
        ended: None,
        proof: vec![proof],
    };
    let json = serde_json::to_value(Resolution::found(&did, &entry, facts)).expect("a resolution has text keys, so it serialises");
    Ok(Report::new(format!("{did} {}; {how}", describe(&entry)), json))
}

fn describe(entry: &Entry) -> String {
    if entry.is_deactivated() {
        return format!("was deactivated at height {}", entry.updated);
    }
    let keys: Vec<_> = entry.control.keys.iter().map(|key| Multikey::Ed25519(*key).to_string()).collect();
    let (version, devices) = (entry.sequence, entry.devices.len());
    let noun = if devices == 1 { "device" } else { "devices" };
    format!("is active: version {version}, control key {}, {devices} {noun}", keys.join(" and "))
}

fn unresolved(problem: Problem, detail: &str) -> Report {
    let resolution = Resolution::failed(problem, detail);
    Report::refuted(detail, serde_json::to_value(resolution).expect("a resolution has text keys, so it serialises"))
}

async fn time(chain: &mut Chain, height: Height) -> Result<Option<Millis>, Failure> {
    Ok(Millis::try_from(chain.header(height).await?.time()).ok())
}

async fn rotate(change: Change) -> Result<Report, Failure> {
    let mut work = Work::begin(change).await?;
    let old = work.ring.control();
    work.ring.begin_rotation();
    // The key that is committed to must not be lost when the chain knows it.
    work.ring.save(&work.file)?;
    let operation = work.ring.rotation(&work.entry, work.valid_until);
    let included = work.send(operation).await?;
    let (did, new, height) = (work.ring.did, work.ring.control(), included.height);
    Ok(Report::new(format!("rotated the control key of {did} from {old} to {new} in block {height}"), changed_json(&work.ring, &included)))
}

async fn deactivate(change: Change, yes: bool) -> Result<Report, Failure> {
    if !yes {
        return Err(Failure::Unconfirmed("deactivating an identity"));
    }
    let mut work = Work::begin(change).await?;
    let operation = work.ring.deactivation(&work.entry, work.valid_until);
    let included = work.send(operation).await?;
    Ok(Report::new(format!("deactivated {} in block {}, for good", work.ring.did, included.height), changed_json(&work.ring, &included)))
}

async fn add_device(change: Change) -> Result<Report, Failure> {
    let mut work = Work::begin(change).await?;
    let device = work.ring.begin_device();
    work.ring.save(&work.file)?;
    let operation = work.ring.addition(&work.entry, &device, work.valid_until);
    let included = work.send(operation).await?;
    let key = device.key().public();
    let id = work.ring.devices().iter().find(|known| known.key().public() == key).and_then(|known| known.id);
    let text = format!("added device {} to {} in block {}", id.unwrap_or_default(), work.ring.did, included.height);
    let mut json = changed_json(&work.ring, &included);
    json["device"] = json!(id);
    Ok(Report::new(text, json))
}

async fn remove_device(change: Change, device: u16) -> Result<Report, Failure> {
    let mut work = Work::begin(change).await?;
    work.entry.device(device).ok_or(Failure::NoDevice(device))?;
    let operation = work.ring.removal(&work.entry, device, work.valid_until);
    let included = work.send(operation).await?;
    let text = format!("removed device {device} from {} in block {}", work.ring.did, included.height);
    Ok(Report::new(text, changed_json(&work.ring, &included)))
}

/// A change of an identity under way: its file, locked, and what the chain holds of it.
struct Work {
    file: PathBuf,
    ring: Keyring,
    entry: Entry,
    valid_until: Height,
    chain: Chain,
    signers: super::Signers,
    _lock: std::fs::File,
}

impl Work {
    async fn begin(change: Change) -> Result<Self, Failure> {
        let Change { file, signing, connection } = change;
        // Two changes at once would each write down a next key, and the chain would take one.
        let lock = file::lock(&file)?;
        let ring = Keyring::load(&file).map_err(Failure::file(&file))?;
        let (signers, mut chain) = (signing.load()?, connection.open()?);
        let expected = chain.trust().chain().clone();
        if ring.chain != expected {
            return Err(Failure::WrongChain { what: "the identity", found: ring.chain, expected });
        }
        let entry = read(&mut chain, &ring).await?;
        let valid_until = chain.valid_until().await?;
        let mut work = Self { file, ring, entry, valid_until, chain, signers, _lock: lock };
        work.settle()?;
        if work.entry.is_deactivated() {
            return Err(Failure::Deactivated(work.ring.did));
        }
        Ok(work)
    }

    async fn send(&mut self, operation: SignedOperation) -> Result<Included, Failure> {
        let included = self.signers.submit(&mut self.chain, Body::Identity(Box::new(operation))).await?;
        self.entry = read(&mut self.chain, &self.ring).await?;
        self.settle()?;
        Ok(included)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        if self.ring.settle(&self.entry)? {
            self.ring.save(&self.file)?;
        }
        Ok(())
    }
}

async fn read(chain: &mut Chain, ring: &Keyring) -> Result<Entry, Failure> {
    chain.identity(&ring.did).await?.value.ok_or(Failure::NoIdentity(ring.did))
}

fn changed_json(ring: &Keyring, included: &Included) -> Value {
    let mut json = included_json(included);
    json["did"] = json!(ring.did);
    json["control"] = json!(ring.control());
    json
}
