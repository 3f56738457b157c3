//! What a subscription asks for, and the events that answer it.
//!
//! A block is told of as CometBFT does: as a block, its header, its events, what it holds against validators, the
//! validators that it changes, and each of its transactions. A subscription gets those of them that its query matches.

use std::sync::{Arc, OnceLock};

use consensus::Decided;
use serde_json::{Map, Value, json};
use tendermint::block::Height;
use types::Hash;

use super::error::Fault;
use super::methods::{block_json, number, result_json, set_json, to_json};
use crate::app::Committed;
use crate::index::query::{self, Pair, Query, Test};

/// What can be subscribed to. Source: CometBFT 0.38, `types/events.go`.
const SERVED: [&str; 6] = ["NewBlock", "NewBlockHeader", "NewBlockEvents", "NewEvidence", "ValidatorSetUpdates", "Tx"];

/// Reads a subscription's query. One for an event that this node never tells of is refused.
pub(super) fn parse(text: &str) -> Result<Query, Fault> {
    let query = read(text)?;
    let unserved = |test: &Test| matches!(test, Test::Is(event) if !SERVED.contains(&event.as_str()));
    if query.conditions.iter().any(|condition| condition.key == "tm.event" && unserved(&condition.test)) {
        return Err(Fault::Params(format!("this event is not served; tm.event is one of {}", SERVED.join(", "))));
    }
    Ok(query)
}

/// Reads a query of a subscription or a search.
pub(super) fn read(text: &str) -> Result<Query, Fault> {
    Query::parse(text).map_err(|error| Fault::Params(format!("failed to parse query: {error}")))
}

/// A block's events, each rendered once for all subscribers, when the first one wants it.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) height: Height,
    block: Committed,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    what: What,
    /// What it is found by.
    pairs: Vec<Pair>,
    /// Data and attributes, as JSON.
    text: OnceLock<Result<(String, String), Fault>>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Block,
    Header,
    Events,
    Evidence(usize),
    Validators,
    Transaction(usize),
}

impl Rendered {
    pub(super) fn new(block: &Committed) -> Self {
        let height = block.block.header.height;
        let of_block: Vec<Pair> = block.outcome.events.iter().flat_map(query::pairs).collect();
        let pair = |key: &str, value: String| (key.to_owned(), value);
        let event = |what: What, name: &str, own: Vec<Pair>, events: &[Pair]| {
            let pairs = std::iter::once(pair("tm.event", name.to_owned())).chain(own).chain(events.iter().cloned()).collect();
            Event { what, pairs, text: OnceLock::new() }
        };
        let at = || vec![pair("block.height", height.to_string())];
        let mut events = vec![
            event(What::Block, "NewBlock", at(), &of_block),
            event(What::Header, "NewBlockHeader", at(), &[]),
            event(What::Events, "NewBlockEvents", at(), &of_block),
        ];
        events.extend((0..block.block.evidence.iter().count()).map(|place| event(What::Evidence(place), "NewEvidence", at(), &[])));
        if !block.outcome.validator_updates.is_empty() {
            events.push(event(What::Validators, "ValidatorSetUpdates", at(), &[]));
        }
        for ((place, bytes), result) in block.block.data.iter().enumerate().zip(&block.outcome.tx_results) {
            let hash = hex::encode_upper(Hash::sha256(&[bytes]).0);
            let own = vec![pair("tx.hash", hash), pair("tx.height", height.to_string())];
            let told: Vec<Pair> = result.events.iter().flat_map(query::pairs).collect();
            events.push(event(What::Transaction(place), "Tx", own, &told));
        }
        Self { height, block: Arc::clone(block), events }
    }

    /// The messages for one subscription.
    pub(super) fn messages(&self, query: &Query, id: &Value, text: &str) -> Result<Vec<String>, Fault> {
        let text = Value::from(text);
        let wanted = self.events.iter().filter(|event| query.matches_any(&event.pairs));
        wanted.map(|event| event.message(&self.block, id, &text)).collect()
    }
}

