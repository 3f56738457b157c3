use tempfile::TempDir;

use super::*;
use crate::config::{Limits, Sponsor};

fn home() -> (TempDir, Home) {
    let folder = TempDir::new().expect("a folder");
    let home = Home::new(folder.path());
    (folder, home)
}

#[tokio::test]
async fn a_home_that_lacks_something_is_named() {
    let (_folder, home) = home();
    let (_tell, stop) = watch::channel(false);
    let check = async |story: &str, code: u32, named: &str| {
        let error = Relay::open(&home, stop.clone()).await.expect_err(story);
        assert!(error.code() == code && error.to_string().contains(named), "{story}: {error}");
    };
    check("nothing at all", 7091, "relay.toml").await;
    let config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        node: "http://127.0.0.1:1".to_owned(),
        registration: rpc::relay::Registration::Open,
        anchor_interval_ms: 1_000,
        sponsor: Sponsor::default(),
        limits: Limits::default(),
    };
    config.save(&home.config()).expect("a file");
    check("no genesis", 7091, "genesis.json").await;
    let _lock = file::lock(&home.config()).expect("nobody else");
    check("another relay runs here", 7091, "another process").await;
}
