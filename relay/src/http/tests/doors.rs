//! Every door, with everything that is bad at any door.

use axum::body::Body;
use axum::http::Request;
use rpc::relay::path;
use serde_json::json;

use super::Door;
use crate::auth::ACCESS_S;

/// Method, path, whether it takes a session, whether it takes a body.
const DOORS: [(&str, &str, bool, bool); 14] = [
    ("GET", "/health", false, false),
    ("GET", path::KEYS, false, false),
    ("GET", path::RELAY, false, false),
    ("POST", path::REGISTER, false, true),
    ("POST", path::CHALLENGE, false, true),
    ("POST", path::SIGN_IN, false, true),
    ("POST", path::REFRESH, false, true),
    ("POST", path::SIGN_OUT, true, false),
    ("GET", path::SESSIONS, true, false),
    ("POST", path::OPERATE, true, true),
    ("PUT", path::PREKEYS, true, true),
    ("GET", path::PREKEYS, true, false),
    ("GET", path::PREKEYS_OF, true, false),
    ("GET", path::PROOFS, true, false),
];

#[tokio::test]
async fn who_has_no_good_token_does_not_get_in() {
    let door = Door::open().await;
    let person = door.registered().await;
    let ended = door.signed_in(&person, 1).await.access_token;
    door.post(path::SIGN_OUT, Some(&ended), &json!({})).await;
    let good = door.signed_in(&person, 1).await.access_token;
    let headers: [(&str, Vec<String>, u64); 7] = [
        ("none", vec![], 7011),
        ("another scheme", vec![format!("Basic {good}")], 7011),
        ("no token", vec!["Bearer".to_owned()], 7011),
        ("two", vec![format!("Bearer {good}"), format!("Bearer {good}")], 7012),
        ("no token of ours", vec!["Bearer x.y.z".to_owned()], 7012),
        ("one letter more", vec![format!("Bearer {good}A")], 7012),
        ("a session that has ended", vec![format!("Bearer {ended}")], 7014),
    ];
    for (method, path, session, _) in DOORS {
        for (story, headers, expected) in &headers {
            let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
            for header in headers {
                request = request.header("authorization", header);
            }
            let answer = door.ask(request.body(Body::from("{}")).expect("a request")).await;
            if session {
                assert_eq!((answer.code(), answer.status.as_u16()), (*expected, 401), "{method} {path}: {story}: {answer:?}");
                assert!(answer.headers.contains_key("www-authenticate"));
            } else {
                assert_ne!(answer.status, 401, "{method} {path}: {story}: anybody may");
            }
        }
    }
    door.pass(ACCESS_S * 1_000);
    for (method, path, ..) in DOORS.into_iter().filter(|(.., session, _)| *session) {
        let answer = door.send_from("192.0.2.1", method, path, Some(&good), &json!({})).await;
        assert_eq!(answer.code(), 7013, "{method} {path}: expired: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_is_json_of_exactly_this_request() {
    let door = Door::with(|config| config.limits.sign_ins = 1_000).await;
    let person = door.registered().await;
    let token = door.signed_in(&person, 1).await.access_token;
    let bodies: [(&str, &str, Vec<u8>, u64); 12] = [
        ("nothing", "application/json", vec![], 7001),
        ("no object", "application/json", b"7".to_vec(), 7001),
        ("an empty object", "application/json", b"{}".to_vec(), 7001),
        ("half an object", "application/json", b"{\"did\":".to_vec(), 7001),
        ("two objects", "application/json", b"{}{}".to_vec(), 7001),
        ("an unknown field", "application/json", b"{\"colour\":1}".to_vec(), 7001),
        ("not UTF-8", "application/json", b"{\"did\":\"\xff\"}".to_vec(), 7001),
        ("a deep one", "application/json", [vec![b'['; 9_000]].concat(), 7001),
        ("another type", "text/plain", b"{}".to_vec(), 7002),
        ("a form", "application/x-www-form-urlencoded", b"did=1".to_vec(), 7002),
        ("another charset", "application/json; charset=latin1", b"{}".to_vec(), 7002),
        ("a very long one", "application/json", vec![b' '; 500_000], 7003),
    ];
    for (method, path, session, _) in DOORS.into_iter().filter(|(.., body)| *body) {
        for (story, kind, body, expected) in &bodies {
            let mut request = Request::builder().method(method).uri(path).header("content-type", *kind);
            if session {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = door.ask(request.body(Body::from(body.clone())).expect("a request")).await;
            assert_eq!(answer.code(), *expected, "{method} {path}: {story}: {answer:?}");
            assert_eq!(answer.json["status"], answer.status.as_u16(), "{method} {path}: {story}");
            assert!(!answer.json.to_string().contains("colour"), "{path}: {story}: what was sent is not repeated");
        }
        let mut request = Request::builder().method(method).uri(path);
        if session {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = door.ask(request.body(Body::from("{}")).expect("a request")).await;
        assert_eq!(answer.code(), 7002, "{method} {path}: no type at all");
    }
    let repeated = format!("{{\"did\":\"{0}\",\"did\":\"{0}\",\"device\":1}}", person.did());
    let request = Request::builder().method("POST").uri(path::CHALLENGE).header("content-type", "application/json; charset=UTF-8");
    assert_eq!(door.ask(request.body(Body::from(repeated)).expect("a request")).await.code(), 7001, "one field twice");
    let large = format!("{{\"did\":\"{}\",\"device\":65536}}", person.did());
    let request = Request::builder().method("POST").uri(path::CHALLENGE).header("content-type", "application/json");
    assert_eq!(door.ask(request.body(Body::from(large)).expect("a request")).await.code(), 7001, "a device that cannot be");
}

#[tokio::test]
async fn there_are_no_other_doors() {
    let door = Door::open().await;
    for path in ["/", "/api", "/api/v1/auth/register/", "/api/v1/prekeys/", "/api/v2/relay", "/.well-known/"] {
        let answer = door.get(path, None).await;
        assert_eq!((answer.code(), answer.status.as_u16()), (7004, 404), "{path}: {answer:?}");
    }
    for (_, path, ..) in DOORS {
        let answer = door.send_from("192.0.2.1", "DELETE", path, None, &json!({})).await;
        assert_eq!((answer.code(), answer.status.as_u16()), (7005, 405), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn another_persons_things_are_not_given() {
    let door = Door::open().await;
    let (alice, bob) = (door.registered().await, door.registered().await);
    let (of_alice, of_bob) = (door.signed_in(&alice, 1).await, door.signed_in(&bob, 1).await);
    let keys = crate::accounts::tests::prekeys(&bob, 1, 5, 1, 1);
    let put = door.send_from("192.0.2.1", "PUT", path::PREKEYS, Some(&of_alice.access_token), &keys).await;
    assert_eq!(put.code(), 7041, "prekeys for another's device");
    door.post(path::SIGN_OUT, Some(&of_alice.access_token), &json!({})).await;
    let listed: rpc::relay::Sessions = door.get(path::SESSIONS, Some(&of_bob.access_token)).await.read();
    assert_eq!(listed.sessions.len(), 1, "one's own sessions, and another's sign-out does not end them");
    let leaf = path::PROOFS.replace("{leaf}", &"0".repeat(64));
    assert_eq!(door.get(&leaf, Some(&of_bob.access_token)).await.code(), 7045, "a leaf that nobody knows");
    assert_eq!(door.get(&path::PROOFS.replace("{leaf}", "0"), Some(&of_bob.access_token)).await.code(), 7001);
}

#[tokio::test]
async fn a_proxys_word_about_an_address_is_taken_from_proxies_only() {
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;
    let door = Door::with(|config| {
        config.limits.sign_ins = 1;
        config.limits.trusted_proxies = vec!["10.0.0.1".parse().expect("an address")];
    })
    .await;
    let attempt = async |from: &str, forwarded: Option<&str>| {
        let from: SocketAddr = from.parse().expect("an address");
        let mut request = Request::builder().method("POST").uri(path::REFRESH).header("content-type", "application/json");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let body = Body::from("{\"refresh_token\":\"x\"}");
        door.ask(request.extension(ConnectInfo(from)).body(body).expect("a request")).await.code()
    };
    assert_eq!(attempt("192.0.2.1:1", None).await, 7016);
    assert_eq!(attempt("192.0.2.1:2", Some("192.0.2.2")).await, 7034, "anybody can write that");
    assert_eq!(attempt("[::ffff:192.0.2.1]:2", None).await, 7034, "the same address, spelled for IPv6");
    assert_eq!(attempt("10.0.0.1:1", Some("192.0.2.2")).await, 7016, "a proxy's word");
    assert_eq!(attempt("10.0.0.1:1", Some("192.0.2.9, 192.0.2.2")).await, 7034, "the proxy wrote the last one");
    assert_eq!(attempt("10.0.0.1:1", Some("nonsense")).await, 7016, "then it is the proxy's own");
}
