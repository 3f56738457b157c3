//! What a light client remembers from one time to the next: where its trust began, and the blocks that it has believed.
//!
//! The bytes end with their checksum, so a file that was cut or has rotted is recognised and never believed. Against
//! somebody who writes to the file no checksum helps: it is only as safe as the place it is kept in.

use tendermint::Time;
use types::{ChainId, Decode, DecodeError, Encode, Hash, Height, List, Reader};

use crate::sealed::{get_time, put_time};
use crate::{Error, LightBlock, Options, Origin, Sealed, Trust, Validators, Verified};

/// How many blocks are kept, unless chosen otherwise: the first one, and the latest.
pub const KEEP: usize = 128;

/// How many blocks can be kept.
pub const MAX_KEPT: usize = 1024;

/// The version of the bytes.
pub const VERSION: u8 = 1;

/// Why kept bytes are of no use. [`BadKept::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKept {
    /// The checksum is not that of the bytes: they were cut, or have rotted.
    #[error("the checksum is not that of the content: the file is damaged")]
    Damaged,
    /// The content does not decode, or is of another version.
    #[error("the content cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// The blocks contradict each other.
    #[error("the content contradicts itself: {0}")]
    Contradiction(#[from] Error),
}

impl BadKept {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Damaged => 1029,
            Self::Malformed(_) => 1030,
            Self::Contradiction(_) => 1031,
        }
    }
}

/// The blocks that somebody has believed, from where their trust began: the first, and the latest up to a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    root: Trust,
    /// Ascending, above the root.
    blocks: Vec<LightBlock>,
    bound: usize,
}

impl Kept {
    /// Nothing but where trust begins. At most `bound` blocks will be kept, at least 2 and at most [`MAX_KEPT`].
    #[must_use]
    pub fn new(root: Trust, bound: usize) -> Self {
        Self { root, blocks: Vec::new(), bound: bound.clamp(2, MAX_KEPT) }
    }

    /// With another bound from now on.
    #[must_use]
    pub fn bounded(self, bound: usize) -> Self {
        let mut kept = Self { bound: bound.clamp(2, MAX_KEPT), ..self };
        kept.prune();
        kept
    }

    /// Where trust began.
    #[must_use]
    pub const fn root(&self) -> &Trust {
        &self.root
    }

    /// The blocks, ascending.
    #[must_use]
    pub fn blocks(&self) -> &[LightBlock] {
        &self.blocks
    }

    /// The latest trust.
    #[must_use]
    pub fn latest(&self) -> Trust {
        self.below(Height(u64::MAX))
    }

    /// The latest trust below a height; where trust began, if nothing lies below.
    #[must_use]
    pub fn below(&self, height: Height) -> Trust {
        let place = self.blocks.partition_point(|block| block.height() < height);
        self.blocks[..place].last().map_or_else(|| self.root.clone(), |block| self.trust(block))
    }

    /// The earliest trust at or above a height, from which hashes lead down to it.
    #[must_use]
    pub fn above(&self, height: Height) -> Option<Trust> {
        if self.root.height() >= height {
            return Some(self.root.clone());
        }
        let place = self.blocks.partition_point(|block| block.height() < height);
        self.blocks.get(place).map(|block| self.trust(block))
    }

    /// The header of a height, if its block is kept.
    #[must_use]
    pub fn header(&self, height: Height) -> Option<Verified> {
        let place = self.blocks.binary_search_by_key(&height, LightBlock::height).ok()?;
        Verified::new(self.root.chain().clone(), &self.blocks[place].signed_header).ok()
    }

    /// Keeps a block that was believed because of what is kept. Of one height the first stays; what does not lie above the
    /// root is not kept.
    pub fn keep(&mut self, block: &LightBlock) {
        if block.height() <= self.root.height() {
            return;
        }
        if let Err(place) = self.blocks.binary_search_by_key(&block.height(), LightBlock::height) {
            self.blocks.insert(place, block.clone());
        }
        self.prune();
    }

    /// Whether the latest trust is still inside the trusting period.
    ///
    /// # Errors
    /// [`Error::Expired`]: its validators may have left, and nothing holds them to their word; a new checkpoint is needed.
    pub fn check_age(&self, now: Time, options: &Options) -> Result<(), Error> {
        let latest = self.latest();
        if latest.age(now) < options.trusting_period {
            return Ok(());
        }
        Err(Error::Expired { time: latest.time(), period: options.trusting_period })
    }

