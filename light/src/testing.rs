//! A small chain and a small state tree, for tests: of this crate, and of others through the feature
//! `testing`. Keys come from one-byte seeds, so nothing here protects anything.
//!
//! It panics where a test's table is wrong.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{self, Commit, CommitSig, Header, header, parts};
use tendermint::vote::{self, Vote};
use tendermint::{AppHash, Signature, Time};
use types::{Address, ChainId, Hash, Height, SigningKey};

use crate::{Handoff, StateProof, Trust, Validator, Validators};

/// The key of a seed.
#[must_use]
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// The validators of these seeds, with power 10 each.
///
/// # Panics
/// When the seeds are no set.
#[must_use]
pub fn validators(seeds: &[u8]) -> Validators {
    let members: Vec<_> = seeds.iter().map(|seed| Validator { public_key: key(*seed).public(), power: 10 }).collect();
    Validators::new(&members).expect("the seeds are different")
}

/// What a validator does in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballot {
    /// Votes for the block.
    Commit,
    /// Votes for no block.
    Nil,
    /// Does not vote.
    Absent,
}

/// How a commit is made.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// Whether timestamps vary and blocks have parts, as with CometBFT.
    pub cometbft: bool,
    /// The round.
    pub round: u32,
    /// What the validators do, in the set's order; beyond its end they commit.
    pub ballots: &'a [Ballot],
}

impl Manner<'_> {
    /// The embedded engine, everybody voting in round 0.
    pub const EMBEDDED: Self = Self { cometbft: false, round: 0, ballots: &[] };
    /// CometBFT, everybody voting in round 1.
    pub const COMETBFT: Self = Self { cometbft: true, round: 1, ballots: &[] };
}

/// A chain whose validators all are keys of seeds.
#[derive(Debug, Clone)]
pub struct Chain {
    id: ChainId,
    start: Time,
}

impl Chain {
    /// A chain of this name. Height h has the time of genesis and h seconds.
    ///
    /// # Panics
    /// When the name is none.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let start = Time::from_unix_timestamp(1_790_000_000, 0).expect("a time");
        Self { id: name.parse().expect("a chain id"), start }
    }

    /// The chain's id.
    #[must_use]
    pub const fn id(&self) -> &ChainId {
        &self.id
    }

    /// The time of a height; of the genesis for 0.
    ///
    /// # Panics
    /// When it is beyond the year 9999.
    #[must_use]
    pub fn time(&self, height: u64) -> Time {
        self.start.checked_add(Duration::from_secs(height)).expect("a time")
    }

    /// Trust in the genesis with these validators.
    #[must_use]
    pub fn genesis(&self, validators: &Validators) -> Trust {
        Trust::genesis(self.id.clone(), self.start, validators.clone())
    }

    /// A header, to be bent and signed.
    ///
    /// # Panics
    /// When the height is no block's.
    #[must_use]
    pub fn header(&self, height: u64, app_hash: Hash, validators: &Validators, next: &Validators) -> Header {
        let empty = tendermint::Hash::Sha256(Hash::sha256(&[]).0);
        let before = tendermint::Hash::Sha256(Hash::sha256(&[b"block", &height.to_be_bytes()]).0);
        let last_block_id = block::Id { hash: before, part_set_header: parts::Header::new(1, before).expect("a part set") };
        Header {
            version: header::Version { block: 11, app: 1 },
            chain_id: (&self.id).into(),
            height: Height(height).try_into().expect("a height"),
            time: self.time(height),
            last_block_id: (height > 1).then_some(last_block_id),
            last_commit_hash: Some(if height > 1 { tendermint::Hash::Sha256([2; 32]) } else { empty }),
            data_hash: Some(tendermint::Hash::Sha256([3; 32])),
            validators_hash: validators.set().hash(),
            next_validators_hash: next.set().hash(),
            consensus_hash: tendermint::Hash::Sha256([4; 32]),
            app_hash: AppHash::try_from(app_hash.0.to_vec()).expect("a hash"),
            last_results_hash: Some(empty),
            evidence_hash: Some(empty),
            proposer_address: validators.set().validators()[0].address,
        }
    }

    /// A header signed by everybody, as the embedded engine does.
    #[must_use]
    pub fn block(&self, height: u64, app_hash: Hash, validators: &Validators, next: &Validators) -> SignedHeader {
        self.sign(self.header(height, app_hash, validators, next), validators, Manner::EMBEDDED)
    }

    /// The hand-off from one set to the next at a height.
    ///
    /// # Panics
    /// When the height is no block's.
    #[must_use]
    pub fn handoff(&self, height: u64, validators: &Validators, next: &Validators) -> Handoff {
        Handoff::new(&self.block(height, Hash::ZERO, validators, next), next).expect("the header names the next set")
    }

    /// Signs a header, whatever it says.
    ///
    /// # Panics
    /// When a validator is not of a seed.
    #[must_use]
    pub fn sign(&self, header: Header, validators: &Validators, manner: Manner<'_>) -> SignedHeader {
        let (hash, height, time) = (header.hash(), header.height, header.time);
        let (total, root) = if manner.cometbft { (2, tendermint::Hash::Sha256([9; 32])) } else { (1, hash) };
        let block_id = block::Id { hash, part_set_header: parts::Header::new(total, root).expect("a part set") };
        let vote = Vote {
            vote_type: vote::Type::Precommit,
            height,
            round: manner.round.try_into().expect("a round"),
            block_id: Some(block_id),
            timestamp: Some(crate::sealed::embedded_time()),
            validator_address: header.proposer_address,
            validator_index: 0u32.try_into().expect("an index"),
            signature: None,
            extension: Vec::new(),
            extension_signature: None,
        };
        let entry = |(index, validator): (usize, &tendermint::validator::Info)| {
            let late = Duration::from_millis(7 * (index as u64 + 1));
            let timestamp = if manner.cometbft { time.checked_add(late).expect("a time") } else { crate::sealed::embedded_time() };
            let vote = Vote { timestamp: Some(timestamp), validator_address: validator.address, ..vote.clone() };
            cast(vote, &header, manner.ballots.get(index).copied().unwrap_or(Ballot::Commit))
        };
        let signatures = validators.set().validators().iter().enumerate().map(entry).collect();
        let commit = Commit { height, round: vote.round, block_id, signatures };
        SignedHeader::new(header, commit).expect("one height")
    }
}

