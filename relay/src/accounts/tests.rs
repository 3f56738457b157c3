//! What every store of accounts must do, and people to do it with.

mod people;
mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

pub(crate) use people::{CHAIN, Person, prekeys};

use super::Sqlite;

#[tokio::test]
async fn sqlite_does_what_a_store_must() {
    let folder = TempDir::new().expect("a folder");
    let number = AtomicU32::new(0);
    let fresh = || {
        let path = folder.path().join(format!("{}.sqlite", number.fetch_add(1, Ordering::Relaxed)));
        async move { Arc::new(Sqlite::open(&path).await.expect("a new database")) }
    };
    suite::all(fresh).await;
}

#[tokio::test]
async fn sqlite_finds_again_what_it_had() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.sqlite");
    let first = Sqlite::open(&path).await.expect("a new database");
    let person = Person::new();
    suite::registered(&first, &person).await;
    first.close().await;
    let second = Sqlite::open(&path).await.expect("the same database");
    suite::is_known(&second, &person).await;
}

#[tokio::test]
async fn sqlite_of_the_first_version_is_brought_up_to_date() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.sqlite");
    let person = Person::new();
    let first = Sqlite::open(&path).await.expect("a new database");
    suite::registered(&first, &person).await;
    let back = "ALTER TABLE prekeys DROP COLUMN succession; UPDATE format SET version = 1";
    sqlx::raw_sql(back).execute(&first.writer_for_tests()).await.expect("tables of version 1");
    first.close().await;
    let second = Sqlite::open(&path).await.expect("the same database");
    suite::is_known(&second, &person).await;
    suite::keeps_a_succession(&second, &person).await;
    second.close().await;
    suite::is_known(&Sqlite::open(&path).await.expect("once is enough"), &person).await;
}

#[tokio::test]
async fn sqlite_of_another_version_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.sqlite");
    let sqlite = Sqlite::open(&path).await.expect("a new database");
    sqlx::query("UPDATE format SET version = 99").execute(&sqlite.writer_for_tests()).await.expect("a version");
    sqlite.close().await;
    let error = Sqlite::open(&path).await.expect_err("another version");
    assert!(error.code() == 7094 && error.to_string().contains("99"), "{error}");
    std::fs::write(folder.path().join("text"), "no database at all, but some text that is long enough").expect("a file");
    let error = Sqlite::open(&folder.path().join("text")).await.expect_err("no database");
    assert_eq!(error.code(), 7094);
}
