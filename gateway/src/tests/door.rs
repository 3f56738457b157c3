use std::time::Duration;

use axum::http::HeaderValue;
use serde_json::{Value, json};

use super::chain::{Lie, World};
use super::world::{BOTH, Door, Stand, read, token};
use crate::Settings;

/// What comes of a request: its status, and the code of a problem or 0.
async fn outcome(request: reqwest::RequestBuilder) -> (u16, u64) {
    let (status, body) = read(request).await;
    (status, body["code"].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn requests_go_where_they_belong() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let url = |path: &str| format!("{}{path}", door.url);
        let stories = [
            ("to the relay", door.get("/api/v1/relay"), (200, 0)),
            ("its keys", door.get("/.well-known/jwks.json"), (200, 0)),
            ("the relay's own refusal", door.get("/api/v1/refused"), (409, 7042)),
            ("nothing at the relay", door.get("/api/v1/none"), (404, 0)),
            ("to the node", door.http.post(url("/rpc")).json(&json!({"id": 1, "method": "none"})), (200, 0)),
            ("one of the node's methods", door.get("/rpc/status"), (200, 0)),
            ("nothing", door.get("/"), (404, 7511)),
            ("nothing beside", door.get("/api/v2/relay"), (404, 7511)),
            ("a method that nobody takes", door.http.patch(url("/api/v1/echo")), (405, 7512)),
            ("a proof cannot be posted", door.http.post(url("/chain/v1/params")), (405, 7512)),
            ("nor a DID", door.http.delete(url("/1.0/identifiers/did:zynk:x")), (405, 7512)),
            ("an answer by HEAD", door.http.head(url("/api/v1/relay")), (200, 0)),
            ("the counters", door.get("/metrics"), (200, 0)),
            ("its health", door.get("/health"), (200, 0)),
            ("the relay's fault", door.get("/api/v1/panic"), if stand == Stand::InProcess { (500, 7561) } else { (502, 7541) }),
        ];
        for (story, request, expected) in stories {
            assert_eq!(outcome(request).await, expected, "{stand:?}: {story}");
        }
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_but_for_its_connection() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let id = "0190f3c2-7b5a-7cc3-98a1-0123456789ab";
        let good = format!("Bearer {}", token(1, 60));
        let request = door
            .http
            .put(format!("{}/api/v1/echo/a%20b?c=d%26e", door.url))
            .header("x-request-id", id)
            .header("authorization", &good)
            .header("x-forwarded-for", "6.6.6.6, 7.7.7.7")
            .header("x-forwarded-for", "8.8.8.8")
            .header("te", "trailers")
            .header("x-other", "stays")
            .body("body");
        let answer = request.send().await.expect("answered");
        let said =
            |name: &str| answer.headers().get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>();
        assert_eq!(said("x-request-id"), [id], "{stand:?}: the id comes back, once");
        assert_eq!(said("access-control-allow-origin"), ["*"], "{stand:?}: CORS is the gateway's");
        assert_eq!(said("x-content-type-options"), ["nosniff"]);
        assert_eq!(said("cache-control"), ["no-store"]);
        assert_eq!(said("x-upstream"), ["kept"]);
        let said: Value = answer.json().await.expect("JSON");
        assert_eq!(
            (&said["method"], &said["uri"], &said["body"]),
            (&json!("PUT"), &json!("/api/v1/echo/a%20b?c=d%26e"), &json!(4)),
            "{stand:?}"
        );
        let headers = &said["headers"];
        assert_eq!((&headers["x-forwarded-for"], &headers["x-request-id"]), (&json!("127.0.0.1"), &json!(id)), "{stand:?}");
        assert_eq!(
            (&headers["authorization"], &headers["x-other"], &headers["content-length"]),
            (&json!(good), &json!("stays"), &json!("4"))
        );
        for absent in ["te", "connection"] {
            assert_eq!(headers[absent], Value::Null, "{stand:?}: {absent}");
        }
    }
}

