//! Registering: an account for an identity that exists, or that the relay pays for; and the operations of
//! a recovery, in which nobody can sign in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use identity::{Entry, Operation, SignedOperation, Signer};
use rpc::relay::{Register, Registered, Registration};
use types::Height;

use super::extract::{Peer, Strict};
use super::identity::{parse, sponsor};
use crate::accounts::{Known, invitation};
use crate::chain::Seen;
use crate::{App, Error};

pub(super) async fn register(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Strict(request): Strict<Register>,
) -> Result<Json<Registered>, Error> {
    let did = request.did;
    let operation = request.operation.as_ref().map(parse).transpose()?;
    if operation.as_ref().is_some_and(|operation| operation.did != did) {
        return Err(Error::WrongOperation);
    }
    match operation {
        Some(operation) if !is_creation(&operation) => change(&app, peer, &request, operation).await.map(Json),
        creation => begin(&app, peer, &request, creation).await.map(Json),
    }
}

const fn is_creation(operation: &SignedOperation) -> bool {
    matches!(operation.operation, Operation::Create { .. })
}

/// An account for an identity that exists, or for the one that `creation` creates.
async fn begin(app: &App, peer: IpAddr, request: &Register, creation: Option<SignedOperation>) -> Result<Registered, Error> {
    let did = request.did;
    if app.relay.registration == Registration::Closed {
        return Err(Error::Closed);
    }
    // A person who did not hear of it registers again: that is done already.
    if app.accounts.account(&did).await?.is_some() {
        return Ok(Registered { did, height: None });
    }
    app.count_registration(peer).await?;
    let seen = app.chain.identity(&did).await?;
    let work = match (seen.entry, creation) {
        (Some(entry), _) => Work::Known(Error::of_entry(Some(entry))?, seen.height),
        (None, None) => return Err(Error::NoIdentity),
        (None, Some(creation)) => {
            // The relay's money is not spent on what the chain would refuse.
            identity::apply(None, &app.relay.chain, seen.height.next(), &creation).map_err(Error::Operation)?;
            Work::Create(creation)
        }
    };
    redeem(app, request).await?;
    match work {
        Work::Known(entry, height) => keep(app, request, Known { entry, height }, None).await,
        Work::Create(creation) => send(app, request, creation).await,
    }
}

/// What there is to do.
enum Work {
    Known(Entry, Height),
    Create(SignedOperation),
}

/// Puts an operation on the chain that the identity's own control keys signed. Whoever recovers an identity has
/// no device in it yet, and so no session; the signatures are what entitles them.
async fn change(app: &App, peer: IpAddr, request: &Register, operation: SignedOperation) -> Result<Registered, Error> {
    let wanted =
        matches!(operation.operation, Operation::RotateControl { .. } | Operation::AddDevice { .. } | Operation::RemoveDevice { .. });
    if !wanted || operation.signatures.iter().any(|signature| matches!(signature.signer, Signer::Device(_))) {
        return Err(Error::WrongOperation);
    }
    let is_known = app.accounts.account(&request.did).await?.is_some();
    if !is_known && app.relay.registration == Registration::Closed {
        return Err(Error::Closed);
    }
    app.count_recovery(peer).await?;
    if !is_known {
        // It gets an account by this.
        app.count_registration(peer).await?;
    }
    let seen = app.chain.identity(&request.did).await?;
    let entry = Error::of_entry(seen.entry)?;
    identity::apply(Some(&entry), &app.relay.chain, seen.height.next(), &operation).map_err(Error::Operation)?;
    if !is_known {
        redeem(app, request).await?;
    }
    send(app, request, operation).await
}

/// Takes the invitation, where one is wanted. Last of what costs nothing, and for this identity: who tries again
/// has it still.
async fn redeem(app: &App, request: &Register) -> Result<(), Error> {
    if app.relay.registration != Registration::Invitation {
        return Ok(());
    }
    let code = request.invitation.as_deref().ok_or(Error::BadInvitation)?;
    if app.accounts.redeem(&invitation(code), &request.did, app.now()).await? { Ok(()) } else { Err(Error::BadInvitation) }
}

/// Pays for an operation, and takes in what became of the identity.
async fn send(app: &App, request: &Register, operation: SignedOperation) -> Result<Registered, Error> {
    let height = sponsor(app, operation).await?;
    let Seen { entry, height: proven } = app.chain.identity(&request.did).await?;
    keep(app, request, Known { entry: Error::of_entry(entry)?, height: proven }, Some(height)).await
}

async fn keep(app: &App, request: &Register, known: Known, height: Option<Height>) -> Result<Registered, Error> {
    let (did, now) = (request.did, app.now());
    let ended = app.accounts.register(&did, &known, now).await?;
    app.auth.end(ended.into_iter().map(|session| (session, now)));
    Ok(Registered { did, height })
}
