//! What is refused before a node is asked.

use node::rpc::params::Params;
use serde_json::json;
use types::{Hash, Height};

use super::Memory;
use super::methods::{METHODS, names, page, searched};

#[test]
fn only_what_a_block_shows_can_be_searched_for() {
    let hash = "Ab".repeat(32);
    let named = Some(Hash([0xab; 32]));
    for (query, expected) in [
        ("tx.height=7".to_owned(), (Some(Height(7)), None)),
        (" tx.height = 7 ".to_owned(), (Some(Height(7)), None)),
        (format!("tx.hash='{hash}'"), (None, named)),
        (format!("tx.hash = '{hash}' AND tx.height = 7"), (Some(Height(7)), named)),
    ] {
        assert_eq!(searched(&query), Ok(expected), "{query}");
    }
    for query in [
        "",
        "tx.height>7",
        "tx.height=0",
        "tx.height=7 AND tx.height=8",
        "transfer.sender='x'",
        "tx.hash='12'",
        "tx.height=7 OR tx.height=8",
    ] {
        assert_eq!(searched(query).map_err(|fault| fault.code()), Err(-32006), "{query}");
    }
}

#[test]
fn pages_are_counted_from_one() {
    let all: Vec<u32> = (0..70).collect();
    let show = |json| page(&all, &Params::from_json(json, &["page", "per_page"]).expect("parameters")).map(<[u32]>::to_vec);
    assert_eq!(show(json!({})).expect("the first").len(), 30);
    assert_eq!(show(json!({"page": "3"})).expect("the last"), all[60..].to_vec());
    assert_eq!(show(json!({"per_page": 1000})).expect("all").len(), 70);
    for wrong in [json!({"page": 0}), json!({"page": 4}), json!({"page": "x"})] {
        assert!(show(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn what_nobody_can_verify_is_named_as_such() {
    let code = |method| names(method).map_or_else(|fault| fault.code(), |_| 0);
    assert!(METHODS.iter().all(|(name, _)| code(name) == 0));
    assert!(["net_info", "subscribe", "unconfirmed_txs", "block_search", "consensus_state"].iter().all(|name| code(name) == -32006));
    assert_eq!(code("nonsense"), -32601);
}

#[test]
fn what_came_first_is_forgotten_first() {
    let mut memory = Memory::new(2);
    for height in [9, 3, 3, 5] {
        memory.put(Height(height), &height);
    }
    assert_eq!([3, 5, 9].map(|height| memory.get(Height(height))), [Some(3), Some(5), None]);
    let mut none = Memory::new(0);
    none.put(Height(1), &1);
    assert_eq!(none.get(Height(1)), None);
}
