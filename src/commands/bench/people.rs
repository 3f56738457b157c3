//! Who talks: identities on the chain with up to sixteen devices each, registered and signed in as any other.
//!
//! They have no Signal: their prekeys have the right length and are random. The relay cannot tell.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use genesis::entropy;
use identity::{Control, DeviceKeys, Did, Draft, Genesis, SignalKey};
use mailbox::Address;
use reqwest::{Method, StatusCode};
use rpc::Node;
use rpc::relay::{
    Ask, Challenge, OneTimePrekey, PrekeyStock, Problem, PublishPrekeys, Register, Registered, Relay, SignIn, SignedPrekey, Tokens, path,
};
use serde_json::Value;
use types::{Encode as _, Height, SigningKey};

use crate::failure::Failure;

/// The most devices that an identity can have.
pub(super) const DEVICES: usize = 16;

/// The registration id of every device.
pub(super) const REGISTRATION: u32 = 1;

/// For how many blocks a creation counts.
const VALID_FOR: u64 = 1_000;

/// Registrations at once: the relay has eight on their way to the chain.
const REGISTERING: usize = 24;

/// Sign-ins at once.
const SIGNING_IN: usize = 16;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a busy relay is asked again.
const ATTEMPTS: u32 = 20;

/// A person's keys.
#[derive(Debug)]
pub(super) struct Person {
    did: Did,
    devices: Vec<(SigningKey, SignalKey)>,
}

/// A device that is signed in.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) address: Address,
    pub(super) token: String,
}

/// All of them, and the relay that they are registered with.
#[derive(Debug)]
pub(super) struct People {
    api: Api,
    relay: Relay,
    people: Vec<Person>,
}

impl People {
    /// Makes and registers so many people with so many devices each.
    pub(super) async fn register(relay: &str, node: &str, count: usize, devices: usize) -> Result<Self, Failure> {
        let api = Api::new(relay)?;
        let about: Relay = api.ask(Method::GET, path::RELAY, None, None).await?;
        let (api, about, node) = (&api, &about, &Node::new(node)?);
        let made = stream::iter(0..count).map(async |_| Person::register(api, about, node, devices).await);
        let people = made.buffer_unordered(REGISTERING).try_collect().await?;
        Ok(Self { api: api.clone(), relay: about.clone(), people })
    }

    /// Publishes prekeys of the first devices of the first people: they take messages from here on.
    pub(super) async fn publish(&self, people: usize) -> Result<(), Failure> {
        let guests = self.sign_in(people, 1).await?;
        let publish = async |guest: Guest| {
            let person = self.people.iter().find(|person| person.did == guest.address.did).expect("it is one of them");
            let prekeys = prekeys(person.devices[0].1);
            let published = self.api.ask::<PrekeyStock>(Method::PUT, path::PREKEYS, Some(json(&prekeys)), Some(&guest.token));
            published.await.map(drop)
        };
        stream::iter(guests).map(publish).buffer_unordered(SIGNING_IN).try_collect().await
    }

    /// Signs in the first devices of the first people, in the order of people.
    pub(super) async fn sign_in(&self, people: usize, devices: usize) -> Result<Vec<Guest>, Failure> {
        let each = |person| (0..devices).map(move |device| (person, device));
        let all = self.people.iter().take(people).flat_map(each);
        stream::iter(all).map(async |(person, device)| self.enter(person, device).await).buffered(SIGNING_IN).try_collect().await
    }

    async fn enter(&self, person: &Person, place: usize) -> Result<Guest, Failure> {
        // The genesis' devices have the ids from 1 on.
        let device = u16::try_from(place + 1).expect("at most 16");
        let ask = Ask { did: person.did, device };
        let challenge: Challenge = self.api.ask(Method::POST, path::CHALLENGE, Some(json(&ask)), None).await?;
        let answer = SignIn::answer(&self.relay, &ask, &challenge, &person.devices[place].0);
        let tokens: Tokens = self.api.ask(Method::POST, path::SIGN_IN, Some(json(&answer)), None).await?;
        Ok(Guest { address: Address { did: person.did, device }, token: tokens.access_token })
    }
}

