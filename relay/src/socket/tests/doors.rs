//! Who comes in, and who is shown out.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use mailbox::ClientFrame;
use mailbox::ServerFrame;
use mailbox::frame::{MAX_FRAME, Open};
use mailbox::wire::{Encoding, SUBPROTOCOL_CBOR, SUBPROTOCOL_JSON};
use rpc::relay::path;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::device::World;
use crate::accounts::tests::{Person, prekeys};

#[tokio::test(flavor = "multi_thread")]
async fn the_subprotocol_decides_the_encoding() {
    let world = World::new().await;
    for offered in [None, Some("chat"), Some("zynk.v2+json")] {
        let Err(Error::Http(response)) = world.try_connect(offered).await else { panic!("{offered:?} is taken") };
        assert_eq!(response.status(), 400, "{offered:?}");
    }
    for offered in [SUBPROTOCOL_JSON, SUBPROTOCOL_CBOR] {
        world.try_connect(Some(offered)).await.expect(offered);
    }
    world.try_connect(Some(&format!("{SUBPROTOCOL_JSON}, {SUBPROTOCOL_CBOR}"))).await.expect("either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_opens_nothing() {
    let world = World::new().await;
    let member = world.member().await;
    let open = |token: &str| ClientFrame::Open(Open { token: token.to_owned(), acknowledged: 0 });
    let forged = {
        let mut parts: Vec<_> = member.token.split('.').map(str::to_owned).collect();
        parts[1] = world.member().await.token.split('.').nth(1).expect("three parts").to_owned();
        parts.join(".")
    };
    let ended = world.door.signed_in(&member.person, 1).await.access_token;
    assert_eq!(world.door.post(path::SIGN_OUT, Some(&ended), &json!({})).await.status, 204);
    for encoding in [Encoding::Json, Encoding::Cbor] {
        for (story, token, code) in [
            ("none", "", 7012),
            ("nonsense", "a.b.c", 7012),
            ("another's claims", forged.as_str(), 7012),
            ("signed out", ended.as_str(), 7014),
        ] {
            let mut device = world.connect(encoding).await;
            device.say(&open(token)).await;
            assert_eq!(device.closed().await, (code, Some(4401)), "{story}");
        }
    }
    world.door.pass(601_000);
    let mut device = world.connect(Encoding::Json).await;
    device.say(&open(&member.token)).await;
    assert_eq!(device.closed().await, (7013, Some(4401)), "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_ends_the_connection() {
    let world = World::new().await;
    let member = world.member().await;
    let stories: [(&str, Message, u32); 6] = [
        ("text that is no JSON", Message::text("{"), 2102),
        ("a type that nobody knows", Message::text(r#"{"type":"x","payload":{}}"#), 2103),
        ("a field that nobody knows", Message::text(r#"{"type":"message.acknowledge","payload":{"upto":1,"x":1}}"#), 2103),
        ("bytes where text is spoken", Message::binary(vec![0xa0]), 2107),
        ("a second opening", Message::text(r#"{"type":"session.open","payload":{"token":"","acknowledged":0}}"#), 2202),
        ("numbers that do not ascend", Message::text(r#"{"type":"message.acknowledge","payload":{"upto":5,"also":[4]}}"#), 2106),
    ];
    for (story, message, code) in stories {
        let (mut device, _) = world.open(&member, Encoding::Json, 0).await;
        device.socket.send(message).await.expect("it is sent");
        assert_eq!(device.closed().await, (code, Some(4400)), "{story}");
    }
    let mut device = world.connect(Encoding::Cbor).await;
    device.acknowledge(1).await;
    assert_eq!(device.closed().await, (2201, Some(4400)), "another frame before the opening");
    let mut device = world.connect(Encoding::Cbor).await;
    // The relay may close before all of it was sent.
    let _ = device.socket.send(Message::binary(vec![0; MAX_FRAME + 1])).await;
    let (_, close) = device.closed().await;
    assert!(matches!(close, None | Some(4400)), "a frame that is too long: {close:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_session_of_a_device_wins() {
    let world = World::new().await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut old, _) = world.open(&bob, Encoding::Json, 0).await;
    let (mut new, _) = world.open(&bob, Encoding::Cbor, 0).await;
    assert_eq!(old.closed().await, (2204, Some(4409)));
    let (mut from, _) = world.open(&alice, Encoding::Json, 0).await;
    from.send(bob.message(1)).await;
    assert_eq!(new.received(1).await.len(), 1, "and hears what comes after");
    assert_eq!(world.door.app.messages.connected(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_ends_its_connection_within_a_second() {
    let world = World::new().await;
    let member = world.member().await;
    let (mut device, _) = world.open(&member, Encoding::Json, 0).await;
    let began = Instant::now();
    assert_eq!(world.door.post(path::SIGN_OUT, Some(&member.token), &json!({})).await.status, 204);
    assert_eq!(device.closed().await, (7014, Some(4401)));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_shown_out() {
    let world = World::new().await;
    let mut device = world.connect(Encoding::Json).await;
    let time_goes_by = async {
        // The connection's own time begins some moment after it was made.
        loop {
            world.door.pass(1_000);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = time_goes_by => {}
        closed = device.closed() => assert_eq!(closed, (2203, Some(4408))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_few_prekeys_is_told() {
    let world = World::new().await;
    let person: Person = world.door.registered().await;
    let token = world.door.signed_in(&person, 1).await.access_token;
    let member = super::device::Member { person, token };
    let told = async || {
        let (mut device, _) = world.open(&member, Encoding::Json, 0).await;
        for _ in 0..2 {
            if let ServerFrame::PrekeysLow(low) = device.hear().await {
                return Some((low.one_time, low.one_time_kyber));
            }
        }
        None
    };
    assert_eq!(told().await, Some((0, 0)), "none were published");
    let publish = async |first, count| {
        let keys = prekeys(&member.person, 1, 5, first, count);
        world.door.app.accounts.publish(&member.address(), &keys, world.door.app.now()).await.expect("they are published");
    };
    publish(1, 19).await;
    assert_eq!(told().await, Some((19, 19)));
    publish(20, 100).await;
    let (mut device, _) = world.open(&member, Encoding::Json, 0).await;
    assert!(device.is_empty().await);
    assert!(tokio::time::timeout(Duration::from_millis(200), device.listen()).await.is_err(), "there are enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_says_so_and_answers_what_it_took() {
    let world = World::new().await;
    let messages = world.door.app.messages.clone();
    let (world, stop) = world.over(messages).await;
    let (alice, bob) = (world.member().await, world.member().await);
    let (mut from, _) = world.open(&alice, Encoding::Cbor, 0).await;
    assert!(from.is_empty().await);
    for number in 0..20 {
        from.say(&ClientFrame::Send(bob.message(number))).await;
    }
    from.accepted(1).await;
    stop.send_replace(true);
    let mut last = from.listen().await;
    while last.is_ok() {
        last = from.listen().await;
    }
    assert_eq!(last, Err(Some(1001)));
    let Err(Error::Http(response)) = world.try_connect(Some(SUBPROTOCOL_JSON)).await else { panic!("it takes connections") };
    assert_eq!(response.status(), 503);
}
