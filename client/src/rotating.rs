//! Another Signal key for this device: the old one signs for it, the chain takes it, and the store follows.
//!
//! Wherever it breaks off, the next session goes on, and nothing that others wrote to this device is lost to it:
//!
//! 1. The next key is written down beside the one in use.
//! 2. The operation is sent, signed by the control key. When the chain has it, the relay drops the prekeys of the key
//!    before, and from then on takes nothing that is encrypted for that key.
//! 3. A session takes what the mailbox holds by then, with the key before, and sends nothing.
//! 4. In one commit the next key takes its place, with the old one's signature; sessions and prekeys go, and what was
//!    encrypted and not answered is encrypted anew.
//! 5. Prekeys are published under the new key, with the signature.

use std::time::Duration;

use genesis::file;
use identity::device::SuccessionProof;
use identity::{Draft, Entry, SignalKey, SignedOperation};
use tokio::time::{Instant, sleep};
use types::{ChainId, Encode as _, Height};

use crate::Error;
use crate::client::{Client, Inner};
use crate::device::Device;
use crate::signal::Own;
use crate::stocking::{PUBLISHED, SUCCESSION};
use crate::store::{self, outbox, people, sessions};

/// The name under which the store keeps the Signal key that is to follow on the one in use.
const NEXT: &str = "next_signal_key";

/// The relay's number for: nothing is published for this device.
const NO_PREKEYS: u32 = 7044;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);

impl Client {
    /// Gives this device another Signal key, and waits until its prekeys are published. Contacts see that the old key
    /// signed for it. If it broke off, the same call or the next [`Client::listen`] goes on.
    ///
    /// # Errors
    /// [`Error::Busy`] while this device is connected; [`Error::NoControl`]; [`Error::Behind`]; [`Error::Relay`],
    /// [`Error::Unreachable`], [`Error::Chain`]; [`Error::Timeout`] after `patience`: a later session does the rest.
    pub async fn rotate_key(&self, patience: Duration) -> Result<SignalKey, Error> {
        let inner = &self.inner;
        let until = Instant::now() + patience;
        let key = {
            // A session that stands would go on with the old key.
            let _lock = file::lock(&inner.folder.join("connection")).map_err(Error::Busy)?;
            Box::pin(inner.succeed()).await?
        };
        let connection = match self.listen().await {
            // Another process was quicker: it does the rest.
            Err(Error::Busy(_)) => None,
            connection => Some(connection?),
        };
        let done = loop {
            match inner.is_published(&key).await {
                Ok(false) if Instant::now() < until => sleep(LOOK).await,
                Ok(false) => break Err(Error::Timeout { what: "publishing the new key's prekeys", after_s: patience.as_secs() }),
                Ok(true) => break Ok(key),
                Err(error) => break Err(error),
            }
        };
        if let Some(connection) = connection {
            connection.stop().await;
        }
        done
    }
}

impl Inner {
    /// Has the chain take the next key; which one that is.
    async fn succeed(&self) -> Result<SignalKey, Error> {
        let device = self.device().await?;
        let (own, control) = (device.address()?, device.control.as_ref().ok_or(Error::NoControl)?);
        if self.is_unpublished().await? {
            return Ok(device.signal.key());
        }
        let entry = self.in_control(&own.did, control).await?.entry;
        let next = self.next_key().await?.key();
        if device.succession(&self.chain_id, &entry, &next).is_some() {
            return Ok(next);
        }
        if device.id_in(&entry).is_none() {
            return Err(Error::Behind("Signal key"));
        }
        let operation = rotation(&self.chain_id, &device, &entry, &next, self.until().await?)?;
        self.api.operate(&device.login()?, operation.to_bytes()).await?;
        let has_it = |entry: &Entry| device.succession(&self.chain_id, entry, &next).is_some();
        let person = self.prove_when(&own.did, has_it).await?;
        if has_it(&person.entry) { Ok(next) } else { Err(Error::Behind("Signal key")) }
    }

