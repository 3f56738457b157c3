//! Receiving: others' blocks put together from their pieces, judged and kept.

use malachite::app::streaming::StreamMessage;
use malachite::app::types::core::Round;
use malachite::app::types::{PeerId, ProposedValue};
use tendermint::{Block, Time};

use super::{Driver, DriverError, hash_bytes};
use crate::chain::{self, BadBlock, ChainState};
use crate::host::{Host, Proposed};
use crate::malachite::context::{Height, Part, Zynk};
use crate::malachite::parts::{Assembled, Init};
use crate::malachite::signing;
use crate::malachite::translation::proposed_value;

/// Blocks are kept for rounds that are ahead of this node's by at most this many. The engine takes no proposal
/// from beyond either, and a proposer must not fill memory and disk with blocks for rounds that never come.
const ROUNDS_AHEAD: u32 = 10;

/// At most this many different blocks are kept of one round: an honest proposer makes one, and two
/// are enough to show that it is not.
const KEPT_PER_ROUND: usize = 2;

/// At most this many complete proposals for the height after the next are held until it begins.
const EARLY: usize = 16;

impl<H: Host> Driver<H> {
    /// The proposals that are already here for a round.
    pub(super) fn known(&self, height: Height, round: Round) -> Vec<ProposedValue<Zynk>> {
        let here = |proposed: &&Proposed| proposed.height.value() == height.0 && Some(proposed.round) == round.as_u32();
        self.proposed.iter().filter(here).map(proposed_value).collect()
    }

    /// Takes a part of a block; the block once it is complete.
    pub(super) fn receive(
        &mut self,
        publisher: Option<PeerId>,
        message: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Zynk>>, DriverError> {
        let (state, round, max_bytes) = (&self.state, self.round, self.max_block_bytes());
        let Some(assembled) = self.assembly.take(publisher, message, max_bytes, |init| announced(state, round, init, max_bytes)) else {
            return Ok(None);
        };
        let announcement = &assembled.init.announcement;
        if announcement.height > state.next_height().value() {
            let of_round = self.early.iter().filter(|early| early.init.announcement.round == announcement.round);
            let room = self.early.len() < EARLY && of_round.count() < KEPT_PER_ROUND;
            // Bent bytes of a block must not be held in its place, here neither.
            let follows = |block: Block| self.state.may_be_next(block.last_commit.as_ref());
            if room && self.announced_block(&assembled).is_some_and(follows) {
                self.early.push(assembled);
            }
            return Ok(None);
        }
        self.admit(assembled)
    }

    /// Judges the proposals that came before their height had begun.
    pub(super) fn admit_early(&mut self) -> Result<(), DriverError> {
        let next = self.state.next_height().value();
        let (now, later) = std::mem::take(&mut self.early).into_iter().partition(|assembled| assembled.init.announcement.height <= next);
        self.early = later;
        let now: Vec<Assembled> = now;
        for assembled in now.into_iter().filter(|assembled| assembled.init.announcement.height == next) {
            self.admit(assembled)?;
        }
        Ok(())
    }

    /// Judges a complete proposal and keeps it; one that is here already is not judged again.
    pub(super) fn admit(&mut self, assembled: Assembled) -> Result<Option<ProposedValue<Zynk>>, DriverError> {
        if self.may_begin().is_err() {
            // What is kept is not judged again, and the next program may judge otherwise.
            return Ok(None);
        }
        let announcement = &assembled.init.announcement;
        let of_round = || self.proposed.iter().filter(|proposed| proposed.round == announcement.round);
        if let Some(known) = of_round().find(|proposed| proposed.hash == announcement.block.0) {
            return Ok(Some(proposed_value(known)));
        }
        if of_round().count() >= KEPT_PER_ROUND {
            tracing::warn!(height = announcement.height, round = announcement.round, "dropped one more block of a round");
            return Ok(None);
        }
        let init = assembled.init.clone();
        let Some(proposed) = self.judge(assembled) else {
            return Ok(None);
        };
        self.keep(proposed.clone())?;
        self.announced.push(init);
        Ok(Some(proposed_value(&proposed)))
    }

    /// The block that the proposer has signed for, if the bytes are it. It has signed the header's hash; who brings the bytes
    /// may be anybody, so what the header does not answer for must not count as the proposer's.
    fn announced_block(&self, assembled: &Assembled) -> Option<Block> {
        let announcement = &assembled.init.announcement;
        match chain::decode(&assembled.body, self.max_block_bytes()) {
            Ok(block) if hash_bytes(&block) == announcement.block.0 && chain::is_whole(&block) => Some(block),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(height = announcement.height, %error, "refused a proposal");
                None
            }
        }
    }

