//! The chain's state after a block, from headers and validator sets alone: what a synced state begins with, and what is
//! gone back to.

use anyhow::Context as _;
use consensus::validators::ValidatorSet;
use consensus::{ChainState, commit::block_id};
use genesis::Genesis;
use ledger::governance::upgrade::FIRST_VERSION;
use tendermint::block::{Header, Height};
use tendermint::consensus::Params;
use tendermint::consensus::params::VersionParams;

/// The validators that committed the last block, those of the next height, and those of the height after it.
#[derive(Debug)]
pub struct Sets {
    /// Of the last block's height.
    pub last: ValidatorSet,
    /// Of the next height.
    pub next: ValidatorSet,
    /// Of the height after it.
    pub after: ValidatorSet,
}

/// The chain after the block of header `last`, which header `next` follows.
///
/// # Errors
/// When the headers or the sets do not fit together.
pub fn chain_at(genesis: &Genesis, last: &Header, next: &Header, sets: Sets) -> anyhow::Result<ChainState> {
    let id = block_id(last.hash());
    anyhow::ensure!(next.last_block_id == Some(id), "header {} does not follow header {}", next.height, last.height);
    let hashes = [(last.validators_hash, &sets.last), (next.validators_hash, &sets.next), (next.next_validators_hash, &sets.after)];
    anyhow::ensure!(hashes.iter().all(|(hash, set)| *hash == set.hash()), "the validators are not those that the headers name");
    let document = genesis.as_tendermint();
    let first = document.consensus_params.version.as_ref().map_or(FIRST_VERSION, |version| version.app);
    let params = document.consensus_params.clone();
    let app = next.version.app;
    let params = if app == first { params } else { Params { version: Some(VersionParams { app }), ..params } };
    anyhow::ensure!(next.consensus_hash == consensus::chain::params_hash(&params), "the parameters are not those that the headers name");
    Ok(ChainState {
        chain_id: document.chain_id.clone(),
        initial_height: Height::try_from(document.initial_height)?,
        last_block: Some((last.height, id)),
        last_time: last.time,
        last_validators: Some(sets.last),
        validators: sets.next,
        next_validators: sets.after,
        params,
        app_version: app,
        app_hash: next.app_hash.clone(),
        last_results_hash: next.last_results_hash.context("a header has the hash of the results before it")?,
    })
}
