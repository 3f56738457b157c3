//! Contacts: proving who they are, and noting what changed.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Did, Entry};
use mailbox::Address;
use rpc::relay::{PrekeyBundle, PrekeyBundles};
use serde::Serialize;
use sqlx::SqliteConnection;
use tendermint::Time;
use types::{Height, Millis};

use crate::client::{Client, Inner, now};
use crate::contact::{self, Change, Checked, FRESH, Mismatch, Note, SafetyNumber, change};
use crate::device::Device;
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

    /// What changed of somebody since this device knows them, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn notes(&self, did: &Did) -> Result<Vec<Note>, Error> {
        let mut tx = self.inner.store.begin().await?;
        people::notes(&mut tx, did).await
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
        let bundles = inner.bundles(&device, &person).await?;
        let mut tx = inner.store.begin().await?;
        let known: BTreeSet<u16> = sessions::sessions_of(&mut tx, did).await?.iter().map(|(id, _)| *id).collect();
        let proven = contact::Proven { chain: &inner.chain_id, did, entry: &person.entry };
        let devices = contact::check(&proven, &bundles, &known, (*did == own.did).then_some(own.device))?;
        let amended = inner.amend(&mut tx, &person, &bundles).await?;
        let notes = people::notes(&mut tx, did).await?;
        tx.commit().await?;
        inner.tell_all(amended);
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
        let signatures = self.signatures(did, &entry).await?;
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
            for change in change::changes(&self.chain_id, did, &before.entry, &person.entry, |device| signatures.get(&device).cloned()) {
                self.end_sessions(&mut tx, did, &change).await?;
                noted.push(Note { did: *did, seen: now(), change });
            }
        }
        for note in &noted {
            people::put_note(&mut tx, note).await?;
        }
        people::put_person(&mut tx, &person).await?;
        tx.commit().await?;
        self.tell_all(noted);
        Ok(person)
    }

    /// What old Signal keys have signed for new ones in `entry`, by device: this device's from its own store, the others'
    /// from the relay. It is asked only where the chain says that there is something; where it does not answer or has
    /// nothing, the change is a reset until it does: [`Inner::amend`].
    async fn signatures(&self, did: &Did, entry: &Entry) -> Result<BTreeMap<u16, Vec<u8>>, Error> {
        let mut tx = self.store.begin().await?;
        let known = people::person(&mut tx, did).await?;
        let own = Device::load(&mut tx).await?;
        drop(tx);
        let claimed: BTreeSet<u16> = known.iter().flat_map(|known| change::claimed(&known.entry, entry)).collect();
        let mut signatures = BTreeMap::new();
        let Some(own) = own.filter(|_| !claimed.is_empty()) else { return Ok(signatures) };
        if own.did() == *did {
            signatures.extend(self.own_succession(entry).await?);
        }
        if let (true, Ok(login)) = (claimed.iter().any(|device| !signatures.contains_key(device)), own.login()) {
            match self.api.bundles(&login, did).await {
                Ok(bundles) => {
                    let signed = |bundle: &PrekeyBundle| Some((bundle.device, bundle.succession.clone()?.0));
                    signatures.extend(bundles.devices.iter().filter_map(signed));
                    *self.unused.lock().await = Some((entry.last_operation, bundles));
                }
                Err(error) => tracing::debug!(code = error.code(), "what was signed for a new key is not to be had now"),
            }
        }
        Ok(signatures)
    }

    /// Somebody's prekey bundles: those that were asked for when their entry was proven, else those of now.
    pub(crate) async fn bundles(&self, device: &Device, person: &Person) -> Result<PrekeyBundles, Error> {
        let unused = self.unused.lock().await.take();
        match unused.filter(|(after, bundles)| *after == person.entry.last_operation && bundles.did == person.did) {
            Some((_, bundles)) => Ok(bundles),
            None => self.api.bundles(&device.login()?, &person.did).await,
        }
    }

    /// Signatures that had not come to light when a new key was noted: what is a reset by the notes is proven by them.
    /// What was amended, to be told after the commit.
    pub(crate) async fn amend(&self, db: &mut SqliteConnection, person: &Person, bundles: &PrekeyBundles) -> Result<Vec<Note>, Error> {
        let notes = people::notes(db, &person.did).await?;
        let mut amended = Vec::new();
        for bundle in &bundles.devices {
            let (Some(signature), Some(device)) = (&bundle.succession, person.entry.device(bundle.device)) else { continue };
            let last = notes.iter().rev().find(|note| note.change.rekeyed() == Some(device.id));
            let Some(Note { seen, change: before @ Change::KeyReset { from: Some(from), .. }, .. }) = last else { continue };
            if change::is_signed(&self.chain_id, &person.did, from, device, &signature.0) {
                let after = Change::KeyProven { device: device.id };
                people::amend_note(db, &person.did, before, &after).await?;
                amended.push(Note { did: person.did, seen: *seen, change: after });
            }
        }
        Ok(amended)
    }

    pub(crate) fn tell_all(&self, notes: Vec<Note>) {
        notes.into_iter().for_each(|note| self.tell(Event::Changed { note }));
    }

    /// A device that left, or has another key, has no session any more.
    async fn end_sessions(&self, db: &mut SqliteConnection, did: &Did, change: &Change) -> Result<(), Error> {
        match change {
            Change::DeviceRemoved { device } | Change::KeyProven { device } | Change::KeyReset { device, .. } => {
                sessions::drop_session(db, &Address { did: *did, device: *device }).await
            }
            Change::DeviceAdded { .. } | Change::ControlRotated | Change::Deactivated => Ok(()),
        }
    }
}
