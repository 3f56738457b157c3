use serde_json::{Value, json};
use tempfile::TempDir;
use tendermint::Time;
use types::Height;

use super::*;
use crate::{Builder, Genesis};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn apply(chain: &str, stake: u64) -> Application {
    let terms = Terms { moniker: "alpha".try_into().expect("short"), stake: Amount(stake * Amount::ZYNK.0), commission_bps: 500 };
    Application::sign(chain.parse().expect("a chain id"), terms, &key(1), &key(2), &key(3).public())
}

fn begun() -> Builder {
    let time = Time::from_unix_timestamp(1_790_000_000, 0).expect("a time");
    let builder = Builder::new("zynk-test-1".parse().expect("a chain id"), time, ledger::Params::default());
    builder.account(key(1).public().address(), Amount(150 * Amount::ZYNK.0)).expect("a first balance")
}

fn load(text: &str) -> Result<Application, Error> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("application.json");
    std::fs::write(&path, text).expect("written");
    Application::load(&path)
}

#[test]
fn an_application_becomes_a_validator_out_of_its_operators_balance() {
    let application = apply("zynk-test-1", 100);
    assert_eq!(load(&application.to_json()).expect("as it was written"), application);
    support::frozen("genesis-application", &serde_json::from_str::<Value>(&application.to_json()).expect("JSON"));
    let genesis = begun().accept(&application).and_then(Builder::build).expect("a genesis");
    assert_eq!(genesis.app_state().accounts[&key(1).public().address()], Amount(50 * Amount::ZYNK.0));
    assert_eq!(genesis.app_state().validators, [application.validator()]);
    let again = Genesis::parse(genesis.to_json().as_bytes()).expect("a genesis that a node takes");
    assert_eq!(again.trust().height(), Height(0));
}

#[test]
fn an_altered_application_is_refused() {
    type Bend = fn(&mut Value);
    let cases: [(&str, u32, Bend); 11] = [
        ("as it is", 0, |_| ()),
        ("another chain", 4105, |v| v["chain"] = json!("zynk-test-2")),
        ("another operator", 4105, |v| v["operator"] = json!(key(4).public())),
        ("another consensus key", 4105, |v| v["consensus_key"] = json!(key(4).public())),
        ("another node", 4105, |v| v["peer_id"] = json!(peer::peer_id_blob(&key(4).public()))),
        ("another name", 4105, |v| v["moniker"] = json!("beta")),
        ("more stake", 4105, |v| v["stake"] = json!("150000000")),
        ("another commission", 4105, |v| v["commission_bps"] = json!(501)),
        ("another version", 4004, |v| v["version"] = json!(2)),
        ("an unknown field", 4004, |v| v["extra"] = json!(1)),
        ("no signature", 4004, |v| drop(v.as_object_mut().map(|v| v.remove("signature")))),
    ];
    for (what, expected, bend) in cases {
        let mut value: Value = serde_json::from_str(&apply("zynk-test-1", 100).to_json()).expect("JSON");
        bend(&mut value);
        assert_eq!(load(&value.to_string()).map_or_else(|error| error.code(), |_| 0), expected, "{what}");
    }
}

#[test]
fn a_consensus_key_that_did_not_agree_is_refused() {
    let mut application = apply("zynk-test-1", 100);
    application.proof = key(4).sign(b"something");
    application.signature = key(1).sign(&application.signed_bytes());
    let error = application.verify().expect_err("somebody else's key");
    assert_eq!(error.to_string(), "the application is not signed by its consensus key");
}

#[test]
fn a_genesis_takes_up_what_its_balances_cover() {
    let cases = [
        ("another chain", apply("zynk-test-2", 100), 4105),
        ("more than there is", apply("zynk-test-1", 151), 4105),
        ("no power", apply("zynk-test-1", 0), 4103),
        ("all there is", apply("zynk-test-1", 150), 0),
    ];
    for (what, application, expected) in cases {
        assert_eq!(begun().accept(&application).map_or_else(|error| error.code(), |_| 0), expected, "{what}");
    }
    let nobody = Builder::new("zynk-test-1".parse().expect("a chain id"), Time::unix_epoch(), ledger::Params::default());
    assert_eq!(nobody.accept(&apply("zynk-test-1", 100)).expect_err("no balance").code(), 4105);
    let twice = begun().accept(&apply("zynk-test-1", 50)).and_then(|builder| builder.accept(&apply("zynk-test-1", 50)));
    assert_eq!(twice.and_then(Builder::build).expect_err("one key twice").code(), 4102);
}
