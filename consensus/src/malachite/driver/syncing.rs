//! Syncing: decided blocks handed to peers that catch up, and taken from peers that are ahead.

use bytes::Bytes;
use malachite::app::engine::host::SyncedValueOutcome;
use malachite::app::types::core::Round;
use malachite::app::types::sync::RawDecidedValue;
use types::Hash;

use super::{Driver, DriverError, address_bytes, hash_bytes};
use crate::chain;
use crate::host::{Host, Proposed};
use crate::malachite::context::{Address, BlockHash, Height, Zynk};
use crate::malachite::translation::{proposed_value, to_certificate};

/// The most decided blocks in one answer to a peer that catches up, and the most bytes.
const SYNC_BLOCKS: usize = 32;
const SYNC_BYTES: usize = 6 * 1024 * 1024;

impl<H: Host> Driver<H> {
    /// Decided blocks for a peer that asks.
    pub(super) fn history(&self, start: Height, end: Height) -> Vec<RawDecidedValue<Zynk>> {
        let mut bytes = 0;
        let heights = (start.0..=end.0).take(SYNC_BLOCKS).map_while(|height| self.host.decided(Height(height).to_tendermint()));
        let values = heights.map(|(block, commit)| RawDecidedValue::new(chain::encode(&block).into(), to_certificate(&commit)));
        values
            .take_while(|value| {
                let first = bytes == 0;
                bytes += value.value_bytes.len();
                first || bytes <= SYNC_BYTES
            })
            .collect()
    }

    /// Judges a block that a peer hands over as decided, and keeps it.
    pub(super) fn synced(
        &mut self,
        height: Height,
        round: Round,
        proposer: Address,
        body: Bytes,
    ) -> Result<SyncedValueOutcome<Zynk>, DriverError> {
        if height.0 != self.state.next_height().value() || self.may_begin().is_err() {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let Ok(block) = chain::decode(&body, self.max_block_bytes()) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        if let Err(error) = self.state.check(&block, self.host.history()) {
            tracing::warn!(%height, %error, "refused a synced block");
            return Ok(SyncedValueOutcome::PeerFault);
        }
        let proposed = Proposed {
            height: block.header.height,
            round: round.as_u32().unwrap_or(0),
            valid_round: None,
            proposer: address_bytes(proposer.0),
            hash: hash_bytes(&block),
            valid: self.accepted(&block),
            body,
        };
        self.synced = Some(BlockHash(Hash(proposed.hash)));
        self.keep(proposed.clone())?;
        Ok(SyncedValueOutcome::Verdict(proposed_value(&proposed)))
    }
}
