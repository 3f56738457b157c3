//! The relay's HTTP interface, as a client asks it: bounded in time and size, and believed in nothing that
//! can be proven.

use std::net::IpAddr;
use std::time::Duration;

use identity::Did;
use mailbox::Address;
use reqwest::{Method, Url};
use rpc::relay::{
    Ask, Challenge, LeafProof, Operate, Operated, PrekeyBundles, PrekeyStock, Problem, PublishPrekeys, Refresh, Register, Registered,
    Relay, SignIn, Tokens, path,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;
use types::{ChainId, Hash, SigningKey};

use crate::Error;

/// How long one question may take. An operation waits for its block.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may be, in bytes: sixteen bundles take some 90 KiB.
const MAX_ANSWER: usize = 1 << 20;

/// How long before its end an access token is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// The relay behind one gateway.
#[derive(Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    gateway: Url,
    chain: ChainId,
    /// The session's tokens. They are kept in memory only: a device can always sign in again.
    tokens: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    tokens: Tokens,
    renew: Instant,
}

/// Who signs in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) address: Address,
    pub(crate) key: SigningKey,
}

impl Api {
    pub(crate) fn new(gateway: &str, chain: ChainId) -> Result<Self, Error> {
        let refused = || Error::Url(gateway.to_owned());
        let url: Url = gateway.parse().map_err(|_| refused())?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() || url.cannot_be_a_base() {
            return Err(refused());
        }
        let builder =
            reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        // A proxy cannot reach the loopback that we mean.
        let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build().map_err(|_| refused())?, gateway: url, chain, tokens: Mutex::new(None) })
    }

    /// The address of the session's WebSocket.
    pub(crate) fn socket(&self) -> String {
        let mut url = self.url(path::SESSION);
        let scheme = if self.gateway.scheme() == "https" { "wss" } else { "ws" };
        // Both pairs are of schemes that the standard lets one change into each other.
        let _ = url.set_scheme(scheme);
        url.to_string()
    }

    /// The gateway's address.
    pub(crate) fn gateway(&self) -> String {
        self.gateway.to_string()
    }

    /// The address of the node's RPC behind the gateway.
    pub(crate) fn node(&self) -> String {
        self.url("/rpc").to_string()
    }

    /// What the relay says of itself. It must be on the trusted chain.
    pub(crate) async fn relay(&self) -> Result<Relay, Error> {
        let relay: Relay = self.ask("the relay's own page", Method::GET, path::RELAY, None::<&()>, None).await?;
        if relay.chain == self.chain { Ok(relay) } else { Err(Error::OtherChain { found: relay.chain, trusted: self.chain.clone() }) }
    }

    pub(crate) async fn register(&self, register: &Register) -> Result<Registered, Error> {
        let registered: Registered = self.ask("a registration", Method::POST, path::REGISTER, Some(register), None).await?;
        if registered.did == register.did {
            Ok(registered)
        } else {
            Err(Error::Answer { what: "a registration", fault: "another identity" })
        }
    }

    pub(crate) async fn operate(&self, login: &Login, operation: Vec<u8>) -> Result<Operated, Error> {
        let token = self.token(login).await?;
        let operate = Operate { operation: operation.into() };
        self.ask("an operation", Method::POST, path::OPERATE, Some(&operate), Some(&token)).await
    }

    pub(crate) async fn publish(&self, login: &Login, prekeys: &PublishPrekeys) -> Result<PrekeyStock, Error> {
        let token = self.token(login).await?;
        self.ask("prekeys", Method::PUT, path::PREKEYS, Some(prekeys), Some(&token)).await
    }

    pub(crate) async fn stock(&self, login: &Login) -> Result<PrekeyStock, Error> {
        let token = self.token(login).await?;
        self.ask("the stock of prekeys", Method::GET, path::PREKEYS, None::<&()>, Some(&token)).await
    }

    pub(crate) async fn bundles(&self, login: &Login, did: &Did) -> Result<PrekeyBundles, Error> {
        let token = self.token(login).await?;
        let path = path::PREKEYS_OF.replace("{did}", &did.to_string());
        self.ask("prekey bundles", Method::GET, &path, None::<&()>, Some(&token)).await
    }

    pub(crate) async fn proof(&self, login: &Login, leaf: &Hash) -> Result<LeafProof, Error> {
        let token = self.token(login).await?;
        let path = path::PROOFS.replace("{leaf}", &leaf.to_string());
        self.ask("a leaf's proof", Method::GET, &path, None::<&()>, Some(&token)).await
    }

    /// An access token that is good for a while: the one at hand, the next one, or that of a new session.
    pub(crate) async fn token(&self, login: &Login) -> Result<String, Error> {
        let mut held = self.tokens.lock().await;
        if let Some(found) = held.as_ref().filter(|held| held.renew > Instant::now()) {
            return Ok(found.tokens.access_token.clone());
        }
        let tokens = match held.take() {
            Some(old) => match self.refresh(&old.tokens).await {
                Ok(tokens) => tokens,
                Err(_) => self.sign_in(login).await?,
            },
            None => self.sign_in(login).await?,
        };
        let lasts = Duration::from_secs(tokens.expires_in_s).saturating_sub(RENEW_BEFORE);
        let token = tokens.access_token.clone();
        *held = Some(Held { tokens, renew: Instant::now() + lasts });
        Ok(token)
    }

    /// Forgets the session: the relay does not take its token any more.
    pub(crate) async fn forget(&self) {
        *self.tokens.lock().await = None;
    }

    /// Ends the session at the relay, if there is one.
    pub(crate) async fn sign_out(&self) {
        if let Some(held) = self.tokens.lock().await.take() {
            let request = self.http.post(self.url(path::SIGN_OUT)).bearer_auth(&held.tokens.access_token);
            // It ends by itself if this does not arrive.
            let _ = request.send().await;
        }
    }

    async fn refresh(&self, old: &Tokens) -> Result<Tokens, Error> {
        let refresh = Refresh { refresh_token: old.refresh_token.clone() };
        self.ask("the next tokens", Method::POST, path::REFRESH, Some(&refresh), None).await
    }

    async fn sign_in(&self, login: &Login) -> Result<Tokens, Error> {
        let relay = self.relay().await?;
        let ask = Ask { did: login.address.did, device: login.address.device };
        let challenge: Challenge = self.ask("a challenge", Method::POST, path::CHALLENGE, Some(&ask), None).await?;
        let answer = SignIn::answer(&relay, &ask, &challenge, &login.key);
        self.ask("a session", Method::POST, path::SIGN_IN, Some(&answer), None).await
    }

    async fn ask<Q, A>(&self, what: &'static str, method: Method, path: &str, question: Option<&Q>, token: Option<&str>) -> Result<A, Error>
    where
        Q: Serialize + Sync,
        A: DeserializeOwned,
    {
        let mut request = self.http.request(method, self.url(path));
        if let Some(question) = question {
            request = request.json(question);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let mut response = request.send().await.map_err(|error| unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Error::Answer { what, fault: "too long" });
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return serde_json::from_slice(&body).map_err(|_| Error::Answer { what, fault: "not of this form" });
        }
        let status = response.status().as_u16();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Relay { code: problem.code, title: problem.title, status, retry_after_ms: problem.retry_after_ms },
            Err(_) => Error::Relay { code: 0, title: format!("HTTP status {status}"), status, retry_after_ms: None },
        })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.gateway.clone();
        url.set_path(&format!("{}{path}", self.gateway.path().trim_end_matches('/')));
        url
    }
}

/// The innermost cause says what happened; the outer ones repeat the address.
fn unreachable(error: &reqwest::Error) -> Error {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    Error::Unreachable { reason: if error.is_timeout() { "not in time".to_owned() } else { reason.to_string() } }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
