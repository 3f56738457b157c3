//! `zynk keys`: key files.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use genesis::sealed::{self, Holds, Label};
use genesis::{KeyFile, KeyKind, peer_id_text};
use serde_json::{Value, json};
use types::PublicKey;

use crate::failure::Failure;
use crate::report::Report;
use crate::unlock;

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
        /// Encrypt it under a passphrase
        #[arg(long)]
        encrypt: bool,
    },
    /// Show the public side of a key file; an encrypted one says it without its passphrase
    #[command(after_help = "Example:\n  zynk keys show me.key")]
    Show {
        /// The key file
        file: PathBuf,
    },
    /// Encrypt a file with secrets under a passphrase: any key file, a log's or an identity's
    #[command(after_help = "Example:\n  zynk keys encrypt node/validator.key\n\n\
        What works with the file must not run meanwhile. A passphrase that is lost cannot be had again, and the key with it.\n\
        Copies that were made before stay readable: make an end of them, or another key.")]
    Encrypt {
        /// The file
        file: PathBuf,
    },
    /// Write an encrypted file as one that needs no passphrase
    #[command(after_help = "Example:\n  zynk keys decrypt node/validator.key")]
    Decrypt {
        /// The file
        file: PathBuf,
    },
    /// Give an encrypted file another passphrase
    #[command(after_help = "Example:\n  zynk keys passphrase node/validator.key\n  \
        zynk keys passphrase node/validator.key --passphrase-file old --new-passphrase-file new\n\n\
        Copies that were made before still open with the passphrase of then.")]
    Passphrase {
        /// The file
        file: PathBuf,
        /// A file whose first line is the new passphrase; else it is asked for
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
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
        Command::Make { kind, out, encrypt } => make(*kind, out, *encrypt),
        Command::Show { file } => show(file),
        Command::Encrypt { file } => encrypt(file),
        Command::Decrypt { file } => {
            let label = sealed::decrypt(file).map_err(Failure::file(file))?;
            Ok(changed(file, &label, "decrypted: whoever reads the file has its keys"))
        }
        Command::Passphrase { file, new_passphrase_file } => {
            let label = sealed::change(file, || unlock::another_passphrase(new_passphrase_file.as_deref()))?;
            Ok(changed(file, &label, "has another passphrase"))
        }
    }
}

fn make(kind: Kind, out: &Path, encrypt: bool) -> Result<Report, Failure> {
    let kind = match kind {
        Kind::Account => KeyKind::Account,
        Kind::Validator => KeyKind::Validator,
        Kind::Node => KeyKind::Node,
        Kind::Log => KeyKind::Log,
    };
    let mut key = KeyFile::generate(kind);
    if encrypt {
        key = key.encrypted(&unlock::new_passphrase()?)?;
    }
    key.create(out)?;
    let text = format!("made {} in {}; nobody has a copy", describe(kind, &key.public()), out.display());
    Ok(Report::new(text, public(kind, &key.public(), out, encrypt)))
}

fn show(file: &Path) -> Result<Report, Failure> {
    let label = sealed::label(file).map_err(Failure::file(file))?;
    let kind = match label.holds {
        Holds::Account => KeyKind::Account,
        Holds::Validator => KeyKind::Validator,
        Holds::Node => KeyKind::Node,
        Holds::Log => KeyKind::Log,
        Holds::Anchors | Holds::Identity => {
            return Ok(Report::new(format!("{label}{}", state(&label)), of(file, &label)));
        }
    };
    let key = KeyFile::public_of(file, kind).map_err(Failure::file(file))?;
    Ok(Report::new(format!("{}{}", describe(kind, &key), state(&label)), public(kind, &key, file, label.encrypted)))
}

fn encrypt(file: &Path) -> Result<Report, Failure> {
    let label = sealed::label(file).map_err(Failure::file(file))?;
    if label.encrypted {
        return Err(genesis::Error::Locked { path: file.to_owned(), encrypted: true }.into());
    }
    let label = sealed::encrypt(file, &unlock::new_passphrase()?).map_err(Failure::file(file))?;
    Ok(changed(file, &label, "encrypted; without its passphrase nobody can use it again"))
}

fn changed(file: &Path, label: &Label, what: &str) -> Report {
    Report::new(format!("{} ({label}): {what}", file.display()), of(file, label))
}

const fn state(label: &Label) -> &'static str {
    if label.encrypted { ", encrypted; so the file says, which shows only when it is opened" } else { "" }
}

fn of(file: &Path, label: &Label) -> Value {
    json!({"file": file, "holds": label.holds, "name": label.name, "encrypted": label.encrypted})
}

fn describe(kind: KeyKind, public: &PublicKey) -> String {
    match kind {
        KeyKind::Account => format!("account key {} (public key {public})", public.address()),
        KeyKind::Validator => format!("validator key {public} (address {})", public.address()),
        KeyKind::Node => format!("node key {public} (peer id {})", peer_id_text(public)),
        KeyKind::Log => format!("log key {public}"),
    }
}

fn public(kind: KeyKind, public: &PublicKey, file: &Path, encrypted: bool) -> Value {
    json!({
        "file": file,
        "kind": kind,
        "public": public,
        "address": matches!(kind, KeyKind::Account | KeyKind::Validator).then(|| public.address()),
        "peer_id": matches!(kind, KeyKind::Node).then(|| peer_id_text(public)),
        "encrypted": encrypted,
    })
}
