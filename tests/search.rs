//! Searches against a whole chain from outside: published clients, an index that is damaged, killed, and made anew.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

mod world;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tendermint_rpc::query::Query;
use tendermint_rpc::{Client as _, HttpClient, Order};
use world::{PATIENCE, World, ZYNK, until};

/// The node that the stories happen to.
const PLACE: usize = 3;

/// What the index lists.
const LISTS: [&str; 6] = ["index_anchors", "index_identities", "index_logs", "index_operations", "index_powers", "index_validators"];

impl World {
    fn ask(&self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.runtime.block_on(async {
            let client = reqwest::Client::new();
            let answer = client.post(self.running.network().url(PLACE)).body(request.to_string()).send().await.ok();
            match answer {
                Some(answer) => serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default(),
                None => Value::Null,
            }
        })
    }

    /// Waits until the node's index has a height.
    fn indexed(&self, height: u64) {
        until("the index has the height", PATIENCE, || {
            let status = self.ask("index_status", &json!({}));
            let found = status["result"]["latest_height"].as_str()?.parse::<u64>().ok()?;
            (found >= height).then_some(())
        });
    }

    /// All that the index answers up to a height, by method; none where it does not answer.
    fn dump(&self, height: u64) -> Option<BTreeMap<String, Vec<Value>>> {
        let mut all = BTreeMap::new();
        let below = |entry: &Value| entry["height"].as_str().and_then(|found| found.parse().ok()).is_some_and(|found: u64| found <= height);
        for list in LISTS {
            let entries = self.pages(list, "entries", &json!({}))?;
            all.insert(list.to_owned(), entries.into_iter().filter(below).collect());
        }
        let (txs, blocks) = (format!("tx.height <= {height}"), format!("block.height <= {height}"));
        all.insert("tx_search".to_owned(), self.pages("tx_search", "txs", &json!({"query": txs, "prove": true}))?);
        let blocks = self.pages("block_search", "blocks", &json!({"query": blocks, "order_by": "asc"}))?;
        all.insert("block_search".to_owned(), blocks.iter().map(|block| block["block_id"]["hash"].clone()).collect());
        Some(all)
    }

    fn pages(&self, method: &str, field: &str, params: &Value) -> Option<Vec<Value>> {
        let mut all = Vec::new();
        for page in 1.. {
            let mut params = params.clone();
            params["page"] = json!(page.to_string());
            params["per_page"] = json!("7");
            let answer = self.ask(method, &params);
            let total: usize = answer["result"]["total_count"].as_str()?.parse().ok()?;
            all.extend(answer["result"][field].as_array()?.iter().cloned());
            if all.len() >= total {
                return Some(all);
            }
        }
        unreachable!("pages end")
    }
}

#[test]
fn the_published_client_searches_a_chain_and_sees_its_peers() {
    let mut world = World::start();
    let mut heights = Vec::new();
    for _ in 0..5 {
        heights.push(world.transfer(0).expect("included").height.0);
    }
    let last = heights[4];
    world.wait_for(PLACE, last + 1);
    world.indexed(last);
    let client = HttpClient::new(world.url(PLACE).as_str()).expect("a URL");
    world.runtime.block_on(async {
        let search = async |query: Query, page| client.tx_search(query, true, page, 2, Order::Ascending).await.expect("tx_search");
        let found = search(Query::exists("transfer.from"), 1).await;
        assert_eq!((found.total_count, found.txs.len()), (5, 2));
        assert_eq!(found.txs.iter().map(|tx| tx.height.value()).collect::<Vec<_>>(), heights[..2]);
        assert!(found.txs.iter().all(|tx| tx.proof.is_some() && tx.tx_result.code.is_ok()));
        assert_eq!(search(Query::gt("tx.height", heights[2]), 1).await.total_count, 2);
        let blocks = client.block_search(Query::lte("block.height", last), 1, 3, Order::Descending).await.expect("block_search");
        assert_eq!((u64::from(blocks.total_count), blocks.blocks[0].block.header.height.value()), (last, last));
        let headers = client.blockchain(1u32, 3u32).await.expect("blockchain");
        assert_eq!(headers.block_metas.iter().map(|meta| meta.header.height.value()).collect::<Vec<_>>(), [3, 2, 1]);
    });
    // Peers and votes are told of as the networks and the engine have them now.
    until("the other three are seen", PATIENCE, || {
        let net = world.runtime.block_on(client.net_info()).ok()?;
        (net.n_peers == 3 && net.listening && net.peers.iter().all(|peer| peer.remote_ip.is_loopback())).then_some(())
    });
    let state = until("the engine's state", PATIENCE, || world.runtime.block_on(client.consensus_state()).ok()).round_state;
    assert!(state.height_round_step.height.value() >= last && state.height_vote_set[0].prevotes.len() == 4);
    let dump = world.ask("dump_consensus_state", &json!({}));
    assert_eq!(dump["result"]["round_state"]["validators"]["validators"].as_array().map(Vec::len), Some(4), "{dump}");
    assert_eq!(dump["result"]["peers"].as_array().map(Vec::len), Some(3), "{dump}");
}

#[test]
fn an_index_that_was_killed_or_damaged_is_the_same_as_one_made_anew() {
    let mut world = World::start();
    for _ in 0..6 {
        world.transfer(0).expect("included");
        // Killed between the chain's write and the index's, or within either.
        world.running.kill(PLACE).expect("killed");
        world.running.revive(PLACE, &[]).expect("revived");
    }
    let tip = world.runtime.block_on(world.running.height(0)).expect("it answers");
    world.wait_for(PLACE, tip);
    world.indexed(tip);
    let killed = world.dump(tip).expect("it answers");
    assert_eq!(killed["tx_search"].len(), 6);
    assert_eq!(killed["block_search"].len() as u64, tip);

    // The file is made unreadable under the node that has it open.
    let file = world.running.network().home(PLACE).index();
    for ending in ["", "-wal"] {
        let mut path = file.clone().into_os_string();
        path.push(ending);
        let length = std::fs::metadata(&path).map_or(0, |file| file.len());
        std::fs::write(&path, vec![0x5a; usize::try_from(length).expect("small")]).expect("written");
    }
    let included = world.transfer(0).expect("the chain goes on");
    world.wait_for(PLACE, included.height.0);
    // Whoever asks may be the first to see it.
    until("the index is whole again", PATIENCE, || world.dump(tip).filter(|dump| *dump == killed));
    world.indexed(included.height.0);

    // Made anew by the command, while the node is down; not while it runs.
    let home = world.running.network().home_folder(PLACE);
    let reindex = || Command::new(ZYNK).args(["node", "reindex", "--json", "--home"]).arg(&home).output().expect("it runs");
    assert!(!reindex().status.success(), "the node runs");
    world.running.kill(PLACE).expect("killed");
    let told = reindex();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert!(told["from"] == json!(1) && told["to"].as_u64().is_some_and(|to| to >= included.height.0), "{told}");
    world.running.revive(PLACE, &[]).expect("revived");
    world.indexed(included.height.0);
    assert_eq!(world.dump(tip), Some(killed));
}
