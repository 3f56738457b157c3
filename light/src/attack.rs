//! Attacks on light clients: a block that enough validators signed for somebody to believe it, and
//! that is not the chain's. Whoever holds the chain judges here whether it is one, and whose doing.
//!
//! There are three ways to make one (CometBFT 0.38, `spec/light-client/accountability`), told apart by
//! the fields of a header that follow from the blocks before it:
//!
//! - [`Kind::Lunatic`]: these fields are invented. Guilty is who signed, of the validators at the last
//!   height that both histories have: more than a third of them must have, since less deceives nobody.
//! - [`Kind::Equivocation`]: they are right, and both blocks were signed in one round. Guilty is who
//!   signed both.
//! - [`Kind::Amnesia`]: they are right, and the rounds differ. Somebody forgot what they had locked, but
//!   the two commits do not tell who, so nobody is accused.
//!
//! [`crate::fork`] makes the evidence. [`verify`] is `types/evidence.go` (`ValidateBasic`) and
//! `evidence/verify.go` (`VerifyLightClientAttack`), and stricter in three things: every vote in the
//! commit must be real, those for no block too, as everywhere here; an attack has one common height,
//! that which [`crate::fork`] gives it; and a block above the chain counts as lunatic, whatever it says.

use tendermint::Time;
use tendermint::block::Header;
use tendermint::block::signed_header::SignedHeader;
use tendermint::evidence::LightClientAttackEvidence;
use tendermint::validator::Info;
use types::{Address, ChainId, Hash, Height};

use crate::{Error, Trust, Validators, validators};

/// How a false block was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By inventing what follows from the blocks before.
    Lunatic,
    /// By signing two blocks in one round.
    Equivocation,
    /// By signing a block in another round than the chain's.
    Amnesia,
}

/// The chain's own block of the height up to which both histories are one.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The validators that signed it.
    pub validators: &'a Validators,
}

/// What the chain itself has at the height of the false block.
#[derive(Debug, Clone, Copy)]
pub enum Ours<'a> {
    /// Its block. Nodes that must come to one judgement take the commit that stands in the block
    /// after it.
    Block(&'a SignedHeader),
    /// Nothing yet: its newest header.
    Tip(&'a Header),
}

/// Why something is no evidence of an attack. [`BadAttack::code`] is stable; `docs/spec/light.md` lists
/// the codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAttack {
    /// Nobody would have believed the block: the rule of [`Trust::accept`] that it breaks, by the
    /// validators that it comes with.
    #[error("the conflicting block is none: {0}")]
    Block(#[from] Error),
    /// The common height is none that a block has, or lies above the conflicting block.
    #[error("common height {common} is not at or below the conflicting block's height {conflicting}, or is 0")]
    Heights {
        /// The common height.
        common: Height,
        /// The conflicting block's.
        conflicting: Height,
    },
    /// The blocks that the judge holds against it are not those of the evidence's heights.
    #[error("{0} to judge the evidence by")]
    WrongBlocks(&'static str),
    /// The block is the chain's own.
    #[error("block {hash} at height {height} is the chain's own")]
    NoConflict {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: Hash,
    },
    /// The block is above the chain, and later than the newest block: it may still become the chain's.
    #[error("the block has time {found}; the chain has come to {tip}, so it may still become the chain's")]
    NotYet {
        /// The block's time.
        found: Time,
        /// The newest block's time.
        tip: Time,
    },
    /// The evidence of a lunatic attack names the attack's own height as the common one, or that of
    /// another kind an earlier one.
    #[error("evidence of the kind {kind:?} about height {conflicting} cannot have the common height {common}")]
    WrongCommon {
        /// The kind.
        kind: Kind,
        /// The common height.
        common: Height,
        /// The conflicting block's.
        conflicting: Height,
    },
    /// At most a third of the common validators signed: no light client jumps on so little.
    #[error("common validators with power {signed} of {total} signed; more than a third must")]
    TooFewTrusted {
        /// The power that signed.
        signed: u64,
        /// The power of the set.
        total: u64,
    },
    /// The timestamp is not the common block's.
    #[error("the evidence has time {found}, the common block {expected}")]
    Timestamp {
        /// The common block's time.
        expected: Time,
        /// The evidence's.
        found: Time,
    },
    /// The total power is not the common validators'.
    #[error("the evidence tells of a total power of {found}, the common validators have {expected}")]
    TotalPower {
        /// The common validators' power.
        expected: u64,
        /// The evidence's.
        found: u64,
    },
    /// The validators accused are not those who did it, by power descending and then address.
    #[error("the evidence accuses {found} validators, not in order those {expected} who did it")]
    Offenders {
        /// How many did it.
        expected: usize,
        /// How many are accused.
        found: usize,
    },
}

impl BadAttack {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Block(error) => error.code(),
            Self::Heights { .. } => 1019,
            Self::WrongBlocks(_) => 1020,
            Self::NoConflict { .. } => 1021,
            Self::NotYet { .. } => 1022,
            Self::WrongCommon { .. } => 1023,
            Self::TooFewTrusted { .. } => 1024,
            Self::Timestamp { .. } => 1025,
            Self::TotalPower { .. } => 1026,
            Self::Offenders { .. } => 1027,
        }
    }
}

impl Kind {
    /// How `conflicting` was made, beside what the chain has.
    #[must_use]
    pub fn of(conflicting: &SignedHeader, ours: Ours<'_>) -> Self {
        match ours {
            Ours::Block(block) if !follows(&conflicting.header, &block.header) => Self::Lunatic,
            Ours::Block(block) if conflicting.commit.round == block.commit.round => Self::Equivocation,
            Ours::Block(_) => Self::Amnesia,
            Ours::Tip(_) => Self::Lunatic,
        }
    }
}

