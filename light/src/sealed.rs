//! The compact, canonical form of a header and its commit.
//!
//! Tendermint's protobuf spells one value in many ways and repeats much: addresses that the validator
//! set has, a block id that is the header's hash, a timestamp that under the embedded engine is the
//! same in every vote. Here each value has one spelling and what follows from the rest is left out.
//! [`Sealed::open`] gives back the `tendermint` crate's type, and refuses what would not seal to the
//! same bytes again. `docs/spec/light.md` has the layout.

use serde::{Deserialize, Serialize};
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{self, Commit, CommitSig, header, parts};
use tendermint::validator::Info;
use tendermint::{AppHash, Time};
use types::{Address, ChainId, Decode, DecodeError, Encode, Hash, Height, List, Reader, Signature};

use crate::validators::{self, MAX_VALIDATORS, Validators};
use crate::{Error, trust};

/// SHA-256 of nothing: the root of an empty list, which most blocks name several times.
const EMPTY_LIST: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
    0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// A header and its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The header.
    pub header: SealedHeader,
    /// Its commit.
    pub commit: SealedCommit,
}
types::codec!(Sealed { header, commit });

/// A header: `tendermint::block::Header`, with a 32-byte application hash and no time before 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedHeader {
    /// The version of the block format.
    pub block_version: u64,
    /// The version of the application.
    pub app_version: u64,
    /// The chain.
    pub chain_id: ChainId,
    /// The height.
    pub height: Height,
    /// The block's time.
    pub time: Time,
    /// The block before; `None` for the first.
    pub last_block_id: Option<BlockId>,
    /// The hash of the commit for the block before.
    pub last_commit_hash: Option<Hash>,
    /// The root of the transactions.
    pub data_hash: Option<Hash>,
    /// The validators of this height.
    pub validators_hash: Hash,
    /// The validators of the next height.
    pub next_validators_hash: Hash,
    /// The consensus parameters.
    pub consensus_hash: Hash,
    /// The root of the state after the block before.
    pub app_hash: Hash,
    /// The root of the results of the block before.
    pub last_results_hash: Option<Hash>,
    /// The root of the evidence.
    pub evidence_hash: Option<Hash>,
    /// The validator that proposed the block.
    pub proposer_address: Address,
}

/// A block's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockId {
    /// The header's hash.
    pub hash: Hash,
    /// Its part set, unless it is the embedded engine's: one part, named by the header's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
}

/// The part set of a block that CometBFT made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// How many parts.
    pub total: u32,
    /// Their root.
    pub hash: Hash,
}
types::codec!(Parts { total, hash });

/// A commit; its height and its block's hash are the header's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedCommit {
    /// The round.
    pub round: u32,
    /// The block's part set, as in [`BlockId::parts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// One entry for each validator, in the set's order.
    pub votes: List<SealedVote, MAX_VALIDATORS>,
}
types::codec!(SealedCommit { round, parts, votes });

/// One validator's entry in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SealedVote {
    /// No vote.
    Absent,
    /// A vote for the block.
    Commit(SignedAt),
    /// A vote for no block.
    Nil(SignedAt),
}

/// A signature and the timestamp under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAt {
    /// The vote's timestamp, unless it is the embedded engine's: 1970-01-01T00:00:01Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// The ed25519 signature over the canonical vote.
    pub signature: Signature,
}

impl Sealed {
    /// The compact form of a signed header.
    ///
    /// Addresses are left out, so seal what was accepted: a commit whose votes are not in the set's
    /// order opens as another one, which nobody signed.
    ///
    /// # Errors
    /// [`Error::Form`] when it has something that this form cannot say.
    pub fn of(signed: &SignedHeader) -> Result<Self, Error> {
        Ok(Self { header: SealedHeader::of(&signed.header)?, commit: SealedCommit::of(&signed.commit)? })
    }

    /// The signed header, the votes being those of `validators` in order. Nothing is verified yet.
    ///
    /// # Errors
    /// [`Error::Vote`] when votes and validators differ in number, [`Error::Form`] when a value is out of
    /// range or not in its shortest form.
    pub fn open(&self, validators: &Validators) -> Result<SignedHeader, Error> {
        let header = self.header.open()?;
        let commit = self.commit.open(&header, validators)?;
        let signed = SignedHeader::new(header, commit).map_err(|_| Error::Form("has two heights"))?;
        if Self::of(&signed)? == *self { Ok(signed) } else { Err(Error::Form("is not in its shortest form")) }
    }
}

