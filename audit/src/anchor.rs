//! An anchor: the root of one batch, signed by a relay's log key, linked to the one before it.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Address, ChainId, Decode, DecodeError, Encode, Hash, Height, Millis, PublicKey, Reader, Signature, SigningKey, codec};

use crate::batch::MAX_BATCH;
use crate::domains::{ANCHOR, LOG_ID};
use crate::log;

/// The version of the anchor format.
pub const VERSION: u8 = 1;

/// Why an anchor, or an act on a relay's log, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The format is newer than this code.
    #[error("anchor of version {found}, known is {VERSION}")]
    Version {
        /// The version as read.
        found: u8,
    },
    /// The window ends before it begins.
    #[error("a window from {opened} to {closed} ends before it begins")]
    Window {
        /// Where it begins.
        opened: Millis,
        /// Where it ends.
        closed: Millis,
    },
    /// The count is no power of two, or above [`MAX_BATCH`].
    #[error("a count of {found} is not a power of two up to {MAX_BATCH}")]
    Count {
        /// The count as read.
        found: u32,
    },
    /// Sequence 0, a first anchor that names one before it, or a later one that names none.
    #[error("sequence {sequence} cannot follow {previous}")]
    Link {
        /// The sequence as read.
        sequence: u64,
        /// The previous anchor as read.
        previous: Hash,
    },
    /// The anchor is for another chain.
    #[error("anchor for chain {found}, this is {expected}")]
    Chain {
        /// The chain that the anchor names.
        found: ChainId,
        /// The chain that judges it.
        expected: ChainId,
    },
    /// The anchor is for another log.
    #[error("anchor for log {found}, this is {expected}")]
    Log {
        /// The log that the anchor names.
        found: LogId,
        /// The log that it was given to.
        expected: LogId,
    },
    /// The signature is not the log key's.
    #[error("anchor {sequence} is not signed by the log's key {key}")]
    Signature {
        /// The anchor's sequence.
        sequence: u64,
        /// The key that should have signed.
        key: PublicKey,
    },
    /// Another anchor was taken for the same sequence: the relay signed two.
    #[error("sequence {sequence} was taken by anchor {taken}, this one is {found}")]
    Equivocation {
        /// The sequence of both.
        sequence: u64,
        /// The anchor that was taken.
        taken: Hash,
        /// The one refused.
        found: Hash,
    },
    /// The sequence was taken long ago.
    #[error("sequence {found} is past, expected {expected}")]
    Stale {
        /// The sequence as read.
        found: u64,
        /// The next to be taken.
        expected: u64,
    },
    /// Anchors before this one are still missing: worth keeping, not yet worth taking.
    #[error("sequence {found} is ahead, expected {expected}")]
    Future {
        /// The sequence as read.
        found: u64,
        /// The next to be taken.
        expected: u64,
    },
    /// The anchor does not follow the last one taken.
    #[error("anchor follows {found}, the last one taken is {expected}")]
    Previous {
        /// The previous anchor as read.
        found: Hash,
        /// The last anchor taken.
        expected: Hash,
    },
    /// The log takes no more anchors: its owner retired it.
    #[error("the log was retired at height {at}")]
    Retired {
        /// When.
        at: Height,
    },
    /// The log takes no more anchors: it equivocated.
    #[error("the log was frozen at height {at}")]
    Frozen {
        /// When.
        at: Height,
    },
    /// The key cannot be a log key: it is no usable point, or it is or was this log's key.
    #[error("{key} cannot become the log's key")]
    Key {
        /// The key refused.
        key: PublicKey,
    },
    /// The log has had as many keys as a record holds.
    #[error("the log has used up its changes of key")]
    KeysSpent,
    /// Two anchors that do not contradict each other.
    #[error("anchors {first} and {second} are not two for one sequence of one log")]
    NoConflict {
        /// The first anchor.
        first: Hash,
        /// The second anchor.
        second: Hash,
    },
}

impl AnchorError {
    /// The stable number of the error: `docs/spec/audit.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Version { .. } => 3201,
            Self::Window { .. } => 3202,
            Self::Count { .. } => 3203,
            Self::Link { .. } => 3204,
            Self::Chain { .. } => 3205,
            Self::Log { .. } => 3206,
            Self::Signature { .. } => 3207,
            Self::Equivocation { .. } => 3208,
            Self::Stale { .. } => 3209,
            Self::Future { .. } => 3210,
            Self::Previous { .. } => 3211,
            Self::Retired { .. } => 3212,
            Self::Frozen { .. } => 3213,
            Self::Key { .. } => 3214,
            Self::KeysSpent => 3215,
            Self::NoConflict { .. } => 3216,
        }
    }
}

/// The name of a relay's log, for as long as the chain lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub Hash);

impl LogId {
    /// The log that `owner` registers on `chain` with the transaction of its number `sequence`:
    /// the hash of all three in the domain `log id`. No two registrations share a name, on one
    /// chain or on two.
    #[must_use]
    pub fn derive(chain: &ChainId, owner: &Address, sequence: u64) -> Self {
        Self(LOG_ID.hash(&[&chain.to_bytes(), &owner.0, &sequence.to_bytes()]))
    }

    /// The key of the log's record in the state: `log/` and the name in hexadecimal.
    #[must_use]
    pub fn state_key(&self) -> String {
        format!("log/{self}")
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Encode for LogId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for LogId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Hash::decode(reader).map(Self)
    }
}

