//! Signing in and out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use genesis::entropy;
use mailbox::Address;
use rpc::relay::{Ask, Challenge, Refresh, Sessions, SignIn, Tokens};
use types::{Millis, PublicKey};

use super::extract::{Caller, Peer, Strict};
use crate::accounts::{NewSession, Opened, Rotation};
use crate::app::attempts::Attempt;
use crate::auth::{ACCESS_S, REFRESH_MS, refresh_hash, refresh_token};
use crate::chain::follower;
use crate::{App, Error};

/// Answers everybody, also who has no account: nobody learns here who has one.
pub(super) async fn challenge(State(app): State<Arc<App>>, Strict(ask): Strict<Ask>) -> Json<Challenge> {
    let address = Address { did: ask.did, device: ask.device };
    let (nonce, expires) = app.challenges.draw(&address, app.now(), entropy::bytes());
    Json(Challenge { nonce, expires })
}

pub(super) async fn sign_in(State(app): State<Arc<App>>, Peer(peer): Peer, Strict(answer): Strict<SignIn>) -> Result<Json<Tokens>, Error> {
    let address = Address { did: answer.did, device: answer.device };
    let attempt = Attempt::SignIn(address);
    app.admit(peer, attempt)?;
    let begun = begin(&app, peer, address, &answer).await;
    if matches!(begun, Err(Error::BadSignIn)) {
        app.fail(peer, attempt);
    }
    begun
}

/// Begins the device's session.
async fn begin(app: &App, peer: IpAddr, address: Address, answer: &SignIn) -> Result<Json<Tokens>, Error> {
    let now = app.now();
    let nonce_expires = app.challenges.expires(&address, &answer.nonce, now).ok_or(Error::BadSignIn)?;
    let key = device_key(app, peer, &address).await?.ok_or(Error::BadSignIn)?;
    if !answer.is_signed_by(&app.relay.chain, &app.relay.audience, &key) {
        return Err(Error::BadSignIn);
    }
    let token = refresh_token(&entropy::bytes());
    let new = NewSession {
        id: entropy::bytes(),
        address,
        key,
        nonce: answer.nonce,
        nonce_expires,
        refresh: refresh_hash(&token),
        now,
        expires: Millis(now.0.saturating_add(REFRESH_MS)),
    };
    match app.accounts.open_session(&new).await? {
        Opened::Replayed | Opened::NoDevice => Err(Error::BadSignIn),
        Opened::Yes(ended) => {
            app.auth.end(ended.into_iter().map(|session| (session, now)));
            Ok(tokens(app, address, new.id, token))
        }
    }
}

/// The device's key in the entry as it was last proven. A device that is not in it may have been
/// added a moment ago: then the entry is proven anew, once.
async fn device_key(app: &App, peer: IpAddr, address: &Address) -> Result<Option<PublicKey>, Error> {
    let did = &address.did;
    let Some(known) = app.accounts.account(did).await? else { return Ok(None) };
    if let Some(device) = known.entry.device(address.device) {
        return Ok(Some(device.key));
    }
    // One that is gone for good needs no question to the chain.
    if address.device < known.entry.next_device || known.entry.is_deactivated() {
        return Ok(None);
    }
    app.admit(peer, Attempt::Unseen)?;
    follower::prove(app, did).await?;
    let proven = app.accounts.account(did).await?;
    let key = proven.and_then(|known| Some(known.entry.device(address.device)?.key));
    if key.is_none() {
        app.fail(peer, Attempt::Unseen);
    }
    Ok(key)
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Strict(request): Strict<Refresh>,
) -> Result<Json<Tokens>, Error> {
    app.admit(peer, Attempt::Refresh)?;
    let (now, next) = (app.now(), refresh_token(&entropy::bytes()));
    let expires = Millis(now.0.saturating_add(REFRESH_MS));
    match app.accounts.rotate(&refresh_hash(&request.refresh_token), &refresh_hash(&next), now, expires).await? {
        Rotation::Next { address, session } => Ok(tokens(&app, address, session, next)),
        Rotation::Reused(session) => {
            app.fail(peer, Attempt::Refresh);
            app.auth.end([(session, now)]);
            Err(Error::ReusedRefresh)
        }
        Rotation::Unknown => {
            app.fail(peer, Attempt::Refresh);
            Err(Error::BadRefresh)
        }
    }
}

pub(super) async fn sign_out(State(app): State<Arc<App>>, Caller(caller): Caller) -> Result<StatusCode, Error> {
    let now = app.now();
    app.accounts.end_session(&caller.session, now).await?;
    app.auth.end([(caller.session, now)]);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn sessions(State(app): State<Arc<App>>, Caller(caller): Caller) -> Result<Json<Sessions>, Error> {
    let sessions = app.accounts.sessions(&caller.address.did, app.now()).await?;
    Ok(Json(Sessions { sessions }))
}

fn tokens(app: &App, address: Address, session: [u8; 16], refresh_token: String) -> Json<Tokens> {
    Json(Tokens { access_token: app.auth.issue(address, session), refresh_token, expires_in_s: ACCESS_S })
}