impl Event {
    fn message(&self, block: &Decided, id: &Value, query: &Value) -> Result<String, Fault> {
        let rendered = self.text.get_or_init(|| {
            let (kind, value) = data(block, self.what)?;
            let data = json!({"type": format!("tendermint/event/{kind}"), "value": value});
            Ok((data.to_string(), attributes(&self.pairs).to_string()))
        });
        let (data, attributes) = rendered.as_ref().map_err(Clone::clone)?;
        Ok(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"query":{query},"data":{data},"events":{attributes}}}}}"#))
    }
}

/// All values by their keys; a kind alone is none of CometBFT's keys.
fn attributes(pairs: &[Pair]) -> Value {
    let mut all = Map::new();
    for (key, value) in pairs.iter().filter(|(key, _)| key.contains('.')) {
        if let Some(values) = all.entry(key.clone()).or_insert_with(|| json!([])).as_array_mut() {
            values.push(value.clone().into());
        }
    }
    all.into()
}

fn data(decided: &Decided, what: What) -> Result<(&'static str, Value), Fault> {
    let Decided { block, outcome, .. } = decided;
    let height = block.header.height.value();
    let gone = || Fault::Internal("an event lost its block".to_owned());
    Ok(match what {
        What::Block => {
            let mut result = to_json(outcome)?;
            result["tx_results"] = outcome.tx_results.iter().map(result_json).collect::<Result<Vec<_>, _>>()?.into();
            let id = to_json(&decided.id)?;
            ("NewBlock", json!({"block": block_json(block)?, "block_id": id, "result_finalize_block": result}))
        }
        What::Header => ("NewBlockHeader", json!({"header": to_json(&block.header)?})),
        What::Events => {
            let (events, count) = (to_json(&outcome.events)?, block.data.len().to_string());
            ("NewBlockEvents", json!({"height": number(height), "events": events, "num_txs": count}))
        }
        What::Evidence(place) => {
            let evidence = block.evidence.iter().nth(place).ok_or_else(gone)?;
            ("NewEvidence", json!({"height": number(height), "evidence": rpc::evidence::to_json(evidence)}))
        }
        What::Validators => {
            let set = |address| decided.state.next_validators.as_slice().iter().find(|validator| validator.address() == address);
            let update = |update: &tendermint::validator::Update| match set(update.pub_key.into()) {
                Some(validator) => set_json(validator),
                None => set_json(&consensus::Validator { key: update.pub_key, power: 0, priority: 0 }),
            };
            let updates = outcome.validator_updates.iter().map(update).collect::<Result<Vec<_>, _>>()?;
            ("ValidatorSetUpdates", json!({"validator_updates": updates}))
        }
        What::Transaction(place) => {
            let (bytes, result) = block.data.get(place).zip(outcome.tx_results.get(place)).ok_or_else(gone)?;
            let (tx, result) = (super::methods::base64(bytes), result_json(result)?);
            ("Tx", json!({"TxResult": {"height": number(height), "index": place, "tx": tx, "result": result}}))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_served_or_refused() {
        let stories = [
            ("tm.event='NewBlock'", ""),
            ("tm.event = 'NewBlockEvents' AND jail.reason = 'absent'", ""),
            ("tm.event='Tx' AND tx.height>=5 AND transfer.from CONTAINS 'zynk'", ""),
            ("transfer.amount > 1000", ""),
            ("tm.event EXISTS", ""),
            ("", "expected a key"),
            ("tm.event=NewBlock", "offset 9"),
            ("tm.event='Vote'", "not served"),
            ("tm.event='Tx' OR tm.event='NewBlock'", "expected AND"),
        ];
        for (text, words) in stories {
            match parse(text) {
                Ok(_) => assert_eq!(words, "", "{text}"),
                Err(Fault::Params(found)) => assert!(!words.is_empty() && found.contains(words), "{text}: {found}"),
                Err(fault) => panic!("{text}: {fault:?}"),
            }
        }
        assert!(matches!(parse(&"=".repeat(513)), Err(Fault::Params(found)) if found.contains("513 bytes")));
    }
}
