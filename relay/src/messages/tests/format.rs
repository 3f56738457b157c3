//! Databases of other formats.

use std::path::Path;

use rocksdb::{DB, Options};

use crate::messages::Rocks;
use crate::messages::store::{Error, Store};
use crate::messages::tests::fixture::open;

/// The format that a database says it has; set to another one if there is one.
fn format(path: &Path, set: Option<u64>) -> u64 {
    let names = DB::list_cf(&Options::default(), path).expect("a database");
    let db = DB::open_cf(&Options::default(), path, names).expect("it opens");
    let meta = db.cf_handle("meta").expect("its column");
    let found = db.get_cf(meta, "format").expect("it is read").expect("it is there");
    if let Some(format) = set {
        db.put_cf(meta, "format", format.to_be_bytes()).expect("it is written");
    }
    u64::from_be_bytes(found.try_into().expect("8 bytes"))
}

#[test]
fn the_format_before_is_taken_over_and_others_are_refused() {
    let home = tempfile::tempdir().expect("a folder");
    drop(open(home.path()));
    assert_eq!(format(home.path(), Some(1)), 2);
    assert_eq!(open(home.path()).log().expect("it is read").before, 0, "there was one log");
    assert_eq!(format(home.path(), Some(3)), 2, "a program of before would not go on with it");
    let refused = Rocks::open(home.path()).expect_err("a format of later");
    assert!(matches!(refused, Error::Format { found: 3, expected: 2 }), "{refused}");
}
