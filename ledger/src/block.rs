//! Blocks: what their transactions do, one after the other.

use tendermint::abci::types::ExecTxResult;
use tendermint::abci::{Code, Event, EventAttributeIndexExt as _};
use types::{Address, ChainId, Height, Millis, PublicKey};

use crate::error::Refusal;
use crate::params::Params;
use crate::state::{Changes, Note, State, View, key};
use crate::transaction::{Body, SignedTransaction, Verified};
use crate::{account, anchors, governance, identities, stake};
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
    /// Offences that its evidence proves.
    pub misbehavior: &'a [Misbehavior],
    /// The validators whose signatures its last commit lacks.
    pub absent: &'a [Address],
}

impl<'a> Block<'a> {
    /// A block in which nobody is accused and nobody was absent: what a transaction is tried on.
    #[must_use]
    pub const fn new(chain: &'a ChainId, height: Height, time: Millis) -> Self {
        Self { chain, height, time, misbehavior: &[], absent: &[] }
    }
}

/// What a validator has done, as evidence proved it to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misbehavior {
    /// What it was.
    pub kind: Offence,
    /// The address of its consensus key.
    pub validator: Address,
    /// The height at which it was.
    pub height: Height,
    /// The time of that height's block.
    pub time: Millis,
}

/// What a validator can be proven to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It voted for two blocks in one round.
    DuplicateVote,
    /// It signed a header that is not the chain's.
    LightClientAttack,
}

impl Offence {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DuplicateVote => "duplicate_vote",
            Self::LightClientAttack => "light_client_attack",
        }
    }
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
    /// What happened beside the transactions.
    pub events: Vec<Event>,
    /// Validators whose power changes, to 0 for those who leave. They take effect two heights later.
    pub validator_updates: Vec<(PublicKey, u64)>,
    /// The version that the next header has, where an upgrade begins with it.
    pub app_version: Option<u64>,
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
    let mut transactions = transactions.into_iter().peekable();
    let mut events = stake::begin_block(&mut state, &params, block, transactions.peek().is_some());
    state.settle();
    let mut results = Vec::new();
    for (place, transaction) in transactions.enumerate() {
        let result = transaction.and_then(|verified| apply(&mut state, &params, block, &verified));
        results.push(result.map_err(|refusal| (place, refusal))?);
    }
    let (governed, app_version) = governance::end_block(&mut state, &params, block);
    let (ended, validator_updates) = stake::end_block(&mut state, &params, block);
    events.extend(governed.into_iter().chain(ended));
    state.settle();
    let (changes, notes) = state.finish();
    Ok(Outcome { results, changes, notes, events, validator_updates, app_version })
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

/// Checks the signature in a transaction's body before it is its turn, by the key that the state has for it now. If it holds, the
/// transaction and its copies know it, and it is not checked again; it decides nothing.
pub fn check_ahead(view: &dyn View, verified: &Verified) {
    if let Body::Anchor(anchor) = &verified.transaction().body {
        anchors::check_ahead(&State::new(view), verified, anchor);
    }
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
    let author = verified.author();
    let Block { chain, height, .. } = block;
    let event = match &transaction.body {
        Body::Transfer { to, amount, .. } => {
            account::transfer(state, author, to, *amount)?;
            event("transfer", [("from", author.to_string()), ("to", to.to_string()), ("amount", amount.0.to_string())])
        }
        Body::Allow { beneficiary, limit, expires } => {
            account::allow(state, author, beneficiary, *limit, *expires);
            event("allow", [("sponsor", author.to_string()), ("beneficiary", beneficiary.to_string()), ("limit", limit.0.to_string())])
        }
        Body::Identity(operation) => {
            let did = identities::apply(state, chain, height, operation)?;
            event("identity", [("did", did.to_string()), ("operation", operation.operation.name().to_owned())])
        }
        Body::RegisterLog { key, bond } => {
            let log = anchors::register(state, params, chain, height, (author, transaction.sequence), (key, *bond))?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "register".to_owned())])
        }
        Body::RotateLogKey { log, key } => {
            anchors::rotate_key(state, author, log, key)?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "rotate".to_owned())])
        }
        Body::RetireLog { log } => {
            anchors::retire(state, params, height, author, log)?;
            event("log", [("log", log.to_string()), ("owner", author.to_string()), ("act", "retire".to_owned())])
        }
        Body::Anchor(anchor) => {
            let again = matches!(anchors::anchor(state, chain, verified, anchor)?, Taken::Again);
            let log = anchor.anchor.log.to_string();
            event("anchor", [("log", log), ("sequence", anchor.anchor.sequence.to_string()), ("again", again.to_string())])
        }
        Body::CreateValidator(candidacy) => stake::validator::create(state, params, block, author, candidacy)?,
        Body::EditValidator { validator, edit } => stake::validator::edit(state, params, block, author, validator, edit)?,
        Body::Delegate { validator, amount } => stake::delegation::delegate(state, params, block, author, (validator, *amount))?,
        Body::Undelegate { validator, amount } => stake::delegation::undelegate(state, params, block, author, (validator, *amount))?,
        Body::Redelegate { from, to, amount } => stake::delegation::redelegate(state, params, block, author, (from, to, *amount))?,
        Body::WithdrawRewards { validator } => stake::delegation::withdraw(state, block, author, validator)?,
        Body::Unjail { validator } => stake::validator::unjail(state, params, block, author, validator)?,
        Body::SubmitProposal(draft) => return governance::submit(state, params, block, author, draft),
        Body::Deposit { proposal, amount } => return governance::deposit(state, params, block, author, *proposal, *amount),
        Body::Vote { proposal, choice } => return governance::vote(state, block, author, *proposal, *choice),
    };
    Ok(vec![event])
}

pub(crate) fn event<const N: usize>(kind: &str, attributes: [(&str, String); N]) -> Event {
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