#[tokio::test]
async fn only_tokens_of_the_relay_go_on() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let stories = [
            ("none", None, (200, 0)),
            ("a good one", Some(format!("Bearer {}", token(1, 60))), (200, 0)),
            ("an expired one", Some(format!("Bearer {}", token(1, -1))), (401, 7532)),
            ("a forged one", Some(format!("Bearer {}", token(2, 60))), (401, 7531)),
            ("another scheme", Some("Basic eDp5".to_owned()), (401, 7531)),
        ];
        for (story, value, expected) in stories {
            let request = door.get("/api/v1/echo");
            let request = if let Some(value) = value { request.header("authorization", value) } else { request };
            assert_eq!(outcome(request).await, expected, "{stand:?}: {story}");
        }
        let refused = door.get("/api/v1/echo").bearer_auth("x").send().await.expect("answered");
        assert_eq!(refused.headers()["www-authenticate"], r#"Bearer error="invalid_token""#);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| {
            settings.limits.answer = 200_000;
            settings.limits.request_ms = 300;
            settings.limits.silence_ms = 400;
        })
        .await;
        let post = |body: reqwest::Body| door.http.post(format!("{}/api/v1/echo", door.url)).body(body);
        let pieces = |count: usize| {
            let pieces = futures::stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024])));
            reqwest::Body::wrap_stream(pieces)
        };
        let stories = [
            ("a body just within the bound", post(vec![b'x'; 4096].into()), (200, 0)),
            ("a body above the bound", post(vec![b'x'; 4097].into()), (413, 7516)),
            ("pieces within the bound", post(pieces(4)), (200, 0)),
            ("pieces above the bound", post(pieces(5)), (413, 7516)),
            ("a long path", door.get(&format!("/api/v1/echo/{}", "x".repeat(5000))), (414, 7514)),
            ("long headers", door.get("/api/v1/echo").header("x", "x".repeat(17_000)), (431, 7515)),
            ("an answer that says it is too long", door.get("/api/v1/large"), (502, 7543)),
            ("an upstream that does not answer", door.get("/api/v1/slow"), (504, 7542)),
        ];
        for (story, request, expected) in stories {
            assert_eq!(outcome(request).await, expected, "{stand:?}: {story}");
        }
        for (story, path) in [("above the bound", "/api/v1/flood"), ("that stands still", "/api/v1/endless")] {
            // Cut before or after its head was written.
            let whole = match door.get(path).send().await {
                Ok(begun) => begun.bytes().await.is_ok(),
                Err(_) => false,
            };
            assert!(!whole, "{stand:?}: an answer {story} is cut");
        }
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits() {
    let few = |settings: &mut Settings| {
        settings.limits.burst = 3;
        settings.limits.per_second = 1;
        settings.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    };
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), few).await;
        let ask = |client: &'static str| door.get("/api/v1/echo").header("x-forwarded-for", client);
        for _ in 0..3 {
            let (status, said) = read(ask("203.0.113.1")).await;
            assert_eq!((status, &said["headers"]["x-forwarded-for"]), (200, &json!("203.0.113.1")), "{stand:?}");
        }
        let refused = ask("203.0.113.1").send().await.expect("answered");
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &HeaderValue::from_static("1")));
        assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a page may read why");
        let problem: Value = refused.json().await.expect("JSON");
        assert!(problem["code"] == 7521 && problem["retry_after_ms"].as_u64().is_some_and(|wait| (1..=1000).contains(&wait)), "{problem}");
        assert_eq!(outcome(ask("203.0.113.2")).await, (200, 0), "{stand:?}: another client is not touched");
    }
}

#[tokio::test]
async fn only_so_many_requests_are_worked_on_at_once() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| settings.limits.requests = 1).await;
        // The answer has begun and does not end.
        let held = door.get("/api/v1/endless").send().await.expect("begun");
        assert_eq!(outcome(door.get("/api/v1/relay")).await, (503, 7522), "{stand:?}");
        drop(held);
        let mut last = (0, 0);
        for _ in 0..200 {
            last = outcome(door.get("/api/v1/relay")).await;
            if last.0 == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(last, (200, 0), "{stand:?}: a client that hangs up frees its place");
    }
}

