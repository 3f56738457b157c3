//! Our types in the engine's terms.

use std::fmt;
use std::sync::Arc;

use malachite::app::types::core as mc;
use mc::{NilOrVal, Round, SignedExtension, VoteType};
use tendermint::account;
use types::{Hash, PublicKey, Signature};

use crate::validators::ValidatorSet;

macro_rules! displayed {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A validator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub account::Id);
displayed!(Address);
impl mc::Address for Address {}

/// A block's header hash, by which votes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub Hash);
displayed!(BlockHash);

impl mc::Value for BlockHash {
    type Id = Self;
    fn id(&self) -> Self {
        *self
    }
}

/// A height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u64);
displayed!(Height);

impl mc::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);
    fn increment_by(&self, n: u64) -> Self {
        Self(self.0 + n)
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl From<tendermint::block::Height> for Height {
    fn from(height: tendermint::block::Height) -> Self {
        Self(height.value())
    }
}

impl Height {
    /// The height as the `tendermint` crate has it.
    ///
    /// # Panics
    /// At 2^63 and above; the codec lets none in and no chain reaches it.
    #[must_use]
    pub fn to_tendermint(self) -> tendermint::block::Height {
        self.0.try_into().expect("heights are below 2^63")
    }
}

/// A piece of a proposed block on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Goes first: what is coming, signed by the proposer.
    Init(Box<super::parts::Init>),
    /// A piece of the block's bytes.
    Data(bytes::Bytes),
}

impl mc::ProposalPart<Zynk> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Init(_))
    }
    fn is_last(&self) -> bool {
        // The stream's own end marks the last; no part carries it.
        false
    }
}

/// A proposal: a block's hash at a height and round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The block's hash.
    pub value: BlockHash,
    /// The round in which it had a quorum of prevotes before.
    pub pol_round: Round,
    /// Who proposes.
    pub proposer: Address,
}

impl mc::Proposal<Zynk> for Proposal {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &BlockHash {
        &self.value
    }
    fn take_value(self) -> BlockHash {
        self.value
    }
    fn pol_round(&self) -> Round {
        self.pol_round
    }
    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// A prevote or precommit. Vote extensions are not used: a vote carries none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Which of the two.
    pub kind: VoteType,
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The block's hash, or nil.
    pub value: NilOrVal<BlockHash>,
    /// Who votes.
    pub voter: Address,
    /// Held because the engine's interface demands it; never sent.
    pub extension: Option<SignedExtension<Zynk>>,
}

impl mc::Vote<Zynk> for Vote {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &NilOrVal<BlockHash> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<BlockHash> {
        self.value
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Address {
        &self.voter
    }
    fn extension(&self) -> Option<&SignedExtension<Zynk>> {
        self.extension.as_ref()
    }
    fn take_extension(&mut self) -> Option<SignedExtension<Zynk>> {
        self.extension.take()
    }
    fn extend(mut self, extension: SignedExtension<Zynk>) -> Self {
        self.extension = Some(extension);
        self
    }
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    address: Address,
    key: ConsensusKey,
    power: u64,
}

impl mc::Validator<Zynk> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }
    fn public_key(&self) -> &ConsensusKey {
        &self.key
    }
    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// The validators of a height, with the priorities that decide who proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    list: Arc<[Validator]>,
    set: Arc<ValidatorSet>,
}

impl Validators {
    /// The set that they were made of.
    #[must_use]
    pub fn set(&self) -> &ValidatorSet {
        &self.set
    }
}

impl From<&ValidatorSet> for Validators {
    fn from(set: &ValidatorSet) -> Self {
        let validator = |validator: &crate::validators::Validator| Validator {
            address: Address(validator.address()),
            key: ConsensusKey(PublicKey(validator.key.to_bytes().try_into().expect("consensus keys are Ed25519"))),
            power: validator.power,
        };
        Self { list: set.as_slice().iter().map(validator).collect(), set: Arc::new(set.clone()) }
    }
}

impl mc::ValidatorSet<Zynk> for Validators {
    fn count(&self) -> usize {
        self.list.len()
    }
    fn total_voting_power(&self) -> u64 {
        self.set.total_power()
    }
    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.list.iter().find(|validator| validator.address == *address)
    }
    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.list.get(index)
    }
}

/// A key that signs votes. Checked by ZIP-215, as the published light client checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusKey(pub PublicKey);

/// A signature by a consensus key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsensusSignature(pub Signature);

/// Ed25519 with our own types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ed25519;

impl mc::SigningScheme for Ed25519 {
    type DecodingError = types::DecodeError;
    type Signature = ConsensusSignature;
    type PublicKey = ConsensusKey;
    type PrivateKey = types::SigningKey;

    fn decode_signature(bytes: &[u8]) -> Result<ConsensusSignature, types::DecodeError> {
        types::Decode::from_bytes(bytes).map(ConsensusSignature)
    }
    fn encode_signature(signature: &ConsensusSignature) -> Vec<u8> {
        signature.0.0.to_vec()
    }
    fn decode_public_key(bytes: &[u8]) -> Result<ConsensusKey, types::DecodeError> {
        types::Decode::from_bytes(bytes).map(ConsensusKey)
    }
    fn encode_public_key(key: &ConsensusKey) -> Vec<u8> {
        key.0.0.to_vec()
    }
}

/// The engine's context: this chain's types.
#[derive(Clone, Copy, Debug)]
pub struct Zynk;

impl mc::Context for Zynk {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = mc::LinearTimeouts;
    type Value = BlockHash;
    type Vote = Vote;
    type Extension = bytes::Bytes;
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, validators: &'a Validators, _height: Height, round: Round) -> &'a Validator {
        let chosen = validators.set.proposer(round.as_u32().unwrap_or(0)).address();
        let place = validators.list.iter().position(|validator| validator.address.0 == chosen);
        &validators.list[place.expect("who is chosen is in the set")]
    }

    fn new_proposal(&self, height: Height, round: Round, value: BlockHash, pol_round: Round, proposer: Address) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockHash>, voter: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter, extension: None }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockHash>, voter: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter, extension: None }
    }
}
