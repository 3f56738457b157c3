//! Prekeys: published by devices, handed out to who writes to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use identity::Did;
use mailbox::Bytes;
use rpc::relay::{PrekeyBundles, PrekeyStock, PublishPrekeys, SignedPrekey};

use super::extract::{Caller, Part, Strict};
use crate::{App, Error};

/// The most one-time keys of a kind in one request.
const MAX_PUBLISHED: usize = 100;

/// The largest request: [`MAX_PUBLISHED`] Kyber keys with their signatures take 220 KB in base64.
const MAX_PUBLISH: usize = 384 << 10;

/// The largest registration id: 14 bits, as Signal draws them.
const MAX_REGISTRATION_ID: u32 = 0x3fff;

/// The type byte and length of an X25519 key, as Signal serialises it.
const X25519: (u8, usize) = (5, 33);

/// The same of a Kyber1024 key.
const KYBER: (u8, usize) = (8, 1_569);

const SIGNATURE: usize = 64;

pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    Strict(prekeys): Strict<PublishPrekeys, MAX_PUBLISH>,
) -> Result<Json<PrekeyStock>, Error> {
    check(&prekeys).map_err(|what| Error::BadPrekey { what })?;
    app.accounts.publish(&caller.address, &prekeys, app.now()).await.map(Json)
}

pub(super) async fn stock(State(app): State<Arc<App>>, Caller(caller): Caller) -> Result<Json<PrekeyStock>, Error> {
    app.accounts.stock(&caller.address).await?.ok_or(Error::NoPrekeys).map(Json)
}

/// One for each device; of the caller's own identity, one for each other device.
pub(super) async fn bundles(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    Part(did): Part<Did>,
) -> Result<Json<PrekeyBundles>, Error> {
    // Before it is counted, so that names which are not here fill no table.
    if app.accounts.account(&did).await?.is_none() {
        return Err(Error::NoAccount);
    }
    app.count_bundles(&caller.address.did, &did).await?;
    let but = (did == caller.address.did).then_some(caller.address.device);
    let devices = app.accounts.hand_out(&did, but, app.now()).await?.ok_or(Error::NoAccount)?;
    Ok(Json(PrekeyBundles { did, devices }))
}

/// What can be said about prekeys without Signal's library. Their signatures are for clients to check.
fn check(prekeys: &PublishPrekeys) -> Result<(), &'static str> {
    if !(1..=MAX_REGISTRATION_ID).contains(&prekeys.registration_id) {
        return Err("a registration id is from 1 to 16383");
    }
    if prekeys.possession.0.len() != SIGNATURE {
        return Err("possession is a signature of 64 bytes");
    }
    if prekeys.succession.as_ref().is_some_and(|succession| succession.0.len() != SIGNATURE) {
        return Err("succession is a signature of 64 bytes");
    }
    if prekeys.one_time.len() > MAX_PUBLISHED || prekeys.one_time_kyber.len() > MAX_PUBLISHED {
        return Err("at most 100 one-time keys of a kind at once");
    }
    check_signed(&prekeys.signed_prekey, X25519)?;
    check_signed(&prekeys.last_resort_kyber, KYBER)?;
    prekeys.one_time.iter().try_for_each(|key| check_key(&key.key, X25519))?;
    prekeys.one_time_kyber.iter().try_for_each(|key| check_signed(key, KYBER))?;
    are_distinct(prekeys.one_time.iter().map(|key| key.id))?;
    are_distinct(prekeys.one_time_kyber.iter().map(|key| key.id))
}

fn check_signed(key: &SignedPrekey, form: (u8, usize)) -> Result<(), &'static str> {
    if key.signature.0.len() != SIGNATURE {
        return Err("a prekey's signature has 64 bytes");
    }
    check_key(&key.key, form)
}

fn check_key(key: &Bytes, (kind, length): (u8, usize)) -> Result<(), &'static str> {
    match key.0.first() {
        Some(found) if *found == kind && key.0.len() == length => Ok(()),
        _ => Err("a key of another kind or length"),
    }
}

fn are_distinct(ids: impl Iterator<Item = u32>) -> Result<(), &'static str> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err("one id stands twice");
        }
    }
    Ok(())
}
