//! Key files: one secret key each, as JSON with mode 0600.

use std::fmt;
use std::path::Path;

use audit::{LogId, SignedAnchor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{ChainId, PublicKey, SigningKey};
use zeroize::Zeroizing;

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

/// The only version there is of the files of this room.
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
        Self { version: Version, kind, public: key.public(), seed: Seed(key) }
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
    /// [`Error::KeyMismatch`].
    pub fn load_any(path: &Path) -> Result<Self, Error> {
        let file: Self = load(path)?;
        if file.seed.0.public() == file.public { Ok(file) } else { Err(Error::KeyMismatch("public")) }
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn create(&self, path: &Path) -> Result<(), Error> {
        file::create_secret(path, to_json(self).as_bytes())
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
}

impl LogFile {
    /// The file of a log.
    #[must_use]
    pub fn new(chain: ChainId, log: LogId, key: SigningKey) -> Self {
        Self { version: Version, chain, log, public: key.public(), seed: Seed(key), signed: None }
    }

    /// Reads a log file.
    ///
    /// # Errors
    /// As [`KeyFile::load_any`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file: Self = load(path)?;
        if file.seed.0.public() == file.public { Ok(file) } else { Err(Error::KeyMismatch("public")) }
    }

    /// Writes the file, whole or not at all, over what stood there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        file::replace_secret(path, to_json(self).as_bytes())
    }

    /// The key that signs the log's anchors.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.seed.0
    }
}

/// Reads a file of secrets. What stands in it is not repeated in the error.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = Zeroizing::new(file::read_secret(path, MAX_BYTES)?);
    let text = std::str::from_utf8(&bytes).map_err(|error| Error::Utf8 { at: error.valid_up_to() })?;
    serde_json::from_str(text).map_err(|error| Error::Json { line: error.line(), column: error.column(), hint: String::new() })
}

pub(crate) fn to_json(value: &impl Serialize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(serde_json::to_string_pretty(value).expect("key files have no float and no odd map"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
