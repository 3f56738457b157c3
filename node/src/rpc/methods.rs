//! The methods, each a question to the application.
//!
//! Answers have CometBFT 0.38's shape. Where the `tendermint-rpc` types write another one than they
//! read (names of fields, bytes in results), the difference is mended here.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consensus::{Application as _, Host as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tendermint::abci::request;
use tendermint::abci::response::CheckTx;
use tendermint::abci::types::ExecTxResult;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Block, Commit, Height};
use tendermint::merkle::{self, simple_hash_from_byte_vectors};
use tendermint::{AppHash, Time, account, node, tx};
use tendermint_rpc::endpoint::{block, block_results, commit, consensus_params, header, header_by_hash, status};
use tokio::sync::broadcast::error::RecvError;
use types::Hash;

use super::error::Fault;
use super::params::{Params, Text, missing};
use super::search::Paged;
use super::{Door, Info, engine, history, search, waiting};
use crate::app::App;
use crate::evidence::NotTaken as NotTakenEvidence;
use crate::mempool::NotTaken;
use crate::tx::Tx;

/// The CometBFT that this RPC speaks like: clients choose their dialect by it.
pub const SPOKEN: &str = "0.38.17";

/// How long `broadcast_tx_commit` waits for a block, as CometBFT does.
const INCLUSION: Duration = Duration::from_secs(10);

/// A healthy node's last block is not older than three heartbeats and this.
const GRACE: Duration = Duration::from_secs(5);

/// Validators a page, and without being asked: CometBFT's bounds.
const MAX_PER_PAGE: usize = 100;
const DEFAULT_PER_PAGE: usize = 30;

/// What can be asked for over HTTP and over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    AbciInfo,
    AbciQuery,
    Block,
    BlockByHash,
    BlockResults,
    BlockSearch,
    Blockchain,
    BroadcastEvidence,
    BroadcastTxAsync,
    BroadcastTxCommit,
    BroadcastTxSync,
    CheckTx,
    Commit,
    ConsensusParams,
    ConsensusState,
    DumpConsensusState,
    Genesis,
    GenesisChunked,
    Header,
    HeaderByHash,
    Health,
    Index(Paged),
    NetInfo,
    NumUnconfirmedTxs,
    Status,
    Tx,
    TxSearch,
    UnconfirmedTxs,
    Validators,
}

/// The methods, their names, and the names of their parameters in order.
pub(super) const METHODS: [(Method, &str, &[&str]); 35] = [
    (Method::AbciInfo, "abci_info", &[]),
    (Method::AbciQuery, "abci_query", &["path", "data", "height", "prove"]),
    (Method::Block, "block", &["height"]),
    (Method::BlockByHash, "block_by_hash", &["hash"]),
    (Method::BlockResults, "block_results", &["height"]),
    (Method::BlockSearch, "block_search", &["query", "page", "per_page", "order_by"]),
    (Method::Blockchain, "blockchain", &["minHeight", "maxHeight"]),
    (Method::BroadcastEvidence, "broadcast_evidence", &["evidence"]),
    (Method::BroadcastTxAsync, "broadcast_tx_async", &["tx"]),
    (Method::BroadcastTxCommit, "broadcast_tx_commit", &["tx"]),
    (Method::BroadcastTxSync, "broadcast_tx_sync", &["tx"]),
    (Method::CheckTx, "check_tx", &["tx"]),
    (Method::Commit, "commit", &["height"]),
    (Method::ConsensusParams, "consensus_params", &["height"]),
    (Method::ConsensusState, "consensus_state", &[]),
    (Method::DumpConsensusState, "dump_consensus_state", &[]),
    (Method::Genesis, "genesis", &[]),
    (Method::GenesisChunked, "genesis_chunked", &["chunk"]),
    (Method::Header, "header", &["height"]),
    (Method::HeaderByHash, "header_by_hash", &["hash"]),
    (Method::Health, "health", &[]),
    (Method::Index(Paged::Anchors), "index_anchors", &["log", "page", "per_page", "order_by"]),
    (Method::Index(Paged::Identities), "index_identities", &["page", "per_page", "order_by"]),
    (Method::Index(Paged::Operations), "index_operations", &["did", "page", "per_page", "order_by"]),
    (Method::Index(Paged::Logs), "index_logs", &["owner", "page", "per_page", "order_by"]),
    (Method::Index(Paged::Status), "index_status", &[]),
    (Method::Index(Paged::Validators), "index_validators", &["page", "per_page", "order_by"]),
    (Method::Index(Paged::Powers), "index_powers", &["validator", "page", "per_page", "order_by"]),
    (Method::NetInfo, "net_info", &[]),
    (Method::NumUnconfirmedTxs, "num_unconfirmed_txs", &[]),
    (Method::Status, "status", &[]),
    (Method::Tx, "tx", &["hash", "prove"]),
    (Method::TxSearch, "tx_search", &["query", "prove", "page", "per_page", "order_by"]),
    (Method::UnconfirmedTxs, "unconfirmed_txs", &["limit"]),
    (Method::Validators, "validators", &["height", "page", "per_page"]),
];

