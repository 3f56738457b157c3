//! Contacts: proving who they are, and noting what changed.

use std::collections::BTreeSet;

use identity::{Did, Entry};
use mailbox::Address;
use serde::Serialize;
use tendermint::Time;
use types::{Height, Millis};

use crate::client::{Client, Inner, now};
use crate::contact::{self, Checked, FRESH, Mismatch, Note, SafetyNumber, change};
use crate::event::Event;
use crate::store::people::{self, Person};
use crate::store::sessions;
use crate::{Error, signal};

/// Somebody that this device knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// Who.
    pub did: Did,
    /// Their entry, as it was last proven.
    pub entry: Entry,
    /// The height after which the state was like this.
    pub height: Height,
    /// The time of the header that proved it: verified as of then.
    pub proven: Millis,
    /// When the person said to have compared safety numbers.
    pub compared: Option<Millis>,
    /// What changed since this device knows them, oldest first.
    pub notes: Vec<Note>,
}

/// What the chain proves about somebody now, and whether the relay says the same.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// What is proven.
    pub contact: Contact,
    /// What the relay says, compared with it.
    pub devices: Checked,
    /// The safety number, in groups of five digits.
    pub safety_number: String,
    /// What this side's QR code says.
    pub qr_text: String,
    /// The QR code for a terminal.
    #[serde(skip)]
    pub qr: String,
}

impl Client {
    /// Everybody that this device knows, but this identity.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Store`].
    pub async fn contacts(&self) -> Result<Vec<Contact>, Error> {
        let own = self.inner.device().await?.did();
        let mut tx = self.inner.store.begin().await?;
        let mut contacts = Vec::new();
        for person in people::people(&mut tx).await? {
            if person.did != own {
                let notes = people::notes(&mut tx, &person.did).await?;
                contacts.push(contact_of(person, notes));
            }
        }
        Ok(contacts)
    }

    /// Proves somebody's entry anew, compares what the relay hands out with it, and gives what two people
    /// compare with each other.
    ///
    /// # Errors
    /// [`Error::Contact`] with what differs; [`Error::Chain`], [`Error::Relay`], [`Error::Unreachable`].
    pub async fn verify_contact(&self, did: &Did) -> Result<Verified, Error> {
        let inner = &self.inner;
        let device = inner.device().await?;
        let own = device.address()?;
        let person = inner.prove(did).await?;
        let bundles = inner.api.bundles(&device.login()?, did).await?;
        let mut tx = inner.store.begin().await?;
        let known: BTreeSet<u16> = sessions::sessions_of(&mut tx, did).await?.iter().map(|(id, _)| *id).collect();
        let notes = people::notes(&mut tx, did).await?;
        drop(tx);
        let proven = contact::Proven { chain: &inner.chain_id, did, entry: &person.entry };
        let devices = contact::check(&proven, &bundles, &known, (*did == own.did).then_some(own.device))?;
        let safety = SafetyNumber::of(&inner.chain_id, &own.did, did);
        Ok(Verified {
            contact: contact_of(person, notes),
            devices,
            safety_number: safety.to_string(),
            qr_text: safety.qr_text().to_owned(),
            qr: safety.qr(),
        })
    }

