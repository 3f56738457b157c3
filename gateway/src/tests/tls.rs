//! The same door over TLS, with a certificate that only these tests believe. Its key is public: it is in the repository.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::{SinkExt as _, StreamExt as _};
use reqwest::tls::Version;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, connect_async, connect_async_tls_with_config};

use super::chain::{Lie, World};
use super::world::{BOTH, Door, FRAME, Stand, client};
use crate::{Settings, Tls};

/// For 127.0.0.1, `::1` and `localhost`, from 2020 to 2120, signed by its own key.
pub(crate) const CERTIFICATE: &str = include_str!("tls-certificate.pem");
pub(crate) const KEY: &str = include_str!("tls-key.pem");

/// A good key, of nothing.
pub(crate) const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEcT28oYRR8nv7PxWJjtsoa6ZoPOqud9piGvMiChZWle
-----END PRIVATE KEY-----
";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes both, the key for its owner only.
pub(crate) fn files(folder: &TempDir, certificate: &str, key: &str) -> Tls {
    let tls = Tls { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&tls.certificate, certificate).expect("written");
    genesis::file::create_secret(&tls.key, key.as_bytes()).expect("written");
    tls
}

async fn door(stand: Stand, choose: impl FnOnce(&mut Settings)) -> Door {
    // They are read before the door opens, and not again.
    let folder = TempDir::new().expect("a folder");
    Door::with(stand, World::new(Lie::None), |settings| {
        settings.tls = Some(files(&folder, CERTIFICATE, KEY));
        choose(settings);
    })
    .await
}

fn config(protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate")).expect("a root");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn shake(door: &Door, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(door.address()).await.expect("connected");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    timeout(PATIENCE, TlsConnector::from(config(protocols)).connect(name, stream)).await.expect("in time")
}

/// Innermost reason of a failed request.
fn reason(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

#[tokio::test]
async fn requests_are_answered() {
    for stand in BOTH {
        let door = door(stand, |_| {}).await;
        assert_eq!(door.json("/api/v1/relay").await, (200, json!({"relay": true})), "{stand:?}");
        let said = door.http.put(format!("{}/api/v1/echo", door.url)).body(vec![b'x'; 4096]).send().await.expect("answered");
        let said: serde_json::Value = said.json().await.expect("JSON");
        assert_eq!((&said["body"], &said["headers"]["x-forwarded-for"]), (&json!(4096), &json!("127.0.0.1")), "{stand:?}");
        let large = door.get("/api/v1/large").send().await.expect("answered").bytes().await.expect("whole");
        assert_eq!(large.len(), 300_000, "{stand:?}: an answer of many records");
        assert_eq!(door.get("/nothing").send().await.expect("answered").status(), StatusCode::NOT_FOUND, "{stand:?}");
    }
}

#[tokio::test]
async fn sockets_pass_messages_both_ways() {
    for stand in BOTH {
        let door = door(stand, |_| {}).await;
        for path in ["/api/v1/ws", "/rpc/websocket"] {
            let url = format!("wss://{}{path}", door.address());
            let opening = connect_async_tls_with_config(&url, None, false, Some(Connector::Rustls(config(&[]))));
            let (mut socket, _) = timeout(PATIENCE, opening).await.expect("in time").expect("opened");
            for message in [Message::text("hello"), Message::binary(vec![7; FRAME])] {
                socket.send(message.clone()).await.expect("sent");
                let heard = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a message").expect("no error");
                assert_eq!(heard, message, "{stand:?} {path}");
            }
            socket.send(Message::text("who")).await.expect("sent");
            let heard = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a message").expect("no error");
            assert_eq!(heard, Message::text("127.0.0.1"), "{stand:?}: the upstream knows the client");
        }
    }
}

#[tokio::test]
async fn http_1_1_over_1_3_is_what_is_agreed_on() {
    let door = door(Stand::InProcess, |_| {}).await;
    for (offers, agreed) in [(&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let stream = shake(&door, offers).await.expect("shaken");
        let session = stream.get_ref().1;
        assert_eq!((session.protocol_version(), session.alpn_protocol()), (Some(ProtocolVersion::TLSv1_3), agreed), "{offers:?}");
    }
    shake(&door, &["h2"]).await.expect_err("it speaks no HTTP/2");
}

#[tokio::test]
async fn what_is_not_tls_1_3_is_refused() {
    let door = door(Stand::InProcess, |_| {}).await;
    let plain = door.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(!plain.contains("HTTP"), "plain HTTP: {plain:?}");
    assert!(!door.raw(b"\x16\x03\x01\xff\xff").await.contains("HTTP"), "a record that is too long");
    let socket = timeout(PATIENCE, connect_async(format!("ws://{}/api/v1/ws", door.address()))).await.expect("in time");
    assert!(socket.is_err(), "a plain WebSocket");

    let old = client().max_tls_version(Version::TLS_1_2).build().expect("a client");
    let error = old.get(format!("{}/health", door.url)).send().await.expect_err("TLS 1.2");
    assert!(reason(&error).contains("ProtocolVersion"), "{error:?}");
    let stranger = reqwest::Client::builder().no_proxy().build().expect("a client");
    let error = stranger.get(format!("{}/health", door.url)).send().await.expect_err("who does not believe the certificate");
    assert!(reason(&error).contains("certificate"), "{error:?}");

    assert_eq!(door.json("/health").await.0, 200, "and nobody else was disturbed");
}

#[tokio::test]
async fn who_only_connects_holds_a_place_and_not_for_long() {
    let silent = async |door: &Door| TcpStream::connect(door.address()).await.expect("connected");
    let end = async |stream: &mut TcpStream| timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("in time");

    let one = door(Stand::InProcess, |settings| settings.limits.connections_per_address = 1).await;
    let first = silent(&one).await;
    let mut second = silent(&one).await;
    assert!(end(&mut second).await.is_ok_and(|read| read == 0), "a second is closed: the first counts before its handshake");
    drop(first);
    let mut answered = false;
    for _ in 0..500 {
        answered = one.get("/health").send().await.is_ok();
        if answered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(answered, "and frees its place when it goes");

    let short = door(Stand::InProcess, |settings| settings.limits.header_ms = 300).await;
    let mut stream = silent(&short).await;
    // The beginning of a greeting that never ends.
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("sent");
    assert!(end(&mut stream).await.is_ok_and(|read| read == 0), "a handshake has the time of headers");
    let mut stream = shake(&short, &[]).await.expect("shaken");
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("in time");
    // hyper hangs up without a goodbye, which TLS calls an error.
    assert!(!read.is_ok_and(|read| read > 0), "and headers theirs after it");
}

#[tokio::test]
async fn who_takes_nothing_is_gone() {
    let door = door(Stand::InProcess, |settings| settings.limits.silence_ms = 300).await;
    let mut stream = shake(&door, &[]).await.expect("shaken");
    stream.write_all(b"GET /api/v1/flood HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    stream.flush().await.expect("sent");
    let mut open = String::new();
    for _ in 0..500 {
        open = door.metrics().await;
        if open.contains("zynk_gateway_connections 1\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(open.contains("zynk_gateway_connections 1\n"), "only who asks is left: {open}");
    drop(stream);
}

#[tokio::test]
async fn a_gateway_that_stops_ends_handshakes() {
    let door = door(Stand::InProcess, |_| {}).await;
    let mut stream = TcpStream::connect(door.address()).await.expect("connected");
    assert_eq!(door.json("/health").await.0, 200, "it was taken before this");
    door.stop.send_replace(true);
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("in time");
    assert!(read.is_ok_and(|read| read == 0), "closed");
}
