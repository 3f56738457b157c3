//! The commands, one file each, and what several of them need.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod did;
pub(crate) mod gateway;
pub(crate) mod genesis;
pub(crate) mod gov;
pub(crate) mod keys;
pub(crate) mod light;
pub(crate) mod node;
pub(crate) mod person;
pub(crate) mod relay;
pub(crate) mod signer;
pub(crate) mod stake;
pub(crate) mod stamp;
pub(crate) mod tx;
pub(crate) mod validator;
pub(crate) mod verify;

use std::path::Path;
use std::time::Duration;

use ::genesis::{Genesis, KeyFile, KeyKind};
use ::light::{Checkpoint, Origin, Trust, Verified};
use ledger::Body;
use rpc::{Chain, FeePayer, Included, Testimony};
use serde_json::{Value, json};
use tendermint::Time;
use types::{Address, PublicKey, SigningKey};

use crate::cli::{Basis, Connection, Signing, Whose};
use crate::failure::Failure;
use crate::report::Report;

/// How large a checkpoint may be, in bytes: 1,024 validators.
const MAX_CHECKPOINT: u64 = 1 << 20;

/// A header that is older is not taken for the present.
pub(crate) const FRESH: Duration = Duration::from_secs(5 * 60);

impl Basis {
    /// What is trusted to begin with.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        match (&self.genesis, &self.checkpoint) {
            (Some(path), _) => Ok(Genesis::load(path).map_err(Failure::file(path))?.trust()),
            (None, Some(path)) => Ok(Trust::checkpoint(&checkpoint(path)?)),
            (None, None) => unreachable!("the group is required"),
        }
    }
}

impl Connection {
    pub(crate) fn open(&self) -> Result<Chain, Failure> {
        Ok(Chain::connect(&self.node, self.basis.trust()?)?.watched_by(&self.witness)?)
    }
}

impl Whose {
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        match (self.address, &self.key) {
            (Some(address), _) => Ok(address),
            (None, Some(path)) => Ok(account_key(path)?.public().address()),
            (None, None) => unreachable!("one of both is required"),
        }
    }
}

/// The keys that sign a transaction.
pub(crate) struct Signers {
    author: SigningKey,
    sponsor: Option<SigningKey>,
}

impl Signing {
    pub(crate) fn load(&self) -> Result<Signers, Failure> {
        let [key, sponsor] = [&self.key, &self.sponsor_key].map(|path| path.as_deref().map(account_key).transpose());
        Ok(match (key?, sponsor?) {
            (Some(author), sponsor) => Signers { author, sponsor },
            (None, Some(author)) => Signers { author, sponsor: None },
            (None, None) => unreachable!("the group is required"),
        })
    }
}

impl Signers {
    pub(crate) fn author(&self) -> PublicKey {
        self.author.public()
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.author
    }

    pub(crate) fn payer(&self) -> FeePayer<'_> {
        self.sponsor.as_ref().map_or(FeePayer::Author, FeePayer::Cosigner)
    }

    pub(crate) async fn submit(&self, chain: &mut Chain, body: Body) -> Result<Included, Failure> {
        Ok(chain.submit(&self.author, self.payer(), body).await?)
    }
}

/// The key in a file, of the kind that is needed.
pub(crate) fn key_file(path: &Path, kind: KeyKind) -> Result<KeyFile, Failure> {
    KeyFile::load(path, kind).map_err(Failure::file(path))
}

pub(crate) fn account_key(path: &Path) -> Result<SigningKey, Failure> {
    Ok(key_file(path, KeyKind::Account)?.key().clone())
}

fn checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let bytes = ::genesis::file::read(path, MAX_CHECKPOINT).map_err(Failure::file(path))?;
    let refused = |error: serde_json::Error| Failure::Checkpoint { path: path.to_owned(), line: error.line(), column: error.column() };
    serde_json::from_slice(&bytes).map_err(refused)
}

/// How something was proven, in words: `proven at height 12 (2026-…) from genesis`.
pub(crate) fn proven(chain: &Chain, header: &Verified) -> String {
    let from = match chain.trust().origin() {
        Origin::Genesis => "from genesis".to_owned(),
        Origin::Checkpoint { height, .. } => format!("from the checkpoint of height {height}"),
    };
    let beyond = if chain.is_beyond_period() { ", which is older than the trusting period" } else { "" };
    let age = header.age(Time::now());
    let stale = if age > FRESH { format!("; that was {} minutes ago, so it may have changed", age.as_secs() / 60) } else { String::new() };
    format!("proven at height {} ({}) {from}{beyond}{stale}{}", header.state_height(), header.time(), witnessed(chain.testimony()))
}

/// What the witnesses said, in words, where there are some.
fn witnessed(said: &Testimony) -> String {
    let asked = said.asked;
    let mut text = match said.agreed {
        _ if asked == 0 => return String::new(),
        0 => format!("; unwitnessed: none of the {asked} witnesses has said that it has this header"),
        agreed => format!("; witnessed by {agreed} of {asked}"),
    };
    for doubt in &said.doubts {
        let dropped = if doubt.dropped { " (it is asked no more)" } else { "" };
        text += &format!("; witness {}{dropped}: {}", doubt.witness, doubt.reason);
    }
    text
}

/// As [`proven`], for scripts.
pub(crate) fn proof_json(chain: &Chain, header: &Verified) -> Value {
    let mut value = json!({
        "height": header.state_height(),
        "header_height": header.height(),
        "header_hash": header.hash(),
        "time": header.time(),
        "age_s": header.age(Time::now()).as_secs(),
        "origin": chain.trust().origin(),
        "beyond_trusting_period": chain.is_beyond_period(),
    });
    let said = chain.testimony();
    if said.asked > 0 {
        value["witnesses_asked"] = json!(said.asked);
        value["witnesses_agreed"] = json!(said.agreed);
        value["witness_doubts"] = said.doubts.iter().map(|doubt| format!("{}: {}", doubt.witness, doubt.reason)).collect();
    }
    value
}

/// Sends a transaction and says what it did.
pub(crate) async fn send(signers: &Signers, connection: &Connection, body: Body, done: &str) -> Result<Report, Failure> {
    let included = signers.submit(&mut connection.open()?, body).await?;
    Ok(Report::new(format!("{done}, in block {} (transaction {})", included.height, included.hash), included_json(&included)))
}

/// What a transaction came to, for scripts.
pub(crate) fn included_json(included: &Included) -> Value {
    json!({"height": included.height, "hash": included.hash})
}
