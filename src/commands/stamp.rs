//! `zynk stamp`: prove that files existed by now.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use audit::bundle::{Bundle, Item};
use audit::record::Status;
use audit::{Anchor, Batch, Body as Committed, LogId, LogRecord, SignedAnchor};
use clap::Args;
use genesis::{LogFile, entropy, file};
use ledger::Body;
use rpc::Chain;
use serde_json::json;
use tendermint::Time;
use types::{Encode as _, Millis};

use super::Signers;
use crate::cli::{Connection, Signing};
use crate::failure::Failure;
use crate::report::Report;
use crate::stamping::{self, Source, Sources, Unstampable, sources};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    zynk stamp report.pdf --key me.key --genesis genesis.json\n  \
    zynk stamp photos/ --key me.key --genesis genesis.json --one photos.zproof\n  \
    tar c src | zynk stamp - --one src.zproof --key me.key --genesis genesis.json\n\n\
    Only a salted hash leaves this machine, inside the root of a batch. The account's first stamp registers a log\n\
    and pays its bond; the log's key is kept beside the account's.")]
pub(crate) struct Arguments {
    /// A file, a folder, or - for standard input
    #[arg(value_name = "FILE|FOLDER|-")]
    path: PathBuf,
    /// One proof for all, in this file, in place of one beside each file
    #[arg(long, value_name = "FILE", conflicts_with = "out", required_if_eq("path", "-"))]
    one: Option<PathBuf>,
    /// Write the proofs below this folder, in place of beside the files
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Write the proofs as JSON; binary ones are a third as long
    #[arg(long)]
    text: bool,
    /// Leave the names of the files out of the proofs
    #[arg(long)]
    nameless: bool,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    let (bodies, plan) = read(&arguments)?;
    let (signers, mut chain) = (arguments.signing.load()?, arguments.connection.open()?);
    let path = log_path(&arguments.signing, &chain);
    // Two stamps at once would sign two anchors for one sequence, and that is evidence against the log.
    let _lock = file::lock(&path)?;
    let opened = now();
    let (mut log, record) = log(&mut chain, &signers, &path).await?;
    let record = resend(&mut chain, &signers, &log, record).await?;
    let sealed = stamping::seal(bodies, entropy::bytes);
    let anchor = anchor(&log, &record, &sealed.batch, opened);
    let sequence = anchor.anchor.sequence;
    log.signed = Some(anchor.clone());
    log.save(&path)?;
    let included = signers.submit(&mut chain, Body::Anchor(Box::new(anchor))).await?;
    let mut items = sealed.items.clone();
    items.sort_by_key(|item| item.index);
    let bundle = chain.bundle(items, log.log, sequence).await?;
    let written = plan.write(&bundle, sealed.items, arguments.text)?;
    Ok(done(&plan, &bundle, &written, log.log, included.height))
}

/// Where the proofs go.
enum Plan {
    /// One for all.
    One { proof: PathBuf, files: usize, skipped: usize },
    /// One for each file, in the order of the items.
    Each { proofs: Vec<PathBuf>, skipped: usize },
}

/// Hashes what is to be stamped, after looking whether the proofs can be written.
fn read(arguments: &Arguments) -> Result<(Vec<Committed>, Plan), Failure> {
    let standard_input = arguments.path == Path::new("-");
    if let (true, Some(proof)) = (standard_input, &arguments.one) {
        vacant(proof)?;
        let (content, size) = stamping::hash(&mut std::io::stdin().lock()).map_err(Failure::io(&arguments.path))?;
        let plan = Plan::One { proof: proof.clone(), files: 1, skipped: 0 };
        return Ok((vec![Committed::File { content, size, name: None }], plan));
    }
    let Sources { files, skipped } = sources(&arguments.path)?;
    let plan = match &arguments.one {
        Some(proof) => {
            vacant(proof)?;
            Plan::One { proof: proof.clone(), files: files.len(), skipped }
        }
        None => {
            let proofs: Vec<_> = files.iter().map(|source| source.proof(arguments.out.as_deref())).collect();
            proofs.iter().try_for_each(|proof| vacant(proof))?;
            Plan::Each { proofs, skipped }
        }
    };
    let read = |source: &Source| stamping::read(source, !arguments.nameless);
    let bodies = files.iter().map(read).collect::<Result<_, Unstampable>>()?;
    Ok((bodies, plan))
}

fn vacant(proof: &Path) -> Result<(), Failure> {
    if proof.exists() { Err(Failure::ProofExists(proof.to_owned())) } else { Ok(()) }
}

/// The log's file stands beside the key of the account that owns it, one for each chain.
fn log_path(signing: &Signing, chain: &Chain) -> PathBuf {
    let key = signing.key.as_ref().or(signing.sponsor_key.as_ref()).expect("one of both is required");
    file::beside(key, &format!(".{}.log", chain.trust().chain()))
}

