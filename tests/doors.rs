//! Bad tokens, other people's things and forged addresses, at the doors of real processes.

#![allow(clippy::print_stdout, reason = "a test says what it measured")]

mod people;
mod world;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use genesis::{KeyFile, KeyKind};
use identity::SignedOperation;
use ledger::Body;
use mailbox::frame::{Acknowledge, Open};
use mailbox::wire::Encoding;
use mailbox::{ClientFrame, Refusal, ServerFrame};
use people::Town;
use people::raw::{Citizen, Visitor};
use relay::auth::{Auth, keys};
use reqwest::Method;
use rpc::relay::{Operate, Operated, Refresh, Sessions, SignIn, path};
use rpc::{Chain, FeePayer, Node};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use types::{Encode as _, Height, Millis, Signature, SigningKey};

/// A removed device's session ends this soon after the block that removed it.
const OUT_WITHIN: Duration = Duration::from_secs(2);

/// Method and path of every door that takes a session.
const DOORS: [(Method, &str); 7] = [
    (Method::GET, path::SESSIONS),
    (Method::POST, path::OPERATE),
    (Method::PUT, path::PREKEYS),
    (Method::GET, path::PREKEYS),
    (Method::GET, path::PREKEYS_OF),
    (Method::GET, path::PROOFS),
    // The last: a good token ends here.
    (Method::POST, path::SIGN_OUT),
];

/// The two ways to the relay: through the gateway, and past it.
fn ways(town: &Town, from: &str) -> [Visitor; 2] {
    let network = town.network();
    [network.gateway_url(), network.relay_url()].map(|url| Visitor::new(&url.expect("it has services"), from))
}

fn chain(town: &Town) -> Chain {
    Chain::connect(&town.network().url(0), town.trust()).expect("a URL")
}

/// A token's middle part, changed, under the signature of the whole one.
fn retold(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(parts[1]).expect("base64")).expect("claims");
    change(&mut claims);
    format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2])
}

/// What is tried, how, with whose token and what body, and the number of the refusal.
type Story<'a> = (&'a str, Method, &'a str, Option<&'a str>, Value, u64);

#[test]
fn no_bad_token_opens_a_door() {
    let town = Town::start();
    town.runtime.block_on(async {
        let [gateway, relay] = ways(&town, "127.0.0.1");
        let mut chain = chain(&town);
        let (alice, bob) = (Citizen::register(&gateway, &mut chain).await, Citizen::register(&gateway, &mut chain).await);
        let good = alice.arrive(&gateway, 1).await.access_token;
        let ended = alice.sign_in(&gateway, 1).await.access_token;
        assert_eq!(gateway.post(path::SIGN_OUT, Some(&ended), &json!({})).await.status, 204);

        // The relay's own key, and somebody else's, for tokens that the relay did not give.
        let (own, other) = (keys::open(&town.network().relay_home().tokens_key()).expect("a key"), SigningKey::from_seed(&[7; 32]));
        let audience = gateway.relay().await.audience;
        let now = || Millis::try_from(tendermint::Time::now()).expect("a time");
        let at = |key: &SigningKey, audience: &str, ago_ms: u64| {
            let time = Millis(now().0 - ago_ms);
            Auth::new(key, audience, Arc::new(move || time)).issue(alice.address(1), [9; 16])
        };
        let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#), good.split('.').nth(1).expect("three parts"));
        // What is bad, and what gateway and relay say of it; a WebSocket's token only the relay judges.
        let stories: [(&str, String, u64, u64); 9] = [
            ("no token", "nonsense".to_owned(), 7531, 7012),
            ("by another key", at(&other, &audience, 0), 7531, 7012),
            ("for another relay", at(&own, "another", 0), 7012, 7012),
            ("expired", at(&own, &audience, 601_000), 7532, 7013),
            ("with no signature", unsigned, 7531, 7012),
            ("of another person", retold(&good, |claims| claims["sub"] = json!(bob.ring.did)), 7531, 7012),
            ("of another device", retold(&good, |claims| claims["device"] = json!(2)), 7531, 7012),
            ("that lasts longer", retold(&good, |claims| claims["exp"] = json!(4_000_000_000_u64)), 7531, 7012),
            ("of a session that has ended", ended, 7014, 7014),
        ];
        for (method, door) in DOORS {
            for (story, token, at_gateway, at_relay) in &stories {
                for (way, expected) in [(&gateway, at_gateway), (&relay, at_relay)] {
                    let answer = way.ask(method.clone(), door, Some(token), &json!({})).await;
                    assert_eq!((answer.status, answer.code()), (401, *expected), "{method} {door}: {story}: {answer:?}");
                }
            }
            for way in [&gateway, &relay] {
                let answer = way.ask(method.clone(), door, None, &json!({})).await;
                assert_eq!((answer.status, answer.code()), (401, 7011), "{method} {door}: none at all: {answer:?}");
            }
        }
        for (story, token, _, code) in &stories {
            for (way, encoding) in [(&gateway, Encoding::Json), (&relay, Encoding::Cbor)] {
                let mut line = way.dial(encoding).await;
                line.say(&ClientFrame::Open(Open { token: token.clone(), acknowledged: 0 })).await;
                assert_eq!(line.closed().await, (u32::try_from(*code).expect("small"), 4401), "{story}");
            }
        }
        for (method, door) in DOORS {
            let answer = gateway.ask(method.clone(), door, Some(&good), &json!({})).await;
            assert_ne!(answer.status, 401, "{method} {door}: the good token opens it: {answer:?}");
        }
    });
}

