//! From a message in the outbox to a frame: contacts checked, sessions begun, one ciphertext for each
//! device, and all of it committed before anything leaves.

use audit::{Body, Commitment, Opening};
use identity::Did;
use mailbox::frame::{Content as Ciphertext, MAX_FRAME};
use mailbox::wire::{self, Encoding};
use mailbox::{Address, ClientFrame, Submission};
use types::{Hash, Millis};

use crate::client::{Inner, now};
use crate::device::Device;
use crate::envelope::{self, Content, Envelope};
use crate::signal::{self, Peer};
use crate::store::people::Person;
use crate::store::{outbox, sessions};
use crate::{Error, contact};

/// What opens the commitment to a message: it follows on the last one of this device in the conversation.
pub(crate) fn opening(conversation: Hash, last: Option<&Opening>, sent: Millis, text: &str) -> Opening {
    let before = last.and_then(|last| match &last.body {
        Body::Message { sequence, .. } => Some((*sequence, last.commitment())),
        Body::File { .. } => None,
    });
    let (sequence, previous) = before.map_or((1, None), |(sequence, commitment)| (sequence.saturating_add(1), Some(commitment.0)));
    // The device's key is left out: who has the opening could show by it who wrote, and nobody asked for that.
    let body = Body::Message { conversation, device: None, sequence, sent, content: envelope::content_hash(text), previous };
    Opening { salt: genesis::entropy::bytes(), body }
}

impl Inner {
    /// The frame of an item, encrypted and committed.
    pub(crate) async fn seal(&self, item: &outbox::Item) -> Result<Vec<u8>, Error> {
        if let Some(frame) = &item.frame {
            return Ok(frame.clone());
        }
        let device = self.device().await?;
        let own = device.address()?;
        let to_oneself = item.recipient == own.did;
        let mut people = vec![self.person(&own.did).await?];
        if !to_oneself {
            people.insert(0, self.person(&item.recipient).await?);
        }
        for person in &people {
            Box::pin(self.ready(&device, person)).await?;
        }
        let frame = Box::pin(self.encrypt(&device, item, &people)).await?;
        Ok(frame)
    }

    /// Sees to it that there is a session with each of a person's devices that can have one.
    async fn ready(&self, device: &Device, person: &Person) -> Result<(), Error> {
        let own = device.address()?;
        let now = now();
        let mut tx = self.store.begin().await?;
        let sessions = sessions::sessions_of(&mut tx, &person.did).await?;
        drop(tx);
        let usable = |id: u16| sessions.iter().any(|(device, record)| *device == id && signal::is_usable(record, now));
        let others = || person.entry.devices.iter().map(|device| device.id).filter(|id| Address { did: person.did, device: *id } != own);
        let asked_lately = now.0.saturating_sub(person.bundles.0) < u64::try_from(contact::FRESH.as_millis()).unwrap_or(u64::MAX);
        let needed = others().any(|id| !usable(id));
        // Asked anew whenever the entry has changed or the relay says that the devices are others. One that has
        // published nothing is asked for again once in a while.
        let checked = person.bundles.0 != 0;
        if others().next().is_none() || (checked && (!needed || (asked_lately && others().any(usable)))) {
            return Ok(());
        }
        let bundles = self.bundles(device, person).await?;
        let known = sessions.iter().map(|(id, _)| *id).collect();
        let without = (person.did == own.did).then_some(own.device);
        let proven = contact::Proven { chain: &self.chain_id, did: &person.did, entry: &person.entry };
        let checked = contact::check(&proven, &bundles, &known, without)?;
        let mut tx = self.store.begin().await?;
        let amended = self.amend(&mut tx, person, &bundles).await?;
        for found in checked.devices.iter().filter(|found| Some(found.device) != without) {
            let Some(bundle) = bundles.devices.iter().find(|bundle| bundle.device == found.device) else { continue };
            let address = Address { did: person.did, device: found.device };
            let session = sessions::session(&mut tx, &address).await?;
            let stale = session.as_deref().is_none_or(|record| !signal::is_usable(record, now));
            if stale {
                let record = signal::begin(&device.signal, &Peer { address, key: found.key }, bundle, session.as_deref(), now)?;
                sessions::put_session(&mut tx, &address, &record).await?;
            }
        }
        crate::store::people::put_person(&mut tx, &Person { bundles: now, ..person.clone() }).await?;
        tx.commit().await?;
        self.tell_all(amended);
        if person.did != own.did && checked.devices.is_empty() {
            return Err(contact::Mismatch::NoDevice { did: person.did }.into());
        }
        Ok(())
    }

