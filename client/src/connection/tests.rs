//! Devices over a real line, against a desk that stands in the relay's place: it keeps the mailbox's rules, and
//! does what a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use identity::Did;
use mailbox::frame::{AcceptedItem, Empty, Kind, Opened, Received, Refusal, Refused, SeenEnvelope, SlowDown};
use mailbox::intake::{self, Devices};
use mailbox::{Address, Submission};
use rpc::relay::{
    Ask, Challenge, OneTimePrekey, PrekeyBundle, PrekeyBundles, PrekeyStock, PublishPrekeys, Registration, Relay, SignIn, SignedPrekey,
    Tokens,
};
use types::{Hash, PublicKey};

use super::*;
use crate::fixture::{Person, chain};
use crate::flow::{Phone, settings_for};

/// What the desk knows and has been told.
#[derive(Default)]
struct Desk {
    keys: BTreeMap<Address, PublicKey>,
    prekeys: BTreeMap<Address, PublishPrekeys>,
    mail: BTreeMap<Address, Vec<Delivery>>,
    acknowledged: BTreeMap<Address, u64>,
    stored: BTreeMap<Uuid, SeenEnvelope>,
    sessions: usize,
    /// What the next submissions are answered with, before the rules are asked.
    script: VecDeque<Act>,
    /// Hands out somebody's identity key as everybody else's.
    lies: bool,
}

/// What the desk does with a submission.
enum Act {
    Refuse(Refusal),
    /// Stores it and hangs up without a word.
    HangUp,
    SlowDown,
}

type Desks = Arc<Mutex<Desk>>;

fn lock(desk: &Desks) -> std::sync::MutexGuard<'_, Desk> {
    desk.lock().expect("no test panics while it holds the desk")
}

