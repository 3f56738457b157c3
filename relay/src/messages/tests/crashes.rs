//! The process dies at each durable step, comes back, and goes on: a child of this test binary is
//! a small relay with three senders, a device that fetches, and an outbox.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit::verify_path;
use mailbox::Address;
use mailbox::frame::{Acknowledge, Kind};
use mailbox::history::{self, Event};
use rpc::relay::LeafProof;
use tokio::sync::watch;
use types::Hash;

use super::fixture::{BOB, address, devices, id, message, open};
use crate::anchoring::Outbox;
use crate::anchoring::tests::double::{Double, Fault, log_file};
use crate::fault::POINTS;
use crate::messages::store::Store;
use crate::messages::{Bell, Messages, now};

/// Names the folder of the child's relay; without it the child does nothing.
const HOME: &str = "ZYNK_CRASH_TEST_HOME";

/// How many messages each sender sends in one life.
const MESSAGES: u64 = 8;

const SENDERS: [Address; 3] = [address(11, 1), address(12, 1), address(13, 1)];

/// What the people have recorded, in a file that survives the process.
struct Record {
    file: Mutex<File>,
    before: Vec<Event>,
}

impl Record {
    fn open(home: &Path) -> Self {
        let before = events(home);
        let file = OpenOptions::new().append(true).create(true).open(home.join("events")).expect("it opens");
        Self { file: Mutex::new(file), before }
    }

    fn note(&self, event: &Event) {
        let mut line = serde_json::to_string(event).expect("it serialises");
        line.push('\n');
        // One call, so that a line is there or is not.
        self.file.lock().expect("no test panics here").write_all(line.as_bytes()).expect("it is written");
    }
}

fn events(home: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(home.join("events")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("what was written")).collect()
}

/// What of a sender's messages has no answer: it is sent again first.
fn unanswered(before: &[Event], sender: Address) -> (Vec<u64>, u64) {
    let number = |message: &uuid::Uuid| u64::from_be_bytes(message.as_bytes()[8..].try_into().expect("8 bytes")) & 0xff_ffff;
    let mut open = Vec::new();
    let mut next = 0;
    for event in before {
        match event {
            Event::Sent { by, message, .. } if *by == sender && !open.contains(&number(message)) => {
                open.push(number(message));
                next = next.max(number(message) + 1);
            }
            Event::Accepted { by, message } if *by == sender => open.retain(|open| *open != number(message)),
            _ => {}
        }
    }
    (open, next)
}

/// Sends what was not answered, then something new.
async fn sender(messages: Messages, record: Arc<Record>, from: Address, new: u64) {
    let (unanswered, next) = unanswered(&record.before, from);
    for number in unanswered.into_iter().chain(next..next + new) {
        let sent = message(number, &[BOB], 60);
        record.note(&Event::Sent { by: from, message: sent.message_id, conversation: sent.conversation_id, to: vec![BOB] });
        let stored = messages.submit(from, Kind::Message, sent, Some(&devices([1])), &devices([1])).await.expect("it is stored");
        record.note(&Event::Accepted { by: from, message: stored.message_id });
    }
}

/// Bob's device: goes on above what it has acknowledged, until it is told to stop and has all.
async fn device(messages: Messages, record: Arc<Record>, mut stop: watch::Receiver<bool>) {
    let acknowledged = record.before.iter().filter_map(|event| match event {
        Event::Acknowledged { upto, .. } => Some(*upto),
        _ => None,
    });
    let acknowledged = acknowledged.max().unwrap_or_default();
    let bell = Arc::new(Bell::default());
    let _watch = messages.watch(BOB, bell.clone());
    record.note(&Event::Opened { by: BOB, acknowledged });
    let mut after = messages.resume(BOB, acknowledged).await.expect("it is written").expect("the mailbox knows what it gave");
    loop {
        let page = messages.read(BOB, after, 5, 10_000).await.expect("it is read");
        for item in &page.items {
            let (from, message) = (Address { did: item.sender_id, device: item.sender_device_id }, item.message_id);
            record.note(&Event::Received { by: BOB, sequence: item.sequence, message, conversation: item.conversation_id, from });
            after = item.sequence;
        }
        if !page.items.is_empty() {
            record.note(&Event::Acknowledged { by: BOB, upto: after, also: Vec::new() });
            messages.acknowledge(BOB, Acknowledge { upto: after, also: Vec::new() }).await;
            continue;
        }
        record.note(&Event::Drained { by: BOB });
        if *stop.borrow() {
            return;
        }
        tokio::select! {
            _ = bell.heard() => {}
            _ = stop.changed() => {}
        }
    }
}

/// One life of the relay. Run by the tests below, in a process of its own.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(live(&home, MESSAGES));
}

