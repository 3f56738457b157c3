//! What the state holds of one relay's log, and the rule by which the chain takes anchors.

use serde::{Deserialize, Serialize};
use types::{Address, Amount, ChainId, Decode, DecodeError, Encode, Hash, Height, List, PublicKey, Reader, codec};

use crate::anchor::{Anchor, AnchorError, Equivocation, LogId, SignedAnchor};

/// The version of the record format.
pub const VERSION: u8 = 1;

/// How many former keys a record remembers.
pub const MAX_FORMER_KEYS: usize = 16;

/// Whether a log takes anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// It does (tag 1).
    Active,
    /// Its owner ended it (tag 2).
    Retired {
        /// When.
        at: Height,
    },
    /// It was shown to equivocate (tag 3).
    Frozen {
        /// When.
        at: Height,
    },
}

impl Encode for Status {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Active => out.push(1),
            Self::Retired { at } => {
                out.push(2);
                at.encode(out);
            }
            Self::Frozen { at } => {
                out.push(3);
                at.encode(out);
            }
        }
    }
}

impl Decode for Status {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Active),
            2 => Ok(Self::Retired { at: Height::decode(reader)? }),
            3 => Ok(Self::Frozen { at: Height::decode(reader)? }),
            found => Err(DecodeError::Tag { what: "log status", found }),
        }
    }
}

/// A key that a log had, kept so that a change of key does not bury an equivocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormerKey {
    /// The key.
    pub key: PublicKey,
    /// The last sequence that was taken under it.
    pub until: u64,
}
codec!(FormerKey { key, until });

/// The state entry of one log, at [`LogId::state_key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRecord {
    /// [`VERSION`].
    pub version: u8,
    /// The log's name.
    pub log: LogId,
    /// The account that registered the log and pays for it.
    pub owner: Address,
    /// The key that signs the log's anchors.
    pub key: PublicKey,
    /// The keys before it that signed anchors, oldest first.
    pub former: List<FormerKey, MAX_FORMER_KEYS>,
    /// What the owner loses if the log equivocates or breaks a promise.
    pub bond: Amount,
    /// The sequence of the last anchor taken; 0 if none was.
    pub sequence: u64,
    /// [`Anchor::hash`] of the last anchor taken; [`Hash::ZERO`] if none was.
    pub last: Hash,
    /// The height at which the log was registered.
    pub registered: Height,
    /// Whether it takes anchors.
    pub status: Status,
}

/// What an anchor did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was the next one: this is the record after it.
    New(LogRecord),
    /// It is the last one taken, sent again: nothing changes.
    Again,
}

impl LogRecord {
    /// A new log that has taken no anchor.
    ///
    /// # Errors
    /// [`AnchorError::Key`] if `key` is no usable key.
    pub fn register(log: LogId, owner: Address, key: PublicKey, bond: Amount, registered: Height) -> Result<Self, AnchorError> {
        if !key.is_usable() {
            return Err(AnchorError::Key { key });
        }
        Ok(Self {
            version: VERSION,
            log,
            owner,
            key,
            former: List::default(),
            bond,
            sequence: 0,
            last: Hash::ZERO,
            registered,
            status: Status::Active,
        })
    }

    /// Judges an anchor on `chain`: exactly one is taken for each sequence, in order, each linked
    /// to the one before.
    ///
    /// # Errors
    /// In this order: the form of the anchor ([`Anchor::check`]); [`AnchorError::Chain`];
    /// [`AnchorError::Log`]; [`AnchorError::Signature`]; [`AnchorError::Equivocation`] for a second
    /// anchor at the last sequence; [`AnchorError::Stale`] before it; [`AnchorError::Retired`] or
    /// [`AnchorError::Frozen`]; [`AnchorError::Future`] past the next; [`AnchorError::Previous`].
    /// So an equivocation shows even on a log that takes no more anchors.
    pub fn take(&self, chain: &ChainId, signed: &SignedAnchor) -> Result<Taken, AnchorError> {
        self.take_by(chain, signed, |key| signed.verify(key))
    }

    /// As [`LogRecord::take`], where `verify` says whether the anchor is signed by a key: it may know that from before.
    ///
    /// # Errors
    /// As [`LogRecord::take`].
    pub fn take_by(
        &self,
        chain: &ChainId,
        signed: &SignedAnchor,
        verify: impl FnOnce(&PublicKey) -> Result<(), AnchorError>,
    ) -> Result<Taken, AnchorError> {
        let anchor = &signed.anchor;
        anchor.check()?;
        self.check_place(chain, anchor)?;
        verify(&self.key_at(anchor.sequence))?;
        let hash = anchor.hash();
        let expected = self.sequence.saturating_add(1);
        if anchor.sequence == self.sequence {
            return if hash == self.last { Ok(Taken::Again) } else { Err(self.equivocation(hash)) };
        }
        if anchor.sequence < self.sequence {
            return Err(AnchorError::Stale { found: anchor.sequence, expected });
        }
        self.check_active()?;
        if anchor.sequence > expected {
            return Err(AnchorError::Future { found: anchor.sequence, expected });
        }
        if anchor.previous != self.last {
            return Err(AnchorError::Previous { found: anchor.previous, expected: self.last });
        }
        Ok(Taken::New(Self { sequence: anchor.sequence, last: hash, ..self.clone() }))
    }