/// Answers one request.
pub(super) async fn call(door: &Arc<Door>, method: Method, params: Params) -> Result<Value, Fault> {
    match method {
        Method::BroadcastTxAsync => broadcast_async(door, transaction(&params)?),
        Method::BroadcastTxCommit => broadcast_commit(door, transaction(&params)?).await,
        Method::BroadcastTxSync => broadcast_sync(door, transaction(&params)?).await,
        Method::BlockSearch => search::blocks(door, &params).await,
        Method::ConsensusState => engine::consensus_state(door).await,
        Method::DumpConsensusState => engine::dump_consensus_state(door, &door.info).await,
        Method::Index(what) => search::page(door, what, &params).await,
        Method::NetInfo => engine::net_info(door).await,
        Method::TxSearch => search::transactions(door, &params).await,
        // Even a busy node says whether it is well.
        Method::Health => health(door.app.idle_for(), door.app.pace().heartbeat),
        _ => door.blocking(move |door| read(&door.app, &door.info, method, &params)).await?,
    }
}

fn read(app: &App, info: &Info, method: Method, params: &Params) -> Result<Value, Fault> {
    match method {
        Method::AbciInfo => {
            let info = app.info();
            let mut json = to_json(&info)?;
            // The type writes an array of numbers where CometBFT writes base64.
            json["last_block_app_hash"] = base64(info.last_block_app_hash.as_bytes());
            Ok(json!({"response": json}))
        }
        Method::AbciQuery => abci_query(app, params),
        Method::Block => {
            let block = stored(app, at(app, params)?)?.0;
            let block_id = consensus::commit::block_id(block.header.hash());
            Ok(json!({"block_id": to_json(&block_id)?, "block": block_json(&block)?}))
        }
        Method::BlockByHash => {
            let block = by_hash(app, params.hash("hash", Text::Base64)?);
            let block_id = block.as_ref().map(|block| consensus::commit::block_id(block.header.hash()));
            let block = block.as_ref().map(block_json).transpose()?;
            Ok(json!({"block_id": to_json(&block_id.unwrap_or_default())?, "block": block}))
        }
        Method::BlockResults => results(app, at(app, params)?),
        Method::Blockchain => history::blockchain(app, params),
        Method::BroadcastEvidence => broadcast_evidence(app, params),
        Method::CheckTx => waiting::check(app, transaction(params)?),
        Method::Commit => signed_header(app, at(app, params)?),
        Method::ConsensusParams => {
            // They do not change after the genesis.
            let block_height = at_next(app, params)?;
            to_json(&consensus_params::Response { block_height, consensus_params: app.chain().params })
        }
        Method::Genesis => Ok(json!({"genesis": to_json(app.genesis().as_tendermint())?})),
        Method::GenesisChunked => history::genesis_chunked(app, params),
        Method::Header => to_json(&header::Response { header: header_at(app, at(app, params)?)? }),
        Method::HeaderByHash => {
            let header = by_hash(app, params.hash("hash", Text::Hex)?).map(|block| block.header);
            to_json(&header_by_hash::Response { header })
        }
        Method::NumUnconfirmedTxs => Ok(waiting::count(app)),
        Method::Status => status(app, info),
        Method::Tx => find(app, Hash(params.hash("hash", Text::Base64)?), params.flag("prove")?),
        Method::UnconfirmedTxs => waiting::unconfirmed(app, params),
        Method::Validators => validators(app, params),
        Method::BlockSearch
        | Method::BroadcastTxAsync
        | Method::BroadcastTxCommit
        | Method::BroadcastTxSync
        | Method::ConsensusState
        | Method::DumpConsensusState
        | Method::Health
        | Method::Index(_)
        | Method::NetInfo
        | Method::TxSearch => Err(Fault::Internal("this method is answered elsewhere".to_owned())),
    }
}

