use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::App;
use crate::replay::{ReplayError, replay};
use crate::testing::{Bench, eventful, follow, genesis};

/// Puts a chain into a home.
fn settle(bench: Bench) -> (TempDir, Home) {
    let folder = bench.close();
    let home = TempDir::new().expect("a folder");
    fs::create_dir_all(home.path().join("data")).expect("a folder");
    let there = Home::new(home.path());
    copy(folder.path(), &there.database());
    (home, there)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name != "LOCK") {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
}

fn open(home: &Home) -> App {
    App::open(Store::open(&home.database(), genesis().hash()).expect("a database"), Arc::new(genesis())).expect("a chain")
}

#[test]
fn a_block_is_undone_and_executed_again() {
    // Behind the eighth block the powers have changed twice, and an anchor was taken.
    for blocks in [2, 3, 5, 8] {
        let (before, after) = (eventful(blocks - 1), eventful(blocks));
        let (then, height) = (before.app.chain(), Height::try_from(blocks).expect("a height"));
        let (_folder, home) = settle(eventful(blocks));
        fs::write(home.wal(), b"log").expect("written");
        assert_eq!(rollback(&home, &genesis()).expect("undone"), then, "{blocks}");
        assert!(!home.wal().exists(), "the engine's log was of another height");
        let app = open(&home);
        assert_eq!(app.chain(), then);
        assert!(app.store().block(height).is_none() && app.store().outcome(height).is_none());
        assert_eq!(app.store().handoffs(0, 9), before.app.store().handoffs(0, 9));
        let entries = |app: &App| app.store().iterate(Column::State, rocksdb::IteratorMode::Start).collect::<Vec<_>>();
        assert_eq!(entries(&app), entries(&before.app), "every entry, none besides");
        let rows = |app: &App, column: Column| app.store().iterate(column, rocksdb::IteratorMode::Start).count();
        for column in [Column::Blocks, Column::Sets, Column::Hashes, Column::Transactions, Column::Anchors, Column::Versions] {
            assert_eq!(rows(&app, column), rows(&before.app, column), "{column:?} after {blocks}");
        }
        follow(&app, &after.app, height);
        assert_eq!(app.chain(), after.app.chain(), "the same again");
        assert_eq!(entries(&app), entries(&after.app));
    }
}

#[test]
fn what_cannot_be_undone_is_refused() {
    let code = |home: &Home| rollback(home, &genesis()).map(|chain| chain.tip().value()).map_err(|error| error.code());
    let (_folder, home) = settle(eventful(12));
    // Only so many, and then it says why.
    let undone: Vec<_> = (0..=UNDOABLE).map(|_| code(&home)).collect();
    assert_eq!(undone, [Ok(11), Ok(10), Ok(9), Ok(8), Err(9132)]);
    assert_eq!(open(&home).chain().tip().value(), 8, "a refusal changes nothing");
    {
        let _running = open(&home);
        assert_eq!(code(&home), Err(9151), "the node runs");
    }
    let (_folder, home) = settle(eventful(1));
    assert_eq!(code(&home), Err(9131), "the first block");
    let (_folder, home) = settle(Bench::new());
    assert_eq!(code(&home), Err(9131), "no block");
}

#[test]
fn a_replay_comes_to_the_same_or_says_where_it_does_not() {
    let (folder, home) = settle(eventful(9));
    let scratch = folder.path().join("scratch");
    let mut heights = Vec::new();
    let genesis = Arc::new(genesis());
    let replayed = replay(&home, &genesis, &scratch, |height| heights.push(height)).expect("the same");
    assert_eq!((replayed.from, replayed.to, heights.len()), (0, 9, 9));
    fs::remove_dir_all(&scratch).expect("gone");

    // Somebody's node that made another state of the sixth block, as the header after it shows.
    {
        let store = Store::open(&home.database(), genesis.hash()).expect("a database");
        let at = Height::from(7u32);
        let (mut block, commit) = store.block(at).expect("a block");
        block.header.app_hash = vec![7; 32].try_into().expect("32 bytes");
        store.overwrite(&block, &commit);
    }
    let error = replay(&home, &genesis, &scratch, |_| {}).expect_err("another hash");
    assert!(matches!(error, ReplayError::Differs { height: 6, what: "application hash", .. }), "{error}");
    assert!(error.to_string().starts_with("block 6 makes the application hash"), "{error}");
}