    /// Judges a complete proposal; `None` if its bytes are not the block that was announced.
    fn judge(&self, assembled: Assembled) -> Option<Proposed> {
        let block = self.announced_block(&assembled)?;
        let announcement = assembled.init.announcement;
        let fresh = announcement.valid_round.is_none();
        let own = block.header.proposer_address == announcement.proposer();
        let timely = if fresh { ChainState::check_fresh(&block, Time::now()) } else { Ok(()) };
        let followed = timely.and_then(|()| self.state.check(&block, self.host.history()));
        if let Err(error @ BadBlock::LastCommit(_)) = &followed {
            // The block's hash does not cover the round that its commit names: these may be the bent bytes of a
            // block that follows, and must not be kept in its place.
            tracing::warn!(height = announcement.height, round = announcement.round, %error, "refused a proposal");
            return None;
        }
        let followed = if fresh && !own { Err(BadBlock::Header { field: "proposer address" }) } else { followed };
        if let Err(error) = &followed {
            tracing::warn!(height = announcement.height, round = announcement.round, %error, "refused a proposal");
        }
        Some(Proposed {
            height: block.header.height,
            round: announcement.round,
            valid_round: announcement.valid_round,
            proposer: announcement.proposer,
            hash: announcement.block.0,
            valid: followed.is_ok() && self.accepted(&block),
            body: assembled.body,
        })
    }
}

/// Whether an announcement is one to keep parts for: of this height, in which this node has come to `round`, or
/// of the next, by whoever's turn it is, within the bounds.
fn announced(state: &ChainState, round: u32, init: &Init, max_bytes: usize) -> bool {
    let announcement = &init.announcement;
    let next = state.next_height().value();
    let (set, round) = match announcement.height {
        height if height == next => (&state.validators, round),
        height if height == next + 1 => (&state.next_validators, 0),
        _ => return false,
    };
    let Some(announcer) = set.by_address(announcement.proposer()) else {
        return false;
    };
    // Whose turn it is costs more to find out the higher the round, so the signature is asked first.
    let Some(proposal) = announcement.proposal() else {
        return false;
    };
    let bytes = proposal.into_signable_vec(state.chain_id.clone());
    announcement.size as usize <= max_bytes
        && announcement.round <= round.saturating_add(ROUNDS_AHEAD)
        && signing::holds(announcer.key, &bytes, &init.signature)
        && set.proposer(announcement.round).address() == announcement.proposer()
}

#[cfg(test)]
mod tests {
    use types::Hash;

    use super::*;
    use crate::chain::tests::{NAME, address, genesis, key};
    use crate::malachite::driver::address_bytes;
    use crate::malachite::parts::Announcement;

    #[test]
    fn announcements_are_taken_for_rounds_that_may_come() {
        let state = genesis();
        let check = |story: &str, height: u64, round: u32, come_to: u32, expected: bool| {
            let set = if height == 1 { &state.validators } else { &state.next_validators };
            let proposer = set.proposer(round).address();
            let seed = (1..=4).find(|seed| address(*seed) == proposer).expect("a validator");
            let announcement = Announcement {
                height,
                round,
                valid_round: None,
                proposer: address_bytes(proposer),
                block: Hash::ZERO,
                size: 9,
                body: Hash::ZERO,
            };
            let proposal = announcement.proposal().expect("small numbers");
            let signature = key(seed).sign(&proposal.into_signable_vec(NAME.try_into().expect("a name")));
            assert_eq!(announced(&state, come_to, &Init { announcement, signature }, 1 << 20), expected, "{story}");
        };
        check("this round", 1, 0, 0, true);
        check("a round that is over", 1, 2, 7, true);
        check("as far ahead as the engine looks", 1, 17, 7, true);
        check("further", 1, 18, 7, false);
        check("the next height, which begins with round 0", 2, 10, 7, true);
        check("of the next height, too far", 2, 11, 7, false);
        check("the height after it", 3, 0, 0, false);
    }
}