#[test]
fn what_is_no_frame_ends_the_connection_through_the_gateway() {
    let town = Town::start();
    town.runtime.block_on(async {
        let [gateway, _] = ways(&town, "127.0.0.1");
        let alice = Citizen::register(&gateway, &mut chain(&town)).await;
        let token = alice.arrive(&gateway, 1).await.access_token;
        let stories: [(&str, bool, Message, (u32, u16)); 7] = [
            ("another frame first", false, Message::text(r#"{"type":"message.acknowledge","payload":{"upto":1}}"#), (2201, 4400)),
            ("no JSON", true, Message::text("{"), (2102, 4400)),
            ("an unknown type", true, Message::text(r#"{"type":"x","payload":{}}"#), (2103, 4400)),
            ("an unknown field", true, Message::text(r#"{"type":"message.acknowledge","payload":{"upto":1,"x":1}}"#), (2103, 4400)),
            ("bytes where text is spoken", true, Message::binary(vec![0xa0]), (2107, 4400)),
            ("a second opening", true, Message::text(r#"{"type":"session.open","payload":{"token":"","acknowledged":0}}"#), (2202, 4400)),
            // The gateway ends it: the relay never sees it.
            ("a frame that is too long", true, Message::text("x".repeat(mailbox::frame::MAX_FRAME + 1)), (0, 1009)),
        ];
        for (story, opened, message, expected) in stories {
            let mut line = if opened { gateway.open(&token, 0, Encoding::Json).await } else { gateway.dial(Encoding::Json).await };
            line.blurt(message).await;
            assert_eq!(line.closed().await, expected, "{story}");
        }
        let mut line = gateway.dial(Encoding::Cbor).await;
        line.say(&ClientFrame::Open(Open { token, acknowledged: 1 })).await;
        let (problem, close) = line.closed().await;
        assert_eq!((problem, close), (mailbox::queue::Ahead::CODE, 4401), "more than the mailbox ever gave");
    });
}

#[test]
fn another_persons_things_are_refused() {
    let town = Town::start();
    town.runtime.block_on(async {
        let [gateway, _] = ways(&town, "127.0.0.1");
        let mut chain = chain(&town);
        let mut people = Vec::new();
        for _ in 0..3 {
            people.push(Citizen::register(&gateway, &mut chain).await);
        }
        let mut people = people.into_iter();
        let (alice, mut bob, mallory) = (people.next().expect("three"), people.next().expect("three"), people.next().expect("three"));
        let (of_alice, of_bob) = (alice.arrive(&gateway, 1).await, bob.arrive(&gateway, 1).await);
        let of_mallory = mallory.arrive(&gateway, 1).await.access_token;

        // Identity and devices.
        let entry = chain.identity(&bob.ring.did).await.expect("proven").value.expect("there");
        let until = chain.valid_until().await.expect("a height");
        let device = bob.ring.begin_device();
        let others = bob.ring.addition(&entry, &device, until);
        let forged = {
            let own = chain.identity(&mallory.ring.did).await.expect("proven").value.expect("there");
            SignedOperation { did: bob.ring.did, ..mallory.ring.removal(&own, 1, until) }
        };
        let sign = |answer: SignIn| SignIn { did: bob.ring.did, ..answer };
        let refusals: [Story<'_>; 8] = [
            (
                "bob's operation",
                Method::POST,
                path::OPERATE,
                Some(&of_mallory),
                json!(Operate { operation: others.to_bytes().into() }),
                7018,
            ),
            ("one for bob", Method::POST, path::OPERATE, Some(&of_mallory), json!(Operate { operation: forged.to_bytes().into() }), 7018),
            ("bob's prekeys", Method::PUT, path::PREKEYS, Some(&of_mallory), json!(bob.prekeys(1)), 7041),
            ("bob's session, signed by mallory", Method::POST, path::SIGN_IN, None, json!(sign(mallory.answer(&gateway, 1).await)), 7015),
            (
                "bob's session, not signed",
                Method::POST,
                path::SIGN_IN,
                None,
                { json!(SignIn { signature: Signature([1; 64]), ..bob.answer(&gateway, 1).await }) },
                7015,
            ),
            (
                "a device that bob has not",
                Method::POST,
                path::SIGN_IN,
                None,
                { json!(SignIn { device: 2, ..bob.answer(&gateway, 1).await }) },
                7015,
            ),
            (
                "a leaf that mallory does not know",
                Method::GET,
                &path::PROOFS.replace("{leaf}", &"0".repeat(64)),
                Some(&of_mallory),
                json!({}),
                7045,
            ),
            ("a token for a refresh token", Method::POST, path::REFRESH, None, json!(Refresh { refresh_token: of_mallory.clone() }), 7016),
        ];
        for (story, method, path, token, body, expected) in refusals {
            let answer = gateway.ask(method, path, token, &body).await;
            assert_eq!(answer.code(), expected, "{story}: {answer:?}");
        }
        let entry_now = chain.identity(&bob.ring.did).await.expect("proven").value.expect("there");
        assert_eq!(entry_now, entry, "nothing of it has reached the chain");

        // Sessions: mallory sees one, and ends one.
        let listed: Sessions = gateway.get(path::SESSIONS, Some(&of_mallory)).await.read();
        assert_eq!(listed.sessions.len(), 1);
        assert_eq!(gateway.get(path::SESSIONS, Some(&of_bob.access_token)).await.status, 200);

        // The mailbox: a session is the token's device's, whatever it says.
        let mut from_alice = gateway.open(&of_alice.access_token, 0, Encoding::Json).await;
        from_alice.say(&ClientFrame::Send(bob.message(1))).await;
        assert!(matches!(from_alice.answer().await, ServerFrame::Accepted(_)));
        let mut spying = gateway.open(&of_mallory, 0, Encoding::Cbor).await;
        assert!(spying.is_silent(Duration::from_millis(500)).await, "mallory is given nothing");
        spying.say(&ClientFrame::Acknowledge(Acknowledge { upto: 1, also: vec![] })).await;
        // What mallory acknowledges is mallory's own.
        let mut of_himself = gateway.open(&of_bob.access_token, 0, Encoding::Cbor).await;
        let ServerFrame::Received(received) = of_himself.answer().await else { panic!("bob is given his message") };
        assert_eq!((received.items.len(), received.items[0].sender_id), (1, alice.ring.did));

        // A submission for devices that bob has not, and to nobody.
        from_alice.say(&ClientFrame::Send(bob.message(2))).await;
        let ServerFrame::Refused(refused) = from_alice.answer().await else { panic!("it is refused") };
        assert!(matches!(refused.refusal, Refusal::Devices { did, .. } if did == bob.ring.did), "{refused:?}");
        let nobody = mailbox::Submission { recipient_id: identity::Did([7; 32]), ..bob.message(1) };
        from_alice.say(&ClientFrame::Send(nobody)).await;
        let ServerFrame::Refused(refused) = from_alice.answer().await else { panic!("it is refused") };
        assert!(matches!(refused.refusal, Refusal::NoAccount { .. }), "{refused:?}");

        // Prekeys are handed out so often and no more, to one who asks.
        let of = path::PREKEYS_OF.replace("{did}", &bob.ring.did.to_string());
        let mut codes = Vec::new();
        for _ in 0..7 {
            codes.push(gateway.get(&of, Some(&of_mallory)).await.code());
        }
        assert_eq!(codes, [0, 0, 0, 0, 0, 0, 7035], "mallory cannot use up bob's one-time keys");
        assert_eq!(gateway.get(&of, Some(&of_alice.access_token)).await.code(), 0, "and alice can write to him");

        // A refresh token that was used comes from somebody who stole it, or is stolen: its session ends.
        let refresh = Refresh { refresh_token: of_bob.refresh_token.clone() };
        let next: rpc::relay::Tokens = gateway.post(path::REFRESH, None, &refresh).await.read();
        assert_eq!(gateway.post(path::REFRESH, None, &refresh).await.code(), 7017);
        assert_eq!(gateway.get(path::SESSIONS, Some(&next.access_token)).await.code(), 7014);
        assert_eq!(of_himself.closed().await, (7014, 4401), "also the connection");
    });
}

/// When a block was made, by its header; the machine's clock is the validators'.
async fn time_of(town: &Town, height: Height) -> SystemTime {
    let header = Node::new(&town.network().url(0)).expect("a URL").commit(Some(height)).await.expect("a commit").header;
    let since = Millis::try_from(header.time).expect("a time");
    SystemTime::UNIX_EPOCH + Duration::from_millis(since.0)
}

#[test]
fn a_removed_device_is_out_within_two_seconds_of_the_block() {
    let town = Town::start();
    town.runtime.block_on(async {
        let [gateway, _] = ways(&town, "127.0.0.1");
        let mut chain = chain(&town);
        let mut alice = Citizen::register(&gateway, &mut chain).await;
        let first = alice.arrive(&gateway, 1).await.access_token;
        let faucet = KeyFile::load(&town.network().faucet(), KeyKind::Account).expect("a key").key().clone();
        // Once by way of the relay, and once without its knowing.
        for (way, device) in [("by the relay", 2), ("past the relay", 3)] {
            let entry = chain.identity(&alice.ring.did).await.expect("proven").value.expect("there");
            let keys = alice.ring.begin_device();
            let addition = alice.ring.addition(&entry, &keys, chain.valid_until().await.expect("a height"));
            let answer = gateway.post(path::OPERATE, Some(&first), &Operate { operation: addition.to_bytes().into() }).await;
            assert_eq!(answer.code(), 0, "{answer:?}");
            let entry = chain.identity(&alice.ring.did).await.expect("proven").value.expect("there");
            alice.ring.settle(&entry).expect("these keys");
            let tokens = alice.arrive(&gateway, device).await;
            let mut line = gateway.open(&tokens.access_token, 0, Encoding::Cbor).await;
            assert!(line.is_silent(Duration::from_millis(300)).await);

            let removal = alice.ring.removal(&entry, device, chain.valid_until().await.expect("a height"));
            let height = if way == "by the relay" {
                let answer = gateway.post(path::OPERATE, Some(&first), &Operate { operation: removal.to_bytes().into() }).await;
                answer.read::<Operated>().height
            } else {
                let body = Body::Identity(Box::new(removal));
                chain.submit(&faucet, FeePayer::Author, body).await.expect("it is included").height
            };
            assert_eq!(line.closed().await, (7014, 4401), "{way}");
            let took = SystemTime::now().duration_since(time_of(&town, height).await).unwrap_or_default();
            assert!(took <= OUT_WITHIN, "{way}: out {took:?} after the block");
            println!("{way}: out {took:?} after the block");
            assert_eq!(gateway.get(path::SESSIONS, Some(&tokens.access_token)).await.code(), 7014, "{way}: its access token");
            let refresh = Refresh { refresh_token: tokens.refresh_token };
            assert_eq!(gateway.post(path::REFRESH, None, &refresh).await.code(), 7016, "{way}: its refresh token");
            let again = gateway.post(path::SIGN_IN, None, &alice.answer(&gateway, device).await).await;
            assert_eq!(again.code(), 7015, "{way}: it signs in no more");
            assert_eq!(gateway.get(path::SESSIONS, Some(&first)).await.status, 200, "{way}: the other device stays");
            let entry = chain.identity(&alice.ring.did).await.expect("proven").value.expect("there");
            alice.ring.settle(&entry).expect("these keys");
        }
    });
}

#[test]
fn the_limits_of_an_address_count_the_real_client() {
    let town = Town::start();
    town.runtime.block_on(async {
        let attempt = async |door: &Visitor, forwarded: Option<&str>| {
            let headers: Vec<(&str, &str)> = forwarded.iter().map(|forwarded| ("x-forwarded-for", *forwarded)).collect();
            door.send(Method::POST, path::REFRESH, &headers, &json!({"refresh_token": "guessed"})).await.code()
        };
        let [guessing, past] = ways(&town, "127.0.0.2");
        for guess in 0..5 {
            assert_eq!(attempt(&guessing, None).await, 7016, "guess {guess}");
        }
        assert_eq!(attempt(&guessing, None).await, 7034, "too many of one address");
        assert_eq!(attempt(&guessing, Some("203.0.113.1")).await, 7034, "whoever it says it is");
        assert_eq!(attempt(&past, None).await, 7034, "it is the same address past the gateway");
        assert_eq!(attempt(&past, Some("203.0.113.1")).await, 7034, "and the relay believes nobody but the gateway");
        let [other, _] = ways(&town, "127.0.0.3");
        assert_eq!(attempt(&other, None).await, 7016, "another client behind the same gateway is not touched");
        assert_eq!(attempt(&other, Some("127.0.0.2")).await, 7016, "nor can it be locked out by name");
        let [own, _] = ways(&town, "127.0.0.1");
        assert_eq!(attempt(&own, None).await, 7016, "nor the gateway's own address");
    });
}
