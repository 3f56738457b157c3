//! Deciding: a block that two thirds have precommitted, executed and made durable.

use std::time::Instant;

use bytes::Bytes;
use malachite::app::types::core::CommitCertificate;
use tendermint::block::Commit;
use types::Hash;

use super::{Driver, DriverError};
use crate::chain;
use crate::commit::block_id;
use crate::host::{Decided, Host, Proposed};
use crate::malachite::context::Zynk;
use crate::malachite::translation::to_commit;

impl<H: Host> Driver<H> {
    /// Executes what was decided and makes it durable; the next height may begin.
    pub(super) fn decided(&mut self, certificate: &CommitCertificate<Zynk>) -> Result<(), DriverError> {
        let (height, hash) = (certificate.height, certificate.value_id.0);
        if height.0 < self.state.next_height().value() {
            return Ok(());
        }
        let missing = || DriverError::Missing { height: height.0, hash };
        let body = body(&self.proposed, hash).ok_or_else(missing)?;
        let block = chain::decode(&body, self.max_block_bytes()).map_err(|_| missing())?;
        self.tell_of_evidence(&block);
        let outcome = self.host.finalize_block(self.state.to_finalize(&block));
        let after = self.state.after(&block, &outcome)?;
        let seen_commit = to_commit(certificate, &self.state.validators);
        self.unproven_change = after.app_hash != self.state.app_hash;
        let id = block_id(block.header.hash());
        tracing::info!(%height, transactions = block.data.len(), round = %certificate.round, block = %hash, "committed");
        self.host.commit_block(Decided { block, id, seen_commit: seen_commit.clone(), outcome, state: after.clone() })?;
        self.state = after;
        self.round = 0;
        self.last_commit = Some(seen_commit);
        self.committed_at = Instant::now();
        self.proposed.clear();
        self.announced.clear();
        self.assembly.forget(height.0);
        self.admit_early()
    }

    /// Takes a certificate with more signatures than the one that decided.
    pub(super) fn improve(&mut self, certificate: &CommitCertificate<Zynk>) {
        let Some(set) = &self.state.last_validators else {
            return;
        };
        let signed = |commit: &Commit| commit.signatures.iter().filter(|entry| entry.is_commit()).count();
        let better = to_commit(certificate, set);
        if self.last_commit.as_ref().is_some_and(|last| last.block_id == better.block_id && signed(&better) > signed(last)) {
            self.last_commit = Some(better);
        }
    }
}

/// The bytes of a decided block. The hash does not cover all of them, so only bytes count that were found to follow:
/// there is one form of these.
fn body(proposed: &[Proposed], hash: Hash) -> Option<Bytes> {
    proposed.iter().find(|proposed| proposed.valid && proposed.hash == hash.0).map(|proposed| proposed.body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::{at, chain as blocks};
    use crate::chain::{BadBlock, encode};
    use crate::evidence::tests::Past;

    #[test]
    fn the_bent_bytes_of_a_block_are_not_decided_in_its_place() {
        let (steps, state) = blocks(3);
        let commit = steps.last().map(|step| step.commit.clone());
        let good = state.build(state.validators.proposer(0).address(), at(9_000), Vec::new(), commit.clone());
        let mut bent = good.clone();
        bent.last_commit = commit.map(|commit| Commit { round: 3u8.into(), ..commit });
        assert_eq!(bent.header.hash(), good.header.hash(), "one hash");
        assert_eq!(state.check(&good, &Past::default()), Ok(()));
        let refused = state.check(&bent, &Past::default());
        assert!(matches!(refused, Err(BadBlock::LastCommit(_))), "two forms: {refused:?}");

        let hash = Hash(good.header.hash().as_bytes().try_into().expect("32 bytes"));
        let kept = |block: &tendermint::Block, valid: bool| Proposed {
            height: block.header.height,
            round: 0,
            valid_round: None,
            proposer: [1; 20],
            hash: hash.0,
            valid,
            body: encode(block).into(),
        };
        let (bent, good) = (kept(&bent, false), kept(&good, true));
        assert_eq!(body(&[bent.clone(), good.clone()], hash), Some(good.body.clone()));
        assert_eq!(body(&[bent], hash), None, "nothing that follows is here");
        assert_eq!(body(&[good], Hash::ZERO), None, "another block");
    }
}
