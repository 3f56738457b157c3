//! What all requests share.

pub(crate) mod attempts;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use identity::Did;
use rpc::relay::Relay;
use tokio::sync::{Semaphore, watch};
use types::{Hash, Millis};

use self::attempts::Attempt;
use crate::accounts::{Accounts, Quota, subject};
use crate::auth::Auth;
use crate::auth::challenge::Challenges;
use crate::chain::ChainView;
use crate::config::Config;
use crate::messages::Messages;
use crate::{Error, http};

/// How many operations may be on their way to the chain at once.
const MAX_UNDER_WAY: usize = 64;

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const TEN_MINUTES_MS: u64 = 10 * 60 * 1_000;

/// The relay's clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What all requests share.
pub struct App {
    /// The operator's choices.
    pub config: Config,
    /// The chain, the log, and what else anybody may know; its time is not.
    pub relay: Relay,
    /// Tokens.
    pub auth: Auth,
    /// Challenges.
    pub challenges: Challenges,
    /// Accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Messages.
    pub messages: Messages,
    /// The chain.
    pub chain: Arc<dyn ChainView>,
    /// The clock.
    pub clock: Clock,
    /// True once the relay stops: connections that stay open end then.
    pub stop: watch::Receiver<bool>,
    /// Identities with an operation on its way to the chain.
    under_way: Arc<UnderWay>,
    attempts: attempts::Attempts,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("relay", &self.relay).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct UnderWay {
    room: Arc<Semaphore>,
    of: Mutex<HashSet<Did>>,
}

/// An identity's operation is on its way until this is dropped.
#[derive(Debug)]
pub(crate) struct Way {
    under_way: Arc<UnderWay>,
    did: Did,
    _room: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.under_way.of.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.did);
    }
}

/// What an [`App`] is made of.
#[derive(Clone)]
pub struct Parts {
    /// The operator's choices.
    pub config: Config,
    /// What anybody may know.
    pub relay: Relay,
    /// The key of the access tokens.
    pub tokens: types::SigningKey,
    /// Accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Messages.
    pub messages: Messages,
    /// The chain.
    pub chain: Arc<dyn ChainView>,
    /// The clock.
    pub clock: Clock,
    /// True once the relay stops.
    pub stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("relay", &self.relay).finish_non_exhaustive()
    }
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { config, relay, tokens, accounts, messages, chain, clock, stop } = parts;
        let auth = Auth::new(&tokens, &relay.audience, clock.clone());
        let under_way = Arc::new(UnderWay { room: Arc::new(Semaphore::new(MAX_UNDER_WAY)), of: Mutex::default() });
        let challenges = Challenges::new(&tokens);
        Self { config, relay, auth, challenges, accounts, messages, chain, clock, stop, under_way, attempts: attempts::Attempts::default() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Takes room for an operation of an identity, which has no other one on its way.
    pub(crate) fn set_out(&self, did: Did) -> Result<Way, Error> {
        const BUSY: Error = Error::Busy { retry_after_ms: 1_000 };
        let room = self.under_way.room.clone().try_acquire_owned().map_err(|_| BUSY)?;
        if !self.under_way.of.lock().unwrap_or_else(PoisonError::into_inner).insert(did) {
            return Err(BUSY);
        }
        Ok(Way { under_way: self.under_way.clone(), did, _room: room })
    }

    /// What the operation of an identity uses up of the sponsor's budget: of everybody's, and of its own.
    pub(crate) fn budget(&self, did: &Did) -> [Quota; 2] {
        let sponsor = &self.config.sponsor;
        [
            Quota { subject: subject("operation", &[]), period_ms: DAY_MS, most: sponsor.per_day },
            Quota { subject: subject("operation of", &[&did.0]), period_ms: DAY_MS, most: sponsor.per_identity },
        ]
    }

    pub(crate) async fn count_registration(&self, peer: IpAddr) -> Result<(), Error> {
        let most = self.config.limits.registrations;
        let refused = |retry_after_ms| Error::TooManyRegistrations { retry_after_ms };
        self.count(Quota { subject: of_peer("registration", peer), period_ms: DAY_MS, most }, refused).await
    }

    /// An operation of an identity that exists, from somebody without a session.
    pub(crate) async fn count_recovery(&self, peer: IpAddr) -> Result<(), Error> {
        let most = self.config.limits.recoveries;
        let refused = |retry_after_ms| Error::TooManyRegistrations { retry_after_ms };
        self.count(Quota { subject: of_peer("recovery", peer), period_ms: DAY_MS, most }, refused).await
    }

    /// Whether this address may try.
    pub(crate) fn admit(&self, peer: IpAddr, attempt: Attempt) -> Result<(), Error> {
        let admitted = self.attempts.admit(http::network_of(peer), attempt, self.config.limits.sign_ins, self.now());
        admitted.map_err(|retry_after_ms| Error::TooManyAttempts { retry_after_ms })
    }

    /// What [`App::admit`] let in has failed.
    pub(crate) fn fail(&self, peer: IpAddr, attempt: Attempt) {
        self.attempts.fail(http::network_of(peer), attempt, self.now());
    }

    pub(crate) async fn count_bundles(&self, asking: &Did, of: &Did) -> Result<(), Error> {
        let (most, subject) = (self.config.limits.bundles, subject("bundles", &[&asking.0, &of.0]));
        let refused = |retry_after_ms| Error::TooManyBundles { retry_after_ms };
        self.count(Quota { subject, period_ms: TEN_MINUTES_MS, most }, refused).await
    }

    async fn count(&self, quota: Quota, refused: impl FnOnce(u64) -> Error) -> Result<(), Error> {
        self.accounts.count(&[quota], self.now()).await?.map_err(|(_, retry_after_ms)| refused(retry_after_ms))
    }
}

fn of_peer(kind: &str, peer: IpAddr) -> Hash {
    match http::network_of(peer) {
        IpAddr::V4(address) => subject(kind, &[&address.octets()]),
        IpAddr::V6(address) => subject(kind, &[&address.octets()]),
    }
}
