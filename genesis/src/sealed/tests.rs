use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Once;

use serde_json::{Value, json};
use tempfile::TempDir;
use types::{ChainId, Height, SigningKey};

use super::*;
use crate::KeyKind;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).expect("a passphrase")
}

/// Who is asked says the file's name without its ending; nobody else is known to this process's tests.
fn ask() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        passphrase::ask_with(Box::new(|path: &Path, _: &str| {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            Passphrase::first_line(name.as_bytes())
        }));
    });
}

/// Little work, for tests.
fn cheap(text: &str) -> Lock {
    let kdf = Kdf { name: Argon2id::Only, memory_kib: 64, passes: 1, lanes: 1, salt: Hex([9; 16]) };
    Lock { kdf, key: kdf.key(&passphrase(text)).expect("it is cheap") }
}

fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

fn sealed(seed: u8, name: &str) -> Value {
    let file = KeyFile::of(KeyKind::Validator, SigningKey::from_seed(&[seed; 32]));
    serde_json::to_value(cheap(name).seal_with(&file.label(), &to_json(&file), [5; 24])).expect("JSON")
}

#[test]
fn vectors() {
    let lock = Kdf { name: Argon2id::Only, memory_kib: 256, passes: 2, lanes: 2, salt: Hex([9; 16]) };
    let key = lock.key(&passphrase("correct horse")).expect("it is cheap");
    let value = json!({
        "passphrase": "correct horse",
        "argon2id": { "kdf": lock, "key": hex::encode(*key) },
        "validator": { "seed": hex::encode([7; 32]), "passphrase": "staple", "file": sealed(7, "staple") },
    });
    support::frozen("keys", &value);
}

#[test]
fn every_file_with_secrets_is_read_and_written_encrypted() {
    ask();
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let phrase = passphrase("alpha");
    let key = KeyFile::generate(KeyKind::Account).encrypted(&phrase).expect("64 MiB");
    fs::create_dir(at("1")).expect("a folder");
    key.create(&at("1/alpha.key")).expect("a new file");
    let text = fs::read_to_string(at("1/alpha.key")).expect("text");
    assert!(!text.contains(&hex::encode(key.key().seed())), "{text}");
    assert!(text.contains(&key.public().to_string()), "the public half can be seen");
    assert_eq!(KeyFile::load(&at("1/alpha.key"), KeyKind::Account).expect("opened").key().seed(), key.key().seed());
    assert_eq!(KeyFile::public_of(&at("1/alpha.key"), KeyKind::Account).expect("nobody is asked"), key.public());
    assert_eq!(KeyFile::public_of(&at("1/alpha.key"), KeyKind::Node).expect_err("another kind").code(), 4201);

    let chain: ChainId = "zynk-test-1".parse().expect("a chain id");
    let (ring, _) = Keyring::generate(&chain, Height(9));
    let ring = ring.encrypted(&phrase).expect("64 MiB");
    ring.create(&at("alpha.json")).expect("a new file");
    let mut ring = Keyring::load(&at("alpha.json")).expect("opened");
    ring.begin_rotation();
    ring.save(&at("alpha.json")).expect("sealed again, with nobody asked");
    let before: Value = serde_json::from_slice(&fs::read(at("alpha.json")).expect("there")).expect("JSON");
    ring.save(&at("alpha.json")).expect("and again");
    let after: Value = serde_json::from_slice(&fs::read(at("alpha.json")).expect("there")).expect("JSON");
    assert_eq!(before["kdf"], after["kdf"]);
    assert_ne!(before["nonce"], after["nonce"], "no nonce comes twice");
    assert!(Keyring::load(&at("alpha.json")).expect("opened").is_rotating());
}

#[test]
fn a_file_is_encrypted_decrypted_and_given_another_passphrase() {
    ask();
    let folder = folder();
    let path = folder.path().join("beta.key");
    let clear = KeyFile::generate(KeyKind::Node);
    clear.create(&path).expect("a new file");
    let old = fs::File::open(&path).expect("the file as it is now");
    let text = fs::read_to_string(&path).expect("text");
    assert_eq!(decrypt(&path).expect_err("it is not encrypted").code(), 4211);
    assert_eq!(encrypt(&path, &passphrase("beta")).expect("encrypted").holds, Holds::Node);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::io::read_to_string(old).expect("the old bytes").trim_matches('\0'), "", "they are overwritten");
    assert_eq!(encrypt(&path, &passphrase("beta")).expect_err("once is enough").code(), 4211);
    assert!(label(&path).expect("seen").encrypted);
    let refused = change(&path, || Err::<Passphrase, _>(Error::BadPassphrase("is empty"))).expect_err("nothing new is said");
    assert_eq!(refused.code(), 4210);
    change(&path, || Ok::<_, Error>(passphrase("gamma"))).expect("changed");
    assert_eq!(KeyFile::load_any(&path).expect_err("the old one").code(), 4208);
    fs::rename(&path, folder.path().join("gamma.key")).expect("moved");
    let path = folder.path().join("gamma.key");
    assert_eq!(KeyFile::load_any(&path).expect("the new one").key().seed(), clear.key().seed());
    assert!(!decrypt(&path).expect("decrypted").encrypted);
    assert_eq!(fs::read_to_string(&path).expect("text"), text, "as it was");
}