/// What a relay signs for one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// [`VERSION`].
    pub version: u8,
    /// The chain that is to take the anchor.
    pub chain: ChainId,
    /// The relay's log.
    pub log: LogId,
    /// The anchor's number in the log; the first is 1.
    pub sequence: u64,
    /// [`Anchor::hash`] of the anchor before it; [`Hash::ZERO`] for the first.
    pub previous: Hash,
    /// The root of the batch.
    pub root: Hash,
    /// How many leaves the batch has, padding included: a power of two, at most [`MAX_BATCH`].
    pub count: u32,
    /// When the batch was opened, by the relay's clock.
    pub opened: Millis,
    /// When it was closed; not before it was opened.
    pub closed: Millis,
}

impl Anchor {
    /// Hash of the anchor's bytes in the domain `anchor`. The signature is not in it, since an
    /// anchor stays the same whoever signs it again.
    #[must_use]
    pub fn hash(&self) -> Hash {
        ANCHOR.hash(&[&self.to_bytes()])
    }

    /// Whether the fields are ones that an anchor may have; decoding asks the same.
    ///
    /// # Errors
    /// [`AnchorError::Version`], [`AnchorError::Window`], [`AnchorError::Count`],
    /// [`AnchorError::Link`].
    pub fn check(&self) -> Result<(), AnchorError> {
        if self.version != VERSION {
            return Err(AnchorError::Version { found: self.version });
        }
        if self.opened > self.closed {
            return Err(AnchorError::Window { opened: self.opened, closed: self.closed });
        }
        if !self.count.is_power_of_two() || self.count as usize > MAX_BATCH {
            return Err(AnchorError::Count { found: self.count });
        }
        // Only the first has nothing before it.
        if self.sequence == 0 || (self.sequence == 1) != (self.previous == Hash::ZERO) {
            return Err(AnchorError::Link { sequence: self.sequence, previous: self.previous });
        }
        Ok(())
    }

    /// What the signature is over: the context string of the domain `anchor`, then the anchor.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = ANCHOR.context().as_bytes().to_vec();
        self.encode(&mut bytes);
        bytes
    }
}

impl Encode for Anchor {
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.chain.encode(out);
        self.log.encode(out);
        self.sequence.encode(out);
        self.previous.encode(out);
        self.root.encode(out);
        self.count.encode(out);
        self.opened.encode(out);
        self.closed.encode(out);
    }
}

impl Decode for Anchor {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = u8::decode(reader)?;
        if version != VERSION {
            return Err(DecodeError::Tag { what: "anchor version", found: version });
        }
        let anchor = Self {
            version,
            chain: ChainId::decode(reader)?,
            log: LogId::decode(reader)?,
            sequence: u64::decode(reader)?,
            previous: Hash::decode(reader)?,
            root: Hash::decode(reader)?,
            count: u32::decode(reader)?,
            opened: Millis::decode(reader)?,
            closed: Millis::decode(reader)?,
        };
        anchor.check().map_err(|_| DecodeError::Value { what: "anchor" })?;
        Ok(anchor)
    }
}

/// An anchor and the log key's signature over it. Its bytes are the log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAnchor {
    /// The anchor.
    pub anchor: Anchor,
    /// The signature over the context string of the domain `anchor` and the anchor's bytes.
    pub signature: Signature,
}
codec!(SignedAnchor { anchor, signature });

impl SignedAnchor {
    /// Signs `anchor`. Deterministic, so that a retry sends the same bytes.
    #[must_use]
    pub fn sign(anchor: Anchor, key: &SigningKey) -> Self {
        let signature = key.sign(&anchor.signed_bytes());
        Self { anchor, signature }
    }

    /// Verifies that the anchor is well formed and signed by `key`, by the strict rule.
    ///
    /// # Errors
    /// As [`Anchor::check`], and [`AnchorError::Signature`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), AnchorError> {
        self.anchor.check()?;
        if key.verify(&self.anchor.signed_bytes(), &self.signature) {
            return Ok(());
        }
        Err(AnchorError::Signature { sequence: self.anchor.sequence, key: *key })
    }

    /// The leaf of this anchor in the log of all anchors.
    #[must_use]
    pub fn entry_hash(&self) -> Hash {
        log::entry_hash(&self.to_bytes())
    }
}

/// Proof that a relay signed two anchors for one sequence of one log. It never expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equivocation {
    /// One anchor.
    pub first: SignedAnchor,
    /// The other.
    pub second: SignedAnchor,
}
codec!(Equivocation { first, second });

impl Equivocation {
    /// Verifies that both anchors are `key`'s and contradict each other.
    ///
    /// # Errors
    /// [`AnchorError::NoConflict`] if chain, log or sequence differ or the anchors are one and the
    /// same; and as [`SignedAnchor::verify`] for each.
    pub fn verify(&self, key: &PublicKey) -> Result<(), AnchorError> {
        let (first, second) = (&self.first.anchor, &self.second.anchor);
        let place = |anchor: &Anchor| (anchor.chain.clone(), anchor.log, anchor.sequence);
        if place(first) != place(second) || first == second {
            return Err(AnchorError::NoConflict { first: first.hash(), second: second.hash() });
        }
        self.first.verify(key)?;
        self.second.verify(key)
    }
}

#[cfg(test)]
pub(crate) mod tests;
