//! Identities: their entries in the state follow the rules of the `identity` room.

use identity::{Did, Entry, SignedOperation};
use types::{ChainId, Height};

use crate::error::Refusal;
use crate::state::State;

/// Reads an identity's entry.
#[must_use]
pub fn read(state: &State<'_>, did: &Did) -> Option<Entry> {
    state.read(&did.state_key())
}

/// Applies an operation that the identity's own keys have signed; who carries it does not matter.
///
/// # Errors
/// [`Refusal::Identity`].
pub fn apply(state: &mut State<'_>, chain: &ChainId, height: Height, operation: &SignedOperation) -> Result<Did, Refusal> {
    let did = operation.did;
    let entry = identity::apply(read(state, &did).as_ref(), chain, height, operation)?;
    state.write(did.state_key(), &entry);
    Ok(did)
}
