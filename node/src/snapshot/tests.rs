use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use audit::LogId;
use consensus::Host as _;
use serde_json::json;
use tempfile::TempDir;
use tendermint::Time;
use tendermint::block::Height;
use tendermint::block::signed_header::SignedHeader;
use types::Reader;

use super::record::Record;
use super::restore::{Basis, restore};
use super::*;
use crate::app::App;
use crate::store::Store;
use crate::store::frozen::Frozen;
use crate::store::light::Light;
use crate::testing::{Bench, RICH, at_second, eventful, follow, genesis, key};
use crate::tree;

/// A snapshot of the bench's tip on a shelf.
pub(crate) fn shelve(bench: &Bench, shelf: &Shelf) -> Manifest {
    let tip = bench.app.chain().tip().value();
    let view = Frozen::new(bench.app.store());
    let source = Source { view: &view, genesis: bench.app.genesis(), height: tip };
    source.write(shelf, &AtomicBool::new(false)).expect("written").expect("not stopped")
}

/// What a light client would have verified of a height.
pub(crate) fn basis(app: &App, height: u64) -> Basis {
    let (store, at) = (app.store(), |height: u64| Height::try_from(height).expect("a height"));
    let commit = store.commit_of(at(height)).expect("a commit");
    let last = SignedHeader::new(store.header(at(height)).expect("a header"), commit).expect("they fit");
    let after = store.validators(at(height + 2)).expect("a set");
    let after = ::light::Validators::try_from(&after.to_tendermint()).expect("a set");
    Basis { last, next: store.header(at(height + 1)).expect("a header"), after }
}

/// A snapshot in memory, to bend.
#[derive(Clone)]
struct Copy {
    manifest: Manifest,
    chunks: Vec<Vec<u8>>,
}

impl Copy {
    fn of(shelf: &Shelf, manifest: &Manifest) -> Self {
        let chunks = (0..manifest.chunks.len()).map(|number| shelf.chunk(manifest.height, number).expect("a chunk")).collect();
        Self { manifest: manifest.clone(), chunks }
    }

    fn records(&self) -> Vec<Record> {
        let bytes = self.chunks.concat();
        let mut reader = Reader::new(&bytes);
        let mut records = Vec::new();
        while reader.remaining() > 0 {
            records.push(Record::read(&mut reader).expect("a record"));
        }
        records
    }

    /// The snapshot of somebody who lies, but names what it sends.
    fn with(&self, records: &[Record]) -> Self {
        let chunk: Vec<u8> = records.iter().flat_map(|record| record.to_bytes().expect("bytes")).collect();
        let count = |kind: fn(&Record) -> bool| records.iter().filter(|record| kind(record)).count() as u64;
        let manifest = Manifest {
            entries: count(|record| matches!(record, Record::Entry { .. })),
            anchors: count(|record| matches!(record, Record::Anchor { .. })),
            headers: count(|record| matches!(record, Record::Block(_))),
            chunks: vec![Hash::sha256(&[&chunk])],
            ..self.manifest.clone()
        };
        Self { manifest, chunks: vec![chunk] }
    }

    fn restore(&self, basis: &Basis, folder: &Path) -> Result<(), SnapshotError> {
        restore(&self.manifest, |number| Ok(self.chunks[number].clone()), basis, &genesis(), folder)
    }
}

