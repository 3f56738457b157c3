//! A gateway's home, and what its operator chooses in `gateway.toml`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mailbox::frame::MAX_FRAME;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// How long `gateway.toml` may be, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where a gateway keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The operator's choices: [`Settings`].
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }

    /// The chain's genesis, from which trust begins.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.json")
    }
}

/// `gateway.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The relay's URL, where it runs in another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// The URL of the node's RPC, where it runs in another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The proxies whose `X-Forwarded-For` is believed; nobody else's is.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
    /// Who may read `/metrics`; for others it is not there. Loopback by default.
    #[serde(default = "loopback")]
    pub operators: Vec<Network>,
    /// The web pages that may ask from a browser, as origins (`https://app.example`); `*` is any.
    #[serde(default = "anybody")]
    pub origins: Vec<String>,
    /// With it the gateway speaks TLS 1.3 and nothing else; without it, plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How much of everything.
    #[serde(default)]
    pub limits: Limits,
}

/// What clients are shown, and believe if they know who signed it. Both files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and after it those that lead from it to one that clients know. From the folder of `gateway.toml`
    /// on; absolute once it was read.
    pub certificate: PathBuf,
    /// The certificate's private key, mode 0600. As above.
    pub key: PathBuf,
}

/// How much of everything. What is left out has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more wait to be accepted. WebSockets are connections. 16,384.
    pub connections: usize,
    /// Connections at once from one address, trusted proxies aside; more are closed. 1,024.
    pub connections_per_address: u32,
    /// Requests at once; more are refused. 1,024.
    pub requests: usize,
    /// Questions to the chain at once; more are refused. 32.
    pub proofs: usize,
    /// WebSockets at once. 12,288.
    pub sockets: u32,
    /// WebSockets at once from one address. 64.
    pub sockets_per_address: u32,
    /// Requests that one address may make at once, before `per_second` counts. 200.
    pub burst: u32,
    /// Requests that one address may make in each second, in the long run. 50.
    pub per_second: u32,
    /// The body of a request, in bytes. 1 MiB.
    pub body: u64,
    /// The body of an upstream's answer, in bytes. 32 MiB.
    pub answer: u64,
    /// All headers of a request, in bytes. 16 KiB.
    pub headers: usize,
    /// Path and query of a request, in bytes. 4 KiB.
    pub uri: usize,
    /// A message over a WebSocket, in bytes. [`MAX_FRAME`].
    pub frame: usize,
    /// From the end of a request's headers to the beginning of the answer, in milliseconds. 30 s.
    pub request_ms: u64,
    /// Without a byte moving in a body, in milliseconds. 30 s.
    pub silence_ms: u64,
    /// For a request's headers to arrive, and between two requests, in milliseconds. 20 s.
    pub header_ms: u64,
    /// Between two pings to a client, in milliseconds; one that is silent for three is gone. 25 s.
    pub ping_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 1024,
            requests: 1024,
            proofs: 32,
            sockets: 12_288,
            sockets_per_address: 64,
            burst: 200,
            per_second: 50,
            body: 1 << 20,
            answer: 32 << 20,
            headers: 16 * 1024,
            uri: 4096,
            frame: MAX_FRAME,
            request_ms: 30_000,
            silence_ms: 30_000,
            header_ms: 20_000,
            ping_ms: 25_000,
        }
    }
}

impl Settings {
    /// A gateway that listens here, with every default.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            relay: None,
            node: None,
            trusted_proxies: Vec::new(),
            operators: loopback(),
            origins: anybody(),
            tls: None,
            limits: Limits::default(),
        }
    }

    /// Reads `gateway.toml`.
    ///
    /// # Errors
    /// [`Error::Settings`] when it cannot be read, or says something that this program does not know.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let refused = |reason: String| Error::Settings { path: path.to_owned(), reason };
        let bytes = genesis::file::read(path, MAX_FILE).map_err(|error| refused(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
        settings.check().map_err(|reason| refused(reason.to_owned()))?;
        if let Some(Tls { certificate, key }) = &mut settings.tls {
            // Absolute, so that they mean the same when the settings are saved, wherever that is.
            let home = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
            for file in [certificate, key] {
                *file = home.with_file_name(&*file);
            }
        }
        Ok(settings)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Settings`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let refused = |reason: String| Error::Settings { path: path.to_owned(), reason };
        let text = toml::to_string_pretty(self).map_err(|error| refused(error.to_string()))?;
        genesis::file::replace_public(path, text.as_bytes()).map_err(|error| refused(error.to_string()))
    }

    fn check(&self) -> Result<(), &'static str> {
        let limits = &self.limits;
        let none = [limits.connections, limits.requests, limits.proofs, limits.headers, limits.uri, limits.frame].contains(&0)
            || [limits.burst, limits.per_second, limits.connections_per_address].contains(&0)
            || [limits.request_ms, limits.silence_ms, limits.header_ms, limits.ping_ms].contains(&0);
        match () {
            () if none => Err("a limit of 0 lets nobody in"),
            () if limits.connections > tokio::sync::Semaphore::MAX_PERMITS => Err("too many connections"),
            () if limits.frame > 64 << 20 => Err("a frame of more than 64 MiB"),
            () if self.origins.iter().any(|origin| origin != "*" && origin.parse::<axum::http::HeaderValue>().is_err()) => {
                Err("an origin that no browser sends")
            }
            () => Ok(()),
        }
    }
}

fn loopback() -> Vec<Network> {
    vec![
        Network { address: IpAddr::from([127, 0, 0, 0]), bits: 8 },
        Network { address: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), bits: 128 },
    ]
}

fn anybody() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Addresses with a common beginning, `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address inside IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32, self.bits),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

fn same(one: u128, other: u128, length: u8, bits: u8) -> bool {
    bits == 0 || (one ^ other) >> (length - bits) == 0
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FAULT: &str = "not a network such as 10.0.0.0/8";
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| FAULT)?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(length), str::parse).map_err(|_| FAULT)?;
        if bits > length { Err(FAULT) } else { Ok(Self { address, bits }) }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", self.address, self.bits))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
