//! The servers that a node syncs from: what they offer, and what they did wrong.

use std::net::IpAddr;
use std::time::Duration;

use genesis::Genesis;
use serde::Deserialize;
use types::Hash;

use super::group;
use crate::snapshot::{FORMAT, Listed, MAX_CHUNKS};

/// How long a question may take, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(60);

/// No list of snapshots is longer, in bytes, and no more of its entries are looked at.
const MAX_LIST: usize = 256 << 10;
const MAX_LISTED: usize = 64;

/// After so many questions without an answer a server is asked no more.
const STRIKES: u32 = 5;

/// A snapshot that servers offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) height: u64,
    /// SHA-256 of its manifest.
    pub(super) manifest: Hash,
    pub(super) chunks: usize,
    /// The servers that offer it, by their place.
    pub(super) by: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Server {
    url: String,
    strikes: u32,
    /// Why it is asked no more.
    dropped: Option<String>,
}

/// The servers.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    client: reqwest::Client,
    all: Vec<Server>,
    notes: Vec<String>,
}

/// The answer of `GET /snapshots`.
#[derive(Deserialize)]
struct List {
    chain: String,
    genesis: Hash,
    snapshots: Vec<Listed>,
}

impl Servers {
    pub(super) fn new(urls: &[String]) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        for url in urls {
            let parsed: reqwest::Url = url.parse().map_err(|_| format!("{url} is no URL"))?;
            let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            // A proxy cannot reach the loopback that we mean.
            if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
                builder = builder.no_proxy();
            }
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let all = urls.iter().map(|url| Server { url: url.trim_end_matches('/').to_owned(), strikes: 0, dropped: None }).collect();
        Ok(Self { client, all, notes: Vec::new() })
    }

    pub(super) fn url(&self, place: usize) -> String {
        self.all[place].url.clone()
    }

    pub(super) fn names(&self, places: &[usize]) -> String {
        places.iter().map(|place| self.url(*place)).collect::<Vec<_>>().join(", ")
    }

    /// How many there are, those that are asked no more among them.
    pub(super) const fn count(&self) -> usize {
        self.all.len()
    }

    /// The places of those that are still asked.
    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|place| self.is_alive(*place)).collect()
    }

    pub(super) fn is_alive(&self, place: usize) -> bool {
        self.all[place].dropped.is_none()
    }

    /// Asks a server no more, and says why.
    pub(super) fn drop_one(&mut self, place: usize, reason: &dyn std::fmt::Display) {
        let server = &mut self.all[place];
        if server.dropped.is_none() {
            tracing::error!(server = server.url, %reason, "this server is asked no more");
            server.dropped = Some(reason.to_string());
            self.notes.push(format!("{}: {reason}", server.url));
        }
    }

    pub(super) fn drop_all(&mut self, places: &[usize], reason: &dyn std::fmt::Display) {
        places.iter().for_each(|place| self.drop_one(*place, reason));
    }

    /// A question was not answered: whether the server is asked on.
    pub(super) fn strike(&mut self, place: usize, reason: &str) {
        self.all[place].strikes += 1;
        if self.all[place].strikes >= STRIKES {
            self.drop_one(place, &reason);
        }
    }

    pub(super) fn note(&mut self, reason: String) {
        if !self.notes.contains(&reason) {
            self.notes.push(reason);
        }
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes
    }

    /// What the servers offer of this chain.
    pub(super) async fn offers(&mut self, genesis: &Genesis) -> Vec<Offer> {
        let mut found = Vec::new();
        for place in self.alive() {
            let list = self.get(place, "snapshots", MAX_LIST).await;
            let list = list.and_then(|bytes| serde_json::from_slice::<List>(&bytes).map_err(|error| error.to_string()));
            match list {
                Ok(list) if list.chain != genesis.chain().as_str() || list.genesis != genesis.hash() => {
                    let (ours, theirs) = (genesis.hash(), list.genesis);
                    self.drop_one(
                        place,
                        &format!("it is of chain {} with the genesis {theirs}, this is {} with {ours}", list.chain, genesis.chain()),
                    );
                }
                Ok(list) => {
                    let usable =
                        |listed: &&Listed| listed.format == FORMAT && (1..=MAX_CHUNKS).contains(&listed.chunks) && listed.height > 0;
                    let snapshots: Vec<_> = list.snapshots.iter().take(MAX_LISTED).filter(usable).collect();
                    if snapshots.is_empty() {
                        self.note(format!("{}: it has no snapshot of format {FORMAT}", self.url(place)));
                    }
                    found.extend(snapshots.into_iter().map(|listed| (place, listed.height, listed.manifest, listed.chunks)));
                }
                Err(reason) => {
                    tracing::warn!(server = self.url(place), reason, "a server does not say what snapshots it has");
                    self.note(format!("{}: {reason}", self.url(place)));
                }
            }
        }
        group(found)
    }

    /// Asks one server, for at most `bound` bytes.
    pub(super) async fn get(&self, place: usize, path: &str, bound: usize) -> Result<Vec<u8>, String> {
        get(&self.client, &self.all[place].url, path, bound).await
    }

    pub(super) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }
}

/// `GET URL/PATH`, for at most `bound` bytes.
pub(super) async fn get(client: &reqwest::Client, url: &str, path: &str, bound: usize) -> Result<Vec<u8>, String> {
    let words = |error: reqwest::Error| error.without_url().to_string();
    let mut response = client.get(format!("{url}/{path}")).send().await.map_err(words)?;
    if !response.status().is_success() {
        return Err(format!("HTTP status {} for /{path}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(words)? {
        if body.len() + piece.len() > bound {
            return Err(format!("/{path} is longer than {bound} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
