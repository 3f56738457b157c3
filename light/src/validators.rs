//! A set of validators, checked once, so that everything behind it may rely on it.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tendermint::validator::{Info, Set};
use tendermint::vote::Power;
use types::{Decode, DecodeError, Encode, Hash, List, PublicKey, Reader};

use crate::Error;

/// How many validators a set may have.
pub const MAX_VALIDATORS: usize = 1024;

/// One validator: its consensus key and its voting power, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// The ed25519 key that signs its votes.
    pub public_key: PublicKey,
    /// Its voting power. A string in JSON, since a double does not hold every 64-bit number.
    #[serde(with = "number_text")]
    pub power: u64,
}
types::codec!(Validator { public_key, power });

/// A set of validators that a chain can have: 1 to [`MAX_VALIDATORS`] different ed25519 keys, in
/// CometBFT's order (power descending, then address), with a total power within its bound.
///
/// Bytes: a list of `public_key ‖ power` in that order. A set out of order is refused, so that a set
/// has one encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators(Set);

impl Validators {
    /// The set of `members`, in any order.
    ///
    /// # Errors
    /// [`Error::Validators`] when they are not a set that a chain can have.
    pub fn new(members: &[Validator]) -> Result<Self, Error> {
        if members.is_empty() || members.len() > MAX_VALIDATORS {
            return Err(Error::Validators("is empty or has more than 1024 members"));
        }
        let different: BTreeSet<_> = members.iter().map(|member| member.public_key).collect();
        if different.len() != members.len() {
            return Err(Error::Validators("names a key twice"));
        }
        let total = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.power));
        if total > Set::MAX_TOTAL_VOTING_POWER {
            return Err(Error::Validators("has more power than votes can count"));
        }
        members.iter().map(info).collect::<Result<_, _>>().map(Set::without_proposer).map(Self)
    }

    /// The set as the `tendermint` crate has it, without a proposer.
    #[must_use]
    pub const fn set(&self) -> &Set {
        &self.0
    }

    /// The members, in order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Validator> + '_ {
        // Every key came through `info`, which takes no other kind.
        self.0.validators().iter().map(|info| member(info).expect("a checked set holds ed25519 keys"))
    }

    /// The hash that headers name this set by (RFC 6962 tree over the encoded members).
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash(self.0.hash()).expect("the hash of a set is 32 bytes")
    }
}

impl TryFrom<&Set> for Validators {
    type Error = Error;

    /// Takes over keys and powers; the addresses must be those of the keys and the order CometBFT's.
    fn try_from(set: &Set) -> Result<Self, Error> {
        let members: Option<Vec<_>> = set.validators().iter().map(member).collect();
        let checked = Self::new(&members.ok_or(Error::Validators("has a key that is not ed25519"))?)?;
        let same = checked.0.validators().iter().zip(set.validators()).all(|(ours, theirs)| ours.address == theirs.address);
        if same { Ok(checked) } else { Err(Error::Validators("is out of order or names a wrong address")) }
    }
}

impl Encode for Validators {
    fn encode(&self, out: &mut Vec<u8>) {
        types::codec::put_number(self.0.validators().len() as u64, out);
        self.members().for_each(|member| member.encode(out));
    }
}

impl Decode for Validators {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let members = List::<Validator, MAX_VALIDATORS>::decode(reader)?;
        let checked = Self::new(&members)?;
        if checked.members().eq(members.iter().copied()) { Ok(checked) } else { Err(DecodeError::Value { what: "validator order" }) }
    }
}

impl Serialize for Validators {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.members())
    }
}

impl<'de> Deserialize<'de> for Validators {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = List::<Validator, MAX_VALIDATORS>::deserialize(deserializer)?;
        Self::new(&members).map_err(serde::de::Error::custom)
    }
}

/// The 32 bytes of a hash that must be there.
pub(crate) const fn hash(hash: tendermint::Hash) -> Option<Hash> {
    match hash {
        tendermint::Hash::Sha256(bytes) => Some(Hash(bytes)),
        tendermint::Hash::None => None,
    }
}

fn info(member: &Validator) -> Result<Info, Error> {
    let key = tendermint::PublicKey::from_raw_ed25519(&member.public_key.0).ok_or(Error::Validators("has a malformed key"))?;
    let power = Power::try_from(member.power).map_err(|_| Error::Validators("has more power than votes can count"))?;
    if power.is_zero() {
        return Err(Error::Validators("has a member without power"));
    }
    Ok(Info::new(key, power))
}

fn member(info: &Info) -> Option<Validator> {
    let bytes = info.pub_key.ed25519()?.as_bytes().try_into().ok()?;
    Some(Validator { public_key: PublicKey(bytes), power: info.power() })
}

mod number_text {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
