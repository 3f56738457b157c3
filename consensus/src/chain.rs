//! Building and checking blocks: what a header must say, given the chain before it.
//!
//! Source of every hash: CometBFT 0.38, `spec/core/data_structures.md`. The format's page is
//! `docs/spec/blocks.md`.

use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tendermint::abci::request;
use tendermint::abci::response::FinalizeBlock;
use tendermint::abci::types::{BlockSignatureInfo, CommitInfo, ExecTxResult, Validator as AbciValidator, VoteInfo};
use tendermint::block::header::{Header, Version};
use tendermint::block::{Block, Commit, CommitSig, Height, Id, Round};
use tendermint::evidence::List;
use tendermint::merkle::simple_hash_from_byte_vectors;
use tendermint::{AppHash, Hash, Time, account, chain, consensus};
use tendermint_proto::v0_38 as pb;

use crate::commit::{block_id, signature_holds, vote_bytes};
use crate::evidence::bytes::{block_to_proto, list_hash};
use crate::evidence::{self, BadEvidence, History};
use crate::validators::{BadUpdate, ValidatorSet};

/// The version of the block format: CometBFT 0.38's.
pub const BLOCK_VERSION: u64 = 11;

/// How far a fresh proposal's time may be ahead of a validator's clock, in milliseconds.
pub const MAX_AHEAD_MS: i128 = 5_000;

/// The chain after some block, as far as the next one depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// The chain's name.
    pub chain_id: chain::Id,
    /// The height of the first block.
    pub initial_height: Height,
    /// The last block's height and id; none before the first.
    pub last_block: Option<(Height, Id)>,
    /// The last block's time; the genesis time before the first.
    pub last_time: Time,
    /// The set that committed the last block; none before the first.
    pub last_validators: Option<ValidatorSet>,
    /// The set of the next height.
    pub validators: ValidatorSet,
    /// The set of the height after the next.
    pub next_validators: ValidatorSet,
    /// The consensus parameters.
    pub params: consensus::Params,
    /// The application's version.
    pub app_version: u64,
    /// The application hash after the last block.
    #[serde(with = "tendermint::serializers::apphash")]
    pub app_hash: AppHash,
    /// The hash of the last block's results.
    pub last_results_hash: Hash,
}

