//! The transition: which entry follows from an entry and an operation.
//!
//! Rules are tried in the order in which they stand here, cheap ones before signatures, and the
//! first that is broken is the answer; results are hashed into blocks, so the order is part of
//! the format. `docs/spec/identity.md` lists it.

use types::{ChainId, Hash, Height, List, PublicKey, Signature};

use crate::control::{self, Control};
use crate::device::{Device, DeviceKeys, SignalBinding, SignalKey, Succession, SuccessionProof};
use crate::did::Did;
use crate::entry::{Entry, Status};
use crate::error::Error;
use crate::operation::{Genesis, Operation, SignedOperation, Signer};
use crate::service::Service;

/// How far ahead of the block `valid_until` may be, so that no signed operation lies in wait.
pub const MAX_VALIDITY: u64 = 100_000;

/// The least recovery delay, in blocks: with none the owner could not object.
pub const MIN_RECOVERY_DELAY: u32 = 10;

/// The greatest recovery delay, in blocks: beyond it a person would not wait for the end.
pub const MAX_RECOVERY_DELAY: u32 = 10_000_000;

const DEVICE_KEY: &str = "device key";
const SIGNAL_KEY: &str = "Signal key";

/// The entry that follows when `signed` stands in the block at `height` of `chain`.
///
/// `entry`: what the state holds under `signed.did`, or `None`. It is left as it is.
///
/// # Errors
/// The first rule broken, in the order of `docs/spec/identity.md`.
pub fn apply(entry: Option<&Entry>, chain: &ChainId, height: Height, signed: &SignedOperation) -> Result<Entry, Error> {
    if height > signed.valid_until {
        return Err(Error::Expired { valid_until: signed.valid_until, height });
    }
    let latest = Height(height.0.saturating_add(MAX_VALIDITY));
    if signed.valid_until > latest {
        return Err(Error::ValidTooFar { valid_until: signed.valid_until, latest });
    }
    let (mut next, authority) = match (&signed.operation, entry) {
        (Operation::Create { .. }, Some(_)) => return Err(Error::AlreadyExists),
        (Operation::Create { genesis, bindings }, None) => {
            if genesis.chain != *chain {
                return Err(Error::WrongChain { found: genesis.chain.clone() });
            }
            if signed.did != Did::of(genesis) {
                return Err(Error::WrongDid);
            }
            follows(signed, 0, Hash::ZERO)?;
            let next = begin(genesis, bindings, height)?;
            (next, Authority { control: genesis.control.clone(), device: None })
        }
        (_, None) => return Err(Error::UnknownDid),
        (operation, Some(entry)) => {
            if let Status::Deactivated { height } = entry.status {
                return Err(Error::Deactivated { height });
            }
            follows(signed, entry.sequence.saturating_add(1), entry.last_operation)?;
            change(entry, signed.sequence, operation, height)?
        }
    };
    let message = signed.signing_bytes(chain);
    authority.check(signed, &message)?;
    // Bindings come after control's signatures, so that nobody else makes us verify sixteen.
    for device in next.devices.iter().filter(|device| device.signal.sequence == signed.sequence) {
        if !device.is_bound(chain, &signed.did) {
            return Err(Error::BadBinding { device: device.id });
        }
    }
    next.sequence = signed.sequence;
    next.last_operation = signed.hash(chain);
    next.updated = height;
    Ok(next)
}

fn follows(signed: &SignedOperation, sequence: u64, previous: Hash) -> Result<(), Error> {
    if signed.sequence != sequence {
        return Err(Error::StaleSequence { found: signed.sequence, expected: sequence });
    }
    if signed.previous != previous {
        return Err(Error::WrongPrevious);
    }
    Ok(())
}

fn begin(genesis: &Genesis, bindings: &[Signature], height: Height) -> Result<Entry, Error> {
    genesis.control.check()?;
    check_commitments(&genesis.control, genesis.next_control, genesis.recovery, genesis.recovery_delay)?;
    check_services(&genesis.services)?;
    let mut entry = Entry {
        control: genesis.control.clone(),
        sequence: 0,
        last_operation: Hash::ZERO,
        next_control: genesis.next_control,
        recovery: genesis.recovery,
        recovery_delay: genesis.recovery_delay,
        next_device: 1,
        devices: List::default(),
        services: genesis.services.clone(),
        status: Status::Active,
        created: height,
        updated: height,
    };
    for (place, device) in genesis.devices.iter().enumerate() {
        let binding = bindings.get(place).ok_or(Error::BadBinding { device: entry.next_device })?;
        add_device(&mut entry, 0, device, binding, height)?;
    }
    if bindings.len() > genesis.devices.len() {
        return Err(Error::BadBinding { device: entry.next_device });
    }
    Ok(entry)
}

fn change(entry: &Entry, sequence: u64, operation: &Operation, height: Height) -> Result<(Entry, Authority), Error> {
    let mut next = entry.clone();
    let mut authority = Authority { control: entry.control.clone(), device: None };
    match operation {
        Operation::Create { .. } => return Err(Error::AlreadyExists),
        Operation::Update { services } => {
            check_services(services)?;
            next.services = services.clone();
        }
        Operation::AddDevice { device, binding } => add_device(&mut next, sequence, device, binding, height)?,
        Operation::RemoveDevice { device: id } => {
            let device = entry.device(*id).ok_or(Error::UnknownDevice { id: *id })?;
            authority.device = Some((*id, device.key));
            next.devices.retain(|device| device.id != *id);
        }
        Operation::RotateDeviceSignalKey { device, signal, binding, succession } => {
            rotate_signal(&mut next, *device, sequence, signal, binding, succession.as_ref())?;
        }
        Operation::RotateControl { control, next_control, recovery, recovery_delay } => {
            check_revealed(entry, control)?;
            check_commitments(control, *next_control, *recovery, *recovery_delay)?;
            authority.control = control.clone();
            next.control = control.clone();
            next.next_control = *next_control;
            next.recovery = *recovery;
            next.recovery_delay = *recovery_delay;
        }
        Operation::Deactivate { control } => {
            check_revealed(entry, control)?;
            authority.control = control.clone();
            next.control = control.clone();
            // What is over needs no way on, and nobody needs to know any longer where it was.
            next.next_control = Hash::ZERO;
            next.recovery = Hash::ZERO;
            next.devices = List::default();
            next.services = List::default();
            next.status = Status::Deactivated { height };
        }
    }
    Ok((next, authority))
}

