//! Proofs of messages, and everything of the person's in one file.

use std::time::Duration;

use audit::bundle::Item;
use audit::{Bundle, CommitmentPart, LeafOpening, verify_path};
use rpc::relay::LeafProof;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use types::ChainId;
use uuid::Uuid;

use crate::Error;
use crate::client::Client;
use crate::envelope::Integrity;
use crate::history::{Message, State};
use crate::people::Contact;
use crate::store::messages;

/// The time between two looks.
const POLL: Duration = Duration::from_millis(200);

/// The version of an export.
const EXPORT: u8 = 1;

/// Everything of the person's that this device has, but its secret keys.
#[derive(Debug, Serialize)]
struct Export {
    version: u8,
    chain: ChainId,
    device: mailbox::Address,
    contacts: Vec<Contact>,
    messages: Vec<Exported>,
}

#[derive(Debug, Serialize)]
struct Exported {
    #[serde(flatten)]
    message: Message,
    proof: Option<Bundle>,
}

impl Client {
    /// The proof that a message existed, whole, before a block's time: it verifies without a network. Waits up to
    /// `patience` until the message is anchored; kept from then on.
    ///
    /// # Errors
    /// [`Error::NoMessage`]; [`Error::NoProof`] for what was not accepted or is not what was committed to;
    /// [`Error::NotAnchored`] after `patience`; [`Error::BadProof`] if the relay's answer does not hold;
    /// [`Error::Relay`], [`Error::Chain`].
    pub async fn proof(&self, id: &Uuid, patience: Duration) -> Result<Bundle, Error> {
        let inner = &self.inner;
        let message = self.message(id).await?;
        if message.proven {
            let mut tx = inner.store.begin().await?;
            if let Some(bundle) = messages::bundle(&mut tx, message.row).await? {
                return Ok(bundle);
            }
        }
        let opening = opening(&message).map_err(|why| Error::NoProof { id: *id, why })?;
        let login = inner.device().await?.login()?;
        let (leaf, until) = (opening.leaf(), Instant::now() + patience);
        let (anchor, index, path) = loop {
            match inner.api.proof(&login, &leaf).await? {
                LeafProof::Anchored { anchor, index, path } => break (anchor, index, path),
                LeafProof::Stored | LeafProof::Sealed { .. } if Instant::now() >= until => return Err(Error::NotAnchored(*id)),
                LeafProof::Stored | LeafProof::Sealed { .. } => sleep(POLL).await,
            }
        };
        let bad = |fault| Error::BadProof { id: *id, fault };
        let of = &anchor.anchor;
        if of.chain != inner.chain_id {
            return Err(bad("its anchor is for another chain"));
        }
        verify_path(&leaf, index, of.count, &path, &of.root).map_err(|_| bad("the message's leaf is not in the batch"))?;
        let path = path.try_into().map_err(|_| bad("its path is too long"))?;
        let item = Item { opening, index, path };
        let bundle = Box::pin(async { inner.chain.lock().await.bundle(vec![item], of.log, of.sequence).await }).await?;
        let mut tx = inner.store.begin().await?;
        messages::set_bundle(&mut tx, message.row, &bundle).await?;
        tx.commit().await?;
        Ok(bundle)
    }

    /// Everything of the person's that this device has, as JSON: contacts with their proven entries and notes,
    /// messages with openings, receipts and finished proofs. Secret keys are not in it.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Store`].
    pub async fn export(&self) -> Result<Value, Error> {
        let device = self.address().await?;
        let contacts = self.contacts().await?;
        let mut tx = self.inner.store.begin().await?;
        let mut exported = Vec::new();
        for message in messages::history(&mut tx, None, u32::MAX).await? {
            let proof = if message.proven { messages::bundle(&mut tx, message.row).await? } else { None };
            exported.push(Exported { message, proof });
        }
        drop(tx);
        let export = Export { version: EXPORT, chain: self.chain().clone(), device, contacts, messages: exported };
        serde_json::to_value(&export).map_err(|_| Error::StoreText { what: "message" })
    }
}

/// What a proof shows of a message's leaf: the whole of the sender's half, and of the relay's what this side has.
fn opening(message: &Message) -> Result<LeafOpening, &'static str> {
    match message.state {
        State::Queued => return Err("the relay has not accepted it yet"),
        State::Refused => return Err("the relay refused it"),
        State::Unreadable => return Err("it could not be read"),
        State::Accepted | State::Received => {}
    }
    if message.integrity.as_deref().is_some_and(|integrity| integrity != Integrity::Holds.name()) {
        return Err("the commitment that the relay passed on is not of this message");
    }
    let opening = message.opening.clone().ok_or("its opening is not here")?;
    let envelope = message.envelope.clone().ok_or("the relay's half of its leaf is not here")?;
    Ok(LeafOpening { commitment: CommitmentPart::Opened(opening), envelope })
}
