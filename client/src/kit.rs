//! The recovery kit: 24 words on paper, out of which every control key of an identity follows.
//!
//! A device keeps the control key in force and no other. The one that the chain has a commitment to follows
//! from the words alone, so whoever steals a device cannot take the identity: the owner rotates with
//! the words, and the thief's key counts no more.
//!
//! `docs/spec/envelope.md` has the derivation.

use bip39::{Language, Mnemonic};
use identity::{Control, Entry};
use types::{Domain, Encode, SigningKey};
use zeroize::Zeroizing;

/// How many control keys are tried when the one is looked for that a chain has a commitment to.
pub const MAX_ROTATIONS: u32 = 1024;

/// How many words there are.
pub const WORDS: usize = 24;

static CONTROL: Domain = Domain::new("zynk.2026 kit control v1");
static RECOVERY: Domain = Domain::new("zynk.2026 kit recovery v1");

/// 32 bytes of entropy, as 24 words of BIP-39 (English). Erased when dropped, and never printed but by
/// [`RecoveryKit::words`].
#[derive(Clone)]
pub struct RecoveryKit(Zeroizing<[u8; 32]>);

/// The words are no kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// Fewer or more than 24.
    #[error("a recovery kit has {WORDS} words, these are {found}")]
    Count {
        /// How many.
        found: usize,
    },
    /// A word that is not in the list. It is not repeated: the others are secret.
    #[error("word {place} is not one of the list")]
    Word {
        /// Its place, from 1.
        place: usize,
    },
    /// The words do not fit together: one is wrong, or two changed places.
    #[error("the words do not fit together: one is wrong, or two have changed places")]
    Checksum,
}

impl RecoveryKit {
    /// A new kit out of the system's entropy.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(genesis::entropy::bytes()))
    }

    /// The kit of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the store.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads words as a person types them: any case, any white space.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(words: &str) -> Result<Self, BadWords> {
        let words: Vec<Zeroizing<String>> = words.split_whitespace().map(|word| Zeroizing::new(word.to_lowercase())).collect();
        if words.len() != WORDS {
            return Err(BadWords::Count { found: words.len() });
        }
        let text = Zeroizing::new(words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &text).map_err(|error| match error {
            bip39::Error::UnknownWord(at) => BadWords::Word { place: at + 1 },
            _ => BadWords::Checksum,
        })?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&entropy);
        Ok(Self::from_bytes(bytes))
    }

    /// The words.
    ///
    /// # Panics
    /// Never: 32 bytes are 24 words.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        Mnemonic::from_entropy_in(Language::English, self.0.as_slice()).expect("32 bytes are 24 words").words().collect()
    }

    /// Control key `number`: 0 at the identity's creation, one more with each rotation. Its seed is
    /// keyed BLAKE3 of the kit and the number.
    #[must_use]
    pub fn control(&self, number: u32) -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new(CONTROL.hash(&[self.0.as_slice(), &number.to_bytes()]).0))
    }

    /// The recovery key. Its seed is keyed BLAKE3 of the kit.
    #[must_use]
    pub fn recovery(&self) -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new(RECOVERY.hash(&[self.0.as_slice()]).0))
    }

    /// Which of the kit's control keys `entry` has a commitment to; none if the kit is another's, or the
    /// identity was rotated without it.
    #[must_use]
    pub fn committed(&self, entry: &Entry) -> Option<u32> {
        (0..MAX_ROTATIONS).find(|number| Control::single(self.control(*number).public()).commitment() == entry.next_control)
    }

    /// Which of the kit's control keys is in force in `entry`.
    #[must_use]
    pub fn in_force(&self, entry: &Entry) -> Option<u32> {
        (0..MAX_ROTATIONS).find(|number| Control::single(self.control(*number).public()) == entry.control)
    }
}

impl std::fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKit")
    }
}

#[cfg(test)]
mod tests;