fn add_device(entry: &mut Entry, sequence: u64, keys: &DeviceKeys, signature: &Signature, height: Height) -> Result<(), Error> {
    if !keys.key.is_usable() {
        return Err(Error::WeakKey { role: DEVICE_KEY });
    }
    if entry.control.keys.contains(&keys.key) || entry.devices.iter().any(|device| device.key == keys.key) {
        return Err(Error::DuplicateKey { role: DEVICE_KEY });
    }
    check_signal_key(entry, &keys.signal)?;
    let id = entry.next_device;
    entry.next_device = id.checked_add(1).ok_or(Error::TooManyDevices)?;
    let signal = SignalBinding { identity_key: keys.signal, signature: *signature, sequence, succession: Succession::First };
    entry.devices.push(Device { id, key: keys.key, signal, added: height }).map_err(|_| Error::TooManyDevices)
}

fn rotate_signal(
    entry: &mut Entry,
    id: u16,
    sequence: u64,
    signal: &SignalKey,
    signature: &Signature,
    proof: Option<&SuccessionProof>,
) -> Result<(), Error> {
    if entry.device(id).is_none() {
        return Err(Error::UnknownDevice { id });
    }
    check_signal_key(entry, signal)?;
    let succession = match proof {
        None => Succession::Reset,
        // Nothing is no signature, and would pass for one on the chain.
        Some(proof) if proof.is_empty() => return Err(Error::BadBinding { device: id }),
        Some(_) => Succession::Signed,
    };
    for device in entry.devices.iter_mut().filter(|device| device.id == id) {
        device.signal = SignalBinding { identity_key: *signal, signature: *signature, sequence, succession };
    }
    Ok(())
}

fn check_signal_key(entry: &Entry, signal: &SignalKey) -> Result<(), Error> {
    if entry.devices.iter().any(|device| device.signal.identity_key == *signal) {
        return Err(Error::DuplicateKey { role: SIGNAL_KEY });
    }
    Ok(())
}

/// The revealed set is the committed one, keeps the rules of a set, and was secret until now.
fn check_revealed(entry: &Entry, control: &Control) -> Result<(), Error> {
    if control.commitment() != entry.next_control {
        return Err(Error::CommitmentMismatch);
    }
    control.check()?;
    if control.keys.iter().any(|key| entry.control.keys.contains(key)) {
        return Err(Error::ReusedKey);
    }
    if control.keys.iter().any(|key| entry.devices.iter().any(|device| device.key == *key)) {
        return Err(Error::DuplicateKey { role: control::ROLE });
    }
    Ok(())
}

fn check_commitments(control: &Control, next_control: Hash, recovery: Hash, recovery_delay: u32) -> Result<(), Error> {
    for (commitment, to) in [(next_control, "next control keys"), (recovery, "recovery keys")] {
        if commitment == Hash::ZERO {
            return Err(Error::MissingCommitment { to });
        }
    }
    if next_control == control.commitment() || recovery == control.recovery_commitment() {
        return Err(Error::ReusedKey);
    }
    if !(MIN_RECOVERY_DELAY..=MAX_RECOVERY_DELAY).contains(&recovery_delay) {
        return Err(Error::BadRecoveryDelay { found: recovery_delay });
    }
    Ok(())
}

fn check_services(services: &[Service]) -> Result<(), Error> {
    for (place, service) in services.iter().enumerate() {
        if !service.is_well_spelled() || services[..place].contains(service) {
            return Err(Error::BadService { place });
        }
    }
    Ok(())
}

/// Who may sign an operation: a control set by its threshold, or one device alone.
struct Authority {
    control: Control,
    device: Option<(u16, PublicKey)>,
}

impl Authority {
    fn check(&self, signed: &SignedOperation, message: &[u8]) -> Result<(), Error> {
        let by_device = match &*signed.signatures {
            [only] => self.device.filter(|(id, _)| only.signer == Signer::Device(*id)).map(|(_, key)| vec![key]),
            _ => None,
        };
        let keys = by_device.map_or_else(|| self.control_keys(signed), Ok)?;
        for (key, by) in keys.iter().zip(&signed.signatures) {
            if !key.verify(message, &by.signature) {
                return Err(Error::BadSignature { signer: by.signer });
            }
        }
        Ok(())
    }

    /// The key of each signature, in order: all of the set, all distinct, enough of them.
    fn control_keys(&self, signed: &SignedOperation) -> Result<Vec<PublicKey>, Error> {
        let mut keys = Vec::new();
        for (place, by) in signed.signatures.iter().enumerate() {
            let signer = by.signer;
            let key = match signer {
                Signer::Control(place) => self.control.keys.get(usize::from(place)),
                Signer::Device(_) => None,
            };
            keys.push(*key.ok_or(Error::UnknownSigner { signer })?);
            if signed.signatures[..place].iter().any(|earlier| earlier.signer == signer) {
                return Err(Error::DuplicateSigner { signer });
            }
        }
        if keys.len() < usize::from(self.control.threshold) {
            return Err(Error::Threshold { found: keys.len(), needed: self.control.threshold });
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;