/// The account's log, registered if it has none.
async fn log(chain: &mut Chain, signers: &Signers, path: &Path) -> Result<(LogFile, LogRecord), Failure> {
    let known = if path.exists() { Some(LogFile::load(path).map_err(Failure::file(path))?) } else { None };
    if let Some(file) = &known
        && let Some(record) = chain.log(&file.log).await?.value
    {
        if record.status != Status::Active {
            return Err(Failure::LogEnded(file.log));
        }
        if record.key != file.key().public() {
            return Err(genesis::Error::Behind("key of the log").into());
        }
        return Ok((file.clone(), record));
    }
    let owner = signers.author().address();
    let terms = chain.terms(&owner).await?;
    let (found, needed) = (chain.account(&owner).await?.value.balance, terms.params.log_bond);
    if found < needed {
        return Err(Failure::NoBond { owner, found, needed });
    }
    // The key of a registration that may still arrive is kept: the log would be the same one.
    let key = known.map_or_else(entropy::key, |file| file.key().clone());
    let file = LogFile::new(terms.chain.clone(), LogId::derive(&terms.chain, &owner, terms.sequence), key);
    file.save(path)?;
    let body = Body::RegisterLog { key: file.key().public(), bond: needed };
    chain.broadcast(&terms.sign(signers.key(), signers.payer(), body)).await?;
    let record = read_log(chain, file.log).await?;
    Ok((file, record))
}

/// Sends again an anchor that was signed and that the chain has not taken: there must be no other
/// for its sequence.
async fn resend(chain: &mut Chain, signers: &Signers, log: &LogFile, record: LogRecord) -> Result<LogRecord, Failure> {
    match &log.signed {
        Some(signed) if signed.anchor.sequence > record.sequence => {
            signers.submit(chain, Body::Anchor(Box::new(signed.clone()))).await?;
            read_log(chain, log.log).await
        }
        _ => Ok(record),
    }
}

async fn read_log(chain: &mut Chain, log: LogId) -> Result<LogRecord, Failure> {
    let none = rpc::Error::Mismatch { query: "the log", fault: "it was registered and is not there" };
    Ok(chain.log(&log).await?.value.ok_or(none)?)
}

fn anchor(log: &LogFile, record: &LogRecord, batch: &Batch, opened: Millis) -> SignedAnchor {
    let anchor = Anchor {
        version: audit::anchor::VERSION,
        chain: log.chain.clone(),
        log: log.log,
        sequence: record.sequence + 1,
        previous: record.last,
        root: batch.root(),
        count: batch.count(),
        opened,
        closed: now().max(opened),
    };
    SignedAnchor::sign(anchor, log.key())
}

fn now() -> Millis {
    Millis::try_from(Time::now()).expect("the clock is past 1970")
}

impl Plan {
    /// Writes the proofs; how long each is, in bytes.
    fn write(&self, bundle: &Bundle, items: Vec<Item>, text: bool) -> Result<Vec<u64>, Failure> {
        match self {
            Self::One { proof, .. } => Ok(vec![write(proof, bundle, text)?]),
            Self::Each { proofs, .. } => {
                let single = |(proof, item): (&PathBuf, Item)| {
                    let items = vec![item].try_into().expect("one item is within the bound");
                    write(proof, &Bundle { items, ..bundle.clone() }, text)
                };
                proofs.iter().zip(items).map(single).collect()
            }
        }
    }
}

fn write(path: &Path, bundle: &Bundle, text: bool) -> Result<u64, Failure> {
    let bytes = if text { bundle.to_json().into_bytes() } else { bundle.to_bytes() };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Failure::io(folder))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let synced = file.and_then(|mut file: File| file.write_all(&bytes).and_then(|()| file.sync_all()));
    synced.map_err(Failure::io(path)).map(|()| bytes.len() as u64)
}

fn done(plan: &Plan, bundle: &Bundle, sizes: &[u64], log: LogId, height: types::Height) -> Report {
    let (files, proofs, skipped) = match plan {
        Plan::One { proof, files, skipped } => (*files, std::slice::from_ref(proof), *skipped),
        Plan::Each { proofs, skipped } => (proofs.len(), proofs.as_slice(), *skipped),
    };
    let noun = if files == 1 { "file" } else { "files" };
    let place = match proofs {
        [only] => format!("the proof is {}", only.display()),
        [first, ..] => format!("the proofs are {} and {} more", first.display(), proofs.len() - 1),
        [] => unreachable!("there is a file at least"),
    };
    let passed = if skipped > 0 { format!("; {skipped} links or the like were passed over") } else { String::new() };
    let (sequence, time) = (bundle.anchor.anchor.sequence, bundle.sealed.header.time);
    let listed: Vec<_> = proofs.iter().zip(sizes).map(|(proof, size)| json!({"file": proof, "bytes": size})).collect();
    Report::new(
        format!("stamped {files} {noun} in block {height}, provable since {time}; {place}{passed}"),
        json!({
            "files": files,
            "skipped": skipped,
            "log": log,
            "sequence": sequence,
            "height": height,
            "time": time,
            "proofs": listed,
        }),
    )
}