#[tokio::test]
async fn no_request_is_smuggled() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| settings.limits.header_ms = 500).await;
        let stories = [
            (
                "both lengths",
                "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "200",
            ),
            ("two lengths", "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "400"),
            ("a length that is none", "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", "400"),
            ("an encoding that is none", "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"),
            ("a space before the colon", "GET /api/v1/echo HTTP/1.1\r\nHost: x\r\nX-Zynk-Client : 1\r\n\r\n", "400"),
            ("a bare line feed in a value", "GET /api/v1/echo HTTP/1.1\r\nHost: x\r\nX: a\n b\r\n\r\n", "400"),
            ("a way around", "GET /api/v1/../../admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"),
            ("a tunnel", "CONNECT relay:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"),
            ("all of the server", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"),
            ("an echo for a thief", "TRACE /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405"),
            ("another host in the line", "GET http://evil/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"),
            ("headers that do not end", "GET /api/v1/relay HTTP/1.1\r\nHost: x\r\n", ""),
        ];
        for (story, bytes, status) in stories {
            let answer = door.raw(bytes.as_bytes()).await;
            let found = answer.split(' ').nth(1).unwrap_or_default();
            // What hyper cannot read has no answer but a status; one that never came whole has none.
            assert!(found == status || (status.is_empty() && found == "408"), "{stand:?}: {story}: {answer}");
            assert_eq!(
                answer.matches("HTTP/1.1").count(),
                usize::from(!found.is_empty()),
                "{stand:?}: {story}: one answer for one request"
            );
        }
        // The second request hides in the body of the first, for whoever counts wrongly.
        let hidden = "GET /api/v1/refused HTTP/1.1\r\nHost: x\r\n\r\n";
        let first =
            format!("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
        let answer = door.raw(first.as_bytes()).await;
        assert!(answer.contains(&format!(r#""body":{}"#, hidden.len())) && !answer.contains("7042"), "{stand:?}: {answer}");
    }
}

#[tokio::test]
async fn pages_may_ask_from_where_they_are_allowed() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| settings.origins = vec!["https://app.example".to_owned()]).await;
        let preflight = |origin: &'static str| {
            let request = door.http.request(reqwest::Method::OPTIONS, format!("{}/api/v1/prekeys", door.url)).header("origin", origin);
            request.header("access-control-request-method", "PUT").header("access-control-request-headers", "authorization")
        };
        let answer = preflight("https://app.example").send().await.expect("answered");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
            (200, &HeaderValue::from_static("https://app.example"))
        );
        let methods = answer.headers()["access-control-allow-methods"].to_str().expect("text");
        assert!(methods.contains("PUT") && !methods.contains("PATCH"), "{methods}");
        let answer = preflight("https://evil.example").send().await.expect("answered");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{stand:?}");
    }
}

#[tokio::test]
async fn health_tells_which_upstream_is_away() {
    let door = Door::new(Stand::Remote).await;
    let (status, said) = door.json("/health").await;
    assert_eq!((status, &said["status"], &said["relay"], &said["node"]), (200, &json!("ok"), &json!("answers"), &json!("answers")));
    let away = |name| crate::upstream::Target::new(name, crate::Upstream::Remote("http://127.0.0.1:1".to_owned())).expect("a URL");
    let chain = rpc::Chain::connect("http://127.0.0.1:1", World::new(Lie::None).trust()).expect("a URL");
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let settings = Settings::new("127.0.0.1:0".parse().expect("an address"));
    let gateway = crate::Gateway::assemble(settings, away("relay"), away("node"), chain, stopped).expect("a gateway");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { gateway.serve(listener).await });
    let get = |path: &str| door.http.get(format!("{url}{path}"));
    let (status, said) = read(get("/health")).await;
    assert_eq!(
        (status, &said["status"], &said["relay"], &said["node"]),
        (503, &json!("degraded"), &json!("does not answer"), &json!("does not answer"))
    );
    assert_eq!(outcome(get("/api/v1/relay")).await, (502, 7541));
    assert_eq!(outcome(get("/api/v1/relay").bearer_auth(token(1, 60))).await, (502, 7541));
    assert_eq!(outcome(get("/chain/v1/params")).await, (502, 7541));
    let (status, said) = read(get("/1.0/identifiers/did:zynk:x")).await;
    assert_eq!((status, &said["didResolutionMetadata"]["error"]["title"]), (400, &json!("Invalid DID")), "what needs no node is answered");
}

