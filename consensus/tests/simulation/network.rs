//! What validators say to each other, and what the network makes of it.

use bytes::Bytes;
use consensus::host::Proposed;
use consensus::malachite::context::Zynk;
use malachite::app::types::core::{ExtendedCommitCertificate, PolkaCertificate, RoundCertificate, SignedProposal, SignedVote};

use crate::dice::Dice;
use crate::plan::Plan;

/// Something said.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Vote(SignedVote<Zynk>),
    Proposal(SignedProposal<Zynk>),
    Polka(PolkaCertificate<Zynk>),
    Round(RoundCertificate<Zynk>),
    /// A proposed block; stands for its parts, which arrive together or not at all.
    Block(Proposed),
    /// "This is my last height."
    Status(u64),
    /// "Give me decided blocks from this height on."
    Ask(u64),
    /// A decided block with the commit that proves it.
    Give(Bytes, ExtendedCommitCertificate<Zynk>),
    Transaction(Bytes),
}

impl Message {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Vote(vote) => format!("{:?} for {:?} at height {} round {}", vote.kind, vote.value, vote.height, vote.round),
            Self::Proposal(proposal) => format!("proposal of {} at height {} round {}", proposal.value, proposal.height, proposal.round),
            Self::Polka(certificate) => format!("prevotes for {} in round {}", certificate.value_id, certificate.round),
            Self::Round(certificate) => format!("certificate of round {}", certificate.round),
            Self::Block(said) => format!("block {} of height {} round {}", types::Hash(said.hash), said.height, said.round),
            Self::Status(tip) => format!("is at height {tip}"),
            Self::Ask(height) => format!("asks for height {height}"),
            Self::Give(_, certificate) => format!("gives height {}", certificate.height),
            Self::Transaction(_) => "a transaction".to_owned(),
        }
    }
}

/// The network: how it is right now.
#[derive(Debug)]
pub(crate) struct Network {
    loss: u64,
    duplicates: u64,
    delay: u64,
    /// On which side of a partition each node is.
    sides: Vec<bool>,
}

impl Network {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { loss: plan.loss, duplicates: plan.duplicates, delay: plan.delay, sides: vec![false; plan.nodes.len()] }
    }

    /// Cuts the nodes into two sides.
    pub(crate) fn part(&mut self, dice: &mut Dice) {
        self.sides.fill_with(|| dice.chance(50));
    }

    /// Joins the sides.
    pub(crate) fn heal(&mut self) {
        self.sides.fill(false);
    }

    /// The storm is over: everything arrives, once and soon.
    pub(crate) fn calm(&mut self) {
        *self = Self { loss: 0, duplicates: 0, delay: 20, sides: vec![false; self.sides.len()] };
    }

    /// After how many milliseconds each copy of a message arrives: none if it is lost.
    pub(crate) fn carry(&self, dice: &mut Dice, from: usize, to: usize) -> Vec<u64> {
        if self.sides[from] != self.sides[to] || dice.chance(self.loss) {
            return Vec::new();
        }
        let copies = if dice.chance(self.duplicates) { 2 } else { 1 };
        (0..copies).map(|_| 1 + dice.below(self.delay)).collect()
    }
}
