//! Making operations: what a client, a tool and a test do before there is something to submit.

use types::{ChainId, Hash, Height, List, Signature, SigningKey};

use crate::device::{DeviceKeys, SignalKey, SuccessionProof, bind};
use crate::did::Did;
use crate::entry::Entry;
use crate::error::Error;
use crate::operation::{Genesis, IndexedSignature, Operation, SignedOperation, Signer};

/// An operation that is still collecting signatures.
///
/// `Draft::create` or `Draft::new`, then `sign` for each control key, then `finish`. Where the
/// keys are on several machines, each signs [`Draft::signing_bytes`] and one collects the
/// signatures by [`Draft::attach`].
#[derive(Debug, Clone)]
pub struct Draft {
    chain: ChainId,
    unsigned: SignedOperation,
    signatures: Vec<IndexedSignature>,
}

impl Draft {
    /// The beginning of an identity. `devices`: the keys of the genesis' devices, in its order;
    /// they sign their bindings here.
    ///
    /// # Errors
    /// [`Error::BadBinding`] if a key is not that of the device in its place, or one is missing.
    pub fn create(genesis: Genesis, devices: &[&SigningKey], valid_until: Height) -> Result<Self, Error> {
        let (chain, did) = (genesis.chain.clone(), Did::of(&genesis));
        let mut bindings = List::default();
        for (id, place) in (1..).zip(0..genesis.devices.len().max(devices.len())) {
            let (Some(device), Some(key)) = (genesis.devices.get(place), devices.get(place)) else {
                return Err(Error::BadBinding { device: id });
            };
            if device.key != key.public() {
                return Err(Error::BadBinding { device: id });
            }
            bindings.push(bind(&chain, &did, 0, key, &device.signal))?;
        }
        let operation = Operation::Create { genesis, bindings };
        Ok(Self::at(chain, did, 0, Hash::ZERO, operation, valid_until))
    }

    /// An operation that follows on `entry`.
    #[must_use]
    pub fn new(chain: &ChainId, did: &Did, entry: &Entry, operation: Operation, valid_until: Height) -> Self {
        Self::at(chain.clone(), *did, entry.sequence.saturating_add(1), entry.last_operation, operation, valid_until)
    }

    /// Adds a device to `entry`: the device signs its binding here, the control keys sign after.
    #[must_use]
    pub fn add_device(chain: &ChainId, did: &Did, entry: &Entry, device: &SigningKey, signal: SignalKey, valid_until: Height) -> Self {
        let binding = bind(chain, did, entry.sequence.saturating_add(1), device, &signal);
        let operation = Operation::AddDevice { device: DeviceKeys { key: device.public(), signal }, binding };
        Self::new(chain, did, entry, operation, valid_until)
    }

    /// Gives a device of `entry` another Signal key. `device`: its id and its key.
    #[must_use]
    pub fn rotate_signal_key(
        chain: &ChainId,
        did: &Did,
        entry: &Entry,
        (id, key): (u16, &SigningKey),
        signal: SignalKey,
        succession: Option<SuccessionProof>,
        valid_until: Height,
    ) -> Self {
        let binding = bind(chain, did, entry.sequence.saturating_add(1), key, &signal);
        let operation = Operation::RotateDeviceSignalKey { device: id, signal, binding, succession };
        Self::new(chain, did, entry, operation, valid_until)
    }

    /// Signs with a control key: the one at `place` in the set that must sign (see [`Signer`]).
    #[must_use]
    pub fn sign(self, place: u8, key: &SigningKey) -> Self {
        let signature = key.sign(&self.signing_bytes());
        self.attach(Signer::Control(place), signature)
    }

    /// Signs with a device's key, for the removal of that device.
    #[must_use]
    pub fn sign_as_device(self, id: u16, key: &SigningKey) -> Self {
        let signature = key.sign(&self.signing_bytes());
        self.attach(Signer::Device(id), signature)
    }

    /// Adds a signature made elsewhere.
    #[must_use]
    pub fn attach(mut self, signer: Signer, signature: Signature) -> Self {
        self.signatures.push(IndexedSignature { signer, signature });
        self
    }

    /// What is to be signed.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        self.unsigned.signing_bytes(&self.chain)
    }

    /// The identity.
    #[must_use]
    pub const fn did(&self) -> Did {
        self.unsigned.did
    }

    /// The signed operation. [`apply`](crate::apply()) tells whether it holds.
    ///
    /// # Errors
    /// [`Error::Malformed`] with more than 8 signatures.
    pub fn finish(self) -> Result<SignedOperation, Error> {
        Ok(SignedOperation { signatures: self.signatures.try_into()?, ..self.unsigned })
    }

    fn at(chain: ChainId, did: Did, sequence: u64, previous: Hash, operation: Operation, valid_until: Height) -> Self {
        let unsigned = SignedOperation { did, sequence, previous, valid_until, operation, signatures: List::default() };
        Self { chain, unsigned, signatures: Vec::new() }
    }
}
