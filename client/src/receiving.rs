//! From a delivery to the store: the sender proven, the message decrypted, compared and kept, in one commit;
//! only then is it acknowledged.

use audit::leaf::EnvelopePart;
use identity::Did;
use mailbox::Address;
use mailbox::frame::{Delivery, Form, Kind};
use uuid::Uuid;

use crate::client::{Inner, now};
use crate::contact::Mismatch;
use crate::device::Device;
use crate::envelope::{Content, Envelope};
use crate::event::Event;
use crate::history::State;
use crate::signal::{Peer, Prekeys};
use crate::store::{Tx, messages, outbox, sessions};
use crate::{Error, signal, store};

/// The name under which the store keeps the last number up to which everything is stored.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged";

impl Inner {
    /// Takes a delivery. What can never be read is kept as unreadable, with the reason; an error means
    /// that it is to be tried again.
    ///
    /// # Errors
    /// Those that pass: the chain or the relay is not to be had, the store cannot be written.
    pub(crate) async fn receive(&self, delivery: &Delivery) -> Result<(), Error> {
        let device = self.device().await?;
        let own = device.address()?;
        let from = Address { did: delivery.sender_id, device: delivery.sender_device_id };
        let acknowledged: u64 = self.store.get(ACKNOWLEDGED).await?.unwrap_or(0);
        if delivery.sequence <= acknowledged {
            return Ok(());
        }
        // The sender's key is asked of the chain before the transaction begins.
        let peer = match Box::pin(self.peer(delivery, &from, &own)).await {
            Err(error) if error.is_passing() => return Err(error),
            peer => peer,
        };
        let mut tx = self.store.begin().await?;
        let mut events = Vec::new();
        if outbox::is_first(&mut tx, &from, &delivery.message_id, now()).await? {
            let opened = match peer {
                Ok(peer) => self.open(&mut tx, &device, &own, delivery, &peer).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(envelope) => self.take(&mut tx, &own, delivery, &envelope, &mut events).await?,
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => self.keep_unreadable(&mut tx, delivery, &from, &own.did, &error, &mut events).await?,
            }
        }
        store::put(&mut tx, ACKNOWLEDGED, &delivery.sequence).await?;
        tx.commit().await?;
        for event in events {
            self.tell(event);
        }
        Ok(())
    }

    async fn peer(&self, delivery: &Delivery, from: &Address, own: &Address) -> Result<Peer, Error> {
        if from == own {
            return Err(signal::Refused::Oneself.into());
        }
        let claimed = match delivery.form {
            Form::Prekey => Some(signal::asked(&delivery.encrypted_content.0)?.key),
            Form::Ratchet => None,
        };
        let found = self.sender(from, claimed.as_ref()).await?;
        found.ok_or_else(|| match claimed {
            Some(_) => signal::Refused::OtherIdentity.into(),
            None => Mismatch::ExtraDevice { did: from.did, device: from.device }.into(),
        })
    }

    /// Decrypts and compares. The session is kept even when the sender's words are not believed: the
    /// ratchet has moved.
    pub(crate) async fn open(
        &self,
        tx: &mut Tx,
        device: &Device,
        own: &Address,
        delivery: &Delivery,
        peer: &Peer,
    ) -> Result<Envelope, Error> {
        let session = sessions::session(tx, &peer.address).await?;
        let prekeys = match delivery.form {
            Form::Prekey => sessions::prekeys(tx, &signal::asked(&delivery.encrypted_content.0)?.used).await?,
            Form::Ratchet => Prekeys::default(),
        };
        let ciphertext = &delivery.encrypted_content.0;
        let read = signal::decrypt(&device.signal, peer, delivery.form, ciphertext, session.as_deref(), &prekeys, now())?;
        if let Some(used) = &read.used
            && !sessions::use_prekeys(tx, used).await?
        {
            return Err(signal::Refused::Duplicate.into());
        }
        sessions::put_session(tx, &peer.address, &read.session).await?;
        let envelope = Envelope::open(&read.plaintext)?;
        envelope.check(&self.chain_id, delivery, own)?;
        Ok(envelope)
    }

    async fn take(
        &self,
        tx: &mut Tx,
        own: &Address,
        delivery: &Delivery,
        envelope: &Envelope,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let outgoing = envelope.from.did == own.did;
        match &envelope.content {
            Content::Message { opening, text } => {
                let peer = if outgoing { envelope.recipient } else { envelope.from.did };
                let integrity = envelope.integrity(delivery.content_hash.as_ref());
                let new = messages::New {
                    peer,
                    message_id: envelope.message_id,
                    sender: envelope.from,
                    outgoing,
                    text,
                    sent: envelope.sent,
                    stored: now(),
                    state: if outgoing { State::Accepted } else { State::Received },
                    problem: None,
                    integrity,
                    opening: Some(opening),
                    commitment: delivery.content_hash,
                    envelope: delivery.sealed_envelope.map(EnvelopePart::Hidden),
                };
                messages::put(tx, &new).await?;
                if !outgoing {
                    outbox::owe(tx, &envelope.from.did, Kind::Delivered, &envelope.message_id).await?;
                }
                self.show(tx, &envelope.message_id, events).await?;
            }
            Content::Delivered(ids) | Content::Read(ids) if !outgoing => {
                let kind = envelope.content.kind();
                for message_id in messages::put_receipts(tx, &envelope.from, kind, ids, envelope.sent).await? {
                    events.push(Event::Receipt { message_id, kind, by: envelope.from });
                }
            }
            // Another device of this identity was read on.
            Content::Read(ids) => messages::mark_read_elsewhere(tx, &envelope.recipient, ids).await?,
            Content::Delivered(_) => {}
        }
        Ok(())
    }

    /// What cannot be read is shown, never dropped in silence.
    async fn keep_unreadable(
        &self,
        tx: &mut Tx,
        delivery: &Delivery,
        from: &Address,
        own: &Did,
        error: &Error,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        // Of a receipt nobody waits for, a line in the log is enough.
        if delivery.kind != Kind::Message {
            tracing::warn!(code = error.code(), "a receipt could not be read");
            return Ok(());
        }
        let outgoing = from.did == *own;
        let new = messages::New {
            peer: if outgoing { delivery.recipient_id } else { from.did },
            message_id: delivery.message_id,
            sender: *from,
            outgoing,
            text: "",
            sent: delivery.timestamp,
            stored: now(),
            state: State::Unreadable,
            problem: Some((error.code(), error.to_string())),
            integrity: None,
            opening: None,
            commitment: delivery.content_hash,
            envelope: delivery.sealed_envelope.map(EnvelopePart::Hidden),
        };
        messages::put(tx, &new).await?;
        self.show(tx, &delivery.message_id, events).await
    }

    async fn show(&self, tx: &mut Tx, id: &Uuid, events: &mut Vec<Event>) -> Result<(), Error> {
        if let Some(message) = messages::by_id(tx, id).await? {
            events.push(Event::Message { message: Box::new(message) });
        }
        Ok(())
    }
}
