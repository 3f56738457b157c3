//! Why a file was refused, or could not be written.

use std::path::{Path, PathBuf};

use crate::keys::KeyKind;

/// What was wrong. [`Error::code`] is stable; `docs/spec/genesis.md` lists the codes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system could not read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is longer than its format allows.
    #[error("{found} bytes are above the bound of {bound}")]
    TooLarge {
        /// Its size in bytes.
        found: u64,
        /// The bound in bytes.
        bound: u64,
    },
    /// The bytes are not UTF-8.
    #[error("not UTF-8 text: byte {at} does not belong there")]
    Utf8 {
        /// The first byte that does not.
        at: usize,
    },
    /// The text is not JSON of this format. What stands there is not repeated: it may be secret.
    #[error("not valid JSON of this format: line {line}, column {column}{hint}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was expected; empty where saying it could show a secret.
        hint: String,
    },
    /// A field that this format does not have.
    #[error("unknown field {0}")]
    UnknownField(String),
    /// One name stands twice in an object.
    #[error("field {0} stands twice")]
    RepeatedField(String),
    /// A field of the genesis has a value that no chain of this version can have.
    #[error("{field} {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// `app_state` is refused by the ledger.
    #[error("app_state: {0}")]
    State(#[from] ledger::genesis::BadGenesis),
    /// The lists of validators, for the engine and in `app_state`, differ.
    #[error("validator {at}: {rule}")]
    Validator {
        /// Its place, from 0.
        at: usize,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The validators are no set that a light client takes.
    #[error("validators: {0}")]
    Set(#[from] light::Error),
    /// An application that was altered, or that this genesis cannot take up.
    #[error("the application {0}")]
    Application(&'static str),
    /// A key file of another kind.
    #[error("a key of kind {found}, expected one of kind {expected}")]
    WrongKind {
        /// The kind that the file names.
        found: KeyKind,
        /// The kind that is needed.
        expected: KeyKind,
    },
    /// A public key is not that of the secret beside it: the file was damaged or tampered with.
    #[error("{0} is not the public half of its seed")]
    KeyMismatch(&'static str),
    /// A file with secrets may be read by others.
    #[error("{} may be read by others (mode {mode:03o}): chmod 600 it, and consider its keys known", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something stands already where a new file with secrets was to go.
    #[error("{} exists already and is left as it is: name another file", .0.display())]
    Exists(PathBuf),
    /// The keys in the file and the identity on the chain do not belong together.
    #[error("the {0} on the chain is not the one in this file: another copy of the file is newer")]
    Behind(&'static str),
    /// Another process works on the file.
    #[error("another process is working with {}: wait until it is done", .0.display())]
    Busy(PathBuf),
    /// A file is encrypted, and there is nobody to ask for its passphrase.
    #[error("{} is encrypted, and there is no passphrase: {reason}", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Why there is none.
        reason: String,
    },
    /// The passphrase does not open the file, or the file was altered: these cannot be told apart.
    #[error("the passphrase does not open {}; if it is the right one, the file was altered", .0.display())]
    WrongPassphrase(PathBuf),
    /// A file asks for more memory or work than this program gives to open one.
    #[error("the encrypted file asks for more memory or time than a key file may")]
    Cost,
    /// What was given as a passphrase is none.
    #[error("the passphrase {0}")]
    BadPassphrase(&'static str),
    /// A file is encrypted already, or is not.
    #[error("{} is {}", path.display(), if *encrypted { "encrypted already" } else { "not encrypted" })]
    Locked {
        /// The file.
        path: PathBuf,
        /// What it is.
        encrypted: bool,
    },
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Io { .. } => 4001,
            Self::TooLarge { .. } => 4002,
            Self::Utf8 { .. } => 4003,
            Self::Json { .. } => 4004,
            Self::UnknownField(_) => 4005,
            Self::RepeatedField(_) => 4006,
            Self::Field { .. } => 4101,
            Self::State(_) => 4102,
            Self::Validator { .. } => 4103,
            Self::Set(_) => 4104,
            Self::Application(_) => 4105,
            Self::WrongKind { .. } => 4201,
            Self::KeyMismatch(_) => 4202,
            Self::Exposed { .. } => 4203,
            Self::Exists(_) => 4204,
            Self::Behind(_) => 4205,
            Self::Busy(_) => 4206,
            Self::Encrypted { .. } => 4207,
            Self::WrongPassphrase(_) => 4208,
            Self::Cost => 4209,
            Self::BadPassphrase(_) => 4210,
            Self::Locked { .. } => 4211,
        }
    }

    /// For `map_err`, with the file that it is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
