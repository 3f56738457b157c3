//! Light blocks and state proofs: from a trusted header to a state entry, believing only
//! signatures.
//!
//! [`Trust`] is what somebody believes about a chain: a genesis or a checkpoint, and the validators
//! that sign next. It turns a header and its commit into a [`Verified`] header, and a [`Verified`]
//! header answers what the state held at a key. A [`Handoff`] moves trust to the next validator set
//! without a clock; [`Trust::follow`] moves it inside the trusting period. Whether enough validators
//! signed is judged by the published `tendermint-light-client-verifier`, whether an entry is in the
//! state by `ics23`: this crate prepares their inputs, adds rules that only make them stricter, and
//! keeps everything bounded and canonical.
//!
//! Where two providers show two histories, a [`Fork`] is the place and gives the evidence, and
//! [`attack::verify`] judges evidence by the chain.
//!
//! Which blocks lead from what is trusted to a later one, [`Skip`] says; [`Descent`] goes to earlier ones by the hashes
//! of headers. [`Kept`] is what a client remembers from one time to the next.
//!
//! It fetches nothing, stores nothing and reads no clock: "now" is a value, and whoever asks for a path fetches the blocks
//! that it names.
//!
//! Start with [`trust`], then [`verified`]. `docs/spec/light.md` is the page of the formats and codes.

pub mod attack;
mod commit;
pub mod descent;
pub mod error;
pub mod fork;
pub mod kept;
pub mod sealed;
pub mod skip;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trust;
pub mod validators;
pub mod verified;

pub use attack::{BadAttack, Common, Kind, Ours};
pub use descent::Descent;
pub use error::Error;
pub use fork::Fork;
pub use kept::{BadKept, Kept};
pub use sealed::Sealed;
pub use skip::{Skip, Step};
pub use state::StateProof;
pub use tendermint_light_client_verifier::types::TrustThreshold;
pub use trust::{Checkpoint, Handoff, LightBlock, Options, Origin, Trust};
pub use validators::{Validator, Validators};
pub use verified::Verified;

#[cfg(test)]
mod tests;