#[test]
fn a_restored_node_is_as_if_it_had_executed_every_block() {
    let bench = eventful(9);
    let folder = TempDir::new().expect("a folder");
    let shelf = Shelf::open(folder.path().join("snapshots"), 1).expect("a shelf");
    let (manifest, then) = (shelve(&bench, &shelf), bench.app.chain());
    bench.app.submit(bench.transfer(6)).expect("it is taken");
    for block in 10..14 {
        bench.make_block_at(at_second(block));
    }
    let copy = Copy::of(&shelf, &manifest);
    let place = folder.path().join("db");
    copy.restore(&basis(&bench.app, 9), &place).expect("it holds");

    let app = App::open(Store::open(&place, genesis().hash()).expect("a database"), Arc::new(genesis())).expect("a chain");
    assert_eq!(app.chain(), then, "priorities, hashes and all");
    assert_eq!(app.earliest().value(), 10);
    assert_eq!(app.last_commit().map(|commit| commit.height), Some(then.tip()), "the next block can carry it");
    // What it needs for proofs of what was before: every anchor, hand-off and header for evidence.
    let log = LogId::derive(app.genesis().chain(), &key(RICH).public().address(), 1);
    assert_eq!(app.store().anchor(&log, 1), bench.app.store().anchor(&log, 1));
    assert_eq!(app.store().log_node(0, 0), bench.app.store().log_node(0, 0));
    let handoffs = bench.app.store().handoffs(0, 10);
    assert_eq!(handoffs.len(), 2, "{handoffs:?}");
    assert_eq!(app.store().handoffs(0, 10), handoffs);
    for height in 1..=9u32 {
        use consensus::evidence::History as _;
        let (ours, theirs) = (app.store(), bench.app.store());
        let height = Height::from(height);
        assert_eq!(ours.header(height), theirs.header(height));
        assert_eq!(ours.commit_of(height).map(|commit| commit.block_id), theirs.commit_of(height).map(|commit| commit.block_id));
        assert_eq!(ours.validators(height).map(|set| set.hash()), theirs.validators(height).map(|set| set.hash()), "{height}");
        if height.value() < 9 {
            assert_eq!(ours.signed_header(height), theirs.signed_header(height));
        } else {
            assert_eq!(ours.signed_header(height), None, "what the next block carries is not known yet");
        }
        assert!(ours.block(height).is_none(), "no block below is here");
    }
    // It goes on, with the same hashes, and proves.
    for height in 10..=13u32 {
        follow(&app, &bench.app, Height::from(height));
    }
    assert_eq!(app.chain(), bench.app.chain());
    let version = app.store().tree_version_at(9).expect("the snapshot's own");
    assert!(tree::prove(app.store(), version, b"anchors/head").expect("whole").0.is_some());
    // The next snapshot of both is the same, byte for byte.
    let others = Shelf::open(folder.path().join("others"), 1).expect("a shelf");
    let view = Frozen::new(app.store());
    let source = Source { view: &view, genesis: &genesis(), height: 13 };
    let own = source.write(&others, &AtomicBool::new(false)).expect("written").expect("not stopped");
    assert_eq!(own.hash(), shelve(&bench, &shelf).hash());
    assert_eq!(shelf.list().len(), 1, "the old one made place");
}

