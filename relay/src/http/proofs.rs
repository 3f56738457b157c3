//! Where a leaf stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rpc::relay::LeafProof;
use types::Hash;

use super::extract::{Caller, Part};
use crate::{App, Error};

pub(super) async fn proof(State(app): State<Arc<App>>, _: Caller, Part(leaf): Part<Hash>) -> Result<Json<LeafProof>, Error> {
    let proof = app.messages.proof(leaf).await.map_err(Error::store)?;
    proof.ok_or(Error::NoLeaf).map(Json)
}
