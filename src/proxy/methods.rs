//! The methods, in CometBFT 0.38's shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consensus::chain::{commit_hash, params_hash};
use light::Verified;
use node::rpc::error::Fault;
use node::rpc::params::{Params, Text, missing};
use node::rpc::{SPOKEN, block_json, prove_transaction};
use rpc::query;
use serde::Serialize;
use serde_json::{Value, json};
use tendermint::abci::types::ExecTxResult;
use tendermint::block::Block;
use tendermint::{Time, account};
use tendermint_rpc::endpoint::{consensus_params, status};
use types::{Hash, Height};

use super::{Proxy, until};

/// Headers in one answer, and validators or transactions on a page: CometBFT's bounds.
const MAX_HEADERS: u64 = 20;
const MAX_PER_PAGE: i64 = 100;
const DEFAULT_PER_PAGE: i64 = 30;

/// What can be asked for, and the names of the parameters in order.
pub(super) const METHODS: [(&str, &[&str]); 20] = [
    ("abci_info", &[]),
    ("abci_query", &["path", "data", "height", "prove"]),
    ("block", &["height"]),
    ("block_by_hash", &["hash"]),
    ("block_results", &["height"]),
    ("blockchain", &["minHeight", "maxHeight"]),
    ("broadcast_evidence", &["evidence"]),
    ("broadcast_tx_async", &["tx"]),
    ("broadcast_tx_commit", &["tx"]),
    ("broadcast_tx_sync", &["tx"]),
    ("commit", &["height"]),
    ("consensus_params", &["height"]),
    ("genesis", &[]),
    ("header", &["height"]),
    ("header_by_hash", &["hash"]),
    ("health", &[]),
    ("status", &[]),
    ("tx", &["hash", "prove"]),
    ("tx_search", &["query", "prove", "page", "per_page", "order_by"]),
    ("validators", &["height", "page", "per_page"]),
];

/// What a node answers and nobody can verify.
const UNVERIFIABLE: [&str; 12] = [
    "block_search",
    "check_tx",
    "consensus_state",
    "dump_consensus_state",
    "genesis_chunked",
    "net_info",
    "num_unconfirmed_txs",
    "subscribe",
    "tx_status",
    "unconfirmed_txs",
    "unsubscribe",
    "unsubscribe_all",
];

/// The parameters of a method.
pub(super) fn names(method: &str) -> Result<&'static [&'static str], Fault> {
    if let Some((_, names)) = METHODS.iter().find(|(name, _)| *name == method) {
        return Ok(names);
    }
    if UNVERIFIABLE.contains(&method) {
        return Err(Fault::NotVerifiable(format!("{method} is not verifiable by a light client: ask a node that you trust")));
    }
    Err(Fault::Method(format!("there is no method {}", node::rpc::params::shown(method))))
}

/// A transaction in its block, proven.
struct Found {
    block: std::sync::Arc<Block>,
    height: Height,
    place: usize,
    result: ExecTxResult,
}

impl Proxy {
    /// Answers a request.
    pub(crate) async fn call(&self, method: &str, params: &Params) -> Result<Value, Fault> {
        match method {
            "abci_info" => self.abci_info().await,
            "abci_query" => self.abci_query(params).await,
            "block" => {
                let height = self.at(params).await?;
                self.show_block(height).await
            }
            "block_by_hash" => {
                let hash = params.hash("hash", Text::Base64)?;
                let header = self.by_hash("block_by_hash", STANDARD.encode(hash), "/block/header/height", hash).await?;
                self.show_block(header.height()).await
            }
            "block_results" => self.show_results(params).await,
            "blockchain" => self.blockchain(params).await,
            "broadcast_evidence" => self.broadcast_evidence(params).await,
            "broadcast_tx_async" | "broadcast_tx_sync" => self.broadcast(method, &transaction(params)?).await,
            "broadcast_tx_commit" => self.broadcast_and_wait(&transaction(params)?).await,
            "commit" => self.commit(params).await,
            "consensus_params" => self.consensus_params(params).await,
            "genesis" => Ok(json!({"genesis": to_json(self.genesis()?.as_tendermint())?})),
            "header" => Ok(json!({"header": to_json(self.header(self.at(params).await?).await?.header())?})),
            "header_by_hash" => {
                let hash = params.hash("hash", Text::Hex)?;
                let header = self.by_hash("header_by_hash", hex::encode(hash), "/header/height", hash).await?;
                Ok(json!({"header": to_json(header.header())?}))
            }
            "health" => self.latest().await.map(|_| json!({})),
            "status" => self.status().await,
            "tx" => self.show_transaction(params).await,
            "tx_search" => self.search(params).await,
            "validators" => self.show_validators(params).await,
            _ => names(method).map(|_| Value::Null),
        }
    }

