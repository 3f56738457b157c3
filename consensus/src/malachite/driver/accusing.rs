//! Accusing: what the engine saw validators do wrong, and evidence on its way into blocks.

use malachite::app::types::MisbehaviorEvidence;
use malachite::app::types::core::SignedVote;
use tendermint::account;
use tendermint::block::Block;
use tendermint::evidence::{Evidence, List};

use super::Driver;
use crate::evidence::{self, History, votes};
use crate::host::Host;
use crate::malachite::context::Zynk;
use crate::malachite::translation::to_vote;

impl<H: Host> Driver<H> {
    /// Takes up what the engine found while it decided the last block.
    ///
    /// Two proposals of one validator are told in the log alone: CometBFT has no evidence of that kind,
    /// and they decide nothing without votes.
    pub(super) fn accuse(&self, found: &MisbehaviorEvidence<Zynk>) {
        for (offender, _) in found.proposals.iter() {
            tracing::error!(%offender, "a validator signed two different proposals for one round");
        }
        for (one, other) in found.votes.iter().flat_map(|(_, pairs)| pairs) {
            match two_votes(one, other, self.host.history()) {
                Some(evidence) => self.host.accuse(evidence),
                None => tracing::error!(height = %one.message.height, offender = %one.message.voter, "two votes that are of no block here"),
            }
        }
    }

    /// The evidence for a new block.
    pub(super) fn evidence(&self) -> List {
        let waiting = self.host.pending_evidence(evidence::max_bytes(&self.state.params));
        let list = List::new(waiting);
        match evidence::check(&list, &self.state, self.host.history()) {
            Ok(()) => list,
            Err(error) => {
                tracing::error!(%error, "this node's own evidence does not hold: it is left out");
                List::default()
            }
        }
    }

    /// Says whom a decided block accuses; loudly if it is this validator.
    pub(super) fn tell_of_evidence(&self, block: &Block) {
        let me = self.signer.as_ref().map(|signer| account::Id::from(signer.public().address()));
        for misdeed in evidence::misbehavior(&block.evidence) {
            let offender = account::Id::new(misdeed.validator.address);
            let (kind, at, height) = (misdeed.kind, misdeed.height, block.header.height);
            if Some(offender) == me {
                tracing::error!(
                    ?kind, %at, %height,
                    "THIS VALIDATOR stands accused in a block: its key signed what it must not sign. Is the key used in two places? Stop them, and find out who holds it"
                );
            } else {
                tracing::warn!(%offender, ?kind, %at, %height, "a block accuses a validator");
            }
        }
    }
}

/// Evidence of two votes; none if their height has no block here, or its set not the voter.
fn two_votes(one: &SignedVote<Zynk>, other: &SignedVote<Zynk>, history: &impl History) -> Option<Evidence> {
    let height = one.message.height.to_tendermint();
    let (header, set) = history.header(height).zip(history.validators(height))?;
    votes::accuse(to_vote(one, &set)?, to_vote(other, &set)?, &set, header.time)
}

#[cfg(test)]
mod tests {
    use malachite::app::types::core::{NilOrVal, Round};
    use types::Hash;

    use super::*;
    use crate::chain::tests::{address, key};
    use crate::evidence::tests::world;
    use crate::malachite::context::{Address, BlockHash, ConsensusSignature, Height};
    use crate::malachite::signing::signed_vote;

    #[test]
    fn what_the_engine_saw_is_evidence() {
        let (past, state) = world();
        let signed = |seed: u8, height: u64, value| {
            use malachite::app::types::core::Context as _;
            let voter = Address(address(seed));
            let vote = Zynk.new_prevote(Height(height), Round::new(3), value, voter);
            let signature = ConsensusSignature(key(seed).sign(&signed_vote(&state.chain_id, &vote)));
            SignedVote::<Zynk>::new(vote, signature)
        };
        let block = |byte| NilOrVal::Val(BlockHash(Hash([byte; 32])));
        for (story, one, other) in [("two blocks", block(1), block(2)), ("a block and nil", block(1), NilOrVal::Nil)] {
            let found = two_votes(&signed(3, 2, one), &signed(3, 2, other), &past).expect(story);
            assert_eq!(evidence::verify(&found, &state, &past), Ok(()), "{story}");
        }
        assert_eq!(two_votes(&signed(99, 2, block(1)), &signed(99, 2, block(2)), &past), None, "a stranger");
        assert_eq!(two_votes(&signed(3, 9, block(1)), &signed(3, 9, block(2)), &past), None, "no block yet");
    }
}
