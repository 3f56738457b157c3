//! The server over a chain made by hand: strangers' bytes, published clients, and our own.

use std::sync::Arc;
use std::time::Duration;

use audit::{Body as Content, LogId, SignedAnchor, bundle};
use futures::StreamExt as _;
use ledger::governance::{Change, Choice, Draft, Kind, Plan};
use ledger::stake::Candidacy;
use ledger::{Body, SignedTransaction};
use rpc::query::{self, AnchorAt};
use rpc::{Chain, FeePayer};
use serde_json::{Value, json};
use tendermint::Time;
use tendermint_light_client_verifier::types::{TrustedBlockState, UntrustedBlockState};
use tendermint_light_client_verifier::{ProdVerifier, Verdict, Verifier as _, options::Options};
use tendermint_rpc::client::CompatMode;
use tendermint_rpc::event::EventData;
use tendermint_rpc::query::{EventType, Query};
use tendermint_rpc::{Client as _, HttpClient, Paging, SubscriptionClient as _, WebSocketClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use types::{Amount, Encode as _, Hash};

use super::*;
use crate::index::Settings;
use crate::testing::{Bench, RICH, key, public, transfer};

struct Served {
    bench: Arc<Bench>,
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Served {
    async fn new(blocks: usize) -> Self {
        let bench = Bench::new();
        bench.make(blocks);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = watch::channel(false);
        let index = Settings::Sqlite(bench.folder().join("index.sqlite"));
        let info = Info {
            moniker: "one".to_owned(),
            node_id: [7; 20],
            listen: "tcp://0.0.0.0:26656".to_owned(),
            validator: Some(public(1)),
            index: Index::start(index, Arc::clone(&bench.app)).expect("threads"),
        };
        let serving = tokio::spawn(serve(listener, Arc::clone(&bench.app), info, stopped));
        Self { bench: Arc::new(bench), address, stop, serving }
    }

    fn client(&self) -> HttpClient {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        HttpClient::builder(url).compat_mode(CompatMode::V0_38).build().expect("a client")
    }

    /// Sends bytes as they are; the status and the body of the answer.
    async fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        // A server that refuses early need not read on.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, body.to_owned())
    }

    async fn post(&self, body: &[u8]) -> (u16, Value) {
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        let (status, body) = self.raw(&request).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.raw(format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").as_bytes()).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn call(&self, method: &str, params: Value) -> (u16, Value) {
        self.post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string().as_bytes()).await
    }

    /// Waits until the index has a height.
    async fn indexed(&self, height: u64) {
        loop {
            let status = self.call("index_status", json!({})).await.1;
            if status["result"]["latest_height"].as_str().and_then(|found| found.parse().ok()).is_some_and(|found: u64| found >= height) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes blocks as long as something rings, and the one after that proves it.
    fn make_on_demand(&self) -> tokio::task::JoinHandle<()> {
        use consensus::Host as _;
        let bench = Arc::clone(&self.bench);
        tokio::spawn(async move {
            let bell = bench.app.bell();
            loop {
                bell.notified().await;
                bench.make(2);
            }
        })
    }
}

fn error_of(answer: &(u16, Value)) -> (u16, i64, String) {
    let error = &answer.1["error"];
    (answer.0, error["code"].as_i64().unwrap_or_default(), error["data"].as_str().unwrap_or_default().to_owned())
}

fn check(story: &str, answer: &(u16, Value), status: u16, code: i64, words: &str) {
    let (found_status, found_code, data) = error_of(answer);
    assert_eq!((found_status, found_code), (status, code), "{story}: {answer:?}");
    assert!(data.contains(words), "{story}: {data:?} does not say {words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_refused_at_the_door() {
    let node = Served::new(2).await;
    let one = |text: &str| text.as_bytes().to_vec();
    let stories: Vec<(&str, Vec<u8>, u16, i64, &str)> = vec![
        ("nothing", Vec::new(), 400, -32700, "EOF"),
        ("half an object", one("{"), 400, -32700, "EOF"),
        ("two objects", one("{}{}"), 400, -32700, "trailing"),
        ("invalid UTF-8", b"{\"id\":\"\xff\"}".to_vec(), 400, -32700, ""),
        ("too deep", vec![b'['; 100_000], 400, -32700, "recursion"),
        ("oversized", vec![b' '; MAX_REQUEST + 1], 413, -32600, "more than 1048576 bytes"),
        ("a string", one("\"block\""), 400, -32600, ""),
        ("an empty object", one("{}"), 400, -32600, "missing field"),
        ("no id", one(r#"{"jsonrpc":"2.0","method":"health"}"#), 400, -32600, "missing field `id`"),
        ("an object for an id", one(r#"{"jsonrpc":"2.0","id":{},"method":"health"}"#), 400, -32600, "the id is"),
        ("a long id", one(&json!({"jsonrpc": "2.0", "id": "x".repeat(300), "method": "health"}).to_string()), 400, -32600, "the id is"),
        ("another version", one(r#"{"jsonrpc":"1.0","id":1,"method":"health"}"#), 400, -32600, "only \"2.0\""),
        ("an unknown field", one(r#"{"jsonrpc":"2.0","id":1,"method":"health","extra":1}"#), 400, -32600, "unknown field `extra`"),
        ("a number for a method", one(r#"{"jsonrpc":"2.0","id":1,"method":7}"#), 400, -32600, "invalid type"),
        ("an empty batch", one("[]"), 400, -32600, "empty"),
        ("a batch of 17", one(&format!("[{}]", ["1"; 17].join(","))), 400, -32600, "at most 16"),
        ("an unknown method", one(r#"{"jsonrpc":"2.0","id":1,"method":"dump_state","params":{}}"#), 200, -32601, "dump_state"),
        ("a subscription by HTTP", one(r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{}}"#), 200, -32601, "/websocket"),
        ("parameters in a string", one(r#"{"jsonrpc":"2.0","id":1,"method":"block","params":"1"}"#), 200, -32602, "neither"),
        ("too many parameters", one(r#"{"jsonrpc":"2.0","id":1,"method":"block","params":[1,2]}"#), 200, -32602, "at most 1"),
    ];
    for (story, body, status, code, words) in stories {
        check(story, &node.post(&body).await, status, code, words);
    }
    let batch = json!([{"jsonrpc": "2.0", "id": "a", "method": "health"}, 1, {"jsonrpc": "2.0", "id": 3, "method": "x"}]);
    let (status, answers) = node.post(batch.to_string().as_bytes()).await;
    let codes: Vec<_> = answers.as_array().expect("a list").iter().map(|answer| answer["error"]["code"].as_i64()).collect();
    assert_eq!((status, codes), (200, vec![None, Some(-32600), Some(-32601)]), "each of a batch is answered: {answers}");
    assert_eq!(node.raw(b"BREW / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.0, 405);
    assert_eq!(node.raw(b"\xff\xfe\x00 nonsense\r\n\r\n").await.0, 400, "what is no HTTP");
    assert_eq!(node.raw(b"GET /websocket HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.0, 400, "no upgrade");
    assert_eq!(node.call("health", json!({})).await, (200, json!({"jsonrpc": "2.0", "id": 1, "result": {}})), "it still serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parameters_are_refused() {
    let node = Served::new(2).await;
    let stories = [
        ("an unknown parameter", "block", json!({"hight": "1"}), -32602, "unknown parameter \"hight\": the method takes height"),
        ("a parameter of none", "health", json!({"x": 1}), -32602, "takes none"),
        ("a height in words", "block", json!({"height": "one"}), -32602, "`height` must be a whole number"),
        ("half a height", "block", json!({"height": 1.5}), -32602, "`height` must be"),
        ("a height of 70 bits", "block", json!({"height": "1180591620717411303424"}), -32602, "`height` must be"),
        (
            "a height beyond the tip",
            "block",
            json!({"height": "99"}),
            -32603,
            "height 99 must be less than or equal to the current blockchain height 2",
        ),
        ("results beyond the tip", "block_results", json!({"height": "3"}), -32603, "current blockchain height 2"),
        ("a commit beyond the tip", "commit", json!({"height": "3"}), -32603, "current blockchain height 2"),
        ("height zero", "header", json!({"height": "0"}), -32603, "height must be greater than 0, but got 0"),
        ("a negative height", "header", json!({"height": -5}), -32603, "height must be greater than 0, but got -5"),
        ("validators two above the tip", "validators", json!({"height": "4"}), -32603, "current blockchain height 3"),
        ("a page that is not there", "validators", json!({"page": "2"}), -32603, "page should be within [1, 1] range, given 2"),
        ("page zero", "validators", json!({"page": 0}), -32603, "given 0"),
        ("a short hash", "tx", json!({"hash": "AAAA"}), -32602, "`hash` has 3 bytes, a hash has 32"),
        ("a hash that is no base64", "tx", json!({"hash": "?"}), -32602, "bytes in base64"),
        ("no hash", "tx", json!({}), -32602, "`hash` is missing"),
        ("a flag that is none", "tx", json!({"hash": "A".repeat(43) + "=", "prove": "yes"}), -32602, "`prove` must be true or false"),
        ("an unknown transaction", "tx", json!({"hash": "A".repeat(43) + "="}), -32603, "not found"),
        ("no transaction", "broadcast_tx_sync", json!({}), -32602, "`tx` is missing"),
        ("a transaction that is no base64", "broadcast_tx_commit", json!({"tx": "%%%"}), -32602, "bytes in base64"),
        ("data that are no hexadecimal", "abci_query", json!({"path": "/state", "data": "zz"}), -32602, "bytes in hexadecimal"),
        ("a negative height of a query", "abci_query", json!({"path": "/state", "height": "-1"}), -32602, "negative"),
        ("a path that is no string", "abci_query", json!({"path": 5}), -32602, "`path` must be a string"),
    ];
    for (story, method, params, code, words) in stories {
        check(story, &node.call(method, params).await, 200, code, words);
    }
    let stories = [
        ("an unknown method", "/nothing", 404, -32601, "nothing"),
        ("a folder", "/a/b", 404, -32601, "/a/b"),
        ("an unknown parameter", "/block?hight=1", 400, -32602, "hight"),
        ("a height in words", "/block?height=one", 400, -32602, "`height` must be"),
        ("a height twice", "/block?height=1&height=2", 400, -32602, "given twice"),
        ("a height beyond the tip", "/block?height=99", 500, -32603, "current blockchain height 2"),
        ("hexadecimal without 0x", "/tx?hash=ABCD", 400, -32602, "after 0x"),
        ("half a byte", "/tx?hash=0xABC", 400, -32602, "after 0x"),
        ("a short hash", "/tx?hash=0xABCD", 400, -32602, "2 bytes"),
        ("a string without quotes", "/abci_query?path=/state", 400, -32602, "in double quotes"),
        ("broken percent signs", "/abci_query?path=%22%ff%zz", 400, -32602, ""),
    ];
    for (story, path, status, code, words) in stories {
        check(story, &node.get(path).await, status, code, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_transactions_and_queries_are_refused_with_their_code() {
    let node = Served::new(2).await;
    let bench = &node.bench;
    assert_eq!(bench.app.submit(bench.transfer(0)).map(|_| ()), Ok(()));
    node.bench.make(2);
    let terms = bench.terms(1);
    let other = rpc::submit::Terms { chain: "zynk-test-2".parse().expect("a chain id"), ..terms.clone() };
    let signed: SignedTransaction = terms.sign(&key(RICH), FeePayer::Author, transfer());
    let mut forged = signed.clone();
    forged.signature.0[3] ^= 1;
    let poor = terms.sign(&key(77), FeePayer::Author, transfer());
    let elsewhere = Body::Transfer { to: key(11).public().address(), amount: Amount(5), memo: String::new().try_into().expect("short") };
    let rival = terms.sign(&key(RICH), FeePayer::Author, elsewhere);
    let waiting = bench.transfer(1).to_vec();
    assert_eq!(bench.app.submit(waiting.clone().into()).map(|_| ()), Ok(()));
    let stories = [
        ("an empty transaction", Vec::new(), 1, "ledger"),
        ("no transaction", b"nonsense".to_vec(), 1, "ledger"),
        ("a byte too many", [signed.to_bytes(), vec![0]].concat(), 1, "ledger"),
        ("a huge transaction", vec![1; 700_000], 2, "ledger"),
        ("another chain's", other.sign(&key(RICH), FeePayer::Author, transfer()).to_bytes(), 3, "ledger"),
        ("a bad signature", forged.to_bytes(), 4, "ledger"),
        ("a sequence that was used", bench.transfer(0).to_vec(), 5, "ledger"),
        ("an author without an account", poor.to_bytes(), 9, "ledger"),
        ("one that waits already", waiting, 1, "mempool"),
        ("another one with the sequence of one that waits", rival.to_bytes(), 4, "mempool"),
    ];
    for (story, bytes, code, codespace) in stories {
        let (status, answer) = node.call("broadcast_tx_sync", json!({"tx": methods::base64(&bytes)})).await;
        let result = &answer["result"];
        assert_eq!((status, &result["code"], &result["codespace"]), (200, &json!(code), &json!(codespace)), "{story}: {answer}");
        let (_, answer) = node.call("broadcast_tx_commit", json!({"tx": methods::base64(&bytes)})).await;
        let result = &answer["result"];
        assert_eq!((&result["check_tx"]["code"], &result["height"]), (&json!(code), &json!("0")), "{story}: {answer}");
    }
    let nobody = AnchorAt { log: LogId::derive(bench.app.genesis().chain(), &key(1).public().address(), 0), sequence: 1 };
    let stories = [
        ("an unknown path", "/nothing", Vec::new(), 0, 1),
        ("an empty key", query::STATE, Vec::new(), 0, 2),
        ("a long key", query::STATE, vec![1; query::MAX_KEY + 1], 0, 2),
        ("the tip's state, not provable yet", query::STATE, vec![1], 4, 3),
        ("a height to come", query::STATE, vec![1], 99, 3),
        ("half a place", query::ANCHOR, vec![1; 39], 0, 2),
        ("an anchor that is not there", query::ANCHOR, nobody.to_bytes(), 0, 5),
        ("half a height", query::HANDOFFS, vec![1; 7], 0, 2),
    ];
    for (story, path, data, height, code) in stories {
        let params = json!({"path": path, "data": hex::encode(data), "height": height, "prove": true});
        let (status, answer) = node.call("abci_query", params).await;
        let response = &answer["result"]["response"];
        assert_eq!((status, &response["code"], &response["codespace"]), (200, &json!(code), &json!("query")), "{story}: {answer}");
        assert_eq!(response["height"], json!("0"), "{story}: {answer}");
    }
    let fresh = Served::new(0).await;
    let (_, answer) = fresh.call("abci_query", json!({"path": "/state", "data": "01"})).await;
    assert_eq!(answer["result"]["response"]["code"], json!(3), "a chain without blocks proves nothing: {answer}");
    check("a chain without blocks", &fresh.call("block", json!({})).await, 200, -32603, "no block yet");
    let status = fresh.client().status().await.expect("a fresh node has a status");
    assert_eq!(status.sync_info.latest_block_height.value(), 0);
    assert_eq!(fresh.client().validators(1u32, Paging::All).await.expect("the first set").validators.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stake_and_governance_refuse_does_not_come_in() {
    let node = Served::new(2).await;
    let chain = node.bench.app.genesis().chain().clone();
    let (own, nobody, rich) = (key(1).public().address(), key(99).public().address(), key(RICH).public().address());
    let ten = Amount(10 * Amount::ZYNK.0);
    let candidate = |seed: u8| Candidacy {
        consensus_key: key(seed).public(),
        peer_id: genesis::peer::peer_id_blob(&key(seed + 1).public()),
        moniker: String::new().try_into().expect("short"),
        commission_bps: 0,
        stake: ten,
        proof: types::Signature([0; 64]),
    };
    let taken = candidate(1).prove(&chain, &rich, &key(1));
    let greedy = Candidacy { commission_bps: 10_001, ..candidate(30) }.prove(&chain, &rich, &key(30));
    let propose = |title: &str, kind: Kind, deposit: Amount| {
        let (title, summary) = (title.to_owned().try_into().expect("short"), String::new().try_into().expect("short"));
        Body::SubmitProposal(Box::new(Draft { kind, title, summary, deposit }))
    };
    let change = |name: &str, value: u64| {
        let change = Change { name: name.to_owned().try_into().expect("short"), value };
        Kind::Parameters(vec![change].try_into().expect("one"))
    };
    let soon = Plan { name: "maple".to_owned().try_into().expect("short"), app_version: 2, height: types::Height(3) };
    let much = Amount(100 * Amount::ZYNK.0);
    let stories = [
        ("a candidate whose key has not agreed", Body::CreateValidator(Box::new(candidate(30))), "stake", 6),
        ("a candidate who validates already", Body::CreateValidator(Box::new(taken)), "stake", 3),
        ("a commission above all there is", Body::CreateValidator(Box::new(greedy)), "stake", 8),
        ("another's validator, changed", Body::EditValidator { validator: own, edit: Box::default() }, "stake", 2),
        ("another's validator, let out", Body::Unjail { validator: own }, "stake", 2),
        ("stake for nobody", Body::Delegate { validator: nobody, amount: ten }, "stake", 1),
        ("more stake than there is", Body::Delegate { validator: own, amount: Amount(1_001 * Amount::ZYNK.0) }, "ledger", 9),
        ("stake taken back that is not there", Body::Undelegate { validator: own, amount: ten }, "stake", 12),
        ("stake moved to where it is", Body::Redelegate { from: own, to: own, amount: ten }, "stake", 17),
        ("rewards of nobody", Body::WithdrawRewards { validator: nobody }, "stake", 1),
        ("a proposal without a title", propose("", Kind::Text, much), "governance", 3),
        ("a proposal with a small deposit", propose("t", Kind::Text, Amount(1)), "governance", 4),
        ("a parameter that is none", propose("t", change("no_such", 1), much), "governance", 9),
        ("a value outside its range", propose("t", change("heartbeat_ms", 1), much), "governance", 12),
        ("an upgrade at once", propose("t", Kind::Upgrade(soon), much), "governance", 13),
        ("a deposit on nothing", Body::Deposit { proposal: 7, amount: ten }, "governance", 1),
        ("a vote on nothing", Body::Vote { proposal: 7, choice: Choice::Yes }, "governance", 1),
        ("a log of nobody's, retired", Body::RetireLog { log: LogId::derive(&chain, &nobody, 0) }, "ledger", 13),
    ];
    for (story, body, codespace, code) in stories {
        let bytes = node.bench.transaction(0, body).to_bytes();
        let (status, answer) = node.call("broadcast_tx_sync", json!({"tx": methods::base64(&bytes)})).await;
        let result = &answer["result"];
        assert_eq!((status, &result["code"], &result["codespace"]), (200, &json!(code), &json!(codespace)), "{story}: {answer}");
    }
    assert_eq!(node.bench.app.waiting(), 0, "nothing of it is in the mempool");
}

#[tokio::test(flavor = "multi_thread")]
async fn published_clients_read_everything() {
    let node = Served::new(2).await;
    let (client, app) = (node.client(), &node.bench.app);
    let making = node.make_on_demand();
    let bytes = node.bench.transfer(0);
    let sent = client.broadcast_tx_commit(bytes.clone()).await.expect("it is included");
    assert!(sent.check_tx.code.is_ok() && sent.tx_result.code.is_ok(), "{sent:?}");
    assert_eq!(sent.height.value(), 3);
    let second = client.broadcast_tx_sync(node.bench.transfer(1)).await.expect("it is taken");
    assert!(second.code.is_ok(), "{second:?}");
    let third = client.broadcast_tx_async(node.bench.transfer(9)).await.expect("it is not judged yet");
    assert!(third.code.is_ok(), "{third:?}");
    client.wait_until_healthy(Duration::from_secs(1)).await.expect("healthy");
    while app.chain().last_block.is_none_or(|(height, _)| height.value() < 6) {
        tokio::task::yield_now().await;
    }
    making.abort();

    let status = client.status().await.expect("status");
    assert_eq!(status.node_info.network.as_str(), "zynk-test-1");
    assert_eq!(CompatMode::from_version(status.node_info.version).expect("a version"), CompatMode::V0_38);
    assert_eq!((status.sync_info.latest_block_height.value(), status.sync_info.earliest_block_height.value()), (6, 1));
    assert_eq!((status.validator_info.power.value(), status.sync_info.catching_up), (10, false));
    let genesis: tendermint::Genesis<Value> = client.genesis().await.expect("genesis");
    assert_eq!(genesis.validators.len(), 4);
    assert_eq!(client.abci_info().await.expect("abci_info").last_block_height.value(), 6);
    let params = client.consensus_params(1u32).await.expect("consensus_params");
    assert_eq!(params.consensus_params, app.chain().params);

    let block = client.block(3u32).await.expect("block");
    assert_eq!(block.block.data, [bytes.to_vec()]);
    assert_eq!(block.block_id.hash, block.block.header.hash());
    assert_eq!(client.latest_block().await.expect("block").block.header.height.value(), 6);
    let hash = block.block_id.hash;
    assert_eq!(client.block_by_hash(hash).await.expect("block_by_hash").block.expect("known"), block.block);
    assert_eq!(client.header_by_hash(hash).await.expect("header_by_hash").header.expect("known"), block.block.header);
    assert_eq!(client.header(3u32).await.expect("header").header, block.block.header);
    assert!(client.header_by_hash(tendermint::Hash::Sha256([1; 32])).await.expect("header_by_hash").header.is_none());
    let none = node.call("block_by_hash", json!({"hash": "A".repeat(43) + "="})).await;
    assert_eq!((none.0, &none.1["result"]["block"]), (200, &Value::Null));
    let results = client.block_results(3u32).await.expect("block_results");
    assert_eq!(results.txs_results.expect("one").len(), 1);
    assert_eq!(results.app_hash, client.header(4u32).await.expect("header").header.app_hash);
    assert!(client.block_results(4u32).await.expect("block_results").txs_results.is_none());

    let found = client.tx(sent.hash, true).await.expect("tx");
    assert_eq!((found.height.value(), found.index, &found.tx), (3, 0, &bytes.to_vec()));
    assert_eq!(Some(found.proof.expect("asked for").root_hash), block.block.header.data_hash);
    let (_, by_uri) = node.get(&format!("/tx?hash=0x{}&prove=false", sent.hash)).await;
    assert_eq!(by_uri["result"]["height"], json!("3"), "{by_uri}");
    let (_, by_uri) = node.get("/abci_query?path=%22/state%22&data=0x706172616d73&height=%222%22&prove=true").await;
    assert_eq!(by_uri["result"]["response"]["height"], json!("2"), "{by_uri}");
    assert_eq!(by_uri["result"]["response"]["proofOps"]["ops"][0]["type"], json!(query::PROOF_TYPE), "{by_uri}");
    let (_, listed) = node.get("/").await;
    assert_eq!(listed["methods"].as_array().map(Vec::len), Some(METHODS.len()));
    let answer = client.abci_query(Some("/state".to_owned()), "params", None, true).await.expect("abci_query");
    assert_eq!((answer.height.value(), query::proof_of(b"params", &answer.proof.expect("asked for")).is_some()), (5, true));

    let page = client.validators(7u32, Paging::Specific { page_number: 2usize.into(), per_page: 3u8.into() }).await.expect("a page");
    assert_eq!((page.validators.len(), page.total), (1, 4));
    verify_heights(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_clients_read_headers_peers_the_genesis_and_the_mempool() {
    let node = Served::new(25).await;
    let client = node.client();
    let heights = |page: &tendermint_rpc::endpoint::blockchain::Response| -> Vec<u64> {
        page.block_metas.iter().map(|meta| meta.header.height.value()).collect()
    };
    let page = client.blockchain(0u32, 0u32).await.expect("blockchain");
    assert_eq!((page.last_height.value(), heights(&page)), (25, (6..=25).rev().collect()));
    let page = client.blockchain(2u32, 4u32).await.expect("blockchain");
    assert_eq!((heights(&page), page.block_metas[0].num_txs), (vec![4, 3, 2], 0));
    let block = client.block(4u32).await.expect("block");
    assert_eq!((page.block_metas[0].block_id, &page.block_metas[0].header), (block.block_id, &block.block.header));
    assert!(page.block_metas[0].block_size > 300);
    let page = client.blockchain(24u32, 900u32).await.expect("blockchain");
    assert_eq!(heights(&page), [25, 24]);
    check("a range the wrong way", &node.call("blockchain", json!(["9", "8"])).await, 200, -32603, "min height 9 can't be greater");
    check("below zero", &node.call("blockchain", json!(["-1", "8"])).await, 200, -32603, "heights must be non-negative");

    let piece = client.genesis_chunked(0).await.expect("genesis_chunked");
    let genesis: Value = serde_json::from_slice(&piece.data).expect("JSON");
    assert_eq!((piece.chunk, piece.total, &genesis["chain_id"]), (0, 1, &json!("zynk-test-1")));
    check("no such piece", &node.call("genesis_chunked", json!({"chunk": 1})).await, 200, -32603, "there are 0 chunks, 1 is invalid");

    let net = client.net_info().await.expect("net_info");
    assert_eq!((net.n_peers, net.peers.len(), net.listening), (0, 0, false));
    check("no engine", &node.call("consensus_state", json!({})).await, 200, -32603, "does not say how far");
    check("no engine", &node.call("dump_consensus_state", json!({})).await, 200, -32603, "does not say how far");

    let taken: Vec<bytes::Bytes> = (0..3).map(|sequence| node.bench.transfer(sequence)).collect();
    let would = |bytes: &[u8]| json!({"tx": methods::base64(bytes)});
    let answer = node.call("check_tx", would(&taken[0])).await.1;
    assert_eq!((&answer["result"]["code"], &answer["result"]["codespace"]), (&json!(0), &json!("")), "{answer}");
    for bytes in &taken {
        assert!(client.broadcast_tx_sync(bytes.clone()).await.expect("taken").code.is_ok());
    }
    let answer = node.call("check_tx", would(&taken[0])).await.1;
    assert_eq!((&answer["result"]["code"], &answer["result"]["codespace"]), (&json!(1), &json!("mempool")), "{answer}");
    let answer = node.call("check_tx", would(b"none")).await.1;
    assert_ne!(answer["result"]["code"], json!(0), "{answer}");
    let bytes: usize = taken.iter().map(bytes::Bytes::len).sum();
    let answer = node.call("unconfirmed_txs", json!({"limit": "2"})).await.1;
    let expected = json!({"n_txs": "2", "total": "3", "total_bytes": bytes.to_string(), "txs": [methods::base64(&taken[0]), methods::base64(&taken[1])]});
    assert_eq!(answer["result"], expected);
    let answer = node.call("num_unconfirmed_txs", json!({})).await.1;
    assert_eq!(answer["result"], json!({"n_txs": "3", "total": "3", "total_bytes": bytes.to_string(), "txs": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn published_clients_search() {
    use tendermint_rpc::Order;
    let node = Served::new(1).await;
    let client = node.client();
    for sequence in 0..7 {
        node.bench.app.submit(node.bench.transfer(sequence)).expect("taken");
        node.bench.make(1);
    }
    let tip = node.bench.app.chain().tip().value();
    node.indexed(tip).await;
    let from = key(RICH).public().address().to_string();
    let ours = Query::eq("transfer.from", from.clone());
    let search = async |query: &Query, page, per_page, order| client.tx_search(query.clone(), true, page, per_page, order).await;
    let found = search(&ours, 1, 3, Order::Ascending).await.expect("tx_search");
    assert_eq!((found.total_count, found.txs.len()), (7, 3));
    for (place, tx) in found.txs.iter().enumerate() {
        let known = client.tx(tx.hash, true).await.expect("tx");
        assert_eq!((tx.height.value(), &tx.tx, &tx.tx_result, &tx.proof), (place as u64 + 2, &known.tx, &known.tx_result, &known.proof));
    }
    let found = search(&ours, 3, 3, Order::Descending).await.expect("tx_search");
    assert_eq!(found.txs.iter().map(|tx| tx.height.value()).collect::<Vec<_>>(), [2]);
    check(
        "a page too far",
        &node.call("tx_search", json!([ours.to_string(), false, "4", "3", "asc"])).await,
        200,
        -32603,
        "within [1, 3] range, given 4",
    );
    check("page 0", &node.call("tx_search", json!([ours.to_string(), false, "0", "3"])).await, 200, -32603, "within [1, 3] range, given 0");
    check("no order", &node.call("tx_search", json!([ours.to_string(), false, "1", "3", "up"])).await, 200, -32603, "`asc` or `desc`");
    check("no query", &node.call("tx_search", json!({})).await, 200, -32602, "`query` is missing");
    check("a bad query", &node.call("tx_search", json!(["a ="])).await, 200, -32602, "failed to parse query");
    let range = Query::gte("tx.height", 3u64).and_lt("tx.height", 5u64).and_eq("transfer.amount", 5u64);
    assert_eq!(search(&range, 1, 30, Order::Ascending).await.expect("tx_search").total_count, 2);
    let by_hash = Query::from(EventType::Tx).and_eq("tx.hash", Hash::sha256(&[&node.bench.transfer(0)]).to_string().to_uppercase());
    assert_eq!(search(&by_hash, 1, 30, Order::Ascending).await.expect("tx_search").total_count, 1);
    assert_eq!(search(&Query::eq("transfer.from", "nobody"), 1, 30, Order::Ascending).await.expect("tx_search").total_count, 0);

    let blocks = client.block_search(Query::gt("block.height", 2u64), 1, 2, Order::Descending).await.expect("block_search");
    let heights: Vec<u64> = blocks.blocks.iter().map(|block| block.block.header.height.value()).collect();
    assert_eq!((blocks.total_count, heights), (u32::try_from(tip - 2).expect("few"), vec![tip, tip - 1]));
    assert_eq!(blocks.blocks[0].block_id.hash, blocks.blocks[0].block.header.hash());
    let (_, by_uri) = node.get("/block_search?query=%22block.height%20%3D%204%22&per_page=1").await;
    assert_eq!((&by_uri["result"]["total_count"], by_uri["result"]["blocks"].as_array().map(Vec::len)), (&json!("1"), Some(1)), "{by_uri}");

    let answer = node.call("index_validators", json!({"per_page": "2"})).await.1;
    assert_eq!(
        (&answer["result"]["total_count"], answer["result"]["entries"].as_array().map(Vec::len)),
        (&json!("4"), Some(2)),
        "{answer}"
    );
    assert_eq!(answer["result"]["entries"][0]["power"], json!("10"));
    check("a page too far", &node.call("index_logs", json!({"page": "2"})).await, 200, -32603, "within [1, 1] range, given 2");
    check("no name", &node.call("index_anchors", json!({"log": "x".repeat(300)})).await, 200, -32602, "300 bytes");
    let answer = node.call("index_status", json!({})).await.1;
    assert_eq!((&answer["result"]["state"], &answer["result"]["earliest_height"]), (&json!("follows"), &json!("1")), "{answer}");
}

/// The published verifier, over the published client.
async fn verify_heights(client: &HttpClient) {
    let options = Options {
        trust_threshold: tendermint::trust_threshold::TrustThresholdFraction::default(),
        trusting_period: Duration::from_secs(14 * 24 * 60 * 60),
        clock_drift: Duration::from_secs(5),
    };
    let mut light = Vec::new();
    for height in 1u32..=6 {
        let signed = client.commit(height).await.expect("commit");
        assert_eq!(signed.canonical, height < 6);
        let set = client.validators(height, Paging::All).await.expect("validators").validators;
        let next = client.validators(height + 1, Paging::All).await.expect("validators").validators;
        light.push((
            signed.signed_header,
            tendermint::validator::Set::without_proposer(set),
            tendermint::validator::Set::without_proposer(next),
        ));
    }
    let (first, _, first_next) = &light[0];
    for (signed, set, next) in &light[1..] {
        let trusted = TrustedBlockState {
            chain_id: &first.header.chain_id,
            header_time: first.header.time,
            height: first.header.height,
            next_validators: first_next,
            next_validators_hash: first.header.next_validators_hash,
        };
        let untrusted = UntrustedBlockState { signed_header: signed, validators: set, next_validators: Some(next) };
        let verdict = ProdVerifier::default().verify_update_header(untrusted, trusted, &options, Time::now());
        assert_eq!(verdict, Verdict::Success, "height {}", signed.header.height);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_clients_subscribe() {
    let node = Served::new(1).await;
    let url = format!("ws://{}/websocket", node.address).parse().expect("a URL");
    let (client, driver) = WebSocketClient::builder(url).compat_mode(CompatMode::V0_38).build().await.expect("a WebSocket");
    let driving = tokio::spawn(driver.run());
    let bytes = node.bench.transfer(0);
    let hash = Hash::sha256(&[&bytes]);
    let mut blocks = client.subscribe(Query::from(EventType::NewBlock)).await.expect("blocks");
    let by_hash = Query::from(EventType::Tx).and_eq("tx.hash", hex::encode_upper(hash.0));
    let mut paid = client.subscribe(Query::gt("transfer.amount", 4u64).and_exists("transfer.from")).await.expect("by an attribute");
    let mut ours = client.subscribe(by_hash.clone()).await.expect("our transaction");
    let mut nobody = client.subscribe(Query::from(EventType::Tx).and_eq("tx.height", 99u64)).await.expect("another height");
    assert_eq!(client.status().await.expect("methods too").sync_info.latest_block_height.value(), 1);
    assert!(client.broadcast_tx_sync(bytes.clone()).await.expect("it is taken").code.is_ok());
    node.bench.make(2);
    let mut heights = Vec::new();
    for _ in 0..2 {
        match blocks.next().await.expect("an event").expect("no error").data {
            EventData::NewBlock { block: Some(block), result_finalize_block: Some(_), block_id } => {
                assert_eq!(block_id.hash, block.header.hash());
                heights.push((block.header.height.value(), block.data.len()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heights, [(2, 1), (3, 0)]);
    match ours.next().await.expect("an event").expect("no error").data {
        EventData::Tx { tx_result } => assert_eq!((tx_result.height, tx_result.tx), (2, bytes.to_vec())),
        other => panic!("{other:?}"),
    }
    match paid.next().await.expect("an event").expect("no error") {
        tendermint_rpc::event::Event { data: EventData::Tx { tx_result }, events: Some(events), .. } => {
            assert_eq!(
                (tx_result.height, &events["transfer.amount"], &events["tm.event"]),
                (2, &vec!["5".to_owned()], &vec!["Tx".to_owned()])
            );
        }
        other => panic!("{other:?}"),
    }
    client.unsubscribe(by_hash).await.expect("no more of it");
    assert!(futures::FutureExt::now_or_never(nobody.next()).is_none(), "nothing was at that height");
    node.stop.send(true).expect("it runs");
    node.serving.await.expect("no panic").expect("a good end");
    drop(client);
    driving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_proves_what_the_node_serves() {
    let node = Served::new(1).await;
    let making = node.make_on_demand();
    let genesis = node.bench.app.genesis();
    let mut chain = Chain::connect(&format!("http://{}", node.address), genesis.trust()).expect("a URL");
    let (owner, signer) = (key(RICH), key(42));
    let register = Body::RegisterLog { key: signer.public(), bond: Amount(10_000_000) };
    chain.submit(&owner, FeePayer::Author, register).await.expect("a log");
    let log = LogId::derive(genesis.chain(), &owner.public().address(), 0);
    let content = Content::File { content: Hash::sha256(&[b"content"]), size: 7, name: None };
    let (batch, item) = audit::testing::stamped(content, [Hash([1; 32])]);
    let signed = SignedAnchor::sign(audit::testing::anchor(genesis.chain(), log, &batch), &signer);
    chain.submit(&owner, FeePayer::Author, Body::Anchor(Box::new(signed))).await.expect("an anchor");
    let account = chain.account(&owner.public().address()).await.expect("proven");
    assert_eq!(account.value.sequence, 2);
    let bundle = chain.bundle(vec![item], log, 1).await.expect("a bundle that holds");
    bundle::verify(&bundle, &genesis.trust(), Time::now(), &light::Options::default()).expect("it holds for everybody");
    assert_eq!(chain.node().changes(types::Height(1), types::Height(99)).await.expect("hand-offs"), []);
    assert!(node.bench.folder().exists());
    making.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_comes_in_by_its_door_and_shows_in_a_block() {
    use consensus::Host as _;
    use consensus::evidence::bytes;
    use events::Rendered;
    let node = Served::new(3).await;
    let client = node.client();
    let evidence = node.bench.two_votes(4, 2u32.into());
    let json = rpc::evidence::to_json(&evidence);
    let with = |path: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(path).expect("a field") = value;
        json!({"evidence": json})
    };
    check("nothing", &node.call("broadcast_evidence", json!({})).await, 200, -32602, "`evidence` is missing");
    check("no object", &node.call("broadcast_evidence", json!({"evidence": 7})).await, 200, -32602, "`evidence` is none");
    check("another kind", &node.call("broadcast_evidence", with("/type", json!("mine"))).await, 200, -32602, "`evidence` is none");
    check("another power", &node.call("broadcast_evidence", with("/value/ValidatorPower", json!("7"))).await, 200, -32004, "evidence 12: ");
    let [attack, _]: [Value; 2] = serde_json::from_str(include_str!("../../../tests/vectors/evidence.json")).expect("one of each kind");
    check("an attack yet to come", &node.call("broadcast_evidence", json!({"evidence": attack})).await, 200, -32004, "evidence 3: ");
    check("not JSON", &node.get("/broadcast_evidence?evidence=%7B").await, 400, -32602, "`evidence` must be JSON");
    assert!(node.bench.app.pending_evidence(usize::MAX).is_empty(), "none of it was taken");

    let escaped: String = json.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let uri = format!("/broadcast_evidence?evidence={escaped}");
    let name = methods::base64(&bytes::name(&evidence).0);
    for (story, answer) in [("by URI", node.get(&uri).await), ("again", node.call("broadcast_evidence", json!({"evidence": json})).await)] {
        assert_eq!((answer.0, &answer.1["result"]["hash"]), (200, &name), "{story}: {}", answer.1);
    }
    let (app, bench) = (Arc::clone(&node.bench.app), Arc::clone(&node.bench));
    let mut blocks = app.blocks();
    let height = tokio::task::spawn_blocking(move || bench.make_block()).await.expect("a block");
    let block = client.block(height).await.expect("the published client reads it").block;
    assert_eq!(block.evidence.as_ref(), std::slice::from_ref(&evidence));
    assert_eq!(block.header.evidence_hash, Some(bytes::list_hash(&block.evidence)));
    let by_hash = client.block_by_hash(block.header.hash()).await.expect("the published client reads it").block.expect("known");
    assert_eq!(by_hash, block);
    let rendered = Rendered::new(&blocks.recv().await.expect("a block"));
    let told = |query: &str| rendered.messages(&events::parse(query).expect("a query"), &json!(1), query).expect("JSON").concat();
    assert!(told("tm.event = 'NewEvidence'").contains("tendermint/event/NewEvidence"));
    let told = told("tm.event = 'NewBlock'");
    assert!(told.contains("\"ValidatorPower\""), "{told}");
}