impl SealedHeader {
    fn of(header: &block::Header) -> Result<Self, Error> {
        let must = |hash: tendermint::Hash| validators::hash(hash).ok_or(Error::Form("lacks a hash"));
        let may = |hash: Option<tendermint::Hash>| hash.and_then(validators::hash);
        let app_hash = header.app_hash.as_bytes().try_into().map_err(|_| Error::Form("has an application hash that is not 32 bytes"))?;
        Ok(Self {
            block_version: header.version.block,
            app_version: header.version.app,
            chain_id: header.chain_id.as_str().parse().map_err(|_| Error::Form("has a chain id that is not one of ours"))?,
            height: Height::from(header.height),
            time: since_1970(header.time)?,
            last_block_id: header.last_block_id.map(BlockId::of).transpose()?,
            last_commit_hash: may(header.last_commit_hash),
            data_hash: may(header.data_hash),
            validators_hash: must(header.validators_hash)?,
            next_validators_hash: must(header.next_validators_hash)?,
            consensus_hash: must(header.consensus_hash)?,
            app_hash: Hash(app_hash),
            last_results_hash: may(header.last_results_hash),
            evidence_hash: may(header.evidence_hash),
            proposer_address: header.proposer_address.into(),
        })
    }

    fn open(&self) -> Result<block::Header, Error> {
        let must = |hash: Hash| tendermint::Hash::Sha256(hash.0);
        let may = |hash: Option<Hash>| hash.map(must);
        if self.height > trust::MAX_HEIGHT {
            return Err(Error::Form("has a height out of range"));
        }
        Ok(block::Header {
            version: header::Version { block: self.block_version, app: self.app_version },
            chain_id: (&self.chain_id).into(),
            height: self.height.try_into().map_err(|_| Error::Form("has a height out of range"))?,
            time: self.time,
            last_block_id: self.last_block_id.map(BlockId::open).transpose()?,
            last_commit_hash: may(self.last_commit_hash),
            data_hash: may(self.data_hash),
            validators_hash: must(self.validators_hash),
            next_validators_hash: must(self.next_validators_hash),
            consensus_hash: must(self.consensus_hash),
            app_hash: AppHash::try_from(self.app_hash.0.to_vec()).map_err(|_| Error::Form("has no application hash"))?,
            last_results_hash: may(self.last_results_hash),
            evidence_hash: may(self.evidence_hash),
            proposer_address: self.proposer_address.into(),
        })
    }
}

impl BlockId {
    fn of(id: block::Id) -> Result<Self, Error> {
        let hash = validators::hash(id.hash).ok_or(Error::Form("names a block without a hash"))?;
        Ok(Self { hash, parts: Parts::of(id)? })
    }

    fn open(self) -> Result<block::Id, Error> {
        open_id(tendermint::Hash::Sha256(self.hash.0), self.parts)
    }
}

impl Parts {
    /// `None` for the part set of the embedded engine.
    fn of(id: block::Id) -> Result<Option<Self>, Error> {
        let part_set = id.part_set_header;
        if part_set.total == 1 && part_set.hash == id.hash {
            return Ok(None);
        }
        let hash = validators::hash(part_set.hash).ok_or(Error::Form("names a part set without a hash"))?;
        Ok(Some(Self { total: part_set.total, hash }))
    }
}

impl SealedCommit {
    fn of(commit: &Commit) -> Result<Self, Error> {
        let votes: Result<Vec<_>, _> = commit.signatures.iter().map(SealedVote::of).collect();
        let votes = votes?.try_into().map_err(|_| Error::Form("has more than 1024 votes"))?;
        Ok(Self { round: commit.round.value(), parts: Parts::of(commit.block_id)?, votes })
    }