fn health(idle: Duration, heartbeat: Duration) -> Result<Value, Fault> {
    let bound = healthy_age(heartbeat);
    if idle > bound { Err(Fault::Stale { age: idle, bound }) } else { Ok(json!({})) }
}

fn healthy_age(heartbeat: Duration) -> Duration {
    heartbeat.saturating_mul(3).saturating_add(GRACE)
}

fn status(app: &App, info: &Info) -> Result<Value, Fault> {
    let chain = app.chain();
    let block = |height| app.store().header(height);
    let latest = chain.last_block.and_then(|(height, _)| block(height));
    let earliest = latest.as_ref().and_then(|_| block(app.earliest()));
    let bound = healthy_age(app.pace().heartbeat);
    // Nobody tells how far the others are; what was decided long ago is not the end of the chain.
    let behind = |time: Time| Time::now().duration_since(time).is_ok_and(|age| age > bound);
    let at = |header: Option<&tendermint::block::Header>| match header {
        Some(header) => (header.hash(), header.app_hash.clone(), header.height, header.time),
        None => (tendermint::Hash::None, AppHash::default(), no_height(), app.genesis().time()),
    };
    let (earliest_block_hash, earliest_app_hash, earliest_block_height, earliest_block_time) = at(earliest.as_ref());
    let (latest_block_hash, latest_app_hash, latest_block_height, latest_block_time) = at(latest.as_ref());
    let sync_info = status::SyncInfo {
        earliest_block_hash,
        earliest_app_hash,
        earliest_block_height,
        earliest_block_time,
        latest_block_hash,
        latest_app_hash,
        latest_block_height,
        latest_block_time,
        catching_up: latest.is_some_and(|header| behind(header.time)),
    };
    Ok(json!({"node_info": node_info(app, info)?, "sync_info": to_json(&sync_info)?, "validator_info": validator_info(&chain, info)?}))
}

fn node_info(app: &App, info: &Info) -> Result<Value, Fault> {
    let block = consensus::chain::BLOCK_VERSION;
    Ok(json!({
        "protocol_version": {"p2p": number(0), "block": number(block), "app": number(app.chain().app_version)},
        "id": to_json(&node::Id::new(info.node_id))?,
        "listen_addr": info.listen,
        "network": app.genesis().chain().to_string(),
        "version": SPOKEN,
        "channels": "",
        "moniker": info.moniker,
        "other": {"tx_index": if info.index.is_on() { "on" } else { "off" }, "rpc_address": ""},
    }))
}

fn validator_info(chain: &consensus::ChainState, info: &Info) -> Result<Value, Fault> {
    let address = info.validator.map_or(account::Id::new([0; 20]), account::Id::from);
    // A node that does not validate has no key; the format demands one.
    let key = match info.validator {
        Some(key) => to_json(&key)?,
        None => json!({"type": "tendermint/PubKeyEd25519", "value": base64(&[0; 32])}),
    };
    let power = chain.validators.by_address(address).map_or(0, |validator| validator.power);
    Ok(json!({"address": to_json(&address)?, "pub_key": key, "voting_power": number(power)}))
}

fn results(app: &App, height: Height) -> Result<Value, Fault> {
    let outcome = app.store().outcome(height).ok_or_else(|| gone(app, height))?;
    let results = outcome.tx_results.iter().map(result_json).collect::<Result<Vec<_>, _>>()?;
    let mut answer = to_json(&block_results::Response {
        height,
        txs_results: None,
        finalize_block_events: outcome.events,
        begin_block_events: None,
        end_block_events: None,
        validator_updates: outcome.validator_updates,
        consensus_param_updates: outcome.consensus_param_updates,
        app_hash: outcome.app_hash,
    })?;
    if !results.is_empty() {
        answer["txs_results"] = results.into();
    }
    Ok(answer)
}

fn signed_header(app: &App, height: Height) -> Result<Value, Fault> {
    // Of hand-offs they outlive their blocks.
    let commit = app.store().commit_of(height).ok_or_else(|| gone(app, height))?;
    let signed_header = SignedHeader::new(header_at(app, height)?, commit).map_err(internal)?;
    to_json(&commit::Response { signed_header, canonical: height.value() < tip(app) })
}

fn validators(app: &App, params: &Params) -> Result<Value, Fault> {
    let height = at_next(app, params)?;
    let set = app.store().validators(height).ok_or_else(|| gone(app, height))?;
    let all = set.as_slice();
    let per_page = per_page(params.number("per_page")?);
    let place = page(params.number("page")?, per_page, all.len())?;
    let shown = all.chunks(per_page).nth(place - 1).unwrap_or_default();
    let entries = shown.iter().map(set_json).collect::<Result<Vec<_>, Fault>>()?;
    let (count, total) = (entries.len().to_string(), all.len().to_string());
    Ok(json!({"block_height": height.to_string(), "validators": entries, "count": count, "total": total}))
}