    /// The asked height, or that of the newest header.
    async fn at(&self, params: &Params) -> Result<Height, Fault> {
        match params.number("height")? {
            None => Ok(self.latest().await?.height()),
            Some(asked) => match u64::try_from(asked) {
                Ok(height) if height > 0 => Ok(Height(height)),
                _ => Err(Fault::Internal(format!("height must be greater than 0, but got {asked}"))),
            },
        }
    }

    async fn abci_info(&self) -> Result<Value, Fault> {
        let latest = self.latest().await?;
        let header = latest.header();
        Ok(json!({"response": {
            "data": "",
            "version": "",
            "app_version": header.version.app.to_string(),
            "last_block_height": latest.state_height().to_string(),
            "last_block_app_hash": base64(header.app_hash.as_bytes()),
        }}))
    }

    /// An entry of the state, with its proof or the proof that there is none.
    async fn abci_query(&self, params: &Params) -> Result<Value, Fault> {
        let path = params.text("path")?.unwrap_or_default();
        if path != query::STATE {
            let path = node::rpc::params::shown(&path);
            return Err(Fault::NotVerifiable(format!("the path {path} carries no proof: {} does", query::STATE)));
        }
        let key: Vec<u8> = params.bytes("data", Text::Hex)?.unwrap_or_default();
        let asked = params.number("height")?.unwrap_or_default();
        let asked = u64::try_from(asked).map_err(|_| Fault::Params("`height` must not be negative".to_owned()))?;
        let asked = Some(Height(asked)).filter(|height| *height > Height(0));
        // The newest provable state is at least the one before the newest header that was seen.
        let seen = self.chain().await?.trust().height();
        let answer = self.node.state(&key, asked).await.map_err(|error| self.fault(error))?;
        if asked.is_none() && answer.height.next() < seen {
            return Err(Fault::NotProven(format!("the node answers for height {}, and has shown the header {seen}", answer.height)));
        }
        let header = self.header(answer.height.next()).await?;
        let value = header.entry(&key, &answer.proof).map_err(|error| Fault::NotProven(error.to_string()))?;
        let proof = params
            .flag("prove")?
            .then(|| json!({"ops": [{"type": query::PROOF_TYPE, "key": base64(&key), "data": base64(&answer.proof)}]}));
        Ok(json!({"response": {
            "code": 0,
            "log": "",
            "info": "",
            "index": "0",
            "key": base64(&key),
            "value": base64(&value.unwrap_or_default()),
            "proofOps": proof,
            "height": answer.height.to_string(),
            "codespace": "",
        }}))
    }

    /// The header of a hash. Which height it has, the node says; that there is none, nobody can show.
    async fn by_hash(&self, method: &str, asked: String, place: &str, hash: [u8; 32]) -> Result<Verified, Fault> {
        let answer = self.ask(method, json!({"hash": asked})).await?;
        let height = answer.pointer(place).and_then(Value::as_str).and_then(|height| height.parse().ok());
        let height = height.ok_or_else(|| Fault::NotProven("the node knows no block of this hash, which cannot be proven".to_owned()))?;
        let header = self.header(Height(height)).await?;
        if header.hash() == Hash(hash) {
            Ok(header)
        } else {
            Err(Fault::NotProven(format!("the block at height {height} has another hash")))
        }
    }

    async fn show_block(&self, height: Height) -> Result<Value, Fault> {
        let (header, block) = (self.header(height).await?, self.block(height).await?);
        Ok(json!({"block_id": to_json(&header.signed_header().commit.block_id)?, "block": block_json(&block)?}))
    }

