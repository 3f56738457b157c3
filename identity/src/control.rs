//! The keys that may change an entry, and the hidden keys that come after them.

use serde::{Deserialize, Serialize};
use types::{Domain, Encode, Hash, List, PublicKey};

use crate::error::Error;

/// Control keys and how many of them must sign.
///
/// Bytes: the keys (a count, at most 8, then 32 bytes each), the threshold (1 byte).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The keys; a signer is named by its place here, from 0.
    pub keys: List<PublicKey, 8>,
    /// How many of the keys must sign: 1 to as many as there are.
    pub threshold: u8,
}
types::codec!(Control { keys, threshold });

/// What errors call a key of a set.
pub(crate) const ROLE: &str = "control key";

static NEXT: Domain = Domain::new("zynk.2026 control v1");
static RECOVERY: Domain = Domain::new("zynk.2026 recovery v1");

/// The first byte of what a recovery commitment hides: a [`Control`] of Ed25519 keys. Other
/// values are kept for guardians and for post-quantum keys; the hash gives no hint which it is.
const RECOVERY_BY_CONTROL: u8 = 1;

impl Control {
    /// A set of one key.
    #[must_use]
    pub fn single(key: PublicKey) -> Self {
        Self { keys: vec![key].try_into().expect("one key is within the bound"), threshold: 1 }
    }

    /// The commitment to this set as the next one in force.
    ///
    /// No salt: a public key that was never shown cannot be guessed, so the hash hides it as it
    /// stands, and there is one thing less to lose before a rotation.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        NEXT.hash(&[&self.to_bytes()])
    }

    /// The commitment to this set as the one that may recover the identity. Another domain, so
    /// that nobody sees whether the two commitments hide the same keys.
    #[must_use]
    pub fn recovery_commitment(&self) -> Hash {
        RECOVERY.hash(&[&[RECOVERY_BY_CONTROL], &self.to_bytes()])
    }

    /// Checks the rules of a set: a threshold that can be met, keys that are usable and distinct.
    ///
    /// # Errors
    /// [`Error::BadThreshold`], [`Error::WeakKey`], [`Error::DuplicateKey`].
    pub fn check(&self) -> Result<(), Error> {
        if self.threshold == 0 || usize::from(self.threshold) > self.keys.len() {
            return Err(Error::BadThreshold { threshold: self.threshold, keys: self.keys.len() });
        }
        for (place, key) in self.keys.iter().enumerate() {
            if !key.is_usable() {
                return Err(Error::WeakKey { role: ROLE });
            }
            if self.keys[..place].contains(key) {
                return Err(Error::DuplicateKey { role: ROLE });
            }
        }
        Ok(())
    }
}
