//! Where two histories of one chain part, and the evidence of it: CometBFT 0.38's `light/detector.go`
//! without its network.
//!
//! Two providers, the primary and a witness, show different blocks at one height, and both are
//! signed well enough to be believed. Which of them lies nobody knows who only has their words; so
//! there is evidence against each, for the other to judge by its chain ([`crate::attack::verify`]).

use tendermint::evidence::{ConflictingBlock, LightClientAttackEvidence};
use tendermint::validator::Set;
use types::Height;

use crate::LightBlock;
use crate::attack::{Kind, Ours, offenders};

/// The place where the history of somebody accused leaves that of another provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork<'a> {
    /// The last block that both show. Where it hands over to other validators, the other provider's
    /// block after it, if that lies before the conflicting one: it is their word that was trusted. If
    /// the histories part at height 1, the other provider's block there.
    pub common: &'a LightBlock,
    /// The first block that the accused shows alone.
    pub conflicting: &'a LightBlock,
    /// What the other provider shows at its height, or, where it has none, its newest block.
    pub instead: &'a LightBlock,
}

impl<'a> Fork<'a> {
    /// The first block of `accused` that `other` contradicts; `None` where none does, or where they
    /// have nothing in common.
    ///
    /// `accused`: blocks each of which was believed because of the one before it, without one between;
    /// the first is common to both. `other`: the other provider's blocks at these heights, as far as
    /// its chain goes, and then its newest; believed as well. It may have more, and should have the one
    /// after a block that hands over to other validators.
    #[must_use]
    pub fn find(accused: &'a [LightBlock], other: &'a [LightBlock]) -> Option<Self> {
        let (mut common, first) = (accused.first()?, other.first()?);
        if common.hash() != first.hash() {
            let at_genesis = common.height() == Height(1) && first.height() == Height(1);
            // What both have before the first block is the genesis.
            return at_genesis.then_some(Self { common: first, conflicting: common, instead: first });
        }
        for block in &accused[1..] {
            let instead = other.iter().rev().find(|instead| instead.height() <= block.height())?;
            let ahead = instead.height() < block.height();
            let differs = if ahead { block.time() <= instead.time() } else { block.hash() != instead.hash() };
            if differs {
                let heirs = other.iter().find(|heirs| heirs.height() == common.height().next() && heirs.height() < block.height());
                let common = heirs.filter(|_| common.validators != common.next_validators).unwrap_or(common);
                return Some(Self { common, conflicting: block, instead });
            }
            if ahead {
                return None;
            }
            common = block;
        }
        None
    }

    /// How the accused's block was made, if the other's is the chain's.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of(&self.conflicting.signed_header, self.ours())
    }

    /// The evidence against who signed the accused's block. `None` if that was invented at height 1:
    /// before it nobody has signed anything, so nobody can be held to it.
    #[must_use]
    pub fn evidence(&self) -> Option<LightClientAttackEvidence> {
        let common = if self.kind() == Kind::Lunatic { self.common } else { self.instead };
        if self.kind() == Kind::Lunatic && common.height() >= self.conflicting.height() {
            return None;
        }
        let signed_header = self.conflicting.signed_header.clone();
        let byzantine_validators = offenders(&signed_header, self.ours(), &common.validators);
        let validator_set = with_proposer(self.conflicting.validators.set(), &signed_header.header);
        Some(LightClientAttackEvidence {
            conflicting_block: ConflictingBlock { signed_header, validator_set },
            common_height: common.signed_header.header.height,
            byzantine_validators,
            total_voting_power: common.validators.set().total_voting_power(),
            timestamp: common.time(),
        })
    }

    fn ours(&self) -> Ours<'a> {
        let block = &self.instead.signed_header;
        if self.instead.height() < self.conflicting.height() { Ours::Tip(&block.header) } else { Ours::Block(block) }
    }
}

/// CometBFT takes no set without a proposer; which one it is, nobody compares.
fn with_proposer(set: &Set, header: &tendermint::block::Header) -> Set {
    let proposer = set.validator(header.proposer_address).or_else(|| set.validators().first().cloned());
    Set { proposer, ..set.clone() }
}