    async fn show_results(&self, params: &Params) -> Result<Value, Fault> {
        let height = self.at(params).await?;
        // There is such a block: else nothing comes that is worth waiting for.
        self.header(height).await?;
        let results = self.results(height).await?;
        let next = self.coming(height.next()).await?;
        let shown = results.iter().map(result_json).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({
            "height": height.to_string(),
            "txs_results": if shown.is_empty() { Value::Null } else { shown.into() },
            "finalize_block_events": [],
            "validator_updates": [],
            "consensus_param_updates": null,
            "app_hash": base64(next.header().app_hash.as_bytes()),
        }))
    }

    async fn blockchain(&self, params: &Params) -> Result<Value, Fault> {
        let tip = self.latest().await?.height().0;
        let asked =
            |name| u64::try_from(params.number(name)?.unwrap_or(0)).map_err(|_| Fault::Internal("heights must be non-negative".to_owned()));
        let (min, max) = (asked("minHeight")?, asked("maxHeight")?);
        let max = if max == 0 { tip } else { max.min(tip) };
        let min = min.max(1).max((max + 1).saturating_sub(MAX_HEADERS));
        if min > max {
            return Err(Fault::Internal(format!("min height {min} can't be greater than max height {max}")));
        }
        let mut metas = Vec::new();
        for height in (min..=max).rev().map(Height) {
            let (header, block) = (self.header(height).await?, self.block(height).await?);
            metas.push(json!({
                "block_id": to_json(&header.signed_header().commit.block_id)?,
                "block_size": consensus::chain::encode(&block).len().to_string(),
                "header": to_json(header.header())?,
                "num_txs": block.data.len().to_string(),
            }));
        }
        Ok(json!({"last_height": tip.to_string(), "block_metas": metas}))
    }

    async fn commit(&self, params: &Params) -> Result<Value, Fault> {
        let height = self.at(params).await?;
        let signed = self.header(height).await?.signed_header().clone();
        // Canonical is the commit that the next header names.
        let next = super::recall(&self.headers).get(height.next());
        let canonical = next.is_some_and(|next| next.header().last_commit_hash == Some(commit_hash(Some(&signed.commit))));
        Ok(json!({"signed_header": to_json(&signed)?, "canonical": canonical}))
    }

    /// As the genesis has them, which must be those that the header names by their hash: that covers two of them.
    async fn consensus_params(&self, params: &Params) -> Result<Value, Fault> {
        let consensus_params = self.genesis()?.as_tendermint().consensus_params.clone();
        let header = self.header(self.at(params).await?).await?;
        if params_hash(&consensus_params) != header.header().consensus_hash {
            return Err(Fault::NotVerifiable(
                "the parameters have changed since the genesis, and their hash covers two of them".to_owned(),
            ));
        }
        to_json(&consensus_params::Response { block_height: header.header().height, consensus_params })
    }

    fn genesis(&self) -> Result<&genesis::Genesis, Fault> {
        let none = || Fault::NotVerifiable("no header names the genesis: start the proxy with --genesis to have it answered".to_owned());
        self.genesis.as_ref().ok_or_else(none)
    }

    /// Of the proxy, and of the newest header.
    async fn status(&self) -> Result<Value, Fault> {
        let latest = self.latest().await?;
        let kept = self.kept().await;
        let earliest = kept.blocks().first().map_or(latest.header(), |block| &block.signed_header.header);
        let header = latest.header();
        let sync_info = status::SyncInfo {
            earliest_block_hash: earliest.hash(),
            earliest_app_hash: earliest.app_hash.clone(),
            earliest_block_height: earliest.height,
            earliest_block_time: earliest.time,
            latest_block_hash: header.hash(),
            latest_app_hash: header.app_hash.clone(),
            latest_block_height: header.height,
            latest_block_time: header.time,
            catching_up: latest.age(Time::now()) > crate::commands::FRESH,
        };
        Ok(json!({
            "node_info": {
                "protocol_version": {"p2p": "0", "block": header.version.block.to_string(), "app": header.version.app.to_string()},
                "id": "0000000000000000000000000000000000000000",
                "listen_addr": "tcp://127.0.0.1:0",
                "network": latest.chain().to_string(),
                "version": SPOKEN,
                "channels": "",
                "moniker": "zynk light proxy",
                "other": {"tx_index": "off", "rpc_address": ""},
            },
            "sync_info": to_json(&sync_info)?,
            "validator_info": {
                "address": to_json(&account::Id::new([0; 20]))?,
                "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64(&[0; 32])},
                "voting_power": "0",
            },
        }))
    }

    async fn show_transaction(&self, params: &Params) -> Result<Value, Fault> {
        let hash = Hash(params.hash("hash", Text::Base64)?);
        let found = self.find(hash).await?;
        found.json(params.flag("prove")?)
    }

    /// A transaction; its height is the node's word until the block was read.
    async fn find(&self, hash: Hash) -> Result<Found, Fault> {
        let answer = self.ask("tx", json!({"hash": STANDARD.encode(hash.0), "prove": false})).await?;
        let height = answer["height"].as_str().and_then(|height| height.parse().ok()).filter(|height| *height > 0);
        let height = Height(height.ok_or_else(|| Fault::NotProven("the node names no height of the transaction".to_owned()))?);
        let block = self.block(height).await?;
        let place = block.data.iter().position(|bytes| Hash::sha256(&[bytes]) == hash);
        let place = place.ok_or_else(|| Fault::NotProven(format!("the transaction is not in block {height}")))?;
        let result = self.results(height).await?.into_iter().nth(place);
        let result = result.ok_or_else(|| Fault::NotProven("the block has fewer results than transactions".to_owned()))?;
        Ok(Found { block, height, place, result })
    }

    /// All transactions of one height, or the one of a hash: so many there are, the block shows. Which transactions have an
    /// event, nobody can show.
    async fn search(&self, params: &Params) -> Result<Value, Fault> {
        let query = params.text("query")?.ok_or_else(|| missing("query"))?;
        let (height, hash) = searched(&query)?;
        let mut found = Vec::new();
        match (height, hash) {
            (Some(height), hash) => {
                let (block, results) = (self.block(height).await?, self.results(height).await?);
                if block.data.len() != results.len() {
                    return Err(Fault::NotProven("the block has another number of results than of transactions".to_owned()));
                }
                for (place, result) in results.into_iter().enumerate() {
                    if hash.is_none_or(|hash| Hash::sha256(&[&block.data[place]]) == hash) {
                        found.push(Found { block: block.clone(), height, place, result });
                    }
                }
            }
            (None, Some(hash)) => found.push(self.find(hash).await?),
            (None, None) => return Err(not_searchable()),
        }
        match params.text("order_by")?.as_deref() {
            None | Some("" | "asc") => {}
            Some("desc") => found.reverse(),
            Some(_) => return Err(Fault::Params("`order_by` must be asc or desc".to_owned())),
        }
        let prove = params.flag("prove")?;
        let shown = page(&found, params)?.iter().map(|found| found.json(prove)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({"txs": shown, "total_count": found.len().to_string()}))
    }

    /// Keys and powers, as the header's hash covers them; the priorities it does not, so they are 0.
    async fn show_validators(&self, params: &Params) -> Result<Value, Fault> {
        let height = self.at(params).await?;
        let set = self.validators(height).await?;
        let all = set.set().validators();
        let entry = |info: &tendermint::validator::Info| {
            Ok(json!({
                "address": to_json(&info.address)?,
                "pub_key": to_json(&info.pub_key)?,
                "voting_power": info.power().to_string(),
                "proposer_priority": "0",
            }))
        };
        let entries = page(all, params)?.iter().map(entry).collect::<Result<Vec<_>, Fault>>()?;
        let (count, total) = (entries.len().to_string(), all.len().to_string());
        Ok(json!({"block_height": height.to_string(), "validators": entries, "count": count, "total": total}))
    }

    /// To the node's mempool. What it says of that is its word; the hash is ours.
    async fn broadcast(&self, method: &str, bytes: &[u8]) -> Result<Value, Fault> {
        let answer = self.ask(method, json!({"tx": STANDARD.encode(bytes)})).await?;
        let words = |name: &str| answer[name].as_str().unwrap_or_default().chars().take(1024).collect::<String>();
        let code = answer["code"].as_u64().and_then(|code| u32::try_from(code).ok());
        let code = code.ok_or_else(|| Fault::NotProven("the node's answer has no code".to_owned()))?;
        let hash = hex::encode_upper(Hash::sha256(&[bytes]).0);
        Ok(json!({"code": code, "data": "", "log": words("log"), "codespace": words("codespace"), "hash": hash}))
    }

    async fn broadcast_and_wait(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let taken = self.broadcast("broadcast_tx_sync", bytes).await?;
        let check_tx = json!({
            "code": taken["code"], "data": null, "log": taken["log"], "info": "", "gas_wanted": "0", "gas_used": "0", "events": [],
            "codespace": taken["codespace"],
        });
        let mut answer = json!({
            "check_tx": check_tx,
            "tx_result": result_json(&ExecTxResult::default())?,
            "hash": taken["hash"],
            "height": "0",
        });
        if taken["code"] != json!(0) {
            return Ok(answer);
        }
        let hash = Hash::sha256(&[bytes]);
        let found = until(|| async {
            match self.find(hash).await {
                Ok(found) => Ok(Some(found)),
                Err(Fault::Internal(words)) if words.contains("not found") => Ok(None),
                Err(fault) => Err(fault),
            }
        });
        let found = found.await?.ok_or_else(|| Fault::Internal("timed out waiting for tx to be included in a block".to_owned()))?;
        answer["tx_result"] = result_json(&found.result)?;
        answer["height"] = found.height.to_string().into();
        Ok(answer)
    }

    async fn broadcast_evidence(&self, params: &Params) -> Result<Value, Fault> {
        let json = params.json("evidence")?.ok_or_else(|| missing("evidence"))?;
        let evidence = rpc::evidence::from_json(json).map_err(|error| Fault::Params(format!("`evidence` is none: {error}")))?;
        self.node.broadcast_evidence(&evidence).await.map_err(|error| self.fault(error))?;
        Ok(json!({"hash": base64(&consensus::evidence::bytes::name(&evidence).0)}))
    }
}

