//! Proposing: this node's own block, out to the others in pieces.

use malachite::app::types::LocallyProposedValue;
use malachite::app::types::core::Round;
use malachite::{NetworkMsg, Reply};
use tendermint::abci::request;
use tendermint::{Time, account};
use tokio::sync::mpsc::Sender;
use types::Hash;

use super::{Driver, DriverError, address_bytes, hash_bytes};
use crate::chain;
use crate::evidence::bytes::list_size;
use crate::evidence::misbehavior;
use crate::host::{Host, Proposed};
use crate::malachite::context::{Address, BlockHash, Height, Zynk};
use crate::malachite::parts::{Announcement, Init, split};
use crate::malachite::signing::GuardedSigner;

impl<H: Host> Driver<H> {
    /// Proposes: the same block again after a restart, or a new one.
    pub(super) fn propose(&mut self, height: Height, round: Round, reply: Reply<LocallyProposedValue<Zynk>>) -> Result<(), DriverError> {
        let (Some(signer), Some(number)) = (self.signer.clone(), round.as_u32()) else {
            tracing::error!("a node that does not sign was asked to propose");
            return Ok(());
        };
        let me = account::Id::from(signer.public().address());
        let mine =
            |proposed: &&Proposed| proposed.round == number && proposed.proposer == address_bytes(me) && proposed.valid_round.is_none();
        let proposed = match self.proposed.iter().find(mine) {
            Some(proposed) => proposed.clone(),
            None => {
                let proposed = self.build(me, number);
                self.keep(proposed.clone())?;
                proposed
            }
        };
        // Signed before the engine knows of it: a refusal here costs a turn, one there the engine. It waits for an answer, and
        // passes over one for no round.
        match announce(&signer, &proposed, number, None) {
            Ok(init) => {
                let _ = reply.send(LocallyProposedValue::new(height, round, BlockHash(Hash(proposed.hash))));
                self.publish(init, &proposed)
            }
            Err(reason) => {
                tracing::error!(%height, %round, %reason, "does not propose");
                let _ = reply.send(LocallyProposedValue::new(height, Round::Nil, BlockHash(Hash(proposed.hash))));
                Ok(())
            }
        }
    }

    /// Streams a block again: in our own name one that had a quorum of prevotes in an earlier round; one of another proposer,
    /// which the engine asks for in late rounds, with that one's announcement.
    pub(super) fn restream(
        &mut self,
        height: Height,
        round: Round,
        valid_round: Round,
        proposer: Address,
        block: BlockHash,
    ) -> Result<(), DriverError> {
        let here = |proposed: &&Proposed| proposed.height.value() == height.0 && proposed.hash == block.0.0;
        let found = self.proposed.iter().find(here).cloned();
        let (Some(proposed), Some(signer), Some(number)) = (found, self.signer.clone(), round.as_u32()) else {
            tracing::warn!(%height, %round, %block, "asked to stream a block again that is not here");
            return Ok(());
        };
        let announced = if proposer.0 == account::Id::from(signer.public().address()) {
            announce(&signer, &proposed, number, valid_round.as_u32())
        } else {
            let theirs = |init: &&Init| {
                let announcement = &init.announcement;
                (announcement.round, announcement.valid_round, announcement.block) == (number, valid_round.as_u32(), block.0)
            };
            self.announced.iter().find(theirs).cloned().ok_or_else(|| "its announcement is not here".to_owned())
        };
        match announced {
            Ok(init) => self.publish(init, &proposed),
            Err(reason) => {
                tracing::error!(%height, %round, %reason, "does not stream a block again");
                Ok(())
            }
        }
    }

    /// A new block of what waits: evidence first.
    fn build(&self, me: account::Id, round: u32) -> Proposed {
        let max_bytes = self.max_block_bytes();
        let state = &self.state;
        let now = Time::now();
        let evidence = self.evidence();
        // Header, commit and framing take their part of the block, and evidence goes before transactions.
        let taken = 4096 + 128 * state.validators.as_slice().len() + list_size(&evidence);
        let room = max_bytes.saturating_sub(taken);
        let prepared = self.host.prepare_proposal(request::PrepareProposal {
            max_tx_bytes: i64::try_from(room).unwrap_or(i64::MAX),
            txs: self.host.pending(room),
            local_last_commit: None,
            misbehavior: misbehavior(&evidence),
            height: state.next_height(),
            time: state.build(me, now, Vec::new(), None).header.time,
            next_validators_hash: state.next_validators.hash(),
            proposer_address: me,
        });
        let transactions = prepared.txs.into_iter().map(Vec::from).collect();
        let block = state.build_with(evidence, me, now, transactions, self.last_commit.clone());
        let valid = self.accepted(&block);
        if !valid {
            tracing::error!(height = %block.header.height, "this node's own application refuses the block that it prepared");
        }
        Proposed {
            height: block.header.height,
            round,
            valid_round: None,
            proposer: address_bytes(me),
            hash: hash_bytes(&block),
            valid,
            body: chain::encode(&block).into(),
        }
    }

    /// Streams a block to the others.
    fn publish(&mut self, init: Init, proposed: &Proposed) -> Result<(), DriverError> {
        self.streams += 1;
        let messages = split(init, &proposed.body, self.streams);
        let network: Sender<NetworkMsg<Zynk>> = self.channels.network.clone();
        if network.is_closed() {
            return Err(DriverError::EngineGone);
        }
        tokio::spawn(async move {
            for message in messages {
                if network.send(NetworkMsg::PublishProposalPart(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

/// The head of a block's stream, with the signature of the proposal.
fn announce(signer: &GuardedSigner, proposed: &Proposed, round: u32, valid_round: Option<u32>) -> Result<Init, String> {
    let announcement = Announcement {
        height: proposed.height.value(),
        round,
        valid_round,
        proposer: signer.public().address().0,
        block: Hash(proposed.hash),
        size: u32::try_from(proposed.body.len()).expect("blocks are bounded by 8 MiB"),
        body: Hash(*blake3::hash(&proposed.body).as_bytes()),
    };
    let proposal = announcement.proposal().ok_or("height or round are above Tendermint's bounds")?;
    let signature = signer.announce(proposal)?;
    Ok(Init { announcement, signature })
}
