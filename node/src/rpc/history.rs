//! `blockchain` and `genesis_chunked`: many headers, and the genesis in pieces.

use prost::Message as _;
use serde_json::{Value, json};
use tendermint::block::Height;

use super::error::Fault;
use super::methods::{base64, gone, internal, number, to_json};
use super::params::{Params, missing};
use crate::app::App;

/// At most so many headers in one answer. Source: CometBFT 0.38, `rpc/core/blocks.go`.
const MAX_HEADERS: u64 = 20;

/// So many bytes of the genesis in a piece. Source: CometBFT 0.38, `rpc/core/env.go`.
const PIECE: usize = 16 << 20;

/// The headers from `minHeight` to `maxHeight`, the highest first; of too many the highest.
pub(super) fn blockchain(app: &App, params: &Params) -> Result<Value, Fault> {
    use consensus::Host as _;
    let asked = |name| {
        let height = params.number(name)?.unwrap_or(0);
        u64::try_from(height).map_err(|_| Fault::Internal("heights must be non-negative".to_owned()))
    };
    let (tip, base) = (app.tip(), app.earliest().value());
    let (min, max) = (asked("minHeight")?, asked("maxHeight")?);
    let max = if max == 0 { tip } else { max.min(tip) };
    let min = min.max(1).max(base).max((max + 1).saturating_sub(MAX_HEADERS));
    if min > max {
        return Err(Fault::Internal(format!("min height {min} can't be greater than max height {max}")));
    }
    let meta = |height: u64| {
        let height = Height::try_from(height).map_err(internal)?;
        let (block, _) = app.store().block(height).ok_or_else(|| gone(app, height))?;
        Ok(json!({
            "block_id": to_json(&consensus::commit::block_id(block.header.hash()))?,
            "block_size": consensus::evidence::bytes::block_to_proto(&block).encoded_len().to_string(),
            "header": to_json(&block.header)?,
            "num_txs": block.data.len().to_string(),
        }))
    };
    let metas = (min..=max).rev().map(meta).collect::<Result<Vec<_>, Fault>>()?;
    Ok(json!({"last_height": number(tip), "block_metas": metas}))
}

/// A piece of the genesis, counted from 0.
pub(super) fn genesis_chunked(app: &App, params: &Params) -> Result<Value, Fault> {
    let asked = params.number("chunk")?.ok_or_else(|| missing("chunk"))?;
    let document = to_json(app.genesis().as_tendermint())?.to_string();
    let pieces: Vec<&[u8]> = document.as_bytes().chunks(PIECE).collect();
    let piece = usize::try_from(asked).ok().and_then(|place| pieces.get(place));
    let piece = piece.ok_or_else(|| Fault::Internal(format!("there are {} chunks, {asked} is invalid", pieces.len() - 1)))?;
    Ok(json!({"chunk": asked.to_string(), "total": pieces.len().to_string(), "data": base64(piece)}))
}