    fn open(&self, header: &block::Header, validators: &Validators) -> Result<Commit, Error> {
        let members = validators.set().validators();
        if self.votes.len() != members.len() {
            let index = self.votes.len().min(members.len());
            return Err(Error::Vote { index, fault: "has no counterpart: votes and validators differ in number" });
        }
        let signatures: Result<Vec<_>, _> = self.votes.iter().zip(members).map(|(vote, member)| vote.open(member)).collect();
        Ok(Commit {
            height: header.height,
            round: self.round.try_into().map_err(|_| Error::Form("has a round out of range"))?,
            block_id: open_id(header.hash(), self.parts)?,
            signatures: signatures?,
        })
    }
}

impl SealedVote {
    fn of(vote: &CommitSig) -> Result<Self, Error> {
        match vote {
            CommitSig::BlockIdFlagAbsent => Ok(Self::Absent),
            CommitSig::BlockIdFlagCommit { timestamp, signature, .. } => SignedAt::of(*timestamp, signature.as_ref()).map(Self::Commit),
            CommitSig::BlockIdFlagNil { timestamp, signature, .. } => SignedAt::of(*timestamp, signature.as_ref()).map(Self::Nil),
        }
    }

    fn open(&self, validator: &Info) -> Result<CommitSig, Error> {
        let validator_address = validator.address;
        Ok(match self {
            Self::Absent => CommitSig::BlockIdFlagAbsent,
            Self::Commit(cast) => {
                CommitSig::BlockIdFlagCommit { validator_address, timestamp: cast.timestamp(), signature: Some(cast.signature()?) }
            }
            Self::Nil(cast) => {
                CommitSig::BlockIdFlagNil { validator_address, timestamp: cast.timestamp(), signature: Some(cast.signature()?) }
            }
        })
    }
}

impl SignedAt {
    fn of(timestamp: Time, signature: Option<&tendermint::Signature>) -> Result<Self, Error> {
        let bytes = signature.and_then(|signature| signature.as_bytes().try_into().ok());
        let signature = Signature(bytes.ok_or(Error::Form("has a vote without a 64-byte signature"))?);
        let timestamp = since_1970(timestamp)?;
        Ok(Self { timestamp: Some(timestamp).filter(|time| *time != embedded_time()), signature })
    }

    fn timestamp(&self) -> Time {
        self.timestamp.unwrap_or_else(embedded_time)
    }

    fn signature(&self) -> Result<tendermint::Signature, Error> {
        tendermint::Signature::try_from(self.signature.0.as_slice()).map_err(|_| Error::Form("has a malformed signature"))
    }
}

impl Encode for SealedHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        self.block_version.encode(out);
        self.app_version.encode(out);
        self.chain_id.encode(out);
        self.height.encode(out);
        put_time(self.time, out);
        put_last_block(self.last_block_id, out);
        put_root(self.last_commit_hash, out);
        put_root(self.data_hash, out);
        self.validators_hash.encode(out);
        Some(self.next_validators_hash).filter(|next| *next != self.validators_hash).encode(out);
        self.consensus_hash.encode(out);
        self.app_hash.encode(out);
        put_root(self.last_results_hash, out);
        put_root(self.evidence_hash, out);
        self.proposer_address.encode(out);
    }
}

impl Decode for SealedHeader {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (block_version, app_version) = (u64::decode(reader)?, u64::decode(reader)?);
        let (chain_id, height) = (ChainId::decode(reader)?, Height::decode(reader)?);
        let (time, last_block_id) = (get_time(reader)?, get_last_block(reader)?);
        let (last_commit_hash, data_hash) = (get_root(reader)?, get_root(reader)?);
        let validators_hash = Hash::decode(reader)?;
        let next = Option::<Hash>::decode(reader)?;
        if next == Some(validators_hash) {
            return Err(DecodeError::Value { what: "next validators (the same twice)" });
        }
        Ok(Self {
            block_version,
            app_version,
            chain_id,
            height,
            time,
            last_block_id,
            last_commit_hash,
            data_hash,
            validators_hash,
            next_validators_hash: next.unwrap_or(validators_hash),
            consensus_hash: Hash::decode(reader)?,
            app_hash: Hash::decode(reader)?,
            last_results_hash: get_root(reader)?,
            evidence_hash: get_root(reader)?,
            proposer_address: Address::decode(reader)?,
        })
    }
}

