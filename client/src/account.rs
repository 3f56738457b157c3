//! How a device comes to an identity, and how an identity comes to devices: registering, linking, recovering.
//!
//! Whatever is sent is written down before, with the keys that it is about, so that a crash or a lost answer
//! never leaves the chain with keys that nobody has: the same call again goes on where it was.

use std::time::Duration;

use identity::{Control, Did, Draft, Entry, Operation, SignedOperation};
use mailbox::Address;
use rpc::relay::Register;
use rpc::submit::VALID_FOR;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use types::{Blob, Encode as _, Height};

use crate::client::{Client, Inner};
use crate::contact::Mismatch;
use crate::device::{Device, LinkCode, Stage, creation, rotation};
use crate::store::people::Person;
use crate::store::{self, decode};
use crate::{Error, RecoveryKit};

/// The name under which the store keeps the kit, until it is on paper.
const KIT: &str = "kit";

/// The name under which the store keeps the creation that is on its way.
const CREATION: &str = "creation";

/// How long it is waited until the chain proves what was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks.
const POLL: Duration = Duration::from_millis(200);

/// The most devices of an identity.
const MAX_DEVICES: usize = 16;

/// An identity of one's own.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The identity.
    pub did: Did,
    /// What it is recovered with, beside the identifier: to be written down, now.
    pub kit: RecoveryKit,
}

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// The identity.
    pub did: Did,
    /// This device.
    pub device: u16,
    /// The devices that were removed.
    pub removed: Vec<u16>,
}

impl Client {
    /// Makes an identity with this device as its first; the relay pays for it. If the answer was lost, the same
    /// call goes on with the identity that was begun.
    ///
    /// The kit stays in the store until [`Client::forget_kit`]: call that once it is on paper.
    ///
    /// # Errors
    /// [`Error::Registered`], [`Error::OtherChain`], [`Error::Relay`], [`Error::Unreachable`], [`Error::Chain`],
    /// [`Error::Behind`] if the chain has not what was sent.
    pub async fn register(&self, invitation: Option<String>) -> Result<Registered, Error> {
        let inner = &self.inner;
        inner.api.relay().await?;
        let until = inner.until().await?;
        let (device, kit, operation, again) = self.begin_registration(until).await?;
        let did = operation.did;
        let known = if again { inner.find(&did).await? } else { None };
        let operation = known.is_none().then(|| operation.to_bytes().into());
        inner.api.register(&Register { did, operation, invitation }).await?;
        let person = inner.prove_when(&did, |entry| device.id_in(entry).is_some()).await?;
        let Some(id) = device.id_in(&person.entry) else { return Err(Error::Behind("device")) };
        if person.entry.control != Control::single(kit.control(0).public()) {
            return Err(Error::Behind("control key"));
        }
        let mut tx = inner.store.begin().await?;
        Device { stage: Stage::Member(Address { did, device: id }), control: Some(kit.control(0)), ..device }.save(&mut tx).await?;
        store::forget(&mut tx, CREATION).await?;
        tx.commit().await?;
        inner.begin_to_receive().await;
        Ok(Registered { did, kit })
    }

    /// The registration that was begun, signed anew for today's height; or a new one, written down.
    async fn begin_registration(&self, until: Height) -> Result<(Device, RecoveryKit, SignedOperation, bool), Error> {
        let inner = &self.inner;
        let mut tx = inner.store.begin().await?;
        let begun: Option<Blob<4096>> = store::get(&mut tx, CREATION).await?;
        match (Device::load(&mut tx).await?, begun, store::get::<[u8; 32]>(&mut tx, KIT).await?) {
            (Some(device), Some(bytes), Some(kit)) => {
                let kit = RecoveryKit::from_bytes(kit);
                let signed: SignedOperation = decode(&bytes, "creation")?;
                let Operation::Create { genesis, .. } = signed.operation else { return Err(Error::StoreText { what: "creation" }) };
                let operation = Draft::create(genesis, &[&device.key], until)?.sign(0, &kit.control(0)).finish()?;
                Ok((device, kit, operation, true))
            }
            (Some(_), ..) => Err(Error::Registered),
            (None, ..) => {
                let kit = RecoveryKit::generate();
                let mut device = Device::generate(Stage::Joining(Did([0; 32])));
                let operation = creation(&inner.chain_id, &kit, &device.key, device.signal.key(), until)?;
                device.stage = Stage::Joining(operation.did);
                device.save(&mut tx).await?;
                store::put(&mut tx, KIT, kit.bytes()).await?;
                let bytes: Blob<4096> = operation.to_bytes().try_into().map_err(identity::Error::from)?;
                store::put(&mut tx, CREATION, &bytes).await?;
                tx.commit().await?;
                Ok((device, kit, operation, false))
            }
        }
    }