    /// The record with `key` in place of the present key.
    ///
    /// Anchors signed by the old key and not yet taken must be signed again.
    ///
    /// # Errors
    /// [`AnchorError::Retired`] or [`AnchorError::Frozen`]; [`AnchorError::Key`] if `key` is no
    /// usable key, or is or was this log's; [`AnchorError::KeysSpent`] if [`MAX_FORMER_KEYS`] keys
    /// have signed anchors before the present one.
    pub fn rotate_key(&self, key: PublicKey) -> Result<Self, AnchorError> {
        self.check_active()?;
        if !key.is_usable() || key == self.key || self.former.iter().any(|former| former.key == key) {
            return Err(AnchorError::Key { key });
        }
        let mut record = self.clone();
        // A key under which nothing was taken has no sequence to answer for.
        let answered = self.former.last().map_or(0, |former| former.until);
        if self.sequence > answered {
            let former = FormerKey { key: self.key, until: self.sequence };
            record.former.push(former).map_err(|_| AnchorError::KeysSpent)?;
        }
        record.key = key;
        Ok(record)
    }

    /// The record of the log ended by its owner at height `at`.
    ///
    /// # Errors
    /// [`AnchorError::Retired`] or [`AnchorError::Frozen`] if it has ended already.
    pub fn retire(&self, at: Height) -> Result<Self, AnchorError> {
        self.check_active()?;
        Ok(Self { status: Status::Retired { at }, ..self.clone() })
    }

    /// The record of the log frozen at height `at`, since `evidence` shows two anchors for one
    /// sequence. A retired log can still be frozen.
    ///
    /// # Errors
    /// [`AnchorError::Frozen`] if it is already; [`AnchorError::Chain`]; [`AnchorError::Log`]; and
    /// as [`Equivocation::verify`] under the key that the log had for that sequence.
    pub fn freeze(&self, chain: &ChainId, evidence: &Equivocation, at: Height) -> Result<Self, AnchorError> {
        if let Status::Frozen { at } = self.status {
            return Err(AnchorError::Frozen { at });
        }
        let anchor = &evidence.first.anchor;
        self.check_place(chain, anchor)?;
        evidence.verify(&self.key_at(anchor.sequence))?;
        Ok(Self { status: Status::Frozen { at }, ..self.clone() })
    }

    /// The key that signs, or signed, the anchor of number `sequence`.
    #[must_use]
    pub fn key_at(&self, sequence: u64) -> PublicKey {
        self.former.iter().find(|former| sequence <= former.until).map_or(self.key, |former| former.key)
    }

    fn check_place(&self, chain: &ChainId, anchor: &Anchor) -> Result<(), AnchorError> {
        if anchor.chain != *chain {
            return Err(AnchorError::Chain { found: anchor.chain.clone(), expected: chain.clone() });
        }
        if anchor.log != self.log {
            return Err(AnchorError::Log { found: anchor.log, expected: self.log });
        }
        Ok(())
    }

    const fn check_active(&self) -> Result<(), AnchorError> {
        match self.status {
            Status::Active => Ok(()),
            Status::Retired { at } => Err(AnchorError::Retired { at }),
            Status::Frozen { at } => Err(AnchorError::Frozen { at }),
        }
    }

    const fn equivocation(&self, found: Hash) -> AnchorError {
        AnchorError::Equivocation { sequence: self.sequence, taken: self.last, found }
    }
}

impl Encode for LogRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.log.encode(out);
        self.owner.encode(out);
        self.key.encode(out);
        self.former.encode(out);
        self.bond.encode(out);
        self.sequence.encode(out);
        self.last.encode(out);
        self.registered.encode(out);
        self.status.encode(out);
    }
}

impl Decode for LogRecord {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = u8::decode(reader)?;
        if version != VERSION {
            return Err(DecodeError::Tag { what: "log record version", found: version });
        }
        Ok(Self {
            version,
            log: LogId::decode(reader)?,
            owner: Address::decode(reader)?,
            key: PublicKey::decode(reader)?,
            former: List::decode(reader)?,
            bond: Amount::decode(reader)?,
            sequence: u64::decode(reader)?,
            last: Hash::decode(reader)?,
            registered: Height::decode(reader)?,
            status: Status::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests;
