//! Answers to `abci_query`: the paths of the crate `rpc`'s module `query`, by `docs/spec/queries.md`.

use audit::log::{self, Head};
use audit::{LogRecord, SignedAnchor};
use ledger::state::key;
use rpc::query::{self, AnchorAt, AnchorProof, Changes, ChangesFrom, MAX_CHANGES, MAX_KEY, Refusal};
use tendermint::abci::{Code, request, response};
use tendermint::block::Height;
use types::{Decode, Encode};

use crate::app::App;
use crate::tree;

/// Why there is no answer.
enum Failure {
    /// The query is refused.
    Refused(Refusal),
    /// The stored tree cannot be read.
    Broken(anyhow::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// Answers a query. Blocks while it reads.
#[must_use]
pub fn answer(app: &App, request: &request::Query) -> response::Query {
    let answered = match request.path.as_str() {
        query::STATE => state(app, request),
        query::ANCHOR => anchor(app, request),
        query::HANDOFFS => handoffs(app, request),
        _ => Err(Refusal::UnknownPath.into()),
    };
    match answered {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) => refused(refusal.code(), query::CODESPACE, refusal.to_string()),
        Err(Failure::Broken(error)) => {
            tracing::error!(%error, path = request.path, "a query found the stored state not whole");
            refused(1, "node", "the stored state cannot be read".to_owned())
        }
    }
}

fn refused(code: u32, codespace: &str, log: String) -> response::Query {
    // The type's default height is 1, which would claim a state.
    response::Query { code: Code::from(code), codespace: codespace.to_owned(), log, height: Height::from(0u32), ..Default::default() }
}

fn state(app: &App, request: &request::Query) -> Result<response::Query, Failure> {
    if request.data.is_empty() || request.data.len() > MAX_KEY {
        return Err(Refusal::Malformed.into());
    }
    let (height, value, proof) = if request.prove {
        let (height, version) = provable(app, request.height)?;
        let (value, proof) = tree::prove(app.store(), version, &request.data)?;
        (height, value, Some(query::proof_ops(&request.data, proof)))
    } else {
        let (height, version) = known(app, request.height)?;
        (height, tree::get(app.store(), version, &request.data)?, None)
    };
    let (key, value) = (request.data.clone(), value.unwrap_or_default().into());
    Ok(response::Query { key, value, proof, height, ..Default::default() })
}

fn anchor(app: &App, request: &request::Query) -> Result<response::Query, Failure> {
    let AnchorAt { log, sequence } = AnchorAt::from_bytes(&request.data).map_err(|_| Refusal::Malformed)?;
    let (height, version) = provable(app, request.height)?;
    let Some((index, bytes)) = app.store().anchor(&log, sequence) else {
        let record: Option<LogRecord> = read(app, version, &key::log(&log))?;
        let taken = record.is_some_and(|record| (1..=record.sequence).contains(&sequence));
        return Err(if taken { Refusal::NotKept } else { Refusal::NotYet }.into());
    };
    let size = read::<Head>(app, version, key::ANCHORS_HEAD)?.map_or(0, |head| head.size);
    if index >= size {
        return Err(Refusal::NotYet.into());
    }
    let path = log::inclusion(index, size, |level, index| app.store().log_node(level, index)).ok_or(Refusal::NotKept)?;
    let path = path.try_into().map_err(anyhow::Error::from)?;
    let anchor = SignedAnchor::from_bytes(&bytes).map_err(anyhow::Error::from)?;
    let value = AnchorProof { index, size, path, anchor }.to_bytes().into();
    Ok(response::Query { key: request.data.clone(), value, height, ..Default::default() })
}

fn handoffs(app: &App, request: &request::Query) -> Result<response::Query, Failure> {
    let ChangesFrom(from) = ChangesFrom::from_bytes(&request.data).map_err(|_| Refusal::Malformed)?;
    let tip = tip(app)?;
    let heights = app.store().handoffs(from.0, MAX_CHANGES).into_iter().map(types::Height).collect();
    let changes = Changes::new(heights).map_err(anyhow::Error::from)?;
    Ok(response::Query { key: request.data.clone(), value: changes.to_bytes().into(), height: tip, ..Default::default() })
}

/// The height of the state to answer from, and the tree's version after it. A header proves the
/// state of the height before it, so the last provable one is below the tip.
fn provable(app: &App, asked: Height) -> Result<(Height, u64), Failure> {
    until(app, asked, tip(app)?.value() - 1)
}

/// As [`provable`], where no proof is asked for: the state after the tip will do.
fn known(app: &App, asked: Height) -> Result<(Height, u64), Failure> {
    until(app, asked, tip(app)?.value())
}

fn until(app: &App, asked: Height, last: u64) -> Result<(Height, u64), Failure> {
    let height = if asked.value() == 0 { last } else { asked.value() };
    if height > last {
        return Err(Refusal::FutureHeight.into());
    }
    let version = app.store().tree_version_at(height).ok_or(Refusal::PrunedHeight)?;
    let height = Height::try_from(height).map_err(anyhow::Error::from)?;
    Ok((height, version))
}

/// The last block's height; before the first, every height is one to come.
fn tip(app: &App) -> Result<Height, Refusal> {
    let tip = app.chain().tip();
    if tip.value() == 0 { Err(Refusal::FutureHeight) } else { Ok(tip) }
}

fn read<T: Decode>(app: &App, version: u64, key: &[u8]) -> Result<Option<T>, Failure> {
    let bytes = tree::get(app.store(), version, key)?;
    Ok(bytes.map(|bytes| T::from_bytes(&bytes)).transpose().map_err(anyhow::Error::from)?)
}
