//! What stays of a block that is not kept whole: its header, its evidence and its commit.
//!
//! Three things need them after the block is gone: evidence, which counts until it has expired; hand-offs, which light
//! clients and bundles walk from the genesis; and snapshots, which carry both to a new node.

use consensus::evidence;
use consensus::validators::ValidatorSet;
use light::Validators;
use prost::Message as _;
use rocksdb::{Direction, IteratorMode};
use tendermint::block::{Block, Commit, Header, Height};
use tendermint::evidence::List as EvidenceList;
use tendermint_proto::v0_38 as pb;
use types::{Blob, Decode as _, DecodeError, Encode as _, List};

use super::frozen::Rows;
use super::{Batch, Column, Store, at, decode_block, number};

/// The most bytes of a header; it has some 700.
const MAX_HEADER: usize = 4 << 10;

/// The most bytes of a commit: 1,024 votes of some 110 bytes.
const MAX_COMMIT: usize = 256 << 10;

/// The most bytes and pieces of evidence in a block: more than any genesis allows.
const MAX_EVIDENCE: usize = 1 << 20;
const MAX_PIECES: usize = 1024;

/// A block without its transactions.
#[derive(Debug, Clone, PartialEq)]
pub struct Light {
    /// Its header.
    pub header: Header,
    /// Its evidence.
    pub evidence: EvidenceList,
    /// The commit that the block after it carries; none if that is not known yet.
    pub commit: Option<Commit>,
    /// The validators of the next height, where the header names others than its own. The database has them elsewhere.
    pub next: Option<Validators>,
}

/// Its bytes.
struct Row {
    header: Blob<MAX_HEADER>,
    evidence: List<Blob<MAX_EVIDENCE>, MAX_PIECES>,
    commit: Option<Blob<MAX_COMMIT>>,
    next: Option<Validators>,
}
types::codec!(Row { header, evidence, commit, next });

impl Light {
    /// Its bytes, as `docs/spec/snapshot.md` has them.
    ///
    /// # Errors
    /// [`DecodeError::Bound`] for what no chain has.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DecodeError> {
        let pieces = self.evidence.iter().map(|piece| evidence::bytes::encode(piece).try_into());
        let commit = self.commit.clone().map(|commit| pb::types::Commit::from(commit).encode_to_vec().try_into());
        let row = Row {
            header: pb::types::Header::from(self.header.clone()).encode_to_vec().try_into()?,
            evidence: pieces.collect::<Result<Vec<_>, DecodeError>>()?.try_into()?,
            commit: commit.transpose()?,
            next: self.next.clone(),
        };
        Ok(row.to_bytes())
    }

    /// Reads it.
    ///
    /// # Errors
    /// What the bytes break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        const fn bad(what: &'static str) -> DecodeError {
            DecodeError::Value { what }
        }
        let row = Row::from_bytes(bytes)?;
        let header = pb::types::Header::decode(&*row.header).map_err(|_| bad("header"))?;
        let pieces = row.evidence.iter().map(|piece| evidence::bytes::decode(piece, MAX_EVIDENCE).map_err(|_| bad("evidence")));
        let commit = row.commit.map(|bytes| pb::types::Commit::decode(&*bytes).map_err(|_| bad("commit"))).transpose()?;
        Ok(Self {
            header: header.try_into().map_err(|_| bad("header"))?,
            evidence: EvidenceList::new(pieces.collect::<Result<Vec<_>, _>>()?),
            commit: commit.map(|commit| commit.try_into().map_err(|_| bad("commit"))).transpose()?,
            next: row.next,
        })
    }

    /// Whether the next height has other validators.
    #[must_use]
    pub fn is_handoff(&self) -> bool {
        self.header.validators_hash != self.header.next_validators_hash
    }
}

/// The block at `height`, where it is kept whole, and the commit as seen here.
pub(crate) fn block(rows: &impl Rows, height: Height) -> Option<(Block, Commit)> {
    rows.row(Column::Blocks, &at(height)).map(|bytes| decode_block(&bytes))
}

/// The header at `height`.
pub(crate) fn header(rows: &impl Rows, height: Height) -> Option<Header> {
    block(rows, height).map(|(block, _)| block.header).or_else(|| stripped(rows, height).map(|light| light.header))
}

/// The block at `height` without its transactions. Its commit is that of the block after it, which is the same on every node.
pub(crate) fn light(rows: &impl Rows, height: Height) -> Option<Light> {
    let after = block(rows, height.increment());
    let Some((block, _)) = block(rows, height) else {
        let kept = stripped(rows, height)?;
        let commit = match after {
            Some((after, _)) => after.last_commit,
            None => kept.commit.filter(|_| stripped(rows, height.increment()).is_some()),
        };
        return Some(Light { commit, ..kept });
    };
    let commit = after.and_then(|(after, _)| after.last_commit);
    Some(Light { header: block.header, evidence: block.evidence, commit, next: None })
}

fn stripped(rows: &impl Rows, height: Height) -> Option<Light> {
    let bytes = rows.row(Column::Light, &at(height))?;
    Some(Light::from_bytes(&bytes).expect("the store holds what it wrote"))
}

/// A height that is noted in `meta`.
pub(crate) fn noted(rows: &impl Rows, name: &[u8]) -> Option<u64> {
    rows.row(Column::Meta, name).map(|bytes| number(&bytes))
}

/// In `meta`: the lowest height whose block is kept whole.
pub(crate) const EARLIEST: &[u8] = b"earliest";

/// In `meta`: the height from which on every header is kept. Below it are those of hand-offs.
pub(crate) const HEADERS: &[u8] = b"headers";

impl Store {
    /// The lowest height whose block is kept whole: the chain's first, until blocks were pruned or the state was synced.
    #[must_use]
    pub fn earliest(&self, initial: Height) -> Height {
        noted(self, EARLIEST).and_then(|height| height.try_into().ok()).unwrap_or(initial)
    }

    /// The header at `height`: that of each block that is kept, of each hand-off, and of those young enough for evidence.
    #[must_use]
    pub fn header(&self, height: Height) -> Option<Header> {
        header(self, height)
    }

    /// The best commit known for the block at `height`: the one out of the next block, or the one seen here.
    #[must_use]
    pub fn commit_of(&self, height: Height) -> Option<Commit> {
        let canonical = light(self, height)?.commit;
        let seen = || block(self, height).map(|(_, seen)| seen).or_else(|| stripped(self, height)?.commit);
        canonical.or_else(seen)
    }

    /// The validators of a pruned height: those since the change before it.
    pub(super) fn pruned_validators(&self, height: Height) -> Option<ValidatorSet> {
        let earliest = noted(self, EARLIEST)?;
        if height.value() >= earliest {
            return None;
        }
        let from = at(height);
        let newest = self.iterate(Column::Sets, IteratorMode::From(&from, Direction::Reverse)).next();
        newest.map(|(_, bytes)| serde_json::from_slice(&bytes).expect("the store holds what it wrote"))
    }
}

impl Batch<'_> {
    /// Keeps a block without its transactions.
    pub(crate) fn put_light(&mut self, light: &Light) {
        let bytes = light.to_bytes().expect("a block of this chain is within every bound");
        self.put(Column::Light, &at(light.header.height), &bytes);
    }

    /// Notes a height in `meta`.
    pub(crate) fn put_noted(&mut self, name: &[u8], height: u64) {
        self.put(Column::Meta, name, &height.to_be_bytes());
    }
}