/// How many entries a page has. Source: CometBFT 0.38, `rpc/core/env.go`, as [`page`] is.
pub(super) fn per_page(asked: Option<i64>) -> usize {
    match asked.and_then(|asked| usize::try_from(asked).ok()) {
        None | Some(0) => DEFAULT_PER_PAGE,
        Some(asked) => asked.min(MAX_PER_PAGE),
    }
}

/// The asked page, counted from 1; the first if none is asked.
pub(super) fn page(asked: Option<i64>, per_page: usize, total: usize) -> Result<usize, Fault> {
    let (pages, page) = (total.div_ceil(per_page).max(1), asked.unwrap_or(1));
    let place = usize::try_from(page).ok().filter(|page| (1..=pages).contains(page));
    place.ok_or_else(|| Fault::Internal(format!("page should be within [1, {pages}] range, given {page}")))
}

pub(super) fn set_json(validator: &consensus::Validator) -> Result<Value, Fault> {
    Ok(json!({
        "address": to_json(&validator.address())?,
        "pub_key": to_json(&validator.key)?,
        "voting_power": number(validator.power),
        "proposer_priority": validator.priority.to_string(),
    }))
}

fn find(app: &App, hash: Hash, prove: bool) -> Result<Value, Fault> {
    let name = hex::encode_upper(hash.0);
    let unknown = || Fault::Internal(format!("tx ({name}) not found"));
    let (height, index) = app.store().transaction(&hash).ok_or_else(unknown)?;
    let (block, outcome) = app.store().block(height).zip(app.store().outcome(height)).ok_or_else(unknown)?;
    let place = usize::try_from(index).map_err(internal)?;
    let (bytes, result) = block.0.data.get(place).zip(outcome.tx_results.get(place)).ok_or_else(unknown)?;
    let mut answer = json!({
        "hash": name,
        "height": height.to_string(),
        "index": index,
        "tx_result": result_json(result)?,
        "tx": base64(bytes),
    });
    if prove {
        answer["proof"] = to_json(&prove_transaction(&block.0.data, place)?)?;
    }
    Ok(answer)
}

/// The proof that a transaction is in a block: a path in the tree over the transactions' hashes.
/// Source: CometBFT 0.38, `types/tx.go` and `crypto/merkle/proof.go`.
///
/// # Errors
/// [`Fault::Internal`] if the block has no transaction at this place.
pub fn prove_transaction(transactions: &[Vec<u8>], place: usize) -> Result<tx::Proof, Fault> {
    let hashes: Vec<[u8; 32]> = transactions.iter().map(|bytes| Hash::sha256(&[bytes]).0).collect();
    let leaf = hashes.get(place).ok_or_else(|| Fault::Internal("the block has no such transaction".to_owned()))?;
    let leaf_hash = tendermint::Hash::Sha256(Hash::sha256(&[&[0], leaf]).0);
    let mut aunts = Vec::new();
    let (mut rest, mut at) = (hashes.as_slice(), place);
    while rest.len() > 1 {
        let (left, right) = rest.split_at(1 << (rest.len() - 1).ilog2());
        let aunt = if at < left.len() { right } else { left };
        aunts.push(tendermint::Hash::Sha256(simple_hash_from_byte_vectors::<Sha256>(aunt)));
        (rest, at) = if at < left.len() { (left, at) } else { (right, at - left.len()) };
    }
    aunts.reverse();
    let (total, index) = (hashes.len() as u64, place as u64);
    let proof = merkle::Proof { total, index, leaf_hash, aunts };
    Ok(tx::Proof { root_hash: consensus::chain::data_hash(transactions), data: transactions[place].clone(), proof })
}

