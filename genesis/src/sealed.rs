//! Files with secrets, encrypted under a passphrase: version 2 of every one of them.
//!
//! What is sealed is the whole file of version 1. Argon2id makes a key of the passphrase (RFC 9106), XChaCha20-Poly1305
//! encrypts and authenticates with it, the header included. A file that is read and written again keeps its salt, so
//! its key is worked out once, and gets a new nonce with each writing: 24 random bytes never come twice.

use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::keys::{KeyFile, LogFile, MAX_BYTES, to_json};
use crate::passphrase::{self, Passphrase};
use crate::{Error, Keyring, entropy, file};

/// How large an encrypted file may be, in bytes: twice what it holds, and a header.
const MAX_SEALED: u64 = 2 * MAX_BYTES + 4096;

/// The most memory that a file may ask for to open it: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
/// The most passes.
const MAX_PASSES: u32 = 64;
/// The most lanes.
const MAX_LANES: u32 = 64;
/// The most work altogether, in KiB times passes: some ten seconds.
const MAX_WORK: u64 = 4 << 20;

/// How long a name in a header may be, in bytes: a public key or an identity.
const MAX_NAME: usize = 128;

const CONTEXT: &[u8] = b"zynk.2026 sealed key file v1";

/// What a file holds, as its header says. It is authenticated, so it is known to be true once the file was opened, and
/// not before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// A key file of the kind `account`.
    Account,
    /// A key file of the kind `validator`.
    Validator,
    /// A key file of the kind `node`.
    Node,
    /// A key file of the kind `log`.
    Log,
    /// A log file: the key of a log of anchors, and what it signed last.
    Anchors,
    /// The keys of an identity.
    Identity,
}

impl Holds {
    const fn words(self) -> &'static str {
        match self {
            Self::Account => "account key",
            Self::Validator => "validator key",
            Self::Node => "node key",
            Self::Log => "log key",
            Self::Anchors => "key of a log",
            Self::Identity => "keys of the identity",
        }
    }
}

/// What a file holds and the name of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// What it is.
    pub holds: Holds,
    /// The public key in hexadecimal, or the identity.
    pub name: String,
    /// Whether the file is encrypted; then the label is what the file says, and nobody has checked it.
    pub encrypted: bool,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.holds.words(), self.name)
    }
}

