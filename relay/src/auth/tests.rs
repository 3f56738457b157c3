use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::challenge::{CHALLENGE_MS, Challenges};
use super::*;

const NOW: u64 = 1_800_000_000_000;
const SESSION: SessionId = [4; 16];

fn address() -> Address {
    Address { did: Did([1; 32]), device: 2 }
}

fn auth_with(seed: u8, audience: &str) -> (Auth, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(NOW));
    let clock = time.clone();
    let auth = Auth::new(&SigningKey::from_seed(&[seed; 32]), audience, Arc::new(move || Millis(clock.load(Ordering::SeqCst))));
    (auth, time)
}

fn auth() -> Auth {
    auth_with(9, "relay").0
}

/// A token with this header and these claims, signed by any rule.
fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature))
}

fn by_relay(message: &[u8]) -> Vec<u8> {
    SigningKey::from_seed(&[9; 32]).sign(message).0.to_vec()
}

/// HMAC-SHA256 (RFC 2104), with the public key as the secret: the confusion that some verifiers fall for.
fn hs256(message: &[u8]) -> Vec<u8> {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&SigningKey::from_seed(&[9; 32]).public().0);
    let inner = Hash::sha256(&[&key.map(|byte| byte ^ 0x36), message]);
    Hash::sha256(&[&key.map(|byte| byte ^ 0x5c), &inner.0]).0.to_vec()
}

fn claims() -> Value {
    let (now, did) = (NOW / 1_000, address().did.to_string());
    json!({"iss": "relay", "sub": did, "device": 2, "sid": hex::encode(SESSION), "iat": now, "exp": now + 600})
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn a_token_says_what_was_put_into_it() {
    let (auth, token) = (auth(), auth().issue(address(), SESSION));
    let good = Claims { address: address(), session: SESSION, expires: Millis(NOW + 600_000) };
    assert_eq!(auth.verify(&token).expect("a good token"), good);
    let eddsa = json!({"alg": "EdDSA", "typ": "JWT"});
    assert_eq!(auth.verify(&forge(&eddsa, &claims(), by_relay)).expect("the same by hand"), good);
}

#[test]
fn what_is_no_token_of_this_relay_is_refused() {
    let auth = auth();
    let good = auth.issue(address(), SESSION);
    let eddsa = json!({"alg": "EdDSA", "typ": "JWT"});
    let parts: Vec<_> = good.split('.').collect();
    let check = |story: &str, token: &str, expected: u32| {
        let error = auth.verify(token).expect_err(story);
        assert_eq!(error.code(), expected, "{story}");
    };
    check("nothing", "", 7012);
    check("no parts", "token", 7012);
    check("two parts", &format!("{}.{}", parts[0], parts[1]), 7012);
    check("four parts", &format!("{good}.x"), 7012);
    check("no signature", &format!("{}.{}.", parts[0], parts[1]), 7012);
    check("no base64", &format!("{}.{}.{}", parts[0], parts[1], "!".repeat(86)), 7012);
    check("very long", &"x".repeat(MAX_TOKEN + 1), 7012);
    check("a forged signature", &forge(&eddsa, &claims(), |_| vec![1; 64]), 7012);
    check("another key", &auth_with(8, "relay").0.issue(address(), SESSION), 7012);
    check("another relay's", &auth_with(9, "other").0.issue(address(), SESSION), 7012);
    check("no algorithm", &forge(&json!({"alg": "none"}), &claims(), |_| vec![]), 7012);
    check("no algorithm, signed", &forge(&json!({"alg": "none"}), &claims(), by_relay), 7012);
    check("no algorithm, in capitals", &forge(&json!({"alg": "NONE"}), &claims(), |_| vec![]), 7012);
    check("HS256 under the public key", &forge(&json!({"alg": "HS256"}), &claims(), hs256), 7012);
    check("HS256's tag, called EdDSA", &forge(&eddsa, &claims(), hs256), 7012);
    check("another name for the algorithm", &forge(&json!({"alg": "Ed25519"}), &claims(), by_relay), 7012);
    check("a header without one", &forge(&json!({"typ": "JWT"}), &claims(), by_relay), 7012);
    for name in ["iss", "sub", "device", "sid", "iat", "exp"] {
        check(name, &forge(&eddsa, &without(claims(), name), by_relay), 7012);
    }
    check("a negative time", &forge(&eddsa, &with(claims(), "exp", json!(-1)), by_relay), 7012);
    check("no identity", &forge(&eddsa, &with(claims(), "sub", json!("alice")), by_relay), 7012);
    check("a device that cannot be", &forge(&eddsa, &with(claims(), "device", json!(65_536)), by_relay), 7012);
    check("a short session", &forge(&eddsa, &with(claims(), "sid", json!("00")), by_relay), 7012);
    check("expired", &forge(&eddsa, &with(claims(), "exp", json!(NOW / 1_000)), by_relay), 7013);
    check("expired, and forged", &forge(&eddsa, &with(claims(), "exp", json!(1)), |_| vec![1; 64]), 7012);
    let tampered = with(claims(), "device", json!(3)).to_string();
    check("another device under the same signature", &format!("{}.{}.{}", parts[0], BASE64.encode(tampered), parts[2]), 7012);
}

#[test]
fn a_token_is_good_until_it_expires_or_its_session_ends() {
    let (auth, time) = auth_with(9, "relay");
    let token = auth.issue(address(), SESSION);
    time.store(NOW + 599_999, Ordering::SeqCst);
    assert!(auth.verify(&token).is_ok(), "in the last moment");
    time.store(NOW + 600_000, Ordering::SeqCst);
    assert_eq!(auth.verify(&token).expect_err("expired").code(), 7013);
    let (token, other) = (auth.issue(address(), SESSION), auth.issue(address(), [5; 16]));
    let endings = auth.endings();
    auth.end([(SESSION, Millis(NOW + 600_000))]);
    assert!(endings.has_changed().expect("alive") && auth.has_ended(&SESSION));
    assert_eq!(auth.verify(&token).expect_err("ended").code(), 7014);
    assert!(auth.verify(&other).is_ok(), "another session");
    time.store(NOW + 600_000 + 1_200_001, Ordering::SeqCst);
    auth.end([]);
    assert!(!auth.has_ended(&SESSION), "its tokens have long expired, so it need not be remembered");
}

#[test]
fn more_endings_than_are_remembered_let_no_ended_session_in() {
    let (auth, time) = auth_with(9, "relay");
    let before = auth.issue(address(), [255; 16]);
    let name = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        id
    };
    auth.end((0..=MAX_ENDED).map(|number| (name(number), Millis(NOW))));
    assert_eq!(auth.verify(&before).expect_err("given before").code(), 7014);
    assert_eq!(auth.verify(&auth.issue(address(), name(0))).expect_err("forgotten, but in the same second").code(), 7014);
    time.store(NOW + 1_000, Ordering::SeqCst);
    assert!(auth.verify(&auth.issue(address(), [255; 16])).is_ok(), "given after");
}

