//! A bundle: everything that shows, to somebody with nothing but a genesis or a checkpoint, that
//! messages or files existed, whole, before a block's time.
//!
//! opening → leaf → batch → anchor → log of anchors → state → header → commit → hand-offs → trust.
//!
//! That the anchor is the log's own is not checked here by its key: the chain took it into its log
//! of anchors only after checking the signature, and the log's entry is the anchor with it.
//!
//! A bundle proves existence. Whether somebody vouches for the content, and who, it does not say.
//! `docs/spec/bundle.md` is the page of the format.

use std::fmt;
use std::time::Duration;

use light::{Handoff, Options, Origin, Sealed, StateProof, Trust, Verified};
use serde::{Deserialize, Deserializer, Serialize};
use tendermint::Time;
use types::{ChainId, Decode, DecodeError, Encode, Hash, Height, List, Millis, Reader, codec};

use crate::anchor::{AnchorError, LogId, SignedAnchor};
use crate::batch::{self, MAX_BATCH, verify_path};
use crate::commitment::Body;
use crate::leaf::{CommitmentPart, Envelope, EnvelopePart, LeafOpening};
use crate::log::{self, HEAD_KEY, Head, entry_hash, verify_inclusion};
use crate::path::PathError;

/// The version of the bundle format.
pub const VERSION: u8 = 1;

/// How a binary bundle begins; the version follows.
pub const MAGIC: [u8; 4] = *b"ZYNK";

/// How large a bundle may be, in bytes, in either form.
pub const MAX_BYTES: usize = 64 << 20;

/// How many changes of validators a bundle may walk through.
pub const MAX_HANDOFFS: usize = 1024;

/// Why bytes are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Above [`MAX_BYTES`].
    #[error("a bundle of {found} bytes is above the bound of {MAX_BYTES}")]
    TooLarge {
        /// The size.
        found: usize,
    },
    /// The bytes do not decode.
    #[error("not a bundle: {0}")]
    Binary(#[from] DecodeError),
    /// The text does not parse. What stands there is not repeated: it may be private.
    #[error("not a bundle: the JSON fails at line {line}, column {column}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

impl BundleError {
    /// The stable number of the error: `docs/spec/bundle.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::TooLarge { .. } => 3301,
            Self::Binary(_) => 3302,
            Self::Json { .. } => 3303,
        }
    }
}

/// One message or file of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What is shown of its leaf.
    pub opening: LeafOpening,
    /// Where the leaf stands in the batch.
    pub index: u32,
    /// The siblings from the leaf up to the batch's root.
    pub path: List<Hash, { batch::MAX_PATH }>,
}
codec!(Item { opening, index, path });

/// Where the anchor stands in the log of all anchors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// The entry, counted from 0.
    pub index: u64,
    /// The siblings from the entry up to the log's root.
    pub path: List<Hash, { log::MAX_PATH }>,
}
codec!(LogProof { index, path });

/// Items of one batch, and the way from them to a header. Fields in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub version: u8,
    /// The chain.
    pub chain: ChainId,
    /// The items, by ascending index.
    pub items: List<Item, MAX_BATCH>,
    /// The anchor of their batch.
    pub anchor: SignedAnchor,
    /// Its place in the log of anchors.
    pub log: LogProof,
    /// The log's [`Head`] in the state, at [`HEAD_KEY`].
    pub head: StateProof,
    /// The header that proves the state, and its commit.
    pub sealed: Sealed,
    /// The changes of validators before it, from genesis or from any checkpoint a reader may have.
    pub handoffs: List<Handoff, MAX_HANDOFFS>,
}

