//! `zynk keys`: key files.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use genesis::{KeyFile, KeyKind, peer_id_text};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new key in a new file (mode 0600)
    #[command(after_help = "Example:\n  zynk keys make --kind account --out me.key")]
    Make {
        /// What the key is for
        #[arg(long, value_enum)]
        kind: Kind,
        /// Where to write it; nothing is overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the public side of a key file
    #[command(after_help = "Example:\n  zynk keys show me.key")]
    Show {
        /// The key file
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Signs transactions
    Account,
    /// Signs a validator's votes
    Validator,
    /// Names a node on the networks
    Node,
    /// Signs the anchors of a log
    Log,
}

pub(crate) fn run(command: &Command) -> Result<Report, Failure> {
    match command {
        Command::Make { kind, out } => make(*kind, out),
        Command::Show { file } => show(file),
    }
}

fn make(kind: Kind, out: &Path) -> Result<Report, Failure> {
    let kind = match kind {
        Kind::Account => KeyKind::Account,
        Kind::Validator => KeyKind::Validator,
        Kind::Node => KeyKind::Node,
        Kind::Log => KeyKind::Log,
    };
    let key = KeyFile::generate(kind);
    key.create(out)?;
    Ok(Report::new(format!("made {} in {}; nobody has a copy", describe(&key), out.display()), public(&key, out)))
}

fn show(file: &Path) -> Result<Report, Failure> {
    let key = KeyFile::load_any(file).map_err(Failure::file(file))?;
    Ok(Report::new(describe(&key), public(&key, file)))
}

fn describe(key: &KeyFile) -> String {
    let public = key.public();
    match key.kind() {
        KeyKind::Account => format!("account key {} (public key {public})", public.address()),
        KeyKind::Validator => format!("validator key {public} (address {})", public.address()),
        KeyKind::Node => format!("node key {public} (peer id {})", peer_id_text(&public)),
        KeyKind::Log => format!("log key {public}"),
    }
}

fn public(key: &KeyFile, file: &Path) -> Value {
    let public = key.public();
    json!({
        "file": file,
        "kind": key.kind(),
        "public": public,
        "address": matches!(key.kind(), KeyKind::Account | KeyKind::Validator).then(|| public.address()),
        "peer_id": matches!(key.kind(), KeyKind::Node).then(|| peer_id_text(&public)),
    })
}