#[test]
fn whatever_is_bent_is_refused_and_named() {
    let bench = eventful(9);
    let folder = TempDir::new().expect("a folder");
    let shelf = Shelf::open(folder.path().join("snapshots"), 1).expect("a shelf");
    let manifest = shelve(&bench, &shelf);
    bench.make_block_at(at_second(10));
    let (honest, basis) = (Copy::of(&shelf, &manifest), basis(&bench.app, 9));
    let records = honest.records();
    let mut number = 0;
    let mut refused = |story: &str, copy: &Copy, code: u32, words: &str| {
        number += 1;
        let error = copy.restore(&basis, &folder.path().join(number.to_string())).expect_err(story);
        assert_eq!(error.code(), code, "{story}: {error}");
        assert!(error.to_string().contains(words), "{story}: {error}");
    };
    let other = |change: &dyn Fn(&mut Manifest)| {
        let mut copy = honest.clone();
        change(&mut copy.manifest);
        copy
    };
    refused("another chain's", &other(&|manifest| manifest.chain = "other-1".parse().expect("a name")), 9103, "other-1");
    refused("another genesis'", &other(&|manifest| manifest.genesis = Hash::ZERO), 9103, "genesis");
    refused("another height's", &other(&|manifest| manifest.height = 8), 9103, "height");
    refused("another state's", &other(&|manifest| manifest.app_hash = Hash::ZERO), 9104, "application hash");
    let mut flipped = honest.clone();
    flipped.chunks[0][100] ^= 1;
    refused("a bit flipped", &flipped, 9105, "chunk 0");
    let mut cut = honest.clone();
    cut.chunks[0].pop();
    refused("cut short", &cut, 9105, "chunk 0");

    // From here on who lies names what it sends.
    let mut cut = honest.clone();
    let _ = cut.chunks[0].pop();
    cut.manifest.chunks[0] = Hash::sha256(&[&cut.chunks[0]]);
    refused("its last record cut short", &cut, 9106, "cannot be read");
    let place = |wanted: fn(&Record) -> bool| records.iter().position(wanted).expect("there is one");
    let first_anchor = place(|record| matches!(record, Record::Anchor { .. }));
    let first_block = place(|record| matches!(record, Record::Block(_)));
    let bent = |change: &dyn Fn(&mut Vec<Record>)| {
        let mut records = records.clone();
        change(&mut records);
        honest.with(&records)
    };
    refused("entries out of order", &bent(&|records| records.swap(0, 1)), 9106, "order of keys");
    refused("an anchor behind a block", &bent(&|records| records.swap(first_block, first_block - 1)), 9106, "later kind");
    refused("an entry left out", &bent(&|records| drop(records.remove(0))), 9107, "root");
    let richer = |records: &mut Vec<Record>| {
        if let Record::Entry { value, .. } = &mut records[0] {
            let mut bytes = value.to_vec();
            bytes[0] ^= 1;
            *value = bytes.try_into().expect("as long as before");
        }
    };
    refused("an entry changed", &bent(&richer), 9107, "root");
    let mut more = honest.clone();
    more.manifest.entries -= 1;
    refused("an entry more than it says", &more, 9106, "is one more than the manifest says");
    refused("no entries", &honest.with(&records[first_anchor..]), 9107, "root");
    refused("an anchor left out", &bent(&|records| drop(records.remove(first_anchor))), 9108, "it has 1, these are 0");
    let moved = |records: &mut Vec<Record>| {
        if let Record::Anchor { index, .. } = &mut records[first_anchor] {
            *index = 5;
        }
    };
    refused("an anchor moved", &bent(&moved), 9108, "empty");
    let forged = |records: &mut Vec<Record>| {
        if let Record::Anchor { anchor, .. } = &mut records[first_anchor] {
            anchor.anchor.root = Hash::ZERO;
        }
    };
    refused("an anchor changed", &bent(&forged), 9108, "another root");
    refused("no headers", &honest.with(&records[..first_block]), 9109, "is missing");
    refused("the last header left out", &bent(&|records| drop(records.pop())), 9109, "is missing");
    refused("the first header left out", &bent(&|records| drop(records.remove(first_block))), 9109, "evidence of it would count");
    refused("a header between left out", &bent(&|records| drop(records.remove(first_block + 1))), 9109, "leaves out");
    refused("headers out of order", &bent(&|records| records.swap(first_block, first_block + 1)), 9109, "");
    let header = |place: usize, change: fn(&mut Light)| {
        bent(&move |records: &mut Vec<Record>| {
            if let Record::Block(block) = &mut records[place] {
                change(block);
            }
        })
    };
    refused("a header's time changed", &header(first_block + 2, |block| block.header.time = Time::unix_epoch()), 9109, "does not follow");
    refused(
        "the last header changed",
        &header(records.len() - 1, |block| block.header.time = Time::unix_epoch()),
        9109,
        "another than the chain's",
    );
    let another_commit = |block: &mut Light| {
        if let Some(commit) = &mut block.commit {
            commit.signatures[0] = tendermint::block::CommitSig::BlockIdFlagAbsent;
        }
    };
    refused("a signature left out", &header(first_block + 2, another_commit), 9109, "another commit");
    refused("a commit left out", &header(first_block + 2, |block| block.commit = None), 9109, "has no commit");
    let handoff = place(|record| matches!(record, Record::Block(block) if block.is_handoff()));
    refused("next validators left out", &header(handoff, |block| block.next = None), 9109, "not named");
    let as_before = bench.app.store().validators(Height::from(1u32)).expect("a set");
    let as_before = ::light::Validators::try_from(&as_before.to_tendermint()).expect("a set");
    let other_next = bent(&move |records: &mut Vec<Record>| {
        if let Record::Block(block) = &mut records[handoff] {
            block.next = Some(as_before.clone());
        }
    });
    refused("other next validators", &other_next, 9109, "");
}