fn cast(mut vote: Vote, header: &Header, ballot: Ballot) -> CommitSig {
    if ballot == Ballot::Nil {
        vote.block_id = None;
    }
    let (validator_address, timestamp) = (vote.validator_address, vote.timestamp.expect("every vote has one"));
    let bytes = ring()[&Address::from(validator_address)].sign(&vote.into_signable_vec(header.chain_id.clone())).0;
    let signature = Some(Signature::try_from(bytes.as_slice()).expect("64 bytes"));
    match ballot {
        Ballot::Absent => CommitSig::BlockIdFlagAbsent,
        Ballot::Commit => CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature },
        Ballot::Nil => CommitSig::BlockIdFlagNil { validator_address, timestamp, signature },
    }
}

/// The keys of all seeds by their addresses.
fn ring() -> &'static BTreeMap<Address, SigningKey> {
    static RING: OnceLock<BTreeMap<Address, SigningKey>> = OnceLock::new();
    RING.get_or_init(|| (0..=u8::MAX).map(key).map(|key| (key.public().address(), key)).collect())
}

/// A state: entries under one root, with the same hashes as the node's tree.
#[derive(Debug, Clone, Default)]
pub struct State {
    entries: BTreeMap<Hash, (Hash, Vec<u8>)>,
}

impl State {
    /// Sets an entry.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        let place = Hash::sha256(&[key]);
        let leaf = Hash::sha256(&[b"JMT::LeafNode", &place.0, &Hash::sha256(&[value]).0]);
        self.entries.insert(place, (leaf, value.to_vec()));
    }

    /// The root, which is the application hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        root(&self.leaves(), 0)
    }

    /// The proof of an entry.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn prove(&self, key: &[u8]) -> StateProof {
        let place = Hash::sha256(&[key]);
        let (_, value) = &self.entries[&place];
        let (leaves, mut path) = (self.leaves(), Vec::new());
        let mut rest = leaves.as_slice();
        for depth in 0..256 {
            if rest.len() == 1 {
                break;
            }
            let (left, right) = split(rest, depth);
            let (on, off) = if right.first().is_some_and(|first| first.0 <= place) { (right, left) } else { (left, right) };
            path.push(root(off, depth + 1));
            rest = on;
        }
        path.reverse();
        StateProof::Present { value: value.clone().try_into().expect("a small value"), path: path.try_into().expect("256 at most") }
    }

    fn leaves(&self) -> Vec<Leaf> {
        self.entries.iter().map(|(place, (leaf, _))| (*place, *leaf)).collect()
    }
}

/// Where a leaf stands, and its hash.
type Leaf = (Hash, Hash);

fn root(leaves: &[Leaf], depth: usize) -> Hash {
    match leaves {
        [] => Hash(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__"),
        [(_, leaf)] => *leaf,
        _ => {
            let (left, right) = split(leaves, depth);
            Hash::sha256(&[b"JMT::IntrnalNode", &root(left, depth + 1).0, &root(right, depth + 1).0])
        }
    }
}

/// The leaves whose bit at this depth is 0, and those whose bit is 1.
fn split(leaves: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.partition_point(|(place, _)| place.0[depth / 8] >> (7 - depth % 8) & 1 == 0))
}