    /// One ciphertext for each device that there is a session with, and the sessions after it, in one commit.
    async fn encrypt(&self, device: &Device, item: &outbox::Item, people: &[Person]) -> Result<Vec<u8>, Error> {
        let own = device.address()?;
        let conversation = envelope::conversation(&self.chain_id, &own.did, &item.recipient);
        let mut tx = self.store.begin().await?;
        let mut contents = [Vec::new(), Vec::new()];
        for person in people {
            let copies = usize::from(person.did != item.recipient);
            for (id, record) in sessions::sessions_of(&mut tx, &person.did).await? {
                let Some(known) = person.entry.device(id) else { continue };
                let to = Address { did: person.did, device: id };
                if to == own {
                    continue;
                }
                let envelope = Envelope {
                    from: own,
                    to,
                    recipient: item.recipient,
                    conversation,
                    message_id: item.message_id,
                    sent: item.sent,
                    content: item.content.clone(),
                };
                let peer = Peer { address: to, key: known.signal.identity_key };
                let made = match signal::encrypt(&device.signal, &peer, &record, &envelope.seal(), now()) {
                    // A device that has published nothing new yet: the relay says so if it must be there.
                    Err(signal::Refused::NotPostQuantum | signal::Refused::NoSession) => continue,
                    made => made?,
                };
                sessions::put_session(&mut tx, &to, &made.session).await?;
                contents[copies].push(Ciphertext {
                    device_id: id,
                    registration_id: made.registration_id,
                    form: made.form,
                    encrypted_content: made.ciphertext.into(),
                });
            }
        }
        let [contents, own_contents] = contents;
        let submission = Submission {
            message_id: item.message_id,
            conversation_id: conversation,
            recipient_id: item.recipient,
            contents,
            own_contents,
            content_hash: commitment(&item.content),
            timestamp: item.sent,
        };
        let frame = wire::encode(Encoding::Cbor, &frame(&item.content, submission));
        if frame.len() > MAX_FRAME {
            return Err(Error::TooLarge { found: frame.len(), bound: MAX_FRAME });
        }
        outbox::set_frame(&mut tx, item.row, &frame).await?;
        tx.commit().await?;
        Ok(frame)
    }

    /// The relay says that the devices are others: what is known of them is asked for anew, and what was
    /// encrypted is of no use. `stale`: devices that were set up anew. One that the relay says is gone is
    /// believed to be only when the chain says so: else a relay could quietly leave it out.
    pub(crate) async fn look_again(&self, did: &Did, stale: &[u16]) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        for device in stale {
            sessions::drop_session(&mut tx, &Address { did: *did, device: *device }).await?;
        }
        if let Some(person) = crate::store::people::person(&mut tx, did).await? {
            crate::store::people::put_person(&mut tx, &Person { proven: Millis(0), bundles: Millis(0), ..person }).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The commitment that goes to the relay: a message's.
fn commitment(content: &Content) -> Option<Commitment> {
    match content {
        Content::Message { opening, .. } => Some(opening.commitment()),
        Content::Delivered(_) | Content::Read(_) => None,
    }
}

const fn frame(content: &Content, submission: Submission) -> ClientFrame {
    match content {
        Content::Message { .. } => ClientFrame::Send(submission),
        Content::Delivered(_) => ClientFrame::Delivered(submission),
        Content::Read(_) => ClientFrame::Read(submission),
    }
}
