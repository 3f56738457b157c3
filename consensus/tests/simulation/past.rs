//! The blocks that a node has decided, and the evidence that waits to be held against them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::evidence::{self, Mark, votes};
use consensus::malachite::context::Zynk;
use consensus::malachite::translation::to_vote;
use consensus::{ChainState, History, ValidatorSet};
use malachite::app::types::core::SignedVote;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Block, Commit, Header, Height};
use tendermint::evidence::{Evidence, List};

/// A decided block.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) body: Bytes,
    pub(crate) commit: Commit,
    header: Header,
    validators: ValidatorSet,
}

/// All of them; they survive a crash, as the evidence does.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) blocks: BTreeMap<u64, Known>,
    marks: BTreeSet<Mark>,
    waiting: Vec<Evidence>,
}

impl Past {
    /// Adds the block that was decided after `state`.
    pub(crate) fn add(&mut self, block: &Block, body: Bytes, state: &ChainState, commit: Commit) {
        self.marks.extend(block.evidence.iter().map(evidence::mark));
        self.waiting.retain(|found| !self.marks.contains(&evidence::mark(found)));
        let known = Known { body, commit, header: block.header.clone(), validators: state.validators.clone() };
        self.blocks.insert(block.header.height.value(), known);
    }

    /// Takes up two votes of one validator for one slot.
    pub(crate) fn accuse(&mut self, one: &SignedVote<Zynk>, other: &SignedVote<Zynk>) {
        let Some(known) = self.blocks.get(&one.message.height.0) else { return };
        let pair = to_vote(one, &known.validators).zip(to_vote(other, &known.validators));
        let evidence = pair.and_then(|(one, other)| votes::accuse(one, other, &known.validators, known.header.time));
        let waits = |mark| self.marks.contains(&mark) || self.waiting.iter().any(|found| evidence::mark(found) == mark);
        self.waiting.extend(evidence.filter(|found| !waits(evidence::mark(found))));
    }

    /// The evidence for the next block.
    pub(crate) fn pending(&self, state: &ChainState) -> List {
        List::new(self.waiting.iter().filter(|found| evidence::verify(found, state, self).is_ok()).cloned().collect::<Vec<_>>())
    }

    /// Whether evidence waits for a block.
    pub(crate) const fn accuses(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl History for Past {
    fn header(&self, height: Height) -> Option<Header> {
        self.blocks.get(&height.value()).map(|known| known.header.clone())
    }

    fn signed_header(&self, _height: Height) -> Option<SignedHeader> {
        // Only attacks on light clients ask, and nobody makes one here.
        None
    }

    fn validators(&self, height: Height) -> Option<ValidatorSet> {
        self.blocks.get(&height.value()).map(|known| known.validators.clone())
    }

    fn is_committed(&self, mark: &Mark) -> bool {
        self.marks.contains(mark)
    }
}
