//! The guard's promises, each as a story of what was asked and what it said.

use std::path::PathBuf;

use tempfile::TempDir;
use types::SigningKey;

use super::*;

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Yes,
    Regression,
    Conflict,
}

use Said::{Conflict, Regression, Yes};
use Step::{Precommit, Prevote, Proposal};

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public()
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("guard");
    (folder, path)
}

fn open(path: &Path) -> (Guard, Provenance) {
    Guard::open(path, key(1)).expect("the guard opens")
}

fn ask(guard: &mut Guard, (height, round, step, message): (u64, u32, Step, &str)) -> Said {
    match guard.permit(Height(height), round, step, message.as_bytes()) {
        Ok(()) => Yes,
        Err(GuardError::Regression { .. }) => Regression,
        Err(GuardError::Conflict { .. }) => Conflict,
        Err(error) => panic!("{error}"),
    }
}

fn damage(path: &Path) -> Option<usize> {
    match Guard::open(path, key(1)) {
        Ok(_) => None,
        Err(GuardError::Damaged { at, .. }) => Some(at),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_permitted() {
    type Ask = (u64, u32, Step, &'static str);
    let check = |story: &str, asked: &[(Ask, Said)]| {
        let (_folder, path) = place();
        let (mut guard, provenance) = open(&path);
        assert_eq!(provenance, Provenance::Fresh, "{story}");
        for (request, expected) in asked {
            assert_eq!(ask(&mut guard, *request), *expected, "{story}: {request:?}");
        }
        // A restart changes no answer; what was permitted is permitted again where it was the last height.
        let last = guard.height();
        drop(guard);
        let (mut guard, provenance) = open(&path);
        assert_eq!((guard.height(), provenance), (last, Provenance::Intact), "{story}, restarted");
        for (request, expected) in asked.iter().filter(|((height, ..), _)| Height(*height) == last) {
            assert_eq!(ask(&mut guard, *request), *expected, "{story}, restarted: {request:?}");
        }
        let below = asked.iter().filter(|((height, ..), _)| Height(*height) < last);
        for (request, _) in below {
            assert_eq!(ask(&mut guard, *request), Regression, "{story}, restarted: {request:?}");
        }
    };
    check("a height's three steps", &[((1, 0, Proposal, "p"), Yes), ((1, 0, Prevote, "v"), Yes), ((1, 0, Precommit, "c"), Yes)]);
    check("the same message again", &[((1, 0, Prevote, "v"), Yes), ((1, 0, Prevote, "v"), Yes)]);
    check("another message for the slot", &[((1, 0, Prevote, "v"), Yes), ((1, 0, Prevote, "w"), Conflict)]);
    check("one message for two steps", &[((1, 0, Prevote, "v"), Yes), ((1, 0, Precommit, "v"), Yes)]);
    check("a proposal that is ready after the prevote for nil", &[((1, 0, Prevote, "nil"), Yes), ((1, 0, Proposal, "p"), Yes)]);
    check(
        "a later round, and the former again",
        &[
            ((1, 0, Prevote, "v"), Yes),
            ((1, 2, Prevote, "w"), Yes),
            ((1, 0, Prevote, "v"), Yes),
            ((1, 0, Prevote, "x"), Conflict),
            ((1, 1, Prevote, "y"), Regression),
            ((1, 0, Precommit, "z"), Regression),
        ],
    );
    check("a lower height", &[((7, 0, Precommit, "c"), Yes), ((6, 9, Proposal, "p"), Regression), ((0, 0, Proposal, "p"), Regression)]);
    check(
        "the next height begins at any round",
        &[((7, 5, Precommit, "c"), Yes), ((8, 0, Proposal, "p"), Yes), ((8, 3, Prevote, "v"), Yes)],
    );
    check("bounds", &[((u64::MAX, u32::MAX, Precommit, ""), Yes), ((u64::MAX, u32::MAX, Precommit, "c"), Conflict)]);
}

#[test]
fn a_cut_record_is_dropped_and_every_other_damage_is_found() {
    let (_folder, path) = place();
    let (mut guard, _) = open(&path);
    for (step, message) in [(Proposal, "p"), (Prevote, "v"), (Precommit, "c")] {
        assert_eq!(ask(&mut guard, (3, 0, step, message)), Yes);
    }
    drop(guard);
    let whole = std::fs::read(&path).expect("the file");
    assert_eq!(whole.len(), HEADER + 3 * RECORD);
    for length in HEADER..=whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        let (mut guard, provenance) = open(&path);
        assert_eq!(provenance, Provenance::Intact, "cut at {length}");
        let kept = (length - HEADER) / RECORD;
        assert_eq!(std::fs::metadata(&path).expect("the file").len(), (HEADER + kept * RECORD) as u64, "cut at {length}");
        // What was kept is remembered, and the file goes on where it ends.
        assert_eq!(ask(&mut guard, (3, 0, Precommit, "d")), if kept == 3 { Conflict } else { Yes }, "cut at {length}");
        assert_eq!(damage(&path), None, "cut at {length}");
    }
    for length in 0..HEADER {
        std::fs::write(&path, &whole[..length]).expect("written");
        assert_eq!(damage(&path), Some(0), "cut at {length}");
    }
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&path, &bent).expect("written");
        let record = at.checked_sub(HEADER).map_or(0, |at| HEADER + at / RECORD * RECORD);
        assert_eq!(damage(&path), Some(record), "a bit flipped at {at}");
    }
    let mut sunk = whole;
    sunk.extend(record(Height(2), 0, Proposal, &Hash([1; 32])));
    std::fs::write(&path, &sunk).expect("written");
    assert_eq!(damage(&path), Some(HEADER + 3 * RECORD), "heights that go down");
}

