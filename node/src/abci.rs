//! The node under CometBFT: the application alone.
//!
//! CometBFT has the network, the mempool, the blocks and the RPC; this node has the state and answers it over
//! ABCI 2.0 on loopback (`docs/spec/abci.md`). [`CometApp`] is the node's application as CometBFT drives it,
//! [`run()`] serves it, [`home`] writes the files that CometBFT needs beside ours.

mod check;
pub mod config;
pub mod home;
mod ordering;
mod run;

use std::sync::Arc;

use consensus::Application;
use consensus::abci::Ending;
use genesis::Genesis;
use ledger::AppState;
use tendermint::abci::{request, response};
use tendermint::block::Height;

use self::check::Check;
pub use self::run::run;
use crate::app::App;
use crate::upgrade;

/// The application as CometBFT drives it: what it asks is checked against what this node knows, and where the
/// two contradict each other the node ends.
#[derive(Debug)]
pub struct CometApp {
    app: Arc<App>,
    check: Check,
    ending: Ending,
}

impl CometApp {
    /// Puts `app` behind CometBFT; `ending` hears when it cannot go on.
    #[must_use]
    pub fn new(app: Arc<App>, ending: Ending) -> Self {
        Self { app, check: Check::default(), ending }
    }
}

impl Application for CometApp {
    fn info(&self) -> response::Info {
        // CometBFT takes the version of the first header from here, and that of later ones from the parameters.
        response::Info { app_version: self.app.chain().app_version, ..self.app.info() }
    }

    fn init_chain(&self, request: request::InitChain) -> response::InitChain {
        if let Err(differs) = same_genesis(self.app.genesis(), &request) {
            self.ending.end(format!(
                "CometBFT's genesis is not this node's: {differs}. Both must be the same file: copy genesis.json of this home over CometBFT's"
            ));
        }
        let tip = self.app.chain().tip();
        if tip.value() > 0 {
            self.ending.end(format!(
                "CometBFT begins the chain, and this node's state is after height {tip}: CometBFT's data were reset, or belong to another home"
            ));
        }
        self.app.init_chain(request)
    }

    fn check_tx(&self, request: request::CheckTx) -> response::CheckTx {
        match self.check.judge(&self.app, &request) {
            Ok(bytes) => response::CheckTx { gas_wanted: i64::try_from(bytes).unwrap_or(i64::MAX), ..Default::default() },
            Err(refusal) => refusal.into(),
        }
    }

    fn prepare_proposal(&self, request: request::PrepareProposal) -> response::PrepareProposal {
        let txs = ordering::by_sequence(&self.app, request.txs);
        self.app.prepare_proposal(request::PrepareProposal { txs, ..request })
    }

    fn process_proposal(&self, request: request::ProcessProposal) -> response::ProcessProposal {
        let next = self.app.chain().next_height();
        if request.height != next {
            tracing::warn!(height = %request.height, %next, "refused a proposal for another height");
            return response::ProcessProposal::Reject;
        }
        self.app.process_proposal(request)
    }

    fn finalize_block(&self, request: request::FinalizeBlock) -> response::FinalizeBlock {
        let chain = self.app.chain();
        let (next, height) = (chain.next_height(), request.height);
        if height != next {
            self.ending.end(format!(
                "CometBFT finalizes height {height}, and this node's next is {next}: one of the two homes was restored from a copy; \
                restore the other to the same height, or begin both anew"
            ));
        }
        if request.next_validators_hash != chain.next_validators.hash() {
            self.ending.end(format!("CometBFT has other validators for height {} than this node's state", height.increment()));
        }
        self.app.finalize_block(request)
    }

    fn commit(&self) -> response::Commit {
        let answer = self.app.commit();
        self.check.begin_anew();
        // Durable, and the last height of this program: CometBFT finds it so when both are started again.
        if let Some(outdated) = upgrade::outdated(&self.app) {
            self.ending.end(outdated.to_string());
        }
        answer
    }

    fn query(&self, request: request::Query) -> response::Query {
        self.app.query(request)
    }
}

/// Whether what CometBFT begins the chain with is what this node's genesis says; else what differs.
fn same_genesis(ours: &Genesis, theirs: &request::InitChain) -> Result<(), &'static str> {
    let document = ours.as_tendermint();
    let same = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
    same(theirs.chain_id == document.chain_id.as_str(), "another chain_id")?;
    same(theirs.initial_height == Height::from(1u32), "another initial_height")?;
    same(theirs.time == document.genesis_time, "another genesis_time")?;
    // A field that CometBFT 0.38 has no more, and hands on as it likes.
    let mut params = theirs.consensus_params.clone();
    params.block.time_iota_ms = document.consensus_params.block.time_iota_ms;
    same(params == document.consensus_params, "other consensus_params")?;
    let mut listed: Vec<_> = document.validators.iter().map(|validator| (validator.pub_key, validator.power)).collect();
    let mut given: Vec<_> = theirs.validators.iter().map(|update| (update.pub_key, update.power)).collect();
    listed.sort_unstable();
    given.sort_unstable();
    same(given == listed, "other validators")?;
    let state = serde_json::from_slice::<AppState>(&theirs.app_state_bytes);
    same(state.is_ok_and(|state| state == *ours.app_state()), "another app_state")
}

#[cfg(test)]
mod tests;