/// Why a block does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// A field of the header is not what the chain before it demands.
    #[error("the header's {field} is not what the chain before it demands")]
    Header {
        /// The field.
        field: &'static str,
    },
    /// The block's bytes are no block, or not its canonical bytes.
    #[error("the bytes are no block: {0}")]
    Malformed(String),
    /// The block is above the bound.
    #[error("the block has {found} bytes, at most {bound} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// The commit it carries does not prove the block before it.
    #[error("the last commit {0}")]
    LastCommit(&'static str),
    /// It carries evidence that does not count.
    #[error(transparent)]
    Evidence(#[from] BadEvidence),
    /// Its time is not after the last block's.
    #[error("the block's time {found} is not after the last block's {last}")]
    NotLater {
        /// Its time.
        found: Time,
        /// The last block's.
        last: Time,
    },
    /// Its time is too far ahead of this validator's clock.
    #[error("the block's time {found} is more than 5 s ahead of this clock's {now}")]
    Ahead {
        /// Its time.
        found: Time,
        /// This validator's clock.
        now: Time,
    },
}

/// Whether a block has the transactions, evidence and last commit that its header names.
#[must_use]
pub fn is_whole(block: &Block) -> bool {
    let header = &block.header;
    header.data_hash == Some(data_hash(&block.data))
        && header.evidence_hash == Some(list_hash(&block.evidence))
        && header.last_commit_hash == Some(commit_hash(block.last_commit.as_ref()))
}

impl ChainState {
    /// The height of the next block.
    ///
    /// # Panics
    /// At height 2^63, which no chain reaches.
    #[must_use]
    pub fn next_height(&self) -> Height {
        self.last_block.map_or(self.initial_height, |(height, _)| height.increment())
    }

    /// The last block's height; 0 before the first.
    #[must_use]
    pub fn tip(&self) -> Height {
        self.last_block.map_or_else(|| Height::from(0u32), |(height, _)| height)
    }

    /// Builds the next block, without evidence.
    #[must_use]
    pub fn build(&self, proposer: account::Id, now: Time, transactions: Vec<Vec<u8>>, last_commit: Option<Commit>) -> Block {
        self.build_with(List::default(), proposer, now, transactions, last_commit)
    }

    /// Builds the next block with this evidence in it.
    #[must_use]
    pub fn build_with(
        &self,
        evidence: List,
        proposer: account::Id,
        now: Time,
        transactions: Vec<Vec<u8>>,
        last_commit: Option<Commit>,
    ) -> Block {
        let header = Header {
            version: Version { block: BLOCK_VERSION, app: self.app_version },
            chain_id: self.chain_id.clone(),
            height: self.next_height(),
            time: later(self.last_time, now),
            last_block_id: self.last_block.map(|(_, id)| id),
            last_commit_hash: Some(commit_hash(last_commit.as_ref())),
            data_hash: Some(data_hash(&transactions)),
            validators_hash: self.validators.hash(),
            next_validators_hash: self.next_validators.hash(),
            consensus_hash: params_hash(&self.params),
            app_hash: self.app_hash.clone(),
            last_results_hash: Some(self.last_results_hash),
            evidence_hash: Some(list_hash(&evidence)),
            proposer_address: proposer,
        };
        Block::new(header, transactions, evidence, last_commit)
    }

    /// Checks that `block` follows; its evidence is held against `history`, the blocks before it. Who may
    /// propose it, and its time against a clock, are not asked here.
    ///
    /// # Errors
    /// [`BadBlock`].
    pub fn check(&self, block: &Block, history: &impl History) -> Result<(), BadBlock> {
        if block.header.time <= self.last_time {
            return Err(BadBlock::NotLater { found: block.header.time, last: self.last_time });
        }
        if self.validators.by_address(block.header.proposer_address).is_none() {
            return Err(BadBlock::Header { field: "proposer address" });
        }
        let (proposer, time) = (block.header.proposer_address, block.header.time);
        let expected = self.build_with(block.evidence.clone(), proposer, time, block.data.clone(), block.last_commit.clone()).header;
        let (found, field) = (&block.header, |field| Err(BadBlock::Header { field }));
        match () {
            () if found.version != expected.version => field("version"),
            () if found.chain_id != expected.chain_id => field("chain id"),
            () if found.height != expected.height => field("height"),
            () if found.last_block_id != expected.last_block_id => field("last block id"),
            () if found.validators_hash != expected.validators_hash => field("validators hash"),
            () if found.next_validators_hash != expected.next_validators_hash => field("next validators hash"),
            () if found.app_hash != expected.app_hash => field("application hash"),
            () if *found != expected => field("hashes of content, parameters or results"),
            () => {
                self.check_last_commit(block.last_commit.as_ref())?;
                Ok(evidence::check(&block.evidence, self, history)?)
            }
        }
    }

    /// Checks a fresh proposal's time against this validator's clock. Never asked of a block that
    /// is proposed again or synced: it was judged when it was fresh.
    ///
    /// # Errors
    /// [`BadBlock::Ahead`].
    pub fn check_fresh(block: &Block, now: Time) -> Result<(), BadBlock> {
        let ahead = block.header.time.unix_timestamp_nanos() - now.unix_timestamp_nanos();
        if ahead > MAX_AHEAD_MS * 1_000_000 {
            return Err(BadBlock::Ahead { found: block.header.time, now });
        }
        Ok(())
    }

    /// The chain after `block`, of which `outcome` came.
    ///
    /// # Errors
    /// [`BadUpdate`] if the application changes the validators as they cannot be.
    pub fn after(&self, block: &Block, outcome: &FinalizeBlock) -> Result<Self, BadUpdate> {
        self.after_height(block.header.height, block.header.hash(), block.header.time, outcome)
    }

    /// The chain after a block of which its height, hash and time are known, and no more: under an engine that keeps
    /// the blocks to itself.
    ///
    /// # Errors
    /// [`BadUpdate`] if the application changes the validators as they cannot be.
    pub fn after_height(&self, height: Height, hash: Hash, time: Time, outcome: &FinalizeBlock) -> Result<Self, BadUpdate> {
        let updates = outcome.validator_updates.iter().map(|update| (update.pub_key, update.power.value()));
        let params = outcome.consensus_param_updates.clone().unwrap_or_else(|| self.params.clone());
        Ok(Self {
            chain_id: self.chain_id.clone(),
            initial_height: self.initial_height,
            last_block: Some((height, block_id(hash))),
            last_time: time,
            last_validators: Some(self.validators.clone()),
            validators: self.next_validators.clone(),
            next_validators: self.next_validators.next(updates)?,
            app_version: params.version.as_ref().map_or(self.app_version, |version| version.app),
            params,
            app_hash: outcome.app_hash.clone(),
            last_results_hash: results_hash(&outcome.tx_results),
        })
    }

    /// What the application is told of the next block when it is decided.
    #[must_use]
    pub fn to_finalize(&self, block: &Block) -> request::FinalizeBlock {
        request::FinalizeBlock {
            txs: block.data.iter().cloned().map(Into::into).collect(),
            decided_last_commit: self.commit_info(block.last_commit.as_ref()),
            misbehavior: evidence::misbehavior(&block.evidence),
            hash: block.header.hash(),
            height: block.header.height,
            time: block.header.time,
            next_validators_hash: block.header.next_validators_hash,
            proposer_address: block.header.proposer_address,
        }
    }

    /// What the application is told of the last block's commit.
    #[must_use]
    pub fn commit_info(&self, last_commit: Option<&Commit>) -> CommitInfo {
        let Some((commit, set)) = last_commit.zip(self.last_validators.as_ref()) else {
            return CommitInfo { round: Round::default(), votes: Vec::new() };
        };
        let vote = |(validator, sig): (&crate::validators::Validator, &CommitSig)| VoteInfo {
            validator: AbciValidator {
                address: validator.address().as_bytes().try_into().expect("an address has 20 bytes"),
                power: validator.power.try_into().expect("powers are bounded by 2^60"),
            },
            sig_info: BlockSignatureInfo::Flag(match sig {
                CommitSig::BlockIdFlagAbsent => tendermint::block::BlockIdFlag::Absent,
                CommitSig::BlockIdFlagCommit { .. } => tendermint::block::BlockIdFlag::Commit,
                CommitSig::BlockIdFlagNil { .. } => tendermint::block::BlockIdFlag::Nil,
            }),
        };
        CommitInfo { round: commit.round, votes: set.as_slice().iter().zip(&commit.signatures).map(vote).collect() }
    }

    fn check_last_commit(&self, commit: Option<&Commit>) -> Result<(), BadBlock> {
        let (Some(commit), Some((height, id)), Some(set)) = (commit, self.last_block, &self.last_validators) else {
            let both_absent = commit.is_none() && self.last_block.is_none();
            return if both_absent { Ok(()) } else { Err(BadBlock::LastCommit("is missing, or is there at the first height")) };
        };
        if commit.height != height || commit.block_id != id {
            return Err(BadBlock::LastCommit("is for another block"));
        }
        self.check_commit(commit, set)
    }

    /// Whether a commit could be that of the next block, which is not here yet: the validators of its height have signed it.
    #[must_use]
    pub fn may_be_next(&self, commit: Option<&Commit>) -> bool {
        commit.is_some_and(|commit| commit.height == self.next_height() && self.check_commit(commit, &self.validators).is_ok())
    }

    /// Whether a quorum of `set` has signed the commit, and every entry of it holds.
    fn check_commit(&self, commit: &Commit, set: &ValidatorSet) -> Result<(), BadBlock> {
        if commit.signatures.len() != set.as_slice().len() {
            return Err(BadBlock::LastCommit("has not one entry a validator"));
        }
        let bytes = vote_bytes(&self.chain_id, tendermint::vote::Type::Precommit, commit.height, commit.round, Some(commit.block_id));
        let mut signed = 0u64;
        for (validator, entry) in set.as_slice().iter().zip(&commit.signatures) {
            let CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature: Some(signature) } = entry else {
                if entry.is_absent() {
                    continue;
                }
                return Err(BadBlock::LastCommit("has an entry that is neither a signature nor absent"));
            };
            let whose = *validator_address == validator.address() && *timestamp == crate::commit::vote_time();
            if !whose || !signature_holds(validator.key, &bytes, signature) {
                return Err(BadBlock::LastCommit("has a signature that does not hold"));
            }
            signed += validator.power;
        }
        let quorum = u128::from(signed) * 3 > u128::from(set.total_power()) * 2;
        if quorum { Ok(()) } else { Err(BadBlock::LastCommit("has no quorum")) }
    }
}