#[tokio::test]
async fn counters_count_and_are_for_operators() {
    let door = Door::new(Stand::InProcess).await;
    for path in ["/api/v1/relay", "/api/v1/relay", "/none", "/1.0/identifiers/not-a-did"] {
        door.get(path).send().await.expect("answered");
    }
    let text = door.metrics().await;
    for line in [
        r#"zynk_gateway_requests_total{route="relay",status="200"} 2"#,
        r#"zynk_gateway_requests_total{route="unknown",status="404"} 1"#,
        r#"zynk_gateway_requests_total{route="resolver",status="400"} 1"#,
        r#"zynk_gateway_refusals_total{code="7511"} 1"#,
        r#"zynk_gateway_request_seconds_count{route="relay"} 2"#,
        "zynk_gateway_websockets 0",
        "zynk_gateway_connections 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let strict = Door::with(Stand::InProcess, World::new(Lie::None), |settings| settings.operators.clear()).await;
    assert_eq!(outcome(strict.get("/metrics")).await, (404, 7511), "for others it is not there");
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let door = Door::with(Stand::InProcess, World::new(Lie::None), |settings| settings.limits.connections_per_address = 1).await;
    let held = door.get("/api/v1/endless").send().await.expect("begun");
    assert_eq!(door.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await, "", "a second connection is closed");
    drop(held);
}

/// What is written to a log, in memory.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_knows_requests_and_nobody() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(move || writer.clone()).finish();
    // For the whole process: a subscriber of one thread misses what other tests' threads have first
    // met without one. Lines of other tests have other ids.
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    let door = Door::new(Stand::InProcess).await;
    let (id, good) = ("0190f3c2-7b5a-7cc3-98a1-00000000000f", token(1, 60));
    let ask = |path: &str| door.get(path).header("x-request-id", id).header("user-agent", "secret-agent").bearer_auth(&good);
    ask("/api/v1/echo/secret-path?secret=query").send().await.expect("answered");
    ask("/1.0/identifiers/did:zynk:secret").send().await.expect("answered");
    ask("/secret").send().await.expect("answered");
    let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
    let text: String = text.lines().filter(|line| line.contains(id)).map(|line| format!("{line}\n")).collect();
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["fields"].clone()).collect();
    let seen: Vec<_> = found.iter().map(|fields| (fields["route"].as_str(), fields["status"].as_u64(), fields["code"].as_u64())).collect();
    assert_eq!(
        seen,
        [(Some("relay"), Some(200), Some(0)), (Some("resolver"), Some(400), Some(0)), (Some("unknown"), Some(404), Some(7511))]
    );
    assert!(found.iter().all(|fields| fields["request_id"] == id && fields["took_us"].is_u64()));
    for secret in ["secret", "127.0.0.1", good.as_str(), "did:zynk"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_gateway_runs_with_a_node_in_its_process() {
    let world = World::new(Lie::None);
    let (trust, alice) = (world.trust(), world.alice);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let settings = Settings::new("127.0.0.1:0".parse().expect("an address"));
    let (relay, node) = (crate::Upstream::InProcess(axum::Router::new()), crate::Upstream::InProcess(world.router()));
    let gateway = crate::Gateway::open(settings, relay, node, trust.clone(), stopped.clone()).await.expect("a gateway");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move { gateway.serve(listener).await });
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (status, said) = read(http.get(format!("{url}/chain/v1/identities/{alice}"))).await;
    // The chain of the tests is long past: trust was walked by hand-offs, and that is said.
    assert_eq!((status, &said["proof"]["beyond_trusting_period"]), (200, &json!(true)), "{said}");
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it stops").expect("no panic");

    let refused =
        |relay: &str| crate::upstream::Target::new("relay", crate::Upstream::Remote(relay.to_owned())).expect_err("refused").code();
    for odd in ["", "127.0.0.1:1", "ftp://x", "http://", "http://user@x", "http://x/?q", "http://x/#f"] {
        assert_eq!(refused(odd), 7502, "{odd:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let settings = Settings::new(taken.local_addr().expect("bound"));
    let (relay, node) = (crate::Upstream::Remote(url.clone()), crate::Upstream::Remote(url));
    assert_eq!(crate::run(settings, relay, node, trust, stopped).await.expect_err("taken").code(), 7503);
}