    /// Notes that the person has compared safety numbers with somebody. With `scanned`, the text of the
    /// other side's QR code, it is noted only if that is right. Returns whether it was noted.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Chain`], [`Error::Contact`], [`Error::Store`].
    pub async fn mark_compared(&self, did: &Did, scanned: Option<&str>) -> Result<bool, Error> {
        let inner = &self.inner;
        let own = inner.device().await?.did();
        if scanned.is_some_and(|scanned| !SafetyNumber::is_shown_by(&inner.chain_id, &own, did, scanned)) {
            return Ok(false);
        }
        let person = inner.person(did).await?;
        let mut tx = inner.store.begin().await?;
        people::put_person(&mut tx, &Person { compared: Some(now()), ..person }).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn contact_of(person: Person, notes: Vec<Note>) -> Contact {
    let Person { did, entry, height, proven, compared, .. } = person;
    Contact { did, entry, height, proven, compared, notes }
}

impl Inner {
    /// Somebody as proven by a header that is fresh enough to send by.
    pub(crate) async fn person(&self, did: &Did) -> Result<Person, Error> {
        let mut tx = self.store.begin().await?;
        let known = people::person(&mut tx, did).await?;
        drop(tx);
        let fresh = u64::try_from(FRESH.as_millis()).unwrap_or(u64::MAX);
        match known.filter(|person| now().0.saturating_sub(person.proven.0) < fresh) {
            Some(person) if person.entry.is_deactivated() => Err(Mismatch::Deactivated { did: *did }.into()),
            Some(person) => Ok(person),
            None => Box::pin(self.prove(did)).await,
        }
    }

    /// The device of a sender, as proven: what is known if that has the key, else what the chain proves now.
    pub(crate) async fn sender(&self, from: &Address, claimed: Option<&identity::SignalKey>) -> Result<Option<signal::Peer>, Error> {
        let key_in = |person: &Person| {
            let key = person.entry.device(from.device).map(|device| device.signal.identity_key);
            key.filter(|key| claimed.is_none_or(|claimed| claimed == key))
        };
        let mut tx = self.store.begin().await?;
        let known = people::person(&mut tx, &from.did).await?;
        drop(tx);
        let key = match known.as_ref().and_then(key_in) {
            Some(key) => Some(key),
            None => key_in(&Box::pin(self.prove(&from.did)).await?),
        };
        Ok(key.map(|key| signal::Peer { address: *from, key }))
    }

    /// Has the chain prove somebody's entry, and notes what changed in it.
    pub(crate) async fn prove(&self, did: &Did) -> Result<Person, Error> {
        let mut chain = self.chain.lock().await;
        let proven = chain.identity(did).await?;
        let trust = chain.trust().clone();
        drop(chain);
        let age = proven.header.age(Time::now());
        if age > FRESH {
            return Err(Mismatch::OldHeader { age }.into());
        }
        let (height, time) = (proven.height(), Millis::try_from(proven.time()).unwrap_or_default());
        let entry = proven.value.ok_or(Mismatch::NoIdentity { did: *did })?;
        let mut tx = self.store.begin().await?;
        let gateway = self.api.gateway();
        self.keep_trust(&mut tx, trust, gateway).await?;
        let before = people::person(&mut tx, did).await?;
        let mut person = Person { did: *did, entry, height, proven: time, bundles: Millis(0), compared: None };
        let mut noted = Vec::new();
        if let Some(before) = before {
            if person.entry.sequence < before.entry.sequence {
                let (found, known) = (person.entry.sequence, before.entry.sequence);
                return Err(Mismatch::Older { did: *did, found, known }.into());
            }
            person.compared = before.compared;
            if person.entry.last_operation == before.entry.last_operation {
                person.bundles = before.bundles;
            }
            for change in change::changes(&self.chain_id, did, &before.entry, &person.entry, |_| None) {
                self.end_sessions(&mut tx, did, &change).await?;
                noted.push(Note { did: *did, seen: now(), change });
            }
        }
        for note in &noted {
            people::put_note(&mut tx, note).await?;
        }
        people::put_person(&mut tx, &person).await?;
        tx.commit().await?;
        for note in noted {
            self.tell(Event::Changed { note });
        }
        Ok(person)
    }

    /// A device that left, or has another key, has no session any more.
    async fn end_sessions(&self, db: &mut sqlx::SqliteConnection, did: &Did, change: &change::Change) -> Result<(), Error> {
        use change::Change::{DeviceRemoved, KeyProven, KeyReset};
        match change {
            DeviceRemoved { device } | KeyProven { device } | KeyReset { device } => {
                sessions::drop_session(db, &Address { did: *did, device: *device }).await
            }
            change::Change::DeviceAdded { .. } | change::Change::ControlRotated | change::Change::Deactivated => Ok(()),
        }
    }
}