/// How a passphrase becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdf {
    name: Argon2id,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Hex<16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Argon2id {
    #[serde(rename = "argon2id")]
    Only,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum XChaCha {
    #[serde(rename = "xchacha20-poly1305")]
    Only,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; N];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl Kdf {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes; with a new salt.
    fn recommended() -> Self {
        Self { name: Argon2id::Only, memory_kib: 64 << 10, passes: 3, lanes: 4, salt: Hex(entropy::bytes()) }
    }

    /// The key. The bounds are asked before any memory is taken.
    fn key(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, Error> {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        let bounded = self.memory_kib <= MAX_MEMORY_KIB && self.passes <= MAX_PASSES && self.lanes <= MAX_LANES && work <= MAX_WORK;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok().filter(|_| bounded).ok_or(Error::Cost)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(params.block_count()).map_err(|_| Error::Cost)?;
        memory.resize(params.block_count(), Block::default());
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
        let done = argon.hash_password_into_with_memory(passphrase.as_bytes(), &self.salt.0, &mut *key, &mut memory);
        memory.iter_mut().for_each(Block::zeroize);
        done.map_err(|_| Error::Cost)?;
        Ok(key)
    }
}

/// What opens a file and seals it again.
#[derive(Clone)]
pub(crate) struct Lock {
    kdf: Kdf,
    key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

impl Lock {
    pub(crate) fn new(passphrase: &Passphrase) -> Result<Self, Error> {
        let kdf = Kdf::recommended();
        Ok(Self { kdf, key: kdf.key(passphrase)? })
    }

    fn seal(&self, label: &Label, text: &str) -> Sealed {
        self.seal_with(label, text, entropy::bytes())
    }

    fn seal_with(&self, label: &Label, text: &str, nonce: [u8; 24]) -> Sealed {
        let mut file = Sealed {
            version: 2,
            holds: label.holds,
            name: label.name.clone(),
            kdf: self.kdf,
            cipher: XChaCha::Only,
            nonce: Hex(nonce),
            sealed: String::new(),
        };
        let payload = Payload { msg: text.as_bytes(), aad: &file.header() };
        let cipher = XChaCha20Poly1305::new((&*self.key).into());
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("64 KiB are below what the cipher takes");
        file.sealed = hex::encode(sealed);
        file
    }
}

/// An encrypted file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u8,
    holds: Holds,
    name: String,
    kdf: Kdf,
    cipher: XChaCha,
    nonce: Hex<24>,
    sealed: String,
}

impl Sealed {
    /// What is authenticated beside the sealed bytes: all fields but those, the name last since it has no fixed length.
    fn header(&self) -> Vec<u8> {
        let mut header = CONTEXT.to_vec();
        header.push(self.holds as u8);
        for number in [self.kdf.memory_kib, self.kdf.passes, self.kdf.lanes] {
            header.extend(number.to_be_bytes());
        }
        header.extend(self.kdf.salt.0);
        header.extend(self.nonce.0);
        header.extend(self.name.as_bytes());
        header
    }

    fn label(&self) -> Label {
        Label { holds: self.holds, name: self.name.clone(), encrypted: true }
    }

    /// The file that was sealed, if the passphrase is right.
    fn open(&self, passphrase: &Passphrase) -> Result<Option<(Zeroizing<String>, Lock)>, Error> {
        let sealed = hex::decode(&self.sealed).map_err(|_| Error::KeyMismatch("the sealed part"))?;
        let key = self.kdf.key(passphrase)?;
        let payload = Payload { msg: &sealed, aad: &self.header() };
        let Ok(bytes) = XChaCha20Poly1305::new((&*key).into()).decrypt(XNonce::from_slice(&self.nonce.0), payload) else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).map_err(|error| Error::Utf8 { at: error.valid_up_to() })?;
        Ok(Some((Zeroizing::new(text.to_owned()), Lock { kdf: self.kdf, key })))
    }

    /// Tries what is known, and asks for what is not.
    fn unlock(&self, path: &Path) -> Result<(Zeroizing<String>, Lock), Error> {
        for known in passphrase::known() {
            if let Some(opened) = self.open(&known)? {
                return Ok(opened);
            }
        }
        let asked = passphrase::ask(path, &self.label().to_string())?;
        let opened = self.open(&asked)?.ok_or_else(|| Error::WrongPassphrase(path.to_owned()))?;
        passphrase::remember(asked);
        Ok(opened)
    }
}

/// A file with secrets, of version 1.
pub(crate) trait Secret: Serialize + DeserializeOwned {
    /// What it holds.
    fn label(&self) -> Label;
    /// What it was encrypted with, if it was.
    fn lock(&self) -> Option<&Lock>;
    /// Keeps that for the next writing.
    fn set_lock(&mut self, lock: Option<Lock>);
}

/// Reads a file of secrets, encrypted or not. What stands in it is not repeated in the error.
pub(crate) fn load<T: Secret>(path: &Path) -> Result<T, Error> {
    match read(path)? {
        Found::Clear(text) => parse(&text),
        Found::Sealed(sealed) => {
            let (text, lock) = sealed.unlock(path)?;
            let mut file: T = parse(&text)?;
            // Who has the passphrase can seal anything; a file is still what its header says.
            if (Label { encrypted: true, ..file.label() }) != sealed.label() {
                return Err(Error::KeyMismatch("the name in the header"));
            }
            file.set_lock(Some(lock));
            Ok(file)
        }
    }
}

/// A file's bytes, encrypted where it is.
pub(crate) fn to_bytes<T: Secret>(file: &T) -> Zeroizing<String> {
    let text = to_json(file);
    match file.lock() {
        Some(lock) => to_json(&lock.seal(&file.label(), &text)),
        None => text,
    }
}

/// What a file of any kind holds. Nobody is asked for a passphrase.
///
/// # Errors
/// As [`KeyFile::load_any`], but for the passphrase.
pub fn label(path: &Path) -> Result<Label, Error> {
    match read(path)? {
        Found::Clear(text) => label_of(&text),
        Found::Sealed(sealed) => Ok(sealed.label()),
    }
}

/// Encrypts a file that is not, under `passphrase`.
///
/// The encrypted file is whole and synced before it takes the place of the other, whose bytes are then overwritten. That
/// is what a program can do: file systems and disks that write elsewhere keep the old bytes until they need the room.
///
/// # Errors
/// As [`KeyFile::load_any`]; [`Error::Locked`] if it is encrypted already; [`Error::Busy`].
pub fn encrypt(path: &Path, passphrase: &Passphrase) -> Result<Label, Error> {
    let _lock = file::lock(path)?;
    match read(path)? {
        Found::Sealed(_) => Err(Error::Locked { path: path.to_owned(), encrypted: true }),
        Found::Clear(text) => {
            let label = label_of(&text)?;
            replace(path, &to_json(&Lock::new(passphrase)?.seal(&label, &text)))?;
            Ok(Label { encrypted: true, ..label })
        }
    }
}

/// Writes an encrypted file as one that is not.
///
/// # Errors
/// As [`KeyFile::load_any`]; [`Error::Locked`] if it is not encrypted; [`Error::Busy`].
pub fn decrypt(path: &Path) -> Result<Label, Error> {
    let _lock = file::lock(path)?;
    let (text, label) = opened(path)?;
    replace(path, &text)?;
    Ok(Label { encrypted: false, ..label })
}

/// Encrypts an encrypted file under another passphrase, which `ask` gives once the present one has opened it.
///
/// # Errors
/// As [`decrypt`], and what `ask` says.
pub fn change<E: From<Error>>(path: &Path, ask: impl FnOnce() -> Result<Passphrase, E>) -> Result<Label, E> {
    let _lock = file::lock(path)?;
    let (text, label) = opened(path)?;
    let lock = Lock::new(&ask()?)?;
    replace(path, &to_json(&lock.seal(&label, &text)))?;
    Ok(label)
}

fn opened(path: &Path) -> Result<(Zeroizing<String>, Label), Error> {
    match read(path)? {
        Found::Clear(_) => Err(Error::Locked { path: path.to_owned(), encrypted: false }),
        Found::Sealed(sealed) => {
            let (text, _) = sealed.unlock(path)?;
            let label = Label { encrypted: true, ..label_of(&text)? };
            if label == sealed.label() { Ok((text, label)) } else { Err(Error::KeyMismatch("the name in the header")) }
        }
    }
}

fn replace(path: &Path, text: &Zeroizing<String>) -> Result<(), Error> {
    file::replace_secret_for_good(path, text.as_bytes())
}

enum Found {
    Clear(Zeroizing<String>),
    Sealed(Box<Sealed>),
}

#[derive(Deserialize)]
struct Peek {
    version: u8,
}

fn read(path: &Path) -> Result<Found, Error> {
    let bytes = Zeroizing::new(file::read_secret(path, MAX_SEALED)?);
    let text = std::str::from_utf8(&bytes).map_err(|error| Error::Utf8 { at: error.valid_up_to() })?;
    if parse::<Peek>(text).is_ok_and(|peek| peek.version == 2) {
        let sealed: Sealed = parse(text)?;
        return if sealed.name.len() <= MAX_NAME { Ok(Found::Sealed(Box::new(sealed))) } else { Err(Error::Cost) };
    }
    let found = bytes.len() as u64;
    if found > MAX_BYTES { Err(Error::TooLarge { found, bound: MAX_BYTES }) } else { Ok(Found::Clear(Zeroizing::new(text.to_owned()))) }
}

/// What a file of version 1 holds, which is checked as if it were loaded.
fn label_of(text: &str) -> Result<Label, Error> {
    if let Ok(file) = parse::<KeyFile>(text) {
        return file.checked().map(|file| file.label());
    }
    if let Ok(file) = parse::<LogFile>(text) {
        return file.checked().map(|file| file.label());
    }
    parse::<Keyring>(text).map(|file| file.label())
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Json { line: error.line(), column: error.column(), hint: String::new() })
}

#[cfg(test)]
mod tests;