fn abci_query(app: &App, params: &Params) -> Result<Value, Fault> {
    let height = params.number("height")?.unwrap_or_default();
    let height = Height::try_from(height).map_err(|_| Fault::Params("`height` must not be negative".to_owned()))?;
    let data = params.bytes("data", Text::Hex)?.unwrap_or_default().into();
    let path = params.text("path")?.unwrap_or_default();
    let answer = app.query(request::Query { data, path, height, prove: params.flag("prove")? });
    let proof = answer.proof.map(|proof| {
        let op = |op: merkle::proof::ProofOp| json!({"type": op.field_type, "key": base64(&op.key), "data": base64(&op.data)});
        json!({"ops": proof.ops.into_iter().map(op).collect::<Vec<_>>()})
    });
    Ok(json!({"response": {
        "code": answer.code.value(),
        "log": answer.log,
        "info": answer.info,
        "index": answer.index.to_string(),
        "key": base64(&answer.key),
        "value": base64(&answer.value),
        "proofOps": proof,
        "height": answer.height.to_string(),
        "codespace": answer.codespace,
    }}))
}

/// Into the pool of evidence; what waits or stands in a block already is as good, as in CometBFT.
fn broadcast_evidence(app: &App, params: &Params) -> Result<Value, Fault> {
    let json = params.json("evidence")?.ok_or_else(|| missing("evidence"))?;
    let evidence = rpc::evidence::from_json(json).map_err(|error| Fault::Params(format!("`evidence` is none: {error}")))?;
    let name = consensus::evidence::bytes::name(&evidence);
    let refused = |refusal: NotTakenEvidence| Fault::Evidence { code: refusal.code(), words: refusal.to_string() };
    app.take_evidence(evidence).map_err(refused)?;
    Ok(json!({"hash": base64(&name.0)}))
}

fn transaction(params: &Params) -> Result<Tx, Fault> {
    params.bytes("tx", Text::Base64)?.map(|bytes| Bytes::from(bytes).into()).ok_or_else(|| missing("tx"))
}

/// Into the mempool in the background: only that it was received is answered.
fn broadcast_async(door: &Door, transaction: Tx) -> Result<Value, Fault> {
    let answer = checked(transaction.hash(), Ok(()));
    door.intake.leave(transaction)?;
    Ok(answer)
}

async fn broadcast_sync(door: &Door, transaction: Tx) -> Result<Value, Fault> {
    let hash = *transaction.hash();
    Ok(checked(&hash, door.intake.submit(transaction).await?))
}

