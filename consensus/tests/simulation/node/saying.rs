//! What a validator signs and says; and the two things that an equivocating one says.

use consensus::malachite::context::{BlockHash, Proposal, Vote, Zynk};
use consensus::malachite::signing::GuardedSigner;
use malachite::Signer as _;
use malachite::app::types::core::{NilOrVal, Round, SignedProposal, SignedVote, VoteType};

use super::{Act, Node, Seen, Signed, Stop};
use crate::network::Message;
use crate::plan::Bug;

impl Node {
    pub(super) fn sign_vote(&mut self, mut vote: Vote) -> Result<SignedVote<Zynk>, Stop> {
        if self.bug == Some(Bug::ForgottenLock)
            && vote.kind == VoteType::Prevote
            && vote.value == NilOrVal::Nil
            && let Some(block) = self.store.valid_of(vote.round)
        {
            vote.value = NilOrVal::Val(block);
        }
        let signer = self.running().signers[0].clone();
        let signed = self.runtime.block_on(signer.sign_vote(vote)).map_err(|error| refused(&signer, &error))?;
        self.acts.push(Act::Seen(Seen::Signed(Signed {
            height: signed.height,
            round: signed.round,
            vote: Some(signed.kind),
            block: block_of(&signed),
            pol_round: Round::Nil,
        })));
        Ok(signed)
    }

    pub(super) fn sign_proposal(&mut self, proposal: Proposal) -> Result<SignedProposal<Zynk>, Stop> {
        let signer = self.running().signers[0].clone();
        let signed = self.runtime.block_on(signer.sign_proposal(proposal)).map_err(|error| refused(&signer, &error))?;
        self.acts.push(Act::Seen(Seen::Signed(Signed {
            height: signed.height,
            round: signed.round,
            vote: None,
            block: Some(signed.value),
            pol_round: signed.pol_round,
        })));
        Ok(signed)
    }

    pub(super) fn say_vote(&mut self, vote: SignedVote<Zynk>) {
        let Some(second) = self.running().signers.get(1).cloned() else {
            self.acts.push(Act::Say(Message::Vote(vote)));
            return;
        };
        let said = block_of(&vote);
        let twin = self.running().twin.filter(|(height, round, _)| (*height, *round) == (vote.height, vote.round)).map(|(.., block)| block);
        let other = twin.filter(|twin| Some(*twin) != said).or_else(|| self.store.other_block(said));
        let other = Vote { value: other.map_or(NilOrVal::Nil, NilOrVal::Val), ..vote.message.clone() };
        self.acts.push(match self.runtime.block_on(second.sign_vote(other)) {
            Ok(other) if other != vote => Act::Split(Box::new([Message::Vote(vote), Message::Vote(other)])),
            _ => Act::Say(Message::Vote(vote)),
        });
    }

    /// An equivocating proposer has a second, fresh block for every round, also where it should propose an old one again.
    pub(super) fn say_proposal(&mut self, proposal: SignedProposal<Zynk>) {
        let slot = (proposal.height, proposal.round);
        let Some((second, number)) = self.running().signers.get(1).cloned().zip(proposal.round.as_u32()) else {
            self.acts.push(Act::Say(Message::Proposal(proposal)));
            return;
        };
        let known = self.running().twin.filter(|(height, round, _)| (*height, *round) == slot);
        let value = known.map(|(.., value)| value).unwrap_or_else(|| {
            let twin = self.store.twin(number, self.clock());
            let value = BlockHash(types::Hash(twin.hash));
            self.running().twin = Some((slot.0, slot.1, value));
            self.acts.push(Act::Say(Message::Block(twin)));
            value
        });
        let other = Proposal { value, pol_round: Round::Nil, ..proposal.message.clone() };
        self.acts.push(match self.runtime.block_on(second.sign_proposal(other)) {
            Ok(other) => Act::Split(Box::new([Message::Proposal(proposal), Message::Proposal(other)])),
            Err(_) => Act::Say(Message::Proposal(proposal)),
        });
    }

    pub(super) fn say_again(&mut self, message: Message) {
        match message {
            _ if self.bug == Some(Bug::SaidOnce) => {}
            Message::Vote(vote) => self.say_vote(vote),
            message => self.acts.push(Act::Say(message)),
        }
    }
}

fn block_of(vote: &Vote) -> Option<BlockHash> {
    match vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block),
    }
}

fn refused(signer: &GuardedSigner, error: &malachite_signing::Error) -> Stop {
    Stop::Refused(signer.refusal().map_or_else(|| error.to_string(), str::to_owned))
}
