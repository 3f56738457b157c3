//! A relay over a chain in memory, and a person at its door.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use mailbox::Bytes;
use rpc::relay::{Ask, Challenge, Register, Registration, Relay, SignIn, Tokens, path};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;
use types::{Encode as _, Hash, Millis, SigningKey};

use super::TestChain;
use crate::App;
use crate::accounts::Sqlite;
use crate::accounts::tests::{CHAIN, Person};
use crate::app::Parts;
use crate::config::{Config, Limits, Sponsor};
use crate::http::{self, Peer};
use crate::messages::Messages;

pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) chain: Arc<TestChain>,
    router: Router,
    now: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    folder: Arc<TempDir>,
}

impl Drop for Door {
    /// The committer is a thread: it must not close its database while the process ends.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        futures::executor::block_on(self.app.messages.stop());
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    /// The number of the problem, 0 for success.
    pub(crate) fn code(&self) -> u64 {
        let problem = self.headers.get("content-type").is_some_and(|kind| kind == http::problem::PROBLEM);
        if problem { self.json["code"].as_u64().expect("a problem has a code") } else { 0 }
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.json.clone()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) const START: u64 = 1_800_000_000_000;

impl Door {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(choose: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            node: "http://127.0.0.1:1".to_owned(),
            registration: Registration::Open,
            anchor_interval_ms: 1_000,
            sponsor: Sponsor::default(),
            limits: Limits::default(),
        };
        choose(&mut config);
        Self::over(config, Arc::new(TempDir::new().expect("a folder")), Arc::new(TestChain::new()), START).await
    }

    /// The same relay, started again.
    pub(crate) async fn again(self) -> Self {
        self.again_with(|_| {}).await
    }

    /// The same relay, started again with other choices of its operator.
    pub(crate) async fn again_with(self, choose: impl FnOnce(&mut Config)) -> Self {
        let (mut config, folder, chain) = (self.app.config.clone(), self.folder.clone(), self.chain.clone());
        choose(&mut config);
        let now = self.now.load(Ordering::SeqCst);
        drop(self);
        Self::over(config, folder, chain, now).await
    }

    async fn over(config: Config, folder: Arc<TempDir>, chain: Arc<TestChain>, now: u64) -> Self {
        let at = |name: &str| Path::new(folder.path()).join(name);
        let now = Arc::new(AtomicU64::new(now));
        let (clock, (stop, stopped)) = (now.clone(), watch::channel(false));
        let log = audit::LogId(Hash([3; 32]));
        let relay = Relay {
            chain: CHAIN.parse().expect("a chain"),
            log,
            audience: log.0.to_string(),
            registration: config.registration,
            anchor_interval_ms: config.anchor_interval_ms,
            time: Millis(0),
            version: "test".to_owned(),
        };
        let messages = Messages::open(&at("messages")).expect("a store of messages");
        let app = Arc::new(App::new(Parts {
            config,
            relay,
            tokens: SigningKey::from_seed(&[9; 32]),
            accounts: Arc::new(Sqlite::open(&at("accounts.sqlite")).await.expect("a store of accounts")),
            messages,
            chain: chain.clone(),
            clock: Arc::new(move || Millis(clock.load(Ordering::SeqCst))),
            stop: stopped,
        }));
        Self { router: http::router(app.clone()), app, chain, now, stop, folder }
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a short body");
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, json }
    }

    /// A request with a JSON body, made in the session of `token`, if there is one, from an address.
    pub(crate) async fn send_from(&self, peer: &str, method: &str, path: &str, token: Option<&str>, body: &impl Serialize) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = Body::from(serde_json::to_vec(body).expect("a body"));
        let request = request.extension(Peer(peer.parse().expect("an address"))).body(body).expect("a request");
        self.ask(request).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &impl Serialize) -> Answer {
        self.send_from("192.0.2.1", "POST", path, token, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send_from("192.0.2.1", "GET", path, token, &Value::Null).await
    }

    pub(crate) fn registration(person: &Person) -> Register {
        Register { did: person.did(), operation: Some(Bytes(person.create.to_bytes())), invitation: None }
    }

    /// Registers a new person, each from an address of their own.
    pub(crate) async fn registered(&self) -> Person {
        let person = Person::new();
        let peer = format!("2001:db8:{}::1", self.chain.sponsored());
        let answer = self.send_from(&peer, "POST", path::REGISTER, None, &Self::registration(&person)).await;
        assert_eq!(answer.code(), 0, "{answer:?}");
        person
    }

    pub(crate) async fn challenge(&self, person: &Person, device: u16) -> (Ask, Challenge) {
        let ask = Ask { did: person.did(), device };
        let answer = self.post(path::CHALLENGE, None, &ask).await;
        (ask, answer.read())
    }

    pub(crate) async fn answer(&self, person: &Person, device: u16) -> SignIn {
        let (ask, challenge) = self.challenge(person, device).await;
        SignIn::answer(&self.app.relay, &ask, &challenge, &person.key(device))
    }

    pub(crate) async fn signed_in(&self, person: &Person, device: u16) -> Tokens {
        let answer = self.post(path::SIGN_IN, None, &self.answer(person, device).await).await;
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.read()
    }
}