#[test]
fn a_second_name_of_the_old_file_is_left_alone() {
    ask();
    let folder = folder();
    let (path, copy) = (folder.path().join("delta.key"), folder.path().join("copy.key"));
    KeyFile::generate(KeyKind::Node).create(&path).expect("a new file");
    fs::hard_link(&path, &copy).expect("a second name");
    encrypt(&path, &passphrase("delta")).expect("encrypted");
    assert!(!label(&copy).expect("whole").encrypted, "somebody keeps it under that name");
}

#[test]
fn a_bad_file_is_refused_before_it_costs_anything() {
    ask();
    type Bend = fn(&mut Value);
    let cases: [(&str, u32, Bend); 21] = [
        ("as it is", 0, |_| ()),
        ("another name", 4208, |v| v["name"] = json!("00".repeat(32))),
        ("another thing", 4208, |v| v["holds"] = json!("node")),
        ("another salt", 4208, |v| v["kdf"]["salt"] = json!("00".repeat(16))),
        ("less work", 4208, |v| v["kdf"]["memory_kib"] = json!(32)),
        ("another nonce", 4208, |v| v["nonce"] = json!("00".repeat(24))),
        ("a bent byte", 4208, |v| v["sealed"] = json!(v["sealed"].as_str().expect("text").replacen('1', "2", 1))),
        ("nothing sealed", 4208, |v| v["sealed"] = json!("")),
        ("64 GiB", 4209, |v| v["kdf"]["memory_kib"] = json!(64u32 << 20)),
        ("just above the bound", 4209, |v| v["kdf"]["memory_kib"] = json!((1 << 20) + 1)),
        ("years", 4209, |v| v["kdf"]["passes"] = json!(u32::MAX)),
        ("long enough to go away", 4209, |v| {
            v["kdf"] = json!({"name": "argon2id", "memory_kib": 1 << 20, "passes": 60, "lanes": 1, "salt": "00".repeat(16)})
        }),
        ("many lanes", 4209, |v| v["kdf"]["lanes"] = json!(65)),
        ("no pass", 4209, |v| v["kdf"]["passes"] = json!(0)),
        ("a name without end", 4209, |v| v["name"] = json!("00".repeat(100))),
        ("another function", 4004, |v| v["kdf"]["name"] = json!("md5")),
        ("another cipher", 4004, |v| v["cipher"] = json!("none")),
        ("an unknown field", 4004, |v| v["hint"] = json!("my cat")),
        ("a later version", 4004, |v| v["version"] = json!(3)),
        ("no hexadecimal", 4202, |v| v["sealed"] = json!("zz")),
        ("a short salt", 4004, |v| v["kdf"]["salt"] = json!("00")),
    ];
    let folder = folder();
    for (what, expected, bend) in cases {
        let mut value = sealed(7, "epsilon");
        bend(&mut value);
        let path = folder.path().join("epsilon.key");
        write(&path, &value);
        assert_eq!(KeyFile::load_any(&path).map_or_else(|error| error.code(), |_| 0), expected, "{what}");
    }
}

#[test]
fn a_header_that_lies_of_what_it_seals_is_refused() {
    ask();
    let folder = folder();
    let path = folder.path().join("zeta.key");
    let file = KeyFile::of(KeyKind::Validator, SigningKey::from_seed(&[7; 32]));
    let other = KeyFile::of(KeyKind::Validator, SigningKey::from_seed(&[8; 32]));
    let lies = cheap("zeta").seal_with(&other.label(), &to_json(&file), [5; 24]);
    write(&path, &serde_json::to_value(lies).expect("JSON"));
    assert_eq!(KeyFile::load_any(&path).expect_err("another key").code(), 4202);
    assert_eq!(decrypt(&path).expect_err("another key").code(), 4202);
}

#[test]
fn passphrases_have_bounds() {
    let code = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned())).map_or_else(|error| error.code(), |_| 0);
    let long = "x".repeat(1024);
    assert_eq!([code("x"), code(&long), code(""), code("a\nb"), code(&(long.clone() + "x"))], [0, 0, 4210, 4210, 4210]);
    assert_eq!(Passphrase::first_line(b"first\r\nsecond").expect("a line").as_bytes(), b"first");
    assert_eq!(Passphrase::first_line(b"\nsecond").expect_err("an empty line").code(), 4210);
    assert_eq!(Passphrase::first_line(&[0xff]).expect_err("no text").code(), 4210);
    assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase");
}