impl Person {
    async fn register(api: &Api, relay: &Relay, node: &Node, devices: usize) -> Result<Self, Failure> {
        let devices: Vec<_> = (0..devices).map(|_| (entropy::key(), SignalKey::from_x25519(&entropy::bytes()))).collect();
        let height = node.status().await?.sync_info.latest_block_height.value();
        let (control, next, recovery) = (entropy::key(), entropy::key(), entropy::key());
        let keys: Vec<_> = devices.iter().map(|(key, signal)| DeviceKeys { key: key.public(), signal: *signal }).collect();
        let genesis = Genesis {
            chain: relay.chain.clone(),
            control: Control::single(control.public()),
            next_control: Control::single(next.public()).commitment(),
            recovery: Control::single(recovery.public()).recovery_commitment(),
            recovery_delay: genesis::keyring::RECOVERY_DELAY,
            devices: keys.try_into().expect("at most 16"),
            services: types::List::default(),
            nonce: entropy::bytes(),
        };
        let signing: Vec<&SigningKey> = devices.iter().map(|(key, _)| key).collect();
        let draft = Draft::create(genesis, &signing, Height(height + VALID_FOR)).expect("the keys are the devices'");
        let operation = draft.sign(0, &control).finish().expect("one signature");
        let did = operation.did;
        let register = Register { did, operation: Some(operation.to_bytes().into()), invitation: None };
        api.ask::<Registered>(Method::POST, path::REGISTER, Some(json(&register)), None).await?;
        Ok(Self { did, devices })
    }
}

/// Prekeys as they look from outside.
fn prekeys(identity_key: SignalKey) -> PublishPrekeys {
    let signature = || entropy::bytes::<64>().to_vec().into();
    let x25519 = || SignalKey::from_x25519(&entropy::bytes()).as_bytes().to_vec().into();
    let kyber = || {
        let mut key = entropy::bytes::<1_569>().to_vec();
        // The type byte, as Signal writes it.
        key[0] = 8;
        SignedPrekey { id: 1, key: key.into(), signature: signature() }
    };
    PublishPrekeys {
        registration_id: REGISTRATION,
        identity_key,
        possession: signature(),
        succession: None,
        signed_prekey: SignedPrekey { id: 1, key: x25519(), signature: signature() },
        last_resort_kyber: kyber(),
        one_time: vec![OneTimePrekey { id: 1, key: x25519() }],
        one_time_kyber: vec![kyber()],
    }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("it has string keys")
}

/// The relay's HTTP interface.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
}

impl Api {
    pub(super) fn new(base: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(|error| failed(&error))?;
        Ok(Self { http, base: base.to_owned() })
    }

    /// Asks; where the relay is busy, again after a while.
    pub(super) async fn ask<A: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        question: Option<Value>,
        token: Option<&str>,
    ) -> Result<A, Failure> {
        let mut attempts = 0;
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
            if let Some(question) = &question {
                request = request.header("content-type", "application/json").body(question.to_string());
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.map_err(|error| failed(&error))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| failed(&error))?;
            if status.is_success() {
                return serde_json::from_slice(&body).map_err(|_| Failure::Bench(format!("{path}: an answer of another form")));
            }
            let problem: Option<Problem> = serde_json::from_slice(&body).ok();
            let again = problem.as_ref().and_then(|problem| problem.retry_after_ms).filter(|_| status == StatusCode::SERVICE_UNAVAILABLE);
            attempts += 1;
            let Some(wait) = again.filter(|_| attempts < ATTEMPTS) else {
                let reason = problem.map_or_else(|| status.to_string(), |problem| format!("error {}: {}", problem.code, problem.title));
                return Err(Failure::Bench(format!("{path} was refused: {reason}")));
            };
            tokio::time::sleep(Duration::from_millis(wait.min(5_000))).await;
        }
    }
}

fn failed(error: &reqwest::Error) -> Failure {
    Failure::Bench(format!("no answer over HTTP: {error}"))
}