impl Found {
    fn json(&self, prove: bool) -> Result<Value, Fault> {
        let bytes = &self.block.data[self.place];
        let mut answer = json!({
            "hash": hex::encode_upper(Hash::sha256(&[bytes]).0),
            "height": self.height.to_string(),
            "index": self.place,
            "tx_result": result_json(&self.result)?,
            "tx": base64(bytes),
        });
        if prove {
            answer["proof"] = to_json(&prove_transaction(&self.block.data, self.place)?)?;
        }
        Ok(answer)
    }
}

fn not_searchable() -> Fault {
    let words = "which transactions have an event is not verifiable: `tx.height = N` and `tx.hash = 'HEX'` are, alone or joined by AND";
    Fault::NotVerifiable(words.to_owned())
}

/// The height and the hash that a query names, which are all that it may.
pub(super) fn searched(query: &str) -> Result<(Option<Height>, Option<Hash>), Fault> {
    let (mut height, mut hash) = (None, None);
    for condition in query.split(" AND ") {
        let (name, value) = condition.split_once('=').ok_or_else(not_searchable)?;
        let value = value.trim();
        match name.trim() {
            "tx.height" if height.is_none() => {
                let number = value.parse().ok().filter(|number| *number > 0).ok_or_else(not_searchable)?;
                height = Some(Height(number));
            }
            "tx.hash" if hash.is_none() => {
                let digits = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).ok_or_else(not_searchable)?;
                let bytes = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(not_searchable)?;
                hash = Some(Hash(bytes));
            }
            _ => return Err(not_searchable()),
        }
    }
    Ok((height, hash))
}