#[test]
fn a_challenge_is_for_one_device_and_one_minute() {
    let challenges = Challenges::new(&SigningKey::from_seed(&[9; 32]));
    let (nonce, expires) = challenges.draw(&address(), Millis(NOW), [1; 8]);
    assert_eq!(expires, Millis(NOW + CHALLENGE_MS));
    let check = |story: &str, nonce: Hash, address: Address, now: u64, expected: Option<Millis>| {
        assert_eq!(challenges.expires(&address, &nonce, Millis(now)), expected, "{story}");
    };
    check("at once", nonce, address(), NOW, Some(expires));
    check("in the last moment", nonce, address(), NOW + CHALLENGE_MS - 1, Some(expires));
    check("too late", nonce, address(), NOW + CHALLENGE_MS, None);
    check("another device", nonce, Address { device: 3, ..address() }, NOW, None);
    check("another person", nonce, Address { did: Did([2; 32]), ..address() }, NOW, None);
    check("made up", Hash([0xff; 32]), address(), NOW, None);
    for byte in 0..32 {
        let mut bent = nonce;
        bent.0[byte] ^= 1;
        check("one bit", bent, address(), NOW, None);
    }
    let other = Challenges::new(&SigningKey::from_seed(&[8; 32]));
    assert_eq!(other.expires(&address(), &nonce, Millis(NOW)), None, "another relay's");
    assert_ne!(challenges.draw(&address(), Millis(NOW), [2; 8]).0, nonce, "two are never the same");
}

#[test]
fn the_key_is_made_once_and_kept_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("tokens.key");
    let key = keys::open(&path).expect("a new key");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(keys::open(&path).expect("the same").public(), key.public());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(keys::open(&path).expect_err("others may read it").code(), 7091);
    std::fs::remove_file(&path).expect("removed");
    genesis::file::create_secret(&path, b"no key").expect("a file");
    assert_eq!(keys::open(&path).expect_err("no key").code(), 7093);
}