/// A block's canonical bytes: CometBFT's protobuf.
#[must_use]
pub fn encode(block: &Block) -> Vec<u8> {
    use prost::Message as _;
    block_to_proto(block).encode_to_vec()
}

/// Reads a block of at most `bound` bytes.
///
/// # Errors
/// [`BadBlock::TooLarge`] and [`BadBlock::Malformed`]; bytes that are not canonical are malformed.
pub fn decode(bytes: &[u8], bound: usize) -> Result<Block, BadBlock> {
    use prost::Message as _;
    if bytes.len() > bound {
        return Err(BadBlock::TooLarge { found: bytes.len(), bound });
    }
    let raw = pb::types::Block::decode(bytes).map_err(|error| BadBlock::Malformed(error.to_string()))?;
    let block = Block::try_from(raw).map_err(|error| BadBlock::Malformed(error.to_string()))?;
    if encode(&block) != bytes {
        return Err(BadBlock::Malformed("the bytes are not the canonical ones".to_owned()));
    }
    Ok(block)
}

/// The hash of a block's transactions: a tree over their SHA-256.
#[must_use]
pub fn data_hash(transactions: &[Vec<u8>]) -> Hash {
    let hashes: Vec<[u8; 32]> = transactions.iter().map(|transaction| types::Hash::sha256(&[transaction]).0).collect();
    tree(&hashes)
}