async fn live(home: &Path, new: u64) {
    let messages = Messages::over(Arc::new(open(&home.join("messages"))), now);
    let record = Arc::new(Record::open(home));
    let stop = watch::Sender::new(false);
    let faults = [Fault::None, Fault::LostAnswer, Fault::None, Fault::Unreachable];
    let outbox = Outbox::new(messages.clone(), Double::in_file(home.join("chain"), faults), log_file());
    let outbox = tokio::spawn(outbox.run(Duration::from_millis(3), stop.subscribe()));
    let device = tokio::spawn(device(messages.clone(), record.clone(), stop.subscribe()));
    let sweeps = async {
        for _ in 0..4 {
            messages.sweep().await.expect("it is written")
        }
    };
    let sending = SENDERS.map(|from| tokio::spawn(sender(messages.clone(), record.clone(), from, new)));
    sweeps.await;
    for sending in sending {
        sending.await.expect("no sender panics");
    }
    // Until the chain has every leaf: the batches that are sealed once none waits.
    let mut last = None;
    loop {
        let log = messages.blocking(Store::log).await.expect("it is read");
        if log.waiting() == 0 && log.anchored >= *last.get_or_insert(log.sealed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A few more rounds of the outbox, so that each of its steps has come three times.
    tokio::time::sleep(Duration::from_millis(150)).await;
    stop.send_replace(true);
    device.await.expect("the device does not panic");
    outbox.await.expect("the outbox does not panic").expect("the outbox does not give up");
    messages.stop().await;
}

/// Everything that must hold of a home, after a last life without a fault.
async fn assert_whole(home: &Path, story: &str) {
    live(home, 0).await;
    let events = events(home);
    assert_eq!(history::check(&events), [], "{story}");
    let messages = Messages::over(Arc::new(open(&home.join("messages"))), now);
    let mut leaves = 0;
    for from in SENDERS {
        let (open, next) = unanswered(&events, from);
        assert_eq!(open, Vec::<u64>::new(), "{story}: everything was answered in the end");
        for number in 0..next {
            let sent = message(number, &[BOB], 60);
            let commitment = sent.content_hash.expect("a message has one");
            // The answer is given again, with what opens the leaf.
            let answer = messages.submit(from, Kind::Message, sent, Some(&devices([1])), &devices([1])).await.expect("it is stored");
            assert_eq!(answer.message_id, id(number));
            let seen = answer.envelope.expect("a message has one");
            let envelope = audit::Envelope { ciphertext: seen.ciphertext, received: seen.received, size_class: seen.size_class };
            let leaf = audit::leaf::leaf(&commitment, &envelope.seal(&seen.salt.0));
            assert_anchored(&messages, leaf, story).await;
            leaves += 1;
        }
    }
    let log = messages.blocking(Store::log).await.expect("it is read");
    assert_eq!((log.leaves, log.sealed_leaves), (leaves, leaves), "{story}: one leaf for each message");
    let chain = Double::in_file(home.join("chain"), []);
    let anchors = chain.anchors();
    // The last life may have ended between a step of its last batch and the next.
    assert!((log.anchored..=log.sealed).contains(&(anchors.len() as u64)), "{story}: {} anchors, {log:?}", anchors.len());
    assert_eq!(chain.refused(), Vec::<String>::new(), "{story}");
    assert!(anchors.len() as u64 != log.sealed || anchors.last().map(|last| last.anchor.hash()) == Some(log.last), "{story}");
    messages.stop().await;
}

async fn assert_anchored(messages: &Messages, leaf: Hash, story: &str) {
    let proof = messages.proof(leaf).await.expect("it is read");
    let Some(LeafProof::Anchored { anchor, index, path }) = proof else { panic!("{story}: {leaf} is {proof:?}") };
    verify_path(&leaf, index, anchor.anchor.count, &path, &anchor.anchor.root).expect("the path leads to the root");
}

/// One life that ends at a crash point. Whether it did.
fn dies_at(home: &Path, point: &str, hits: u32) -> bool {
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "messages::tests::crashes::child", "--nocapture", "--test-threads", "1"])
        .env(HOME, home)
        .env("ZYNK_FAULT", format!("{point}:{hits}"))
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&child.stderr);
    !child.status.success() && said.contains(&format!("crash point {point} reached {hits} times"))
}

#[test]
#[cfg(debug_assertions)]
fn a_crash_at_any_durable_step_loses_and_repeats_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // Delivery is the socket's: it has a test of its own.
    for point in POINTS.into_iter().filter(|point| !point.starts_with("deliver")) {
        // All crashes at one point over one home, then what is left must be whole.
        let home = tempfile::tempdir().expect("a folder");
        for hits in [1, 3] {
            assert!(dies_at(home.path(), point, hits), "{point} was not reached {hits} times");
        }
        runtime.block_on(assert_whole(home.path(), point));
    }
}

#[test]
#[cfg(debug_assertions)]
fn crash_after_crash_over_one_home() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let home = tempfile::tempdir().expect("a folder");
    for point in POINTS.into_iter().rev().filter(|point| !point.starts_with("deliver")) {
        assert!(dies_at(home.path(), point, 2), "{point} was not reached twice");
    }
    runtime.block_on(assert_whole(home.path(), "one after the other"));
}
