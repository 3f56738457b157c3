use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use types::SigningKey;

use super::*;
use crate::Upstream;
use crate::upstream::RELAY;

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn jwk(seed: u8, id: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key(seed).public().0), "kid": id, "use": "sig", "alg": "EdDSA"})
}

pub(crate) fn token(seed: u8, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key(seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.0))
}

fn relay(sets: Vec<Value>) -> (Target, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let set = sets[turn.min(sets.len() - 1)].clone();
        async move { Json(set) }
    };
    let router = Router::new().route(rpc::relay::path::KEYS, get(answer));
    (Target::new(RELAY, Upstream::InProcess(router)).expect("a router"), asked)
}

async fn check(keys: &Keys, relay: &Target, text: &str) -> u32 {
    check_at(keys, relay, text, Instant::now()).await
}

async fn check_at(keys: &Keys, relay: &Target, text: &str, at: Instant) -> u32 {
    keys.check(text, relay, NOW, at).await.map_or_else(|error| error.code(), |()| 0)
}

#[tokio::test]
async fn what_is_not_signed_or_not_good_is_refused() {
    let others = [json!({"kty": "RSA", "n": "x", "e": "AQAB"}), json!({"kty": "OKP", "crv": "X25519", "x": "AA"}), jwk(7, "encrypting")];
    let mut set = vec![jwk(1, "one"), jwk(2, "two")];
    set.extend(others);
    set[4]["use"] = json!("enc");
    let (relay, asked) = relay(vec![json!({"keys": set})]);
    let keys = Keys::default();
    let (plain, good) = (json!({"alg": "EdDSA", "typ": "JWT"}), json!({"exp": NOW + 600, "sub": "did:zynk:x"}));
    let with = |id: &str| json!({"alg": "EdDSA", "kid": id});
    let sound = token(1, &plain, &good);
    let (head, tail) = sound.split_once('.').expect("three parts");
    let stories = [
        ("good, without a key's id", sound.clone(), 0),
        ("good, by the second key", token(2, &with("two"), &good), 0),
        ("by a key of another id", token(2, &with("one"), &good), 7531),
        ("by an unknown key", token(3, &with("three"), &good), 7531),
        ("by a key that encrypts", token(7, &with("encrypting"), &good), 7531),
        ("expired", token(1, &plain, &json!({"exp": NOW})), 7532),
        ("expired and forged", token(3, &plain, &json!({"exp": NOW - 1})), 7531),
        ("not good yet", token(1, &plain, &json!({"exp": NOW + 600, "nbf": NOW + 1})), 7531),
        ("without an end", token(1, &plain, &json!({"sub": "x"})), 7531),
        ("not signed", token(1, &json!({"alg": "none"}), &good), 7531),
        ("another algorithm", token(1, &json!({"alg": "HS256"}), &good), 7531),
        ("an extension that must be understood", token(1, &json!({"alg": "EdDSA", "crit": ["exp"]}), &good), 7531),
        ("other claims under the signature", format!("{head}x.{tail}"), 7531),
        ("no signature", sound.rsplit_once('.').expect("parts").0.to_owned() + ".", 7531),
        ("padding", format!("{sound}=="), 7531),
        ("no token", "x".to_owned(), 7531),
        ("nothing", String::new(), 7531),
        ("too long", token(1, &plain, &json!({"exp": NOW + 600, "sub": "x".repeat(2048)})), 7531),
    ];
    for (story, text, code) in stories {
        assert_eq!(check(&keys, &relay, &text).await, code, "{story}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "forgeries do not make the gateway ask again and again");
}

#[tokio::test]
async fn keys_that_change_are_seen() {
    let set = |seeds: &[u8]| json!({"keys": seeds.iter().map(|seed| jwk(*seed, &seed.to_string())).collect::<Vec<_>>()});
    let (relay, asked) = relay(vec![set(&[1]), set(&[1, 2]), set(&[2])]);
    let (keys, begun) = (Keys::default(), Instant::now());
    let (soon, later) = (begun + PATIENCE, begun + PATIENCE + FRESH);
    let stories = [
        ("a key of the first set", 1, begun, 0, 1),
        ("none of it", 2, begun, 7531, 1),
        ("a known key needs no question", 1, soon, 0, 1),
        ("a new one is asked for", 2, soon, 0, 2),
        ("an old one ends", 1, later, 7531, 3),
    ];
    for (story, seed, at, code, questions) in stories {
        let text = token(seed, &json!({"alg": "EdDSA", "kid": seed.to_string()}), &json!({"exp": NOW + 600}));
        assert_eq!((check_at(&keys, &relay, &text, at).await, asked.load(Ordering::Relaxed)), (code, questions), "{story}");
    }
}

#[tokio::test]
async fn without_keys_nothing_is_judged() {
    let (broken, _) = relay(vec![json!("no set")]);
    let text = token(1, &json!({"alg": "EdDSA"}), &json!({"exp": NOW + 600}));
    assert_eq!(check(&Keys::default(), &broken, &text).await, 7541);
    let away = Target::new(RELAY, Upstream::Remote("http://127.0.0.1:1".to_owned())).expect("a URL");
    assert_eq!(check(&Keys::default(), &away, &text).await, 7541);
}

#[test]
fn a_token_stands_in_its_header() {
    let read = |text: &'static str| {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, axum::http::HeaderValue::from_static(text))]);
        of(&headers).map(|token| token.map(str::to_owned)).map_err(|error| error.code())
    };
    assert_eq!(read("Bearer abc"), Ok(Some("abc".to_owned())));
    assert_eq!(read("bearer abc"), Ok(Some("abc".to_owned())));
    assert_eq!((read("Basic abc"), read("Bearer"), read("")), (Err(7531), Err(7531), Err(7531)));
    assert_eq!(of(&HeaderMap::new()).map_err(|error| error.code()), Ok(None));
}
