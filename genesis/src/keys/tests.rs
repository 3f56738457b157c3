use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

/// Writes `bytes` with `mode` and reads them as an account's key.
fn code(bytes: &[u8], mode: u32) -> u32 {
    let folder = folder();
    let path = folder.path().join("key.json");
    fs::write(&path, bytes).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    KeyFile::load(&path, KeyKind::Account).map_or_else(|error| error.code(), |_| 0)
}

fn bent(bend: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::to_value(KeyFile::of(KeyKind::Account, SigningKey::from_seed(&[7; 32]))).expect("JSON");
    bend(&mut value);
    value.to_string().into_bytes()
}

#[test]
fn a_key_file_is_read_as_it_was_written_and_never_overwritten() {
    let folder = folder();
    let path = folder.path().join("key.json");
    let file = KeyFile::generate(KeyKind::Node);
    file.create(&path).expect("a new file");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let again = KeyFile::load(&path, KeyKind::Node).expect("as written");
    assert_eq!(again.key().seed(), file.key().seed());
    assert_eq!(KeyFile::generate(KeyKind::Node).create(&path).expect_err("it exists").code(), 4204);
    assert_eq!(KeyFile::load_any(&path).expect("still there").public(), file.public());
    assert_eq!(KeyFile::load(&path, KeyKind::Account).expect_err("another kind").code(), 4201);
    assert_eq!(KeyFile::load_any(&folder.path().join("none")).expect_err("none").code(), 4001);
    assert!(!format!("{file:?}").contains(&hex::encode(file.key().seed())), "a secret is never printed");
}

#[test]
fn a_bad_key_file_is_refused() {
    let seed = hex::encode([7; 32]);
    let good = bent(|_| ());
    let repeated = String::from_utf8(good.clone()).expect("text").replacen('{', &format!("{{\"seed\":\"{seed}\","), 1);
    let cases: [(&str, Vec<u8>, u32); 14] = [
        ("as it is", good.clone(), 0),
        ("nothing", Vec::new(), 4004),
        ("no JSON", b"seed".to_vec(), 4004),
        ("invalid UTF-8", b"{\"seed\": \"\xc3\x28\"}".to_vec(), 4003),
        ("an unknown field", bent(|v| v["comment"] = json!("mine")), 4004),
        ("a field missing", bent(|v| drop(v.as_object_mut().map(|v| v.remove("seed")))), 4004),
        ("a field twice", repeated.into_bytes(), 4004),
        ("a later version", bent(|v| v["version"] = json!(2)), 4004),
        ("an unknown kind", bent(|v| v["kind"] = json!("root")), 4004),
        ("another kind", bent(|v| v["kind"] = json!("validator")), 4201),
        ("a short seed", bent(|v| v["seed"] = json!(seed[2..].to_owned())), 4004),
        ("a seed in another script", bent(|v| v["seed"] = json!(format!("zz{}", &seed[2..]))), 4004),
        ("another public key", bent(|v| v["public"] = json!(SigningKey::from_seed(&[8; 32]).public())), 4202),
        ("too long", [good.clone(), vec![b' '; 1 << 16]].concat(), 4002),
    ];
    for (case, bytes, expected) in cases {
        assert_eq!(code(&bytes, 0o600), expected, "{case}");
    }
    assert_eq!(code(&good, 0o644), 4203, "others may read it");
    assert_eq!(code(&good, 0o400), 0, "its owner may only read it");
}

#[test]
fn an_error_shows_no_secret() {
    let folder = folder();
    let path = folder.path().join("key.json");
    let seed = hex::encode([7; 32]);
    let text = String::from_utf8(bent(|_| ())).expect("text").replace("\"seed\":\"", "\"seed\":\"!");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    let error = KeyFile::load_any(&path).expect_err("no hexadecimal");
    assert!(!format!("{error} {error:?}").contains(&seed[..8]), "{error:?}");
}

#[test]
fn a_log_file_is_read_as_it_was_written() {
    let folder = folder();
    let path = folder.path().join("log.json");
    let chain: ChainId = "zynk-test-1".parse().expect("a chain id");
    let log = LogId::derive(&chain, &SigningKey::from_seed(&[1; 32]).public().address(), 0);
    let file = LogFile::new(chain, log, SigningKey::from_seed(&[2; 32]));
    file.save(&path).expect("written");
    file.save(&path).expect("written over");
    let again = LogFile::load(&path).expect("as written");
    assert_eq!((again.log, &again.chain, again.key().seed()), (log, &file.chain, file.key().seed()));
}
