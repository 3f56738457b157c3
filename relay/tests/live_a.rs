//! Temporary: a relay against a real chain.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]
use std::path::Path;
use std::time::{Duration, Instant};

use genesis::{Genesis, KeyFile, KeyKind, Keyring};
use ledger::Body;
use relay::config::{Config, Home, Limits, Sponsor};
use rpc::relay::*;
use rpc::{Chain, FeePayer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use types::{Encode, Height};

const AT: &str = "127.0.0.1:46990";

async fn ask(method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let mut stream = tokio::net::TcpStream::connect(AT).await.unwrap();
    let body = body.to_string();
    let auth = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let json = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(json).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn live() {
    let net = Path::new("/tmp/netA");
    let folder = tempfile::TempDir::new().unwrap();
    let home = Home::new(folder.path());
    std::fs::copy(net.join("genesis.json"), home.genesis()).unwrap();
    let faucet = KeyFile::load(&net.join("faucet.key"), KeyKind::Account).unwrap().key().clone();
    let account = KeyFile::generate(KeyKind::Account);
    account.create(&home.account_key()).unwrap();
    let node = "http://127.0.0.1:46657";
    let mut chain = Chain::connect(node, Genesis::load(&home.genesis()).unwrap().trust()).unwrap();
    let config = Config {
        listen: AT.parse().unwrap(),
        node: node.to_owned(),
        registration: Registration::Open,
        anchor_interval_ms: 500,
        sponsor: Sponsor::default(),
        limits: Limits::default(),
    };
    config.save(&home.config()).unwrap();
    let (_s, stopped) = tokio::sync::watch::channel(false);
    let poor = relay::run(home.clone(), stopped).await.unwrap_err();
    eprintln!("poor: {} {poor}", poor.code());
    let balance = chain.account(&faucet.public().address()).await.unwrap().value.balance;
    eprintln!("faucet {balance}");
    let amount = types::Amount(balance.0 / 100);
    chain
        .submit(&faucet, FeePayer::Author, Body::Transfer { to: account.public().address(), amount, memo: "".try_into().unwrap() })
        .await
        .unwrap();
    for round in 0..2 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let begun = Instant::now();
        let running = tokio::spawn(relay::run(home.clone(), stopped));
        let relay: Relay = loop {
            if tokio::net::TcpStream::connect(AT).await.is_ok() {
                break serde_json::from_value(ask("GET", path::RELAY, None, &Value::Null).await.1).unwrap();
            }
            assert!(!running.is_finished(), "{:?}", running.await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        eprintln!("round {round}: up after {:?} {relay:?}", begun.elapsed());
        let valid = Height(chain.latest().await.unwrap().height().0 + 1_000);
        // several at once
        let begun = Instant::now();
        let mut people = Vec::new();
        for _ in 0..5 {
            let (ring, create) = Keyring::generate(&relay.chain, valid);
            let body =
                serde_json::to_value(Register { did: ring.did, operation: Some(mailbox::Bytes(create.to_bytes())), invitation: None })
                    .unwrap();
            people.push((ring, tokio::spawn(async move { ask("POST", path::REGISTER, None, &body).await })));
        }
        let mut rings = Vec::new();
        for (ring, asked) in people {
            let (status, json) = asked.await.unwrap();
            eprintln!("registered {status} {json} after {:?}", begun.elapsed());
            assert_eq!(status, 200);
            rings.push(ring);
        }
        let mut ring = rings.pop().unwrap();
        // a second device, elsewhere than through the relay
        let entry = chain.identity(&ring.did).await.unwrap().value.unwrap();
        let device = ring.begin_device();
        let add = ring.addition(&entry, &device, valid);
        chain.submit(&faucet, FeePayer::Author, Body::Identity(Box::new(add))).await.unwrap();
        let entry = chain.identity(&ring.did).await.unwrap().value.unwrap();
        ring.settle(&entry).unwrap();
        let ask2 = Ask { did: ring.did, device: 2 };
        let challenge: Challenge =
            serde_json::from_value(ask("POST", path::CHALLENGE, None, &serde_json::to_value(&ask2).unwrap()).await.1).unwrap();
        let key = ring.devices().iter().find(|d| d.id == Some(2)).unwrap().key().clone();
        let answer = SignIn::answer(&relay, &ask2, &challenge, &key);
        let (status, json) = ask("POST", path::SIGN_IN, None, &serde_json::to_value(&answer).unwrap()).await;
        assert_eq!(status, 200, "{json}");
        let tokens: Tokens = serde_json::from_value(json).unwrap();
        assert_eq!(ask("GET", path::SESSIONS, Some(&tokens.access_token), &Value::Null).await.0, 200);
        let remove = ring.removal(&entry, 2, valid);
        let included = chain.submit(&faucet, FeePayer::Author, Body::Identity(Box::new(remove))).await.unwrap();
        let begun = Instant::now();
        loop {
            let (status, json) = ask("GET", path::SESSIONS, Some(&tokens.access_token), &Value::Null).await;
            if status != 200 {
                eprintln!("removed at {:?}: {json} after {:?}", included, begun.elapsed());
                assert_eq!(json["code"], 7014);
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "still signed in");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let record = chain.log(&relay.log).await.unwrap().value.unwrap();
        eprintln!("log {record:?}");
        assert!(record.sequence > 0);
        let begun = Instant::now();
        stop.send_replace(true);
        running.await.unwrap().unwrap();
        eprintln!("stopped after {:?}", begun.elapsed());
    }
}
