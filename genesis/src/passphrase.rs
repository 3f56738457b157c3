//! Passphrases of encrypted key files, and where a program gets them.
//!
//! Who reads a key file in the middle of a service does not know whether there is a terminal or a file with a
//! passphrase. So a program says at its start, once, how it asks ([`ask_with`]), as it does for its log. One that
//! does not say is given no encrypted key.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use zeroize::Zeroizing;

use crate::Error;

/// How long a passphrase may be, in bytes.
pub const MAX_BYTES: usize = 1024;

/// So many passphrases are remembered: a node has two key files, a relay three.
const REMEMBERED: usize = 8;

/// A passphrase: 1 to [`MAX_BYTES`] bytes on one line. Erased when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// How a program asks for the passphrase of a file, which it is told together with what the file says it holds.
pub type Ask = dyn Fn(&Path, &str) -> Result<Passphrase, Error> + Send + Sync;

static ASK: OnceLock<Box<Ask>> = OnceLock::new();
static KNOWN: Mutex<Vec<Passphrase>> = Mutex::new(Vec::new());

impl Passphrase {
    /// The passphrase `text`.
    ///
    /// # Errors
    /// [`Error::BadPassphrase`] for an empty one, one that is too long, or of several lines.
    pub fn new(text: Zeroizing<String>) -> Result<Self, Error> {
        match text.len() {
            0 => Err(Error::BadPassphrase("is empty")),
            _ if text.contains(['\n', '\r']) => Err(Error::BadPassphrase("has more than one line")),
            1..=MAX_BYTES => Ok(Self(text)),
            _ => Err(Error::BadPassphrase("is longer than 1024 bytes")),
        }
    }

    /// The first line of a file's bytes.
    ///
    /// # Errors
    /// As [`Passphrase::new`].
    pub fn first_line(bytes: &[u8]) -> Result<Self, Error> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| Error::BadPassphrase("is not UTF-8"))?;
        Self::new(Zeroizing::new(text.to_owned()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Says how this process asks for passphrases. The first time counts.
pub fn ask_with(ask: Box<Ask>) {
    let _ = ASK.set(ask);
}

/// Those that have opened a file in this process. Whoever can read its memory has the keys anyway.
#[must_use]
pub fn known() -> Vec<Passphrase> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Has a passphrase tried before anybody is asked.
pub fn remember(passphrase: Passphrase) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(&passphrase) && known.len() < REMEMBERED {
        known.push(passphrase);
    }
}

/// Asks for the passphrase of a file.
pub(crate) fn ask(path: &Path, holds: &str) -> Result<Passphrase, Error> {
    match ASK.get() {
        Some(ask) => ask(path, holds),
        None => Err(Error::Encrypted { path: path.to_owned(), reason: "this program asks for no passphrase".to_owned() }),
    }
}