/// Judges evidence by the chain's own blocks: `common` of the evidence's common height, `ours` of the
/// conflicting block's. How old it is and whether it was punished already, the caller judges.
///
/// The offenders come by power descending, then address; an amnesia has none.
///
/// # Errors
/// [`BadAttack`], for the first rule that fails.
pub fn verify(
    evidence: &LightClientAttackEvidence,
    chain: &ChainId,
    common: &Common<'_>,
    ours: Ours<'_>,
) -> Result<Vec<Address>, BadAttack> {
    let signed = &evidence.conflicting_block.signed_header;
    let (at, height) = (Height::from(evidence.common_height), Height::from(signed.header.height));
    if at == Height(0) || at > height {
        return Err(BadAttack::Heights { common: at, conflicting: height });
    }
    common.check(at)?;
    ours.check(height)?;
    let signers = Validators::try_from(&evidence.conflicting_block.validator_set)?;
    // Somebody who trusted these validators would have believed the block.
    let believed = Trust::genesis(chain.clone(), Time::unix_epoch(), signers).accept(signed)?;
    ours.contradicts(&signed.header, believed.hash())?;
    let kind = Kind::of(signed, ours);
    if (kind == Kind::Lunatic) != (at < height) {
        return Err(BadAttack::WrongCommon { kind, common: at, conflicting: height });
    }
    let total = common.validators.set().total_voting_power().value();
    let guilty = offenders(signed, ours, common.validators);
    if kind == Kind::Lunatic {
        let signed = guilty.iter().map(Info::power).sum::<u64>();
        // Nothing overflows: a set's power is below 2^60.
        if signed * 3 <= total {
            return Err(BadAttack::TooFewTrusted { signed, total });
        }
    }
    if evidence.timestamp != common.header.time {
        return Err(BadAttack::Timestamp { expected: common.header.time, found: evidence.timestamp });
    }
    if evidence.total_voting_power.value() != total {
        return Err(BadAttack::TotalPower { expected: total, found: evidence.total_voting_power.value() });
    }
    let accused = &evidence.byzantine_validators;
    if accused.len() != guilty.len() || !accused.iter().zip(&guilty).all(|(accused, guilty)| same(accused, guilty)) {
        return Err(BadAttack::Offenders { expected: guilty.len(), found: accused.len() });
    }
    Ok(guilty.iter().map(|validator| validator.address.into()).collect())
}

/// The evidence's name, the same whichever of the votes it carries: CometBFT's `Hash` of it, over the
/// conflicting header's hash without its last byte, a zero, and the common height as a zigzag varint.
///
/// # Panics
/// Never: a header has a hash.
#[must_use]
pub fn hash(evidence: &LightClientAttackEvidence) -> Hash {
    let header = validators::hash(evidence.conflicting_block.signed_header.header.hash()).expect("the hash of a header is 32 bytes");
    let mut height = Vec::new();
    types::codec::put_number(evidence.common_height.value() << 1, &mut height);
    Hash::sha256(&[&header.0[..31], &[0], &height])
}

/// Who is to blame, in the order of the common set.
pub(crate) fn offenders(conflicting: &SignedHeader, ours: Ours<'_>, common: &Validators) -> Vec<Info> {
    let members = common.set().validators();
    let votes = &conflicting.commit.signatures;
    match (Kind::of(conflicting, ours), ours) {
        (Kind::Equivocation, Ours::Block(block)) => {
            let both = votes.iter().zip(&block.commit.signatures).zip(members);
            both.filter(|((theirs, ours), _)| theirs.is_commit() && ours.is_commit()).map(|(_, member)| member.clone()).collect()
        }
        (Kind::Lunatic, _) => {
            let signed = |member: &&Info| votes.iter().any(|vote| vote.is_commit() && vote.validator_address() == Some(member.address));
            members.iter().filter(signed).cloned().collect()
        }
        _ => Vec::new(),
    }
}

impl Common<'_> {
    fn check(&self, height: Height) -> Result<(), BadAttack> {
        let header = self.header;
        if Height::from(header.height) == height && header.validators_hash == self.validators.set().hash() {
            return Ok(());
        }
        Err(BadAttack::WrongBlocks("this is not the block of the common height, or not its validators,"))
    }
}

impl Ours<'_> {
    fn check(self, height: Height) -> Result<(), BadAttack> {
        let fits = match self {
            Self::Block(block) => Height::from(block.header.height) == height,
            Self::Tip(header) => Height::from(header.height) < height,
        };
        if fits { Ok(()) } else { Err(BadAttack::WrongBlocks("this is not the chain's block of the conflicting height")) }
    }

    fn contradicts(self, header: &Header, hash: Hash) -> Result<(), BadAttack> {
        match self {
            Self::Block(block) if validators::hash(block.header.hash()) == Some(hash) => {
                Err(BadAttack::NoConflict { height: Height::from(header.height), hash })
            }
            // Times rise with heights: what is above the chain and not later can never be of it.
            Self::Tip(tip) if header.time > tip.time => Err(BadAttack::NotYet { found: header.time, tip: tip.time }),
            _ => Ok(()),
        }
    }
}

/// Whether what follows from the blocks before is the same in both headers.
fn follows(theirs: &Header, ours: &Header) -> bool {
    theirs.validators_hash == ours.validators_hash
        && theirs.next_validators_hash == ours.next_validators_hash
        && theirs.consensus_hash == ours.consensus_hash
        && theirs.app_hash == ours.app_hash
        && theirs.last_results_hash == ours.last_results_hash
}

/// Name and priority are no part of a validator here.
fn same(one: &Info, other: &Info) -> bool {
    (one.address, one.pub_key, one.power) == (other.address, other.pub_key, other.power)
}

#[cfg(test)]
mod tests;
