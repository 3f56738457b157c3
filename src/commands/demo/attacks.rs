//! What an attacker tries, and what catches it.

use std::path::Path;

use ::devnet::Network;
use audit::{Anchor, SignedAnchor};
use genesis::{Keyring, LogFile};
use identity::Did;
use ledger::Body;
use rpc::node::Answer;
use rpc::{FeePayer, Node};
use serde_json::json;
use types::{Amount, Encode as _, Hash, Text};

use super::path;
use super::stage::Stage;
use crate::commands::account_key;
use crate::failure::Failure;

/// What the chain proved of Erin before she rotated: an attacker keeps it.
pub(super) struct Before {
    did: Did,
    text: String,
    answer: Answer,
}

impl Before {
    pub(super) async fn remember(stage: &Stage, network: &Network, keys: &Path) -> Result<Self, Failure> {
        let did = Keyring::load(keys).map_err(Failure::file(keys))?.did;
        // Only what is proven is worth replaying.
        let proven = stage.chain(network)?.identity(&did).await?;
        stage.hold("erin's first document is proven", proven.value.is_some())?;
        let answer = Node::new(&network.url(0))?.state(&did.state_key(), Some(proven.height())).await?;
        Ok(Self { did, text: did.to_string(), answer })
    }

    pub(super) fn did(&self) -> &str {
        &self.text
    }
}

pub(super) async fn play(stage: &mut Stage, network: &Network, before: &Before) -> Result<(), Failure> {
    flipped_bit(stage, network)?;
    old_document(stage, network, before).await?;
    replayed_transaction(stage, network).await?;
    used_sequence(stage, network).await
}

/// A bundle with one bit flipped.
fn flipped_bit(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let (honest, forged) = (stage.file("papers").join("contract.txt.zproof"), stage.file("forged.zproof"));
    let mut bytes = std::fs::read(&honest).map_err(Failure::io(&honest))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&forged, &bytes).map_err(Failure::io(&forged))?;
    let genesis = network.genesis();
    let verdict = stage.refused(&["verify", path(&forged), "--genesis", path(&genesis)])?;
    let reason = [&verdict["reason"]["message"], &verdict["error"]["message"]].into_iter().find_map(|reason| reason.as_str());
    let reason = reason.unwrap_or_default().to_owned();
    stage.hold("the reason is told", !reason.is_empty())?;
    stage.step(&format!("attack: one bit of a proof flipped. Caught: {reason}"), verdict);
    Ok(())
}

/// Erin's document from before her rotation, passed off as current, with its true proof of then.
async fn old_document(stage: &mut Stage, network: &Network, before: &Before) -> Result<(), Failure> {
    let now = stage.chain(network)?.latest().await?;
    match now.entry(&before.did.state_key(), &before.answer.proof) {
        Ok(_) => Err(Failure::Demo("the old document passed for the current one".to_owned())),
        Err(error) => {
            let height = now.height();
            let told = format!(
                "attack: erin's document of height {} passed off as current. Caught at height {height}: {error}",
                before.answer.height
            );
            stage.step(&told, json!({"code": error.code(), "reason": error.to_string()}));
            Ok(())
        }
    }
}

/// A transaction sent a second time, byte for byte.
async fn replayed_transaction(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let mut chain = stage.chain(network)?;
    let faucet = account_key(&network.faucet())?;
    let to = faucet.public().address();
    let terms = chain.terms(&to).await?;
    let transfer = terms.sign(&faucet, FeePayer::Author, Body::Transfer { to, amount: Amount(7), memo: Text::default() });
    chain.broadcast(&transfer).await?;
    let again = Node::new(&network.url(1))?.send(transfer.to_bytes()).await;
    caught(stage, "a transfer sent a second time, to another validator", again.err(), ("ledger", 5))
}

/// A second, different anchor for a sequence that the log has used.
async fn used_sequence(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let key = stage.file("dave.key");
    let mut chain = stage.chain(network)?;
    let at = stage.file(&format!("dave.key.{}.log", chain.trust().chain()));
    let log = LogFile::load(&at).map_err(Failure::file(&at))?;
    let signed = log.signed.clone().ok_or_else(|| Failure::Demo("dave's log has signed nothing".to_owned()))?;
    let second = SignedAnchor::sign(Anchor { root: Hash::sha256(&[b"another root"]), ..signed.anchor }, log.key());
    let refused = chain.submit(&account_key(&key)?, FeePayer::Author, Body::Anchor(Box::new(second))).await;
    let taken = audit::AnchorError::Equivocation { sequence: 0, taken: Hash::ZERO, found: Hash::ZERO };
    caught(stage, "a second root for a sequence that dave's log has used", refused.err(), ("audit", taken.code()))
}

/// The attack must have been refused for the expected reason and no other.
fn caught(stage: &mut Stage, attack: &str, refused: Option<rpc::Error>, expected: (&str, u32)) -> Result<(), Failure> {
    match refused {
        Some(rpc::Error::Transaction { codespace, number, log, .. }) if (codespace.as_str(), number) == expected => {
            stage.step(&format!("attack: {attack}. Caught: {log}"), json!({"codespace": codespace, "code": number, "reason": log}));
            Ok(())
        }
        Some(other) => Err(Failure::Demo(format!("{attack}: refused for another reason: {other}"))),
        None => Err(Failure::Demo(format!("{attack}: was not refused"))),
    }
}