impl Encode for SealedVote {
    fn encode(&self, out: &mut Vec<u8>) {
        let (tag, cast) = match self {
            Self::Absent => return out.push(0),
            Self::Commit(cast) => (1, cast),
            Self::Nil(cast) => (2, cast),
        };
        out.push(if cast.timestamp.is_some() { tag + 2 } else { tag });
        if let Some(timestamp) = cast.timestamp {
            put_time(timestamp, out);
        }
        cast.signature.encode(out);
    }
}

impl Decode for SealedVote {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = u8::decode(reader)?;
        if tag == 0 {
            return Ok(Self::Absent);
        }
        let timestamp = (tag > 2).then(|| get_time(reader)).transpose()?;
        let cast = SignedAt { timestamp, signature: Signature::decode(reader)? };
        match tag {
            1 | 3 => Ok(Self::Commit(cast)),
            2 | 4 => Ok(Self::Nil(cast)),
            found => Err(DecodeError::Tag { what: "vote", found }),
        }
    }
}

fn open_id(hash: tendermint::Hash, parts: Option<Parts>) -> Result<block::Id, Error> {
    let (total, root) = parts.map_or((1, hash), |parts| (parts.total, tendermint::Hash::Sha256(parts.hash.0)));
    let part_set_header = parts::Header::new(total, root).map_err(|_| Error::Form("names a part set without parts"))?;
    Ok(block::Id { hash, part_set_header })
}

/// The timestamp in every vote of the embedded engine. One second: published clients cannot read
/// the JSON of a commit whose timestamps are zero.
pub(crate) fn embedded_time() -> Time {
    Time::from_unix_timestamp(1, 0).expect("the constant is a time")
}

fn since_1970(time: Time) -> Result<Time, Error> {
    if time < Time::unix_epoch() { Err(Error::Form("has a time before 1970")) } else { Ok(time) }
}

/// Seconds since 1970, then nanoseconds.
pub(crate) fn put_time(time: Time, out: &mut Vec<u8>) {
    // Nothing earlier seals or opens.
    let since = time.duration_since(Time::unix_epoch()).unwrap_or_default();
    since.as_secs().encode(out);
    since.subsec_nanos().encode(out);
}

pub(crate) fn get_time(reader: &mut Reader<'_>) -> Result<Time, DecodeError> {
    let refused = || DecodeError::Value { what: "time" };
    let seconds = i64::try_from(u64::decode(reader)?).map_err(|_| refused())?;
    Time::from_unix_timestamp(seconds, u32::decode(reader)?).map_err(|_| refused())
}

/// 0; or 1 and the hash; or 2, the hash and the part set.
fn put_last_block(id: Option<BlockId>, out: &mut Vec<u8>) {
    let Some(id) = id else {
        return out.push(0);
    };
    out.push(if id.parts.is_some() { 2 } else { 1 });
    id.hash.encode(out);
    if let Some(parts) = id.parts {
        parts.encode(out);
    }
}

fn get_last_block(reader: &mut Reader<'_>) -> Result<Option<BlockId>, DecodeError> {
    match u8::decode(reader)? {
        0 => Ok(None),
        1 => Ok(Some(BlockId { hash: Hash::decode(reader)?, parts: None })),
        2 => Ok(Some(BlockId { hash: Hash::decode(reader)?, parts: Some(Parts::decode(reader)?) })),
        found => Err(DecodeError::Tag { what: "block id", found }),
    }
}

/// 0 for none, 1 for the root of an empty list, 2 and the root for any other.
fn put_root(root: Option<Hash>, out: &mut Vec<u8>) {
    match root {
        None => out.push(0),
        Some(EMPTY_LIST) => out.push(1),
        Some(root) => {
            out.push(2);
            root.encode(out);
        }
    }
}

fn get_root(reader: &mut Reader<'_>) -> Result<Option<Hash>, DecodeError> {
    match u8::decode(reader)? {
        0 => Ok(None),
        1 => Ok(Some(EMPTY_LIST)),
        2 => match Hash::decode(reader)? {
            EMPTY_LIST => Err(DecodeError::Value { what: "root (an empty list spelled out)" }),
            root => Ok(Some(root)),
        },
        found => Err(DecodeError::Tag { what: "root", found }),
    }
}