impl Bundle {
    /// Reads the binary form.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`], [`BundleError::Binary`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        check_size(bytes)?;
        Ok(<Self as Decode>::from_bytes(bytes)?)
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`], [`BundleError::Json`]; [`BundleError::Binary`] for what the binary form could not say.
    pub fn from_json(text: &[u8]) -> Result<Self, BundleError> {
        check_size(text)?;
        let read: Self = serde_json::from_slice(text).map_err(|error| BundleError::Json { line: error.line(), column: error.column() })?;
        // The bytes have rules between fields that the JSON's parser does not know.
        Self::from_bytes(&read.to_bytes())
    }

    /// Reads either form: binary if it begins with [`MAGIC`].
    ///
    /// # Errors
    /// As [`Bundle::from_bytes`] or [`Bundle::from_json`].
    pub fn parse(file: &[u8]) -> Result<Self, BundleError> {
        if file.starts_with(&MAGIC) { Self::from_bytes(file) } else { Self::from_json(file) }
    }

    /// The JSON form: the same fields under the same names, hashes and signatures in hexadecimal.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a bundle has no map and no float, so it serialises")
    }

    /// The first item that is open and commits to `content`: BLAKE3 of a file or of a plaintext.
    #[must_use]
    pub fn item_for(&self, content: &Hash) -> Option<&Item> {
        let commits = |body: &Body| match body {
            Body::File { content: found, .. } | Body::Message { content: found, .. } => found == content,
        };
        self.items.iter().find(|item| body(&item.opening).is_some_and(commits))
    }
}

impl Encode for Bundle {
    fn encode(&self, out: &mut Vec<u8>) {
        MAGIC.encode(out);
        self.version.encode(out);
        self.chain.encode(out);
        self.items.encode(out);
        self.anchor.encode(out);
        self.log.encode(out);
        self.head.encode(out);
        self.sealed.encode(out);
        self.handoffs.encode(out);
    }
}

impl Decode for Bundle {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array()? != MAGIC {
            return Err(DecodeError::Value { what: "bundle (it begins with ZYNK)" });
        }
        let version = u8::decode(reader)?;
        if version != VERSION {
            return Err(DecodeError::Tag { what: "bundle version", found: version });
        }
        Ok(Self {
            version,
            chain: ChainId::decode(reader)?,
            items: List::decode(reader)?,
            anchor: SignedAnchor::decode(reader)?,
            log: LogProof::decode(reader)?,
            head: StateProof::decode(reader)?,
            sealed: Sealed::decode(reader)?,
            handoffs: List::decode(reader)?,
        })
    }
}

/// Why a bundle was not verified: the step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The bundle is of another chain than the trusted one, or its parts are of two.
    #[error("the bundle is of chain {found}, trusted is {trusted}")]
    Chain {
        /// The trusted chain.
        trusted: ChainId,
        /// The chain that the bundle or its anchor names.
        found: ChainId,
    },
    /// There is no item.
    #[error("the bundle has no item")]
    Empty,
    /// Items stand twice or not by ascending index.
    #[error("item {item} does not stand after the one before it")]
    Order {
        /// The item, counted from 0.
        item: usize,
    },
    /// An item is not in the batch.
    #[error("item {item} is not in the anchored batch: {source}")]
    Item {
        /// The item, counted from 0.
        item: usize,
        /// Why.
        source: PathError,
    },
    /// The anchor is malformed.
    #[error("the anchor is malformed: {0}")]
    Anchor(#[source] AnchorError),
    /// The anchor is not in the log of anchors.
    #[error("the anchor is not in the chain's log: {0}")]
    Log(#[source] PathError),
    /// The log's head is not proven.
    #[error("the log's head is not in the state: {0}")]
    State(#[source] light::Error),
    /// The state has no log head, or one that cannot be read.
    #[error("the state holds no head of a log")]
    Head,
    /// The header is not signed by the validators that trust leads to.
    #[error("the header is not to be believed: {0}")]
    Header(#[source] light::Error),
    /// A hand-off is not to be believed.
    #[error("hand-off {handoff} is not to be believed: {source}")]
    Handoff {
        /// The hand-off, counted from 0.
        handoff: usize,
        /// Why.
        source: light::Error,
    },
    /// The block or what is trusted is ahead of the clock, so no age can be told: the clock is wrong.
    #[error("the time {time} is ahead of the clock {now}: set the clock")]
    Clock {
        /// The block's or the trusted time.
        time: Time,
        /// The clock.
        now: Time,
    },
}

impl NotVerified {
    /// The stable number of the step: `docs/spec/bundle.md`.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Chain { .. } => 3311,
            Self::Empty => 3312,
            Self::Order { .. } => 3313,
            Self::Item { .. } => 3314,
            Self::Anchor(_) => 3315,
            Self::Log(_) => 3316,
            Self::State(_) => 3317,
            Self::Head => 3318,
            Self::Header(_) => 3319,
            Self::Handoff { .. } => 3320,
            Self::Clock { .. } => 3321,
        }
    }

    /// The stable number of what failed inside the step, where the step has such: `docs/spec/audit.md`
    /// and `docs/spec/light.md`.
    #[must_use]
    pub const fn cause(&self) -> Option<u32> {
        match self {
            Self::Item { source, .. } | Self::Log(source) => Some(source.code()),
            Self::Anchor(source) => Some(source.code()),
            Self::State(source) | Self::Header(source) | Self::Handoff { source, .. } => Some(source.code()),
            Self::Chain { .. } | Self::Empty | Self::Order { .. } | Self::Head | Self::Clock { .. } => None,
        }
    }
}

/// What a verified bundle rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The genesis.
    Genesis {
        /// Whether what is trusted is younger than the trusting period.
        within_trusting_period: bool,
    },
    /// A checkpoint.
    Checkpoint {
        /// Its height, or the height to which trust has moved since.
        height: Height,
        /// How old that is.
        age: Duration,
        /// Whether that is younger than the trusting period.
        within_trusting_period: bool,
    },
}

/// One item that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedItem {
    /// Where its leaf stands in the batch.
    pub index: u32,
    /// The leaf.
    pub leaf: Hash,
    /// What was committed to, where the bundle shows it.
    pub body: Option<Body>,
    /// What the relay saw, where the bundle shows it.
    pub envelope: Option<Envelope>,
}

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What it rests on.
    pub basis: Basis,
    /// The chain.
    pub chain: ChainId,
    /// The height of the header that proves it.
    pub height: Height,
    /// The header's time: every item existed by then.
    pub time: Time,
    /// How many changes of validators lie between.
    pub handoffs: usize,
    /// The relay's log.
    pub log: LogId,
    /// The anchor's number in it.
    pub sequence: u64,
    /// When the relay opened the batch, by its own clock.
    pub opened: Millis,
    /// When it closed it, by its own clock.
    pub closed: Millis,
    /// The items.
    pub items: Vec<VerifiedItem>,
}

/// Verifies `bundle` with nothing but `trust`, the clock `now` and how long trust lasts.
///
/// Hand-offs at or below the trusted height are passed over: a checkpoint stands in for them.
///
/// # Errors
/// The first step that fails, from the items up to the header.
pub fn verify(bundle: &Bundle, trust: &Trust, now: Time, options: &Options) -> Result<Verdict, NotVerified> {
    check_chain(bundle, trust)?;
    let items = verify_items(bundle)?;
    let (trusted, handoffs) = walk(bundle, trust)?;
    let verified = trusted.open(&bundle.sealed).map_err(NotVerified::Header)?;
    verify_log(bundle, &verified)?;
    let anchor = &bundle.anchor.anchor;
    Ok(Verdict {
        basis: basis(trust, &verified, now, options)?,
        chain: bundle.chain.clone(),
        height: verified.height(),
        time: verified.time(),
        handoffs,
        log: anchor.log,
        sequence: anchor.sequence,
        opened: anchor.opened,
        closed: anchor.closed,
        items,
    })
}

fn check_chain(bundle: &Bundle, trust: &Trust) -> Result<(), NotVerified> {
    let named = [&bundle.chain, &bundle.anchor.anchor.chain];
    match named.into_iter().find(|chain| *chain != trust.chain()) {
        None => Ok(()),
        Some(found) => Err(NotVerified::Chain { trusted: trust.chain().clone(), found: found.clone() }),
    }
}

/// From the openings to the anchor's root.
fn verify_items(bundle: &Bundle) -> Result<Vec<VerifiedItem>, NotVerified> {
    let anchor = &bundle.anchor.anchor;
    anchor.check().map_err(NotVerified::Anchor)?;
    if bundle.items.is_empty() {
        return Err(NotVerified::Empty);
    }
    if let Some(before) = bundle.items.windows(2).position(|pair| pair[0].index >= pair[1].index) {
        return Err(NotVerified::Order { item: before + 1 });
    }
    let verified = bundle.items.iter().enumerate().map(|(number, item)| {
        let leaf = item.opening.leaf();
        verify_path(&leaf, item.index, anchor.count, &item.path, &anchor.root)
            .map_err(|source| NotVerified::Item { item: number, source })?;
        Ok(VerifiedItem { index: item.index, leaf, body: body(&item.opening).cloned(), envelope: envelope(&item.opening).cloned() })
    });
    verified.collect()
}

/// From the trust that is given to the validators of the header, and over how many hand-offs.
fn walk(bundle: &Bundle, trust: &Trust) -> Result<(Trust, usize), NotVerified> {
    let mut trusted = trust.clone();
    let mut count = 0;
    for (number, handoff) in bundle.handoffs.iter().enumerate() {
        let refused = |source| NotVerified::Handoff { handoff: number, source };
        let (height, last) = (handoff.sealed.header.height, bundle.sealed.header.height);
        if height >= last {
            return Err(refused(light::Error::WrongHeight { trusted: last, found: height }));
        }
        if height > trust.height() {
            trusted.hand_off(handoff).map_err(refused)?;
            count += 1;
        }
    }
    Ok((trusted, count))
}

/// From the header down to the anchor: the head in the state, the entry in the log.
fn verify_log(bundle: &Bundle, verified: &Verified) -> Result<(), NotVerified> {
    let value = verified.read(HEAD_KEY.as_bytes(), &bundle.head).map_err(NotVerified::State)?;
    let head = Head::from_bytes(value.ok_or(NotVerified::Head)?).map_err(|_| NotVerified::Head)?;
    let entry = entry_hash(&bundle.anchor.to_bytes());
    verify_inclusion(&entry, bundle.log.index, head.size, &bundle.log.path, &head.root).map_err(NotVerified::Log)
}

fn basis(trust: &Trust, verified: &Verified, now: Time, options: &Options) -> Result<Basis, NotVerified> {
    let latest = now.checked_add(options.clock_drift).unwrap_or(now);
    let time = verified.time().max(trust.time());
    if time >= latest {
        return Err(NotVerified::Clock { time, now });
    }
    let age = trust.age(now);
    let within_trusting_period = age < options.trusting_period;
    Ok(match trust.origin() {
        Origin::Genesis => Basis::Genesis { within_trusting_period },
        Origin::Checkpoint { .. } => Basis::Checkpoint { height: trust.height(), age, within_trusting_period },
    })
}

impl fmt::Display for Basis {
    /// The basis, and what it means, in sentences.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genesis { within_trusting_period: true } => f.write_str("verified from genesis"),
            Self::Genesis { within_trusting_period: false } => {
                write!(f, "verified from genesis, which is older than the trusting period: {OLD}")
            }
            Self::Checkpoint { height, age, within_trusting_period } => {
                write!(f, "verified from the checkpoint of height {height} (age {})", Age(*age))?;
                if *within_trusting_period { Ok(()) } else { write!(f, ", which is older than the trusting period: {OLD}") }
            }
        }
    }
}

/// What trust beyond the trusting period means.
const OLD: &str = "validators that have left since could sign another history without losing anything; \
    compare a checkpoint of today with somebody you trust to rule that out";

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.items.len() == 1 { "item" } else { "items" };
        let (count, time, chain, height) = (self.items.len(), self.time, &self.chain, self.height);
        writeln!(f, "{count} {noun} existed by {time} (chain {chain}, height {height}), anchor {} of log {}", self.sequence, self.log)?;
        write!(f, "{}", self.basis)
    }
}

/// A duration in its largest whole unit.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
        let seconds = self.0.as_secs();
        let (unit, name) = UNITS.into_iter().find(|(unit, _)| seconds >= *unit).unwrap_or((1, "second"));
        let count = seconds / unit;
        write!(f, "{count} {name}{}", if count == 1 { "" } else { "s" })
    }
}

/// What was committed to, where it is shown.
const fn body(opening: &LeafOpening) -> Option<&Body> {
    match &opening.commitment {
        CommitmentPart::Opened(opening) => Some(&opening.body),
        CommitmentPart::Hidden(_) => None,
    }
}

/// What the relay saw, where it is shown.
const fn envelope(opening: &LeafOpening) -> Option<&Envelope> {
    match &opening.envelope {
        EnvelopePart::Opened { envelope, .. } => Some(envelope),
        EnvelopePart::Hidden(_) => None,
    }
}

const fn check_size(bytes: &[u8]) -> Result<(), BundleError> {
    if bytes.len() > MAX_BYTES { Err(BundleError::TooLarge { found: bytes.len() }) } else { Ok(()) }
}

fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        _ => Err(serde::de::Error::custom("unknown version")),
    }
}

#[cfg(test)]
mod tests;
