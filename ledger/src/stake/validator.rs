//! Validators: their records, and how one comes to be and is changed.

use tendermint::abci::Event;
use types::{Address, Amount, Blob, ChainId, Decode, DecodeError, Encode, Height, Millis, PublicKey, Reader, Signature, SigningKey, Text};

use super::error::Error;
use super::params::DAY_MS;
use super::position::Position;
use super::registry;
use super::rewards::Earned;
use crate::account;
use crate::block::{Block, event};
use crate::error::Refusal;
use crate::params::Params;
use crate::state::{State, key};

/// What stands before the bytes that a consensus key signs to become a validator's.
pub const CONTEXT: &[u8] = b"zynk.2026 validator v1";

/// All of something, in hundredths of a percent.
pub const WHOLE_BPS: u16 = 10_000;

/// What the state knows of a validator. At most some 300 bytes. A record is never removed: what left it may
/// still answer for it, and its key makes no second validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// The account that owns and directs it.
    pub operator: Address,
    /// The key that signs its votes.
    pub consensus_key: PublicKey,
    /// The libp2p peer id under which its node speaks on the consensus network, as multihash bytes.
    pub peer_id: Blob<64>,
    /// What people call it.
    pub moniker: Text<64>,
    /// The tokens bonded to it: its operator's and those of others.
    pub bonded: Amount,
    /// The shares in these tokens; each account's are in its delegation.
    pub shares: u64,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
    /// When the commission was last set.
    pub commission_set: Millis,
    /// What it has earned.
    pub earned: Earned,
    /// Whether it takes part.
    pub status: ValidatorStatus,
}
types::codec!(Validator { operator, consensus_key, peer_id, moniker, bonded, shares, commission_bps, commission_set, earned, status });

/// Whether a validator takes part in consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidatorStatus {
    /// As far as its stake carries it.
    Eligible,
    /// Out of the set, until its operator asks to come back.
    Jailed {
        /// The earliest time at which it may.
        until: Millis,
    },
    /// Out of the set for good, for having signed twice.
    Tombstoned {
        /// The height at which it did.
        offence: Height,
        /// The height at which it was punished.
        height: Height,
        /// The time at which it was punished.
        time: Millis,
        /// The part of its stake that it lost, in hundredths of a percent.
        slash_bps: u16,
    },
}

/// What an operator says of a new validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The key that will sign its votes.
    pub consensus_key: PublicKey,
    /// Its node's libp2p peer id, as multihash bytes.
    pub peer_id: Blob<64>,
    /// What people call it.
    pub moniker: Text<64>,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
    /// What the operator bonds to it.
    pub stake: Amount,
    /// The consensus key's signature: see [`Candidacy::proof_bytes`].
    pub proof: Signature,
}
types::codec!(Candidacy { consensus_key, peer_id, moniker, commission_bps, stake, proof });

/// What changes of a validator; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// What people call it.
    pub moniker: Option<Text<64>>,
    /// Its node's libp2p peer id.
    pub peer_id: Option<Blob<64>>,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: Option<u16>,
}
types::codec!(Edit { moniker, peer_id, commission_bps });

impl Validator {
    /// The validator's address: its consensus key's.
    #[must_use]
    pub fn address(&self) -> Address {
        self.consensus_key.address()
    }

    /// Whether it could validate, with enough stake.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.status == ValidatorStatus::Eligible && self.shares > 0
    }

    /// Its voting power: whole power units of its bonded stake, or none where it takes no part.
    #[must_use]
    pub const fn power(&self, params: &Params) -> u64 {
        match self.status {
            ValidatorStatus::Eligible => self.bonded.0 / params.power_unit.0,
            _ => 0,
        }
    }
}

impl Candidacy {
    /// The bytes that the consensus key signs: context, chain, operator, peer id. Without them anybody could
    /// make a validator of a key that is another's, and have its owner punished.
    #[must_use]
    pub fn proof_bytes(chain: &ChainId, operator: &Address, peer_id: &Blob<64>) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        chain.encode(&mut bytes);
        operator.encode(&mut bytes);
        peer_id.encode(&mut bytes);
        bytes
    }

    /// Signs with the consensus key.
    #[must_use]
    pub fn prove(self, chain: &ChainId, operator: &Address, key: &SigningKey) -> Self {
        let proof = key.sign(&Self::proof_bytes(chain, operator, &self.peer_id));
        Self { proof, ..self }
    }

    fn check(&self, chain: &ChainId, operator: &Address) -> Result<(), Error> {
        if !is_peer_id(&self.peer_id) {
            return Err(Error::BadPeer);
        }
        if self.commission_bps > WHOLE_BPS {
            return Err(Error::BadCommission(self.commission_bps));
        }
        let signed = self.consensus_key.verify(&Self::proof_bytes(chain, operator, &self.peer_id), &self.proof);
        if signed { Ok(()) } else { Err(Error::BadProof) }
    }
}

/// Reads a validator's record.
#[must_use]
pub fn read(state: &State<'_>, validator: &Address) -> Option<Validator> {
    state.read(&key::stake(validator))
}

pub(super) fn write(state: &mut State<'_>, validator: &Validator) {
    state.write(key::stake(&validator.address()), validator);
}

pub(super) fn claim_peer(state: &mut State<'_>, validator: &Validator) {
    state.write(key::peer(&validator.peer_id), &validator.address());
}

