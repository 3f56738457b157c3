//! Operations on identities that the relay pays for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use identity::{Operation, SignedOperation};
use mailbox::Bytes;
use rpc::relay::{Operate, Operated};
use types::Height;

use super::extract::{Caller, Strict};
use crate::accounts::Known;
use crate::chain::{Seen, follower};
use crate::{App, Error};

pub(super) async fn operate(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    Strict(request): Strict<Operate>,
) -> Result<Json<Operated>, Error> {
    let did = caller.address.did;
    let operation = parse(&request.operation)?;
    if operation.did != did || matches!(operation.operation, Operation::Create { .. }) {
        return Err(Error::NotYours);
    }
    let seen = app.chain.identity(&did).await?;
    let entry = Error::of_entry(seen.entry)?;
    identity::apply(Some(&entry), &app.relay.chain, seen.height.next(), &operation).map_err(Error::Operation)?;
    let height = sponsor(&app, operation).await?;
    // The follower will see it too; who asked must not meet the entry of before.
    let Seen { entry, height: proven } = app.chain.identity(&did).await?;
    if let Some(entry) = entry {
        follower::take_in(&app, &did, Known { entry, height: proven }).await?;
    }
    Ok(Json(Operated { height }))
}

/// Reads an operation as it came.
pub(super) fn parse(bytes: &Bytes) -> Result<SignedOperation, Error> {
    SignedOperation::parse(&bytes.0).map_err(Error::Operation)
}

/// Pays for an operation, within the day's budgets. One that the chain refuses before it is in a
/// block has cost nothing, and does not count.
pub(super) async fn sponsor(app: &App, operation: SignedOperation) -> Result<Height, Error> {
    let did = operation.did;
    let _way = app.set_out(did)?;
    let (budget, now) = (app.budget(&did), app.now());
    app.accounts.count(&budget, now).await?.map_err(|(place, retry_after_ms)| match place {
        0 => Error::BudgetSpent { retry_after_ms },
        _ => Error::IdentityBudgetSpent { retry_after_ms },
    })?;
    let sent = app.chain.sponsor(operation).await;
    if matches!(sent, Err(Error::Refused { free: true, .. })) {
        app.accounts.uncount(&budget, now).await?;
    }
    sent
}
