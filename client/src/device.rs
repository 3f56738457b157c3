//! This device's own secrets, and where its life stands.

use identity::device::succession_message;
use identity::{Control, Did, Draft, Entry, Operation, SignalKey, SignedOperation};
use mailbox::Address;
use rpc::relay::possession_message;
use sqlx::SqliteConnection;
use types::{ChainId, Decode, DecodeError, Encode, Hash, Height, Reader, SigningKey};

use crate::api::Login;
use crate::signal::Own;
use crate::{Error, RecoveryKit, store};

/// The name under which the store keeps [`Device`].
const NAME: &str = "device";

/// How many blocks the genesis of an identity sets between a recovery's start and end.
pub(crate) use genesis::keyring::RECOVERY_DELAY;

/// What this device is.
#[derive(Clone)]
pub(crate) struct Device {
    /// The device key: signs in, and signs for the Signal key.
    pub(crate) key: SigningKey,
    /// The Signal identity key and the registration id.
    pub(crate) signal: Own,
    /// The control key in force, on the device that registered or recovered.
    pub(crate) control: Option<SigningKey>,
    /// Where its life stands.
    pub(crate) stage: Stage,
}

/// Where a device's life stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// 1: it joins: its identity is known, its id not yet.
    Joining(Did),
    /// 2: the chain has it.
    Member(Address),
}

impl Device {
    /// New keys.
    pub(crate) fn generate(stage: Stage) -> Self {
        Self { key: genesis::entropy::key(), signal: Own::generate(), control: None, stage }
    }

    /// This device, if it has begun its life.
    pub(crate) async fn load(db: &mut SqliteConnection) -> Result<Option<Self>, Error> {
        store::get(db, NAME).await
    }

    pub(crate) async fn save(&self, db: &mut SqliteConnection) -> Result<(), Error> {
        store::put(db, NAME, self).await
    }

    /// Whose it is.
    pub(crate) const fn did(&self) -> Did {
        match self.stage {
            Stage::Joining(did) => did,
            Stage::Member(address) => address.did,
        }
    }

    /// What it is called, once the chain has it.
    pub(crate) const fn address(&self) -> Result<Address, Error> {
        match self.stage {
            Stage::Joining(_) => Err(Error::NotRegistered),
            Stage::Member(address) => Ok(address),
        }
    }

    pub(crate) fn login(&self) -> Result<Login, Error> {
        Ok(Login { address: self.address()?, key: self.key.clone() })
    }

    /// Its id in an entry, if its keys are there.
    pub(crate) fn id_in(&self, entry: &Entry) -> Option<u16> {
        let own = |device: &&identity::Device| device.key == self.key.public() && device.signal.identity_key == self.signal.key();
        entry.devices.iter().find(own).map(|device| device.id)
    }

    /// This device's Signal key's word that `next` follows on it from operation `sequence` on.
    pub(crate) fn sign_succession(&self, chain: &ChainId, sequence: u64, next: &SignalKey) -> Vec<u8> {
        self.signal.sign(&succession_message(chain, &self.did(), sequence, &self.key.public(), &self.signal.key(), next))
    }

    /// The same for an entry that has `next` in the place of this device's Signal key; none for any other entry.
    pub(crate) fn succession(&self, chain: &ChainId, entry: &Entry, next: &SignalKey) -> Option<Vec<u8>> {
        let device = entry.devices.iter().find(|device| device.key == self.key.public() && device.signal.identity_key == *next)?;
        Some(self.sign_succession(chain, device.signal.sequence, next))
    }

    /// Whether an entry has this device, under whichever Signal key.
    pub(crate) fn is_in(&self, entry: &Entry) -> bool {
        entry.devices.iter().any(|device| device.key == self.key.public())
    }

    /// The proof that whoever put the Signal key into the entry has its private half.
    pub(crate) fn possession(&self, chain: &ChainId) -> Result<Vec<u8>, Error> {
        let address = self.address()?;
        Ok(self.signal.sign(&possession_message(chain, &address.did, address.device, &self.key.public(), &self.signal.key())))
    }
}

impl Encode for Device {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key.seed().encode(out);
        self.signal.encode(out);
        self.control.as_ref().map(|key| *key.seed()).encode(out);
        match &self.stage {
            Stage::Joining(did) => {
                out.push(1);
                did.encode(out);
            }
            Stage::Member(address) => {
                out.push(2);
                address.encode(out);
            }
        }
    }
}

/// How many bytes libsignal's identity key pair takes: two protobuf fields of 33 and 32 bytes.
const PAIR: usize = 69;

