//! Registering: an account for an identity that exists, or that the relay pays for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use identity::{Entry, Operation, SignedOperation};
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
    if app.relay.registration == Registration::Closed {
        return Err(Error::Closed);
    }
    // A person who did not hear of it registers again: that is done already.
    if app.accounts.account(&did).await?.is_some() {
        return Ok(Json(Registered { did, height: None }));
    }
    app.count_registration(peer).await?;
    let operation = request.operation.as_ref().map(|bytes| parse(bytes)).transpose()?;
    if operation.as_ref().is_some_and(|operation| operation.did != did || !matches!(operation.operation, Operation::Create { .. })) {
        return Err(Error::WrongOperation);
    }
    let seen = app.chain.identity(&did).await?;
    let work = match (seen.entry, operation) {
        (Some(entry), _) => Work::Known(Error::of_entry(Some(entry))?, seen.height),
        (None, None) => return Err(Error::NoIdentity),
        (None, Some(operation)) => {
            // The relay's money is not spent on what the chain would refuse.
            identity::apply(None, &app.relay.chain, seen.height.next(), &operation).map_err(Error::Operation)?;
            Work::Create(operation)
        }
    };
    // Last of what costs nothing, and for this identity: who tries again has it still.
    if app.relay.registration == Registration::Invitation {
        let code = request.invitation.as_deref().ok_or(Error::BadInvitation)?;
        if !app.accounts.redeem(&invitation(code), &did, app.now()).await? {
            return Err(Error::BadInvitation);
        }
    }
    let (known, height) = match work {
        Work::Known(entry, height) => (Known { entry, height }, None),
        Work::Create(operation) => {
            let height = sponsor(&app, operation).await?;
            let Seen { entry, height: proven } = app.chain.identity(&did).await?;
            (Known { entry: Error::of_entry(entry)?, height: proven }, Some(height))
        }
    };
    app.accounts.register(&did, &known, app.now()).await?;
    Ok(Json(Registered { did, height }))
}

/// What there is to do.
enum Work {
    Known(Entry, Height),
    Create(SignedOperation),
}
