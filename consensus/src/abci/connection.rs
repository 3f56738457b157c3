//! One connection of CometBFT: its requests translated, our answers translated back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tendermint::abci::{Code, request, response};
use tendermint::block::Height;
use tendermint_proto::v0_38::abci as pb;

use super::{CODESPACE, Ending, MALFORMED};
use crate::Application;

/// The version of ABCI that CometBFT 0.38 speaks begins so.
const ABCI: &str = "2.";

/// What `tendermint-abci` clones for each connection.
pub(super) struct Connection<A> {
    app: Arc<A>,
    ending: Ending,
}

impl<A> Clone for Connection<A> {
    fn clone(&self) -> Self {
        Self { app: Arc::clone(&self.app), ending: self.ending.clone() }
    }
}

impl<A> Drop for Connection<A> {
    fn drop(&mut self) {
        // The server's own thread panics, beyond our reach, on a request of a kind that it does not know.
        if std::thread::panicking() {
            self.ending.tell("a request of no kind that ABCI 2.0 has".to_owned());
        }
    }
}

impl<A: Application> Connection<A> {
    pub(super) const fn new(app: Arc<A>, ending: Ending) -> Self {
        Self { app, ending }
    }

    /// Lets the application answer. If it panics, the node ends and the engine gets no answer.
    fn call<T>(&self, what: &str, answer: impl FnOnce(&A) -> T) -> T {
        let entered = self.ending.enter();
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&self.app)));
        drop(entered);
        answered.unwrap_or_else(|panic| self.ending.end(format!("{what} failed: {}", words(panic.as_ref()))))
    }

    /// A request of the engine alone, which no stranger words: one that cannot be read ends the node.
    fn read<P, T: TryFrom<P, Error = tendermint::Error>>(&self, what: &str, request: P) -> T {
        request.try_into().unwrap_or_else(|error: tendermint::Error| self.ending.end(format!("{what} cannot be read: {}", error.detail())))
    }
}

impl<A: Application> tendermint_abci::Application for Connection<A> {
    fn info(&self, request: pb::RequestInfo) -> pb::ResponseInfo {
        if !request.abci_version.starts_with(ABCI) {
            let (engine, version) = (request.version, request.abci_version);
            self.ending.end(format!("the engine {engine:?} speaks ABCI {version:?}: CometBFT 0.38, with ABCI 2.0, is needed"));
        }
        self.call("Info", Application::info).into()
    }

    fn init_chain(&self, request: pb::RequestInitChain) -> pb::ResponseInitChain {
        let request: request::InitChain = self.read("InitChain", request);
        self.call("InitChain", |app| app.init_chain(request)).into()
    }

    fn query(&self, request: pb::RequestQuery) -> pb::ResponseQuery {
        // A stranger's words, which CometBFT passes on as they are. Of the error only the detail: the rest is a trace.
        let answer = match request::Query::try_from(request) {
            Ok(request) => self.call("Query", |app| app.query(request)),
            Err(error) => response::Query {
                code: Code::from(MALFORMED),
                codespace: CODESPACE.to_owned(),
                log: error.detail().to_string(),
                height: Height::from(0u32),
                ..Default::default()
            },
        };
        answer.into()
    }

    fn check_tx(&self, request: pb::RequestCheckTx) -> pb::ResponseCheckTx {
        let answer = match request::CheckTx::try_from(request) {
            Ok(request) => self.call("CheckTx", |app| app.check_tx(request)),
            Err(error) => response::CheckTx {
                code: Code::from(MALFORMED),
                codespace: CODESPACE.to_owned(),
                log: error.detail().to_string(),
                ..Default::default()
            },
        };
        answer.into()
    }

    fn commit(&self) -> pb::ResponseCommit {
        self.call("Commit", Application::commit).into()
    }

    fn prepare_proposal(&self, request: pb::RequestPrepareProposal) -> pb::ResponsePrepareProposal {
        let request: request::PrepareProposal = self.read("PrepareProposal", request);
        self.call("PrepareProposal", |app| app.prepare_proposal(request)).into()
    }

    fn process_proposal(&self, request: pb::RequestProcessProposal) -> pb::ResponseProcessProposal {
        // Another validator's words: what cannot be read is not voted for.
        let answer = match request::ProcessProposal::try_from(request) {
            Ok(request) => self.call("ProcessProposal", |app| app.process_proposal(request)),
            Err(error) => {
                tracing::warn!(error = %error.detail(), "refused a proposal that cannot be read");
                response::ProcessProposal::Reject
            }
        };
        answer.into()
    }

    fn finalize_block(&self, request: pb::RequestFinalizeBlock) -> pb::ResponseFinalizeBlock {
        let request: request::FinalizeBlock = self.read("FinalizeBlock", request);
        self.call("FinalizeBlock", |app| app.finalize_block(request)).into()
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "no words".to_owned())
}
