//! A relay's home: its files, and what its operator chooses in `relay.toml`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use audit::LogId;
use mailbox::limit::Rate;
use rpc::relay::Registration;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The least time between two anchors, in milliseconds: below it the chain's blocks set the pace.
pub const MIN_ANCHOR_INTERVAL_MS: u64 = 100;

/// The most time between two anchors, in milliseconds: one hour.
pub const MAX_ANCHOR_INTERVAL_MS: u64 = 3_600_000;

/// How large `relay.toml` may be, in bytes.
const MAX_CONFIG: u64 = 64 << 10;

/// How many proxies can be named.
const MAX_PROXIES: usize = 64;

/// `relay.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address to listen on. TLS is the gateway's.
    pub listen: SocketAddr,
    /// The URL of a node's RPC. It need not be honest: what it says of identities is proven.
    pub node: String,
    /// Who may register.
    pub registration: Registration,
    /// Milliseconds between two anchors; from [`MIN_ANCHOR_INTERVAL_MS`] to [`MAX_ANCHOR_INTERVAL_MS`].
    #[serde(default = "anchor_interval_ms")]
    pub anchor_interval_ms: u64,
    /// How much is paid for others.
    #[serde(default)]
    pub sponsor: Sponsor,
    /// How much somebody may do in a time.
    #[serde(default)]
    pub limits: Limits,
}

/// How many operations on identities the relay pays for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sponsor {
    /// In a day (UTC), of everybody together.
    pub per_day: u32,
    /// In a day, of one identity.
    pub per_identity: u32,
}

/// How much somebody may do in a time. An address is an IPv4 address, or the first 64 bits of an
/// IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Registrations of one address in a day.
    pub registrations: u32,
    /// Operations of one address in a day that are posted as registrations of identities that exist. A recovery
    /// takes two, and one more for each device that is removed.
    pub recoveries: u32,
    /// Failed attempts of one address in five minutes: to sign one device in, to refresh with tokens that are not
    /// known, and as devices that are in no proven entry.
    pub sign_ins: u32,
    /// How often one identity may ask for another's prekey bundles in ten minutes.
    pub bundles: u32,
    /// A device that has fewer one-time prekeys than this is told.
    pub low_stock: u32,
    /// What one account may send.
    pub messages: Rate,
    /// Proxies whose `X-Forwarded-For` is believed: its last address is then the client's. At most 64.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for Sponsor {
    fn default() -> Self {
        Self { per_day: 1_000, per_identity: 20 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            registrations: 10,
            recoveries: 40,
            sign_ins: 5,
            bundles: 6,
            low_stock: 20,
            messages: Rate::MESSAGES,
            trusted_proxies: Vec::new(),
        }
    }
}

const fn anchor_interval_ms() -> u64 {
    1_000
}

/// Where a relay keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The operator's choices.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("relay.toml")
    }

    /// The chain's genesis.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.json")
    }

    /// The key of the account that owns the log and pays.
    #[must_use]
    pub fn account_key(&self) -> PathBuf {
        self.0.join("account.key")
    }

    /// The key that signs access tokens; made on the first start.
    #[must_use]
    pub fn tokens_key(&self) -> PathBuf {
        self.0.join("tokens.key")
    }

    /// The log of anchors: its name and its key; made on the first start.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("anchors.log.json")
    }

    /// The log that another one took the place of, kept beside it.
    #[must_use]
    pub fn former_log(&self, log: &LogId) -> PathBuf {
        self.0.join(format!("anchors.log.{}.json", log.0))
    }

    /// The files of all logs that another one took the place of, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn former_logs(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("anchors.log.") && name.ends_with(".json") && path != self.log() && path != self.next_log() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The log that is to take the place of the present one: there only while that is under way.
    #[must_use]
    pub fn next_log(&self) -> PathBuf {
        self.0.join("anchors.log.next.json")
    }

    /// What the relay writes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Accounts, sessions, prekeys: SQLite.
    #[must_use]
    pub fn accounts(&self) -> PathBuf {
        self.data().join("accounts.sqlite")
    }

    /// What the relay brings to the chain for others.
    #[must_use]
    pub fn submissions(&self) -> PathBuf {
        self.data().join("submissions.sqlite")
    }

    /// Mailboxes and leaves: RocksDB.
    #[must_use]
    pub fn messages(&self) -> PathBuf {
        self.data().join("messages")
    }
}

impl Config {
    /// Reads `relay.toml`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Config`] when it says something that this program
    /// does not know, or that cannot be.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = genesis::file::read(path, MAX_CONFIG).map_err(Error::file(path))?;
        let text = String::from_utf8(bytes).map_err(|_| refused(path, "not UTF-8 text"))?;
        let config: Self = toml::from_str(&text).map_err(|error| refused(path, &error.to_string()))?;
        config.check().map_err(|fault| refused(path, fault))?;
        Ok(config)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string_pretty(self).map_err(|error| refused(path, &error.to_string()))?;
        genesis::file::replace_public(path, text.as_bytes()).map_err(Error::file(path))
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(MIN_ANCHOR_INTERVAL_MS..=MAX_ANCHOR_INTERVAL_MS).contains(&self.anchor_interval_ms) {
            return Err("anchor_interval_ms is between 100 and 3600000");
        }
        if self.limits.messages.per_second == 0 || self.limits.messages.burst == 0 {
            return Err("limits.messages lets nothing through");
        }
        if self.limits.trusted_proxies.len() > MAX_PROXIES {
            return Err("limits.trusted_proxies names more than 64");
        }
        Ok(())
    }
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Config { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