    /// The bytes: version ‖ root ‖ list of blocks ‖ SHA-256 over all of that.
    ///
    /// # Errors
    /// [`Error::Form`] for a block that has no compact form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![VERSION];
        put_root(&self.root, &mut out);
        types::codec::put_number(self.blocks.len() as u64, &mut out);
        for block in &self.blocks {
            let changes = block.next_validators != block.validators;
            Sealed::of(&block.signed_header)?.encode(&mut out);
            block.validators.encode(&mut out);
            changes.then(|| block.next_validators.clone()).encode(&mut out);
        }
        let sum = Hash::sha256(&[&out]);
        out.extend_from_slice(&sum.0);
        Ok(out)
    }

    /// Reads what [`Kept::to_bytes`] wrote. It is taken at its word: signatures were checked before it was written.
    ///
    /// # Errors
    /// [`BadKept`].
    pub fn from_bytes(bytes: &[u8], bound: usize) -> Result<Self, BadKept> {
        let (content, sum) = bytes.split_last_chunk::<32>().ok_or(BadKept::Damaged)?;
        if Hash::sha256(&[content]).0 != *sum {
            return Err(BadKept::Damaged);
        }
        let mut reader = Reader::new(content);
        match u8::decode(&mut reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "version", found }.into()),
        }
        let root = get_root(&mut reader)?;
        let raw = List::<Block, MAX_KEPT>::decode(&mut reader)?;
        reader.finish()?;
        let mut blocks: Vec<LightBlock> = Vec::new();
        for Block { sealed, validators, next } in raw.into_vec() {
            let (height, expected) = (sealed.header.height, tendermint::Hash::Sha256(sealed.header.validators_hash.0));
            let last = blocks.last().map_or(root.height(), LightBlock::height);
            if height <= last {
                return Err(Error::WrongHeight { trusted: last, found: height }.into());
            }
            if sealed.header.validators_hash != validators.hash() {
                return Err(Error::WrongValidators { height, expected: validators.hash(), found: expected }.into());
            }
            let signed_header = sealed.open(&validators)?;
            let header = &signed_header.header;
            if header.chain_id.as_str() != root.chain().as_str() {
                return Err(Error::WrongChain { expected: root.chain().to_string(), found: header.chain_id.to_string() }.into());
            }
            let next_validators = next.unwrap_or_else(|| validators.clone());
            crate::trust::check_next(header, &next_validators)?;
            blocks.push(LightBlock { signed_header, validators, next_validators });
        }
        Ok(Self { root, blocks, bound: MAX_KEPT }.bounded(bound))
    }

    fn trust(&self, block: &LightBlock) -> Trust {
        Trust::at(self.root.chain().clone(), self.root.origin(), block)
    }

    /// The first stays, and then the oldest goes.
    fn prune(&mut self) {
        let excess = self.blocks.len().saturating_sub(self.bound);
        if excess > 0 {
            self.blocks.drain(1..=excess);
        }
    }
}

/// sealed ‖ validators ‖ option(next validators), absent where they are the same.
struct Block {
    sealed: Sealed,
    validators: Validators,
    next: Option<Validators>,
}

impl Decode for Block {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let block = Self { sealed: Sealed::decode(reader)?, validators: Validators::decode(reader)?, next: Option::decode(reader)? };
        if block.next.as_ref() == Some(&block.validators) {
            return Err(DecodeError::Value { what: "next validators (the same, spelled out)" });
        }
        Ok(block)
    }
}

/// chain ‖ 0 (genesis) | 1 ‖ height ‖ time (checkpoint) ‖ height ‖ time ‖ option(header hash) ‖ validators.
fn put_root(root: &Trust, out: &mut Vec<u8>) {
    root.chain().encode(out);
    match root.origin() {
        Origin::Genesis => out.push(0),
        Origin::Checkpoint { height, time } => {
            out.push(1);
            height.encode(out);
            put_time(time, out);
        }
    }
    root.height().encode(out);
    put_time(root.time(), out);
    root.header_hash().encode(out);
    root.validators().encode(out);
}

fn get_root(reader: &mut Reader<'_>) -> Result<Trust, DecodeError> {
    let chain = ChainId::decode(reader)?;
    let origin = match u8::decode(reader)? {
        0 => Origin::Genesis,
        1 => Origin::Checkpoint { height: Height::decode(reader)?, time: get_time(reader)? },
        found => return Err(DecodeError::Tag { what: "origin", found }),
    };
    let (height, time) = (Height::decode(reader)?, get_time(reader)?);
    let (header_hash, validators) = (Option::<Hash>::decode(reader)?, Validators::decode(reader)?);
    if header_hash.is_none() != (height == Height(0)) {
        return Err(DecodeError::Value { what: "root (a header's hash, but for genesis)" });
    }
    Ok(Trust { chain, origin, height, time, header_hash, validators })
}

#[cfg(test)]
mod tests;
