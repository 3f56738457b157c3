//! The frozen vectors of `tests/vectors/tree.json`.

use serde_json::json;

use super::*;

/// Pages, records and lists after four small versions, the last of which writes a row of changes.
#[test]
fn the_vectors_hold() {
    let mut world = World::default();
    world.update(&set(0..3, 0));
    world.update(&set(3..30, 1));
    world.update(&remove(5..10));
    world.update(&set([3], 3));
    let hex = |map: &BTreeMap<Vec<u8>, Vec<u8>>| -> serde_json::Map<String, serde_json::Value> {
        map.iter().map(|(key, bytes)| (hex::encode(key), json!(hex::encode(bytes)))).collect()
    };
    let computed = json!({
        "what": "version 0 sets account/0 to account/2, version 1 account/3 to account/29, version 2 removes account/5 to account/9, version 3 sets account/3; the value of account/N written by version V is the text `value N of version V`",
        "roots": world.versions.iter().map(|(root, _)| root).collect::<Vec<_>>(),
        "pages": hex(&world.memory.pages),
        "records": hex(&world.memory.records),
        "stale": world.memory.stale.iter().map(|(version, lists)| (version.to_string(), json!(lists.iter().map(hex::encode).collect::<Vec<_>>()))).collect::<serde_json::Map<_, _>>(),
    });
    support::frozen("tree", &computed);
}