    /// The kit, as long as it was not forgotten.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn kit(&self) -> Result<Option<RecoveryKit>, Error> {
        Ok(self.inner.store.get::<[u8; 32]>(KIT).await?.map(RecoveryKit::from_bytes))
    }

    /// The kit is on paper: the device keeps it no longer, so that whoever steals the device has not the
    /// identity's next control key.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn forget_kit(&self) -> Result<(), Error> {
        let mut tx = self.inner.store.begin().await?;
        store::forget(&mut tx, KIT).await?;
        Ok(tx.commit().await?)
    }

    /// This device wants to join an identity: the code is to be shown to a device that holds the control key
    /// ([`Client::link_accept`]); then [`Client::link_finish`] here.
    ///
    /// # Errors
    /// [`Error::Registered`] if this device is of an identity; [`Error::Chain`], [`Error::Contact`].
    pub async fn link_request(&self, did: &Did) -> Result<LinkCode, Error> {
        let inner = &self.inner;
        let device = self.joining(did).await?;
        let person = inner.prove(did).await?;
        Ok(LinkCode::new(&inner.chain_id, did, &person.entry, &device))
    }

    /// Waits until the chain proves that this device has joined. Returns its id.
    ///
    /// # Errors
    /// [`Error::NotRegistered`] if it did not ask to; [`Error::Timeout`] after `patience`; [`Error::Chain`].
    pub async fn link_finish(&self, patience: Duration) -> Result<u16, Error> {
        let inner = &self.inner;
        let device = inner.device().await?;
        if let Stage::Member(address) = device.stage {
            return Ok(address.device);
        }
        let did = device.did();
        let person = inner.prove_within(&did, patience, |entry| device.id_in(entry).is_some()).await?;
        let Some(id) = device.id_in(&person.entry) else {
            return Err(Error::Timeout { what: "joining", after_s: patience.as_secs() });
        };
        self.join(device, Address { did, device: id }).await?;
        inner.begin_to_receive().await;
        Ok(id)
    }

    /// Adds the device that shows `code` to this identity. Returns its id.
    ///
    /// # Errors
    /// [`Error::NoControl`]; [`Error::LinkCode`] for another identity's; [`Error::LinkCodeOld`]; [`Error::Relay`],
    /// [`Error::Chain`].
    pub async fn link_accept(&self, code: &LinkCode) -> Result<u16, Error> {
        let inner = &self.inner;
        let device = inner.device().await?;
        let (own, control) = (device.address()?, device.control.as_ref().ok_or(Error::NoControl)?);
        if code.did != own.did {
            return Err(Error::LinkCode);
        }
        let person = inner.in_control(&own.did, control).await?;
        let operation = code.addition(&inner.chain_id, &person.entry, control, inner.until().await?)?;
        inner.api.operate(&device.login()?, operation.to_bytes()).await?;
        let added = |entry: &Entry| entry.devices.iter().find(|device| device.key == code.keys.key).map(|device| device.id);
        let person = inner.prove_when(&own.did, |entry| added(entry).is_some()).await?;
        added(&person.entry).ok_or(Error::Behind("device"))
    }

    /// Removes a device of this identity: any, with the control key; this one, without.
    ///
    /// # Errors
    /// [`Error::NoControl`], [`Error::Relay`], [`Error::Chain`], [`Error::Contact`].
    pub async fn unlink(&self, id: u16) -> Result<(), Error> {
        let inner = &self.inner;
        let device = inner.device().await?;
        let own = device.address()?;
        let person = inner.prove(&own.did).await?;
        let draft = Draft::new(&inner.chain_id, &own.did, &person.entry, Operation::RemoveDevice { device: id }, inner.until().await?);
        let operation = match &device.control {
            _ if id == own.device => draft.sign_as_device(id, &device.key),
            Some(control) => draft.sign(0, control),
            None => return Err(Error::NoControl),
        };
        inner.api.operate(&device.login()?, operation.finish()?.to_bytes()).await?;
        inner.prove_when(&own.did, |entry| entry.device(id).is_none()).await?;
        Ok(())
    }

    /// Takes an identity back with its kit, on a new device: the committed control key takes over, this device is
    /// added, and every device that is not in `keep` is removed. If it broke off, the same call goes on.
    ///
    /// # Errors
    /// [`Error::Registered`] if this device is of an identity; [`Error::OtherKit`]; [`Error::Relay`],
    /// [`Error::Chain`], [`Error::Contact`].
    pub async fn recover(&self, did: &Did, kit: &RecoveryKit, keep: &[u16]) -> Result<Recovered, Error> {
        let inner = &self.inner;
        inner.api.relay().await?;
        let mut device = self.joining(did).await?;
        let mut person = inner.prove(did).await?;
        // Nobody can sign in yet: operations go by way of a registration, which the relay takes since they are
        // signed by the identity's own keys.
        let number = match kit.committed(&person.entry) {
            Some(number) if device.control.is_none() => {
                // Written down first: whoever finds it rotated afterwards knows that it was this device.
                device.control = Some(kit.control(number));
                let mut tx = inner.store.begin().await?;
                device.save(&mut tx).await?;
                tx.commit().await?;
                person = inner.take_over(did, &person.entry, kit, number).await?;
                Some(number)
            }
            // It broke off: either the rotation is there or it is sent again.
            Some(number) => match kit.in_force(&person.entry) {
                Some(found) if device.control.as_ref().is_some_and(|key| key.public() == kit.control(found).public()) => Some(found),
                _ => {
                    person = inner.take_over(did, &person.entry, kit, number).await?;
                    Some(number)
                }
            },
            None => None,
        };
        let control = kit.control(number.ok_or(Error::OtherKit)?);
        device.control = Some(control.clone());
        let mut removed = Vec::new();
        let lost: Vec<u16> = person.entry.devices.iter().map(|device| device.id).filter(|id| !keep.contains(id)).collect();
        if device.id_in(&person.entry).is_none() {
            if person.entry.devices.len() >= MAX_DEVICES {
                let id = *lost.first().ok_or(Error::Operation(identity::Error::TooManyDevices))?;
                person = inner.remove(did, &person.entry, id, &control).await?;
                removed.push(id);
            }
            let until = inner.until().await?;
            let draft = Draft::add_device(&inner.chain_id, did, &person.entry, &device.key, device.signal.key(), until);
            inner.submit(did, &draft.sign(0, &control).finish()?).await?;
            person = inner.prove_when(did, |entry| device.id_in(entry).is_some()).await?;
        }
        let id = device.id_in(&person.entry).ok_or(Error::Behind("device"))?;
        for lost in lost.into_iter().filter(|lost| *lost != id && !removed.contains(lost)).collect::<Vec<_>>() {
            person = inner.remove(did, &person.entry, lost, &control).await?;
            removed.push(lost);
        }
        self.join(device, Address { did: *did, device: id }).await?;
        inner.begin_to_receive().await;
        Ok(Recovered { did: *did, device: id, removed })
    }

    /// This device's keys for joining an identity: new ones, or those of a request before.
    async fn joining(&self, did: &Did) -> Result<Device, Error> {
        let mut tx = self.inner.store.begin().await?;
        match Device::load(&mut tx).await? {
            Some(device) if device.stage == Stage::Joining(*did) && store::get::<Blob<4096>>(&mut tx, CREATION).await?.is_none() => {
                Ok(device)
            }
            Some(_) => Err(Error::Registered),
            None => {
                let device = Device::generate(Stage::Joining(*did));
                device.save(&mut tx).await?;
                tx.commit().await?;
                Ok(device)
            }
        }
    }

    async fn join(&self, device: Device, address: Address) -> Result<(), Error> {
        let mut tx = self.inner.store.begin().await?;
        Device { stage: Stage::Member(address), ..device }.save(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

impl Inner {
    /// Has the kit's control key `number`, which `entry` is committed to, take over; the identity after that.
    async fn take_over(&self, did: &Did, entry: &Entry, kit: &RecoveryKit, number: u32) -> Result<Person, Error> {
        let operation = rotation(&self.chain_id, did, entry, kit, number, self.until().await?)?;
        self.submit(did, &operation).await?;
        let control = Control::single(kit.control(number).public());
        self.prove_when(did, |entry| entry.control == control).await
    }

    /// The last height at which an operation that is made now counts.
    pub(crate) async fn until(&self) -> Result<Height, Error> {
        let height = self.chain.lock().await.latest().await?.height();
        Ok(Height(height.0.saturating_add(VALID_FOR)))
    }

    /// An identity, if the chain has it.
    async fn find(&self, did: &Did) -> Result<Option<Person>, Error> {
        match self.prove(did).await {
            Err(Error::Contact(Mismatch::NoIdentity { .. })) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Waits until the chain proves something of an identity; after that, what it proves instead.
    pub(crate) async fn prove_when(&self, did: &Did, holds: impl Fn(&Entry) -> bool) -> Result<Person, Error> {
        self.prove_within(did, PATIENCE, holds).await
    }

    async fn prove_within(&self, did: &Did, patience: Duration, holds: impl Fn(&Entry) -> bool) -> Result<Person, Error> {
        let until = Instant::now() + patience;
        loop {
            match Box::pin(self.find(did)).await? {
                Some(person) if holds(&person.entry) || Instant::now() >= until => return Ok(person),
                None if Instant::now() >= until => return Err(Mismatch::NoIdentity { did: *did }.into()),
                _ => sleep(POLL).await,
            }
        }
    }

    /// This identity as proven, if `control` is the key in force.
    pub(crate) async fn in_control(&self, did: &Did, control: &types::SigningKey) -> Result<Person, Error> {
        let person = self.prove(did).await?;
        if person.entry.control == Control::single(control.public()) { Ok(person) } else { Err(Error::Behind("control key")) }
    }

    /// Has the relay put an operation of an identity on the chain, without a session.
    async fn submit(&self, did: &Did, operation: &SignedOperation) -> Result<(), Error> {
        let register = Register { did: *did, operation: Some(operation.to_bytes().into()), invitation: None };
        self.api.register(&register).await.map(|_| ())
    }

    async fn remove(&self, did: &Did, entry: &Entry, device: u16, control: &types::SigningKey) -> Result<Person, Error> {
        let draft = Draft::new(&self.chain_id, did, entry, Operation::RemoveDevice { device }, self.until().await?);
        self.submit(did, &draft.sign(0, control).finish()?).await?;
        self.prove_when(did, |entry| entry.device(device).is_none()).await
    }
}
