//! What the core asks for, as the engine around it would do it.

use std::sync::Arc;
use std::time::Duration;

use consensus::malachite::context::{BlockHash, Height, Zynk};
use malachite::Verifier as _;
use malachite::app::consensus::{
    ConsensusMsg, Effect, Input, LivenessMsg, LocallyProposedValue, Resumable as _, Resume, SignedConsensusMsg, VoteExtensionError,
};
use malachite::app::types::core::{LinearTimeouts, Round, Timeout, TimeoutKind, ValueOrigin};
use malachite_signing::VerifierExt as _;

use super::{Act, Node, Seen, Stop, timer};
use crate::network::Message;
use crate::plan::Role;
use crate::store::PACE;

impl Node {
    pub(super) fn answer(&mut self, effect: Effect<Zynk>) -> Result<Resume<Zynk>, Stop> {
        let verifier = self.verifier.clone();
        let runtime = Arc::clone(&self.runtime);
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => {
                self.running().timers.clear();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.running().timers.remove(&timer(timeout));
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.schedule(timeout);
                r.resume_with(())
            }
            Effect::StartRound(_, round, _, _, r) => {
                self.sync_log();
                for value in self.store.known(round) {
                    self.acts.push(Act::Feed(Box::new(Input::ProposedValue(value, ValueOrigin::Consensus)), 1));
                }
                self.acts.push(Act::Seen(Seen::Round(round.as_u32().unwrap_or(0))));
                r.resume_with(())
            }
            Effect::SignProposal(proposal, r) => r.resume_with(self.sign_proposal(proposal)?),
            Effect::SignVote(vote, r) => r.resume_with(self.sign_vote(vote)?),
            Effect::VerifySignature(message, key, r) => {
                let verdict = match message.message {
                    ConsensusMsg::Vote(vote) => runtime.block_on(verifier.verify_signed_vote(&vote, &message.signature, &key)),
                    ConsensusMsg::Proposal(proposal) => {
                        runtime.block_on(verifier.verify_signed_proposal(&proposal, &message.signature, &key))
                    }
                };
                r.resume_with(verdict.is_ok_and(|verdict| verdict.is_valid()))
            }
            Effect::VerifyCommitCertificate(certificate, set, thresholds, r) => {
                r.resume_with(runtime.block_on(verifier.verify_commit_certificate(&Zynk, &certificate, &set, thresholds)))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, set, thresholds, policy, r) => {
                r.resume_with(runtime.block_on(verifier.verify_extended_commit_certificate(&Zynk, &certificate, &set, thresholds, policy)))
            }
            Effect::VerifyPolkaCertificate(certificate, set, thresholds, r) => {
                r.resume_with(runtime.block_on(verifier.verify_polka_certificate(&Zynk, &certificate, &set, thresholds)))
            }
            Effect::VerifyRoundCertificate(certificate, set, thresholds, r) => {
                r.resume_with(runtime.block_on(verifier.verify_round_certificate(&Zynk, &certificate, &set, thresholds)))
            }
            Effect::PublishConsensusMsg(message, r) => {
                self.sync_log();
                match message {
                    SignedConsensusMsg::Vote(vote) => self.say_vote(vote),
                    SignedConsensusMsg::Proposal(proposal) => self.say_proposal(proposal),
                }
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                match message {
                    LivenessMsg::Vote(vote) => self.say_again(Message::Vote(vote)),
                    LivenessMsg::PolkaCertificate(certificate) => self.say_again(Message::Polka(certificate)),
                    LivenessMsg::SkipRoundCertificate(certificate) => self.say_again(Message::Round(certificate)),
                }
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.say_again(Message::Vote(vote));
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.say_again(Message::Round(certificate));
                r.resume_with(())
            }
            Effect::GetValue(height, round, _, r) => {
                self.propose(height, round);
                r.resume_with(())
            }
            Effect::RestreamProposal(_, round, valid_round, _, block, r) => {
                let again = round.as_u32().and_then(|round| self.store.again(round, valid_round.as_u32(), block));
                self.acts.extend(again.map(|again| Act::Say(Message::Block(again))));
                r.resume_with(())
            }
            Effect::Decide(certificate, _, r) => {
                self.sync_log();
                if let Some(decided) = self.store.decide(&certificate, self.now, self.clock()).map_err(Stop::Broken)? {
                    self.acts.push(Act::Seen(Seen::Decided(Box::new(decided))));
                }
                r.resume_with(())
            }
            Effect::Finalize(certificate, _, evidence, r) => {
                self.store.improve(&certificate);
                self.store.accuse(&evidence);
                let offenders = evidence.votes.iter().map(|(address, _)| address.0);
                let offenders = offenders.chain(evidence.proposals.iter().map(|(address, _)| address.0)).collect();
                self.acts.push(Act::Seen(Seen::Evidence(offenders)));
                self.running().waiting = true;
                r.resume_with(())
            }
            Effect::CertRejectedSyncValue(_, _, _, r) => r.resume_with(()),
            Effect::CertVerifiedSyncValue(value, proposer, r) => {
                let round = value.certificate.round;
                let expected = value.certificate.value_id;
                if value.certificate.height.0 == self.store.next_height()
                    && let Some(mut proposed) = self.store.synced(round, proposer, value.value_bytes)
                    && proposed.value == expected
                {
                    proposed.round = round;
                    self.acts.push(Act::Feed(Box::new(Input::ProposedValue(proposed, ValueOrigin::Sync)), 1));
                }
                r.resume_with(())
            }
            Effect::WalAppend(height, entry, r) => {
                if self.logs() {
                    self.log.open().append(height, entry);
                }
                r.resume_with(())
            }
            Effect::ExtendVote(.., r) => r.resume_with(None),
            Effect::VerifyVoteExtension(.., r) => r.resume_with(Err(VoteExtensionError::InvalidVoteExtension)),
        })
    }

    fn propose(&mut self, height: Height, round: Round) {
        let Some(number) = round.as_u32() else { return };
        let proposed = self.store.propose(number, self.clock());
        let value = BlockHash(types::Hash(proposed.hash));
        self.acts.push(Act::Feed(Box::new(Input::Propose(LocallyProposedValue { height, round, value })), 3));
        if self.role == Role::Equivocating {
            let twin = self.store.twin(number, self.clock());
            self.running().twin = Some((height, round, BlockHash(types::Hash(twin.hash))));
            self.acts.push(Act::Split(Box::new([Message::Block(proposed), Message::Block(twin)])));
        } else {
            self.acts.push(Act::Say(Message::Block(proposed)));
        }
    }

    fn schedule(&mut self, timeout: Timeout) {
        self.numbers += 1;
        let number = self.numbers;
        let now = self.now;
        let running = self.running();
        running.timers.insert(timer(timeout), number);
        let delay = match timeout.kind {
            TimeoutKind::FinalizeHeight(_) => (running.began + millis(PACE.interval)).saturating_sub(now),
            _ => millis(timeouts().duration_for(timeout)),
        };
        self.acts.push(Act::Wake(timeout, number, delay));
    }

    fn logs(&self) -> bool {
        let set = &self.store.state.validators;
        let active = set.by_address(self.address().0).is_some();
        active && self.running.as_ref().is_some_and(|running| !running.recovering)
    }

    fn sync_log(&mut self) {
        if self.logs() {
            self.log.open().sync();
        }
    }
}

/// As `malachite::driver` derives them from the propose timeout.
fn timeouts() -> LinearTimeouts {
    let step = PACE.propose_timeout / 2;
    LinearTimeouts {
        propose: PACE.propose_timeout,
        propose_delta: step,
        prevote: step,
        prevote_delta: step,
        precommit: step,
        precommit_delta: step,
        rebroadcast: PACE.propose_timeout,
        ..LinearTimeouts::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short time")
}
