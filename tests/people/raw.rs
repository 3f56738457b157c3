//! Who talks to the relay without the SDK: requests and frames as an attacker can write them.

use std::net::IpAddr;
use std::time::Duration;

use audit::Commitment;
use futures::{SinkExt as _, StreamExt as _};
use genesis::Keyring;
use identity::SignalKey;
use mailbox::frame::{Content, Form, Open};
use mailbox::wire::{self, Encoding};
use mailbox::{Address, Bytes, ClientFrame, ServerFrame, Submission};
use reqwest::Method;
use rpc::Chain;
use rpc::relay::{Ask, Challenge, PublishPrekeys, Register, Relay, SignIn, SignedPrekey, Tokens, path};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use types::{Encode as _, Hash, Millis};
use uuid::Uuid;

use crate::world::PATIENCE;

/// The registration id of every device here.
const REGISTRATION: u32 = 7;

/// Somebody who asks, from an address of their own.
#[derive(Clone)]
pub(crate) struct Visitor {
    http: reqwest::Client,
    base: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Answer {
    /// The number of the problem; 0 for success.
    pub(crate) fn code(&self) -> u64 {
        if self.status < 400 { 0 } else { self.json["code"].as_u64().unwrap_or_else(|| panic!("no problem: {self:?}")) }
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.json.clone()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Visitor {
    /// Asks at `base`, from an address of loopback.
    pub(crate) fn new(base: &str, from: &str) -> Self {
        let from: IpAddr = from.parse().expect("an address");
        let http = reqwest::Client::builder().no_proxy().local_address(from).timeout(PATIENCE).build().expect("a client");
        Self { http, base: base.to_owned() }
    }

    /// A request with headers of one's own.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method != Method::GET {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let (status, body) = (answer.status().as_u16(), answer.text().await.expect("text"));
        Answer { status, json: serde_json::from_str(&body).unwrap_or(Value::Null) }
    }

    /// A request in the session of a token, if there is one.
    pub(crate) async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        self.send(method, path, &headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &impl serde::Serialize) -> Answer {
        self.ask(Method::POST, path, token, &json!(body)).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask(Method::GET, path, token, &Value::Null).await
    }

    /// What the relay says of itself.
    pub(crate) async fn relay(&self) -> Relay {
        self.get(path::RELAY, None).await.read()
    }

    /// A WebSocket with the relay.
    pub(crate) async fn dial(&self, encoding: Encoding) -> Line {
        let url = format!("{}{}", self.base.replacen("http", "ws", 1), path::SESSION);
        let mut request = url.into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", encoding.subprotocol().parse().expect("a value"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("it is taken");
        Line { socket, encoding }
    }

    /// A session of a device, with what the relay opened it with.
    pub(crate) async fn open(&self, token: &str, acknowledged: u64, encoding: Encoding) -> Line {
        let mut line = self.dial(encoding).await;
        line.say(&ClientFrame::Open(Open { token: token.to_owned(), acknowledged })).await;
        match line.hear().await {
            Ok(ServerFrame::Opened(_)) => line,
            other => panic!("not opened: {other:?}"),
        }
    }
}

/// A person with keys in a file, who does by hand what the SDK would do.
pub(crate) struct Citizen {
    pub(crate) ring: Keyring,
}

impl Citizen {
    /// Registers a new identity.
    pub(crate) async fn register(door: &Visitor, chain: &mut Chain) -> Self {
        let until = chain.valid_until().await.expect("a height");
        let (mut ring, create) = Keyring::generate(chain.trust().chain(), until);
        let register = Register { did: ring.did, operation: Some(create.to_bytes().into()), invitation: None };
        let answer = door.post(path::REGISTER, None, &register).await;
        assert_eq!(answer.code(), 0, "{answer:?}");
        let entry = chain.identity(&ring.did).await.expect("it is proven").value.expect("it is there");
        ring.settle(&entry).expect("these keys");
        Self { ring }
    }

    pub(crate) const fn address(&self, device: u16) -> Address {
        Address { did: self.ring.did, device }
    }

    /// The answer to a challenge that a device would give.
    pub(crate) async fn answer(&self, door: &Visitor, device: u16) -> SignIn {
        let relay = door.relay().await;
        let ask = Ask { did: self.ring.did, device };
        let challenge: Challenge = door.post(path::CHALLENGE, None, &ask).await.read();
        let keys = self.ring.devices().iter().find(|keys| keys.id == Some(device)).expect("the device's keys");
        SignIn::answer(&relay, &ask, &challenge, keys.key())
    }

    /// Signs a device in.
    pub(crate) async fn sign_in(&self, door: &Visitor, device: u16) -> Tokens {
        let answer = door.post(path::SIGN_IN, None, &self.answer(door, device).await).await;
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.read()
    }

    /// Prekeys that nobody can use, for a device to be written to by hand.
    pub(crate) fn prekeys(&self, device: u16) -> PublishPrekeys {
        let keys = self.ring.devices().iter().find(|keys| keys.id == Some(device)).expect("the device's keys");
        unusable_prekeys(keys.signal())
    }

    /// Signs a device in, and makes it one that can be written to.
    pub(crate) async fn arrive(&self, door: &Visitor, device: u16) -> Tokens {
        let tokens = self.sign_in(door, device).await;
        let put = door.ask(Method::PUT, path::PREKEYS, Some(&tokens.access_token), &json!(self.prekeys(device))).await;
        assert_eq!(put.code(), 0, "{put:?}");
        tokens
    }

    /// A message for a device, which nobody can read.
    pub(crate) fn message(&self, device: u16) -> Submission {
        let content =
            Content { device_id: device, registration_id: REGISTRATION, form: Form::Ratchet, encrypted_content: Bytes(vec![1, 2, 3]) };
        Submission {
            message_id: Uuid::now_v7(),
            conversation_id: Hash([1; 32]),
            recipient_id: self.ring.did,
            contents: vec![content],
            own_contents: Vec::new(),
            content_hash: Some(Commitment(Hash([2; 32]))),
            timestamp: Millis(1),
        }
    }
}

/// Prekeys of the right lengths under a Signal key, signed by nobody.
pub(crate) fn unusable_prekeys(identity_key: SignalKey) -> PublishPrekeys {
    let key = |kind: u8, length: usize| Bytes(std::iter::once(kind).chain(std::iter::repeat_n(1, length - 1)).collect());
    let signed = |kind, length| SignedPrekey { id: 1, key: key(kind, length), signature: Bytes(vec![1; 64]) };
    PublishPrekeys {
        registration_id: REGISTRATION,
        identity_key,
        possession: Bytes(vec![1; 64]),
        succession: None,
        signed_prekey: signed(5, 33),
        last_resort_kyber: signed(8, 1_569),
        one_time: Vec::new(),
        one_time_kyber: Vec::new(),
    }
}

/// One WebSocket.
pub(crate) struct Line {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    encoding: Encoding,
}

impl Line {
    pub(crate) async fn say(&mut self, frame: &ClientFrame) {
        let bytes = wire::encode(self.encoding, frame);
        let message = match self.encoding {
            Encoding::Json => Message::text(String::from_utf8(bytes).expect("JSON is text")),
            Encoding::Cbor => Message::binary(bytes),
        };
        self.blurt(message).await;
    }

    /// Says anything.
    pub(crate) async fn blurt(&mut self, message: Message) {
        // It may be closed by now: what it was closed with is heard.
        let _ = self.socket.send(message).await;
    }

    /// The next frame; or with which code the relay closed.
    pub(crate) async fn hear(&mut self) -> Result<ServerFrame, u16> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something is heard");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(wire::decode_server(Encoding::Json, text.as_bytes()).expect("a frame")),
                Some(Ok(Message::Binary(bytes))) => return Ok(wire::decode_server(Encoding::Cbor, &bytes).expect("a frame")),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::Protocol(_) | tungstenite::Error::Io(_))) | None => return Err(0),
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// Waits until the relay closes: the problem that it names, and with which code it closes.
    pub(crate) async fn closed(&mut self) -> (u32, u16) {
        let mut named = 0;
        loop {
            match self.hear().await {
                Ok(ServerFrame::Error(problem)) => named = problem.code,
                Ok(_) => {}
                Err(code) => return (named, code),
            }
        }
    }

    /// The next frame that says more than how the mailbox stands.
    pub(crate) async fn answer(&mut self) -> ServerFrame {
        loop {
            match self.hear().await {
                Ok(ServerFrame::Empty(_) | ServerFrame::PrekeysLow(_)) => {}
                Ok(frame) => return frame,
                Err(code) => panic!("closed with {code}"),
            }
        }
    }

    /// Whether nothing is heard for a while but how the mailbox stands.
    pub(crate) async fn is_silent(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.answer()).await.is_err()
    }
}