/// Bytes: both halves of the identity key (69), the registration id.
impl Encode for Own {
    fn encode(&self, out: &mut Vec<u8>) {
        let pair: [u8; PAIR] = self.to_bytes().try_into().unwrap_or([0; PAIR]);
        pair.encode(out);
        self.registration_id.encode(out);
    }
}

impl Decode for Own {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let pair: [u8; PAIR] = reader.array()?;
        Self::from_bytes(&pair, u32::decode(reader)?).map_err(|_| DecodeError::Value { what: "Signal identity key pair" })
    }
}

impl Decode for Device {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = SigningKey::from_seed(&reader.array()?);
        let signal = Own::decode(reader)?;
        let control: Option<[u8; 32]> = Decode::decode(reader)?;
        let stage = match u8::decode(reader)? {
            1 => Stage::Joining(Decode::decode(reader)?),
            2 => Stage::Member(Decode::decode(reader)?),
            found => return Err(DecodeError::Tag { what: "device stage", found }),
        };
        Ok(Self { key, signal, control: control.map(|seed| SigningKey::from_seed(&seed)), stage })
    }
}

/// The creation of an identity out of a kit, with this device as its first.
pub(crate) fn creation(
    chain: &ChainId,
    kit: &RecoveryKit,
    key: &SigningKey,
    signal: SignalKey,
    until: Height,
) -> Result<SignedOperation, Error> {
    let genesis = identity::Genesis {
        chain: chain.clone(),
        control: Control::single(kit.control(0).public()),
        next_control: Control::single(kit.control(1).public()).commitment(),
        recovery: Control::single(kit.recovery().public()).recovery_commitment(),
        recovery_delay: RECOVERY_DELAY,
        devices: vec![identity::DeviceKeys { key: key.public(), signal }].try_into().map_err(identity::Error::from)?,
        services: types::List::default(),
        nonce: genesis::entropy::bytes(),
    };
    Ok(Draft::create(genesis, &[key], until)?.sign(0, &kit.control(0)).finish()?)
}

/// The rotation to the kit's control key `number`, which the entry has a commitment to.
pub(crate) fn rotation(
    chain: &ChainId,
    did: &Did,
    entry: &Entry,
    kit: &RecoveryKit,
    number: u32,
    until: Height,
) -> Result<SignedOperation, Error> {
    let operation = Operation::RotateControl {
        control: Control::single(kit.control(number).public()),
        next_control: Control::single(kit.control(number + 1).public()).commitment(),
        recovery: Control::single(kit.recovery().public()).recovery_commitment(),
        recovery_delay: entry.recovery_delay,
    };
    Ok(Draft::new(chain, did, entry, operation, until).sign(0, &kit.control(number)).finish()?)
}

/// What a device that wants to join shows to one that holds the control key: `zynk-link:` and the bytes in
/// hexadecimal. It is no secret, but it must be the new device's own: show it, do not send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCode {
    /// The identity that it wants to join.
    pub did: Did,
    /// The identity's last operation, which the binding follows on.
    pub(crate) last: Hash,
    /// The device's keys.
    pub(crate) keys: identity::DeviceKeys,
    /// The device's signature over its Signal key.
    pub(crate) binding: types::Signature,
}
types::codec!(LinkCode { did, last, keys, binding });

const LINK: &str = "zynk-link:";

impl std::fmt::Display for LinkCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{LINK}{}", hex::encode(self.to_bytes()))
    }
}

impl std::str::FromStr for LinkCode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = text.trim().strip_prefix(LINK).and_then(|digits| hex::decode(digits).ok()).ok_or(Error::LinkCode)?;
        Self::from_bytes(&bytes).map_err(|_| Error::LinkCode)
    }
}

impl LinkCode {
    /// The code of a device for the identity as it stands.
    pub(crate) fn new(chain: &ChainId, did: &Did, entry: &Entry, device: &Device) -> Self {
        let signal = device.signal.key();
        let binding = identity::device::bind(chain, did, entry.sequence.saturating_add(1), &device.key, &signal);
        Self { did: *did, last: entry.last_operation, keys: identity::DeviceKeys { key: device.key.public(), signal }, binding }
    }

    /// The operation that adds the device.
    pub(crate) fn addition(&self, chain: &ChainId, entry: &Entry, control: &SigningKey, until: Height) -> Result<SignedOperation, Error> {
        if entry.last_operation != self.last {
            return Err(Error::LinkCodeOld);
        }
        let operation = Operation::AddDevice { device: self.keys.clone(), binding: self.binding };
        Ok(Draft::new(chain, &self.did, entry, operation, until).sign(0, control).finish()?)
    }
}

#[cfg(test)]
mod tests;
