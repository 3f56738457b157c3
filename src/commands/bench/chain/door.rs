//! A node's RPC, as bare as it can be: what it costs here is taken from the same processors.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use types::Hash;

use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many transactions go in one request: as many as CometBFT takes by default.
pub(super) const BATCH: usize = 10;

/// One connection to a node.
#[derive(Debug, Clone)]
pub(super) struct Door {
    http: reqwest::Client,
    url: String,
}

/// What the mempool said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it, or had it before.
    Taken,
    /// No room, or no time: to be asked again.
    Busy,
    Refused(String),
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: Option<T>,
    error: Option<Fault>,
}

/// CometBFT answers a batch of one without the brackets.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answers {
    Several(Vec<Envelope<Broadcast>>),
    One(Envelope<Broadcast>),
}

#[derive(Deserialize)]
struct Fault {
    message: String,
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Broadcast {
    code: u32,
    #[serde(default)]
    codespace: String,
    #[serde(default)]
    log: String,
}

#[derive(Deserialize)]
struct BlockAnswer<'a> {
    #[serde(borrow)]
    block: Block<'a>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    txs: Option<Vec<Cow<'a, str>>>,
}

impl Door {
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().tcp_nodelay(true).pool_max_idle_per_host(1).build();
        Ok(Self { http: http.map_err(|error| Failure::Bench(error.to_string()))?, url: url.to_owned() })
    }

    /// Hands transactions to the mempool, in order; `None` if there was no answer.
    pub(super) async fn broadcast(&self, transactions: &[&[u8]]) -> Option<Vec<Answer>> {
        let call = |(id, bytes): (usize, &&[u8])| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"broadcast_tx_sync","params":{{"tx":"{}"}}}}"#, STANDARD.encode(bytes))
        };
        let calls: Vec<String> = transactions.iter().enumerate().map(call).collect();
        let body = format!("[{}]", calls.join(","));
        let request = self.http.post(&self.url).header("content-type", "application/json").body(body);
        let answer = request.send().await.ok()?.bytes().await.ok()?;
        let answers = match serde_json::from_slice(&answer).ok()? {
            Answers::Several(answers) => answers,
            Answers::One(answer) => vec![answer],
        };
        (answers.len() == transactions.len()).then(|| answers.into_iter().map(judge).collect())
    }

    /// The names of the transactions in the block of a height, once there is one.
    pub(super) async fn block(&self, height: u64) -> Option<Vec<Hash>> {
        let request = self.http.get(format!("{}/block?height={height}", self.url));
        let answer = request.send().await.ok()?.bytes().await.ok()?;
        let answer: Envelope<BlockAnswer<'_>> = serde_json::from_slice(&answer).ok()?;
        let transactions = answer.result?.block.data.txs.unwrap_or_default();
        transactions.iter().map(|text| STANDARD.decode(text.as_bytes()).ok().map(|bytes| Hash::sha256(&[&bytes]))).collect()
    }

    /// What a node counts, by name; nothing of one that does not say.
    pub(super) async fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        let asked = async { self.http.get(format!("{}/metrics", self.url)).send().await?.text().await };
        let text = asked.await.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once(' ')).filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }
}

fn judge(answer: Envelope<Broadcast>) -> Answer {
    match (answer.result, answer.error) {
        (Some(Broadcast { code: 0, .. }), _) => Answer::Taken,
        (Some(Broadcast { code, codespace, log }), _) => match (codespace.as_str(), code) {
            ("mempool", 1) => Answer::Taken,
            ("mempool", 2 | 3) => Answer::Busy,
            _ => Answer::Refused(format!("{codespace} {code}: {log}")),
        },
        // CometBFT's mempool speaks by errors.
        (None, Some(Fault { data, message }))
            if data.contains("already exists in cache") || message.contains("already exists in cache") =>
        {
            Answer::Taken
        }
        (None, _) => Answer::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let check = |json: &str, expected: Answer| {
            let answer: Envelope<Broadcast> = serde_json::from_str(json).expect("it is one");
            assert_eq!(judge(answer), expected, "{json}");
        };
        check(r#"{"jsonrpc":"2.0","id":1,"result":{"code":0,"log":"","hash":"00"}}"#, Answer::Taken);
        check(r#"{"jsonrpc":"2.0","id":1,"result":{"code":1,"codespace":"mempool","log":"waits"}}"#, Answer::Taken);
        check(r#"{"jsonrpc":"2.0","id":1,"result":{"code":2,"codespace":"mempool","log":"full"}}"#, Answer::Busy);
        check(r#"{"id":1,"error":{"code":-32603,"message":"Internal error","data":"tx already exists in cache"}}"#, Answer::Taken);
        check(r#"{"id":1,"error":{"code":-32603,"message":"Internal error","data":"mempool is full"}}"#, Answer::Busy);
        let refused = r#"{"id":1,"result":{"code":7,"codespace":"ledger","log":"too poor"}}"#;
        check(refused, Answer::Refused("ledger 7: too poor".to_owned()));
    }

    #[test]
    fn a_block_may_have_no_transactions() {
        for (json, expected) in
            [(r#"{"result":{"block":{"data":{"txs":null}}}}"#, 0), (r#"{"result":{"block":{"data":{"txs":["YQ=="]}}}}"#, 1)]
        {
            let answer: Envelope<BlockAnswer<'_>> = serde_json::from_str(json).expect("it is one");
            assert_eq!(answer.result.expect("a block").block.data.txs.unwrap_or_default().len(), expected);
        }
    }
}