/// The hash of a commit: a tree over its entries; of no commit, the empty tree's.
#[must_use]
pub fn commit_hash(commit: Option<&Commit>) -> Hash {
    use prost::Message as _;
    let entries = commit.map(|commit| commit.signatures.clone()).unwrap_or_default();
    tree(&entries.into_iter().map(|entry| pb::types::CommitSig::from(entry).encode_to_vec()).collect::<Vec<_>>())
}

/// The hash of a block's results: a tree over their deterministic parts (code, data, gas).
#[must_use]
pub fn results_hash(results: &[ExecTxResult]) -> Hash {
    use prost::Message as _;
    let deterministic = |result: &ExecTxResult| pb::abci::ExecTxResult {
        code: result.code.into(),
        data: result.data.clone(),
        gas_wanted: result.gas_wanted,
        gas_used: result.gas_used,
        ..Default::default()
    };
    tree(&results.iter().map(|result| deterministic(result).encode_to_vec()).collect::<Vec<_>>())
}

/// The hash of the consensus parameters that headers carry.
#[must_use]
pub fn params_hash(params: &consensus::Params) -> Hash {
    use prost::Message as _;
    let hashed = pb::types::HashedParams {
        block_max_bytes: i64::try_from(params.block.max_bytes).unwrap_or(i64::MAX),
        block_max_gas: params.block.max_gas,
    };
    Hash::Sha256(types::Hash::sha256(&[&hashed.encode_to_vec()]).0)
}

fn tree(entries: &[impl AsRef<[u8]>]) -> Hash {
    Hash::Sha256(simple_hash_from_byte_vectors::<Sha256>(entries))
}

/// The time of a block proposed at `now`: in whole milliseconds, and after the last block's.
fn later(last: Time, now: Time) -> Time {
    let millis = |time: Time| time.unix_timestamp_nanos().div_euclid(1_000_000);
    let chosen = millis(now).max(millis(last) + 1);
    let (seconds, rest) = (chosen.div_euclid(1000), chosen.rem_euclid(1000));
    let seconds = i64::try_from(seconds).expect("a time within tendermint's range");
    let nanos = u32::try_from(rest).expect("below 1000") * 1_000_000;
    Time::from_unix_timestamp(seconds, nanos).expect("a time within tendermint's range")
}

#[cfg(test)]
pub(crate) mod tests;
