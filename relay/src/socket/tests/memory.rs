//! What an idle connection costs the relay. A measurement rather than a test: run it by name.
#![cfg(debug_assertions)]

use std::sync::Arc;

use futures::StreamExt as _;
use mailbox::frame::Open;
use mailbox::wire::Encoding;
use mailbox::{Address, ClientFrame};

use super::crashes::{AUDIENCE, start, tokens};
use super::device::Device;
use crate::auth::Auth;
use crate::messages::now;

/// What is allowed for each, in bytes.
const GOAL: u64 = 8 << 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: needs twice as many file descriptors as connections"]
async fn an_idle_connection_is_small() {
    let count: u64 = std::env::var("ZYNK_CONNECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let home = tempfile::tempdir().expect("a folder");
    let (mut child, at, _said) = start(home.path(), None);
    let auth = Auth::new(&tokens(), AUDIENCE, Arc::new(now));
    let connect = |number: u64| {
        let mut did = [1; 32];
        did[..8].copy_from_slice(&number.to_be_bytes());
        let token = auth.issue(Address { did: identity::Did(did), device: 1 }, [7; 16]);
        async move {
            let mut device = Device::to(at, Encoding::Cbor).await.expect("it connects");
            device.say(&ClientFrame::Open(Open { token, acknowledged: 0 })).await;
            // Opened, the mailbox is empty, prekeys are few.
            for _ in 0..3 {
                device.hear().await;
            }
            device
        }
    };
    let resident = |pid: u32| {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it is read");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4_096
    };
    // What the first ones bring along counts for none.
    let _first: Vec<_> = futures::stream::iter(0..100).map(connect).buffer_unordered(20).collect().await;
    let before = resident(child.id());
    let all: Vec<_> = futures::stream::iter(100..100 + count).map(connect).buffer_unordered(50).collect().await;
    let each = (resident(child.id()) - before) / count;
    assert_eq!(all.len() as u64, count);
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert!(each <= GOAL, "{each} bytes for each of {count}");
    #[allow(clippy::print_stdout, reason = "it is a measurement")]
    {
        println!("{each} bytes for each of {count} idle connections");
    }
}
