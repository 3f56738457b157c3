//! The relay is killed between its durable steps, while Alice and Bob write to each other.

use std::time::{Duration, Instant};

use ::client::{Client, Event, Passphrase};
use ::devnet::{Running, Service};
use ::mailbox::frame::Kind;
use identity::Did;
use serde_json::json;
use uuid::Uuid;

use super::people::{PASSPHRASE, People};
use super::stage::Stage;
use crate::failure::Failure;

/// How long the relay may take to reach the place where it dies, and messages to arrive at the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The places that a message on its way meets. In release builds, where there are none, the relay is
/// killed by a signal as often, at moments that are not chosen.
const PLACES: [&str; 13] = [
    "accept.before",
    "commit.before",
    "commit.after",
    "answer.after",
    "deliver.before",
    "deliver.after",
    "acknowledge.before",
    "acknowledge.after",
    "seal.before",
    "seal.after",
    "submit.before",
    "submit.after",
    "complete.after",
];

pub(super) async fn play(stage: &mut Stage, running: &mut Running, people: &People) -> Result<(), Failure> {
    let passphrase = Passphrase::new(PASSPHRASE)?;
    let alice = Client::open(&stage.file("alice"), &passphrase).await?;
    let bob = Client::open(&stage.file("bob"), &passphrase).await?;
    let to: Did = people.bob.parse().map_err(|source| Failure::Argument { what: "bob", source })?;
    let (sending, mut receiving) = (alice.listen().await?, bob.listen().await?);
    let mut sent = Vec::new();
    for (number, place) in PLACES.iter().enumerate() {
        running.kill_service(Service::Relay).map_err(Failure::Run)?;
        running.start_service(Service::Relay, &[("ZYNK_FAULT", &format!("{place}:1"))]).map_err(Failure::Run)?;
        sent.push(alice.send(&to, &format!("message {number}")).await?);
        if cfg!(debug_assertions) {
            fall(running, place).await?;
        } else {
            tokio::time::sleep(Duration::from_millis(97 * number as u64)).await;
        }
    }
    // The last one lives.
    running.kill_service(Service::Relay).map_err(Failure::Run)?;
    running.start_service(Service::Relay, &[]).map_err(Failure::Run)?;
    running.wait_for_service(Service::Relay, PATIENCE).await.map_err(Failure::Run)?;
    settled(&alice, &sent).await?;
    sending.stop().await;

    let got = arrived(&mut receiving, &bob, &alice).await?;
    receiving.stop().await;
    stage.hold("every message arrived once, in order", got == sent)?;
    let mut anchors = Vec::new();
    for id in &sent {
        anchors.push(alice.proof(id, PATIENCE).await?.anchor.anchor.sequence);
    }
    alice.close().await;
    bob.close().await;
    stage.step(
        &format!(
            "the relay is killed at {} places between its durable steps: {} messages arrived once, in order, each proven by one anchor",
            PLACES.len(),
            sent.len()
        ),
        json!({"places": PLACES, "messages": sent.len(), "anchors": anchors}),
    );
    Ok(())
}

/// Waits until the relay has died where it was told to.
async fn fall(running: &mut Running, place: &str) -> Result<(), Failure> {
    let began = Instant::now();
    while !running.has_fallen(Service::Relay) {
        if began.elapsed() > PATIENCE {
            return Err(Failure::Demo(format!("the relay reaches {place}")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until Bob's device has said of every message that it has it.
async fn settled(alice: &Client, sent: &[Uuid]) -> Result<(), Failure> {
    let began = Instant::now();
    for id in sent {
        while !alice.message(id).await?.has_receipt(Kind::Delivered) {
            if began.elapsed() > PATIENCE {
                return Err(Failure::Demo("every message is delivered once the relay is back".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// What Bob's device told of, in the order in which it came.
async fn arrived(receiving: &mut ::client::Connection, bob: &Client, alice: &Client) -> Result<Vec<Uuid>, Failure> {
    let from = alice.address().await?.did;
    let mut got = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), receiving.next()).await {
        if let Event::Message { message } = event
            && message.peer == from
            && message.text.starts_with("message ")
        {
            got.push(message.message_id);
        }
    }
    // What it told is what it has.
    let kept = bob.history(Some(&from), 1_000).await?;
    let kept = kept.iter().filter(|message| message.text.starts_with("message ")).count();
    if kept == got.len() { Ok(got) } else { Err(Failure::Demo(format!("bob's device told of {} messages and has {kept}", got.len()))) }
}
