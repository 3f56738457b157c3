use tempfile::TempDir;

use super::*;
use crate::testing::{Bench, genesis};

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = Bench::new().close();
    let code = |opened: Result<Store, OpenError>| opened.map(drop).map_err(|error| (error.code(), error.to_string()));
    let hash = genesis().hash();
    for open in [Store::open, Store::open_to_read] {
        assert_eq!(code(open(folder.path(), hash)), Ok(()));
        let (number, words) = code(open(folder.path(), Hash::ZERO)).expect_err("another genesis");
        assert!(number == 9153 && words.contains(&hash.to_string()), "{words}");
    }

    // A database of the first format: two columns fewer, and another number.
    let old = TempDir::new().expect("a folder");
    let names = || Column::ALL.iter().map(|column| column.name()).filter(|name| !["light", "undo"].contains(name));
    {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = DB::open_cf(&options, old.path(), names()).expect("a database");
        db.put_cf(db.cf_handle("meta").expect("a column"), b"format", 1u64.to_be_bytes()).expect("written");
    }
    for open in [Store::open, Store::open_to_read] {
        let (number, words) = code(open(old.path(), hash)).expect_err("an old format");
        assert!(number == 9152 && words.contains("format 1"), "{words}");
    }
    let columns = DB::list_cf(&Options::default(), old.path()).expect("a database");
    assert_eq!(columns.len(), names().count() + 1, "the program that wrote it still opens it: {columns:?}");

    // A database of somebody else, without a format.
    let others = TempDir::new().expect("a folder");
    {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        drop(DB::open_cf(&options, others.path(), ["theirs"]).expect("a database"));
    }
    assert_eq!(code(Store::open(others.path(), hash)).map_err(|(number, _)| number), Err(9151));
    let columns = DB::list_cf(&Options::default(), others.path()).expect("a database");
    assert_eq!(columns, ["default", "theirs"], "nothing is made in it");

    let nowhere = folder.path().join("nowhere");
    assert_eq!(code(Store::open_to_read(&nowhere, hash)).map_err(|(number, _)| number), Err(9154));
    assert!(!nowhere.exists(), "reading makes nothing");
}
