use rpc::relay::{Refresh, Sessions, SignIn, Tokens, path, sign_in_message};
use serde_json::json;
use types::{Hash, Signature};

use super::Door;
use crate::accounts::tests::Person;
use crate::auth::challenge::CHALLENGE_MS;

#[tokio::test]
async fn a_device_signs_in_by_its_key() {
    let door = Door::open().await;
    let person = door.registered().await;
    let tokens = door.signed_in(&person, 1).await;
    let listed: Sessions = door.get(path::SESSIONS, Some(&tokens.access_token)).await.read();
    assert_eq!(listed.sessions.iter().map(|session| session.device).collect::<Vec<_>>(), [1]);
    let out = door.post(path::SIGN_OUT, Some(&tokens.access_token), &json!({})).await;
    assert_eq!(out.status, 204);
    assert_eq!(door.get(path::SESSIONS, Some(&tokens.access_token)).await.code(), 7014, "signed out is signed out at once");
    let refresh = Refresh { refresh_token: tokens.refresh_token };
    assert_eq!(door.post(path::REFRESH, None, &refresh).await.code(), 7016, "also for the refresh token");
}

#[tokio::test]
async fn a_sign_in_that_does_not_hold_is_refused() {
    let door = Door::with(|config| config.limits.sign_ins = 100).await;
    let (person, other) = (door.registered().await, door.registered().await);
    let unregistered = Person::new();
    let check = async |story: &str, answer: SignIn| {
        let refused = door.post(path::SIGN_IN, None, &answer).await;
        assert_eq!((refused.code(), refused.status.as_u16()), (7015, 401), "{story}: {refused:?}");
    };
    let good = async || door.answer(&person, 1).await;
    check("a forged signature", SignIn { signature: Signature([1; 64]), ..good().await }).await;
    check("another person's challenge", SignIn { nonce: door.answer(&other, 1).await.nonce, ..good().await }).await;
    check("a made-up challenge", SignIn { nonce: Hash([7; 32]), ..good().await }).await;
    check("another device", SignIn { device: 2, ..good().await }).await;
    check("another person", SignIn { did: other.did(), ..good().await }).await;
    check("nobody here", door.answer(&unregistered, 1).await).await;
    let (ask, challenge) = door.challenge(&person, 1).await;
    let sign = |audience: &str, chain: &str, key: &types::SigningKey| {
        let chain = chain.parse().expect("a chain");
        let signature = key.sign(&sign_in_message(&chain, audience, &ask.did, ask.device, &challenge.nonce));
        SignIn { did: ask.did, device: ask.device, nonce: challenge.nonce, signature }
    };
    let (audience, chain) = (door.app.relay.audience.as_str(), door.app.relay.chain.as_str());
    check("for another relay", sign("another", chain, &person.key(1))).await;
    check("for another chain", sign(audience, "zynk-test-2", &person.key(1))).await;
    check("by another's key", sign(audience, chain, &other.key(1))).await;
    let late = good().await;
    door.pass(CHALLENGE_MS);
    check("too late", late).await;
    let answer = good().await;
    assert_eq!(door.post(path::SIGN_IN, None, &answer).await.code(), 0, "a good one");
    check("the same again", answer).await;
}

#[tokio::test]
async fn only_failed_attempts_of_one_address_are_counted() {
    let door = Door::open().await;
    let person = door.registered().await;
    for _ in 0..8 {
        door.signed_in(&person, 1).await;
    }
    let attempt = async |peer: &str, answer: &SignIn| door.send_from(peer, "POST", path::SIGN_IN, None, answer).await;
    let forged = SignIn { signature: Signature([1; 64]), ..door.answer(&person, 1).await };
    for _ in 0..5 {
        assert_eq!(attempt("192.0.2.7", &forged).await.code(), 7015);
    }
    let good = door.answer(&person, 1).await;
    let refused = attempt("192.0.2.7", &good).await;
    assert_eq!((refused.code(), refused.status.as_u16()), (7034, 429), "a good one too");
    assert_eq!(refused.json["retry_after_ms"], 300_000);
    let refresh = Refresh { refresh_token: "x".to_owned() };
    let guess = async || door.send_from("192.0.2.7", "POST", path::REFRESH, None, &refresh).await.code();
    for _ in 0..5 {
        assert_eq!(guess().await, 7016, "guessed tokens are counted apart");
    }
    assert_eq!(guess().await, 7034);
    let neighbour = door.registered().await;
    let answer = door.answer(&neighbour, 1).await;
    assert_eq!(attempt("192.0.2.7", &answer).await.code(), 0, "whoever shares the address is not kept out");
    // Devices that the chain has to be asked about are counted together: each of them costs a proof.
    let unseen = async |device: u16| {
        let signed = SignIn { device, ..door.answer(&neighbour, 1).await };
        let (_, challenge) = door.challenge(&neighbour, device).await;
        attempt("192.0.2.9", &SignIn { nonce: challenge.nonce, ..signed }).await.code()
    };
    for device in 2..7 {
        assert_eq!(unseen(device).await, 7015, "device {device}");
    }
    assert_eq!(unseen(7).await, 7034);
    assert_eq!(attempt("192.0.2.9", &door.answer(&neighbour, 1).await).await.code(), 0, "a device that is known needs no proof");
    assert_eq!(attempt("192.0.2.8", &good).await.code(), 0, "another address");
    door.pass(300_000);
    let good = door.answer(&person, 1).await;
    assert_eq!(attempt("192.0.2.7", &good).await.code(), 0, "five minutes later");
}

#[tokio::test]
async fn refresh_tokens_count_once() {
    let door = Door::open().await;
    let person = door.registered().await;
    let first = door.signed_in(&person, 1).await;
    let refresh = async |tokens: &Tokens| door.post(path::REFRESH, None, &Refresh { refresh_token: tokens.refresh_token.clone() }).await;
    door.pass(600_000);
    assert_eq!(door.get(path::SESSIONS, Some(&first.access_token)).await.code(), 7013, "ten minutes later");
    let second: Tokens = refresh(&first).await.read();
    assert_eq!(door.get(path::SESSIONS, Some(&second.access_token)).await.code(), 0);
    assert_eq!(refresh(&first).await.code(), 7017, "used before");
    assert_eq!(door.get(path::SESSIONS, Some(&second.access_token)).await.code(), 7014, "so whoever has the next one is out");
    assert_eq!(refresh(&second).await.code(), 7016);
    assert_eq!(refresh(&Tokens { refresh_token: String::new(), ..second }).await.code(), 7016);
}

#[tokio::test]
async fn the_published_key_is_the_one_that_signs() {
    let door = Door::open().await;
    let set = door.get(path::KEYS, None).await.json;
    let key = types::SigningKey::from_seed(&[9; 32]).public();
    use base64::Engine as _;
    let x = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(key.0);
    assert_eq!((&set["keys"][0]["x"], &set["keys"][0]["crv"], &set["keys"][0]["kty"]), (&json!(x), &json!("Ed25519"), &json!("OKP")));
    assert!(set["keys"][0].get("d").is_none(), "the secret half stays");
    let relay: rpc::relay::Relay = door.get(path::RELAY, None).await.read();
    assert_eq!((relay.audience, relay.time), (door.app.relay.audience.clone(), door.app.now()));
    assert_eq!(door.get("/health", None).await.json, json!({"status": "ok"}));
}
