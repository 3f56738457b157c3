//! What a subscription asks for, and the events that answer it.

use consensus::Decided;
use serde_json::{Value, json};
use tendermint::block::Height;
use types::Hash;

use super::error::Fault;
use super::methods::{block_json, number, result_json, to_json};
use super::params::shown;

/// How long a query may be: CometBFT's bound, in bytes.
const MAX_QUERY: usize = 512;

const SERVED: &str =
    "served are tm.event='NewBlock', tm.event='NewBlockHeader' and tm.event='Tx', the last also with AND tx.hash='…' and AND tx.height=…";

/// A query that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    NewBlock,
    NewBlockHeader,
    Tx { hash: Option<Hash>, height: Option<u64> },
}

impl Filter {
    pub(super) fn parse(query: &str) -> Result<Self, Fault> {
        if query.len() > MAX_QUERY {
            return Err(Fault::Params(format!("the query has {} bytes, at most {MAX_QUERY} are allowed", query.len())));
        }
        let refused = || Fault::Params(format!("the query {} is not served: {SERVED}", shown(query)));
        let (mut event, mut hash, mut height) = (None, None, None);
        for condition in query.split(" AND ") {
            let (key, operand) = condition.split_once('=').ok_or_else(refused)?;
            let (key, operand) = (key.trim(), operand.trim());
            let word = operand.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            let fresh = match key {
                "tm.event" => event.replace(word.ok_or_else(refused)?).is_none(),
                "tx.hash" => hash.replace(word.and_then(read_hash).ok_or_else(refused)?).is_none(),
                "tx.height" => height.replace(word.unwrap_or(operand).parse().map_err(|_| refused())?).is_none(),
                _ => false,
            };
            if !fresh {
                return Err(refused());
            }
        }
        match (event, hash, height) {
            (Some("NewBlock"), None, None) => Ok(Self::NewBlock),
            (Some("NewBlockHeader"), None, None) => Ok(Self::NewBlockHeader),
            (Some("Tx"), hash, height) => Ok(Self::Tx { hash, height }),
            _ => Err(refused()),
        }
    }
}

fn read_hash(digits: &str) -> Option<Hash> {
    hex::decode(digits).ok()?.try_into().ok().map(Hash)
}

/// A block's events, rendered once for all subscribers.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) height: Height,
    block: Event,
    header: Event,
    transactions: Vec<(Hash, Event)>,
}

#[derive(Debug)]
struct Event {
    data: String,
    attributes: String,
}

impl Event {
    fn new(name: &str, value: &Value, attributes: &[(&str, String)]) -> Self {
        let mut all = json!({"tm.event": [name]});
        for (key, value) in attributes {
            all[*key] = json!([value]);
        }
        let data = json!({"type": format!("tendermint/event/{name}"), "value": value});
        Self { data: data.to_string(), attributes: all.to_string() }
    }

    fn message(&self, id: &Value, query: &Value) -> String {
        let Self { data, attributes } = self;
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"query":{query},"data":{data},"events":{attributes}}}}}"#)
    }
}

impl Rendered {
    pub(super) fn new(decided: &Decided) -> Result<Self, Fault> {
        let header = &decided.block.header;
        let mut outcome = to_json(&decided.outcome)?;
        outcome["tx_results"] = decided.outcome.tx_results.iter().map(result_json).collect::<Result<Vec<_>, _>>()?.into();
        let block = json!({
            "block": block_json(&decided.block)?,
            "block_id": to_json(&decided.id)?,
            "result_finalize_block": outcome,
        });
        let mut transactions = Vec::new();
        for ((place, bytes), result) in (0u32..).zip(&decided.block.data).zip(&decided.outcome.tx_results) {
            let hash = Hash::sha256(&[bytes]);
            let info = json!({
                "height": number(header.height.value()),
                "index": place,
                "tx": super::methods::base64(bytes),
                "result": result_json(result)?,
            });
            let attributes = [("tx.hash", hex::encode_upper(hash.0)), ("tx.height", header.height.to_string())];
            transactions.push((hash, Event::new("Tx", &json!({"TxResult": info}), &attributes)));
        }
        Ok(Self {
            height: header.height,
            block: Event::new("NewBlock", &block, &[]),
            header: Event::new("NewBlockHeader", &json!({"header": to_json(header)?}), &[]),
            transactions,
        })
    }

    /// The messages for one subscription.
    pub(super) fn messages(&self, filter: Filter, id: &Value, query: &str) -> Vec<String> {
        let query = Value::from(query);
        match filter {
            Filter::NewBlock => vec![self.block.message(id, &query)],
            Filter::NewBlockHeader => vec![self.header.message(id, &query)],
            Filter::Tx { height: Some(height), .. } if height != self.height.value() => Vec::new(),
            Filter::Tx { hash, .. } => {
                let wanted = self.transactions.iter().filter(|(of, _)| hash.is_none_or(|hash| hash == *of));
                wanted.map(|(_, event)| event.message(id, &query)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Filter};
    use types::Hash;

    #[test]
    fn a_query_is_served_or_refused() {
        let hash = "AB".repeat(32);
        let tx = |hash, height| Some(Filter::Tx { hash, height });
        let stories = [
            ("tm.event='NewBlock'".to_owned(), Some(Filter::NewBlock)),
            ("tm.event = 'NewBlock'".to_owned(), Some(Filter::NewBlock)),
            ("tm.event='NewBlockHeader'".to_owned(), Some(Filter::NewBlockHeader)),
            ("tm.event = 'Tx'".to_owned(), tx(None, None)),
            (format!("tm.event='Tx' AND tx.hash='{hash}'"), tx(Some(Hash([0xab; 32])), None)),
            ("tm.event='Tx' AND tx.height=5".to_owned(), tx(None, Some(5))),
            (format!("tx.height = '5' AND tm.event = 'Tx' AND tx.hash = '{hash}'"), tx(Some(Hash([0xab; 32])), Some(5))),
            (String::new(), None),
            ("tm.event=NewBlock".to_owned(), None),
            ("tm.event='Vote'".to_owned(), None),
            ("tm.event='NewBlock' AND tx.height=5".to_owned(), None),
            ("tm.event='Tx' AND tx.height>=5".to_owned(), None),
            ("tm.event='Tx' AND tx.height=-1".to_owned(), None),
            ("tm.event='Tx' AND tx.hash='AB'".to_owned(), None),
            ("tm.event='Tx' AND tm.event='Tx'".to_owned(), None),
            ("tm.event='Tx' OR tm.event='NewBlock'".to_owned(), None),
            ("tm.event EXISTS".to_owned(), None),
            ("tm.event='Tx' AND transfer.sender='x'".to_owned(), None),
            ("' AND '".to_owned(), None),
            ("=".repeat(513), None),
        ];
        for (query, expected) in stories {
            match (Filter::parse(&query), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{query}"),
                (Err(Fault::Params(_)), None) => {}
                (found, _) => panic!("{query}: {found:?}"),
            }
        }
    }
}