/// The asked page of a list, counted from 1.
pub(super) fn page<'a, T>(all: &'a [T], params: &Params) -> Result<&'a [T], Fault> {
    let per_page = match params.number("per_page")? {
        Some(asked) if asked >= 1 => asked.min(MAX_PER_PAGE),
        _ => DEFAULT_PER_PAGE,
    };
    let per_page = usize::try_from(per_page).map_err(|error| Fault::Internal(error.to_string()))?;
    let pages = all.len().div_ceil(per_page).max(1);
    let page = params.number("page")?.unwrap_or(1);
    let place = usize::try_from(page).ok().filter(|page| (1..=pages).contains(page));
    let place = place.ok_or_else(|| Fault::Internal(format!("page should be within [1, {pages}] range, given {page}")))?;
    Ok(all.chunks(per_page).nth(place - 1).unwrap_or_default())
}

fn transaction(params: &Params) -> Result<Vec<u8>, Fault> {
    params.bytes("tx", Text::Base64)?.ok_or_else(|| missing("tx"))
}

/// A result whose data are in base64, as CometBFT writes them.
fn result_json(result: &ExecTxResult) -> Result<Value, Fault> {
    let mut json = to_json(result)?;
    if !result.data.is_empty() {
        json["data"] = base64(&result.data);
    }
    Ok(json)
}

fn to_json(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault::Internal(error.to_string()))
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}