    /// The key that is to follow: one that was begun with, or a new one, written down. It is never forgotten before it
    /// is in use: an operation whose answer was lost may still reach the chain.
    async fn next_key(&self) -> Result<Own, Error> {
        let mut tx = self.store.begin().await?;
        if let Some(next) = store::get(&mut tx, NEXT).await? {
            return Ok(next);
        }
        let next = Own::generate();
        store::put(&mut tx, NEXT, &next).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Whether a new key is in use, and its prekeys wait for a session to publish them.
    async fn is_unpublished(&self) -> Result<bool, Error> {
        let mut tx = self.store.begin().await?;
        Ok(store::has(&mut tx, SUCCESSION).await? && !store::has(&mut tx, PUBLISHED).await?)
    }

    /// Whether a new key is in use, and its prekeys are published.
    async fn is_published(&self, key: &SignalKey) -> Result<bool, Error> {
        let mut tx = self.store.begin().await?;
        Ok(self.device_in(&mut tx).await?.signal.key() == *key && store::has(&mut tx, PUBLISHED).await?)
    }

    /// Whether the chain has this device's next key, and the store does not use it yet.
    pub(crate) async fn has_succeeded(&self) -> Result<bool, Error> {
        let Some(next) = self.store.get::<Own>(NEXT).await? else { return Ok(false) };
        let device = self.device().await?;
        let person = Box::pin(self.prove(&device.did())).await?;
        Ok(device.succession(&self.chain_id, &person.entry, &next.key()).is_some())
    }

    /// As [`Inner::has_succeeded`]; then the relay knows it too, and takes nothing more for the key before.
    ///
    /// # Errors
    /// One that passes, as long as the relay has prekeys of the key before.
    pub(crate) async fn is_succeeding(&self) -> Result<bool, Error> {
        if !self.has_succeeded().await? {
            return Ok(false);
        }
        match self.api.stock(&self.device().await?.login()?).await {
            Err(Error::Relay { code: NO_PREKEYS, .. }) => Ok(true),
            Ok(_) => Err(Error::Answer { what: "the stock of prekeys", fault: "of a key that the chain has replaced" }),
            Err(error) => Err(error),
        }
    }

    /// The next key takes its place, in one commit; then its prekeys are published. Without one, nothing happens.
    ///
    /// # Errors
    /// [`Error::Behind`] if the chain is not known to have it; [`Error::Store`]; as publishing.
    pub(crate) async fn use_next_key(&self) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let Some(next) = store::get::<Own>(&mut tx, NEXT).await? else { return Ok(()) };
        let device = self.device_in(&mut tx).await?;
        let known = people::person(&mut tx, &device.did()).await?;
        let signature = known.and_then(|known| device.succession(&self.chain_id, &known.entry, &next.key()));
        let signature: SuccessionProof = signature.ok_or(Error::Behind("Signal key"))?.try_into().map_err(identity::Error::from)?;
        Device { signal: next, ..device }.save(&mut tx).await?;
        store::put(&mut tx, SUCCESSION, &signature).await?;
        store::forget(&mut tx, NEXT).await?;
        store::forget(&mut tx, PUBLISHED).await?;
        sessions::forget_all(&mut tx).await?;
        outbox::forget_frames(&mut tx).await?;
        tx.commit().await?;
        self.keep_prekeys().await
    }

    /// The signature of this device's key for the next one, which `entry` has.
    pub(crate) async fn own_succession(&self, entry: &Entry) -> Result<Option<(u16, Vec<u8>)>, Error> {
        let Some(next) = self.store.get::<Own>(NEXT).await? else { return Ok(None) };
        let device = self.device().await?;
        let (own, signature) = (device.address()?.device, device.succession(&self.chain_id, entry, &next.key()));
        Ok(signature.map(|signature| (own, signature)))
    }
}

/// The operation that puts `next` in the place of the device's Signal key, signed by that one and by the control key.
fn rotation(chain: &ChainId, device: &Device, entry: &Entry, next: &SignalKey, until: Height) -> Result<SignedOperation, Error> {
    let (own, control) = (device.address()?, device.control.as_ref().ok_or(Error::NoControl)?);
    let signature = device.sign_succession(chain, entry.sequence.saturating_add(1), next);
    let signature = Some(signature.try_into().map_err(identity::Error::from)?);
    let draft = Draft::rotate_signal_key(chain, &own.did, entry, (own.device, &device.key), *next, signature, until);
    Ok(draft.sign(0, control).finish()?)
}

#[cfg(test)]
mod tests;