/// Into the mempool, and then waits for the block.
async fn broadcast_commit(door: &Arc<Door>, transaction: Tx) -> Result<Value, Fault> {
    let hash = *transaction.hash();
    let mut blocks = door.app.blocks();
    let taken = door.intake.submit(transaction).await?;
    let refused = taken.is_err();
    let answer = |check: Result<(), NotTaken>, result: &ExecTxResult, height: Height| {
        let check_tx = check_json(check)?;
        let (name, height) = (hex::encode_upper(hash.0), height.to_string());
        Ok(json!({"check_tx": check_tx, "tx_result": result_json(result)?, "hash": name, "height": height}))
    };
    if refused {
        return answer(taken, &ExecTxResult::default(), no_height());
    }
    let included = async {
        loop {
            match blocks.recv().await {
                Ok(decided) => {
                    if let Some(place) = decided.block.data.iter().position(|bytes| Hash::sha256(&[bytes]) == hash) {
                        return decided.outcome.tx_results.get(place).cloned().map(|result| (result, decided.block.header.height));
                    }
                }
                // Some blocks were missed: the transaction may have been in one of them.
                Err(RecvError::Lagged(_)) => {
                    let found = door.blocking(move |door| included(&door.app, &hash)).await;
                    if let Ok(Some(found)) = found {
                        return Some(found);
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    };
    match tokio::time::timeout(INCLUSION, included).await {
        Ok(Some((result, height))) => answer(Ok(()), &result, height),
        Ok(None) => Err(Fault::Internal("the node stops".to_owned())),
        Err(_) => Err(Fault::Internal("timed out waiting for tx to be included in a block".to_owned())),
    }
}

fn included(app: &App, hash: &Hash) -> Option<(ExecTxResult, Height)> {
    let (height, index) = app.store().transaction(hash)?;
    let result = app.store().outcome(height)?.tx_results.get(usize::try_from(index).ok()?)?.clone();
    Some((result, height))
}

/// What the mempool said, as `broadcast_tx_sync` answers it.
fn checked(hash: &Hash, taken: Result<(), NotTaken>) -> Value {
    let CheckTx { code, codespace, log, .. } = check_tx(taken);
    json!({"code": code.value(), "data": "", "log": log, "codespace": codespace, "hash": hex::encode_upper(hash.0)})
}

pub(super) fn check_json(taken: Result<(), NotTaken>) -> Result<Value, Fault> {
    to_json(&check_tx(taken))
}

fn check_tx(taken: Result<(), NotTaken>) -> CheckTx {
    taken.map_or_else(CheckTx::from, |()| CheckTx::default())
}

/// Height 0, of no block; the type's default is 1.
fn no_height() -> Height {
    Height::from(0u32)
}

fn tip(app: &App) -> u64 {
    app.tip()
}

/// The asked height, of which there is a block; the tip if none is asked.
fn at(app: &App, params: &Params) -> Result<Height, Fault> {
    let tip = tip(app);
    match params.number("height")? {
        None if tip == 0 => Err(Fault::Internal("there is no block yet".to_owned())),
        asked => bounded(asked, tip),
    }
}

/// The asked height, at most the next one; the next if none is asked, as CometBFT has it.
fn at_next(app: &App, params: &Params) -> Result<Height, Fault> {
    bounded(params.number("height")?, tip(app) + 1)
}

fn bounded(asked: Option<i64>, highest: u64) -> Result<Height, Fault> {
    let height = match asked {
        None => highest,
        Some(asked) => match u64::try_from(asked) {
            Ok(height) if height > 0 => height,
            _ => return Err(Fault::Internal(format!("height must be greater than 0, but got {asked}"))),
        },
    };
    if height > highest {
        return Err(Fault::Internal(format!("height {height} must be less than or equal to the current blockchain height {highest}")));
    }
    Height::try_from(height).map_err(internal)
}

fn stored(app: &App, height: Height) -> Result<(Block, Commit), Fault> {
    app.store().block(height).ok_or_else(|| gone(app, height))
}

fn header_at(app: &App, height: Height) -> Result<tendermint::block::Header, Fault> {
    app.store().header(height).ok_or_else(|| gone(app, height))
}

fn by_hash(app: &App, hash: [u8; 32]) -> Option<Block> {
    let height = app.store().height_of(&hash)?;
    app.store().block(height).map(|(block, _)| block)
}

/// In CometBFT's words.
pub(super) fn gone(app: &App, height: Height) -> Fault {
    Fault::Internal(format!("height {height} is not available, lowest height is {}", app.earliest()))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::Internal(error.to_string())
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(internal)
}

/// A block whose evidence is spelt as CometBFT does, with the power that the type loses.
///
/// # Errors
/// [`Fault::Internal`] if it has no JSON form.
pub fn block_json(block: &Block) -> Result<Value, Fault> {
    let mut json = to_json(&block::v0_38::DialectBlock::from(block.clone()))?;
    let evidence: Vec<Value> = block.evidence.iter().map(rpc::evidence::to_json).collect();
    if !evidence.is_empty() {
        json["evidence"]["evidence"] = evidence.into();
    }
    Ok(json)
}

/// A result whose data are in base64, as CometBFT writes and the type reads them.
pub(super) fn result_json(result: &ExecTxResult) -> Result<Value, Fault> {
    let mut json = to_json(result)?;
    if !result.data.is_empty() {
        json["data"] = base64(&result.data);
    }
    Ok(json)
}

/// CometBFT writes numbers of 64 bits as strings.
pub(super) fn number(number: u64) -> Value {
    number.to_string().into()
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_unhealthy_when_its_last_block_is_too_old() {
        let seconds = Duration::from_secs;
        assert_eq!(health(seconds(35), seconds(10)), Ok(json!({})));
        let stale = health(seconds(36), seconds(10)).expect_err("older than three heartbeats and five seconds");
        assert_eq!((stale.code(), stale.status().as_u16()), (-32001, 503));
        assert_eq!(stale.to_string(), "no block for 36 s, at most 35 s are healthy");
        assert_eq!(health(Duration::MAX, Duration::MAX), Ok(json!({})));
    }

    #[test]
    fn a_transaction_is_proven_in_its_block() {
        for count in [1usize, 2, 3, 5, 8, 13] {
            let transactions: Vec<Vec<u8>> = (0..count).map(|place| vec![u8::try_from(place).expect("few"); 3]).collect();
            for place in 0..count {
                let proof = prove_transaction(&transactions, place).expect("in the block");
                let path: Vec<Hash> = proof.proof.aunts.iter().map(|aunt| Hash(aunt.as_bytes().try_into().expect("32"))).collect();
                let leaf = Hash(proof.proof.leaf_hash.as_bytes().try_into().expect("32"));
                let root = Hash(proof.root_hash.as_bytes().try_into().expect("32"));
                audit::log::verify_inclusion(&leaf, proof.proof.index, proof.proof.total, &path, &root).expect("the path leads there");
            }
        }
    }
}
