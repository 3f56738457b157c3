//! Blocks: what their transactions do, one after the other.

use tendermint::abci::types::ExecTxResult;
use tendermint::abci::{Code, Event, EventAttributeIndexExt as _};
use types::{ChainId, Height, Millis};

use crate::error::Refusal;
use crate::params::Params;
use crate::state::{Changes, Note, State, View, key};
use crate::transaction::{Body, SignedTransaction, Verified};
use crate::{account, anchors, identities};
use audit::Taken;

/// What the ledger needs to know of the block that it works on.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The chain.
    pub chain: &'a ChainId,
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: Millis,
}

/// What came of a block.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// One result a transaction, in their order.
    pub results: Vec<ExecTxResult>,
    /// What changed in the state.
    pub changes: Changes,
    /// What a node keeps beside the state.
    pub notes: Vec<Note>,
}

/// Executes the transactions of a block that was proposed or decided.
///
/// # Errors
/// The place and the refusal of the first transaction that must not be in a block at all:
/// malformed, badly signed, or not to be charged. An honest proposer includes none. A transaction
/// that can be charged and whose body is refused is in order: it costs its fee and does nothing.
pub fn execute(
    view: &dyn View,
    block: Block<'_>,
    transactions: impl IntoIterator<Item = Result<Verified, Refusal>>,
) -> Result<Outcome, (usize, Refusal)> {
    let mut state = State::new(view);
    let params = params(&state);
    let mut results = Vec::new();
    for (place, transaction) in transactions.into_iter().enumerate() {
        let result = transaction.and_then(|verified| apply(&mut state, &params, block, &verified));
        results.push(result.map_err(|refusal| (place, refusal))?);
    }
    let (changes, notes) = state.finish();
    Ok(Outcome { results, changes, notes })
}

/// Applies one transaction: charges it, then runs its body.
///
/// # Errors
/// The refusal, if it cannot be charged; the state is then as before.
pub fn apply(state: &mut State<'_>, params: &Params, block: Block<'_>, verified: &Verified) -> Result<ExecTxResult, Refusal> {
    let charged = belongs(block.chain, verified).and_then(|()| account::charge(state, params, verified, block.height));
    if let Err(refusal) = charged {
        state.discard();
        return Err(refusal);
    }
    state.settle();
    match run(state, params, block, verified) {
        Ok(events) => {
            state.settle();
            Ok(done(verified, events))
        }
        Err(refusal) => {
            state.discard();
            Ok(failed(verified, &refusal))
        }
    }
}

/// Checks a transaction for the mempool against a state that earlier ones have changed, and
/// changes it likewise. Stricter than a block: a body that would fail is refused too.
///
/// # Errors
/// The refusal; the state is then as before.
pub fn check(state: &mut State<'_>, block: Block<'_>, verified: &Verified) -> Result<(), Refusal> {
    let params = params(state);
    let checked = belongs(block.chain, verified)
        .and_then(|()| account::charge(state, &params, verified, block.height))
        .and_then(|()| run(state, &params, block, verified));
    match checked {
        Ok(_) => {
            state.settle();
            Ok(())
        }
        Err(refusal) => {
            state.discard();
            Err(refusal)
        }
    }
}

/// Reads and verifies a transaction's bytes.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::BadSignature`].
pub fn verify(bytes: &[u8]) -> Result<Verified, Refusal> {
    SignedTransaction::parse(bytes)?.verify()
}

/// The chain's parameters.
///
/// # Panics
/// If there are none: the state was not made by a genesis.
#[must_use]
pub fn params(state: &State<'_>) -> Params {
    state.read(key::PARAMS).expect("the genesis writes the parameters")
}

fn belongs(chain: &ChainId, verified: &Verified) -> Result<(), Refusal> {
    let found = &verified.transaction().chain;
    if found == chain {
        return Ok(());
    }
    Err(Refusal::WrongChain { found: found.to_string(), expected: chain.to_string() })
}

fn run(state: &mut State<'_>, params: &Params, block: Block<'_>, verified: &Verified) -> Result<Vec<Event>, Refusal> {
    let transaction = verified.transaction();
    let author = transaction.author.address();
    let Block { chain, height, .. } = block;
    let event = match &transaction.body {
        Body::Transfer { to, amount, .. } => {
            account::transfer(state, &author, to, *amount)?;
            event("transfer", [("from", author.to_string()), ("to", to.to_string()), ("amount", amount.0.to_string())])
        }
        Body::Allow { beneficiary, limit, expires } => {
            account::allow(state, &author, beneficiary, *limit, *expires);
            event("allow", [("sponsor", author.to_string()), ("beneficiary", beneficiary.to_string()), ("limit", limit.0.to_string())])
        }
        Body::Identity(operation) => {
            let did = identities::apply(state, chain, height, operation)?;
            event("identity", [("did", did.to_string()), ("operation", operation.operation.name().to_owned())])
        }
        Body::RegisterLog { key, bond } => {
            let log = anchors::register(state, params, chain, height, (&author, transaction.sequence), (key, *bond))?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "register".to_owned())])
        }
        Body::RotateLogKey { log, key } => {
            anchors::rotate_key(state, &author, log, key)?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "rotate".to_owned())])
        }
        Body::RetireLog { log } => {
            anchors::retire(state, params, height, &author, log)?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "retire".to_owned())])
        }
        Body::Anchor(anchor) => {
            let again = matches!(anchors::anchor(state, chain, anchor)?, Taken::Again);
            let log = anchor.anchor.log.to_string();
            event("anchor", [("log", log), ("sequence", anchor.anchor.sequence.to_string()), ("again", again.to_string())])
        }
    };
    Ok(vec![event])
}

fn event<const N: usize>(kind: &str, attributes: [(&str, String); N]) -> Event {
    Event::new(kind, attributes.map(|(name, value)| (name, value).index()))
}

fn done(verified: &Verified, events: Vec<Event>) -> ExecTxResult {
    let size = i64::try_from(verified.size_bytes()).unwrap_or(i64::MAX);
    ExecTxResult { code: Code::Ok, gas_wanted: size, gas_used: size, events, ..Default::default() }
}

fn failed(verified: &Verified, refusal: &Refusal) -> ExecTxResult {
    let code = Code::from(refusal.code());
    ExecTxResult { code, log: refusal.to_string(), codespace: refusal.codespace().to_owned(), ..done(verified, Vec::new()) }
}