async fn open_desk(people: &[&Person]) -> (Desks, String) {
    let mut desk = Desk::default();
    for person in people {
        desk.keys.extend(person.devices.iter().map(|(id, device)| (person.address(*id), device.key.public())));
    }
    let desk = Arc::new(Mutex::new(desk));
    let router = Router::new()
        .route("/api/v1/relay", get(async || Json(page())))
        .route("/api/v1/auth/challenge", post(async |Json(_): Json<Ask>| Json(Challenge { nonce: Hash([5; 32]), expires: now() })))
        .route("/api/v1/auth/session", post(sign_in))
        .route("/api/v1/auth/sign-out", post(async || ()))
        .route("/api/v1/prekeys", get(stock).put(publish))
        .route("/api/v1/prekeys/{did}", get(bundles))
        .route("/api/v1/ws", any(socket))
        .with_state(desk.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (desk, url)
}

fn page() -> Relay {
    Relay {
        chain: chain(),
        log: audit::LogId(Hash([6; 32])),
        audience: "desk".to_owned(),
        registration: Registration::Open,
        anchor_interval_ms: 1000,
        time: now(),
        version: "0".to_owned(),
    }
}

async fn sign_in(Shared(desk): Shared<Desks>, Json(answer): Json<SignIn>) -> Json<Tokens> {
    let address = Address { did: answer.did, device: answer.device };
    assert!(answer.is_signed_by(&chain(), "desk", &lock(&desk).keys[&address]), "the device signs in with its key");
    let access_token = format!("{}/{}", answer.did, answer.device);
    Json(Tokens { access_token, refresh_token: "next".to_owned(), expires_in_s: 600 })
}

fn who(token: &str) -> Address {
    let (did, device) = token.trim_start_matches("Bearer ").split_once('/').expect("a token of the desk's");
    Address { did: did.parse().expect("an identifier"), device: device.parse().expect("a device") }
}

fn of(headers: &HeaderMap) -> Address {
    who(headers["authorization"].to_str().expect("text"))
}

async fn publish(Shared(desk): Shared<Desks>, headers: HeaderMap, Json(prekeys): Json<PublishPrekeys>) -> Json<PrekeyStock> {
    let stock = stock_of(&prekeys);
    lock(&desk).prekeys.insert(of(&headers), prekeys);
    Json(stock)
}

async fn stock(Shared(desk): Shared<Desks>, headers: HeaderMap) -> Json<PrekeyStock> {
    Json(stock_of(&lock(&desk).prekeys[&of(&headers)]))
}

fn stock_of(prekeys: &PublishPrekeys) -> PrekeyStock {
    let count = |keys: usize| u32::try_from(keys).expect("few");
    PrekeyStock { one_time: count(prekeys.one_time.len()), one_time_kyber: count(prekeys.one_time_kyber.len()) }
}

async fn bundles(Shared(desk): Shared<Desks>, Path(did): Path<Did>) -> Json<PrekeyBundles> {
    let mut desk = lock(&desk);
    let lie = desk.lies.then(|| desk.prekeys.iter().find(|(address, _)| address.did != did).expect("somebody else").1.identity_key);
    let of_person = desk.prekeys.iter_mut().filter(|(address, _)| address.did == did);
    let devices = of_person.map(|(address, published)| {
        let kyber: SignedPrekey = published.one_time_kyber.pop().unwrap_or_else(|| published.last_resort_kyber.clone());
        let one_time: Option<OneTimePrekey> = published.one_time.pop();
        PrekeyBundle {
            device: address.device,
            registration_id: published.registration_id,
            identity_key: lie.unwrap_or(published.identity_key),
            possession: published.possession.clone(),
            succession: published.succession.clone(),
            signed_prekey: published.signed_prekey.clone(),
            kyber_prekey: kyber,
            one_time,
        }
    });
    Json(PrekeyBundles { did, devices: devices.collect() })
}

async fn socket(Shared(desk): Shared<Desks>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols([wire::SUBPROTOCOL_CBOR, wire::SUBPROTOCOL_JSON]).on_upgrade(async |socket| {
        let _ = serve(desk, socket).await;
    })
}

/// One session. Ends with `None` when the line does.
async fn serve(desk: Desks, mut socket: WebSocket) -> Option<()> {
    let encoding = Encoding::of_subprotocol(socket.protocol()?.to_str().ok()?)?;
    let ClientFrame::Open(open) = next(&mut socket, encoding).await? else { return None };
    let own = who(&open.token);
    let opened = Opened { address: own, time: now(), acknowledged: open.acknowledged, max_unacknowledged: 256, max_frame: 1 << 20 };
    say(&mut socket, encoding, ServerFrame::Opened(opened)).await?;
    lock(&desk).sessions += 1;
    let (mut told, mut empty) = (open.acknowledged, false);
    loop {
        let items: Vec<Delivery> = {
            let desk = lock(&desk);
            desk.mail.get(&own).into_iter().flatten().filter(|item| item.sequence > told).take(2).cloned().collect()
        };
        if let Some(last) = items.last() {
            (told, empty) = (last.sequence, false);
            say(&mut socket, encoding, ServerFrame::Received(Received { items })).await?;
        } else if !empty {
            empty = true;
            say(&mut socket, encoding, ServerFrame::Empty(Empty {})).await?;
        }
        let frame = match timeout(Duration::from_millis(10), next(&mut socket, encoding)).await {
            Ok(frame) => frame?,
            Err(_) => continue,
        };
        let (kind, submission) = match frame {
            ClientFrame::Send(submission) => (Kind::Message, submission),
            ClientFrame::Delivered(submission) => (Kind::Delivered, submission),
            ClientFrame::Read(submission) => (Kind::Read, submission),
            ClientFrame::Acknowledge(acknowledge) => {
                let mut desk = lock(&desk);
                assert!(acknowledge.upto <= told, "only what was given is acknowledged");
                desk.acknowledged.insert(own, acknowledge.upto);
                continue;
            }
            ClientFrame::Open(_) => panic!("a session is opened once"),
        };
        // Receipts come when they come.
        let act = if kind == Kind::Message { lock(&desk).script.pop_front() } else { None };
        let answer = match act {
            Some(Act::Refuse(refusal)) => ServerFrame::Refused(Refused { message_id: submission.message_id, refusal }),
            Some(Act::HangUp) => {
                store(&desk, &own, kind, &submission);
                return None;
            }
            Some(Act::SlowDown) => {
                say(&mut socket, encoding, ServerFrame::SlowDown(SlowDown { retry_after_ms: 20 })).await?;
                store(&desk, &own, kind, &submission)
            }
            None => store(&desk, &own, kind, &submission),
        };
        say(&mut socket, encoding, answer).await?;
    }
}

/// Holds a submission to the mailbox's rules, and puts it into the mailboxes once.
fn store(desk: &Desks, from: &Address, kind: Kind, submission: &Submission) -> ServerFrame {
    let mut desk = lock(desk);
    let devices = |did: &Did| {
        let of_person = desk.prekeys.iter().filter(|(address, _)| address.did == *did);
        Devices(of_person.map(|(address, prekeys)| (address.device, prekeys.registration_id)).collect())
    };
    if let Err(refusal) = intake::check(from, kind, submission, &devices(&submission.recipient_id), &devices(&from.did)) {
        return ServerFrame::Refused(Refused { message_id: submission.message_id, refusal });
    }
    let seen = SeenEnvelope {
        ciphertext: submission.ciphertext_hash(),
        received: now(),
        size_class: audit::SizeClass::of(submission.size()),
        salt: Hash([4; 32]),
    };
    let new = !desk.stored.contains_key(&submission.message_id);
    let seen = desk.stored.entry(submission.message_id).or_insert(seen).clone();
    if new {
        let sealed = (kind == Kind::Message).then_some(Hash([3; 32]));
        for (to, stored) in intake::deliveries(from, kind, submission, now(), sealed) {
            let mail = desk.mail.entry(to).or_default();
            let sequence = mail.len() as u64 + 1;
            mail.push(stored.delivery(sequence));
        }
    }
    let envelope = (kind == Kind::Message).then_some(seen);
    ServerFrame::Accepted(Accepted { items: vec![AcceptedItem { message_id: submission.message_id, envelope }] })
}

async fn next(socket: &mut WebSocket, encoding: Encoding) -> Option<ClientFrame> {
    loop {
        match socket.recv().await?.ok()? {
            Frame::Binary(bytes) => return Some(wire::decode_client(encoding, &bytes).expect("a frame of the protocol")),
            Frame::Text(text) => return Some(wire::decode_client(encoding, text.as_bytes()).expect("a frame of the protocol")),
            Frame::Close(_) => return None,
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
    }
}

async fn say(socket: &mut WebSocket, encoding: Encoding, frame: ServerFrame) -> Option<()> {
    let bytes = wire::encode(encoding, &frame);
    let message = match encoding {
        Encoding::Json => Frame::text(String::from_utf8(bytes).ok()?),
        Encoding::Cbor => Frame::binary(bytes),
    };
    socket.send(message).await.ok()
}

/// Two people at one desk.
struct Pair {
    desk: Desks,
    alice: Phone,
    bob: Phone,
}

async fn pair(encoding: Encoding) -> Pair {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (desk, url) = open_desk(&[&alice, &bob]).await;
    let settings = settings_for(&url, encoding);
    let everybody = [&alice, &bob];
    let (a, b) = (Phone::with(&alice, 1, &everybody, settings.clone()).await, Phone::with(&bob, 1, &everybody, settings).await);
    Pair { desk, alice: a, bob: b }
}

/// Waits for an event, at most ten seconds.
async fn until(connection: &mut Connection, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = timeout(Duration::from_secs(10), async {
        loop {
            let event = connection.next().await.expect("the connection stands");
            if wanted(&event) {
                return event;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

fn is_message(text: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Message { message } if message.text == text && message.integrity.as_deref() == Some("holds"))
}

fn is_receipt(id: Uuid, kind: Kind) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Receipt { message_id, kind: found, .. } if *message_id == id && *found == kind)
}

async fn listen(phone: &Phone) -> Connection {
    let mut connection = phone.client.listen().await.expect("nobody else is connected");
    until(&mut connection, "a session", |event| *event == Event::CaughtUp).await;
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_talk_in_either_encoding() {
    for encoding in [Encoding::Cbor, Encoding::Json] {
        let pair = pair(encoding).await;
        let (alice, bob) = (&pair.alice, &pair.bob);
        let mut b = listen(bob).await;
        let mut a = listen(alice).await;
        let id = alice.client.send(&bob.address.did, "hello").await.expect("stored");
        until(&mut b, "the message", is_message("hello")).await;
        until(&mut a, "two ticks", is_receipt(id, Kind::Delivered)).await;
        assert_eq!(alice.client.message(&id).await.expect("there").state, State::Accepted);
        bob.client.mark_read(&alice.address.did).await.expect("marked");
        until(&mut a, "read", is_receipt(id, Kind::Read)).await;
        bob.client.send(&alice.address.did, "hello yourself").await.expect("stored");
        until(&mut a, "the reply", is_message("hello yourself")).await;
        assert!(matches!(alice.client.listen().await, Err(Error::Busy(_))));
        a.stop().await;
        b.stop().await;
        assert_eq!(pair.desk.lock().expect("the desk").sessions, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_finds_it_later() {
    let pair = pair(Encoding::Cbor).await;
    let (alice, bob) = (&pair.alice, &pair.bob);
    // Bob publishes prekeys, and leaves.
    listen(bob).await.stop().await;
    let id = alice.client.send(&bob.address.did, "are you there?").await.expect("stored");
    let message = alice.client.settle(&id, Duration::from_secs(10)).await.expect("one tick");
    assert_eq!(message.state, State::Accepted);
    for text in ["one", "two", "three"] {
        let id = alice.client.send(&bob.address.did, text).await.expect("stored");
        alice.client.settle(&id, Duration::from_secs(10)).await.expect("one tick");
    }
    let b = listen(bob).await;
    let texts: Vec<_> =
        bob.client.history(Some(&alice.address.did), 10).await.expect("history").into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["are you there?", "one", "two", "three"]);
    b.stop().await;
    // He comes back and is given nothing twice.
    listen(bob).await.stop().await;
    assert_eq!(bob.client.history(None, 10).await.expect("history").len(), 4);
    assert_eq!(lock(&pair.desk).acknowledged[&bob.address], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_answered_is_sent_again_under_its_id() {
    let pair = pair(Encoding::Cbor).await;
    let (alice, bob) = (&pair.alice, &pair.bob);
    let mut b = listen(bob).await;
    let mut a = listen(alice).await;
    let check = async |a: &mut Connection, b: &mut Connection, text: &'static str, script: Vec<Act>| {
        lock(&pair.desk).script.extend(script);
        let id = alice.client.send(&bob.address.did, text).await.expect("stored");
        until(a, "one tick", |event| *event == Event::Accepted { message_id: id }).await;
        until(b, text, is_message(text)).await;
    };
    check(&mut a, &mut b, "as it should be", vec![]).await;
    check(&mut a, &mut b, "stored and not answered", vec![Act::HangUp]).await;
    check(&mut a, &mut b, "not taken twice", vec![Act::HangUp, Act::HangUp]).await;
    check(&mut a, &mut b, "too many", vec![Act::Refuse(Refusal::TooMany { retry_after_ms: 30 })]).await;
    check(&mut a, &mut b, "slower", vec![Act::SlowDown]).await;
    check(&mut a, &mut b, "the relay cannot", vec![Act::Refuse(Refusal::Unavailable)]).await;
    let history = bob.client.history(Some(&alice.address.did), 100).await.expect("history");
    assert_eq!(history.len(), 6, "nothing twice");
    // What is refused for good is told, and does not stand in the way.
    let refusal = Refusal::NoAccount { did: bob.address.did };
    lock(&pair.desk).script.push_back(Act::Refuse(refusal.clone()));
    let id = alice.client.send(&bob.address.did, "never").await.expect("stored");
    let told = until(&mut a, "a refusal", |event| matches!(event, Event::Refused { .. })).await;
    assert_eq!(told, Event::Refused { message_id: id, code: refusal.code(), reason: refusal.to_string() });
    check(&mut a, &mut b, "after that", vec![]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_relay_gets_nothing() {
    let pair = pair(Encoding::Cbor).await;
    let (alice, bob) = (&pair.alice, &pair.bob);
    listen(bob).await.stop().await;
    listen(alice).await.stop().await;
    lock(&pair.desk).lies = true;
    let id = alice.client.send(&bob.address.did, "for Bob only").await.expect("stored");
    let message = alice.client.settle(&id, Duration::from_secs(10)).await.expect("the reason");
    assert_eq!((message.state, message.code), (State::Queued, Some(8308)), "wrong key");
    assert!(lock(&pair.desk).stored.is_empty());
    // Once the relay is honest, it leaves.
    lock(&pair.desk).lies = false;
    let message = alice.client.settle(&id, Duration::from_secs(10)).await.expect("one tick");
    assert_eq!((message.state, message.code), (State::Accepted, None));
}
