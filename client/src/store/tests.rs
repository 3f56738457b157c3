use super::*;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).expect("a passphrase")
}

#[tokio::test]
async fn a_store_opens_with_its_passphrase_and_with_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().join("device");
    let right = passphrase("it's \"one\"; DROP TABLE meta --");
    assert!(matches!(Store::open(&here, &right).await, Err(Error::NoStore(_))));
    let store = Store::create(&here, &right).await.expect("a new store");
    store.put("number", &7u64).await.expect("kept");
    store.close().await;
    assert!(matches!(Store::create(&here, &right).await, Err(Error::StoreExists(_))));
    for wrong in ["it's", "x", "IT'S \"ONE\"; DROP TABLE META --"] {
        assert!(matches!(Store::open(&here, &passphrase(wrong)).await, Err(Error::WrongPassphrase)), "{wrong}");
    }
    let store = Store::open(&here, &right).await.expect("the store");
    assert_eq!(store.get::<u64>("number").await.expect("read"), Some(7));
    assert_eq!(store.get::<u64>("other").await.expect("read"), None);
    assert!(matches!(Passphrase::new(""), Err(Error::Passphrase)));
    assert!(matches!(Passphrase::new("a\0b"), Err(Error::Passphrase)));
    assert_eq!(format!("{right:?}"), "Passphrase");
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path(), &passphrase("one")).await.expect("a new store");
    sqlx::query("PRAGMA user_version = 2").execute(&store.pool).await.expect("set");
    store.close().await;
    assert!(matches!(Store::open(folder.path(), &passphrase("one")).await, Err(Error::StoreVersion { found: 2, known: 1 })));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE), "not a database, and longer than a page of one".repeat(200)).expect("written");
    assert!(matches!(Store::open(folder.path(), &passphrase("one")).await, Err(Error::WrongPassphrase)));
}

/// What nobody may read without the passphrase: texts, identifiers, the names of tables.
#[tokio::test]
async fn nothing_in_the_folder_is_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path(), &passphrase("one")).await.expect("a new store");
    let text: types::Text<64> = "a secret that is easy to find".try_into().expect("short");
    for _ in 0..100 {
        store.put("secret", &text).await.expect("kept");
    }
    let mut seen = 0;
    for file in std::fs::read_dir(folder.path()).expect("the folder") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        seen += bytes.len();
        for needle in ["easy to find", "SQLite format 3", "outbox", "sessions"] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()), "{needle}");
        }
    }
    assert!(seen > 10_000, "the database and its log were looked at");
}
