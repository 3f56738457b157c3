//! `zynk light proxy` on a chain of real processes: published clients work against it unchanged, and no lie of the node behind
//! it comes through.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

#[path = "light_proxy/liar.rs"]
mod liar;
mod world;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use liar::{Liar, Lie, changes};
use serde_json::{Value, json};
use tendermint_light_client::builder::LightClientBuilder;
use tendermint_light_client::light_client::Options;
use tendermint_light_client::store::memory::MemoryStore;
use tendermint_light_client::types::TrustThreshold;
use tendermint_rpc::{Client, HttpClient, Order, Paging};
use types::Height;
use world::{World, ZYNK};

/// A running proxy. Dropped, its process ends.
struct Proxy {
    child: Child,
    url: String,
}

impl Proxy {
    fn start(line: &[&str]) -> Self {
        let mut command = Command::new(ZYNK);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
            command.env_remove(name);
        }
        let command = command.args(["light", "proxy", "--json", "--listen", "127.0.0.1:0"]).args(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        Self { child, url: said["url"].as_str().expect("a URL").to_owned() }
    }

    /// Asks; the result, or the error.
    fn ask(&self, world: &World, method: &str, params: &Value) -> Result<Value, Value> {
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut answer: Value = world.runtime.block_on(async {
            let answer = reqwest::Client::new().post(&self.url).body(question.to_string()).send().await.expect("it answers");
            answer.json().await.expect("JSON")
        });
        if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer["error"].take()) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn genesis(world: &World) -> String {
    world.running.network().genesis().to_str().expect("UTF-8").to_owned()
}

/// Runs `zynk light … --json`: its answer or its error.
fn light(folder: &Path, line: &[&str]) -> Value {
    let mut command = Command::new(ZYNK);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
        command.env_remove(name);
    }
    let output = command.current_dir(folder).arg("light").args(line).args(["--once", "--json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line:?}: {error}: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn published_clients_work_against_the_proxy() {
    let mut world = World::start();
    let included = world.transfer(0).expect("included");
    world.wait_for(0, included.height.0 + 2);
    world.wait_for(1, included.height.0 + 2);
    let (genesis, node, witness) = (genesis(&world), world.url(0), world.url(1));
    let proxy = Proxy::start(&["--genesis", &genesis, "--node", &node, "--witness", &witness, "--min-witnesses", "1"]);
    let (client, direct) = (HttpClient::new(proxy.url.as_str()).expect("a URL"), HttpClient::new(node.as_str()).expect("a URL"));
    let height = tendermint::block::Height::try_from(included.height).expect("a height");
    let hash = tendermint::Hash::Sha256(included.hash.0);
    world.runtime.block_on(async {
        client.health().await.expect("health");
        let status = client.status().await.expect("status");
        assert_eq!(status.node_info.network.as_str(), "zynk-test");
        assert!(status.sync_info.latest_block_height > height && !status.sync_info.catching_up);
        // What a header covers is the same as the node says.
        let block = client.block(height).await.expect("block");
        let same = direct.block(height).await.expect("block");
        assert_eq!((&block.block, block.block_id), (&same.block, same.block_id));
        assert_eq!(client.block_by_hash(block.block_id.hash).await.expect("block_by_hash").block.as_ref(), Some(&block.block));
        let header = client.header(height).await.expect("header").header;
        assert_eq!(client.header_by_hash(header.hash()).await.expect("header_by_hash").header, Some(header.clone()));
        let commit = client.commit(height).await.expect("commit").signed_header;
        assert_eq!(commit, direct.commit(height).await.expect("commit").signed_header);
        let set =
            tendermint::validator::Set::without_proposer(client.validators(height, Paging::All).await.expect("validators").validators);
        assert_eq!(set.hash(), header.validators_hash);
        let params = client.consensus_params(height).await.expect("consensus_params").consensus_params;
        assert_eq!(params, direct.consensus_params(height).await.expect("consensus_params").consensus_params);
        let known: tendermint::Genesis<Value> = client.genesis().await.expect("genesis");
        assert_eq!(known.chain_id.as_str(), "zynk-test");
        let chain = client.blockchain(height, height).await.expect("blockchain").block_metas;
        assert!(chain.len() == 1 && chain[0].header == header && chain[0].num_txs == 1, "{chain:?}");
        let info = client.abci_info().await.expect("abci_info");
        assert!(u64::from(info.last_block_height) >= included.height.0);

        let results = client.block_results(height).await.expect("block_results").txs_results.expect("one");
        assert!(results.len() == 1 && results[0].code.is_ok() && results[0].events.is_empty());
        let found = client.tx(hash, true).await.expect("tx");
        let same = direct.tx(hash, true).await.expect("tx");
        assert_eq!((found.height, found.index, &found.tx, &found.proof), (same.height, same.index, &same.tx, &same.proof));
        let query = tendermint_rpc::query::Query::eq("tx.height", i64::try_from(included.height.0).expect("low"));
        let searched = client.tx_search(query, true, 1, 10, Order::Ascending).await.expect("tx_search");
        assert_eq!((searched.total_count, &searched.txs[0].tx), (1, &found.tx));
        let events = tendermint_rpc::query::Query::eq("transfer.sender", "nobody");
        assert!(client.tx_search(events, false, 1, 10, Order::Ascending).await.is_err(), "which have an event is not verifiable");

        let state = Some(rpc::query::STATE.to_owned());
        let key = ledger::state::key::PARAMS.to_vec();
        let at = Some(height);
        let answer = client.abci_query(state.clone(), key.clone(), at, true).await.expect("abci_query");
        let same = direct.abci_query(state.clone(), key, at, true).await.expect("abci_query");
        assert_eq!((&answer.value, &answer.proof, answer.height), (&same.value, &same.proof, same.height));
        let absent = client.abci_query(state, b"nothing/here".to_vec(), at, true).await.expect("proven absent");
        assert!(absent.value.is_empty() && absent.proof.is_some());
        let handoffs = client.abci_query(Some(rpc::query::HANDOFFS.to_owned()), vec![0; 8], None, false).await;
        assert!(handoffs.expect_err("it carries no proof").to_string().contains("no proof"));

        // What the node is handed comes to it.
        let taken = client.broadcast_tx_sync(found.tx.clone()).await.expect("an answer");
        assert!(taken.code.is_err() && taken.hash == hash, "it is in a block already: {taken:?}");
        assert!(client.net_info().await.expect_err("nobody can verify it").to_string().contains("not verifiable"));
    });

    // The published light client follows the chain through the proxy.
    let first = world.runtime.block_on(world.node(2).commit(Some(Height(1)))).expect("a commit").header;
    let options = Options {
        trust_threshold: TrustThreshold::ONE_THIRD,
        trusting_period: Duration::from_secs(3600),
        clock_drift: Duration::from_secs(10),
    };
    let peer = world.runtime.block_on(client.status()).expect("status").node_info.id;
    let mut instance = LightClientBuilder::prod(peer, client.clone(), Box::new(MemoryStore::new()), options, Some(Duration::from_secs(30)))
        .trust_primary_at(first.height, first.hash())
        .expect("the first block is trusted")
        .build();
    let tip = instance.light_client.verify_to_highest(&mut instance.state).expect("verified to the tip");
    assert!(tip.height() > height);

    // And so does ours, and its transactions.
    let trust = world.running.network().load_genesis().expect("a genesis").trust();
    let mut chain = rpc::Chain::connect(&proxy.url, trust).expect("a URL");
    let entry = world.runtime.block_on(chain.params()).expect("proven");
    assert!(entry.height() >= included.height);

    // By GET, in a batch, and over a WebSocket.
    let got = world.runtime.block_on(async {
        reqwest::get(format!("{}/header?height={height}", proxy.url)).await.expect("it answers").json::<Value>().await.expect("JSON")
    });
    assert_eq!(got["result"]["header"]["height"], json!(height.to_string()));
    let refused = proxy.ask(&world, "subscribe", &json!({"query": "tm.event='NewBlock'"})).expect_err("there are none");
    assert_eq!(refused["code"], -32006, "{refused}");
    let (socket, driver) = world.runtime.block_on(async {
        tendermint_rpc::WebSocketClient::new(format!("{}/websocket", proxy.url.replacen("http", "ws", 1)).as_str()).await.expect("it opens")
    });
    let driving = world.runtime.spawn(driver.run());
    let over = world.runtime.block_on(socket.commit(height)).expect("commit").signed_header.header;
    assert_eq!(over.height, height);
    drop(socket);
    driving.abort();
}

#[test]
fn no_lie_comes_through() {
    let mut world = World::start();
    let included = world.transfer(0).expect("included");
    let height = included.height.0;
    world.wait_for(0, height + 3);
    let liar = Liar::serve(world.url(0), &world.runtime);
    let genesis = genesis(&world);
    let proxy = Proxy::start(&["--genesis", &genesis, "--node", &liar.url, "--cache", "0"]);
    let header = world.runtime.block_on(world.node(0).commit(Some(included.height))).expect("a commit").header;
    let (at, hash) = (height.to_string(), header.hash().to_string());
    let name = STANDARD.encode(hex::decode(&hash).expect("digits"));
    let transaction = STANDARD.encode(included.hash.0);
    let state = |key: &[u8]| json!({"path": rpc::query::STATE, "data": hex::encode(key), "height": at, "prove": true});
    let mut told = 0;
    for (method, params) in [
        ("header", json!({"height": at})),
        ("header_by_hash", json!({"hash": hash})),
        ("commit", json!({"height": at})),
        ("validators", json!({"height": at})),
        ("consensus_params", json!({"height": at})),
        ("block", json!({"height": at})),
        ("block_by_hash", json!({"hash": name})),
        ("blockchain", json!({"minHeight": at, "maxHeight": at})),
        ("block_results", json!({"height": at})),
        ("tx", json!({"hash": transaction, "prove": true})),
        ("tx_search", json!({"query": format!("tx.height={height}"), "prove": true})),
        ("abci_query", state(ledger::state::key::PARAMS)),
        ("abci_query", state(b"nothing/here")),
    ] {
        liar.be_honest();
        let mut honest = proxy.ask(&world, method, &params).unwrap_or_else(|error| panic!("{method}: {error}"));
        // The newest height is not the same twice.
        let pinned = |answer: &mut Value| drop(answer.get_mut("last_height").map(Value::take));
        pinned(&mut honest);
        let heard = liar.heard();
        assert!(!heard.is_empty(), "{method}: the node was asked");
        let (mut lies, mut caught) = (0, 0);
        for (question, answer) in &heard {
            // What other questions are about their own rows tell each lie of; here a part of them.
            let own = question.starts_with(&format!("{method} "));
            for (place, instead) in changes(answer).into_iter().step_by(if own { 1 } else { 5 }) {
                liar.tell(Lie { question: question.clone(), place: place.clone(), instead: instead.clone() });
                lies += 1;
                match proxy.ask(&world, method, &params) {
                    Ok(mut answer) => {
                        pinned(&mut answer);
                        assert_eq!(answer, honest, "{method}: {question} at {place}: {instead}");
                    }
                    Err(error) => {
                        caught += 1;
                        assert!(error["code"].is_i64(), "{method}: {error}");
                    }
                }
            }
        }
        assert!(caught > 0, "{method}: {lies} lies, and none was noticed");
        told += lies;
    }
    assert!(told > 300, "{told} lies");

    // What moves: the newest header is one of the chain's, or none is told.
    liar.be_honest();
    proxy.ask(&world, "status", &json!({})).expect("status");
    let heard = liar.heard();
    // The question for the newest header names no height.
    let newest = |asked: &str| asked.starts_with("commit ") && !asked.contains(|letter: char| letter.is_ascii_digit());
    let (question, answer) = heard.iter().find(|(asked, _)| newest(asked)).expect("it asked for the newest");
    for (place, instead) in changes(answer) {
        liar.tell(Lie { question: question.clone(), place, instead: instead.clone() });
        if let Ok(status) = proxy.ask(&world, "status", &json!({})) {
            let info = &status["sync_info"];
            let height: u64 = info["latest_block_height"].as_str().and_then(|height| height.parse().ok()).expect("a height");
            world.wait_for(1, height);
            let own = world.runtime.block_on(world.node(1).commit(Some(Height(height)))).expect("a commit").header;
            assert_eq!(info["latest_block_hash"], json!(own.hash().to_string()), "{instead}");
            assert_eq!(info["latest_block_time"], json!(own.time));
        }
    }

    // The chain does not grow shorter because the node shows an older header that holds as well.
    liar.be_honest();
    proxy.ask(&world, "commit", &json!({"height": at})).expect("commit");
    let older = liar.heard().into_iter().find(|(asked, _)| asked.starts_with("commit ") && !newest(asked)).expect("it was asked").1;
    let reached = |status: Value| status["sync_info"]["latest_block_height"].as_str().and_then(|height| height.parse::<u64>().ok());
    let before = reached(proxy.ask(&world, "status", &json!({})).expect("status"));
    liar.tell(Lie { question: question.clone(), place: String::new(), instead: older });
    let after = reached(proxy.ask(&world, "status", &json!({})).expect("status"));
    assert!(after >= before && before > Some(height), "{before:?}, then {after:?}");

    // What only the node can know is its word; the name of a transaction is not.
    liar.be_honest();
    let taken = proxy.ask(&world, "broadcast_tx_sync", &json!({"tx": STANDARD.encode(b"nonsense")})).expect("an answer");
    let (question, _) = liar.heard().into_iter().find(|(question, _)| question.starts_with("broadcast")).expect("it was passed on");
    liar.tell(Lie { question, place: "/hash".to_owned(), instead: json!("AB".repeat(32)) });
    let lied = proxy.ask(&world, "broadcast_tx_sync", &json!({"tx": STANDARD.encode(b"nonsense")})).expect("an answer");
    assert_eq!(lied["hash"], taken["hash"]);
}

#[test]
fn what_was_verified_is_kept() {
    let mut world = World::start();
    world.wait_for(0, 3);
    let folder = world.beside("light");
    std::fs::create_dir(&folder).expect("a folder");
    let (genesis, node) = (genesis(&world), world.url(0));
    let first = light(&folder, &["--genesis", &genesis, "--node", &node, "--store", "kept"]);
    assert_eq!(first["chain"], "zynk-test", "{first}");
    // From the store alone.
    let second = light(&folder, &["--node", &node, "--store", "kept"]);
    assert_eq!(second["origin"], first["origin"], "{second}");
    assert!(second["header_height"].as_u64() >= first["header_height"].as_u64(), "{second}");

    let expired = light(&folder, &["--node", &node, "--store", "kept", "--trusting-period", "0"]);
    assert_eq!(expired["error"]["code"], 1009, "{expired}");
    assert!(expired["error"]["message"].as_str().expect("words").contains("a new checkpoint is needed"), "{expired}");
    let lonely = light(&folder, &["--node", &node, "--store", "kept", "--min-witnesses", "1"]);
    // Nothing new, nothing asked: else a witness is missed.
    assert!(lonely["error"]["code"] == 5015 || lonely["header_height"] == second["header_height"], "{lonely}");
    let nothing = light(&folder, &["--node", &node]);
    assert_eq!(nothing["error"]["code"], 6022, "{nothing}");

    let path = folder.join("kept");
    let whole = std::fs::read(&path).expect("there");
    for (story, bytes) in [
        ("a bit is flipped", {
            let mut bytes = whole.clone();
            bytes[40] ^= 1;
            bytes
        }),
        ("it was cut", whole[..whole.len() / 2].to_vec()),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let damaged = light(&folder, &["--node", &node, "--store", "kept"]);
        assert_eq!(damaged["error"]["code"], 1029, "{story}: {damaged}");
    }
    std::fs::write(&path, &whole).expect("written");

    // From a block that somebody vouches for.
    let header = world.runtime.block_on(world.node(1).commit(Some(Height(2)))).expect("a commit").header;
    let vouched = light(&folder, &["--node", &node, "--trust", &format!("2:{}", header.hash())]);
    assert_eq!(vouched["origin"]["checkpoint"]["height"], 2, "{vouched}");
    let other = light(&folder, &["--node", &node, "--trust", &format!("2:{}", "ab".repeat(32))]);
    assert_eq!(other["error"]["code"], 1012, "{other}");

    // A proxy goes on from it, and writes it when it is told to end.
    let mut proxy = Proxy::start(&["--node", &node, "--store", path.to_str().expect("UTF-8")]);
    let seen = proxy.ask(&world, "status", &json!({})).expect("status");
    let refused = proxy.ask(&world, "genesis", &json!({})).expect_err("no header names it");
    assert_eq!(refused["code"], -32006, "{refused}");
    let pid = rustix::process::Pid::from_raw(proxy.child.id().try_into().expect("a process id")).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    assert!(proxy.child.wait().expect("our child").success());
    let kept = light::Kept::from_bytes(&std::fs::read(&path).expect("there"), light::kept::KEEP).expect("it opens");
    let seen: u64 = seen["sync_info"]["latest_block_height"].as_str().and_then(|height| height.parse().ok()).expect("a height");
    assert!(kept.latest().height().0 >= seen);
}
