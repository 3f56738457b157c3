use serde_json::{Value, json};
use types::SigningKey;

use super::*;

fn validator(seed: u8) -> GenesisValidator {
    let key = SigningKey::from_seed(&[seed; 32]).public();
    GenesisValidator {
        operator: SigningKey::from_seed(&[seed + 100; 32]).public().address(),
        consensus_key: key,
        peer_id: peer::peer_id_blob(&SigningKey::from_seed(&[seed + 50; 32]).public()),
        moniker: format!("validator {seed}").try_into().expect("a short name"),
        stake: Amount(u64::from(seed) * Amount::ZYNK.0 + 999),
        commission_bps: 500,
    }
}

fn sample() -> Genesis {
    let time = Time::from_unix_timestamp(1_790_000_000, 0).expect("a time");
    let chain = "zynk-test-1".parse().expect("a chain id");
    let mut builder = Builder::new(chain, time, Params::default());
    for seed in 1..=4 {
        builder = builder.validator(validator(seed)).expect("a validator with power");
    }
    let rich = SigningKey::from_seed(&[9; 32]).public().address();
    builder.account(rich, Amount(5_000_000)).expect("a first balance").build().expect("a genesis")
}

/// The sample as JSON, bent, and what comes of it.
fn code_of(bend: impl FnOnce(&mut Value)) -> u32 {
    let mut value: Value = serde_json::from_str(&sample().to_json()).expect("JSON");
    bend(&mut value);
    code(value.to_string().as_bytes())
}

fn code(bytes: &[u8]) -> u32 {
    Genesis::parse(bytes).map_or_else(|error| error.code(), |_| 0)
}

#[test]
fn what_is_written_is_read_again() {
    let genesis = sample();
    let again = Genesis::parse(genesis.to_json().as_bytes()).expect("a genesis");
    assert_eq!(again.to_json(), genesis.to_json());
    let spaced = genesis.to_json().replace('\n', "\n\n");
    assert_eq!(Genesis::parse(spaced.as_bytes()).expect("spaces are nothing").hash(), genesis.hash());
    assert_eq!(genesis.hash(), Hash::sha256(&[genesis.to_json().as_bytes()]), "as sha256sum says");
    assert_eq!(genesis.trust().height(), types::Height(0));
    let powers: Vec<_> = genesis.validator_set().members().map(|member| member.power).collect();
    assert_eq!(powers, [4, 3, 2, 1], "whole units of stake, in the engine's order");
}

#[test]
fn a_genesis_has_this_text() {
    let text = sample().to_json();
    let value: Value = serde_json::from_str(&text).expect("JSON");
    support::frozen("genesis", &json!({"genesis": value, "hash": sample().hash()}));
}

#[test]
fn a_genesis_in_the_making_may_lack_validators() {
    let empty = Builder::new(sample().chain().clone(), sample().time(), Params::default());
    let text = empty.to_json();
    assert_eq!(code(text.as_bytes()), 4102, "a chain needs validators");
    let builder = Builder::parse(text.as_bytes()).expect("what is there is in order");
    let genesis = builder.validator(validator(1)).and_then(Builder::build);
    assert_eq!(genesis.expect("one is enough").validator_set().members().len(), 1);
    assert_eq!(empty.validator(GenesisValidator { stake: Amount(1), ..validator(1) }).expect_err("no power").code(), 4103);
}