#[test]
fn a_guard_is_of_one_key() {
    let (_folder, path) = place();
    drop(open(&path));
    let Err(GuardError::Foreign { found, expected, .. }) = Guard::open(&path, key(2)) else { panic!("another's guard opens") };
    assert_eq!((found, expected), (key(1), key(2)));
}

#[test]
fn a_copy_is_noticed_until_it_is_accepted() {
    let (folder, path) = place();
    let (mut guard, _) = open(&path);
    assert_eq!(ask(&mut guard, (5, 1, Prevote, "v")), Yes);
    let copy = folder.path().join("restored");
    std::fs::copy(&path, &copy).expect("a copy");
    let (mut guard, provenance) = open(&copy);
    assert_eq!((provenance, guard.height()), (Provenance::Restored, Height(5)));
    // A signature does not make it this machine's own: only the operator's word does.
    assert_eq!(ask(&mut guard, (6, 0, Prevote, "v")), Yes);
    drop(guard);
    let (mut guard, provenance) = open(&copy);
    assert_eq!(provenance, Provenance::Restored);
    guard.accept().expect("written");
    assert_eq!(ask(&mut guard, (6, 0, Prevote, "w")), Conflict);
    drop(guard);
    let (mut guard, provenance) = open(&copy);
    assert_eq!((provenance, guard.height()), (Provenance::Intact, Height(6)));
    assert_eq!(ask(&mut guard, (6, 0, Prevote, "w")), Conflict);
    // Moving a file within its disk is no copy.
    let moved = folder.path().join("moved");
    std::fs::rename(&copy, &moved).expect("moved");
    assert_eq!(open(&moved).1, Provenance::Intact);
}

#[test]
fn compaction_keeps_the_last_height() {
    let (_folder, path) = place();
    let length = || std::fs::metadata(&path).expect("the file").len();
    drop(open(&path));
    // A long history, as many heights leave it; appended directly, since every permission is synced.
    let mut bytes = std::fs::read(&path).expect("the file");
    let mut height = 0;
    while bytes.len() as u64 <= COMPACT_ABOVE {
        height += 1;
        bytes.extend(record(Height(height), 0, Prevote, &Hash([9; 32])));
    }
    OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(&bytes[HEADER..])).expect("written");
    let (mut guard, provenance) = open(&path);
    assert_eq!((guard.height(), provenance), (Height(height), Provenance::Intact));
    assert_eq!(ask(&mut guard, (height, 0, Precommit, "c")), Yes);
    assert!(length() > COMPACT_ABOVE, "a height's records stay together");
    assert_eq!(ask(&mut guard, (height + 1, 4, Prevote, "v")), Yes);
    // The header, the height alone, and the record.
    assert_eq!(length(), (HEADER + 2 * RECORD) as u64);
    assert_eq!(ask(&mut guard, (height + 1, 4, Precommit, "c")), Yes);
    drop(guard);
    let (mut guard, provenance) = open(&path);
    assert_eq!((guard.height(), provenance), (Height(height + 1), Provenance::Intact));
    assert_eq!(ask(&mut guard, (height, 9, Prevote, "v")), Regression);
    assert_eq!(ask(&mut guard, (height + 1, 4, Prevote, "w")), Conflict);
    assert_eq!(ask(&mut guard, (height + 1, 3, Prevote, "w")), Regression);
    assert_eq!(ask(&mut guard, (height + 1, 4, Prevote, "v")), Yes);
}

#[test]
fn a_compaction_cut_short_leaves_the_old_file() {
    let (_folder, path) = place();
    let (mut guard, _) = open(&path);
    assert_eq!(ask(&mut guard, (5, 0, Prevote, "v")), Yes);
    drop(guard);
    std::fs::write(path.with_extension("new"), b"half a file").expect("written");
    let (mut guard, provenance) = open(&path);
    assert_eq!((guard.height(), provenance), (Height(5), Provenance::Intact));
    guard.accept().expect("the rest of the crash is swept away");
    assert_eq!(ask(&mut guard, (5, 0, Prevote, "w")), Conflict);
}

#[test]
fn a_failed_write_ends_the_signing() {
    let (folder, path) = place();
    let (mut guard, _) = open(&path);
    assert_eq!(ask(&mut guard, (5, 0, Prevote, "v")), Yes);
    // Its folder is gone, so the file cannot be replaced.
    drop(folder);
    let failed = |done: Result<(), GuardError>| matches!(done, Err(GuardError::Io { .. }));
    assert!(failed(guard.accept()));
    assert!(failed(guard.permit(Height(6), 0, Prevote, b"v")), "a guard whose file is unknown permits nothing new");
    assert_eq!(ask(&mut guard, (5, 0, Prevote, "v")), Yes, "what is durable stays so");
    assert_eq!(ask(&mut guard, (5, 0, Prevote, "w")), Conflict);
}