#[test]
fn a_manifest_is_read_strictly() {
    let manifest = example();
    assert_eq!(Manifest::parse(&manifest.to_bytes()).expect("a manifest"), manifest);
    let bent = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::to_value(&manifest).expect("JSON");
        change(&mut json);
        Manifest::parse(json.to_string().as_bytes()).map_err(|error| error.code()).err()
    };
    assert_eq!(bent(&|_| {}), None);
    assert_eq!(bent(&|json| json["format"] = json!(2)), Some(9103));
    assert_eq!(bent(&|json| json["more"] = json!(2)), Some(9102));
    assert_eq!(bent(&|json| json["chunks"] = json!([])), Some(9102));
    assert_eq!(bent(&|json| json["height"] = json!(0)), Some(9102));
    assert_eq!(bent(&|json| json["height"] = json!(u64::MAX)), Some(9102));
    assert_eq!(bent(&|json| json["chunks"] = json!(["00"])), Some(9102));
    for bytes in [0, MAX_CHUNK as u64 + 1, u64::MAX] {
        assert_eq!(bent(&|json| json["bytes"] = json!(bytes)), Some(9102), "one chunk of {bytes} bytes");
    }
    assert_eq!(Manifest::parse(b"").map_err(|error| error.code()), Err(9102));
}

fn example() -> Manifest {
    let (chain, genesis) = ("zynk-test-1".parse().expect("a name"), Hash::sha256(&[b"genesis"]));
    let (app_hash, chunks) = (Hash::sha256(&[b"state"]), vec![Hash::sha256(&[b"chunk"])]);
    Manifest { format: FORMAT, chain, genesis, height: 9, app_hash, entries: 3, anchors: 1, headers: 2, bytes: 5, chunks }
}

#[test]
fn the_format_is_frozen() {
    let bench = eventful(6);
    let folder = TempDir::new().expect("a folder");
    let shelf = Shelf::open(folder.path().join("snapshots"), 1).expect("a shelf");
    let manifest = shelve(&bench, &shelf);
    let records = Copy::of(&shelf, &manifest).records();
    // One of each kind, and a hand-off.
    let mut shown = BTreeMap::new();
    for record in &records {
        let name = match record {
            Record::Entry { .. } => "entry",
            Record::Anchor { .. } => "anchor",
            Record::Block(block) if block.is_handoff() => "handoff",
            Record::Block(block) if block.commit.is_none() => "last",
            Record::Block(_) => "block",
        };
        shown.entry(name).or_insert_with(|| hex::encode(record.to_bytes().expect("bytes")));
    }
    let manifest = String::from_utf8(manifest.to_bytes()).expect("JSON is text");
    support::frozen("snapshot", &json!({"records": shown, "manifest": manifest}));
}

#[test]
fn what_is_not_whole_is_neither_offered_nor_left() {
    let bench = eventful(3);
    let folder = TempDir::new().expect("a folder");
    let place = folder.path().join("snapshots");
    let shelf = Shelf::open(place.clone(), 2).expect("a shelf");
    shelve(&bench, &shelf);
    // A crash while one was written, and while one was removed.
    fs::create_dir_all(shelf.partial(7)).expect("a folder");
    fs::create_dir_all(place.join("1.old.partial")).expect("a folder");
    // A damaged one, and one under a wrong name.
    fs::create_dir_all(place.join("5")).expect("a folder");
    fs::write(place.join("5").join(MANIFEST), b"{").expect("written");
    fs::create_dir_all(place.join("6")).expect("a folder");
    fs::copy(place.join("3").join(MANIFEST), place.join("6").join(MANIFEST)).expect("copied");
    let shelf = Shelf::open(place.clone(), 2).expect("a shelf");
    assert_eq!(shelf.list().iter().map(|listed| listed.height).collect::<Vec<_>>(), [3]);
    assert!(!shelf.partial(7).exists() && !place.join("1.old.partial").exists());
    assert!(shelf.manifest(5).is_none() && shelf.chunk(6, 0).is_none() && shelf.chunk(3, 99).is_none());
    // Told to stop, it leaves nothing; frozen too late, it writes nothing.
    let view = Frozen::new(bench.app.store());
    let source = Source { view: &view, genesis: &genesis(), height: 3 };
    assert!(source.write(&shelf, &AtomicBool::new(true)).expect("no failure").is_none());
    assert!(!shelf.partial(3).exists());
    let error = Source { height: 2, ..source }.write(&shelf, &AtomicBool::new(false)).expect_err("another height");
    assert_eq!(error.code(), 9110);
    // A height again, and two more: the oldest goes.
    shelve(&bench, &shelf);
    for block in 4..6 {
        bench.make_block_at(at_second(block));
        shelve(&bench, &shelf);
    }
    assert_eq!(shelf.list().iter().map(|listed| listed.height).collect::<Vec<_>>(), [4, 5]);
}
