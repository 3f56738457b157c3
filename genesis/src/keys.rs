//! Key files: one secret key each, as JSON with mode 0600.

use std::fmt;
use std::path::Path;

use audit::{LogId, SignedAnchor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{ChainId, PublicKey, SigningKey};
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::sealed::{self, Holds, Label, Lock, Secret, load, to_bytes};
use crate::{Error, entropy, file};

/// How large a file with keys may be, in bytes.
pub const MAX_BYTES: u64 = 64 << 10;

/// What a key is for. A key of one kind is refused where another is needed, so that no key signs
/// two kinds of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Signs transactions; its address is the account.
    Account,
    /// Signs a validator's votes.
    Validator,
    /// Names a node on the networks (its peer key).
    Node,
    /// Signs the anchors of a log.
    Log,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Validator => "validator",
            Self::Node => "node",
            Self::Log => "log",
        })
    }
}

/// The version of the files of this room that are not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(Self),
            _ => Err(serde::de::Error::custom("unknown version")),
        }
    }
}

/// A secret key in a file: the seed, in hexadecimal. Never printed.
#[derive(Debug, Clone)]
pub(crate) struct Seed(pub(crate) SigningKey);

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(hex::encode(self.0.seed())))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(deserializer).map(|seed| Self(SigningKey::from_seed(&seed)))
    }
}

/// 32 secret bytes out of hexadecimal.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<[u8; 32]>, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    let mut bytes = Zeroizing::new([0; 32]);
    // The system's own words would repeat a letter of the secret.
    hex::decode_to_slice(text.as_bytes(), &mut *bytes).map_err(|_| serde::de::Error::custom("64 hexadecimal digits expected"))?;
    Ok(bytes)
}

/// One secret key and what it is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    version: Version,
    kind: KeyKind,
    public: PublicKey,
    seed: Seed,
    #[serde(skip)]
    lock: Option<Lock>,
}

impl Secret for KeyFile {
    fn label(&self) -> Label {
        let holds = match self.kind {
            KeyKind::Account => Holds::Account,
            KeyKind::Validator => Holds::Validator,
            KeyKind::Node => Holds::Node,
            KeyKind::Log => Holds::Log,
        };
        Label { holds, name: self.public.to_string(), encrypted: self.lock.is_some() }
    }

    fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    fn set_lock(&mut self, lock: Option<Lock>) {
        self.lock = lock;
    }
}

impl KeyFile {
    /// A new key out of the system's entropy.
    #[must_use]
    pub fn generate(kind: KeyKind) -> Self {
        Self::of(kind, entropy::key())
    }

    /// A key that is there already.
    #[must_use]
    pub fn of(kind: KeyKind, key: SigningKey) -> Self {
        Self { version: Version, kind, public: key.public(), seed: Seed(key), lock: None }
    }

    /// The same key, for a file that is encrypted under `passphrase`.
    ///
    /// # Errors
    /// [`Error::Cost`] if there is not the memory for it.
    pub fn encrypted(self, passphrase: &Passphrase) -> Result<Self, Error> {
        Ok(Self { lock: Some(Lock::new(passphrase)?), ..self })
    }

    /// The public half of the key in a file of this kind. Where the file is encrypted this is what it says, and nobody is
    /// asked for its passphrase: enough to show, not to rely on.
    ///
    /// # Errors
    /// As [`KeyFile::load`].
    pub fn public_of(path: &Path, expected: KeyKind) -> Result<PublicKey, Error> {
        let label = sealed::label(path)?;
        let kind = match label.holds {
            Holds::Account => KeyKind::Account,
            Holds::Validator => KeyKind::Validator,
            Holds::Node => KeyKind::Node,
            Holds::Log => KeyKind::Log,
            Holds::Anchors | Holds::Identity => return Err(Error::KeyMismatch("the name in the header")),
        };
        if kind != expected {
            return Err(Error::WrongKind { found: kind, expected });
        }
        label.name.parse().map_err(|_| Error::KeyMismatch("the name in the header"))
    }

    /// Reads a key file of this kind.
    ///
    /// # Errors
    /// As [`KeyFile::load_any`], and [`Error::WrongKind`].
    pub fn load(path: &Path, expected: KeyKind) -> Result<Self, Error> {
        let file = Self::load_any(path)?;
        if file.kind == expected { Ok(file) } else { Err(Error::WrongKind { found: file.kind, expected }) }
    }

    /// Reads a key file of any kind.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Exposed`], [`Error::TooLarge`], [`Error::Utf8`], [`Error::Json`],
    /// [`Error::KeyMismatch`]; of an encrypted one also [`Error::Encrypted`], [`Error::WrongPassphrase`], [`Error::Cost`].
    pub fn load_any(path: &Path) -> Result<Self, Error> {
        load::<Self>(path)?.checked()
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.seed.0.public() == self.public { Ok(self) } else { Err(Error::KeyMismatch("public")) }
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn create(&self, path: &Path) -> Result<(), Error> {
        file::create_secret(path, to_bytes(self).as_bytes())
    }

    /// What the key is for.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret half.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.seed.0
    }
}

/// A log of anchors: its name, its chain, the key that signs for it, and what it signed last.
///
/// Two anchors for one sequence are evidence against the log, whatever crash lay between them. So an anchor
/// is in this file before it is sent, and one that the chain has not taken is sent again as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    version: Version,
    /// The chain.
    pub chain: ChainId,
    /// The log's name.
    pub log: LogId,
    public: PublicKey,
    seed: Seed,
    /// The last anchor that was signed, if one was.
    pub signed: Option<SignedAnchor>,
    #[serde(skip)]
    lock: Option<Lock>,
}

impl Secret for LogFile {
    fn label(&self) -> Label {
        Label { holds: Holds::Anchors, name: self.public.to_string(), encrypted: self.lock.is_some() }
    }

    fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    fn set_lock(&mut self, lock: Option<Lock>) {
        self.lock = lock;
    }
}

impl LogFile {
    /// The file of a log.
    #[must_use]
    pub fn new(chain: ChainId, log: LogId, key: SigningKey) -> Self {
        Self { version: Version, chain, log, public: key.public(), seed: Seed(key), signed: None, lock: None }
    }

    /// Reads a log file.
    ///
    /// # Errors
    /// As [`KeyFile::load_any`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        load::<Self>(path)?.checked()
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.seed.0.public() == self.public { Ok(self) } else { Err(Error::KeyMismatch("public")) }
    }

    /// Writes the file, whole or not at all, over what stood there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        file::replace_secret(path, to_bytes(self).as_bytes())
    }

    /// The key that signs the log's anchors.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.seed.0
    }
}

pub(crate) fn to_json(value: &impl Serialize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(serde_json::to_string_pretty(value).expect("key files have no float and no odd map"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