/// Makes a validator, with its operator's stake as the first delegation.
///
/// # Errors
/// [`Error`], and [`Refusal::InsufficientFunds`].
pub fn create(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    operator: &Address,
    candidacy: &Candidacy,
) -> Result<Event, Refusal> {
    candidacy.check(block.chain, operator)?;
    let address = candidacy.consensus_key.address();
    if read(state, &address).is_some() {
        return Err(Error::KeyTaken(address).into());
    }
    if state.read::<Address>(&key::peer(&candidacy.peer_id)).is_some() {
        return Err(Error::PeerTaken.into());
    }
    let record = Validator {
        operator: *operator,
        consensus_key: candidacy.consensus_key,
        peer_id: candidacy.peer_id.clone(),
        moniker: candidacy.moniker.clone(),
        bonded: Amount::ZERO,
        shares: 0,
        commission_bps: candidacy.commission_bps,
        commission_set: block.time,
        earned: Earned::default(),
        status: ValidatorStatus::Eligible,
    };
    claim_peer(state, &record);
    write(state, &record);
    let mut position = Position::open(state, block, operator, &address)?;
    let paid = position.join(params, candidacy.stake)?;
    account::debit(state, operator, "author", paid)?;
    position.close(state)?;
    Ok(event("create_validator", [("validator", address.to_string()), ("operator", operator.to_string()), ("amount", paid.0.to_string())]))
}

/// Changes what a validator says of itself.
///
/// # Errors
/// [`Error`].
pub fn edit(
    state: &mut State<'_>,
    params: &Params,
    block: Block<'_>,
    operator: &Address,
    at: &Address,
    edit: &Edit,
) -> Result<Event, Refusal> {
    let mut record = owned(state, operator, at)?;
    if let Some(moniker) = &edit.moniker {
        record.moniker = moniker.clone();
    }
    if let Some(peer_id) = edit.peer_id.as_ref().filter(|peer_id| **peer_id != record.peer_id) {
        if !is_peer_id(peer_id) {
            return Err(Error::BadPeer.into());
        }
        if state.read::<Address>(&key::peer(peer_id)).is_some() {
            return Err(Error::PeerTaken.into());
        }
        state.remove(key::peer(&record.peer_id));
        record.peer_id = peer_id.clone();
        claim_peer(state, &record);
    }
    if let Some(commission_bps) = edit.commission_bps.filter(|bps| *bps != record.commission_bps) {
        if commission_bps > WHOLE_BPS {
            return Err(Error::BadCommission(commission_bps).into());
        }
        let until = Millis(record.commission_set.0.saturating_add(DAY_MS));
        if block.time < until {
            return Err(Error::CommissionHeld { until }.into());
        }
        let (found, bound) = (commission_bps.abs_diff(record.commission_bps), params.stake.max_commission_change_bps);
        if found > bound {
            return Err(Error::CommissionStep { found, bound }.into());
        }
        record.commission_bps = commission_bps;
        record.commission_set = block.time;
    }
    write(state, &record);
    let commission = record.commission_bps.to_string();
    Ok(event("edit_validator", [("validator", at.to_string()), ("operator", operator.to_string()), ("commission_bps", commission)]))
}

/// Lets a validator back that was jailed.
///
/// # Errors
/// [`Error`].
pub fn unjail(state: &mut State<'_>, params: &Params, block: Block<'_>, operator: &Address, at: &Address) -> Result<Event, Refusal> {
    let mut record = owned(state, operator, at)?;
    match record.status {
        ValidatorStatus::Eligible => return Err(Error::NotJailed.into()),
        ValidatorStatus::Tombstoned { .. } => return Err(Error::Tombstoned.into()),
        ValidatorStatus::Jailed { until } if block.time < until => return Err(Error::StillJailed { until }.into()),
        ValidatorStatus::Jailed { .. } => record.status = ValidatorStatus::Eligible,
    }
    let held = super::delegation::read(state, operator, at).map_or(0, |delegation| delegation.shares);
    let (found, needed) = (record.worth(held), params.stake.min_self_stake);
    if found < needed {
        return Err(Error::SelfStakeTooLow { found, needed }.into());
    }
    registry::add(state, &record, block.time)?;
    write(state, &record);
    Ok(event("unjail", [("validator", at.to_string()), ("operator", operator.to_string())]))
}

fn owned(state: &State<'_>, operator: &Address, at: &Address) -> Result<Validator, Error> {
    let record = read(state, at).ok_or(Error::UnknownValidator(*at))?;
    if record.operator == *operator { Ok(record) } else { Err(Error::NotOperator) }
}

/// Whether these are the multihash bytes of a usable ed25519 key's peer id. Source: libp2p `peer-ids.md`.
fn is_peer_id(bytes: &[u8]) -> bool {
    let key = bytes.strip_prefix(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]).and_then(|key| key.try_into().ok());
    key.is_some_and(|key| PublicKey(key).is_usable())
}

impl Encode for ValidatorStatus {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Eligible => out.push(0),
            Self::Jailed { until } => {
                out.push(1);
                until.encode(out);
            }
            Self::Tombstoned { offence, height, time, slash_bps } => {
                out.push(2);
                offence.encode(out);
                height.encode(out);
                time.encode(out);
                slash_bps.encode(out);
            }
        }
    }
}

impl Decode for ValidatorStatus {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Eligible,
            1 => Self::Jailed { until: Decode::decode(reader)? },
            2 => Self::Tombstoned {
                offence: Decode::decode(reader)?,
                height: Decode::decode(reader)?,
                time: Decode::decode(reader)?,
                slash_bps: Decode::decode(reader)?,
            },
            found => return Err(DecodeError::Tag { what: "validator status", found }),
        })
    }
}