#[test]
fn a_bad_genesis_is_refused() {
    type Bend = fn(&mut Value);
    let cases: [(&str, u32, Bend); 37] = [
        ("as it is", 0, |_| ()),
        ("no chain id", 4004, |v| drop(v.as_object_mut().map(|v| v.remove("chain_id")))),
        ("an unknown field at the top", 4005, |v| v["extra"] = json!(1)),
        ("an unknown field in the parameters", 4005, |v| v["consensus_params"]["block"]["max_bites"] = json!("1")),
        ("an unknown field in a validator", 4005, |v| v["validators"][2]["votes"] = json!("1")),
        ("a power under two names", 4004, |v| v["validators"][2]["voting_power"] = json!("1")),
        ("an unknown field in the state", 4004, |v| v["app_state"]["extra"] = json!({})),
        ("an unknown field in a version", 4004, |v| v["consensus_params"]["version"] = json!({"ap": "1"})),
        ("a chain id with a space", 4004, |v| v["chain_id"] = json!("a b")),
        ("an empty chain id", 4004, |v| v["chain_id"] = json!("")),
        ("a later first height", 4101, |v| v["initial_height"] = json!("2")),
        ("a height that is no number", 4004, |v| v["initial_height"] = json!("one")),
        ("a time before 1970", 4101, |v| v["genesis_time"] = json!("1969-12-31T23:59:59Z")),
        ("a time that is none", 4004, |v| v["genesis_time"] = json!("yesterday")),
        ("an application hash", 4101, |v| v["app_hash"] = json!("00")),
        ("blocks too large", 4101, |v| v["consensus_params"]["block"]["max_bytes"] = json!("8388609")),
        ("blocks too small", 4101, |v| v["consensus_params"]["block"]["max_bytes"] = json!("1024")),
        ("a bound on gas", 4101, |v| v["consensus_params"]["block"]["max_gas"] = json!("1000")),
        ("evidence that fills a block", 4101, |v| v["consensus_params"]["evidence"]["max_bytes"] = json!("1048576")),
        ("evidence for no block", 4101, |v| v["consensus_params"]["evidence"]["max_age_num_blocks"] = json!("0")),
        ("evidence for a day", 4101, |v| v["consensus_params"]["evidence"]["max_age_duration"] = json!("86400000000000")),
        ("stake that is back before evidence expires", 4101, |v| v["app_state"]["params"]["stake"]["unbonding_ms"] = json!(1_814_399_999)),
        ("another key type", 4101, |v| v["consensus_params"]["validator"]["pub_key_types"] = json!(["secp256k1"])),
        ("a later application", 4101, |v| v["consensus_params"]["version"]["app"] = json!("2")),
        ("extended votes", 4101, |v| v["consensus_params"]["abci"]["vote_extensions_enable_height"] = json!("1")),
        ("a set larger than an entry holds", 4102, |v| v["app_state"]["params"]["stake"]["max_validators"] = json!(129)),
        ("no power unit", 4102, |v| v["app_state"]["params"]["power_unit"] = json!("0")),
        ("more tokens than there may be", 4102, |v| v["app_state"]["validators"][0]["stake"] = json!("1152921504606846976")),
        ("one validator twice", 4102, |v| {
            v["validators"][1] = v["validators"][0].clone();
            v["app_state"]["validators"][1] = v["app_state"]["validators"][0].clone();
        }),
        ("a validator in the state alone", 4103, |v| drop(v["validators"].as_array_mut().map(Vec::pop))),
        ("another order", 4103, |v| v["validators"].as_array_mut().expect("a list").swap(0, 1)),
        ("another power", 4103, |v| v["validators"][0]["power"] = json!("7")),
        ("another address", 4103, |v| v["validators"][0]["address"] = v["validators"][1]["address"].clone()),
        ("another name", 4103, |v| v["validators"][0]["name"] = json!("somebody")),
        ("a peer id of nothing", 4103, |v| v["app_state"]["validators"][0]["peer_id"] = json!("00")),
        ("a peer id twice", 4102, |v| {
            v["app_state"]["validators"][0]["peer_id"] = v["app_state"]["validators"][1]["peer_id"].clone();
        }),
        ("another prefix of an address", 4004, |v| v["app_state"]["accounts"] = json!({"cosmos1qqqq": "1"})),
    ];
    for (case, expected, bend) in cases {
        assert_eq!(code_of(bend), expected, "{case}");
    }
}

#[test]
fn bytes_that_are_no_genesis_are_refused() {
    let text = sample().to_json();
    let account = text.lines().find(|line| line.contains("\"5000000\"")).expect("an account").to_owned();
    let twice = text.replacen(&account, &format!("{account},\n{account}"), 1);
    let long = format!("{text}{}", " ".repeat(8 << 20));
    let deep = "[".repeat(100_000);
    let cases: [(&str, &[u8], u32); 8] = [
        ("nothing", b"", 4004),
        ("invalid UTF-8", b"{\"chain_id\": \"\xff\"}", 4003),
        ("half of it", &text.as_bytes()[..text.len() / 2], 4004),
        ("something after it", &[text.as_bytes(), b"{}"].concat(), 4004),
        ("a list", b"[]", 4004),
        ("a nesting without end", deep.as_bytes(), 4004),
        ("an account twice", twice.as_bytes(), 4006),
        ("more than 8 MiB", long.as_bytes(), 4002),
    ];
    for (case, bytes, expected) in cases {
        assert_eq!(code(bytes), expected, "{case}");
    }
}

#[test]
fn a_peer_id_is_libp2ps() {
    // The ed25519 example of libp2p's `peer-ids.md`.
    let example = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let bytes = bs58::decode(example).into_vec().expect("base58");
    let key = peer::key_of_peer(&bytes).expect("an ed25519 key");
    assert_eq!(peer::peer_id_text(&key), example);
    assert_eq!(peer::peer_id_bytes(&key), bytes);
    assert_eq!(peer::key_of_peer(&peer::peer_id_bytes(&types::PublicKey([0; 32]))), None, "a weak key");
    assert_eq!(peer::key_of_peer(&bytes[..37]), None, "a short one");
}
