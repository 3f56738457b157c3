//! Where the validator's key is: in this home, or with a signer that connects.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use consensus::malachite::signing::{ValidatorKey, peer_proof};
use consensus::privval::{Endpoint, Remote};
use genesis::{Genesis, KeyFile, KeyKind, file, peer};
use serde::{Deserialize, Serialize};
use types::{PublicKey, Signature, SigningKey};

use crate::config::Home;

/// How long a starting node waits for its signer before it follows without signing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a node that follows looks whether its signer has come.
const GLANCE: Duration = Duration::from_millis(200);

/// How large a proof's file may be, in bytes: 128 digits and a line's end.
const MAX_PROOF: u64 = 256;

/// Why a node with a signer that is not there does not sign.
pub(crate) const AWAY: &str = "the remote signer is not connected: this validator follows without signing until it is";

/// `[signer]` of `node.toml`: the validator's key is with a signer that connects here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the signer connects: `tcp://127.0.0.1:26659` or `unix:///run/zynk/signer`.
    pub listen: String,
    /// The public key by which the signer shows who it is. Needed over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

/// What was found.
pub(crate) struct Found {
    /// The key, unless there is none or its signer is away.
    pub(crate) key: Option<ValidatorKey>,
    /// The signer, if one is configured.
    pub(crate) remote: Option<Arc<Remote>>,
}

/// Finds the validator's key: reads its file, or waits for its signer.
pub(crate) async fn find(home: &Home, config: Option<&Config>, node_key: &SigningKey, genesis: &Genesis) -> anyhow::Result<Found> {
    let path = home.validator_key();
    let Some(config) = config else {
        let load =
            || KeyFile::load(&path, KeyKind::Validator).with_context(|| format!("cannot take the validator key from {}", path.display()));
        let key = if path.exists() { Some(ValidatorKey::Local(load()?.key().clone())) } else { None };
        return Ok(Found { key, remote: None });
    };
    // Two places for one key are how validators come to sign twice.
    anyhow::ensure!(!path.exists(), "[signer] is configured, and {} is there too: move the key to the signer's home", path.display());
    let endpoint: Endpoint = config.listen.parse().map_err(anyhow::Error::msg).context("[signer] listen")?;
    let chain = genesis.chain().as_str().parse()?;
    let remote = Remote::listen(&endpoint, config.key, node_key.clone(), chain).with_context(|| format!("cannot listen on {endpoint}"))?;
    let waiting = Arc::clone(&remote);
    let key = tokio::task::spawn_blocking(move || waiting.wait(PATIENCE)).await?;
    Ok(Found { key: key.map(|key| ValidatorKey::Remote(Arc::clone(&remote), key)), remote: Some(remote) })
}

/// Waits until a signer is there.
pub(crate) async fn arrival(remote: &Remote) {
    while !remote.is_here() {
        tokio::time::sleep(GLANCE).await;
    }
}

/// The proof that the peer is the validator's, which a remote signer does not sign: out of the home's `validator.proof`.
pub(crate) fn proof(home: &Home, key: &ValidatorKey, node_key: &SigningKey) -> anyhow::Result<Option<Signature>> {
    let path: PathBuf = home.validator_proof();
    if !matches!(key, ValidatorKey::Remote(..)) || !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8(file::read(&path, MAX_PROOF)?)?;
    let signature: Signature = text.trim().parse().with_context(|| format!("{} is no proof of a validator's peer", path.display()))?;
    let signed = peer_proof(&key.public(), &peer::peer_id_bytes(&node_key.public()));
    anyhow::ensure!(key.public().verify(&signed, &signature), "{} proves another peer, or is another validator's", path.display());
    Ok(Some(signature))
}
